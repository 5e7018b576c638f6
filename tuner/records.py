"""TrialRecord: one trial as everybody outside the engine reads it (tables, exports, reports, Python)."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from tuner.compact import dumps
from tuner.randomness import trial_seed
from tuner.trial import FINISHED, Config, Failure, Outcome, Proposal, Provenance, State

if TYPE_CHECKING:
    from tuner.problem import Problem


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialRecord:
    """One trial, finished or not.

    Attributes:
        feasible: None while it is not known; False for everything that did not complete.
        started_at: Seconds since the epoch, UTC.
        finished_at: Likewise.
        slot: The device slot it ran on.
    """

    trial: int
    state: State
    attempt: int
    config: Config
    seed: int
    provenance: Provenance
    metrics: Mapping[str, float]
    measures: Mapping[str, float]
    feasible: bool | None = None
    fidelity: float | None = None
    context: tuple[float, ...] | None = None
    origin: int | None = None
    failure: Failure | None = None
    worker: str | None = None
    deadline: float | None = None
    started_at: float | None = None
    finished_at: float | None = None
    slot: str | None = None

    @property
    def seconds(self) -> float | None:
        """How long it ran."""
        if self.started_at is None or self.finished_at is None:
            return None
        return self.finished_at - self.started_at

    def to_json(self) -> dict[str, Any]:
        """The contract form of design section 7, with more beside it."""
        return {
            "trial": self.trial,
            "state": self.state,
            "params": self.config,
            "metrics": dict(self.metrics),
            "feasible": self.feasible,
            "fidelity": self.fidelity,
            "seconds": self.seconds,
            "failure": None if self.failure is None else {"kind": self.failure.kind, "message": self.failure.message},
            "attempt": self.attempt,
            "seed": self.seed,
            "measures": dict(self.measures),
            "provenance": provenance_to_dict(self.provenance),
            "started_at": utc(self.started_at),
            "finished_at": utc(self.finished_at),
            "slot": self.slot,
        }


def utc(seconds: float | None) -> str | None:
    """ISO 8601 in UTC, to the millisecond."""
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def provenance_to_dict(provenance: Provenance) -> dict[str, Any]:
    """Only the fields that say something, so that a stored row stays short."""
    return {name: value for name, value in asdict(provenance).items() if value not in (None, "", {}, 0.0)}


def record_of(row: Mapping[str, Any]) -> TrialRecord:
    """A stored row as a record; feasibility is left to the study, which knows the baseline."""
    failure = Failure(kind=row["failure_kind"], message=row["failure_message"] or "") if row["failure_kind"] else None
    return TrialRecord(
        trial=row["trial"],
        state=row["state"],
        attempt=row["attempt"],
        config=json.loads(row["config"]),
        seed=row["seed"],
        provenance=Provenance(**json.loads(row["provenance"])),
        metrics=json.loads(row["metrics"]) if row["metrics"] else {},
        measures=json.loads(row["measures"]) if row["measures"] else {},
        fidelity=row["fidelity"],
        context=tuple(json.loads(row["context"])) if row["context"] else None,
        origin=row["origin"],
        failure=failure,
        worker=row["worker"],
        deadline=row["deadline"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        slot=row["slot"],
    )


def proposal_of(record: TrialRecord) -> Proposal:
    """The proposal that a waiting or running trial stands for."""
    assert record.state not in FINISHED
    return Proposal(
        config=record.config,
        provenance=record.provenance,
        fidelity=record.fidelity,
        trial=record.trial,
        attempt=record.attempt,
        seed=record.seed,
        context=record.context,
        origin=record.origin,
    )


def new_proposal(problem: Problem, number: int, config: Config, engine: str, reason: str = "") -> Proposal:
    """A proposal that no strategy made: the baseline, an initial, warm, enqueued or added configuration."""
    return numbered(problem, Proposal(config=config, provenance=Provenance(engine=engine, reason=reason)), number)


def numbered(problem: Problem, proposal: Proposal, number: int) -> Proposal:
    """The proposal as trial `number`, with the seed and the context that follow from it."""
    context = None if problem.context is None else problem.context(number)
    return replace(proposal, trial=number, seed=trial_seed(problem.seed, number), context=context)


def row_of(proposal: Proposal) -> dict[str, Any]:
    """The columns that a new trial starts with."""
    return {
        "trial": proposal.trial,
        "attempt": proposal.attempt,
        "config": dumps(proposal.config),
        "seed": proposal.seed,
        "fidelity": proposal.fidelity,
        "context": None if proposal.context is None else dumps(list(proposal.context)),
        "origin": proposal.origin,
        "provenance": dumps(provenance_to_dict(proposal.provenance)),
    }


def finished_record(
    proposal: Proposal, outcome: Outcome, started_at: float, finished_at: float, slot: str | None
) -> TrialRecord:
    """What a proposal became."""
    return TrialRecord(
        trial=proposal.trial,
        state=outcome.state,
        attempt=proposal.attempt,
        config=proposal.config,
        seed=proposal.seed,
        provenance=proposal.provenance,
        metrics=outcome.metrics,
        measures=outcome.measures,
        fidelity=proposal.fidelity,
        context=proposal.context,
        origin=proposal.origin,
        failure=outcome.failure,
        started_at=started_at,
        finished_at=finished_at,
        slot=slot,
    )


def finished_columns(record: TrialRecord) -> dict[str, Any]:
    """The columns that change when a trial ends."""
    failure = record.failure
    return {
        "state": record.state,
        "metrics": dumps(dict(record.metrics)),
        "measures": dumps(dict(record.measures)),
        "failure_kind": None if failure is None else failure.kind,
        "failure_message": None if failure is None else failure.message,
        "started_at": record.started_at,
        "finished_at": record.finished_at,
        "slot": record.slot,
    }
