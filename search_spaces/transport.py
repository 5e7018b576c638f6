"""Parameters of sparsity-constrained optimal transport: how sparse, how smooth, and how it is solved.

Cardinality, regularisation and formulation are those of Liu, Puigcerver and Blondel, "Sparsity-constrained optimal
transport", 2023; ranges are ours.
"""

from __future__ import annotations

from collections.abc import Callable

from tuner.parameters import Choice, Float, Int
from tuner.space import SearchSpace

FORMULATIONS = ("semi-dual", "dual")
OPTIMISERS = ("lbfgs", "gradient")


def sparse_ot(points: int = 64) -> SearchSpace:
    """Return the space: cardinality k, gamma, formulation, optimiser, its step, and iterations."""
    return SearchSpace(
        [
            Int("k", 1, min(32, points), log=True),
            Float("gamma", 1e-3, 10.0, log=True),
            Choice("formulation", FORMULATIONS),
            Choice("optimiser", OPTIMISERS),
            Float("step", 1e-2, 1.0, log=True, when="optimiser == 'gradient'"),
            Int("iterations", 5, 500, log=True),
        ]
    )


def spaces() -> dict[str, Callable[[], SearchSpace]]:
    """Return the spaces by name."""
    return {"transport/sparse-ot": sparse_ot}
