"""What every stopping rule is, and how one is made from a sweep file."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any, Protocol

from tuner import catalog
from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.history import History
    from tuner.problem import Problem


class StoppingRule(Protocol):
    """Decides, when a running trial reports, whether it should end."""

    def should_stop(self, history: History, trial: int, step: int) -> bool:
        """Whether `trial`, which has just reported `step`, is not worth continuing.

        Args:
            history: Finished and pending trials; `history.curve(n)` holds what trial n reported so far.
            trial: Its number.
            step: The step it reported.
        """
        ...


def make_rule(problem: Problem, name: str, options: dict[str, Any]) -> StoppingRule:
    """Build a rule by name with the options of a sweep file.

    Raises:
        UnknownNameError: There is no such rule.
        UsageError: It has no such option, or the values do not fit.
    """
    module = catalog.load("stopping", name)
    known = {field.name for field in dataclasses.fields(module.Options)}
    for option in options:
        if option not in known:
            listed = ", ".join(sorted(known))
            raise UsageError(f"early_stop: the rule {name!r} has no option {option!r} (it has: {listed})")
    try:
        rule: StoppingRule = module.build(problem, module.Options(**options))
    except (TypeError, ValueError) as error:
        raise UsageError(f"early_stop: the options of {name!r} do not fit: {error}") from error
    return rule
