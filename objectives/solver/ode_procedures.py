"""Schedules made for the data at hand: Bellman's over a grid (BOSS), and by the bound of Align Your Steps.

grid        candidate noises, falling, m + 1 of them, ends included
C           cost of a step from grid point i to j > i, shape (m + 1, m + 1), infinite elsewhere
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tuner.objectives.solver.ode_mixtures import Denoiser, Mixture, exact, samples
from tuner.objectives.solver.ode_sampling import fine, karras
from tuner.objectives.solver.ode_schedules import RHO_MAX, RHO_MIN, gauss

Array = NDArray[np.float64]
GRID = 100


def bellman(C: Array, steps: int) -> tuple[list[int], float]:
    """Return the path from the first grid point to the last in exactly `steps` steps of least total cost, and that."""
    m = len(C)
    best, came = C[0].copy(), np.zeros((steps + 1, m), dtype=int)
    for step in range(2, steps + 1):
        through = best[:, None] + C
        came[step] = through.argmin(axis=0)
        best = through.min(axis=0)
    path = [m - 1]
    for step in range(steps, 1, -1):
        path.append(int(came[step, path[-1]]))
    return [0, *reversed(path)], float(best[-1])


@dataclass(frozen=True)
class Trajectories:
    """The exact flow of some samples on a grid.

    Attributes:
        rho: The grid.
        states: Shape (m + 1, n, d).
        data: D of each state.
    """

    rho: tuple[float, ...]
    states: Tensor
    data: Tensor


def trajectories(denoise: Denoiser, y: Tensor, *, grid: int = GRID) -> Trajectories:
    """Return the flow of `y`, shape (n, d), on a grid spaced as by Karras et al."""
    rho = tuple(karras(RHO_MAX, RHO_MIN, grid))
    states = fine(denoise, y, rho)
    levels = torch.tensor(rho, dtype=y.dtype, device=y.device)
    return Trajectories(rho, states, torch.stack([denoise(x, level) for x, level in zip(states, levels, strict=True)]))


def step_costs(flow: Trajectories, path: str = "ve") -> Array:
    """Return BOSS's costs: mean squared error, along the path, of one Euler step from the exact state."""
    m = len(flow.rho)
    C = np.full((m, m), np.inf)
    for i, start in enumerate(flow.rho[:-1]):
        ends = torch.tensor(flow.rho[i + 1 :], dtype=flow.data.dtype, device=flow.data.device)[:, None, None]
        # Euler's step is the same on every path: it keeps D and the noise
        reached = flow.data[i] + (ends / start) * (flow.states[i] - flow.data[i])
        missed = (reached - flow.states[i + 1 :]) * (1.0 if path == "ve" else 1.0 / (1.0 + ends))
        C[i, i + 1 :] = missed.square().sum(dim=2).mean(dim=1).cpu().numpy()
    return C


def boss(flow: Trajectories, steps: int, *, path: str = "ve") -> list[float]:
    """Return BOSS's schedule: the cheapest way over the grid in that many Euler steps (Nguyen et al. 2024)."""
    chosen, _ = bellman(step_costs(flow, path), steps)
    return [flow.rho[i] for i in chosen]


def bound_costs(mixture: Mixture, *, grid: int = GRID, n: int = 512, seed: int = 0) -> tuple[list[float], Array]:
    """Return a grid uniform in log rho and the costs of steps on it by the bound of Align Your Steps.

    A step that goes from rho_i to rho_j keeps D of its noisier end: its part of the bound on the divergence is the
    integral over log rho of E|D(x_rho, rho) - D(x_i, rho_i)|^2 / rho^2, in which the states are one Brownian path of
    the forward process (Sabour et al. 2024, section 3.2, constant factors left out). Every path serves every step.
    """
    rho = np.exp(np.linspace(math.log(RHO_MAX), math.log(RHO_MIN), grid + 1))
    generator = np.random.default_rng([seed, 17])
    rising = np.sqrt(np.diff(rho[::-1] ** 2, prepend=0.0))
    x = samples(mixture, n, seed)
    walked = torch.from_numpy(
        np.cumsum(rising[:, None, None] * generator.standard_normal((grid + 1, *x.shape)), axis=0)
    )
    denoise = exact(mixture)
    D = torch.stack(
        [denoise(x + z.to(x), torch.as_tensor(level).to(x)) for z, level in zip(walked.flip(0), rho, strict=True)]
    ).reshape(grid + 1, -1)
    squares = D.square().sum(dim=1)
    apart = ((squares[:, None] + squares[None, :] - 2.0 * (D @ D.T)).clamp_min(0.0) / n).cpu().numpy()
    density = apart / rho[None, :] ** 2  # of log rho: row i, the step's beginning
    parts = 0.5 * (density[:, 1:] + density[:, :-1]) * math.log(rho[0] / rho[1])
    C = np.full((grid + 1, grid + 1), np.inf)
    for i in range(grid):
        C[i, i + 1 :] = np.cumsum(parts[i, i:])
    return [RHO_MAX, *map(float, rho[1:-1]), RHO_MIN], C


def align(rho: Sequence[float], C: Array, steps: int, c: float, *, sweeps: int = 20) -> list[float]:
    """Return Align Your Steps' schedule: one knot after another moved to where the bound is least, until none moves.

    Coarse to fine as published: half of the steps first when their number is even, then each is divided in two.

    Args:
        rho: The grid of `bound_costs`.
        C: Its costs.
        steps: Of the schedule.
        c: The data's standard deviation; the coarsest schedule begins at the closed form for it.
        sweeps: At most.
    """
    logs = np.log(rho)
    coarse = steps // 2 if steps % 2 == 0 and steps > 3 else steps
    at = _distinct([int(np.abs(logs - math.log(knot)).argmin()) for knot in gauss(coarse, c)], len(rho) - 1)
    at = _descended(at, C, sweeps)
    if coarse < steps:
        halves = [(i + j) // 2 for i, j in itertools.pairwise(at)]
        mixed = [place for pair in zip(at[:-1], halves, strict=True) for place in pair]
        at = _descended(_distinct([*mixed, at[-1]], len(rho) - 1), C, sweeps)
    return [rho[i] for i in at]


def _distinct(at: list[int], last: int) -> list[int]:
    """The places, moved apart where two fall together; the ends stay."""
    for k in range(1, len(at)):
        at[k] = max(at[k], at[k - 1] + 1)
    for k in range(len(at) - 1, 0, -1):
        at[k] = min(at[k], last - (len(at) - 1 - k))
    return at


def _descended(at: list[int], C: Array, sweeps: int) -> list[int]:
    for _ in range(sweeps):
        before = list(at)
        for k in range(1, len(at) - 1):
            between = np.arange(at[k - 1] + 1, at[k + 1])
            at[k] = int(between[(C[at[k - 1], between] + C[between, at[k + 1]]).argmin()])
        if at == before:
            break
    return at
