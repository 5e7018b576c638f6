"""What a stream in blocks came to: its instances, their metrics, and what is chosen, by context where there are any."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner import blocks
from tuner.objective import objective_of
from tuner.trial import Config

if TYPE_CHECKING:
    from tuner.problem import Context
    from tuner.study import Study

_MOST = 5
_RANGES = 5
_LOOKED_AT = 5_000


@dataclass(frozen=True, slots=True)
class StreamView:
    """A stream so far.

    Attributes:
        instances: How many were solved.
        blocks: In how many blocks.
        means: Metric -> its mean.
        last: Metric -> its mean over the last fifth.
        played: Configurations and the share of the instances they were played for, the most played first.
        instances_per_s: Decided and solved in a second.
    """

    instances: int
    blocks: int
    means: Mapping[str, float]
    last: Mapping[str, float]
    played: tuple[tuple[Config, float], ...]
    instances_per_s: float

    def to_json(self) -> dict[str, Any]:
        """The same as a document."""
        return {
            "instances": self.instances,
            "blocks": self.blocks,
            "means": dict(self.means),
            "last_fifth": dict(self.last),
            "played": [{"params": config, "share": share} for config, share in self.played],
            "instances_per_s": self.instances_per_s,
        }


def stream_view(study: Study) -> StreamView | None:
    """What the study's blocks came to; None when it has none."""
    if not study.ledger.spent.instances:
        return None
    import numpy as np

    solved = blocks.of(study)
    columns = {name: np.concatenate([block.metrics[name] for block in solved]) for name in solved[0].metrics}
    arms = np.bincount(np.concatenate([block.arms for block in solved]))
    n = study.ledger.spent.instances
    seconds = sum(block.seconds for block in solved)
    order = np.argsort(-arms, kind="stable")[:_MOST]
    configs = _arms(study)
    return StreamView(
        instances=n,
        blocks=len(solved),
        means={name: float(values.mean()) for name, values in columns.items()},
        last={name: float(values[-max(1, n // 5) :].mean()) for name, values in columns.items()},
        played=tuple((configs[arm], float(arms[arm]) / n) for arm in order.tolist() if arms[arm]),
        instances_per_s=n / max(seconds, 1e-9),
    )


@dataclass(frozen=True, slots=True)
class Chosen:
    """What is chosen now, in one range of contexts.

    Attributes:
        context: From and to; None where instances have no context, or one of several numbers.
        config: What was played there most.
        share: Of the instances there.
        mean: The goal's mean over the instances there that it was played for.
        instances: How many there are.
    """

    context: tuple[float, float] | None
    config: Config
    share: float
    mean: float
    instances: int

    def to_json(self) -> dict[str, Any]:
        """The same as a document."""
        return {
            "context": None if self.context is None else list(self.context),
            "params": self.config,
            "share": self.share,
            "mean": self.mean,
            "instances": self.instances,
        }


def chosen_now(study: Study) -> tuple[Chosen, ...]:
    """What is played most in a stream's last fifth, at most 5,000 instances: in all first, then by fifths of context.

    Means are of what was played where, not what an arm would cost everywhere. A study that is only read knows contexts
    of objectives of the catalog: it does not run a user's code.
    """
    import numpy as np

    n = study.ledger.spent.instances
    if not n:
        return ()
    solved, kept = blocks.of(study), min(max(1, n // 5), _LOOKED_AT)
    goal = study.problem.objectives[0].name
    arms = np.concatenate([block.arms for block in solved])[-kept:]
    values = np.concatenate([block.metrics[goal] for block in solved])[-kept:]
    configs, context = _arms(study), _context(study)

    def chosen(rows: Any, between: tuple[float, float] | None) -> Chosen:
        arm = int(np.bincount(arms[rows]).argmax())
        own = arms[rows] == arm
        return Chosen(between, configs[arm], float(own.mean()), float(values[rows][own].mean()), len(rows))

    found = [chosen(np.arange(kept), None)]
    known = [] if context is None else [context(number) for number in range(n - kept, n)]
    if known and len(known[0]) == 1 and kept >= _RANGES:
        numbers = np.array(known)[:, 0]
        for rows in np.array_split(np.argsort(numbers, kind="stable"), _RANGES):
            found.append(chosen(rows, (float(numbers[rows[0]]), float(numbers[rows[-1]]))))
    return tuple(found)


def _context(study: Study) -> Context | None:
    named = study.sweep.objective
    if study.problem.context is not None or named is None or named.function is not None or ":" in named.name:
        return study.problem.context
    return getattr(objective_of(study.sweep), "context", None)


def _arms(study: Study) -> list[Config]:
    from tuner.strategies.bandit.arms import arms_of

    section, problem = study.problem.search, study.problem
    count = int(section.options.get("arms", 20)) if section is not None else 20
    return arms_of(problem.space, count, problem.seed, baseline=problem.baseline)
