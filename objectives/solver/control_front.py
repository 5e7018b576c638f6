"""Reference answer of `pde-control`: its front by weighted sums, each minimised with the adjoint's gradient.

The state is not linear in the control where max(0, y) is active, so that the front need not be convex, and weighted
sums find its convex part only; for kappa = 0 they find all of it.
"""

from __future__ import annotations

import numpy as np
from tuner.objectives.solver.heat_control import Array, Heat

WEIGHTS = tuple(np.logspace(-3, 1.5, 19))


def front(heat: Heat, scale: float, weights: tuple[float, ...] = WEIGHTS) -> tuple[Array, Array]:
    """Return controls (n, d) and (tracking, effort) (n, 2) of the least tracking + weight * effort, weights rising.

    L-BFGS-B from the neighbour's solution, and it may end in a local minimum.
    """
    from scipy.optimize import minimize

    u, controls, values = np.zeros(heat.controls), [], []
    for weight in weights:

        def total(u: Array, weight: float = weight) -> tuple[float, Array]:
            tracking, slope = heat.gradient(u)
            return tracking + weight * float(np.mean((u / scale) ** 2)), slope + weight * 2.0 * u / scale**2 / len(u)

        u = minimize(total, u, jac=True, method="L-BFGS-B", bounds=[(-scale, scale)] * len(u)).x
        controls.append(u)
        values.append([heat.tracking(heat.states(u)), float(np.mean((u / scale) ** 2))])
    return np.array(controls), np.array(values)
