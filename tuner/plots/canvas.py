"""What all plots share: sizes, colours, text, and the way to a file."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import EnvironmentUnfitError, UsageError
from tuner.views.axes import ParameterAxis

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BLUE, ORANGE, GREEN, VERMILION, SKY, GREY, BLACK = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#56B4E9", "#9A9A9A", "#000000",
)  # fmt: skip
SCALE = "cividis"
"""Colours of a quantity: even in lightness, the same to the colour-blind."""

LETTER = 0.08
"""About as many inches wide is a letter."""

MANY = 2000
"""Beyond so many marks an SVG holds them as a picture, so that it stays small."""

_STYLE: Any = {
    "axes.axisbelow": True,
    "axes.grid": False,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "axes.formatter.useoffset": False,
    "figure.facecolor": "white",
    "font.family": ["DejaVu Sans"],
    "font.size": 9,
    "legend.frameon": False,
    "savefig.facecolor": "white",
    "svg.fonttype": "none",  # text stays text
    "svg.hashsalt": "tuner",  # the same file every time
    "text.parse_math": False,  # a name may hold dollar signs
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Size:
    """How large a picture is.

    Attributes:
        width: Inches; 6.5 is the text of a page, 3.3 a column.
        height: Inches; None for what suits the plot.
        dpi: Dots an inch, for PNG.
    """

    width: float = 6.5
    height: float | None = None
    dpi: int = 160

    def __post_init__(self) -> None:
        for name, value in (("width", self.width), ("height", self.height)):
            if value is not None and not 1 <= value <= 50:
                raise UsageError(f"--{name} must lie between 1 and 50 inches, but got {value:g}")
        if not 30 <= self.dpi <= 1200:
            raise UsageError(f"--dpi must lie between 30 and 1200, but got {self.dpi}")


def check_file(file: Path) -> None:
    """Raises UsageError unless a picture can be written there."""
    if file.suffix.lower() not in (".png", ".svg"):
        raise UsageError(f"the file must end in .png or .svg, but got {str(file)!r}")
    if not file.parent.is_dir():
        raise UsageError(f"the folder of the file must exist, but {str(file.parent)!r} does not; make it first")


def write_figure(draw: Callable[[Figure], None], file: Path, size: Size, height: float) -> None:
    """Draw on a new figure and write it as what the file's name says.

    Args:
        draw: Draws everything.
        file: Ends in .png or .svg.
        size: How large.
        height: Inches, where the size leaves it open.

    Raises:
        UsageError: There is no such folder, or it is another kind of file.
        EnvironmentUnfitError: Matplotlib is not installed.
    """
    check_file(file)
    try:
        import matplotlib as mpl
        from matplotlib.figure import Figure
    except ImportError as error:
        raise EnvironmentUnfitError("plots need Matplotlib; install it with `pip install tuner[plots]`") from error
    with mpl.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")  # a name in another script; a box stands there
        figure = Figure(figsize=(size.width, size.height or min(height, 50.0)), layout="constrained")
        draw(figure)
        kind = file.suffix.lower().removeprefix(".")
        figure.savefig(file, dpi=size.dpi, format=kind, metadata={"Date": None} if kind == "svg" else None)


def text(value: str, limit: int = 40) -> str:
    """A name as a picture may hold it: one line, without control characters, cut when it is long."""
    shown = "".join(c if c.isprintable() else " " for c in value).strip()
    return shown if len(shown) <= limit else shown[: limit - 1] + "…"


def legend_above(figure: Figure, axes: Axes) -> None:
    """A legend over the plot, where it hides nothing; none for a single entry or less."""
    handles, labels = axes.get_legend_handles_labels()
    if len(labels) > 1:
        across = int(figure.get_figwidth() / ((max(map(len, labels)) + 4) * LETTER))
        figure.legend(handles, labels, loc="outside upper center", ncols=min(max(across, 1), len(labels)))


def note_left_out(figure: Figure, most: int, n: int) -> None:
    """Say below the plot that only the first `most` of `n` parameters are in it, if so."""
    if n > most:
        figure.supxlabel(f"the first {most} of {n} parameters; --parameter chooses others", fontsize=8)


def parameter_ticks(axes: Axes, axis: ParameterAxis, *, room: float = 5.0, vertical: bool = False) -> None:
    """The values of a parameter beside its scale, turned where `room` inches are too few, and its name."""
    places = [place for place, _ in axis.ticks]
    labels = [text(label, 14) for _, label in axis.ticks]
    if vertical:
        axes.set_yticks(places, labels)
        axes.set_ylim(-0.04, 1.04)
        axes.set_ylabel(text(axis.name))
        return
    turned = sum(len(label) + 1 for label in labels) * LETTER > room
    axes.set_xticks(places, labels, rotation=30 if turned else 0, ha="right" if turned else "center")
    axes.set_xlim(-0.04, 1.04)
    axes.set_xlabel(text(axis.name))


def time_unit(seconds: float) -> tuple[float, str]:
    """What to divide by, and the unit's name, so that a span of time is a readable number."""
    for length, name in ((86_400.0, "days"), (3600.0, "hours"), (60.0, "minutes")):
        if seconds >= 2 * length:
            return length, name
    return 1.0, "seconds"
