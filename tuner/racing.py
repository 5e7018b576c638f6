"""Racing: repeats on common seeds, and a configuration dropped once they say that it is worse.

With `repeats: {n: 10, race: 0.05}` repeat k of every configuration has the same seed, and the same number
(`TUNER_REPLICATE`, `Trial.replicate`), so that it may stand for an instance: configurations are compared on the same
noise or the same instances, pair by pair. After each repeat from the second on, a trial is compared with every member
of the front:

    d_k     its objective at repeat k less the member's, maximised
    t       mean(d) / (sd(d) / sqrt(k)); worse when Student's P(T < t) is at most race / ((n - 1) members)

and dropped when one member is better in every objective. The level is shared among the looks and the members, so that a
configuration that is no worse is dropped with a chance of at most `race`, but for this: members of the front were
chosen by these very measurements, and look better than they are. A dropped trial is kept as pruned, with the means of
what was measured.
"""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner import ranking
from tuner.compact import dumps
from tuner.judging import judge
from tuner.repeats import averaged

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.trial import Outcome, Proposal

Array = NDArray[np.float64]

MEASURED, DROPPED = "measured", "dropped"
"""Kinds of events: each repeat's objectives of a trial, and that it was dropped."""


class Race:
    """The race of one session of a study.

    Args:
        study: Whose sweep says `repeats.race`.
    """

    def __init__(self, study: Study) -> None:
        self._study = study
        repeats = study.problem.repeats
        self._n, self._level = (repeats.n, repeats.race) if repeats is not None else (1, None)
        self._measured: dict[int, Array] = {}
        for event in study.events() if self._level is not None else ():
            if event["kind"] == MEASURED:
                self._measured[event["trial"]] = np.array(json.loads(event["detail"])["objectives"])

    def drops(self, proposal: Proposal, done: Sequence[Outcome]) -> bool:
        """Whether what was measured so far says that a trial is worse than a member of the front."""
        if self._level is None or len(done) < 2:
            return False
        own = self._values(proposal, done)
        rivals = [n for n in ranking.front(self._study.history) if len(self._measured.get(n, ())) >= len(own)]
        level = self._level / ((self._n - 1) * max(len(rivals), 1))
        for rival in rivals:
            if worse(own, self._measured[rival][: len(own)]) <= level:
                detail = {"rival": rival, "repeats": len(own)}
                self._study.add_event(DROPPED, dumps(detail), proposal.trial)
                return True
        return False

    def settled(self, proposal: Proposal, done: Sequence[Outcome], *, dropped: bool) -> Outcome:
        """The outcome of a trial whose repeats are over."""
        if self._level is not None:
            values = self._values(proposal, done)
            self._measured[proposal.trial] = values
            self._study.add_event(MEASURED, dumps({"objectives": values.tolist()}), proposal.trial)
        mean = averaged(done)
        return dataclasses.replace(mean, state="pruned") if dropped else mean

    def _values(self, proposal: Proposal, done: Sequence[Outcome]) -> Array:
        """Objectives of each repeat, maximised, shape (k, m)."""
        problem = self._study.problem
        told = [judge(problem, proposal.config, outcome, on_oom="fail").metrics for outcome in done]
        return np.array([problem.values(metrics) for metrics in told], dtype=np.float64)


def worse(own: Array, rival: Array) -> float:
    """The largest over the objectives of the one-sided p-values that `own` is no worse than `rival`, on common seeds.

    Args:
        own: Objectives, maximised, shape (k, m), k >= 2.
        rival: The same of the other, on the same seeds.

    Returns:
        1 where a value is missing; 0 where every difference is the same, and negative.
    """
    from scipy.special import stdtr

    d = own - rival
    if not np.isfinite(d).all():
        return 1.0
    mean, se = d.mean(axis=0), d.std(axis=0, ddof=1) / math.sqrt(len(d))
    with np.errstate(divide="ignore", invalid="ignore"):
        p = np.where(se > 0.0, stdtr(len(d) - 1, mean / se), np.where(mean < 0.0, 0.0, 1.0))
    return float(p.max())
