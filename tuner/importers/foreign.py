"""Foreign: a study that another tool made, as plain data: a native sweep, its trials, and what could not be carried."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from tuner.trial import FailureKind


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignTrial:
    """One finished trial.

    Attributes:
        label: What the other tool calls it, for messages.
        began: Seconds since the epoch; None when it does not say.
        ended: Likewise.
    """

    label: str
    params: Mapping[str, Any]
    state: Literal["completed", "pruned", "failed"]
    metrics: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    reports: Mapping[int, Mapping[str, float]] = field(default_factory=dict)
    failure: FailureKind = "crash"
    message: str = ""
    began: float | None = None
    ended: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ForeignStudy:
    """A study.

    Attributes:
        sweep: A native sweep without anything to run.
        notes: What could not be carried, or is different, a line each.
    """

    sweep: Mapping[str, Any]
    trials: Sequence[ForeignTrial]
    notes: Sequence[str]


def conditions(
    present: Sequence[Mapping[str, Any]], names: Sequence[str], choices: Mapping[str, Sequence[Any]]
) -> dict[str, str]:
    """When a parameter that some configurations lack is there, by what the values of one choice say.

    Args:
        present: Configurations.
        names: Every parameter.
        choices: The values of those that may decide.
    """
    found: dict[str, str] = {}
    for name in names:
        there = [config for config in present if name in config]
        absent = [config for config in present if name not in config]
        if not absent or not there:
            continue
        for choice, values in sorted(choices.items(), key=lambda item: len(item[1])):
            if choice == name or choice in found or not all(choice in config for config in present):
                continue
            on = [value for value in values if any(_same(config[choice], value) for config in there)]
            off = [value for value in values if any(_same(config[choice], value) for config in absent)]
            if on and off and not any(_same(a, b) for a in on for b in off):
                quoted = f"`{choice}`" if not choice.isidentifier() else choice
                found[name] = f"{quoted} == {on[0]!r}" if len(on) == 1 else f"{quoted} in {list(on)!r}"
                break
    return found


def _same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b
