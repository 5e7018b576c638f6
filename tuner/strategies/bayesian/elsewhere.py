"""Elsewhere: a look outside the basin where the search has settled.

A model that has settled proposes smaller and smaller steps around the incumbent, because it is sure of what is not
there. Where columns without an order make basins of their own, and the best value has been within a twentieth for a
while, every second proposal is what promises most among configurations that differ from the incumbent in a few columns,
and by much: so much that the model's own covariance with the incumbent is low. A few columns, for what matters in
practice are effects of one column and of two; far corners of the whole space, of which a model knows least, promise
much and hold little. Columns that the incumbent does not have, of another branch, are free, and gradients move the
numbers of the best jumps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch

from tuner.gp.acquisition import evaluate
from tuner.parameters import Permutation

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuner.gp.acquisition import Improvement
    from tuner.gp.covariance import Layout
    from tuner.gp.model import Surrogate
    from tuner.space import SearchSpace
    from tuner.strategies.bayesian.candidates import Candidates
    from tuner.strategies.bayesian.observations import Observations
    from tuner.trial import Config

_EVERY = 2
"""Every so many proposals."""

_WITHIN = 0.05
"""The best value has settled when it was within this share of what it is better than the median."""

_PATIENCE = 5, 10
"""Trials for which it has: half the number of columns, within these."""

_BASIN = 0.5
"""The correlation with the incumbent from which a configuration is in its basin."""

_COLUMNS = 3
_JUMPS = 512
_CLIMBED = 8


def settled(data: Observations, surrogate: Surrogate, layout: Layout) -> int | None:
    """For how many trials the best value has been about what it is; None when it has not settled, or is not looked for.

    Args:
        data: The trials so far.
        surrogate: What was learned of them, in whose units values are compared; outcome 0 is the objective.
        layout: How the space is laid out for it.
    """
    if not layout.unordered or data.n_objectives > 1 or 0 not in surrogate.models or data.n_trials % _EVERY:
        return None
    rows = surrogate.observed[0].cpu().numpy()
    values = surrogate.models[0].u.cpu().numpy()[(data.standing & data.feasible)[rows]]
    if not len(values):
        return None
    enough = values.max() - _WITHIN * (values.max() - np.median(values))
    since = len(values) - 1 - int(np.argmax(values >= enough))
    low, high = _PATIENCE
    return since if since >= min(max(low, data.X.shape[1] // 2), high) else None


def ranked_elsewhere(
    acquisition: Improvement,
    candidates: Candidates,
    layout: Layout,
    space: SearchSpace,
    surrogate: Surrogate,
    incumbent: NDArray[np.float64],
    rng: np.random.Generator,
    *,
    maxiter: int,
) -> list[tuple[float, Config]]:
    """Return jumps from the incumbent (d,) out of its basin with their acquisition values, best first."""
    own = space.encoding.decode(incumbent)

    def outside(configs: list[Config]) -> list[tuple[float, Config]]:
        if not configs:
            return []
        rows = torch.from_numpy(layout.arrange(*space.encoding.encode_many([own, *configs]))).to(acquisition.device)
        with torch.no_grad():
            far = surrogate.models[0].kernel.forward(rows[1:], rows[:1]).squeeze(-1) < _BASIN
            values = evaluate(acquisition, rows[1:])
        return [(value, config) for value, config, out in zip(values.tolist(), configs, far, strict=True) if out]

    found = sorted(outside(_jumps(space, incumbent, rng)), key=lambda pair: -pair[0])
    if found:
        found += outside(candidates.climbed(acquisition, found[:_CLIMBED], maxiter))
    return sorted(found, key=lambda pair: -pair[0])


def _jumps(space: SearchSpace, incumbent: NDArray[np.float64], rng: np.random.Generator) -> list[Config]:
    """Configurations that differ in a few columns, and in those that the incumbent does not have.

    Permutations stay: columns of two of them make no third.
    """
    movable = np.array([not isinstance(space[column.parameter], Permutation) for column in space.encoding.columns])
    _, active = space.encoding.encode(space.encoding.decode(incumbent))
    donors, _ = space.encoding.encode_many(space.sample(_JUMPS, rng))
    order = np.where(active, rng.random(donors.shape), np.inf).argsort(axis=1).argsort(axis=1)
    taken = movable & ((order < rng.integers(1, _COLUMNS + 1, size=(_JUMPS, 1))) | ~active)
    configs = [space.encoding.decode(x) for x in np.where(taken, donors, incumbent)]
    return list({space.key(config): config for config in configs if space.feasible(config)}.values())
