"""For scripts that run as trials: report values, learn that the trial should stop, read the parameters.

Standard library only, and importing it costs milliseconds:

    from tuner.trial_client import params, report     # also `tuner.report`, `tuner.should_stop`

    lr = params().get("lr", 1e-3)
    for epoch in range(10):
        if report(loss=..., step=epoch):              # one line in the file that TUNER_REPORT names
            break
    report(accuracy=...)                              # a line without a step is the result

A score that is a mean over items is reported item by item, `report_items(accuracy=1.0)`, or a batch at a time,
`report_items(accuracy=[1.0, 0.0, ...])`: what is sent is the running mean, its standard error as `accuracy_se`, and the
number of items as the step.

A script in another language does the same by appending JSON lines to that file, each with one `write`:
`{"step": 3, "metrics": {"loss": 0.41}}`, or bare `{"step": 3, "loss": 0.41}`.
Outside a trial `report` prints its values, `should_stop` is False and `params` is empty: a script runs by itself too.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.items import Scores, Tally

Sink = Callable[[int | None, Mapping[str, Any]], bool]
"""Takes (step, values) and returns True when the trial should stop."""

_sink: Sink | None = None
_tally: Tally | None = None


def connect(sink: Sink | None) -> None:
    """Send the reports of this process to `sink` (None: to the file again). For workers that host Python objectives."""
    global _sink, _tally
    _sink, _tally = sink, None


def report(metrics: Mapping[str, Any] | None = None, /, *, step: int | None = None, **values: Any) -> bool:
    """True when the trial should stop; the values are on their way when this returns.

    Args:
        metrics: Values by name; for names that are not Python identifiers.
        step: How far the trial is (epoch, samples, ...). Without it the values are the trial's result.
        values: More values by name: numbers, lists of numbers, or anything that `float` accepts.
    """
    named = {name: _plain(value) for name, value in {**(metrics or {}), **values}.items()}
    if _sink is not None:
        return _sink(step, named)
    path = os.environ.get("TUNER_REPORT")
    if path is None:
        head = [] if step is None else [f"step={step}"]
        print(*head, *(f"{name}={value}" for name, value in named.items()), flush=True)
        return False
    line: dict[str, object] = {"metrics": named}
    if step is not None:
        line["step"] = int(step)
    if os.environ.get("RANK", "").isdigit():  # set by torchrun and others: of several ranks, the first one counts
        line["rank"] = int(os.environ["RANK"])
    descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | getattr(os, "O_CLOEXEC", 0), 0o644)
    try:
        os.write(descriptor, json.dumps(line).encode() + b"\n")  # one write: lines of several writers never mix
    finally:
        os.close(descriptor)
    return should_stop()


def report_items(scores: Mapping[str, Scores] | None = None, /, **values: Scores) -> bool:
    """Report the scores of one more item, or of several, in an order that is the same for every trial.

    After a checkpoint, report those of the earlier items again, all at once. True when the trial should stop.

    Raises:
        ValueError: Scores are not given for the same number of items.
    """
    global _tally
    if _tally is None:
        from tuner.items import Tally

        _tally = Tally()
    means = _tally.take({**(scores or {}), **values})
    return report(means, step=_tally.n)


def should_stop() -> bool:
    """True when the tuner wants this trial to end; leave with exit code 0 then."""
    path = os.environ.get("TUNER_STOP")
    return path is not None and os.path.exists(path)


def params() -> dict[str, Any]:
    """The trial's configuration, active parameters only; empty outside a trial."""
    path = os.environ.get("TUNER_PARAMS")
    if path is None:
        return {}
    with open(path, encoding="utf-8") as file:
        found: dict[str, Any] = json.load(file)
    return found


def _plain(value: Any) -> Any:
    """The value as JSON can hold it: numpy and torch scalars become floats, arrays lists."""
    if isinstance(value, bool | int | float | str) or value is None:
        return value
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    if getattr(value, "ndim", 0) and hasattr(value, "tolist"):
        return value.tolist()
    return float(value)
