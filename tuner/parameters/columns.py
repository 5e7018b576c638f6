"""Column: what models need to know of one column of the unit cube."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_GRID = 10_000
"""The most levels for which `Column.grid` is written out."""


@dataclass(frozen=True, slots=True)
class Column:
    """One column of an encoding.

    Attributes:
        kind: continuous; integer: numbers on a grid; ordinal: ordered levels; categorical: levels without an order.
        levels: How many values a discrete column takes; None when continuous.
        parameter: The parameter it belongs to.
        index: Which of the parameter's columns it is, from 0.
        grid: The admissible positions of a discrete column, ascending; None when continuous, or when there are more
            than `MAX_GRID` levels.
    """

    kind: Literal["continuous", "integer", "ordinal", "categorical"]
    levels: int | None
    parameter: str
    index: int
    grid: tuple[float, ...] | None = None


def even_grid(levels: int) -> tuple[float, ...] | None:
    """The positions (i + 0.5) / levels, or None when there are more than `MAX_GRID`."""
    return tuple((i + 0.5) / levels for i in range(levels)) if levels <= MAX_GRID else None
