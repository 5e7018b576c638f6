"""The values that travel between the parts: Metric, Proposal, Outcome, Failure, and the Trial an objective is handed.

All are frozen. The one object with behaviour is `Trial`, what an objective sees of its own run.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from tuner.errors import Stopped
from tuner.items import Scores, Tally

Config = dict[str, Any]
"""A configuration: active parameter name -> JSON value (number, string, bool, list or mapping)."""

State = Literal["waiting", "running", "completed", "pruned", "failed", "infeasible"]
FINISHED: tuple[State, ...] = ("completed", "pruned", "failed", "infeasible")

FailureKind = Literal[
    "oom_gpu", "oom_host", "timeout", "crash", "signal", "no_metric", "bad_metric", "infra", "interrupted"
]
FAILURE_KINDS: tuple[FailureKind, ...] = (
    "oom_gpu",
    "oom_host",
    "timeout",
    "crash",
    "signal",
    "no_metric",
    "bad_metric",
    "infra",
    "interrupted",
)

FREE_METRICS = ("wall_s", "cpu_s", "max_rss_bytes", "gpu_mem_peak_bytes", "gpu_energy_j", "exit_code")
"""Measured for every trial without the objective's help."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One thing that is measured.

    Attributes:
        name: As in the sweep file.
        goal: What to do with it; None when it is only bounded or recorded.
        unit: For tables, e.g. "ms".
        min: Lower bound: an outcome constraint `metric >= min`.
        max: Upper bound: an outcome constraint `metric <= max`.
        reference: This metric's coordinate of the hypervolume corner; inferred when None.
        statistic: How repeated or listed values become one: last, mean, median, min, max, or p<percent>.
        formula: Expression over parameters (a known metric) or over other metrics (a composite).
        stdout: "json" or a regular expression whose first group is the value.
        file: A result file relative to the trial's folder.
        path: JSONPath into `file`.
    """

    name: str
    goal: Literal["maximize", "minimize"] | None = None
    unit: str = ""
    min: float | None = None
    max: float | None = None
    reference: float | None = None
    statistic: str = "last"
    formula: str | None = None
    stdout: str | None = None
    file: str | None = None
    path: str | None = None

    @property
    def sign(self) -> float:
        """+1 when larger is better, -1 when smaller is: `sign * value` is maximised."""
        return -1.0 if self.goal == "minimize" else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Provenance:
    """Where a proposal came from.

    Attributes:
        engine: The strategy's registry name, or "baseline", "initial", "warm", "enqueued", "added".
        acquisition: Value of the acquisition function at the point, in its own units.
        mean: Predicted metrics by name, in the metrics' own units and signs.
        sd: Predicted standard deviations by name, of what is to be measured: noise included.
        reason: Why this engine, or why it fell back to another.
        seconds: Time spent on the suggestion.
    """

    engine: str
    acquisition: float | None = None
    mean: Mapping[str, float] = field(default_factory=dict)
    sd: Mapping[str, float] = field(default_factory=dict)
    reason: str = ""
    seconds: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A configuration to evaluate. A strategy fills the first three fields, the study the rest.

    Attributes:
        config: Active parameters and their values.
        provenance: Where it came from.
        fidelity: How much of the fidelity parameter to spend; None for all of it.
        trial: The trial's number.
        attempt: Counts from 1; a trial that is retried gets a new attempt.
        seed: The trial's own seed, derived from (study seed, trial number).
        context: The instance to solve, in contextual tuning.
        origin: The trial whose checkpoint this one continues, in promotion.
        again: Whether a configuration that was tried is tried again on purpose.
    """

    config: Config
    provenance: Provenance
    fidelity: float | None = None
    trial: int = -1
    attempt: int = 1
    seed: int = 0
    context: tuple[float, ...] | None = None
    origin: int | None = None
    again: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What somebody who was shown two trials said: `better` is better than `worse`, or both are as good."""

    better: int
    worse: int
    equal: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Why a trial failed: the kind decides on retries, the message is for people."""

    kind: FailureKind
    message: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came of a trial.

    Attributes:
        state: completed, pruned, failed or infeasible.
        metrics: By name, finite, in the metrics' own units and signs.
        measures: The free metrics.
        failure: Set exactly when the state is failed or infeasible.
    """

    state: State
    metrics: Mapping[str, float] = field(default_factory=dict)
    measures: Mapping[str, float] = field(default_factory=dict)
    failure: Failure | None = None


@dataclass(slots=True, kw_only=True)
class Trial:
    """What an objective sees of its own run.

    Attributes:
        number: The trial's number in its study.
        seed: Use this for every random draw; it differs between trials and repeats.
        dir: The trial's folder; files written here are kept.
        device: "cpu", or "cuda" when a GPU was leased.
        fidelity: How much to spend (epochs, samples, ...); None for all of it.
        context: The instance to solve, in contextual tuning.
        checkpoint: A folder that outlives this attempt: write state here, find it after a promotion or a retry.
        replicate: Which repeat of the trial this is, from 0; those of finalists go on counting.
        send: Where reports go; returns True when the trial should stop.
        tally: Of the items that were reported.
    """

    number: int = 0
    seed: int = 0
    dir: Path = field(default_factory=Path)
    device: str = "cpu"
    fidelity: float | None = None
    context: tuple[float, ...] | None = None
    checkpoint: Path | None = None
    replicate: int = 0
    send: Callable[[int, Mapping[str, float]], bool] | None = None
    tally: Tally = field(default_factory=Tally)

    def report(self, step: int, **metrics: float) -> None:
        """Report intermediate values at `step`.

        Raises:
            Stopped: The trial should end now.
        """
        if self.send is not None and self.send(step, metrics):
            raise Stopped(f"trial {self.number} was stopped at step {step}")

    def items(self, n: int) -> range:
        """Which of `n` items to evaluate: as many of the first ones as the fidelity allows."""
        return range(n if self.fidelity is None else min(n, max(round(self.fidelity), 1)))

    def report_items(self, **scores: Scores) -> dict[str, float]:
        """Report the scores of one more item, or of several; the running means and their standard errors.

        Items come in an order that is the same for every trial. After a checkpoint, report those of the earlier items
        again, all at once.

        Raises:
            Stopped: The trial should end now.
            ValueError: Scores are not given for the same number of items.
        """
        means = self.tally.take(scores)
        self.report(self.tally.n, **means)
        return means
