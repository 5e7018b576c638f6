"""What is known of SOR in closed form: Young's best omega, the radius of the iteration, a bound on its count.

For consistently ordered matrices (Young 1971), of which the five-point Laplacian plus c I is one, in rows as in red
and black:

    beta            spectral radius of Jacobi's iteration
    omega*          1 + (beta / (1 + sqrt(1 - beta^2)))^2
    rho(omega)      (omega beta + sqrt(omega^2 beta^2 - 4 (omega - 1)))^2 / 4 below omega*, omega - 1 from there on
    U(omega)        1 - ln eps / -ln(rho + tau (1 - rho)), Khodak et al. 2024, section 2
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]


def jacobi_radius(side: int, c: Array) -> Array:
    """Return beta of the five-point Laplacian plus c I on `side` x `side` interior points, for shifts c."""
    least = 4.0 - 4.0 * np.cos(np.pi / (side + 1))  # its largest eigenvalue is 8 - least
    ends = np.stack([least + np.asarray(c), 8.0 - least + np.asarray(c)])
    found: Array = np.abs(1.0 - ends / (4.0 + np.asarray(c))).max(axis=0)
    return found


def best_omega(beta: Array) -> Array:
    """Return Young's omega*, which makes the radius least."""
    found: Array = 1.0 + (beta / (1.0 + np.sqrt(1.0 - beta**2))) ** 2
    return found


def radius(omega: Array, beta: Array) -> Array:
    """Return the spectral radius of SOR's iteration for omega in (0, 2)."""
    under = np.maximum((omega * beta) ** 2 - 4.0 * (omega - 1.0), 0.0)
    found: Array = np.where(omega < best_omega(beta), (omega * beta + np.sqrt(under)) ** 2 / 4.0, omega - 1.0)
    return found


def count_bound(omega: Array, beta: Array, *, tau: float = 0.2, tolerance: float = 1e-8) -> Array:
    """Return U(omega), an upper bound on the iterations when powers fall as (rho + tau (1 - rho))^k from the start."""
    rho = radius(omega, beta)
    found: Array = 1.0 + np.log(tolerance) / np.log(rho + tau * (1.0 - rho))
    return found
