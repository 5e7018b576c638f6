"""Early stopping in words: what it saved and what it cost, each with its interval."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.reporting.progress import clock
from tuner.reporting.tables import legible

if TYPE_CHECKING:
    from tuner.intervals import Estimate
    from tuner.views.stopping import StoppingView


def stopping_lines(view: StoppingView) -> list[str]:
    """One line for what was done, and one for what that means, when something is known of it."""
    stopped = ", ".join(f"{n} by {legible(rule)}" for rule, n in view.by_rule.items()) or f"by {legible(view.rule)}"
    lines = [f"early stopping: {view.stopped} stopped ({stopped}){_controls(view)}"]
    if view.false_stops is not None and view.good_stops is not None:
        lines.append(
            f"false stops: {_percent(view.false_stops)} would have ended on the front, "
            f"{_percent(view.good_stops)} among the best tenth"
        )
    if view.saved_s is not None and view.saved_share is not None:
        saved = view.saved_s
        lines.append(
            f"saved: about {clock(saved.value)} ({clock(saved.low)} to {clock(saved.high)}), "
            f"{_percent(view.saved_share)} of the time without stopping"
        )
    return lines


def _controls(view: StoppingView) -> str:
    if view.audit == 0.0 and not view.controls:
        return "; `audit: 0.1` would run a tenth of them on, to tell what that costs"
    return f"; {view.controls} more ran on as controls, of which {view.judged} completed"


def _percent(found: Estimate) -> str:
    return f"{found.value:.0%} ({found.low:.0%} to {found.high:.0%})"
