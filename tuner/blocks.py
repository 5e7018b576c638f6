"""Blocks: what a stream's instances came to, many in one event of the study.

A stream that is solved in blocks (`stream.py`) has no row a trial: each block is one event, whose arrays are compressed
and written as base64. Contexts follow from the instances' numbers and are not kept.
"""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner.compact import dumps
from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.study import Study
    from tuner.sweep import Sweep

EVENT = "block"
_LEVEL = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Solved:
    """Instances that were solved together.

    Attributes:
        first: The number of the first one.
        arms: Which arm each was solved with, (b,).
        wanted: Which arm the policy drew, where a margin put another in its place, (b,); None: the same.
        chances: With which probability it was drawn, (b,).
        metrics: Name -> values, (b,).
        seconds: What deciding and solving took.
    """

    first: int
    arms: NDArray[np.int64]
    wanted: NDArray[np.int64] | None
    chances: NDArray[np.float64]
    metrics: Mapping[str, NDArray[np.float64]]
    seconds: float

    @property
    def end(self) -> int:
        """The number after the last one's."""
        return self.first + len(self.arms)


def in_blocks(problem: Problem | Sweep) -> bool:
    """Whether a study's sweep asks for blocks."""
    length = problem.search.options.get("block", 1) if problem.search is not None else 1
    return isinstance(length, int) and length > 1


def need_trials(sweep: Sweep) -> None:
    """Let through studies that have trials.

    Raises:
        UsageError: The study is a stream in blocks.
    """
    if in_blocks(sweep):
        raise UsageError(
            f"study {sweep.name!r} is a stream in blocks and has no trials: `tuner best` and `tuner status` say what "
            "it came to; for trials leave `block` out of its search"
        )


def add(study: Study, block: Solved) -> None:
    """Write a block down, in one transaction, and count its instances."""
    arms = {"arms": block.arms} if block.wanted is None else {"arms": block.arms, "wanted": block.wanted}
    document = {
        "first": block.first,
        "arms": {name: _packed(array.astype("<u2")) for name, array in arms.items()},
        "chances": _packed(block.chances.astype("<f8")),
        "metrics": {name: _packed(values.astype("<f8")) for name, values in block.metrics.items()},
        "seconds": round(block.seconds, 6),
    }
    study.add_event(EVENT, dumps(document), block.end - 1)
    study.ledger.spent.instances = block.end
    study.ledger.spent.started += len(block.arms)


def count(events: Iterable[Mapping[str, Any]]) -> int:
    """How many instances stored events hold."""
    return 1 + max((event["trial"] for event in events if event["kind"] == EVENT), default=-1)


def of(study: Study) -> list[Solved]:
    """A study's blocks, in order."""
    return [_read(json.loads(event["detail"])) for event in study.events() if event["kind"] == EVENT]


def _packed(array: NDArray[Any]) -> str:
    return base64.b64encode(zlib.compress(array.tobytes(), _LEVEL)).decode("ascii")


def _unpacked(text: str, kind: str) -> NDArray[Any]:
    return np.frombuffer(zlib.decompress(base64.b64decode(text)), dtype=kind)


def _read(document: Mapping[str, Any]) -> Solved:
    arms = {name: _unpacked(text, "<u2").astype(np.int64) for name, text in document["arms"].items()}
    return Solved(
        first=document["first"],
        arms=arms["arms"],
        wanted=arms.get("wanted"),
        chances=_unpacked(document["chances"], "<f8"),
        metrics={name: _unpacked(text, "<f8") for name, text in document["metrics"].items()},
        seconds=document["seconds"],
    )
