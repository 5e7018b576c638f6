"""ParameterAxis: one column of the space as a scale of positions in [0, 1], with the values that stand there."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from tuner.errors import UsageError
from tuner.parameters import Float, Int, Parameter, Vector
from tuner.reporting.tables import cell
from tuner.views.outcomes import Floats, Ints, known_name

if TYPE_CHECKING:
    from tuner.study import Study

_TICKS = 6
"""About as many values are written beside a scale."""


@dataclass(frozen=True, slots=True, eq=False)
class ParameterAxis:
    """A column of the space.

    Attributes:
        name: The parameter, with the index where it has several columns: `keep[3]`.
        positions: Where each trial stands in [0, 1], NaN where the parameter was inactive, shape (n,).
        ticks: Positions with the values there.
    """

    name: str
    positions: Floats
    ticks: tuple[tuple[float, str], ...]


def parameter_axes(study: Study, rows: Ints, names: Sequence[str] = ()) -> list[ParameterAxis]:
    """The axes of the parameters named, or of all, for these rows of the study's history.

    Raises:
        UsageError: A name is no parameter that varies.
    """
    history, space = study.history, study.problem.space
    parts = {name: part for name, part in space.encoding.slices.items() if part.stop > part.start}
    columns = {f"{n}[{k}]": (n, k) for n, part in parts.items() for k in range(part.stop - part.start)}
    chosen: list[tuple[str, int]] = []
    for name in names or parts:
        known = known_name("parameter", name, [*parts, *(c for c in columns if name not in parts)])
        chosen += [columns[known]] if known in columns else [(known, k) for k in range(_width(parts[known]))]
    if not chosen:
        raise UsageError("this study varies no parameter, so there is nothing to draw")
    axes = []
    for name, k in chosen:
        column, wide = parts[name].start + k, _width(parts[name]) > 1
        positions = np.where(history.active[rows, column], history.X[rows, column], np.nan)
        ticks = ((0.0, "0"), (1.0, "1")) if wide and not isinstance(space[name], Vector) else ticks_of(space[name])
        axes.append(ParameterAxis(f"{name}[{k}]" if wide else name, positions, ticks))
    return axes


def _width(part: slice) -> int:
    return int(part.stop - part.start)


def ticks_of(parameter: Parameter) -> tuple[tuple[float, str], ...]:
    """Positions and values to write beside the scale of a parameter with one column, or of one entry of a vector."""
    if isinstance(parameter, Float | Int | Vector):
        low, high = float(parameter.low), float(parameter.high)
        values = round_values(low, high, log=parameter.log)
        whole = isinstance(parameter, Int) or (isinstance(parameter, Vector) and parameter.integer)
        if whole:
            values = sorted({float(round(value)) for value in values if low <= round(value) <= high})
        return tuple((parameter.axis.encode(int(v) if whole else v), f"{v:g}") for v in values)
    if not math.isfinite(parameter.size()) or parameter.size() > 1000:
        return ((0.0, "0"), (1.0, "1"))
    members = list(parameter.members())
    every = -(-len(members) // (2 * _TICKS))
    return tuple((parameter.encode(value)[0], cell(value)) for value in members[::every])


def round_values(low: float, high: float, *, log: bool) -> list[float]:
    """Up to some six round numbers in [low, high]: powers of ten on a long logarithmic scale, else 1, 2, 5 steps."""
    if not low < high:
        return [low]
    if log and high / low >= 100:
        first, last = math.ceil(math.log10(low) - 1e-9), math.floor(math.log10(high) + 1e-9)
        every = -(-(last - first + 1) // _TICKS)
        return [min(max(float(f"1e{k}"), low), high) for k in range(first, last + 1, every)]
    rough = (high - low) / (_TICKS - 1)
    scale = 10.0 ** math.floor(math.log10(rough))
    step = next(scale * f for f in (1.0, 2.0, 5.0, 10.0) if scale * f >= rough * 0.999)
    first = math.ceil(low / step - 1e-9)
    values = [round(k * step, 12) for k in range(first, math.floor(high / step + 1e-9) + 1)]
    return [min(max(value, low), high) for value in values]
