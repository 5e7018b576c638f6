"""neighbours: a trial ends when hardly any trial that once stood where it stands would bring it to the front.

Notation, at a step s that the trial has reached, for n trials that completed, m objectives and c constraint margins:

    z_j     where trial j stood at s: objectives and margins, and what they had gained since s / 2, in units of the
            standard deviations over the n trials; the trial's own is z
    w_j     exp(-|z_j - z|^2 / (2 width^2)), how much j is a precedent
    I_j     1 when the trial, were it to gain from here on what j gained, would end feasible, beaten by no member of
            the front

    p       (1/2 + members of the front) / (1 + n), the share of trials that reach the front at all; at least twice the
            chance below which trials end, so that without precedents none does
    chance = (p + sum_j w_j I_j) / (1 + sum_j w_j)

the posterior mean of a share under a prior that weighs as much as one precedent. Nothing is assumed of the shape of
curves, and what objectives and margins gain together stays together: a late bloomer is spared where others bloomed
late. Metrics that follow from the configuration are known at once and gain nothing; they are part of z, so that small
ones are judged by small ones. A trial ends when its chance is less than `chance` times the share of its steps that is
left: near the end there is little to save.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from tuner import pareto
from tuner.fidelity import at_most
from tuner.history import COMPLETED
from tuner.stopping.curves import Curves, Told, known

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.stopping.protocol import StoppingRule

Array = NDArray[np.float64]

_MOST = 256
"""Completed trials that are asked: the latest."""

_LEAST_SD = 1e-9


@dataclass(frozen=True, slots=True)
class Options:
    """Options of `early_stop: {rule: neighbours, ...}`.

    Attributes:
        chance: A trial ends when its chance to reach the front is less, times the share of its steps that is left.
        min_trials: Completed trials that reported on the way, before anything is stopped.
        min_reports: Reports of a trial before it may end.
        width: How alike precedents are, in standard deviations.
    """

    chance: float = 0.08
    min_trials: int = 5
    min_reports: int = 2
    width: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 < self.chance < 1.0 or self.min_trials < 2 or self.min_reports < 1 or not self.width > 0.0:
            raise ValueError(
                f"0 < chance < 1, min_trials >= 2, min_reports >= 1 and width > 0 must hold, but got {self}"
            )


class Neighbours:
    """See the module."""

    def __init__(self, options: Options) -> None:
        self._options = options
        self._curves = Curves()

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Whether the chance to reach the front is small, by the trials that completed."""
        told = self._curves.update(history, trial)
        if len(told.steps) < self._options.min_reports or not known(told.Y[-1]):
            return False
        ended = self._ended(history, told.steps[-1])
        if len(ended) < self._options.min_trials:
            return False
        front = history.Y[at_most(history, history.feasible) & history.feasible]
        members = front[pareto.non_dominated(front)] if len(front) else front
        left = 1.0 - told.steps[-1] / float(np.median([one.steps[-1] for one in ended]))
        return self._chance(told, ended, members, self._prior(history, members)) < self._options.chance * left

    def _prior(self, history: History, members: Array) -> float:
        """The chance without precedents."""
        n = int((at_most(history) & (history.state == COMPLETED)).sum())
        return max((0.5 + len(members)) / (1.0 + n), 2.0 * self._options.chance)

    def _ended(self, history: History, step: int) -> list[Told]:
        """What the trials reported that completed with the most fidelity, and went beyond a step."""
        numbers = history.number[at_most(history) & (history.state == COMPLETED)].tolist()
        found = [told for number in numbers[-_MOST:] if (told := self._curves.told.get(number)) is not None]
        return [told for told in found if told.steps and told.steps[-1] > step and known(told.Y[-1])]

    def _chance(self, told: Told, ended: list[Told], front: Array, prior: float) -> float:
        step = told.steps[-1]
        stood = np.array([_stood(one, step) for one in ended])
        own = _stood(told, step)
        z = np.concatenate([stood, own[None]])
        sd = np.maximum(z[:-1, 0].std(axis=0), _LEAST_SD)
        far = (((z[:-1] - z[-1]) / sd) ** 2).sum(axis=(1, 2))
        weights = np.exp(-far / (2.0 * self._options.width**2))
        gained = np.array([_values(one, -1) for one in ended]) - stood[:, 0]
        ends, m = own[0] + gained, len(told.Y[-1])
        reached = ends[:, None, :m]
        beaten = (front >= reached).all(axis=2) & (front > reached).any(axis=2)
        reaches = ~beaten.any(axis=1) & ~(ends[:, m:] < 0.0).any(axis=1)
        return float((prior + weights @ reaches) / (1.0 + weights.sum()))


def _values(told: Told, place: int) -> Array:
    """Objectives and margins of one report, shape (m + c,); 0 for an unknown margin."""
    return np.asarray(np.nan_to_num(np.array([*told.Y[place], *told.margins[place]]), nan=0.0))


def _stood(told: Told, step: int) -> Array:
    """Where a trial stood at a step, and what it had gained since half of it, shape (2, m + c)."""
    last = len(told.steps) - 1
    at, half = told.at(step), told.at((step + 1) // 2)
    now = _values(told, last if at is None else at)
    return np.array([now, now - _values(told, last if half is None else half)])


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule for one session."""
    return Neighbours(options)
