"""A gate's report as JUnit XML, in the form that Jenkins' schema allows and GitLab reads: a test case a check.

A regression is a failure. What stayed open is an error; it is skipped where an inconclusive gate may pass, and where
measuring ended because another check was a regression. Each case says in `system-out` what was measured.
"""

from __future__ import annotations

import re
from xml.etree import ElementTree as ET

from tuner.gate import Report, Result
from tuner.reporting.ci import sentence
from tuner.reporting.tables import cell

_NOT_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")  # XML 1.0, production 2


def to_junit(report: Report, *, allow_inconclusive: bool = False) -> str:
    """The report as one document.

    Args:
        report: What the gate has to say.
        allow_inconclusive: An open check is skipped, not an error.
    """
    skip = allow_inconclusive or report.verdict == "regression"
    counts = {"tests": len(report.results), "failures": 0, "errors": 0, "skipped": 0}
    for result in report.results:
        if result.verdict != "pass":
            counts["failures" if result.verdict == "regression" else "skipped" if skip else "errors"] += 1
    attributes = {name: str(count) for name, count in counts.items()}
    root = ET.Element("testsuites", {"name": "tuner gate", "time": f"{report.seconds:.3f}",
                                     **{k: v for k, v in attributes.items() if k != "skipped"}})  # fmt: skip
    suite = ET.SubElement(root, "testsuite", {"name": _clean(f"tuner gate {report.study}"),
                                              "time": f"{report.seconds:.3f}", **attributes})  # fmt: skip
    properties = ET.SubElement(suite, "properties")
    for name, value in _properties(report).items():
        ET.SubElement(properties, "property", {"name": _clean(name), "value": _clean(value)})
    for result in report.results:
        _case(suite, result, report, skip=skip)
    if report.notes:
        ET.SubElement(suite, "system-out").text = _clean("\n".join(report.notes))
    ET.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ET.tostring(root, encoding="unicode") + "\n"


def _case(suite: ET.Element, result: Result, report: Report, *, skip: bool) -> None:
    seconds = report.seconds / max(len(report.results), 1)
    name, of = _clean(result.check.name), _clean(f"tuner.gate.{report.study}")
    case = ET.SubElement(suite, "testcase", {"name": name, "classname": of, "time": f"{seconds:.3f}"})
    said = _clean(sentence(result))
    if result.verdict == "regression":
        ET.SubElement(case, "failure", {"message": said.splitlines()[0], "type": "regression"}).text = said
    elif result.verdict == "inconclusive" and skip:
        ET.SubElement(case, "skipped", {"message": said.splitlines()[0]})
    elif result.verdict == "inconclusive":
        ET.SubElement(case, "error", {"message": said.splitlines()[0], "type": "inconclusive"}).text = said
    ET.SubElement(case, "system-out").text = _clean(_measurements(result, report))


def _measurements(result: Result, report: Report) -> str:
    lines = [sentence(result)]
    for side in (report.baseline, report.candidate):
        values = [cell(one[result.check.name]) for one in side.measurements if result.check.name in one]
        if values:
            lines.append(f"{side.name}: {' '.join(values)}")
    return "\n".join(lines)


def _properties(report: Report) -> dict[str, str]:
    return {
        "verdict": report.verdict,
        "confidence": f"{report.design.confidence:g}",
        "measurements": str(report.pairs),
        "baseline": report.baseline.name,
        "candidate": report.candidate.name,
    }


def _clean(text: str) -> str:
    """A text as XML may hold it: without the characters that it knows no escape for."""
    return _NOT_XML.sub("�", text)
