"""What early stopping saved, and what it cost: estimated from the controls, trials that ran on though a rule said stop.

Controls are a random sample of the trials that a rule would stop, so that what they came to holds for those that were
stopped: the share of them that ended on the front is the rate of false stops, and the time they took after the rule had
spoken is what each stopped trial saved.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from tuner import pareto, ranking
from tuner.fidelity import at_most
from tuner.halting import CONTROL, STOPPED
from tuner.intervals import Estimate, mean, share

if TYPE_CHECKING:
    from tuner.study import Study

_BEST = 0.1


@dataclass(frozen=True, slots=True, kw_only=True)
class StoppingView:
    """How early stopping does.

    Attributes:
        rule: Its name.
        audit: The declared share of controls.
        stopped: Trials that were stopped.
        controls: Trials that would have been and ran on; those that have completed are `judged`.
        judged: How many the estimates rest on.
        false_stops: Share of stopped trials that would have ended on the front; None without a judged control.
        good_stops: Share that would have ended among the best tenth of the trials; None likewise.
        saved_s: Seconds that stopping saved; None below two judged controls, or when none was stopped.
        saved_steps: Reported steps, likewise.
        saved_share: Of the time that the trials would have taken without stopping, likewise.
        by_rule: How many were stopped by the rule, and by a constraint.
    """

    rule: str
    audit: float
    stopped: int
    controls: int
    judged: int
    false_stops: Estimate | None
    good_stops: Estimate | None
    saved_s: Estimate | None
    saved_steps: Estimate | None
    saved_share: Estimate | None
    by_rule: Mapping[str, int]

    def to_json(self) -> dict[str, Any]:
        """Plain data; an estimate is its value and the ends of its 95 % interval."""
        return asdict(self)


def stopping_view(study: Study) -> StoppingView | None:
    """How early stopping does so far; None for a study without it."""
    section = study.problem.early_stop
    if section is None:
        return None
    events = {kind: _latest(study, kind) for kind in (STOPPED, CONTROL)}
    pruned = {record.trial for record in study.records(states=("pruned",))}
    stopped = {trial: event for trial, event in events[STOPPED].items() if trial in pruned}
    controls = [(study.read(trial), event) for trial, event in events[CONTROL].items()]
    judged = [(record, event) for record, event in controls if record.state == "completed"]
    n, numbers = len(judged), [record.trial for record, _ in judged]
    after_s = [max((record.finished_at or event["at"]) - event["at"], 0.0) for record, event in judged]
    last = [study.last_report(record.trial) for record, _ in judged]
    steps = [max(report[0] - event["step"], 0) if report else 0 for report, (_, event) in zip(last, judged)]
    saved_s = _saved(after_s, len(stopped))
    rules = [event["rule"] for event in stopped.values()]
    return StoppingView(
        rule=section.rule,
        audit=float(section.options.get("audit", 0.0)),
        stopped=len(stopped),
        controls=len(controls),
        judged=n,
        false_stops=share(len(set(numbers) & set(ranking.front(study.history))), n) if n else None,
        good_stops=share(len(set(numbers) & _best_tenth(study)), n) if n else None,
        saved_s=saved_s,
        saved_steps=_saved(steps, len(stopped)),
        saved_share=_of_all(saved_s, float(study.history.seconds.sum())),
        by_rule={rule: rules.count(rule) for rule in sorted(set(rules))},
    )


def _latest(study: Study, kind: str) -> dict[int, dict[str, Any]]:
    """Trial -> what was decided of its last attempt, with the time."""
    found = [event for event in study.events() if event["kind"] == kind]
    return {event["trial"]: {"at": event["at"], **json.loads(event["detail"])} for event in found}


def _best_tenth(study: Study) -> set[int]:
    """The trials of which less than a tenth of those that completed are in an earlier front."""
    history = study.history
    rows = np.flatnonzero(at_most(history, history.feasible) & history.feasible)
    ranks = pareto.ranks(history.Y[rows])
    ahead = np.searchsorted(np.sort(ranks), ranks)
    return set(history.number[rows[ahead < _BEST * len(rows)]].tolist())


def _saved(after: Sequence[float], stopped: int) -> Estimate | None:
    """What so many stopped trials would have taken on, by what the controls took on."""
    if len(after) < 2 or not stopped:
        return None
    found = mean(after).scaled(stopped)
    return Estimate(found.value, max(found.low, 0.0), found.high)


def _of_all(saved: Estimate | None, spent: float) -> Estimate | None:
    """As a share of what would have been spent."""
    if saved is None or spent + saved.low <= 0.0:
        return None
    return Estimate(*(value / (spent + value) for value in (saved.value, saved.low, saved.high)))
