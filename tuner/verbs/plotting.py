"""`tuner plot`: from a study to a picture in a file."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_args

from tuner.errors import UsageError
from tuner.plots.canvas import Size, check_file, write_figure
from tuner.views.outcomes import known_name
from tuner.views.progress import Over

if TYPE_CHECKING:
    from tuner.study import Study

KINDS = ("front", "progress", "parallel", "importance", "slice", "contour", "curves", "timeline")
_HEIGHTS = {"front": 4.2, "progress": 3.4, "parallel": 3.8, "contour": 4.6, "curves": 3.6}


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What to draw.

    Attributes:
        metrics: Names of metrics; at most two for a front, one for the rest.
        parameters: Names of parameters.
        over: What progress is drawn over.
        size: How large.
    """

    metrics: Sequence[str] = ()
    parameters: Sequence[str] = ()
    over: str = "trials"
    size: Size = field(default_factory=Size)


def plot_study(study: Study, kind: str, output: Path | None, request: Request) -> str:
    """Draw one plot of a study; returns the file it went to, KIND.png without `output`.

    Raises:
        UsageError: An unknown kind, metric or parameter, a file that cannot be, or nothing to draw yet.
        EnvironmentUnfitError: Matplotlib is not installed.
    """
    file = output if output is not None else Path(f"{known_name('plot', kind, KINDS)}.png")
    check_file(file)
    view = view_of(study, kind, request)
    module = import_module(f"tuner.plots.{kind}")
    height = _HEIGHTS[kind] if kind in _HEIGHTS else module.height(view)
    write_figure(lambda figure: module.draw(figure, view), file, request.size, height)
    return str(file)


def view_of(study: Study, kind: str, request: Request) -> Any:
    """The data of one plot; the options that it has no use for are refused.

    Raises:
        UsageError: An unknown kind, metric or parameter, or nothing to draw yet.
    """
    known_name("plot", kind, KINDS)
    _check_options(kind, request)
    metric = request.metrics[0] if request.metrics else None
    view = getattr(import_module(f"tuner.views.{'parallel' if kind == 'slice' else kind}"), _VIEWS[kind])
    match kind:
        case "front":
            return view(study, request.metrics)
        case "progress":
            return view(study, metric, request.over)
        case "parallel" | "slice" | "contour":
            return view(study, metric, request.parameters)
        case "timeline":
            return view(study)
    return view(study, metric)


_VIEWS = {kind: f"{kind}_view" for kind in KINDS} | {"slice": "parallel_view"}


def _check_options(kind: str, request: Request) -> None:
    if request.over not in get_args(Over):
        raise UsageError(f"--over must be one of {', '.join(get_args(Over))}, but got {request.over!r}")
    if request.over != "trials" and kind != "progress":
        raise UsageError(f"--over is for `tuner plot progress`; {kind} has no use for it")
    most = {"front": 2, "timeline": 0}.get(kind, 1)
    if len(request.metrics) > most:
        raise UsageError(f"`tuner plot {kind}` takes at most {most} --metric, but got {len(request.metrics)}")
    if request.parameters and kind not in ("parallel", "slice", "contour"):
        raise UsageError(f"--parameter is for parallel, slice and contour; {kind} has no use for it")
