"""Conditional spaces: real tuning of scikit-learn on its bundled data, and trees with known answers."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from tuner.bench.problem import BenchProblem, Split, minimise
from tuner.bench.problems import functions as f
from tuner.parameters import Bool, Choice, Float, Int, Parameter
from tuner.space import SearchSpace
from tuner.trial import Config

_FOLDS = 4


@functools.cache
def _data(name: str) -> tuple[Any, Any]:
    from sklearn import datasets

    X, y = getattr(datasets, f"load_{name}")(return_X_y=True)
    if len(X) > 600:
        rows = np.random.default_rng(0).choice(len(X), 500, replace=False)
        X, y = X[rows], y[rows]
    return X, y


def _validated(data: str, score: str, model: Callable[[Config], Any]) -> Callable[[Config], dict[str, float]]:
    """Minus the mean cross-validated score, on fixed folds; 10 at most, and where training fails."""

    def evaluate(config: Config) -> dict[str, float]:
        from sklearn.model_selection import KFold, StratifiedKFold, cross_val_score
        from sklearn.pipeline import make_pipeline
        from sklearn.preprocessing import StandardScaler

        X, y = _data(data)
        kind = KFold if data == "diabetes" else StratifiedKFold
        folds = kind(_FOLDS, shuffle=True, random_state=0)
        estimator = make_pipeline(StandardScaler(), model(config))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            loss = -float(np.mean(cross_val_score(estimator, X, y, cv=folds, scoring=score, error_score=-1e9)))
        return {"error": min(loss / 50 if data == "diabetes" else loss, 10.0)}

    return evaluate


def _classifier(config: Config) -> Any:
    from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
    from sklearn.linear_model import LogisticRegression
    from sklearn.neighbors import KNeighborsClassifier

    match config["model"]:
        case "logistic":
            return LogisticRegression(C=config["C"], max_iter=200)
        case "neighbours":
            weights = "distance" if config["weighted"] else "uniform"
            return KNeighborsClassifier(config["k"], weights=weights, p=config["power"])
        case "trees":
            return ExtraTreesClassifier(
                40, max_features=config["features"], min_samples_leaf=config["leaf"], random_state=0
            )
    return HistGradientBoostingClassifier(
        max_iter=30, learning_rate=config["rate"], max_leaf_nodes=config["leaves"], l2_regularization=config["l2"],
        random_state=0,
    )  # fmt: skip


def _classifiers() -> list[Parameter]:
    return [
        Choice("model", values=("logistic", "neighbours", "trees", "boosting")),
        Float("C", low=1e-4, high=1e3, log=True, when="model == 'logistic'"),
        Int("k", low=1, high=50, log=True, when="model == 'neighbours'"),
        Bool("weighted", when="model == 'neighbours'"),
        Float("power", low=1.0, high=4.0, when="model == 'neighbours'"),
        Float("features", low=0.05, high=1.0, when="model == 'trees'"),
        Int("leaf", low=1, high=30, log=True, when="model == 'trees'"),
        Float("rate", low=0.01, high=1.0, log=True, when="model == 'boosting'"),
        Int("leaves", low=2, high=32, log=True, when="model == 'boosting'"),
        Float("l2", low=1e-4, high=100.0, log=True, when="model == 'boosting'"),
    ]


def _machine(config: Config) -> Any:
    from sklearn.svm import SVC

    kernel = config["kernel"]
    return SVC(
        C=config["C"], kernel=kernel, gamma=config.get("gamma", 1.0), degree=config.get("degree", 3),
        coef0=config.get("coef0", 0.0), shrinking=True, max_iter=5000,
    )  # fmt: skip


def _machines() -> list[Parameter]:
    return [
        Choice("kernel", values=("linear", "poly", "rbf", "sigmoid")),
        Float("C", low=1e-4, high=1e4, log=True),
        Float("gamma", low=1e-6, high=10.0, log=True, when="kernel != 'linear'"),
        Int("degree", low=2, high=5, when="kernel == 'poly'"),
        Float("coef0", low=-2.0, high=2.0, when="kernel in ('poly', 'sigmoid')"),
    ]


def _regressor(config: Config) -> Any:
    from sklearn.ensemble import GradientBoostingRegressor
    from sklearn.kernel_ridge import KernelRidge
    from sklearn.linear_model import ElasticNet
    from sklearn.svm import SVR

    match config["model"]:
        case "linear":
            return ElasticNet(alpha=config["alpha"], l1_ratio=config["l1"])
        case "kernel":
            return KernelRidge(alpha=config["ridge"], kernel="rbf", gamma=config["width"])
        case "support":
            return SVR(C=config["C"], gamma=config["gamma"], epsilon=config["epsilon"])
    return GradientBoostingRegressor(
        n_estimators=config["trees"], learning_rate=config["rate"], max_depth=config["depth"], loss=config["loss"],
        subsample=config["sample"], alpha=config.get("quantile", 0.9), random_state=0,
    )  # fmt: skip


def _regressors() -> list[Parameter]:
    return [
        Choice("model", values=("linear", "kernel", "support", "boosting")),
        Float("alpha", low=1e-4, high=100.0, log=True, when="model == 'linear'"),
        Float("l1", low=0.0, high=1.0, when="model == 'linear'"),
        Float("ridge", low=1e-4, high=100.0, log=True, when="model == 'kernel'"),
        Float("width", low=1e-5, high=1.0, log=True, when="model == 'kernel'"),
        Float("C", low=0.1, high=1e4, log=True, when="model == 'support'"),
        Float("gamma", low=1e-5, high=1.0, log=True, when="model == 'support'"),
        Float("epsilon", low=0.1, high=100.0, log=True, when="model == 'support'"),
        *(
            [
                Int("trees", low=10, high=80, log=True, when="model == 'boosting'"),
                Float("rate", low=0.01, high=0.5, log=True, when="model == 'boosting'"),
                Int("depth", low=1, high=4, when="model == 'boosting'"),
                Float("sample", low=0.3, high=1.0, when="model == 'boosting'"),
                Choice("loss", values=("squared_error", "absolute_error", "huber"), when="model == 'boosting'"),
                Float("quantile", low=0.5, high=0.99, when="model == 'boosting' and loss == 'huber'"),
            ]
        ),
    ]


def _tree() -> BenchProblem:
    """Jenatton et al. 2017, tree-structured dependencies: least 0.1 by the branch with no shared offset."""

    def value(config: Config) -> dict[str, float]:
        shared = "r8" if config["x1"] == 0 else "r9"
        branch, offset = (("x4", 0.1), ("x5", 0.2)) if shared == "r8" else (("x6", 0.3), ("x7", 0.4))
        name, constant = (branch, offset)[config["x2"] if shared == "r8" else config["x3"]]
        return {"loss": config[name] ** 2 + constant + config[shared]}

    real = functools.partial(Float, low=-1.0, high=1.0)
    space = SearchSpace(
        [
            Choice("x1", values=(0, 1)),
            Choice("x2", values=(0, 1), when="x1 == 0"),
            Choice("x3", values=(0, 1), when="x1 == 1"),
            Float("r8", low=0.0, high=1.0, when="x1 == 0"),
            Float("r9", low=0.0, high=1.0, when="x1 == 1"),
            real("x4", when="x1 == 0 and x2 == 0"),
            real("x5", when="x1 == 0 and x2 == 1"),
            real("x6", when="x1 == 1 and x3 == 0"),
            real("x7", when="x1 == 1 and x3 == 1"),
        ]
    )
    return BenchProblem(
        name="tree", kind="conditional", split="dev", space=space, metrics=minimise("loss"), evaluate=value, best=0.1,
        optima=({"x1": 0, "x2": 0, "r8": 0.0, "x4": 0.0},), source="Jenatton et al. 2017",
    )  # fmt: skip


def _branches() -> BenchProblem:
    """Four branches of 2 to 6 columns with functions of their own and offsets; made here."""
    rows = {"a": (f.levy, 2, 0.6), "b": (f.ackley, 3, 0.3), "c": (f.rosenbrock, 4, 0.0), "d": (f.rastrigin, 6, 0.1)}
    scale = {"a": 20.0, "b": 10.0, "c": 500.0, "d": 60.0}

    def value(config: Config) -> dict[str, float]:
        function, d, offset = rows[config["branch"]]
        z = np.array([config[f"{config['branch']}{i}"] for i in range(d)]) - 0.37
        return {"loss": function(z) / scale[config["branch"]] + offset}

    parameters: list[Parameter] = [Choice("branch", values=tuple(rows))]
    for name, (_, d, _) in rows.items():
        parameters += [Float(f"{name}{i}", low=-2.0, high=2.5, when=f"branch == '{name}'") for i in range(d)]
    optimum: Config = {"branch": "c"} | {f"c{i}": 1.37 for i in range(4)}
    return BenchProblem(
        name="branches", kind="conditional", split="held-out", space=SearchSpace(parameters), metrics=minimise("loss"),
        evaluate=value, best=0.0, optima=(optimum,), source="made here of functions of Surjanovic and Bingham",
    )  # fmt: skip


def _real(name: str, split: Split, parameters: list[Parameter], evaluate: Any, best: float) -> BenchProblem:
    return BenchProblem(
        name=name, kind="conditional", split=split, space=SearchSpace(parameters), metrics=minimise("error"),
        evaluate=evaluate, best=best, exact=False, costly=True, source="scikit-learn's bundled data, cross-validated",
    )  # fmt: skip


def problems() -> tuple[BenchProblem, ...]:
    """`best` of the real ones is the least that was ever seen; a run may go below it."""
    log_loss, error = "neg_log_loss", "balanced_accuracy"
    return (
        _tree(),
        _branches(),
        _real("models-wine", "dev", _classifiers(), _validated("wine", log_loss, _classifier), 0.05410),
        _real("models-cancer", "held-out", _classifiers(), _validated("breast_cancer", log_loss, _classifier), 0.07927),
        _real("svm-cancer", "dev", _machines(), _validated("breast_cancer", error, _machine), -0.97692),
        _real("svm-digits", "held-out", _machines(), _validated("digits", error, _machine), -0.97412),
        _real("models-diabetes", "dev", _regressors(),
              _validated("diabetes", "neg_root_mean_squared_error", _regressor), 1.07915),
    )  # fmt: skip
