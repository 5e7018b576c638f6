"""Reference answers of `sor`: the iterations of every system with every omega, counted in batches."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from tuner.objectives.solver import batched, relaxation, streams, young

Array = NDArray[np.float64]
_CELLS = 60_000  # of a batch: what stays in a core's cache
_LEAST = 64


def systems(stream: str, side: int, instances: int, *, seed: int = 0) -> tuple[Array, Array, Array, Array | None]:
    """Return contexts (n,), shifts (n,), right sides (side, side, n) and states to start from, None for zero."""
    if stream == "heat-varied":
        c, b, start = zip(*(streams.varied_system(number, side) for number in range(instances)), strict=True)
        contexts = np.array([streams.heat_coefficient(number) for number in range(instances)])
        return contexts, np.array(c), np.stack(b, axis=-1), np.stack(start, axis=-1)
    if stream == "heat":
        c, b, start = zip(*streams.heat_systems(side, instances), strict=True)
        contexts = np.array([streams.heat_coefficient(number) for number in range(instances)])
        return contexts, np.array(c), np.stack(b, axis=-1), np.stack(start, axis=-1)
    c = np.array([streams.shift(stream, number, side=side, seed=seed) for number in range(instances)])
    b = np.stack([streams.right_side(number, side=side, seed=seed) for number in range(instances)], axis=-1)
    return c, c, b, None


def counts(stream: str, side: int, instances: int, omegas: Array, *, seed: int = 0, device: str = "cpu") -> Array:
    """Return SOR's iterations of every system with every omega, (n, len(omegas) + 1); the last with Young's omega.

    The least mean of a column is the best fixed omega, the least of a row that system's best. Young's omega is that of
    constant coefficients, and only a guess for `heat-varied`.
    """
    _, c, b, start = systems(stream, side, instances, seed=seed)
    best = young.best_omega(young.jacobi_radius(side, c))
    columns = [*(np.full(instances, omega) for omega in omegas), best]
    found = np.empty((instances, len(columns)))
    kx, ky = (torch.from_numpy(k).to(device) for k in streams.conductivity(side, varied=stream == "heat-varied"))
    grid, batch = relaxation.Grid(kx, ky), max(_LEAST, _CELLS // side**2)
    batch = batch if device == "cpu" else instances
    order = np.argsort(c)  # alike systems together: a batch lasts as long as its slowest
    for first in range(0, instances, batch):
        rows = order[first : first + batch]
        shifts, right = torch.from_numpy(c[rows]).to(device), torch.from_numpy(b[:, :, rows]).to(device)
        begin = None if start is None else torch.from_numpy(start[:, :, rows]).to(device)
        for column, omega in enumerate(columns):
            relaxed = torch.from_numpy(omega[rows]).to(device)
            solved = batched.solve("sor", grid, shifts, relaxed, right, x0=begin, solutions=False)
            found[rows, column] = solved.iterations.cpu().numpy()
    return found
