"""An explanation of a trial as text: paragraphs and tables for the terminal or Markdown, or one JSON document."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any, Literal

from tuner.reporting.tables import cell, legible, markdown, render
from tuner.views.explanation import Bound, Change, Expected, Explanation, Neighbour, Step

Form = Literal["table", "md"]

_STANDING = {
    "front": "a member of the front",
    "dominated": "dominated",
    "less fidelity": "completed with less fidelity than others, so not compared with them",
    "infeasible": "completed, but it breaks a constraint",
}
_ONE_GOAL = {"front": "the best so far", "dominated": "not the best"}
_LONG = ("surprise", "differs in")
"""What a terminal shows below a table, a line each: columns would cut it."""

_RARE = 20.0
"""Once in so many predictions is outside a 95% interval."""


def to_json(found: Explanation, study: str) -> str:
    """One document, `tuner.explain/1`; a change is a parameter with its values in this trial and in the other."""
    document: dict[str, Any] = {"schema": "tuner.explain/1", "study": study, **asdict(found)}
    for part in (*document["nearest"], *document["steps"]):
        part["changes"] = {name: {"from": here, "to": there} for name, here, there in part["changes"]}
    document["params"] = document.pop("config")
    return json.dumps(document, indent=2)


def to_text(found: Explanation, form: Form, *, objectives: Sequence[str], width: int | None = None) -> str:
    """What happened in sentences, then tables of predictions, neighbours and constraints, then steps."""
    escape = markdown if form == "md" else legible
    bullet, heading = ("- ", "\n### {}\n") if form == "md" else ("  ", "\n{}")
    lines = [escape(f"trial {found.trial}: {_stands(found, len(objectives))}")]
    lines += [heading.format("why it was proposed"), *(_item(bullet, line, escape) for line in _why(found))]
    for title, columns, rows in _tables(found, objectives):
        shown = [name for name in columns if width is None or name not in _LONG]
        lines += [heading.format(title), render(shown, rows, form, width=width, first=shown[:3]).strip("\n")]
        for name in (name for name in columns if name not in shown):
            lines += [_item(bullet, f"{row[columns[0]]}: {row[name]}", escape) for row in rows if row.get(name)]
    if found.steps:
        title = "steps along the front" if found.standing == "front" else "what dominates it, nearest first"
        lines += [heading.format(title), *(_item(bullet, _step(step), escape) for step in found.steps)]
    return "\n".join(lines)


def _item(bullet: str, line: str, escape: Callable[[str], str]) -> str:
    return f"{bullet}{escape(line)}"


def _stands(found: Explanation, goals: int) -> str:
    if found.failure is not None:
        return f"{found.state}: {found.failure}"
    names = _STANDING if goals > 1 else {**_STANDING, **_ONE_GOAL}
    values = ", ".join(f"{name} {cell(value)}" for name, value in found.metrics.items())
    return names.get(found.standing, found.state) + (f"; {values}" if values else "")


def _why(found: Explanation) -> Iterator[str]:
    took = f" in {found.seconds:.3g} s" if found.seconds else ""
    yield f"by {found.engine}{took}"
    yield from found.reasons
    if found.acquisition is not None:
        yield f"acquisition value {found.acquisition:.5g}"
    if found.origin is not None:
        yield f"it continues trial {found.origin}"


def _tables(found: Explanation, objectives: Sequence[str]) -> Iterator[tuple[str, list[str], list[dict[str, Any]]]]:
    if found.expected:
        rows = [_expected_row(one) for one in found.expected]
        yield "prediction against outcome", ["metric", "outcome", "predicted", "95% interval", "surprise"], rows
    if found.nearest:
        rows = [_neighbour_row(other, found.metrics) for other in found.nearest]
        yield "the nearest trials", ["trial", "distance", *objectives, "state", "differs in"], rows
    if found.bounds:
        rows = [_bound_row(bound) for bound in found.bounds]
        yield "what bounds it", ["", "bound", "is", "margin", "of a range of"], rows


def _expected_row(one: Expected) -> dict[str, Any]:
    row = {"metric": one.metric, "outcome": one.outcome, "predicted": one.mean}
    if one.low == one.high:
        return {**row, "surprise": "it follows from the configuration"}
    return {**row, "95% interval": f"{cell(one.low)} to {cell(one.high)}", "surprise": surprise(one)}


def surprise(one: Expected) -> str:
    """How far off a prediction was, in words."""
    if one.z is None or one.once_in is None:
        return ""
    side = "above" if one.z > 0 else "below"
    text = f"{abs(one.z):.1f} sd {side}; "
    if one.once_in < _RARE:
        text += "as expected" if abs(one.z) <= 1 else "inside the interval"
    else:
        text += f"so far off once in {min(one.once_in, 1e6):,.0f}" + (" or less" if one.once_in > 1e6 else "")
    return text + (f"; farther off than {one.farther_than} of {one.others} others" if one.others else "")


def _neighbour_row(other: Neighbour, mine: Mapping[str, float]) -> dict[str, Any]:
    feasible = "" if other.feasible or other.state != "completed" else ", infeasible"
    row: dict[str, Any] = {"trial": f"{other.trial}{'' if other.earlier else ' (later)'}", "distance": other.distance}
    row |= {"differs in": changes_text(other.changes), "state": f"{other.state}{feasible}"}
    for name, value in other.metrics.items():
        row[name] = f"{cell(value)} ({value - mine[name]:+.2g})" if name in mine else cell(value)
    return row


def _bound_row(bound: Bound) -> dict[str, Any]:
    row: dict[str, Any] = {"": bound.kind, "bound": bound.text, "is": bound.state}
    if bound.kind != "edge" and bound.margin is not None:
        row |= {"margin": bound.margin, "of a range of": bound.range}
    return row


def changes_text(changes: Sequence[Change]) -> str:
    """Parameters that differ, from this trial's value to the other's."""
    return ", ".join(f"{name} {_value(here)} → {_value(there)}" for name, here, there in changes) or "nothing"


def _value(value: Any) -> str:
    return "none" if value is None else cell(value)


def _step(step: Step) -> str:
    gains = ", ".join(f"{move:+.5g} {name}" for name, move in step.gains.items())
    costs = ", ".join(f"{move:+.5g} {name}" for name, move in step.costs.items())
    what = f"{gains} {'cost' if len(step.gains) > 1 else 'costs'} {costs}" if costs else gains or "the same values"
    return f"{what} (trial {step.trial}: {changes_text(step.changes)})"
