"""A gate's report as text for the terminal, Markdown for a pull request, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.gate import Report, Result
from tuner.reporting.tables import cell, legible, markdown, render

_COLUMNS = ("verdict", "check", "baseline", "candidate", "change", "interval", "allowed", "measured")
_SHOWN = {"pass": "pass", "regression": "REGRESSION", "inconclusive": "inconclusive"}
MARK = "<!-- tuner-gate -->"
"""The first line of the Markdown: by it a comment is found again and replaced."""


def to_document(report: Report) -> dict[str, Any]:
    """One document, `tuner.gate/1`."""
    sides = {"baseline": report.baseline, "candidate": report.candidate}
    return {
        "schema": "tuner.gate/1",
        "study": report.study,
        "verdict": report.verdict,
        "confidence": report.design.confidence,
        "measurements": report.pairs,
        "max_measurements": report.design.max_pairs,
        "runs": report.runs,
        "seconds": round(report.seconds, 3),
        "checks": [_check(result) for result in report.results],
        **{name: {"name": side.name, "params": dict(side.config)} for name, side in sides.items()},
        "measured": {name: [dict(one) for one in side.measurements] for name, side in sides.items()},
        "notes": list(report.notes),
    }


def _check(result: Result) -> dict[str, Any]:
    check = result.check
    interval = None if result.low is None else {"low": result.low, "high": result.high, "confidence": result.level}
    return {
        "name": check.name,
        "kind": check.kind,
        "goal": check.goal,
        "unit": check.unit,
        "max_regress": check.max_regress,
        "verdict": result.verdict,
        "baseline": result.baseline,
        "candidate": result.candidate,
        "ratio": result.ratio,
        "interval": interval,
        "bound": result.bound,
        "measurements": result.pairs,
        "decided_at": result.decided_at,
        "deterministic": result.deterministic,
        "why": result.why,
    }


def to_json(report: Report) -> str:
    """`to_document` as text."""
    return json.dumps(to_document(report), indent=2, default=str)


def to_text(report: Report, *, width: int | None = None) -> str:
    """A table of checks, what else there is to know, and the verdict last."""
    lines = [render(_COLUMNS, _rows(report.results), "table", width=width, first=_COLUMNS[:6])]
    for result in report.results:
        if result.check.kind == "completes":
            lines += [f"{legible(result.check.name)}: no", *(f"  {legible(text)}" for text in result.why.splitlines())]
    lines += [f"note: {legible(note)}" for note in report.notes]
    lines.append(conclusion(report))
    return "\n".join(lines)


def to_markdown(report: Report) -> str:
    """The same for a comment; nothing that a user or a trial wrote acts as markup."""
    lines = [MARK, f"### tuner gate: {_SHOWN[report.verdict]}", ""]
    lines += [render(_COLUMNS, _rows(report.results), "md"), ""]
    for result in report.results:
        if result.check.kind == "completes":
            lines += [f"{markdown(result.check.name)}: no", ""]
            lines += [*(f"    {legible(text)}" for text in result.why.splitlines()), ""]
    lines += [f"- {markdown(note)}" for note in report.notes]
    lines += ["", conclusion(report), "", "<details><summary>Configurations</summary>", ""]
    lines += [render(("parameter", "baseline", "candidate"), _parameters(report), "md"), "", "</details>", ""]
    return "\n".join(lines)


def _rows(results: Sequence[Result]) -> list[dict[str, Any]]:
    return [_row(result) for result in results]


def _row(result: Result) -> dict[str, Any]:
    check = result.check
    margin = check.kind == "constraint"
    unit = f" {check.unit}" if check.unit else ""
    values = {
        side: None if value is None else f"{cell(value)}{' margin' if margin else unit}"
        for side, value in (("baseline", result.baseline), ("candidate", result.candidate))
    }
    return {
        "verdict": _SHOWN[result.verdict],
        "check": legible(f"{check.name} ({check.goal})" if check.kind == "metric" else check.name),
        **{side: None if text is None else legible(text) for side, text in values.items()},
        "change": None if result.ratio is None else change(result.ratio),
        "interval": _interval(result, margin=margin),
        "allowed": None if result.bound is None else ("margin >= 0" if margin else change(result.bound)),
        "measured": _measured(result),
    }


def change(ratio: float) -> str:
    """A ratio as people read it."""
    return f"{ratio - 1.0:+.2%}"


def _interval(result: Result, *, margin: bool) -> str | None:
    if result.low is None or result.high is None:
        return None
    ends = [cell(end) if margin else change(end) for end in (result.low, result.high)]
    return f"[{', '.join(ends)}]"


def _measured(result: Result) -> str:
    if result.check.kind == "hypervolume":
        return result.why
    if result.deterministic:
        return "does not vary" if result.pairs > 1 else "once"
    return str(result.pairs)


def _parameters(report: Report) -> list[Mapping[str, Any]]:
    ours, theirs = report.baseline.config, report.candidate.config
    return [
        {"parameter": legible(name), "baseline": _value(ours, name), "candidate": _value(theirs, name)}
        for name in {**ours, **theirs}
    ]


def _value(config: Mapping[str, Any], name: str) -> str:
    return legible(cell(config[name])) if name in config else "inactive"


def conclusion(report: Report) -> str:
    """The verdict in a line, with what it rests on."""
    of = f"{report.pairs} measurement{'s' * (report.pairs != 1)} a side"
    runs = f", each the median of {report.runs} runs" if report.runs > 1 else ""
    line = f"{_SHOWN[report.verdict]} at confidence {report.design.confidence:g} after {of}{runs}"
    if report.verdict != "inconclusive":
        return line
    names = [legible(one.check.name) for one in report.results if one.verdict == "inconclusive"]
    return f"{line}: still open: {', '.join(names)}; more --runs make each measurement less noisy"
