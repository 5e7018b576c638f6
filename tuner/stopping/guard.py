"""guard: lets another rule stop trials only where its measured precision saves time.

A rule that stops trials is a predictor of failure: it is right about some and wrong about others. Looking for one good
trial, each of which takes time 1 and is good with chance p, one waits 1 / p on average. Let a rule flag trials at the
share t of their time, a share q of all of them and a share f of the good ones. When flagged trials are stopped, a trial
takes 1 - (1 - t) q and is good to the end with chance p (1 - f), so that one waits

    (1 - (1 - t) q) / (p (1 - f)),

which is less exactly when f < (1 - t) q. With f = q P(good | flagged) / P(good) the rule is worth following when

    P(good | flagged) < (1 - t) P(good).

The idea, to pre-empt only where a predictor of known confusion shortens the makespan, is that of "Optimal decision
making in robotic assembly and other trial-and-error tasks"; the formula is derived here for attempts that follow one
another. It is judged for each doubling of the steps apart, by the trials that were flagged there and ran on: before the
rule is trusted all of them do, later the controls (`audit`). P(good | flagged) is estimated as (k + 1/2) / (n + 1).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner import pareto
from tuner.history import COMPLETED
from tuner.stopping.protocol import StoppingRule, make_rule

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `early_stop: {rule: guard, of: median, ...}`.

    Attributes:
        of: The rule that is guarded, or `{rule: name, ...}` with its options.
        good: The share of the completed trials that counts as good.
        min_flagged: Flagged trials that completed, for each doubling of the steps, before the rule may stop any there.
    """

    of: str | Mapping[str, Any] = "asha"
    good: float = 0.1
    min_flagged: int = 5

    def __post_init__(self) -> None:
        if not 0.0 < self.good < 1.0 or self.min_flagged < 1:
            raise ValueError(f"0 < good < 1 and min_flagged >= 1 must hold, but got {self}")
        name = self.of.get("rule") if isinstance(self.of, Mapping) else self.of
        if not isinstance(name, str) or name == "guard":
            raise ValueError(f"of must name another rule, or be {{rule: name, ...}}, but got {self.of!r}")


def makespan(good: float, flagged: float, flagged_good: float, time: float) -> float:
    """Mean time to a good trial when flagged ones are stopped, in units of a whole trial.

    Args:
        good: Share of trials that are good, p.
        flagged: Share of trials that are flagged, q.
        flagged_good: Share of the good ones that are flagged, f < 1.
        time: When they are flagged, t.
    """
    return (1.0 - (1.0 - time) * flagged) / (good * (1.0 - flagged_good))


def saves(good_of_flagged: float, good: float, time: float) -> bool:
    """Whether stopping what is flagged at `time` shortens the makespan; see the module."""
    return good_of_flagged < (1.0 - time) * good


class Guard:
    """Follows a rule where that saves time.

    Attributes:
        spared: The trial that was flagged in the last call and not stopped; None without one.
    """

    def __init__(self, rule: StoppingRule, options: Options) -> None:
        self.spared: int | None = None
        self._rule = rule
        self._options = options
        self._flagged: dict[int, dict[int, int]] = {}  # doubling of the steps -> trial -> step of its first flag there

    def recall(self, trial: int, step: int) -> None:
        """Take in that a trial was flagged in an earlier session."""
        self._flagged.setdefault(_doubling(step), {}).setdefault(trial, step)

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Whether the rule says so and is worth following here."""
        self.spared = None
        if not self._rule.should_stop(history, trial, step):
            return False
        new = trial not in self._flagged.get(_doubling(step), {})
        self.recall(trial, step)
        stops = self._worth(history, _doubling(step))
        self.spared = trial if new and not stops else None
        return stops

    def _worth(self, history: History, doubling: int) -> bool:
        """Whether what was flagged around these steps held few enough good trials."""
        flagged = self._flagged[doubling]
        rows = np.flatnonzero((history.state == COMPLETED) & ~np.isnan(history.Y).any(axis=1))
        ended = history.number[rows]
        judged = np.isin(ended, list(flagged))
        if int(judged.sum()) < self._options.min_flagged:
            return False
        good = _good(history, rows, self._options.good)
        of_flagged = (int((good & judged).sum()) + 0.5) / (int(judged.sum()) + 1)
        others = ~judged
        total = int(others.sum()) + len(flagged)
        overall = (int((good & others).sum()) + of_flagged * len(flagged)) / total
        last = [max((report.step for report in history.reported(n)), default=0) for n in ended[judged].tolist()]
        time = float(np.median(list(flagged.values()))) / max(float(np.median(last)), 1.0)
        return saves(of_flagged, overall, min(time, 1.0))


def _doubling(step: int) -> int:
    return max(step, 0).bit_length()


def _good(history: History, rows: np.ndarray, share: float) -> np.ndarray:
    """Which of some rows are among the best share of them, at least one; feasible ones first."""
    violation = -np.minimum(np.nan_to_num(history.C[rows]), 0.0).sum(axis=1)
    ranks = pareto.ranks(history.Y[rows], history.feasible[rows], violation)
    ahead = np.searchsorted(np.sort(ranks), ranks)
    return np.asarray(ahead < max(share * len(rows), 1.0))


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session."""
    given = dict(options.of) if isinstance(options.of, Mapping) else {"rule": options.of}
    return Guard(make_rule(problem, given.pop("rule"), given), options)
