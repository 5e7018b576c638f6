"""auto: chooses a stopping rule by what it can see of the problem, and says which and why.

In this order:

    interval    the score is a mean over items, by its objective's own word or because the fidelity is called items
    neighbours  several objectives, or constraints: rungs stop small or late members of the front, precedents spare them
    asha        one objective
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.stopping.protocol import make_rule

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.stopping.protocol import StoppingRule


@dataclass(frozen=True, slots=True)
class Options:
    """`auto` has no options of its own; name a rule to give it some."""


def choose(problem: Problem) -> tuple[str, str]:
    """The rule's name, and why it."""
    fidelity, n = problem.fidelity, len(problem.objectives)
    if fidelity is not None and fidelity.parameter == "items":
        return "interval", f"the score is a mean over {fidelity.max:g} items"
    if n > 1:
        return "neighbours", f"{n} objectives{' and constraints' if problem.constraints else ''}"
    if problem.constraints:
        return "neighbours", "there are constraints, which a trial may meet late"
    return "asha", "one objective"


def stopping_notes(problem: Problem) -> list[str]:
    """What to tell somebody who left the choice open; nothing otherwise."""
    if problem.early_stop is None or problem.early_stop.rule != "auto":
        return []
    name, why = choose(problem)
    return [f"early_stop: auto chose {name}: {why}"]


def build(problem: Problem, options: Options) -> StoppingRule:
    """The rule that was chosen, for one session."""
    return make_rule(problem, choose(problem)[0], {})
