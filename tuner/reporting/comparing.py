"""A comparison of studies as text: tables for the terminal or Markdown, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from tuner.reporting.tables import cell, render
from tuner.views.comparison import Comparison, Difference

Form = Literal["table", "md"]
Table = tuple[str, list[str], list[dict[str, Any]]]


def to_json(found: Comparison) -> str:
    """One document, `tuner.compare/1`."""
    return json.dumps({"schema": "tuner.compare/1", "score": found.score, **asdict(found)}, indent=2)


def to_text(found: Comparison, form: Form, *, width: int | None = None) -> str:
    """Tables one under the other, the differences last."""
    parts = []
    for title, columns, rows in _tables(found):
        body = render(columns, rows, form, width=width, first=columns[:2])
        parts.append(f"### {title}\n\n{body}\n" if form == "md" else f"{title}\n{body}")
    lines = list(_conclusions(found))
    bullets = [f"- {line}" for line in lines] if form == "md" else lines
    return "\n".join([*parts, *bullets])


def _tables(found: Comparison) -> Iterator[Table]:
    yield _overview(found)
    if found.corner is not None:
        names = [side.study for side in found.sides]
        rows = [
            {"study": side.study, **{name: _share(side.attains.get(name)) for name in names}} for side in found.sides
        ]
        yield "share of each front that a study attains", ["study", *names], rows
    yield from _regions(found)
    yield _bests(found)
    yield (
        f"{found.score} after as many trials",
        ["trials", *(side.study for side in found.sides)],
        [
            {"trials": count, **{side.study: side.so_far[k] for side in found.sides}}
            for k, count in enumerate(found.counts)
        ],
    )
    if len(found.compared) == 2:
        yield _configurations(found)


def _regions(found: Comparison) -> Iterator[Table]:
    """Who wins where; nothing with one objective."""
    if found.regions:
        first = found.regions[0]
        sign = ">=" if found.metrics[first.metric] == "maximize" else "<="
        columns = [f"for {first.metric} {sign}", "down to" if sign == ">=" else "up to", f"best {first.other}", "by"]
        rows = [
            {
                columns[0]: region.best,
                columns[1]: region.worst,
                columns[2]: region.winner or "the same",
                columns[3]: "nobody else gets there"
                if region.winner and region.advantage is None
                else region.advantage,
            }
            for region in found.regions
        ]
        yield "which regions each wins", columns, rows
    if found.weightings:
        names = [side.study for side in found.sides]
        rows = [
            {"what weighs most": metric, **{name: _share(shares[name]) for name in names}}
            for metric, shares in found.weightings.items()
        ]
        yield "share of the ways to weigh the metrics that each wins", ["what weighs most", *names], rows


def _overview(found: Comparison) -> Table:
    rows = []
    for side in found.sides:
        row = {"study": side.study, found.score: side.score, "trials": side.trials, "failed": side.failed}
        row |= {"seconds": side.seconds, "in trials": side.busy_s}
        if found.corner is not None:
            row |= {"front": len(side.front), "not dominated": len(side.surviving)}
        rows.append(row)
    return "studies", list(rows[0]), rows


def _bests(found: Comparison) -> Table:
    first = found.sides[0]
    rows = []
    for metric in found.metrics:
        row: dict[str, Any] = {"metric": metric}
        ours = first.best[metric]
        for side in found.sides:
            best = side.best[metric]
            row[side.study] = None if best is None else f"{cell(best.value)} (trial {best.trial})"
            if side is not first:
                both = best is not None and ours is not None
                row[f"{side.study} - {first.study}"] = best.value - ours.value if both and best and ours else None
        rows.append(row)
    return "best by metric", list(rows[0]), rows


def _configurations(found: Comparison) -> Table:
    by_name = {side.study: side for side in found.sides}
    a, b = (by_name[name] for name in found.compared)
    ours, theirs = dict(a.config or {}), dict(b.config or {})
    names = [name for name in {**ours, **theirs} if ours.get(name) != theirs.get(name)]
    columns = ["parameter", *(f"{side.study} trial {side.chosen}" for side in (a, b))]
    rows = [dict(zip(columns, (n, _value(ours, n), _value(theirs, n)), strict=True)) for n in names]
    same = len({**ours, **theirs}) - len(names)
    return f"where the two best differ ({same} parameters are the same)", columns, rows


def _value(config: Mapping[str, Any], name: str) -> str:
    return cell(config[name]) if name in config else "inactive"


def _share(value: float | None) -> str | None:
    return None if value is None else f"{value:.0%}"


def _conclusions(found: Comparison) -> Iterator[str]:
    if found.left_out:
        yield f"left out, because not every study has it with the same goal: {', '.join(found.left_out)}"
    if found.corner is not None:
        yield f"hypervolume from {', '.join(f'{name}={cell(value)}' for name, value in found.corner.items())}"
    without = [side.study for side in found.sides if side.score is None]
    if without:
        yield f"no feasible trial in {', '.join(without)}"
    for one in found.differences:
        yield f"{found.score} of {_group(one.of)} against {_group(one.against)}: {_amount(one)}"
    if any(one.by is None for one in found.differences):
        yield "no interval: nothing was measured twice, and no sweep was run several times on both sides"


def _group(names: Sequence[str]) -> str:
    return names[0] if len(names) == 1 else f"({', '.join(names)})"


def _amount(one: Difference) -> str:
    percent = "" if one.relative is None else f" ({one.relative:+.1%})"
    text = f"{one.value:+.5g}{percent}"
    if one.low is None or one.high is None:
        return text
    basis = "repeated measurements" if one.by == "repeats" else f"{len(one.of)} and {len(one.against)} studies"
    verdict = "0 lies inside" if one.low <= 0 <= one.high else "0 lies outside"
    return f"{text}, 95% interval [{one.low:+.5g}, {one.high:+.5g}] by {basis}; {verdict}"
