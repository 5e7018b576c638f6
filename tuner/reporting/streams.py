"""A stream in blocks, in words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.reporting.tables import cell

if TYPE_CHECKING:
    from tuner.views.stream import StreamView


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
