"""The objective `sor`: solve the next linear system of a stream with the relaxation that was chosen for it.

Trial `number` solves system `number`, (A + c I) x = b on a 2-D grid; its context, known before the choice, is the shift
c, or the heat equation's coefficient. Reference answers are in `reference.py` and, in closed form, in `young.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from tuner.objectives.solver import streams
from tuner.search_spaces.solver import spaces

from tuner.errors import UsageError
from tuner.trial import Metric

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from tuner.space import SearchSpace
    from tuner.trial import Trial

STREAMS = ("high", "low", "heat")
_STENCILS = {"sor": 1.0, "ssor-cg": 2.0, "cg": 1.0}
_MAX_SIDE = 1024


class Sor:
    """Iterations, work and seconds of one system a trial.

    Attributes:
        space: One of `tuner.search_spaces.solver`.
        metrics: iterations until |r| / |r0| < tolerance (10,000 where it did not get there), work (applications of the
            five-point stencil: an iteration of preconditioned conjugate gradients counts two), seconds. The first is
            minimised; where the solver varies, work is.
        context_bounds: Least and largest contexts.
    """

    def __init__(self, space: SearchSpace, solver: str, stream: str, side: int, tolerance: float, seed: int) -> None:
        self.space = space
        self._solver, self._stream, self._side = solver, stream, side
        self._tolerance, self._seed = tolerance, seed
        goals: dict[str, Any] = {"work" if solver == "any" else "iterations": "minimize"}
        self.metrics: Mapping[str, Metric] = {
            name: Metric(name=name, goal=goals.get(name), unit="s" if name == "seconds" else "")
            for name in ("iterations", "work", "seconds")
        }
        self.context_bounds = ((0.0, 10.0) if stream == "heat" else streams.shift_range(side),)

    def context(self, number: int) -> tuple[float, ...]:
        """Return what is known of a system before it is solved: its shift, or the heat equation's coefficient."""
        if self._stream == "heat":
            return (streams.heat_coefficient(number),)
        return (streams.shift(self._stream, number, side=self._side, seed=self._seed),)

    def evaluate(self, config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
        """Return what solving system `trial.number` took."""
        return self.evaluate_batch([config], [trial])[0]

    def evaluate_batch(self, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[dict[str, float]]:
        """Return what solving each trial's system took; `seconds` are the batch's, shared out by iterations."""
        began = time.perf_counter()
        iterations = np.empty(len(configs))
        solvers = [str(config.get("solver", self._solver)) for config in configs]
        for solver in sorted(set(solvers)):
            rows = [row for row, name in enumerate(solvers) if name == solver]
            omega = np.array([float(configs[row].get("omega", 1.0)) for row in rows])
            iterations[rows] = self._solve(solver, omega, [trials[row].number for row in rows])
        seconds = (time.perf_counter() - began) * (iterations + 1.0) / (iterations + 1.0).sum()
        return [
            {"iterations": float(count), "work": float(count) * _STENCILS[solver], "seconds": float(took)}
            for count, solver, took in zip(iterations, solvers, seconds, strict=True)
        ]

    def _solve(self, solver: str, omega: NDArray[np.float64], numbers: Sequence[int]) -> NDArray[np.int64]:
        import torch
        from tuner.objectives.solver import relaxation

        c, b, start = self._systems(numbers)
        shifts, right = torch.from_numpy(c), torch.from_numpy(b)
        x0 = None if start is None else torch.from_numpy(start)
        grid, relaxed = relaxation.poisson(self._side), torch.from_numpy(omega)
        if solver == "sor":
            solved = relaxation.sor(grid, shifts, relaxed, right, x0=x0, tolerance=self._tolerance)
        else:
            solved = relaxation.ssor_cg(
                grid, shifts, relaxed, right, x0=x0, tolerance=self._tolerance, preconditioned=solver == "ssor-cg"
            )
        found: NDArray[np.int64] = solved.iterations.numpy()
        return found

    def _systems(
        self, numbers: Sequence[int]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64] | None]:
        if self._stream == "heat":
            steps = [self._step(number) for number in numbers]
            b, start = (np.stack([step[k] for step in steps], axis=-1) for k in (1, 2))
            return np.array([step[0] for step in steps]), b, start
        c = np.array([self.context(number)[0] for number in numbers])
        right = [streams.right_side(number, side=self._side, seed=self._seed) for number in numbers]
        return c, np.stack(right, axis=-1), None

    @cached_property
    def _trajectory(self) -> tuple[Any, list[tuple[float, NDArray[np.float64], NDArray[np.float64]]]]:
        return streams.heat_systems(self._side, streams.HEAT_STEPS), []

    def _step(self, number: int) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """One step of the heat equation; after the last the stream begins again."""
        steps, known = self._trajectory
        number %= streams.HEAT_STEPS
        while len(known) <= number:
            known.append(next(steps))
        return known[number]


def build(
    *, stream: str = "high", side: int | None = None, solver: str = "sor", tolerance: float = 1e-8, seed: int = 0
) -> Sor:
    """Return the objective.

    Args:
        stream: "high" or "low" (published distributions of shifts), or "heat" (steps of the heat equation).
        side: Interior points along a side of the grid, 4 to 1,024; 10, or 25 for "heat", when None.
        solver: "sor", "ssor-cg" (symmetric SOR preconditions conjugate gradients), or "any" (it is a parameter too).
        tolerance: Of the relative residual.
        seed: Of the systems.

    Raises:
        UsageError: An option is out of its range.
    """
    if stream not in STREAMS:
        raise UsageError(f"stream must be one of {', '.join(STREAMS)}, but got {stream!r}; name one of them")
    if f"solver/{solver}" not in spaces():
        known = ", ".join(name.partition("/")[2] for name in spaces())
        raise UsageError(f"solver must be one of {known}, but got {solver!r}; name one of them")
    side = (25 if stream == "heat" else streams.PUBLISHED_SIDE) if side is None else side
    if not (isinstance(side, int) and 4 <= side <= _MAX_SIDE):
        raise UsageError(f"side must be a whole number from 4 to {_MAX_SIDE}, but got {side!r}; choose one of them")
    if not 0.0 < tolerance < 1.0:
        raise UsageError(f"tolerance must lie between 0 and 1, but got {tolerance!r}; 1e-8 is usual")
    return Sor(spaces()[f"solver/{solver}"](), solver, stream, side, float(tolerance), seed)
