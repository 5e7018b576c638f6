"""`tuner compare`: open the studies, compare them, render."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from pathlib import Path

from tuner.blocks import need_trials
from tuner.errors import UsageError
from tuner.plots.canvas import Size, check_file, write_figure
from tuner.reporting.comparing import to_json, to_text
from tuner.sessions import find_study
from tuner.study import Study
from tuner.views.comparison import Comparison, comparison

_HEIGHT = 4.2
"""Inches."""


def compare_studies(
    names: Sequence[str],
    format: str,
    *,
    output: Path | None = None,
    width: int | None = None,
    draw: Callable[[Comparison], str] = lambda found: "",
) -> str:
    """Studies over one another.

    Args:
        names: Folders or names.
        format: table, json or md.
        output: A picture to draw besides, .png or .svg.
        width: Terminal width; None never truncates.
        draw: What is put above the tables.

    Raises:
        UsageError: Another format than table, json or md, studies that cannot be compared, or no such folder.
        StoreError: There is no such study.
        EnvironmentUnfitError: A picture without Matplotlib.
    """
    if format not in ("table", "json", "md"):
        raise UsageError(f"-f must be one of table, json, md, but got {format!r}")
    if output is not None:
        check_file(output)
    with ExitStack() as stack:
        studies = [stack.enter_context(Study.open(find_study(name), read_only=True)) for name in names]
        for study in studies:
            need_trials(study.sweep)
        found = comparison(studies, names)
    if output is not None:
        from tuner.plots.comparison import draw as draw_picture

        write_figure(lambda figure: draw_picture(figure, found), output, Size(), _HEIGHT)
    if format == "json":
        return to_json(found)
    text = to_text(found, "md" if format == "md" else "table", width=width)
    picture = draw(found) if format == "table" else ""
    return "\n".join(part for part in (picture, text) if part)
