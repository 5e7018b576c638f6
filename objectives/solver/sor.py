"""The objective `sor`: solve the next linear system of a stream with the relaxation that was chosen for it.

Trial `number` solves system `number`, (A + c I) x = b on a 2-D grid; its context, known before the choice, is the shift
c, or the heat equation's coefficient. Reference answers are in `reference.py` and, in closed form, in `young.py`.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import numpy as np
from tuner.objectives.solver import streams
from tuner.objectives.solver.streams import Array
from tuner.search_spaces.solver import spaces, with_tolerance

from tuner.errors import UsageError
from tuner.trial import Metric

if TYPE_CHECKING:
    from tuner.space import SearchSpace
    from tuner.trial import Trial

STREAMS = ("high", "low", "heat", "heat-varied")
_STENCILS = {"sor": 1.0, "ssor-cg": 2.0, "cg": 1.0}
_MAX_SIDE = 1024


class Sor:
    """Iterations, work and seconds of one system a trial.

    Attributes:
        space: One of `tuner.search_spaces.solver`.
        metrics: iterations until |r| / |r0| < tolerance (10,000 where it did not get there), work (applications of the
            five-point stencil: an iteration of preconditioned conjugate gradients counts two), seconds. The first is
            minimised; where the solver varies, work is. Where the tolerance varies, so is the error of the solution,
            |x - x*| / |x*|.
        context_bounds: Least and largest contexts.
    """

    def __init__(self, solver: str, stream: str, side: int, *, tolerance: float | None, seed: int) -> None:
        self.space: SearchSpace = spaces()[f"solver/{solver}"]()
        self._solver, self._stream, self._side = solver, stream, side
        self._tolerance, self._seed = tolerance, seed
        goals: dict[str, Any] = {"work" if solver == "any" else "iterations": "minimize"}
        names = ["iterations", "work", "seconds"]
        if tolerance is None:
            self.space = with_tolerance(self.space)
            goals["error"] = "minimize"
            names.append("error")
        self.metrics: Mapping[str, Metric] = {
            name: Metric(name=name, goal=goals.get(name), unit="s" if name == "seconds" else "") for name in names
        }
        self.context_bounds = ((0.0, 10.0) if stream.startswith("heat") else streams.shift_range(side),)

    def context(self, number: int) -> tuple[float, ...]:
        """Return what is known of a system before it is solved: its shift, or the heat equation's coefficient."""
        if self._stream.startswith("heat"):
            return (streams.heat_coefficient(number),)
        return (streams.shift(self._stream, number, side=self._side, seed=self._seed),)

    def evaluate(self, config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
        """Return what solving system `trial.number` took."""
        return self.evaluate_batch([config], [trial])[0]

    def evaluate_batch(self, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[dict[str, float]]:
        """Return what solving each trial's system took; `seconds` are the batch's, shared out by iterations."""
        began = time.perf_counter()
        found: list[dict[str, float]] = [{} for _ in configs]
        solvers = [str(config.get("solver", self._solver)) for config in configs]
        for solver in sorted(set(solvers)):
            rows = [row for row, name in enumerate(solvers) if name == solver]
            solved = self._solve(solver, [configs[row] for row in rows], [trials[row] for row in rows])
            for row, values in zip(rows, solved, strict=True):
                found[row] = values
        seconds = (time.perf_counter() - began) / sum(values["iterations"] + 1.0 for values in found)
        for values in found:
            values["seconds"] = seconds * (values["iterations"] + 1.0)
        return found

    def _solve(
        self, solver: str, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]
    ) -> list[dict[str, float]]:
        import torch
        from tuner.objectives.solver import batched, relaxation

        kx, ky, c, b, start = self._systems([trial.number for trial in trials])
        device = trials[0].device
        omega = [float(config.get("omega", 1.0)) for config in configs]
        tolerance = [float(config["tolerance"]) if self._tolerance is None else self._tolerance for config in configs]
        limits = torch.tensor(tolerance, dtype=torch.float64, device=device)
        given = [torch.from_numpy(value).to(device) for value in (kx, ky, c, np.array(omega), b)]
        x0 = None if start is None else torch.from_numpy(start).to(device)
        grid = relaxation.Grid(given[0], given[1])
        wanted = self._tolerance is None
        solved = batched.solve(solver, grid, given[2], given[3], given[4], x0=x0, tolerance=limits, solutions=wanted)
        counts = solved.iterations.cpu().tolist()
        found = [{"iterations": float(count), "work": count * _STENCILS[solver]} for count in counts]
        if wanted and solved.x is not None:
            exact = self._exact(c, b, [trial.number for trial in trials])
            apart = np.linalg.norm(solved.x.cpu().numpy() - exact, axis=(0, 1)) / np.linalg.norm(exact, axis=(0, 1))
            for values, error in zip(found, apart, strict=True):
                values["error"] = float(error)
        return found

    def _exact(self, c: Array, b: Array, numbers: Sequence[int]) -> Array:
        if self._stream == "heat-varied":
            return np.stack([streams.warmth(number + 1, self._side) for number in numbers], axis=-1)
        return streams.solution(c, b)

    def _systems(self, numbers: Sequence[int]) -> tuple[Array, Array, Array, Array, Array | None]:
        """Faces kx and ky, shifts (n,), right sides (side, side, n), and states to start from, None for zero."""
        kx, ky = streams.conductivity(self._side, varied=self._stream == "heat-varied")
        if self._stream.startswith("heat"):
            each = self._step if self._stream == "heat" else partial(streams.varied_system, side=self._side)
            steps = [each(number) for number in numbers]
            b, start = (np.stack([step[k] for step in steps], axis=-1) for k in (1, 2))
            return kx, ky, np.array([step[0] for step in steps]), b, start
        c = np.array([self.context(number)[0] for number in numbers])
        right = [streams.right_side(number, side=self._side, seed=self._seed) for number in numbers]
        return kx, ky, c, np.stack(right, axis=-1), None

    @cached_property
    def _trajectory(self) -> tuple[Any, list[tuple[float, Array, Array]]]:
        return streams.heat_systems(self._side, streams.HEAT_STEPS), []

    def _step(self, number: int) -> tuple[float, Array, Array]:
        """One step of the heat equation; after the last the stream begins again."""
        steps, known = self._trajectory
        number %= streams.HEAT_STEPS
        while len(known) <= number:
            known.append(next(steps))
        return known[number]


def build(
    *,
    stream: str = "high",
    side: int | None = None,
    solver: str = "sor",
    tolerance: float | str = 1e-8,
    seed: int = 0,
) -> Sor:
    """Return the objective.

    Args:
        stream: "high" or "low" (published distributions of shifts), "heat" (steps of the heat equation), or
            "heat-varied" (its conductivity varies in space, too, by a factor of 20).
        side: Interior points along a side of the grid, 4 to 1,024; 10, or 25 for the heat equation, when None.
        solver: "sor", "ssor-cg" (symmetric SOR preconditions conjugate gradients), or "any" (it is a parameter too).
        tolerance: Of the relative residual; "free" makes it a parameter, and the solution's error a goal.
        seed: Of the systems.

    Raises:
        UsageError: An option is out of its range.
    """
    if stream not in STREAMS:
        raise UsageError(f"stream must be one of {', '.join(STREAMS)}, but got {stream!r}; name one of them")
    if f"solver/{solver}" not in spaces():
        known = ", ".join(name.partition("/")[2] for name in spaces())
        raise UsageError(f"solver must be one of {known}, but got {solver!r}; name one of them")
    side = (25 if stream.startswith("heat") else streams.PUBLISHED_SIDE) if side is None else side
    if not (isinstance(side, int) and 4 <= side <= _MAX_SIDE):
        raise UsageError(f"side must be a whole number from 4 to {_MAX_SIDE}, but got {side!r}; choose one of them")
    if tolerance == "free":
        return Sor(solver, stream, side, tolerance=None, seed=seed)
    if isinstance(tolerance, str) or not 0.0 < tolerance < 1.0:
        raise UsageError(f"tolerance must lie between 0 and 1 or be free, but got {tolerance!r}; 1e-8 is usual")
    return Sor(solver, stream, side, tolerance=float(tolerance), seed=seed)
