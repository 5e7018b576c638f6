"""`tuner gate`: what is printed and written of its report, and the exit code (design section 7)."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tuner.errors import UsageError
from tuner.gate import Report
from tuner.reporting.ci import inert, write_all
from tuner.reporting.gating import to_json, to_markdown, to_text
from tuner.reporting.junit import to_junit
from tuner.sessions import write_atomically
from tuner.verbs.gating import Request, gate

EXIT_CODES = {"pass": 0, "regression": 4, "inconclusive": 5}
FORMATS = ("table", "md", "json")


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """Where a report goes.

    Attributes:
        format: Of what is printed: table, md or json.
        junit: A file for JUnit XML.
        markdown: A file for a pull request's comment.
        width: Terminal width; None never truncates.
        allow_inconclusive: An open gate exits with 0.
    """

    format: str = "table"
    junit: Path | None = None
    markdown: Path | None = None
    width: int | None = None
    allow_inconclusive: bool = False


def run_gate(request: Request, output: Output, say: Callable[[str], None]) -> int:
    """Measure, judge, print and write; returns the exit code.

    Raises:
        UsageError: Another format than table, md or json, or a request that cannot be.
        StoreError: A file cannot be written.
    """
    if output.format not in FORMATS:
        raise UsageError(f"-f must be one of {', '.join(FORMATS)}, but got {output.format!r}")
    for file in (output.junit, output.markdown, request.save):
        if file is not None and not (file.parent.is_dir() or file is request.save):
            raise UsageError(f"{file.parent} is no folder, so {file.name} cannot be written there; make it first")
    report = gate(request)
    if report is None:
        return 0
    if output.junit is not None:
        write_atomically(output.junit, to_junit(report, allow_inconclusive=output.allow_inconclusive))
    if output.markdown is not None:
        write_atomically(output.markdown, to_markdown(report))
    for line in write_all(report, os.environ):
        print(line, file=sys.stderr)  # the runner reads both streams; stdout may be a document
    say(_printed(report, output))
    allowed = report.verdict == "inconclusive" and output.allow_inconclusive
    return 0 if allowed else EXIT_CODES[report.verdict]


def _printed(report: Report, output: Output) -> str:
    if output.format == "json":
        return to_json(report).replace("##[", "#\\u0023[")  # the same JSON, and no command of GitHub's runner
    return inert(to_markdown(report) if output.format == "md" else to_text(report, width=output.width))
