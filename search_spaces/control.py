"""Parameters of control problems: one number a patch and interval of time, the intervals of a patch side by side."""

from __future__ import annotations

from collections.abc import Callable

from tuner.parameters import Constant, Vector
from tuner.space import SearchSpace

SCALE = 12.0
PATCHES = 4
MODES = 64


def heat(intervals: int = 2) -> SearchSpace:
    """Return the space of `pde-control`: `control` in [-12, 12], four patches times the intervals, and `modes`, 64."""
    control = Vector("control", length=PATCHES * intervals, low=-SCALE, high=SCALE)
    return SearchSpace([control, Constant("modes", value=MODES)])


def spaces() -> dict[str, Callable[[], SearchSpace]]:
    """Return the spaces by name."""
    return {"control/heat": heat}
