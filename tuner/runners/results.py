"""From what a trial left behind to an Outcome: find each metric, reduce it to one number, say what is missing.

A metric is looked for, in this order: where it says (`stdout`, `file`); in what the objective returned; in the report
file (values without a step, else those with one); in the offline run of `wandb`; in the last JSON object on stdout;
among the free metrics.
"""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tuner.runners.failures import last_lines, tail
from tuner.runners.reports import ReportLog
from tuner.runners.wandb_files import WandbRun, read_offline_run
from tuner.trial import FREE_METRICS, Failure, FailureKind, Metric, Outcome

_STDOUT_LIMIT = 64 << 20  # bytes of stdout that a regular expression sees: the end of it
_JSON_LIMIT = 4 << 20
_TRIES = 1000

Values = Mapping[str, Any]


class BadMetricError(Exception):
    """A value that is no finite number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """What a trial left behind.

    Attributes:
        reports: What it reported.
        returned: What a Python objective returned.
        dir: The trial's folder; None when nothing can be there.
        measures: The free metrics.
    """

    reports: ReportLog = field(default_factory=ReportLog)
    returned: Values = field(default_factory=dict)
    dir: Path | None = None
    measures: Mapping[str, float] = field(default_factory=dict)


def read_outcome(metrics: Sequence[Metric], evidence: Evidence) -> Outcome:
    """The outcome of a trial that ended well: completed, or failed as `no_metric` or `bad_metric`.

    Metrics with a goal or a bound must be there; others may be missing; a `formula` is somebody else's business.
    Numbers under names that no metric declares are kept too.
    """
    finder = _Finder(evidence)
    found: dict[str, float] = {}
    missing: list[Metric] = []
    try:
        for metric in metrics:
            if metric.formula is not None:
                continue
            values = finder.values(metric)
            if values:
                found[metric.name] = reduce(metric.name, values, metric.statistic)
            elif metric.goal is not None or metric.min is not None or metric.max is not None:
                missing.append(metric)
    except BadMetricError as error:
        return _failed("bad_metric", str(error), evidence)
    if missing:
        return _failed("no_metric", finder.explain(missing), evidence)
    return Outcome(state="completed", metrics={**finder.extras(), **found}, measures=evidence.measures)


def reduce(name: str, values: Sequence[float], statistic: str) -> float:
    """One finite number of several: last, mean, median, min, max, or p<percent> (linear interpolation).

    Raises:
        BadMetricError: A value, or the result, is not finite.
    """
    for value in values:
        if not math.isfinite(value):
            raise BadMetricError(f"metric {name!r} must be a finite number, but got {value}")
    if statistic == "last":
        return values[-1]
    if statistic == "mean":
        return math.fsum(values) / len(values)
    if statistic in ("min", "max"):
        return min(values) if statistic == "min" else max(values)
    percent = 50.0 if statistic == "median" else float(statistic.removeprefix("p"))
    ordered = sorted(values)
    position = percent / 100 * (len(ordered) - 1)
    below = math.floor(position)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (ordered[above] - ordered[below]) * (position - below)


def numbers(name: str, value: object) -> list[float]:
    """The numbers in a value: one of a number, all of a (nested) list.

    Raises:
        BadMetricError: There is something else in it.
    """
    if isinstance(value, bool | int | float):
        try:
            return [float(value)]
        except OverflowError:
            raise BadMetricError(f"metric {name!r} must be a finite number, but got an integer beyond 1e308") from None
    if isinstance(value, list | tuple) and value:
        return [number for item in value for number in numbers(name, item)]
    raise BadMetricError(f"metric {name!r} must be a number, but got {value!r:.200}")


def last_json_object(text: str) -> dict[str, Any] | None:
    """The last JSON object that starts a line (a carriage return counts as a new line) and is not part of another."""
    decoder = json.JSONDecoder()
    starts = [match.start(1) for match in re.finditer(r"(?:^|[\r\n])[ \t]*(\{)", text)]
    last, end = None, 0
    for start in starts[-_TRIES:]:
        if start < end:
            continue
        try:
            last, end = decoder.raw_decode(text, start)
        except (ValueError, RecursionError):
            continue
    return last


def stdout_value(
    name: str, pattern: str, text: str, *, path: str | None = None, statistic: str = "last"
) -> float | None:
    """What a metric's `stdout:` setting finds in a text; None when it finds nothing.

    Raises:
        BadMetricError: It finds something that is no finite number.
    """
    metric = Metric(name=name, stdout=pattern, path=path)
    values = _pick(metric, last_json_object(text) or {}) if pattern == "json" else _matches(metric, text)
    return reduce(name, values, statistic) if values else None


def _matches(metric: Metric, text: str) -> list[float]:
    pattern = re.compile(metric.stdout or "", re.MULTILINE)
    found = [match.group(1) if pattern.groups else match.group() for match in pattern.finditer(text)]
    try:
        return [float(value) for value in found if value is not None]
    except ValueError:
        raise BadMetricError(f"metric {metric.name!r}: {metric.stdout!r} found {found[-1]!r}, no number") from None


def _failed(kind: FailureKind, message: str, evidence: Evidence) -> Outcome:
    return Outcome(state="failed", measures=evidence.measures, failure=Failure(kind=kind, message=message))


class _Finder:
    """Looks for metrics in one trial's evidence; each source is read once, and only when it is needed."""

    def __init__(self, evidence: Evidence) -> None:
        self._evidence = evidence
        self._seen: dict[str, Values] = {}
        self._run: WandbRun | None = None

    def values(self, metric: Metric) -> list[float]:
        """Every value of a metric, in order; empty when there is none."""
        if metric.stdout is not None or metric.file is not None:
            return self._explicit(metric)
        for source in self._sources(metric.statistic):
            if metric.name in source:
                return numbers(metric.name, source[metric.name])
        return []

    def extras(self) -> dict[str, float]:
        """The finite numbers under any name, of the sources that were read."""
        found: dict[str, float] = {}
        for label in ("json", "summary", "reports", "returned"):
            for name, value in self._seen.get(label, {}).items():
                last = value[-1] if label == "reports" else value
                if isinstance(last, bool | int | float) and math.isfinite(last):
                    found[name] = float(last)
        return found

    def explain(self, missing: Sequence[Metric]) -> str:
        """Which metrics are missing, which names were seen instead, and the end of the log."""
        names = sorted({name for label, source in self._seen.items() if label != "free" for name in source})
        lines = []
        for metric in missing:
            near = difflib.get_close_matches(metric.name, names, n=1, cutoff=0.4)
            near = near or [name for name in names if metric.name in name or name in metric.name][:1]
            hint = f"; did you mean {near[0]!r}?" if near else ""
            place = _place(metric)
            lines.append(f"metric {metric.name!r} was not found{place}{hint}")
        lines.append(f"seen: {', '.join(names) if names else 'no metric at all'}")
        if self._evidence.dir is not None:
            log = [line for name in ("stdout.log", "stderr.log") for line in last_lines(self._log(name), 20)]
            lines += [f"  | {line}" for line in log[-20:]]
        return "\n".join(lines)

    def _log(self, name: str) -> str:
        return tail(self._evidence.dir / name) if self._evidence.dir is not None else ""

    def _sources(self, statistic: str) -> Iterator[Values]:
        evidence = self._evidence
        yield self._once("returned", lambda: evidence.returned)
        yield self._once("reports", evidence.reports.values)
        if evidence.dir is not None and not evidence.returned:
            if statistic != "last":
                yield self._once("history", lambda: self._wandb().history)
            yield self._once("summary", lambda: self._wandb().summary)
            yield self._once("json", self._json)
        yield self._once("free", lambda: evidence.measures)

    def _once(self, label: str, read: Callable[[], Values]) -> Values:
        if label not in self._seen:
            self._seen[label] = read()
        return self._seen[label]

    def _wandb(self) -> WandbRun:
        if self._run is None:
            self._run = (self._evidence.dir and read_offline_run(self._evidence.dir)) or WandbRun()
        return self._run

    def _stdout(self, limit: int) -> str:
        return tail(self._evidence.dir / "stdout.log", limit) if self._evidence.dir is not None else ""

    def _json(self) -> Values:
        return last_json_object(self._stdout(_JSON_LIMIT)) or {}

    def _explicit(self, metric: Metric) -> list[float]:
        if metric.file is not None:
            return self._from_file(metric)
        if metric.stdout != "json":
            return _matches(metric, self._stdout(_STDOUT_LIMIT))
        found = self._once("json", self._json)
        return _pick(metric, found)

    def _from_file(self, metric: Metric) -> list[float]:
        if self._evidence.dir is None or metric.file is None:
            return []
        try:
            document = json.loads((self._evidence.dir / metric.file).read_text(encoding="utf-8"))
        except OSError:
            return []
        except (ValueError, RecursionError) as error:
            raise BadMetricError(f"metric {metric.name!r}: {metric.file} must be JSON, but {error}") from None
        if isinstance(document, dict):
            self._seen.setdefault(f"file {metric.file}", document)
        return _pick(metric, document)


def _pick(metric: Metric, document: object) -> list[float]:
    """A metric's values in a JSON document: by its path, by its name, or the document itself."""
    if metric.path is not None:
        return [number for match in _path(metric.path).find(document) for number in numbers(metric.name, match.value)]
    if isinstance(document, dict):
        return numbers(metric.name, document[metric.name]) if metric.name in document else []
    return numbers(metric.name, document)


@functools.lru_cache
def _path(text: str) -> Any:
    from jsonpath_ng.ext.parser import parse  # 50 ms

    return parse(text)


def _place(metric: Metric) -> str:
    if metric.file is not None:
        return f" in {metric.file}" + (f" at {metric.path}" if metric.path else "")
    if metric.stdout is not None:
        return " in the last JSON object on stdout" if metric.stdout == "json" else f" on stdout by {metric.stdout!r}"
    if metric.name in FREE_METRICS:
        return " (it is measured only where the device tells it, energy only over a second or more)"
    return ""
