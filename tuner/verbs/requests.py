"""What the controlling verbs ask of a study: stop, retry, enqueue, ask, tell, from the words of a command line.

When another process is writing to the study, stop, retry and enqueue reach it through its inbox; otherwise they are
done at once.
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

from tuner import inbox
from tuner.blocks import need_trials
from tuner.errors import UsageError
from tuner.lock import is_locked
from tuner.sessions import find_study, open_or_create
from tuner.study import Study
from tuner.sweep import load_sweep
from tuner.sweeps.sections import duration_s
from tuner.sweeps.yaml_source import read_value
from tuner.trial import FailureKind


def request_stop(study: str | None, *, now: bool) -> str:
    """Ask the process that runs a study to stop; says what will happen."""
    directory = find_study(study)
    if not is_locked(directory):
        return f"nothing is running in {directory}"
    inbox.post(directory, {"verb": "stop", "now": now})
    return f"asked {directory} to stop; its running trials {'are terminated' if now else 'may finish'}"


def request_retry(study: str, trials: Sequence[int], *, failed: bool) -> str:
    """Have trials tried again by the next, or the current, `tuner run`."""
    directory = find_study(study)
    with Study.open(directory, read_only=True) as reading:
        numbers = sorted({*trials, *(record.trial for record in reading.records(states=("failed",)) if failed)})
    if not numbers:
        return "no trial to retry" if failed else _refuse("name the trials to retry, or use --failed")
    if is_locked(directory):
        inbox.post(directory, {"verb": "retry", "trials": numbers})
    else:
        with Study.open(directory) as opened:
            opened.retry(numbers)
    return f"{len(numbers)} trials wait for another attempt: {', '.join(map(str, numbers))}"


def request_enqueue(study: str, params: Sequence[str]) -> str:
    """Have a configuration tried next."""
    directory = find_study(study)
    config = pairs(params)
    with Study.open(directory, read_only=True) as reading:
        need_trials(reading.sweep)
    if is_locked(directory):
        inbox.post(directory, {"verb": "enqueue", "config": config})
        return f"asked {directory} to try it next"
    with Study.open(directory) as opened:
        spent = f"; it starts when the budget is raised: {reason}" if (reason := opened.stop_reason) else ""
        return f"trial {opened.enqueue(config)} waits{spent}"


def ask_proposals(study: str, n: int, lease: str, *, json: bool) -> str:
    """Proposals of a study, or of a sweep file's study, which is made when it is new."""
    try:
        lease_s = duration_s(lease)
    except ValueError as error:
        raise UsageError(f"--lease {error}") from None
    sweep = load_sweep(Path(study)) if Path(study).is_file() else None
    if sweep is not None:
        need_trials(sweep)
    with open_or_create(sweep) if sweep is not None else Study.open(find_study(study)) as opened:
        proposals = (
            opened.ask(n, worker="ask:", lease_s=lease_s) if n != 1 else [opened.ask(worker="ask:", lease_s=lease_s)]
        )
    documents = [
        {"trial": p.trial, "params": p.config, "fidelity": p.fidelity, "attempt": p.attempt} for p in proposals
    ]
    if json:
        return _dump({"schema": "tuner.ask/1", "study": opened.sweep.name, "proposals": documents})
    return "\n".join(f"{p.trial} {' '.join(f'{k}={_plain(v)}' for k, v in p.config.items())}" for p in proposals)


def tell_result(
    study: str, trial: int, metrics: Sequence[str], *, failed: str | None, message: str, attempt: int | None
) -> str:
    """Record the result of an asked configuration; says whether it counted."""
    values: dict[str, Any] = pairs(metrics)
    if failed is None:
        for name, value in values.items():
            if isinstance(value, bool) or not isinstance(value, (int, float)):
                raise UsageError(f"a metric must be a number, but got {name}={value!r}")
    elif failed not in get_args(FailureKind):
        raise UsageError(f"--failed must be one of {', '.join(get_args(FailureKind))}, but got {failed!r}")
    if failed is None and not values:
        raise UsageError("say the result: name=value for every metric, or --failed KIND")
    with Study.open(find_study(study)) as opened:
        if failed is not None:
            counted = opened.fail(trial, failed, message, attempt=attempt)  # type: ignore[arg-type]
        else:
            counted = opened.tell(trial, values, attempt=attempt)
        record = opened.read(trial)
    if not counted:
        return f"trial {trial} was told late, when it was {record.state}: written down, nothing changed"
    return f"trial {trial} {record.state}"


def pairs(words: Sequence[str]) -> dict[str, Any]:
    """`name=value` words as a mapping; values are YAML, so that 1e-4 is a number and [q, v] a list.

    Raises:
        UsageError: A word has no `=`.
    """
    values: dict[str, Any] = {}
    for word in words:
        name, equals, text = word.partition("=")
        if not equals or not name:
            raise UsageError(f"expected name=value, but got {word!r}")
        values[name] = math.nan if text.lower() == "nan" else read_value(text)
    return values


def _plain(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _dump(document: dict[str, Any]) -> str:
    return json.dumps(document, indent=2)


def _refuse(message: str) -> str:
    raise UsageError(message)
