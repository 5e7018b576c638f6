"""Every error that a user can cause, and the exit code each becomes (design section 7).

    TunerError                 1   something went wrong inside the tool
    ├── UsageError             2   a wrong argument or option
    │   └── SweepError         2   a sweep file that does not say what it must; holds every `Problem` found
    ├── SpaceError             2   a parameter, restriction or configuration that cannot be
    ├── UnknownNameError       2   a strategy, objective, space or kernel that is not in the catalog
    ├── ObjectiveError         2   an objective that cannot be loaded or breaks its contract
    ├── FailurePolicyError     6   too many trials failed; the sweep was stopped
    ├── StoreError             7   the study's storage cannot be read or written
    │   └── LockError          7   another process is writing to the study
    └── EnvironmentUnfitError  8   a device or a program that the sweep needs is missing

Only the command line turns them into text and an exit code.
"""

from __future__ import annotations

from dataclasses import dataclass


class TunerError(Exception):
    """The root: the message says what is wrong, where, and what to do."""

    exit_code = 1


class UsageError(TunerError):
    """A wrong argument or option."""

    exit_code = 2


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong in a sweep file.

    Attributes:
        path: Where, as a JSONPath such as `$.parameters.lr.min`.
        message: The rule, what came instead, and what to do.
        line: Line in the file, from 1; None when the sweep did not come from a file.
    """

    path: str
    message: str
    line: int | None = None

    def __str__(self) -> str:
        return f"line {self.line}: {self.path}: {self.message}" if self.line else f"{self.path}: {self.message}"


class SweepError(UsageError):
    """A sweep file that does not say what it must; all problems at once."""

    def __init__(self, problems: list[Problem] | tuple[Problem, ...], source: str = "sweep") -> None:
        self.problems = tuple(problems)
        self.source = source
        lines = [f"{source}: {problem}" for problem in self.problems]
        super().__init__("\n".join(lines))


class SpaceError(TunerError):
    """A parameter, restriction or configuration that cannot be."""

    exit_code = 2


class UnknownNameError(TunerError):
    """A name that the catalog does not hold; the message lists those it does."""

    exit_code = 2


class ObjectiveError(TunerError):
    """An objective that cannot be loaded, or that breaks its contract."""

    exit_code = 2


class ExhaustedError(TunerError):
    """No further trial may be started: the budget is spent, or the space has no new configuration."""

    exit_code = 3


class FailurePolicyError(TunerError):
    """Too many trials failed; the sweep was stopped."""

    exit_code = 6


class StoreError(TunerError):
    """The study's storage cannot be read or written."""

    exit_code = 7


class LockError(StoreError):
    """Another process is writing to the study."""


class EnvironmentUnfitError(TunerError):
    """A device or a program that the sweep needs is missing."""

    exit_code = 8


class Stopped(Exception):  # noqa: N818 - a signal to the objective, not an error
    """Raised by `Trial.report` inside an objective when the trial should end; let it pass through."""
