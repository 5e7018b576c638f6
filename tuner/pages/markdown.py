"""The report as Markdown: for a pull request, an issue, or a terminal. What people wrote in it does nothing there."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from tuner.pages.sections import facts_of
from tuner.pages.wording import amount, change_text, duration, headline, shortened
from tuner.records import utc
from tuner.reporting.stopping import stopping_lines
from tuner.reporting.streams import chosen_rows
from tuner.reporting.tables import cell, legible, markdown, render, trial_columns, trial_row
from tuner.sweep import dump_yaml

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.views.report import Report

_ROWS = 30
_LEAST_SHARE = 0.005


def to_markdown(report: Report, study: Study) -> str:
    """The report; the front in full up to some thirty trials."""
    parts = [
        f"# {markdown(report.name)}",
        f"{markdown(headline(report))}",
        _verdict(report),
        _front(report, study),
        _importance(report),
        _failures(report),
        _reproduction(report),
    ]
    return "\n\n".join(part for part in parts if part)


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return render(columns, [dict(zip(columns, row, strict=True)) for row in rows], "md")


def _verdict(report: Report) -> str:
    verdict = report.verdict
    rows = [[one.metric, amount(one.value, one.unit), change_text(one)] for one in verdict.standings]
    finished = sum(n for state, n in verdict.counts.items() if state not in ("waiting", "running"))
    states = ", ".join(f"{n} {state}" for state, n in sorted(verdict.counts.items()))
    rows.append(["state", verdict.state, verdict.reason])
    if report.stream is None:
        rows += [["trials", str(finished), states], ["feasible", str(verdict.feasible), ""]]
    else:
        rows.append(["instances", str(report.stream[0].instances), f"in {report.stream[0].blocks} blocks"])
    if verdict.hypervolume is not None:
        corner = ", ".join(f"{name}={cell(value)}" for name, value in verdict.reference.items())
        rows.append(["front", str(len(verdict.front)), f"hypervolume {cell(verdict.hypervolume)} from {corner}"])
    if report.stopping is not None:
        done, *known = stopping_lines(report.stopping)
        rows.append(["early stopping", str(report.stopping.stopped), "; ".join([done.partition(": ")[2], *known])])
    rows.append(["time spent", duration(verdict.spent_s), f"{duration(verdict.busy_s)} in trials"])
    return _table(["", "value", "note"], rows)


def _front(report: Report, study: Study) -> str:
    verdict = report.verdict
    if report.stream is not None:
        columns, rows = chosen_rows(report.stream[1], study.problem.objectives[0].name)
        return f"## Chosen in the last fifth\n\n{render(columns, rows, 'md')}"
    by_number = {record.trial: record for record in report.records}
    chosen = [by_number[number] for number in verdict.front[:_ROWS]]
    if not chosen:
        return ""
    if verdict.baseline is not None and verdict.baseline not in verdict.front[:_ROWS]:
        chosen.append(by_number[verdict.baseline])
    rows = [trial_row(record, study.problem) for record in chosen]
    for row in rows:
        row["trial"] = f"{row['trial']}{_role(row['trial'], report)}"
    hidden = {"state", "feasible", "seconds", "failure"}
    columns = [name for name in trial_columns(study.problem, chosen) if name not in hidden]
    columns = [name for name in columns if any(row.get(name) is not None for row in rows)]
    rest = len(verdict.front) - _ROWS
    more = f"\n\nand {rest} more: `tuner pareto`" if rest > 0 else ""
    title = "Best" if verdict.role == "best" else "Front"
    return f"## {title}\n\n{render(columns, rows, 'md')}{more}"


def _role(trial: int, report: Report) -> str:
    if trial == report.verdict.baseline:
        return " baseline"
    return f" {report.verdict.role}" if trial == report.verdict.chosen else ""


def _importance(report: Report) -> str:
    if report.importance is None:
        return ""
    shares = {metric: dict(own) for metric, own in report.importance.shares.items()}
    names = [name for name, _ in next(iter(report.importance.shares.values()))]
    rows = [
        [name, *(f"{own[name]:.1%}" for own in shares.values())]
        for name in names
        if any(own[name] >= _LEAST_SHARE for own in shares.values())
    ]
    return f"## Importance\n\n{_table(['parameter', *shares], rows)}" if rows else ""


def _failures(report: Report) -> str:
    if not report.failures:
        return ""
    rows, logs = [], []
    for one in report.failures:
        for cause in one.causes:
            first = (cause.message.splitlines() or ["no message"])[0]
            rows.append([one.kind, str(len(cause.trials)), first, shortened([str(t) for t in cause.trials], 8)])
        shown = next((cause for cause in one.causes if cause.log), None)
        if shown is not None:
            logs.append(f"The end of trial {shown.shown}'s log:\n\n{_fenced(shown.log)}")
    return "\n\n".join([f"## Failures\n\n{_table(['kind', 'times', 'message', 'trials'], rows)}", *logs])


def _reproduction(report: Report) -> str:
    facts = _table(["", "value"], [[name, value] for name, value in facts_of(report)])
    sweep = _fenced(dump_yaml(dict(report.sweep)).splitlines(), "yaml")
    return f"## Reproduction\n\n{facts}\n\n{sweep}\n\nWritten {utc(report.written_at)}."


def _fenced(lines: Sequence[str], language: str = "text") -> str:
    """A block of code whose fence is longer than any in it."""
    text = "\n".join(legible(line) for line in lines)
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text}\n{fence}"
