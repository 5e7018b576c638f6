"""The page: one HTML file with its script, its style, Plotly, the data and the study itself. No network, no eval.

The Content-Security-Policy lets run and style only what is named by its hash, and loads nothing at all. Whatever came
from a user or a trial is either escaped text (`sections.py`) or data that the script only ever writes as text.
"""

from __future__ import annotations

import json
import re
from importlib import import_module
from importlib.resources import files
from typing import TYPE_CHECKING

from tuner.archive import pack
from tuner.errors import EnvironmentUnfitError
from tuner.pages.data import page_data
from tuner.pages.packing import STUDY, packed, source_hash
from tuner.pages.sections import failures_section, header, reproduction_section, text_of, verdict_section

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.views.report import Report

_SCRIPTS = ("state", "plotting", "front", "pins", "parallel", "analysis", "history", "table", "main")


def page(report: Report, study: Study) -> str:
    """The report as HTML.

    Raises:
        EnvironmentUnfitError: Plotly is not installed.
    """
    plotly = _plotly()
    script = "\n".join(_static(f"{name}.js") for name in _SCRIPTS)
    style = _static("report.css")
    policy = {
        "default-src": "'none'",
        "script-src": f"{source_hash(script)} {source_hash(plotly)}",
        "style-src": f"{source_hash(style)} {source_hash('')}",  # the empty one is Plotly's: it adds rules by script
        "img-src": "data: blob:",  # Plotly's picture of a plot, to be saved
        "base-uri": "'none'",
        "form-action": "'none'",
    }
    slots = {
        "policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "title": text_of(report.name),
        "style": style,
        "header": header(report, study),
        "verdict": verdict_section(report, study),
        "failures": failures_section(report),
        "reproduction": reproduction_section(report),
        "plotly": packed(plotly),
        "data": packed(json.dumps(page_data(report, study), separators=(",", ":"), allow_nan=False)),
        STUDY: packed(pack(study)),
        "script": script,
    }
    return re.sub(r"<!--(\w+)-->", lambda match: slots[match[1]], _static("report.html"))


def _static(name: str) -> str:
    return files("tuner.pages").joinpath("static", name).read_text(encoding="utf-8")


def _plotly() -> str:
    """The source of plotly.js, as the package brings it."""
    try:
        offline = import_module("plotly.offline")
    except ImportError as error:
        raise EnvironmentUnfitError(
            "the page needs plotly; install it with `pip install tuner[report]`, or use -f md or -f json"
        ) from error
    return str(offline.get_plotlyjs())
