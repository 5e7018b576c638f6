"""Recommendation: which trial to use when measurements are noisy, and how good it is, with an interval.

The best of many noisy trials was lucky. Finalists that were measured again settle the matter (`tuner.repeats`);
otherwise the objectives are modelled, and the trial with the best posterior mean is recommended, which shares the
evidence of all trials, repeats and neighbours. Where nothing is noisy, the best observed trial stands.

A run that ends writes its recommendation down as an event, so that a reader needs no model.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner import pareto, repeats
from tuner.calibration import Calibration, calibration
from tuner.compact import dumps
from tuner.errors import TunerError
from tuner.fidelity import at_most
from tuner.noise import is_noisy

if TYPE_CHECKING:
    from tuner.gp.model import Surrogate
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.records import TrialRecord
    from tuner.study import Study

Array = NDArray[np.float64]

EVENT = "recommended"
_MAX_ROWS = 500
_FEWEST = 5
"""Feasible trials below which a model is not asked."""

_Z95 = 1.959964


@dataclass(frozen=True, slots=True)
class Interval:
    """The noise-free value of a metric, in its own units: the best guess, and where it lies with 95% probability."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Recommendation:
    """The trial to use.

    Attributes:
        trial: Its number.
        by: "posterior", or "fresh measurements" of finalists.
        n: How many finished trials, or measurements, that rests on.
        metrics: Objective -> its value.
        calibration: Objective -> what leave-one-out predictions of the model were worth.
    """

    trial: int
    by: str
    n: int
    metrics: Mapping[str, Interval]
    calibration: Mapping[str, Calibration] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Its fields."""
        return asdict(self)


def recommendation(study: Study) -> Recommendation | None:
    """Return what to use; None when nothing is known to be noisy, so that the best trial is it.

    By fresh measurements of finalists when there are any, else as the last run wrote it down when no trial has ended
    since, else by a model fitted now.
    """
    found = known(study)
    if found is None and is_noisy(study.history):
        found = by_posterior(study.history)
    return found


def known(study: Study) -> Recommendation | None:
    """Return what can be recommended without fitting a model; None when nothing is, or trials have ended since."""
    chosen = repeats.recommended(study)
    if chosen is not None:
        return _by_fresh(study, chosen)
    last: dict[str, Any] | None = None
    for event in study.events():
        if event["kind"] == EVENT:
            last = json.loads(event["detail"])
        elif event["kind"] == "retried":
            last = None
    if last is None or last["n"] != study.history.n:
        return None
    last["metrics"] = {name: Interval(**values) for name, values in last["metrics"].items()}
    last["calibration"] = {name: Calibration(**values) for name, values in last["calibration"].items()}
    return Recommendation(**last)


def write_down(study: Study, note: Callable[[str], None] = lambda text: None) -> None:
    """Store the recommendation by a model as of now, when the study is noisy and has none that is current."""
    if known(study) is None and is_noisy(study.history):
        note("the objective is noisy: choosing by the model's posterior")
        found = by_posterior(study.history)
        if found is not None:
            study.add_event(EVENT, dumps(found.to_json()), found.trial)


def by_posterior(history: History) -> Recommendation | None:
    """Return the trial with the best posterior mean among the feasible ones, the knee with several objectives.

    None when there are too few, or the model cannot be fitted: then the best observed trial stands.
    """
    rows = _candidates(history)
    if len(rows) < _FEWEST:
        return None
    try:
        mean, sd, worth = _posterior(history, rows)
    except TunerError:
        raise
    except Exception:  # whatever the linear algebra says, the best observed trial stands
        return None
    if not (np.isfinite(mean).all() and np.isfinite(sd).all()):
        return None
    chosen = _best(mean)
    values = {}
    for metric, m, s in zip(history.problem.objectives, mean[chosen], sd[chosen], strict=True):
        centre, reach = float(metric.sign * m), float(_Z95 * s)
        values[metric.name] = Interval(centre, centre - reach, centre + reach)
    trial = int(history.number[rows[chosen]])
    return Recommendation(trial=trial, by="posterior", n=history.n, metrics=values, calibration=worth)


def diagnose(history: History) -> dict[str, Calibration]:
    """Return what leave-one-out predictions of a model of all trials are worth, by objective that is modelled.

    Raises:
        RuntimeError: The model cannot be fitted.
    """
    surrogate = _fitted(history)
    return {} if surrogate is None else _left_out(surrogate, history.problem)


def _candidates(history: History) -> NDArray[np.intp]:
    """Rows of the feasible trials with every objective, at the most fidelity: all, or the 500 best by the first."""
    rows = np.flatnonzero(at_most(history, history.feasible & ~np.isnan(history.Y).any(axis=1)))
    best = np.argsort(-history.Y[rows, 0], kind="stable")[:_MAX_ROWS]
    return np.asarray(rows[np.sort(best)])


def _best(mean: Array) -> int:
    """The row with the best mean; with several objectives the knee of the front of means."""
    if mean.shape[1] == 1:
        return int(np.argmax(mean[:, 0]))
    front = np.flatnonzero(pareto.non_dominated(mean))
    return int(front[pareto.knee(mean[front])])


def _posterior(history: History, rows: NDArray[np.intp]) -> tuple[Array, Array, dict[str, Calibration]]:
    """Posterior means and deviations (r, m) of the noise-free objectives, maximised, at some rows of the history."""
    import torch

    from tuner.gp.covariance import Layout

    surrogate = _fitted(history)
    Y = np.array(history.Y[rows])
    if surrogate is None:
        return Y, np.zeros_like(Y), {}
    x = Layout(history.space).arrange(history.X[rows], history.active[rows])
    mean, sd = (part.numpy() for part in surrogate.predict(torch.from_numpy(np.array(x))))
    exact = _exact(history.problem)
    mean[:, exact], sd[:, exact] = Y[:, exact], 0.0
    return mean, sd, _left_out(surrogate, history.problem)


def _fitted(history: History) -> Surrogate | None:
    """A model of the objectives; None when all of them are known or there is nothing to learn from."""
    import torch

    from tuner.gp.covariance import Layout
    from tuner.gp.model import Outcomes, fit_surrogate
    from tuner.gp.optimize import one_thread
    from tuner.strategies.bayesian.observations import observe

    data = observe(history, max_rows=_MAX_ROWS)
    exact = _exact(history.problem)
    Y = np.array(data.objectives)
    modelled = [j for j in range(Y.shape[1]) if j not in exact]
    if not modelled or (~np.isnan(Y[:, modelled])).sum(axis=0).min() < 2:
        return None
    layout = Layout(history.space)
    X = torch.from_numpy(np.array(layout.arrange(data.X, data.active)))
    outcomes = Outcomes(exact=exact, bent=modelled, noisy=is_noisy(history))
    with one_thread():
        share = torch.from_numpy(data.share)
        return fit_surrogate(X, torch.from_numpy(Y), outcomes, share=share, covariance=layout.covariance)


def _exact(problem: Problem) -> list[int]:
    """Positions of the objectives that follow from the configuration alone."""
    return [j for j, metric in enumerate(problem.objectives) if metric.name in problem.known_names]


def _left_out(surrogate: Surrogate, problem: Problem) -> dict[str, Calibration]:
    from tuner.gp.calibration import left_out

    found = {}
    for j, (mean, sd, outcome) in left_out(surrogate).items():
        worth = calibration(mean.numpy(), sd.numpy(), outcome.numpy())
        if worth is not None:
            found[problem.objectives[j].name] = worth
    return found


def _by_fresh(study: Study, chosen: TrialRecord) -> Recommendation:
    """A finalist by its fresh mean, plus or minus 1.96 standard errors."""
    means, n = repeats.measured_again(study.problem, chosen.measures)
    values = {}
    for metric in study.problem.objectives:
        mean = means[metric.name]
        sd = chosen.measures.get(f"{repeats.PREFIX}{metric.name}_sd")
        reach = _Z95 * sd / n**0.5 if sd is not None else float("inf")
        values[metric.name] = Interval(mean, mean - reach, mean + reach)
    return Recommendation(trial=chosen.trial, by="fresh measurements", n=n, metrics=values)
