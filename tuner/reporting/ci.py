"""What GitHub Actions takes from a step: annotations, a summary, outputs. Nothing in a name or a value can command it.

Workflow commands are lines that begin with `::`, or hold `##[` anywhere; what they carry is percent-escaped (GitHub's
"Workflow commands for GitHub Actions"). A summary beyond 1 MiB is dropped whole, so ours ends before.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Mapping
from pathlib import Path

from tuner.errors import StoreError
from tuner.gate import Report, Result
from tuner.reporting.gating import change, to_document, to_markdown
from tuner.reporting.tables import cell

SUMMARY_BYTES = 1 << 20
_CUT = "\n\n(cut: GitHub takes 1 MiB a step)\n"


def workflow_commands(report: Report) -> list[str]:
    """One workflow command a regression, an error; a warning a check that keeps the whole gate open."""
    found = []
    for result in report.results:
        if result.verdict == report.verdict != "pass":
            level = "error" if result.verdict == "regression" else "warning"
            title = _property(f"tuner gate: {result.check.name}")
            found.append(f"::{level} title={title}::{_data(sentence(result))}")
    return found


def sentence(result: Result) -> str:
    """What a check came to, in words."""
    check = result.check
    if check.kind == "completes":
        return f"{check.name}: no; {result.why}"
    if check.kind == "constraint":
        margin = "unknown" if result.candidate is None else cell(result.candidate)
        return f"{check.name}: {result.verdict}, margin {margin}, must be at least 0"
    if result.ratio is None or result.bound is None:
        return f"{check.name}: {result.verdict}; {result.why}"
    interval = ""
    if result.low is not None and result.high is not None:
        interval = f" in [{change(result.low)}, {change(result.high)}]"
    return f"{check.name}: {result.verdict}, {change(result.ratio)}{interval}, allowed {change(result.bound)}"


def _data(text: str) -> str:
    """The message of a workflow command; controls other than the ends of lines become spaces."""
    text = "".join(c if c.isprintable() or c in "\r\n" else " " for c in text)
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    """A property of a workflow command."""
    return _data(text).replace(":", "%3A").replace(",", "%2C")


def inert(text: str) -> str:
    """Text in which GitHub's runner finds no workflow command."""
    lines = text.replace("##[", "# #[").split("\n")
    return "\n".join(f"· {line}" if line.lstrip().startswith("::") else line for line in lines)


def write_summary(file: Path, report: Report) -> None:
    """Append the report to `$GITHUB_STEP_SUMMARY`, as much of it as fits."""
    taken = file.stat().st_size if file.is_file() else 0
    data = to_markdown(report).encode()
    room = SUMMARY_BYTES - taken - 1
    if len(data) > room:
        cut = data[: max(0, room - len(_CUT.encode()))].decode(errors="ignore")
        data = (cut[: cut.rfind("\n") + 1] + _CUT).encode() if room > len(_CUT.encode()) else b""
    _append(file, data.decode())


def write_output(file: Path, report: Report) -> None:
    """Append `verdict`, `candidate` (its configuration) and `report` (JSON without the measurements) as outputs."""
    document = to_document(report)
    del document["measured"]
    outputs = {
        "verdict": report.verdict,
        "candidate": json.dumps(report.candidate.config, default=str),
        "report": json.dumps(document, default=str),
    }
    _append(file, "".join(_output(name, value) for name, value in outputs.items()))


def _output(name: str, value: str) -> str:
    """An output between lines of a delimiter that nobody can know before."""
    delimiter = f"tuner_{secrets.token_hex(16)}"
    return f"{name}<<{delimiter}\n{value}\n{delimiter}\n"


def _append(file: Path, text: str) -> None:
    try:
        with file.open("a", encoding="utf-8") as handle:
            handle.write(text)
    except OSError as error:
        raise StoreError(f"{file} cannot be written: {error.strerror}") from error


def write_all(report: Report, environment: Mapping[str, str]) -> list[str]:
    """Write the summary and the outputs where the environment says so; the annotations to print on GitHub."""
    if summary := environment.get("GITHUB_STEP_SUMMARY"):
        write_summary(Path(summary), report)
    if output := environment.get("GITHUB_OUTPUT"):
        write_output(Path(output), report)
    return workflow_commands(report) if environment.get("GITHUB_ACTIONS") == "true" else []
