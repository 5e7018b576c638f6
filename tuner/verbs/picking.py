"""`tuner pick`: one member of the front, by the words of a command line."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tuner.errors import UsageError
from tuner.reporting.tables import Format, legible, markdown, render_trials
from tuner.views.choice import Choice, Limit, Rule

if TYPE_CHECKING:
    from tuner.study import Study


def rule(weights: Sequence[str], low: Sequence[str], high: Sequence[str], *, knee: bool) -> Rule:
    """The rule that the options say; each is `name=number`, several after one another or with commas.

    Raises:
        UsageError: A word is no `name=number`, or the options contradict each other.
    """
    limits = [*_limits(low, "min"), *_limits(high, "max")]
    return Rule(weights=dict(_numbers("--weights", weights)), limits=tuple(limits), knee=knee)


def _limits(words: Sequence[str], side: Literal["min", "max"]) -> Iterator[Limit]:
    for name, value in _numbers(f"--{side}", words):
        yield Limit(name, side, value)


def _numbers(option: str, words: Sequence[str]) -> Iterator[tuple[str, float]]:
    for word in ",".join(words).split(",") if words else ():
        name, equals, text = word.strip().rpartition("=")
        try:
            value = float(text)
        except ValueError:
            equals = ""
        if not equals or not name or value != value:
            raise UsageError(f"{option} takes name=number, as in {option} params_m=1.5, but got {word!r}")
        yield name.strip(), value


def choice_text(
    study: Study, found: Choice, format: Format, *, names: Sequence[str] = (), width: int | None = None
) -> str:
    """The trial chosen, in any format of the reading verbs, with the reasons in tables, Markdown and JSON."""
    assert found.trial is not None
    record = study.read(found.trial)
    if format == "json":
        document: dict[str, Any] = {"schema": "tuner.pick/1", "study": study.sweep.name, "trial": record.to_json()}
        scores = {str(trial): score for trial, score in found.scores.items()}
        document |= {"why": list(found.why), "candidates": list(found.candidates), "scores": scores}
        return json.dumps(document, indent=2)
    text = render_trials([record], study, format, thing="pick", names=names, width=width)
    if format not in ("table", "md") or names:
        return text
    why = "; ".join(found.why)
    return f"{text}\n\n{markdown(why)}" if format == "md" else f"{text}\n{legible(why)}"
