"""The tables of a bench: scores by class, ranks, seconds per suggestion. Text out; nothing is printed here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np

from tuner.bench.problem import CLASSES, BenchProblem
from tuner.bench.scores import Baselines, Summary, ranks, scores, summary

Format = Literal["table", "md", "json"]
Cells = Sequence[Sequence[str]]


def document(
    lines: Sequence[Mapping[str, Any]],
    problems: Mapping[str, BenchProblem],
    baselines: Baselines,
    marks: Sequence[int],
    methods: Sequence[str],
) -> dict[str, Any]:
    """Everything a table shows, as data.

    Args:
        lines: Of the results.
        problems: Name -> problem; lines of others are left out.
        baselines: The zero of the scores.
        marks: The numbers of trials to judge at.
        methods: In the order of the table.
    """
    judged = []
    for mark in marks:
        found = scores(lines, problems, baselines, mark)
        names = [name for name in problems if any((name, method) in found for method in methods)]
        classes = {kind: [n for n in names if problems[n].kind == kind] for kind in CLASSES}
        sections = {kind: own for kind, own in (*classes.items(), ("all", names)) if own}
        judged.append(
            {
                "trials": mark,
                "classes": {
                    kind: {m: _plain(summary(found, m, own)) for m in methods} for kind, own in sections.items()
                },
                "ranks": {m: _plain(s) for m, s in ranks(found, methods, names).items()},
                "problems": {n: {m: _mean(found.get((n, m))) for m in methods} for n in names},
            }
        )
    failed = [
        {key: line.get(key) for key in ("problem", "method", "seed", "status", "error")}
        for line in lines
        if line["status"] != "done"
    ]
    return {
        "schema": "tuner.bench/1",
        "methods": {m: _version(lines, m) for m in methods},
        "judged": judged,
        "suggest_s": {m: suggestion_seconds(lines, m) for m in methods},
        "failed": failed,
    }


def _plain(found: Summary | None) -> dict[str, Any] | None:
    if found is None:
        return None
    return {"mean": found.mean, "low": found.interval[0], "high": found.interval[1], "problems": found.problems}


def _mean(values: Sequence[float] | None) -> float | None:
    return None if not values else float(np.mean(values))


def _version(lines: Sequence[Mapping[str, Any]], method: str) -> str:
    return ", ".join(sorted({line["version"] for line in lines if line["method"] == method and "version" in line}))


def suggestion_seconds(lines: Sequence[Mapping[str, Any]], method: str) -> float | None:
    """The median over all runs of a method of their mean seconds per suggestion; the first suggestion, which pays for
    importing packages, is left out."""
    means = [
        float(np.mean(line["suggest_s"][1:])) for line in lines if line["method"] == method and line["suggest_s"][1:]
    ]
    return float(np.median(means)) if means else None


def render(content: Mapping[str, Any], format: Format, *, detail: bool = False) -> str:
    """The document as plain text, Markdown or JSON.

    Args:
        content: What `document` gave.
        format: Which.
        detail: Also every problem.
    """
    if format == "json":
        return json.dumps(content, indent=2)
    parts = []
    for judged in content["judged"]:
        parts += [
            f"After {judged['trials']} trials: mean score (0 random's median, 1 best known), 95% interval, problems"
        ]
        parts += [_lay(_class_cells(judged, list(content["methods"])), format)]
        if judged["ranks"]:
            shared = next(iter(judged["ranks"].values()))["problems"]
            parts += [f"Mean rank over the {shared} problems that all of them finished"]
            parts += [_lay(_rank_cells(judged), format)]
        if detail:
            parts += ["Mean score by problem", _lay(_problem_cells(judged, list(content["methods"])), format)]
    seconds = [["method", "seconds a suggestion", "version"]]
    seconds += [[m, _seconds(content["suggest_s"][m]), version] for m, version in content["methods"].items()]
    parts += ["Seconds a suggestion: median over runs", _lay(seconds, format)]
    if content["failed"]:
        parts += ["Runs that did not end:"]
        parts += [
            f"  {f['problem']} {f['method']} seed {f['seed']}: {f['status']} {f['error'] or ''}".rstrip()
            for f in content["failed"]
        ]
    return "\n\n".join(parts)


def _class_cells(judged: Mapping[str, Any], methods: Sequence[str]) -> Cells:
    rows = [["class", *methods]]
    for kind, by_method in judged["classes"].items():
        rows.append([kind, *(_scored(by_method[m]) for m in methods)])
    return rows


def _scored(entry: Mapping[str, Any] | None) -> str:
    if entry is None:
        return "-"
    return f"{entry['mean']:.2f} [{entry['low']:.2f}, {entry['high']:.2f}] {entry['problems']}"


def _rank_cells(judged: Mapping[str, Any]) -> Cells:
    order = sorted(judged["ranks"].items(), key=lambda pair: pair[1]["mean"])
    return [["method", "rank"], *([m, f"{r['mean']:.2f} [{r['low']:.2f}, {r['high']:.2f}]"] for m, r in order)]


def _problem_cells(judged: Mapping[str, Any], methods: Sequence[str]) -> Cells:
    rows = [["problem", *methods]]
    for name, by_method in judged["problems"].items():
        rows.append([name, *("-" if by_method[m] is None else f"{by_method[m]:.2f}" for m in methods)])
    return rows


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.3g}"


def _lay(rows: Cells, format: Format) -> str:
    if format == "md":
        head, *rest = ["| " + " | ".join(row) + " |" for row in rows]
        return "\n".join([head, "|" + "---|" * len(rows[0]), *rest])
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths)).rstrip() for row in rows)


def listing(problems: Sequence[BenchProblem], methods: Sequence[str], format: Format) -> str:
    """The problems and the methods of `tuner bench --list`."""
    if format == "json":
        entries = [
            {
                "name": p.name, "class": p.kind, "split": p.split, "columns": p.space.encoding.dim,
                "goals": len(p.goals), "best": p.best, "exact": p.exact, "noise": p.noise, "source": p.source,
            }
            for p in problems
        ]  # fmt: skip
        return json.dumps({"schema": "tuner.bench-list/1", "problems": entries, "methods": list(methods)}, indent=2)
    rows = [["problem", "class", "split", "columns", "best", "source"]]
    for p in problems:
        best = f"{p.best:.6g}" + ("" if p.exact else " (known)")
        rows.append([p.name, p.kind, p.split, str(p.space.encoding.dim), best, p.source])
    return f"{_lay(rows, format)}\n\nmethods: {', '.join(methods)}"


def timing_table(seconds: Mapping[str, Mapping[int, float | str]], sizes: Sequence[int], format: Format) -> str:
    """Seconds a suggestion by method and number of past trials; what failed by its message."""
    if format == "json":
        rows = {m: {str(n): value for n, value in by_size.items()} for m, by_size in seconds.items()}
        return json.dumps({"schema": "tuner.bench-timing/1", "seconds": rows}, indent=2)
    cells = [["past trials", *map(str, sizes)]]
    for method, by_size in seconds.items():
        values = [by_size.get(n, "-") for n in sizes]
        cells.append([method, *(f"{v:.3g}" if isinstance(v, float) else v for v in values)])
    return _lay(cells, format)
