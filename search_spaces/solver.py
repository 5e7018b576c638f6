"""Parameters of solvers of linear systems: relaxation, and which solver it belongs to.

Ranges are those of Khodak et al., "Learning to Relax", 2024: omega in [1, 1.95] for SOR, in [2 sqrt(2) - 2, 1.9] for
symmetric SOR as a preconditioner of conjugate gradients.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from tuner.parameters import Choice, Float
from tuner.space import SearchSpace

SOR_OMEGA = (1.0, 1.95)
SSOR_OMEGA = (2.0 * math.sqrt(2.0) - 2.0, 1.9)
TOLERANCE = (1e-10, 1e-1)
SOLVERS = ("sor", "ssor-cg", "cg")


def sor() -> SearchSpace:
    """Return the space of SOR: omega."""
    return SearchSpace([Float("omega", *SOR_OMEGA)])


def ssor_cg() -> SearchSpace:
    """Return the space of conjugate gradients preconditioned by symmetric SOR: omega."""
    return SearchSpace([Float("omega", *SSOR_OMEGA)])


def any_solver() -> SearchSpace:
    """Return the space of the solver and its omega; plain conjugate gradients have none."""
    omega = Float("omega", SSOR_OMEGA[0], SOR_OMEGA[1], when="solver != 'cg'")
    return SearchSpace([Choice("solver", SOLVERS), omega])


def with_tolerance(space: SearchSpace) -> SearchSpace:
    """Return a space with the tolerance of the residual beside its parameters."""
    return SearchSpace([*space.parameters, Float("tolerance", *TOLERANCE, log=True)])


def spaces() -> dict[str, Callable[[], SearchSpace]]:
    """Return the spaces by name."""
    return {"solver/sor": sor, "solver/ssor-cg": ssor_cg, "solver/any": any_solver}
