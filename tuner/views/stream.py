"""What a stream in blocks came to: its instances, their metrics, and the arms that were played most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from tuner import blocks
from tuner.trial import Config

if TYPE_CHECKING:
    from tuner.study import Study

_MOST = 5


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


def _arms(study: Study) -> list[Config]:
    from tuner.strategies.bandit.arms import arms_of

    section, problem = study.problem.search, study.problem
    count = int(section.options.get("arms", 20)) if section is not None else 20
    return arms_of(problem.space, count, problem.seed, baseline=problem.baseline)
