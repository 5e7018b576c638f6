"""The Pareto front as a plot of characters, drawn by plotext."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.reporting.tables import legible

if TYPE_CHECKING:
    from tuner.views.comparison import Comparison
    from tuner.views.front import Dot, FrontView

HINT = "hint: pip install 'tuner[terminal]' draws the front here; --no-plot says that you do without"

_MARKS = {
    "infeasible": ("×", "red"),
    "dominated": ("·", "gray"),
    "front": ("●", "green"),
    "baseline": ("◆", "orange"),
    "knee": ("★", "cyan"),
}
_SMALLEST = (30, 8)
_FINER = 2
"""Dots closer than a character's width divided by this are drawn once."""


def available() -> bool:
    """Whether plotext is installed, in a version that this module knows."""
    return importlib.util.find_spec("plotext") is not None and _known()


def _known() -> bool:
    from importlib.metadata import version

    return int(version("plotext").partition(".")[0]) >= 6


def front_plot(view: FrontView, *, width: int, height: int, color: bool = True) -> str:
    """A front with everything that it dominates, its knee and the baseline; "" where there is no room for it.

    Args:
        view: What to draw.
        width: Columns.
        height: Rows, the legend included.
        color: Whether escape sequences may colour it.
    """
    if width < _SMALLEST[0] or height < _SMALLEST[1]:
        return ""
    series = []
    shown = _dots(view)
    for name, dots in shown.items():
        thin = dots if name == "front" else _thinned(dots, width, height)
        series.append(([d.x for d in thin], [d.y for d in thin], *_MARKS[name]))
    title = f" {legible(view.y_label)}  against  {legible(view.x_label)}"
    return _drawn(series, [(name, *_MARKS[name]) for name in shown], title, (width, height), color=color)


_STUDIES = (("●", "blue"), ("▲", "red"), ("■", "green"), ("◆", "orange"), ("▼", "cyan"), ("×", "gray"))
"""How the fronts of several studies are told apart."""


def fronts_plot(found: Comparison, *, width: int, height: int, color: bool = True) -> str:
    """The fronts of several studies over one another; "" with one objective, or where there is no room for it.

    Args:
        found: What to draw; of more than two objectives the first two.
        width: Columns.
        height: Rows, the legend included.
        color: Whether escape sequences may colour it.
    """
    if found.corner is None or width < _SMALLEST[0] or height < _SMALLEST[1]:
        return ""
    sides = [(side, *_STUDIES[i % len(_STUDIES)]) for i, side in enumerate(found.sides) if side.points]
    series = [([p[0] for p in side.points], [p[1] for p in side.points], mark, tint) for side, mark, tint in sides]
    arrows = {"maximize": "↑", "minimize": "↓"}
    x, y = (f"{legible(name)} {arrows[goal]}" for name, goal in list(found.metrics.items())[:2])
    entries = [(legible(side.study), mark, tint) for side, mark, tint in sides]
    return _drawn(series, entries, f" {y}  against  {x}", (width, height), color=color)


def _drawn(
    series: Sequence[tuple[Sequence[float], Sequence[float], str, str]],
    entries: Sequence[tuple[str, str, str]],
    title: str,
    size: tuple[int, int],
    *,
    color: bool,
) -> str:
    """Points (x, y, mark, tint), the later over the earlier, under a title and over a legend (name, mark, tint)."""
    import plotext

    figure = plotext.figure
    figure.clear()
    figure.theme("simple")
    figure.plot_size(size[0], size[1] - 2)
    for x, y, mark, tint in series:
        figure.draw(figure.signal(list(x), list(y), marker=plotext.colorize(mark, tint)))
    body = str(figure.build())
    figure.clear()
    legend = "   ".join(f"{plotext.colorize(mark, tint)} {name}" for name, mark, tint in entries)
    text = "\n".join([title, body.rstrip("\n"), f" {legend}"])
    return text if color else str(plotext.uncolorize(text))


def _dots(view: FrontView) -> dict[str, Sequence[Dot]]:
    """What there is to draw, the later over the earlier."""
    found: dict[str, Sequence[Dot]] = {
        "infeasible": view.infeasible,
        "dominated": view.dominated,
        "front": view.front,
        "baseline": () if view.baseline is None else (view.baseline,),
        "knee": () if view.knee is None else (view.knee,),
    }
    return {name: dots for name, dots in found.items() if dots}


def _thinned(dots: Sequence[Dot], width: int, height: int) -> list[Dot]:
    """One dot of those that share a place."""
    if len(dots) <= width:
        return list(dots)
    xs, ys = [d.x for d in dots], [d.y for d in dots]
    columns, rows = _FINER * width, _FINER * height
    x_step = (max(xs) - min(xs)) / columns or 1.0
    y_step = (max(ys) - min(ys)) / rows or 1.0
    places = {(int((d.x - min_x) / x_step), int((d.y - min_y) / y_step)): d
              for min_x, min_y in [(min(xs), min(ys))] for d in dots}  # fmt: skip
    return list(places.values())
