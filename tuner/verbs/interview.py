"""`tuner init` with answers: a sweep from a few words on the command line, or asked for one by one on a terminal.

Parameters and metrics are written as short as they can be: `lr=1e-5..1e-1:log`, `layers=1..12`, `optim=adamw,sgd`,
`accuracy:maximize`, `memory_gb<=40`. Nothing is written before the sweep has passed all checks.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from tuner.errors import TunerError, UsageError
from tuner.reporting.tables import legible
from tuner.sweep import dump_yaml, load_sweep, slug
from tuner.sweeps.yaml_source import read_value

_GOALS = {"max": "maximize", "maximize": "maximize", "min": "minimize", "minimize": "minimize"}
_BOUND = re.compile(r"(.+?)(<=|>=)(.+)")
_TRIALS = 60
_HEAD = "# Written by tuner init. See what it means: tuner validate sweep.yaml; run it: tuner run sweep.yaml\n"
_REPORT = (
    "# A trial says how it went with tuner.report({names}), with a JSON line on stdout, or as\n"
    "# `stdout: <regular expression>` of a metric finds it there.\n"
)

Ask = Callable[[str, str], str]
"""Question and default to the answer."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Answers:
    """What a sweep is made of, in the words of the command line; each field is the option of its name."""

    command: str | None = None
    objective: str | None = None
    metrics: Sequence[str] = ()
    params: Sequence[str] = ()
    name: str | None = None
    trials: int | None = None
    time: str | None = None


def write_sweep(directory: Path, answers: Answers, *, force: bool = False) -> Path:
    """Write `sweep.yaml` from answers; returns the file.

    Raises:
        UsageError: An answer cannot be understood, one is missing, or the file exists and `force` is not set.
        SweepError: They make no valid sweep.
    """
    file = directory / "sweep.yaml"
    if file.exists() and not force:
        raise UsageError(f"{file} exists already; choose another folder, or overwrite it with --force")
    data = sweep_of(answers, directory)
    text = _HEAD
    if "command" in data or "objective" in data:
        text += _REPORT.format(names=", ".join(f"{legible(name)}=..." for name in data["metrics"]))
    text += dump_yaml(data)
    load_sweep(text)
    directory.mkdir(parents=True, exist_ok=True)
    file.write_text(text, encoding="utf-8")
    return file


def sweep_of(answers: Answers, directory: Path) -> dict[str, Any]:
    """The content of a sweep file, checked.

    Raises:
        UsageError: An answer cannot be understood, or one is missing.
        SweepError: They make no valid sweep.
    """
    if answers.command and answers.objective:
        raise UsageError("a trial is a --command or an --objective, not both")
    if not answers.metrics:
        raise UsageError("say what should get better: --metric accuracy:maximize")
    if not answers.params:
        raise UsageError("say what may vary: --param lr=1e-5..1e-1:log")
    data: dict[str, Any] = {"name": answers.name or slug(directory.resolve().name)}
    if answers.command:
        data["command"] = _command(answers.command)
    if answers.objective:
        data["objective"] = answers.objective
    data["metrics"] = _unique("metric", map(metric, answers.metrics))
    data["parameters"] = _unique("parameter", map(parameter, answers.params))
    budget = {"trials": answers.trials, "time": answers.time}
    if answers.trials is None and answers.time is None:
        budget["trials"] = _TRIALS
    data["budget"] = {key: value for key, value in budget.items() if value is not None}
    load_sweep(data)
    return data


def metric(text: str) -> tuple[str, dict[str, Any]]:
    """`name:maximize`, `name:minimize`, `name<=bound` or `name>=bound` as an entry of a sweep.

    Raises:
        UsageError: It is none of these.
    """
    if found := _BOUND.fullmatch(text):
        name, relation, bound = found.groups()
        return name.strip(), {"max" if relation == "<=" else "min": _number(bound, text)}
    name, colon, goal = text.rpartition(":")
    if not colon or goal.strip() not in _GOALS or not name.strip():
        raise UsageError(f"a metric is written name:maximize, name:minimize or name<=40, but got {text!r}")
    return name.strip(), {"goal": _GOALS[goal.strip()]}


def parameter(text: str) -> tuple[str, Any]:
    """`name=low..high[:log|:step=S]`, `name=a,b,c[:ordered]` or `name=constant` as an entry of a sweep.

    Raises:
        UsageError: It is none of these.
    """
    name, equals, rest = (part.strip() for part in text.partition("="))
    if not equals or not name or not rest:
        raise UsageError(f"a parameter is written lr=1e-5..1e-1:log, layers=1..12 or optim=adamw,sgd, but got {text!r}")
    if ".." in rest:
        return name, _range(rest, text)
    values, colon, word = rest.rpartition(":")
    ordered = bool(colon) and word.strip() == "ordered"
    listed = values if ordered else rest
    if "," not in listed:
        return name, read_value(listed)
    found = [read_value(value.strip()) for value in listed.split(",") if value.strip()]
    return name, {"values": found, **({"ordered": True} if ordered else {})}


def _range(rest: str, text: str) -> dict[str, Any]:
    bounds, *words = (part.strip() for part in rest.split(":"))
    low, _, high = bounds.partition("..")
    found: dict[str, Any] = {"min": _number(low, text), "max": _number(high, text)}
    for word in words:
        if word == "log":
            found["log"] = True
        elif word.startswith("step="):
            found["step"] = _number(word.removeprefix("step="), text)
        else:
            raise UsageError(f"a range may end in :log or :step=2, but got {text!r}")
    return found


def _number(text: str, whole: str) -> float | int:
    value = read_value(text.strip())
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{text.strip()!r} must be a number in {whole!r}")
    return value


def _command(text: str) -> list[str]:
    """A command's words; the configuration comes last when no placeholder says where."""
    try:
        words = shlex.split(text)
    except ValueError as error:
        raise UsageError(f"the command {text!r} cannot be split into words: {error}") from None
    return words if "${" in text else [*words, "${args}"]


def _unique(what: str, entries: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, entry in entries:
        if name in found and not (what == "metric" and not found[name].keys() & entry.keys()):
            raise UsageError(f"the {what} {name!r} is given twice")
        found[name] = {**found[name], **entry} if name in found else entry
    return found


def interview(ask: Ask, say: Callable[[str], None]) -> Answers | None:
    """Ask for a sweep; None when the first answer is empty: an example is wanted.

    Args:
        ask: Puts a question with its default to a person.
        say: Tells them what was wrong; the question is put again.
    """
    what = ask("What runs a trial: a command, or package.module:function (Enter: write an example)", "").strip()
    if not what:
        return None
    answers = Answers(objective=what) if re.fullmatch(r"[\w.]+:\w+", what) else Answers(command=what)
    better = "What should get better, such as accuracy:maximize or seconds:minimize"
    answers = replace(answers, metrics=_several(ask, say, metric, better, "Another metric, or a bound such as gb<=40"))
    vary = "What may vary, such as lr=1e-5..1e-1:log, layers=1..12 or optim=adamw,sgd"
    answers = replace(answers, params=_several(ask, say, parameter, vary, "Another parameter"))
    trials = _asked(ask, say, _positive, "How many trials", str(_TRIALS))
    time = _asked(ask, say, _duration, "How long at most, such as 4h (Enter: no limit)", "")
    return replace(answers, trials=int(trials), time=time or None)


def _several(
    ask: Ask, say: Callable[[str], None], check: Callable[[str], object], first: str, more: str
) -> tuple[str, ...]:
    found = [_asked(ask, say, check, first, "")]
    while text := _asked(ask, say, lambda text: check(text) if text else None, f"{more} (Enter: none)", ""):
        found.append(text)
    return tuple(found)


def _asked(ask: Ask, say: Callable[[str], None], check: Callable[[str], object], question: str, default: str) -> str:
    """An answer that passes a check; the question is put until there is one."""
    while True:
        text = ask(question, default).strip()
        try:
            check(text)
        except TunerError as error:
            say(str(error))
        else:
            return text


def _positive(text: str) -> None:
    if not text.isdigit() or int(text) < 1:
        raise UsageError(f"a whole number of at least 1 is needed, but got {text!r}")


def _duration(text: str) -> None:
    from tuner.sweeps.sections import duration_s

    try:
        if text:
            duration_s(text)
    except ValueError as error:
        raise UsageError(str(error)) from None
