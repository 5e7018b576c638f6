"""Judge: applies a stopping rule, and what holds under every rule: constraints, protection, controls.

    violations   a trial that violates one constraint in so many reports in a row ends, whatever the rule says
    protect      a trial that would enter the front as it stands now goes on
    audit        of the trials that would be stopped, this share runs on, as controls: what they come to tells what
                 stopping costs, and what it saves (`tuner.views.stopping`)

Which trial is a control follows from the study's seed and the trial's number alone.
"""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import TYPE_CHECKING, Literal

from tuner.errors import UsageError
from tuner.randomness import generator
from tuner.stopping import auto
from tuner.stopping.curves import Told, on_front
from tuner.stopping.guard import Guard
from tuner.stopping.protocol import make_rule

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem
    from tuner.stopping.protocol import StoppingRule

STREAM = 7001
"""Of the draw that makes a trial a control."""

CONSTRAINT = "constraint"


@dataclass(frozen=True, slots=True)
class Always:
    """What every `early_stop` may be told, whatever its rule; see the module."""

    audit: float = 0.0
    protect: bool = True
    violations: int | None = None

    def __post_init__(self) -> None:
        if not 0.0 <= self.audit < 1.0:
            raise ValueError(f"audit must lie in [0, 1), but got {self.audit}")
        if self.violations is not None and self.violations < 1:
            raise ValueError(f"violations must be at least 1, but got {self.violations}")


@dataclass(frozen=True, slots=True)
class Decision:
    """That a trial should end, that it would and runs on as a control, or that a guard let it go on.

    Attributes:
        kind: Which of the three: stopped, control or flagged.
        rule: Who says so: the rule, or "constraint".
    """

    kind: Literal["stopped", "control", "flagged"]
    rule: str


class Judge:
    """For one session of a study that stops trials early."""

    def __init__(self, name: str, rule: StoppingRule, always: Always, *, seed: int) -> None:
        self._name = name
        self._rule = rule
        self._always = always
        self._seed = seed
        self._controls: set[int] = set()

    def recall(self, kind: str, trial: int, step: int) -> None:
        """Take in what was decided of a trial in an earlier session."""
        if kind == "control":
            self._controls.add(trial)
        if isinstance(self._rule, Guard):
            self._rule.recall(trial, step)

    def decide(self, history: History, trial: int, step: int) -> Decision | None:
        """What a report means for its trial; None: it goes on, or had all of its fidelity. A control is announced once.

        Args:
            history: With the report.
            trial: Its number.
            step: The step it reported.
        """
        fidelity = history.problem.fidelity
        done = fidelity is not None and step >= fidelity.max
        stops = self._rule.should_stop(history, trial, step)  # of controls, too: the rule keeps count
        rule = self._name if stops else CONSTRAINT if self._violates(history, trial) else None
        if trial in self._controls or done:
            return None
        if rule is None:
            spared = isinstance(self._rule, Guard) and self._rule.spared == trial
            return Decision("flagged", self._name) if spared else None
        told = Told(history.reported(trial))
        told.take()
        if self._always.protect and on_front(history, told):
            return None
        if is_control(self._seed, trial, self._always.audit):
            self._controls.add(trial)
            return Decision("control", rule)
        return Decision("stopped", rule)

    def _violates(self, history: History, trial: int) -> bool:
        n = self._always.violations
        if n is None or len(told := history.reported(trial)[-n:]) < n:
            return False
        return any(all(margin < 0 for margin in row) for row in zip(*(report.margins for report in told)))


def is_control(seed: int, trial: int, audit: float) -> bool:
    """Whether a trial runs on when it should stop; a share `audit` of all trials, drawn by their numbers."""
    return audit > 0.0 and float(generator(seed, trial, STREAM).random()) < audit


def make_judge(problem: Problem) -> Judge | None:
    """The judge of a problem; None when it stops nothing early.

    Raises:
        UnknownNameError: There is no such rule.
        UsageError: An option is unknown, or does not fit.
    """
    section = problem.early_stop
    if section is None:
        return None
    shared = {field.name for field in fields(Always)}
    try:
        always = Always(**{name: value for name, value in section.options.items() if name in shared})
    except (TypeError, ValueError) as error:
        raise UsageError(f"early_stop: {error}") from error
    own = {name: value for name, value in section.options.items() if name not in shared}
    name = auto.choose(problem)[0] if section.rule == "auto" else section.rule
    return Judge(name, make_rule(problem, section.rule, own), always, seed=problem.seed)
