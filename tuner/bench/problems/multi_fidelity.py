"""Problems with a fidelity: less of it is cheaper, and says less.

Closed forms whose low-fidelity version was published with them, of which Borehole and Park are best in a corner; others
that drift with the fidelity, best inside; sampled sums whose noise shrinks with the samples, and
training that can stop early or see fewer rows. A level's share z is 0 at the least fidelity and 1 at the most.
"""

from __future__ import annotations

import functools
import math
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tuner.bench.problem import BenchProblem, Fidelity, Split, floats, named, numbers
from tuner.bench.problems import functions as f
from tuner.parameters import Bool, Choice, Float, Int, Parameter
from tuner.space import SearchSpace
from tuner.trial import Config, Metric

KANDASAMY = "Kandasamy, Dasarathy, Schneider and Poczos 2017"
XIONG = "Xiong, Qian and Wu 2013"
LEVELS = Fidelity("resolution", 1, 27)

Leveled = Callable[[f.Array, float], float]


def branin(x: f.Array, z: float) -> float:
    """Kandasamy et al. 2017, appendix D, with one fidelity for its three; Branin at z = 1."""
    a, b = float(x[0]), float(x[1])
    square = 5.1 / (4 * math.pi**2) - 0.01 * (1 - z)
    slope = 5 / math.pi - 0.1 * (1 - z)
    wave = 1 / (8 * math.pi) + 0.05 * (1 - z)
    return (b - square * a**2 + slope * a - 6) ** 2 + 10 * (1 - wave) * math.cos(a) + 10


def hartmann6(x: f.Array, z: float) -> float:
    """Kandasamy et al. 2017, appendix D: every weight is less by 0.1 (1 - z)."""
    return f.hartmann6(x, 0.1 * (1 - z))


def borehole(x: f.Array, z: float) -> float:
    """Water flow through a borehole (m^3 a year); Xiong et al. 2013, both of its codes, linear between them."""
    rw, r, Tu, Hu, Tl, Hl, L, Kw = map(float, x)
    ratio = math.log(r / rw)
    leak = 2 * L * Tu / (ratio * rw**2 * Kw) + Tu / Tl
    high = 2 * math.pi * Tu * (Hu - Hl) / (ratio * (1 + leak))
    low = 5 * Tu * (Hu - Hl) / (ratio * (1.5 + leak))
    return z * high + (1 - z) * low


def park(x: f.Array, z: float) -> float:
    """Park's first function; Xiong et al. 2013, both of its codes, linear between them; x0 > 0."""
    a, b, c, d = map(float, x)
    high = a / 2 * (math.sqrt(1 + (b + c**2) * d / a**2) - 1) + (a + 3 * d) * math.exp(1 + math.sin(c))
    low = (1 + math.sin(a) / 10) * high - 2 * a + b**2 + c**2 + 0.5
    return z * high + (1 - z) * low


def _closed(
    name: str,
    split: Split,
    function: Leveled,
    bounds: list[tuple[float, float]],
    optimum: list[float],
    source: str,
    *,
    least: float | None = None,
) -> BenchProblem:
    """To minimise when the least value is given, otherwise to maximise."""
    space = SearchSpace(floats(bounds))
    goal: Any = "maximize" if least is None else "minimize"
    best = function(np.array(optimum), 1.0) if least is None else least

    def partial(config: Config, level: float) -> dict[str, float]:
        share = (level - LEVELS.min) / (LEVELS.max - LEVELS.min)
        return {"y": function(numbers(config), share)}

    return BenchProblem(
        name=name, kind="multi-fidelity", split=split, space=space, metrics=(Metric(name="y", goal=goal),),
        evaluate=lambda config: partial(config, LEVELS.max), partial=partial, fidelity=LEVELS, best=best,
        optima=(named(optimum),), source=source,
    )  # fmt: skip


def drifting(function: f.Function, place: f.Array, drift: f.Array) -> Leveled:
    """A function that is least at (1, ..., 1), least at `place` in full and at `place + drift` at z = 0."""

    def inner(x: f.Array, z: float) -> float:
        return function(1 + x - place - (1 - z) * drift)

    return inner


def _drifting(name: str, split: Split, function: f.Function, d: int, half: float, seed: int) -> BenchProblem:
    """In [-half, half]^d, its least value inside; a twentieth of the width off at the least fidelity."""
    rng = np.random.default_rng([20262, seed])
    place = half * rng.uniform(-0.7, 0.7, d)
    leveled = drifting(function, place, 0.1 * half * rng.choice([-1.0, 1.0], d))
    source = "made here of functions of Surjanovic and Bingham"
    return _closed(name, split, leveled, [(-half, half)] * d, list(place), source, least=0.0)


def _counting_ones(name: str, split: Split, switches: int, chances: int) -> BenchProblem:
    """Minus the switches that are on and the mean of Bernoulli draws with each chance; the fidelity is their number.

    The draws are seeded by the configuration and their number: asking again tells nothing new.
    """
    space = SearchSpace(
        [
            *(Bool(f"on{i}") for i in range(switches)),
            *(Float(f"x{i}", low=0.0, high=1.0) for i in range(chances)),
        ]
    )

    def truth(config: Config) -> dict[str, float]:
        return {"loss": -float(sum(config[f"on{i}"] for i in range(switches)) + numbers(config).sum())}

    def partial(config: Config, level: float) -> dict[str, float]:
        n = round(level)
        rng = np.random.default_rng([n, *space.key(config)])
        drawn = rng.binomial(n, numbers(config)) / n
        return {"loss": -float(sum(config[f"on{i}"] for i in range(switches)) + drawn.sum())}

    ones: Config = {f"on{i}": True for i in range(switches)} | {f"x{i}": 1.0 for i in range(chances)}
    return BenchProblem(
        name=name, kind="multi-fidelity", split=split, space=space, metrics=(Metric(name="loss", goal="minimize"),),
        evaluate=truth, partial=partial, fidelity=Fidelity("samples", 9, 729), best=-float(switches + chances),
        optima=(ones,), source="Falkner, Klein and Hutter 2018, appendix",
    )  # fmt: skip


# --- real training, on scikit-learn's bundled data ---


@functools.cache
def _digits() -> tuple[Any, Any, Any, Any]:
    """Two thirds to train on, one third to judge by: X, y, X, y; pixels in [0, 1]."""
    from sklearn.datasets import load_digits

    X, y = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(X))
    train, judge = order[:1350], order[1350:]
    return X[train] / 16, y[train], X[judge] / 16, y[judge]


def _network(config: Config, level: float) -> dict[str, float]:
    """Log loss of a small network after so many epochs; 10 at most, and where training diverges."""
    from sklearn.metrics import log_loss
    from sklearn.neural_network import MLPClassifier

    X, y, X_judge, y_judge = _digits()
    model = MLPClassifier(
        (config["width"],) * config["depth"], activation=config["activation"], solver="adam", alpha=config["decay"],
        batch_size=config["batch"], learning_rate_init=config["rate"], beta_1=config["momentum"], tol=0.0,
        max_iter=round(level), n_iter_no_change=1000, random_state=0,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            loss = float(log_loss(y_judge, model.fit(X[:600], y[:600]).predict_proba(X_judge)))
        except ValueError:  # its weights are not finite
            return {"loss": 10.0}
    return {"loss": min(loss, 10.0) if math.isfinite(loss) else 10.0}


def _networks() -> list[Parameter]:
    return [
        Float("rate", low=1e-5, high=0.3, log=True),
        Float("decay", low=1e-7, high=1.0, log=True),
        Float("momentum", low=0.5, high=0.99),
        Int("batch", low=8, high=256, log=True),
        Int("width", low=8, high=96, log=True),
        Int("depth", low=1, high=3),
        Choice("activation", values=("relu", "tanh", "logistic")),
    ]


def _machine(config: Config, level: float) -> dict[str, float]:
    """Error of a support vector machine that was trained on so many rows, on digits under noise of 0.4 a pixel."""
    from sklearn.svm import SVC

    X, y, X_judge, y_judge = _digits()
    rng = np.random.default_rng(1)
    X, X_judge = X + 0.4 * rng.standard_normal(X.shape), X_judge + 0.4 * rng.standard_normal(X_judge.shape)
    n = round(level)
    model = SVC(
        C=config["C"], kernel=config["kernel"], gamma=config.get("gamma", 1.0), degree=config.get("degree", 3),
        max_iter=3000,
    )  # fmt: skip
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {"loss": 1.0 - float(model.fit(X[:n], y[:n]).score(X_judge, y_judge))}


def _machines() -> list[Parameter]:
    return [
        Choice("kernel", values=("linear", "poly", "rbf")),
        Float("C", low=1e-4, high=1e4, log=True),
        Float("gamma", low=1e-5, high=10.0, log=True, when="kernel != 'linear'"),
        Int("degree", low=2, high=6, when="kernel == 'poly'"),
    ]


def _boosting(config: Config, level: float) -> dict[str, float]:
    """Root mean squared error of boosted trees on the diabetes data, in 50s; 10 at most."""
    from sklearn.datasets import load_diabetes
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.model_selection import KFold, cross_val_score

    X, y = load_diabetes(return_X_y=True)
    model = GradientBoostingRegressor(
        n_estimators=round(level), learning_rate=config["rate"], max_depth=config["depth"],
        subsample=config["sample"], max_features=config["features"], min_samples_leaf=config["leaf"], random_state=0,
    )  # fmt: skip
    folds = KFold(4, shuffle=True, random_state=0)
    scores = cross_val_score(model, X, y, cv=folds, scoring="neg_root_mean_squared_error")
    return {"loss": min(-float(scores.mean()) / 50, 10.0)}


def _trees() -> list[Parameter]:
    return [
        Float("rate", low=0.003, high=1.0, log=True),
        Int("depth", low=1, high=6),
        Float("sample", low=0.2, high=1.0),
        Float("features", low=0.1, high=1.0),
        Int("leaf", low=1, high=60, log=True),
    ]


def _real(
    name: str, split: Split, parameters: list[Parameter], partial: Any, fidelity: Fidelity, best: float
) -> BenchProblem:
    """`best` is the least that was ever seen; a run may go below it."""
    return BenchProblem(
        name=name, kind="multi-fidelity", split=split, space=SearchSpace(parameters), partial=partial,
        metrics=(Metric(name="loss", goal="minimize"),), evaluate=lambda config: dict(partial(config, fidelity.max)),
        fidelity=fidelity, best=best, exact=False, costly=True, source="scikit-learn's bundled data",
    )  # fmt: skip


def problems() -> tuple[BenchProblem, ...]:
    """Everything above."""
    wells = [(0.05, 0.15), (100, 50000), (63070, 115600), (990, 1110), (63.1, 116), (700, 820), (1120, 1680)]
    return (
        _closed("branin-levels", "dev", branin, [(-5, 10), (0, 15)], [math.pi, 2.275], KANDASAMY, least=0.397887),
        _closed("hartmann6-levels", "held-out", hartmann6, [(0, 1)] * 6, list(f.HARTMANN6), KANDASAMY, least=-3.322368),
        _closed("borehole-levels", "dev", borehole, [*wells, (9855, 12045)],
                [0.15, 100, 115600, 1110, 116, 700, 1120, 12045], XIONG),
        _closed("park-levels", "held-out", park, [(0.001, 1), *[(0.0, 1.0)] * 3], [1.0] * 4, XIONG),
        _drifting("levy-8-levels", "dev", f.levy, 8, 10.0, 1),
        _drifting("rosenbrock-6-levels", "held-out", f.rosenbrock, 6, 2.048, 2),
        _counting_ones("counting-ones-8-8", "dev", 8, 8),
        _counting_ones("counting-ones-4-12", "held-out", 4, 12),
        _real("network-epochs", "dev", _networks(), _network, Fidelity("epochs", 1, 27, continues=True), 0.04984),
        _real("boosting-trees", "held-out", _trees(), _boosting, Fidelity("trees", 3, 81, continues=True), 1.10118),
        _real("svm-rows", "held-out", _machines(), _machine, Fidelity("rows", 50, 1350), 0.16331),
    )  # fmt: skip
