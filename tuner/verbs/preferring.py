"""`tuner prefer`: pairs of front members are shown, and what somebody says of them is kept with the study.

On a terminal it is a conversation; a script gives its answers at once (`--answer`), or speaks JSON lines: a question a
line on stdout, an answer a line on stdin. An answer is stored when it is given; while another process writes to the
study, it is handed to that.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import inbox, ranking
from tuner.blocks import need_trials
from tuner.errors import UsageError
from tuner.lock import is_locked
from tuner.preferences import answers
from tuner.preferences.front import Best, front_rows, question
from tuner.reporting.tables import cell, render
from tuner.sessions import find_study
from tuner.study import Study
from tuner.trial import Answer
from tuner.views.explanation import changes
from tuner.views.outcomes import metric_label

if TYPE_CHECKING:
    from tuner.records import TrialRecord

_WORDS = {"l": "left", "r": "right", "e": "equal", "=": "equal", "s": "skip", "q": "quit", "<": "right", ">": "left"}
_KEYS = "[l]eft, [r]ight, [e]qual, [s]kip or [q]uit"
Ask = Callable[[str], None]


def prefer(study: str | None, words: Sequence[str], lines: Iterable[str], say: Ask, prompt: Ask, *, json: bool) -> int:
    """Take in answers; returns how many of the study's there are now.

    Args:
        study: Folder or name.
        words: Answers given at once, such as `12>5`; with any, nothing is asked.
        lines: Answers to what is asked, in the order of the questions; their end means quit.
        say: Where questions and the conclusion go.
        prompt: Where the prompt of a question goes.
        json: Whether questions and answers are JSON lines.

    Raises:
        UsageError: An answer that is none, a study with one objective, or a front with nothing to compare.
    """
    directory = find_study(study)
    given: list[Answer] = []
    with Study.open(directory, read_only=True) as opened:
        need_trials(opened.sweep)
    if words:
        for answer in [parsed(word) for word in words]:
            _give(directory, answer, given)
    else:
        _converse(directory, given, iter(lines), say, prompt, as_json=json)
    with Study.open(directory, read_only=True) as opened:
        history = _with(opened, given)
        say(_conclusion(opened, ranking.preferred(history), as_json=json))
    return len(history.answers)


def parsed(word: str) -> Answer:
    """`12>5`, `5<12` or `12=5`.

    Raises:
        UsageError: It is none of these.
    """
    for sign in "><=":
        left, found, right = word.partition(sign)
        if found and left.strip().isdecimal() and right.strip().isdecimal():
            pair = (int(left), int(right)) if sign != "<" else (int(right), int(left))
            return Answer(*pair, equal=sign == "=")
    raise UsageError(f"--answer takes two trials as in '12>5' (12 is better) or '12=5', but got {word!r}")


def _give(directory: Path, answer: Answer, given: list[Answer]) -> None:
    """Store an answer, or hand it to the process that writes to the study."""
    if is_locked(directory):
        with Study.open(directory, read_only=True) as opened:
            answers.check(opened, answer)
        inbox.post(directory, {"verb": "prefer", "answer": asdict(answer)})
    else:
        with Study.open(directory) as opened:
            answers.add(opened, answer)
    given.append(answer)


def _with(study: Study, given: Sequence[Answer]) -> Any:
    """The study's history, with the answers that its writer has not taken up yet."""
    history = study.history
    history.answers += tuple(answer for answer in given if answer not in history.answers)
    return history


def _converse(
    directory: Path, given: list[Answer], lines: Iterator[str], say: Ask, prompt: Ask, *, as_json: bool
) -> None:
    skipped: set[frozenset[int]] = set()
    while True:
        with Study.open(directory, read_only=True) as study:
            history = _with(study, given)
            _check(study, len(front_rows(history)))
            pair = question(history, skipped)
            if pair is None:
                return
            left, right = (study.read(trial) for trial in pair)
            say(_question(study, left, right, len(history.answers), as_json=as_json))
        said = _answer(pair, lines, say, prompt, as_json=as_json)
        if said == "quit":
            return
        if isinstance(said, Answer):
            _give(directory, said, given)
        else:
            skipped.add(frozenset(pair))


def _check(study: Study, members: int) -> None:
    if len(study.problem.objectives) < 2:
        raise UsageError(f"preferences are between several goals, but {study.sweep.name!r} has one; see `tuner best`")
    if members < 2:
        raise UsageError(f"the front of {study.sweep.name!r} has {members} members; there is nothing to compare yet")


def _answer(pair: tuple[int, int], lines: Iterator[str], say: Ask, prompt: Ask, *, as_json: bool) -> Answer | str:
    """What is said of a pair: an answer, "skip", or "quit"."""
    while True:
        prompt("" if as_json else f"which is better? {_KEYS}: ")
        line = next(lines, None)
        if line is None:
            return "quit"
        try:
            said = _said_json(line) if as_json else _WORDS.get(line.strip().lower()[:1], "")
        except ValueError as error:
            raise UsageError(f'an answer is a JSON object with "answer", but got {line.strip()!r}: {error}') from error
        match said:
            case Answer() | "skip" | "quit":
                return said
            case "left":
                return Answer(*pair)
            case "right":
                return Answer(*pair[::-1])
            case "equal":
                return Answer(*pair, equal=True)
        if as_json:
            raise UsageError(f'"answer" must be left, right, equal, skip or quit, but got {line.strip()!r}')
        say(f"please say {_KEYS}")


def _said_json(line: str) -> Answer | str:
    told = json.loads(line)
    if not isinstance(told, dict):
        raise ValueError("it is no object")
    if {"better", "worse"} <= told.keys():
        better, worse, equal = told["better"], told["worse"], told.get("equal", False)
        if not (isinstance(better, int) and isinstance(worse, int) and isinstance(equal, bool)):
            raise ValueError("better and worse must be numbers of trials")
        return Answer(better, worse, equal)
    return str(told.get("answer", ""))


def _question(study: Study, left: TrialRecord, right: TrialRecord, n: int, *, as_json: bool) -> str:
    if as_json:
        sides = {side: {"trial": r.trial, "params": r.config, "metrics": dict(r.metrics)}
                 for side, r in (("left", left), ("right", right))}  # fmt: skip
        return json.dumps({"schema": "tuner.question/1", "study": study.sweep.name, "answers": n, **sides})
    goals = {metric.name: metric_label(metric) for metric in study.problem.objectives}
    rows = [_row("trial", str(left.trial), str(right.trial))]
    rows += [_row(label, left.metrics[name], right.metrics[name]) for name, label in goals.items()]
    others = [m.name for m in study.problem.metrics if m.name not in goals and m.name in left.metrics]
    rows += [_row(name, left.metrics[name], right.metrics.get(name)) for name in others]
    rows += [_row(name, here, there) for name, here, there in changes(left.config, right.config)]
    return f"after {n} answers:\n{render(['', 'left', 'right', 'difference'], rows, 'table').rstrip()}\n"


def _row(name: str, left: Any, right: Any) -> dict[str, Any]:
    row = {"": name, "left": cell(left), "right": cell(right)}
    numbers = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in (left, right))
    return {**row, "difference": f"{right - left:+.4g}"} if numbers else row


def _conclusion(study: Study, best: Best | None, *, as_json: bool) -> str:
    if as_json:
        found = None if best is None else asdict(best)
        return json.dumps({"schema": "tuner.preferred/1", "study": study.sweep.name, "preferred": found})
    return "no answers yet" if best is None else str(best)
