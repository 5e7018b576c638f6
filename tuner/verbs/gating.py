"""`tuner gate`: measure a baseline and a candidate by turns until it is clear whether the candidate is worse."""

from __future__ import annotations

import math
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.gate import Check, Design, Report, Result, Side, Verdict, order, overall
from tuner.reporting.tables import legible
from tuner.verbs.baselines import Baseline, hardware, read_baseline, save_baseline, what_changed
from tuner.verbs.gate_checks import Checks, Pairs, choose, judge_all, sure_metrics
from tuner.verbs.gate_sides import Subject, fitting
from tuner.verbs.gate_sides import subject as subject_of
from tuner.verbs.remeasuring import FailedError, Remeasurer

if TYPE_CHECKING:
    from tuner.trial import Config

_SAVED = 5  # measurements of a baseline that is saved without a comparison
_SHORT_S = 1.0  # evaluations shorter than this are repeated within a measurement unless told otherwise
_SHORT_RUNS = 5
_SAY_EVERY_S = 10.0
_MOVED = 0.1  # how far a baseline's median may be from what it was when it was saved, before that is said


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """What `tuner gate` was asked for; each field is the option of its name.

    Attributes:
        runs: Evaluations that a measurement is the median of; 0: 5 when one takes less than a second, else 1.
        max_regress: "3%" for every metric, "metric=3%" for one.
        deterministic: Metrics of which one measurement says all.
        every_check: Go on after a regression until the other checks are clear too.
    """

    baseline: Path | None = None
    candidate: str | None = None
    trial: int | None = None
    sweep: Path | None = None
    baseline_sweep: Path | None = None
    save: Path | None = None
    max_regress: Sequence[str] = ()
    metrics: Sequence[str] = ()
    deterministic: Sequence[str] = ()
    confidence: float = 0.95
    max_measurements: int = 39
    runs: int = 0
    warmup: int = 1
    max_time: str | None = None
    every_check: bool = False
    seed: int = 0
    quiet: bool = False


def gate(request: Request, note: Callable[[str], None] | None = None) -> Report | None:
    """Measure and judge, and save a baseline when that was asked for; None when there was nothing to compare with.

    Args:
        request: What was asked for.
        note: Told how it goes; stderr by default.

    Raises:
        UsageError: Something asked for does not fit together.
        StoreError: There is no such study.
    """
    say = note or (lambda text: print(text, file=sys.stderr) if not request.quiet else None)
    if request.baseline is None and request.save is None:
        raise UsageError("name what to compare with: --baseline FILE, or write one first with --save-baseline FILE")
    design = _design(request)
    _limit_s(request.max_time)
    found = subject_of(request.candidate, request.trial, request.sweep)
    if request.baseline is None:
        assert request.save is not None
        side = _measured_alone(found, request, say)
        _save(request.save, side, found)
        say(f"saved {legible(side.name)} to {request.save}")
        return None
    baseline = read_baseline(request.baseline)
    report = _compared(found, baseline, request, design, say)
    if request.save is not None and report.verdict == "pass":
        _save(request.save, report.candidate, found)
        say(f"saved {legible(report.candidate.name)} to {request.save}")
    return report


def _save(file: Path, side: Side, subject: Subject) -> None:
    study = subject.sweep.name
    save_baseline(file, side, subject.problem, study=study, resolved=subject.resolved, front=subject.front)


def _design(request: Request) -> Design:
    if not 0.5 <= request.confidence <= 0.999:
        raise UsageError(f"--confidence must be between 0.5 and 0.999, but got {request.confidence}; 0.95 is usual")
    if request.max_measurements < 1 or request.warmup < 0 or request.runs < 0:
        raise UsageError("--max-measurements must be at least 1, --warmup and --runs at least 0")
    return Design(confidence=request.confidence, max_pairs=request.max_measurements, seed=request.seed)


def _measured_alone(subject: Subject, request: Request, say: Callable[[str], None]) -> Side:
    """The candidate, measured a few times for a file."""
    sure = sure_metrics(subject.problem)
    if all(metric.name in sure for metric in subject.problem.objectives):
        return Side(name=subject.name, config=subject.config, measurements=(_computed(subject, subject.config),))
    with Remeasurer({"candidate": subject.sweep}, say) as machine:
        for _ in range(request.warmup):
            machine.evaluate("candidate", subject.config, _seed(subject, 0))
        found = tuple(
            machine.evaluate("candidate", subject.config, _seed(subject, 1 + k))
            for k in range(min(_SAVED, request.max_measurements))
        )
    return Side(name=subject.name, config=subject.config, measurements=found)


def _computed(subject: Subject, config: Config) -> dict[str, float]:
    return dict(subject.problem.complete(config, {}))


def _seed(subject: Subject, k: int) -> int:
    from tuner.randomness import trial_seed

    return trial_seed(subject.problem.seed, k, 2_000_000)  # no trial, repeat or finalist has these


def _compared(
    subject: Subject, baseline: Baseline, request: Request, design: Design, say: Callable[[str], None]
) -> Report:
    from tuner.sweep import load_sweep

    checks = choose(
        subject,
        baseline,
        max_regress=request.max_regress,
        only=request.metrics,
        deterministic=request.deterministic,
    )
    config = fitting(subject.problem, baseline.config, f"the baseline {request.baseline}")
    if any(not check.sure for check in checks.metrics) and design.max_pairs < design.fewest(checks.noisy):
        say(f"{design.max_pairs} measurements cannot show a regression of {checks.noisy} noisy checks with confidence "
            f"{design.confidence:g}; that takes at least {design.fewest(checks.noisy)}")  # fmt: skip
    started = time.monotonic()
    pairs, runs, notes = Pairs(), 1, list[str]()
    if checks.metrics or checks.constraints:  # what follows from the configurations alone is compared first
        pairs = Pairs([_computed(subject, config)], [_computed(subject, subject.config)])
    results = judge_all(checks, subject, config, pairs, baseline, design)
    if not _clear(results, every=request.every_check):
        there = load_sweep(request.baseline_sweep) if request.baseline_sweep is not None else subject.sweep
        sweeps = {"baseline": there, "candidate": subject.sweep}
        with Remeasurer(sweeps, say) as machine:
            session = _Session(machine, subject, config, checks, baseline, request, design, say)
            results = session.run(started)
            pairs, runs, notes = session.pairs, session.runs, session.notes
    changed = [*what_changed(baseline, subject.resolved, hardware()), *_moved(baseline, pairs, checks), *notes]
    origin = str(baseline.document.get("from") or request.baseline)
    return Report(
        study=subject.sweep.name,
        verdict=overall(results),
        results=tuple(results),
        baseline=Side(name=origin, config=config, measurements=tuple(pairs.baseline)),
        candidate=Side(name=subject.name, config=subject.config, measurements=tuple(pairs.candidate)),
        design=design,
        runs=runs,
        seconds=time.monotonic() - started,
        notes=tuple(changed),
    )


@dataclass(slots=True)
class _Session:
    """The pairs of one gate, measured until the verdict is clear."""

    machine: Remeasurer
    subject: Subject
    config: Config
    checks: Checks
    baseline: Baseline
    request: Request
    design: Design
    say: Callable[[str], None]
    pairs: Pairs = field(default_factory=Pairs)
    runs: int = 1
    notes: list[str] = field(default_factory=list)

    def run(self, started: float) -> list[Result]:
        """Warm up, then pair after pair."""
        until = started + _limit_s(self.request.max_time)
        try:
            self._warm_up()
            results, said = self._judge(), time.monotonic()
            for k in range(self.design.max_pairs):
                self._pair(k)
                self._require_values()
                results = self._judge()
                if _clear(results, every=self.request.every_check):
                    break
                now = time.monotonic()
                if now > until:
                    self.notes.append(
                        f"--max-time ended it after {k + 1} of {self.design.max_pairs} measurements a side"
                    )
                    break
                if now - said > _SAY_EVERY_S:
                    said = now
                    self.say(f"{k + 1} measurements a side, still open: {_open(results)}")
        except _Stumbled as stumbled:
            return [stumbled.result, *self._judge()]
        return results

    def _warm_up(self) -> None:
        if self.checks.all_sure:
            return
        seconds = []
        for _ in range(self.request.warmup):
            for side in ("baseline", "candidate"):
                began = time.monotonic()
                self._evaluate(side, _seed(self.subject, 0))
                seconds.append(time.monotonic() - began)
        short = bool(seconds) and max(seconds[-2:]) < _SHORT_S
        self.runs = self.request.runs or (_SHORT_RUNS if short else 1)

    def _pair(self, k: int) -> None:
        """One measurement of each side: the medians of runs by turns, who begins being drawn by lot."""
        sides = ("candidate", "baseline") if order(self.design.seed, k) else ("baseline", "candidate")
        found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for run in range(self.runs):
            for side in sides:
                found[side].append(self._evaluate(side, _seed(self.subject, 1 + k * self.runs + run)))
        self.pairs.baseline.append(_medians(found["baseline"]))
        self.pairs.candidate.append(_medians(found["candidate"]))

    def _require_values(self) -> None:
        measured = set(self.pairs.baseline[0]) & set(self.pairs.candidate[0])
        absent = [check.name for check in self.checks.metrics if check.name not in measured]
        if absent:
            raise UsageError(f"{', '.join(absent)} is not measured here; leave it out of --metric and --max-regress")

    def _evaluate(self, side: str, seed: int) -> dict[str, float]:
        config = self.config if side == "baseline" else self.subject.config
        try:
            return self.machine.evaluate(side, config, seed)
        except FailedError as failed:
            check = Check(name=f"the {side} completes", kind="completes", goal=None, max_regress=0.0, sure=True)
            verdict: Verdict = "regression" if side == "candidate" else "inconclusive"
            raise _Stumbled(Result(check=check, verdict=verdict, why=str(failed))) from failed

    def _judge(self) -> list[Result]:
        return judge_all(self.checks, self.subject, self.config, self.pairs, self.baseline, self.design)


def _limit_s(text: str | None) -> float:
    from tuner.sweeps.sections import duration_s

    if text is None:
        return math.inf
    try:
        return duration_s(text)
    except ValueError as error:
        raise UsageError(f"--max-time {error}") from error


def _clear(results: Sequence[Result], *, every: bool) -> bool:
    """Whether measuring more would change nothing: the verdict is there, or that of every check."""
    verdicts = {result.verdict for result in results}
    return "inconclusive" not in verdicts if every else overall(results) != "inconclusive"


class _Stumbled(Exception):  # noqa: N818 - carries a result
    def __init__(self, result: Result) -> None:
        super().__init__(result.why)
        self.result = result


def _medians(found: Sequence[Mapping[str, float]]) -> dict[str, float]:
    names = set.intersection(*(set(one) for one in found))
    return {name: statistics.median(one[name] for one in found) for name in sorted(names)}


def _open(results: Sequence[Result]) -> str:
    return ", ".join(legible(result.check.name) for result in results if result.verdict == "inconclusive")


def _moved(baseline: Baseline, pairs: Pairs, checks: Checks) -> list[str]:
    """Metrics of the baseline that are no longer what they were when it was saved."""
    lines = []
    for name in (check.name for check in checks.metrics):
        values = [one[name] for one in pairs.baseline if name in one]
        before = baseline.metrics.get(name)
        if values and before:
            change = statistics.median(values) / before - 1.0
            if abs(change) > _MOVED:
                how = "more" if change > 0 else "less"
                lines.append(f"the baseline's {name} is {abs(change):.0%} {how} than when it was saved")
    return lines
