"""Answers of `tuner prefer`, kept as events of the study: a transaction each, in the order they were given."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from tuner.compact import dumps
from tuner.errors import UsageError
from tuner.trial import Answer

if TYPE_CHECKING:
    from tuner.study import Study

EVENT = "preferred"


def answers_of(events: Iterable[Mapping[str, Any]]) -> list[Answer]:
    """The answers among stored events."""
    return [Answer(**json.loads(event["detail"])) for event in events if event["kind"] == EVENT]


def add(study: Study, answer: Answer) -> None:
    """Write down an answer.

    Raises:
        UsageError: It is not about two different trials that have completed.
    """
    check(study, answer)
    study.add_event(EVENT, dumps(asdict(answer)), answer.better)
    study.ledger.answers.append(answer)


def check(study: Study, answer: Answer) -> None:
    """Raises UsageError unless an answer is about two different trials that have completed."""
    if answer.better == answer.worse:
        raise UsageError(f"an answer is about two different trials, but got trial {answer.better} twice")
    for trial in (answer.better, answer.worse):
        if (state := study.read(trial).state) != "completed":
            raise UsageError(f"only completed trials can be compared, but trial {trial} is {state}")
