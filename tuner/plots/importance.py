"""Importance: a bar a parameter, one panel a metric."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tuner.plots.canvas import BLUE, text
from tuner.views.importance import ImportanceView

if TYPE_CHECKING:
    from matplotlib.figure import Figure

MOST_BARS = 20


def height(view: ImportanceView) -> float:
    """Inches that suit it."""
    return sum(0.6 + 0.24 * min(len(shares), MOST_BARS) for shares in view.shares.values()) + 0.3


def draw(figure: Figure, view: ImportanceView) -> None:
    """Draw it on an empty figure."""
    panels = figure.subplots(len(view.shares), squeeze=False, sharex=True)[:, 0]
    for axes, (metric, shares) in zip(panels, view.shares.items(), strict=True):
        shown = shares[:MOST_BARS]
        bars = axes.barh([text(name, 28) for name, _ in shown], [share for _, share in shown], color=BLUE, height=0.7)
        axes.bar_label(bars, [f"{share:.2f}" for _, share in shown], padding=3, fontsize=8)
        axes.invert_yaxis()
        rest = f", {len(shares) - len(shown)} more below" if len(shares) > len(shown) else ""
        axes.set_title(f"{text(metric)}{rest}", fontsize=9, loc="left")
        axes.set_xlim(0, 1)
    panels[-1].set_xlabel(f"share of importance (PED-ANOVA, {view.n} trials)")
