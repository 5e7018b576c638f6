"""`tuner report`: a study as one HTML file, as Markdown, or as JSON."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.sessions import write_atomically
from tuner.views.report import report_view

if TYPE_CHECKING:
    from tuner.study import Study

FORMATS = ("html", "md", "json")


def write_report(study: Study, output: Path | None, format: str) -> str:
    """Write the report; returns the file it went to, or the text itself of Markdown and JSON without `output`.

    Args:
        study: Opened to be read.
        output: The file; a page without one goes to `report.html` in the study's folder.
        format: html, md or json.

    Raises:
        UsageError: Another format, or a page of a study in memory without `output`.
        StoreError: The file cannot be written.
        EnvironmentUnfitError: A page without Plotly.
    """
    if format not in FORMATS:
        raise UsageError(f"-f must be one of {', '.join(FORMATS)}, but got {format!r}")
    if output is not None and output.is_dir():
        raise UsageError(f"{output} is a folder; name the file, as in --output {output / f'report.{format}'}")
    text = _text(study, format)
    if output is None and format != "html":
        return text
    file = output or _beside(study)
    write_atomically(file, text if text.endswith("\n") else f"{text}\n")
    return str(file)


def _text(study: Study, format: str) -> str:
    report = report_view(study)
    if format == "json":
        from tuner.pages.document import to_json

        return to_json(report)
    if format == "md":
        from tuner.pages.markdown import to_markdown

        return to_markdown(report, study)
    from tuner.pages.page import page

    return page(report, study)


def _beside(study: Study) -> Path:
    if study.dir is None:
        raise UsageError("a study in memory has no folder; name the file with --output")
    return study.dir / "report.html"
