"""A stream in blocks, in words and as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tuner.reporting.tables import cell

if TYPE_CHECKING:
    from collections.abc import Sequence

    from tuner.views.stream import Chosen, StreamView


def stream_lines(view: StreamView) -> list[str]:
    """How many instances, what they came to, which configurations were played most."""
    means = ", ".join(
        f"{cell(name)} {cell(mean)} (last fifth {cell(view.last[name])})" for name, mean in view.means.items()
    )
    played = "; ".join(
        f"{share:.0%} {' '.join(f'{cell(name)}={cell(value)}' for name, value in config.items())}"
        for config, share in view.played
    )
    return [
        f"{view.instances} instances in {view.blocks} blocks, {view.instances_per_s:,.0f} a second",
        f"mean {means}",
        f"played most: {played}",
    ]


def chosen_rows(found: Sequence[Chosen], goal: str) -> tuple[list[str], list[dict[str, Any]]]:
    """Columns and rows of what is chosen now, in all and by context; a parameter of a column's name has its own."""
    own = ["from", "to", "instances", "share", goal]
    parameters = [name for one in found[:1] for name in one.config if name not in own]
    rows = []
    for one in found:
        low, high = one.context or (None, None)
        row = {"from": low, "to": high, "instances": one.instances, "share": one.share, goal: one.mean}
        rows.append({**{name: one.config.get(name) for name in parameters}, **row})
    ranges = len(found) > 1
    return [name for name in (*own[:2], *parameters, *own[2:]) if ranges or name not in own[:2]], rows
