"""Halting: has a study's reports judged, and writes down which trials were stopped, and which run on as controls.

These, and the trials that a guard let go on, are events of the study, with the step and the rule. What is told of a
stopped trial is kept as it is of a pruned one: it had not all of its steps.
"""

from __future__ import annotations

import dataclasses
import json
from typing import TYPE_CHECKING

from tuner.compact import dumps
from tuner.stopping.judge import Judge, make_judge

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.trial import Outcome, Proposal

STOPPED, CONTROL, FLAGGED = "stopped", "control", "flagged"
"""Kinds of events."""


class Halting:
    """Early stopping in one session of a study."""

    def __init__(self) -> None:
        self._judge: Judge | None = None
        self._stopped: dict[int, int] = {}  # trial -> the attempt that was stopped

    def prepare(self, study: Study) -> None:
        """Build the rule, unless that was done.

        Raises:
            UnknownNameError: There is no such rule.
            UsageError: An option is unknown, or does not fit.
        """
        if self._judge is not None or study.problem.early_stop is None:
            return
        self._judge = make_judge(study.problem)
        for event in study.events():
            if self._judge is not None and event["kind"] in (STOPPED, CONTROL, FLAGGED):
                self._judge.recall(event["kind"], event["trial"], json.loads(event["detail"])["step"])

    def stops(self, study: Study, proposal: Proposal, step: int) -> bool:
        """Whether the trial that has just reported `step` should stop."""
        if study.problem.early_stop is None:
            return False
        self.prepare(study)
        assert self._judge is not None
        if self._stopped.get(proposal.trial) == proposal.attempt:
            return True
        decision = self._judge.decide(study.history, proposal.trial, step)
        if decision is None:
            return False
        detail = {"step": step, "rule": decision.rule, "attempt": proposal.attempt}
        study.add_event(decision.kind, dumps(detail), proposal.trial)
        if decision.kind == STOPPED:
            self._stopped[proposal.trial] = proposal.attempt
        return decision.kind == STOPPED

    def told(self, proposal: Proposal | None, outcome: Outcome) -> Outcome:
        """What is told of a trial: pruned, when it was stopped."""
        if proposal is None or outcome.state != "completed":
            return outcome
        stopped = self._stopped.get(proposal.trial) == proposal.attempt
        return dataclasses.replace(outcome, state="pruned") if stopped else outcome
