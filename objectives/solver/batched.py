"""Many systems in one pass, by torch on the CPU or, on an NVIDIA GPU, by Triton where there is a kernel for them."""

from __future__ import annotations

import functools
import importlib.util
from typing import Literal

from torch import Tensor
from tuner.objectives.solver import relaxation
from tuner.objectives.solver.relaxation import Grid, Solved

Engine = Literal["auto", "torch", "triton"]
ENGINES: tuple[Engine, ...] = ("auto", "torch", "triton")
LARGEST_CONJUGATE = 64


@functools.cache
def _has_triton() -> bool:
    return importlib.util.find_spec("triton") is not None


def chosen(solver: str, b: Tensor, engine: Engine = "auto") -> Engine:
    """Return what solves the systems: Triton on a GPU for SOR, and for conjugate gradients on grids up to 64 a side."""
    if engine != "auto":
        return engine
    fits = solver == "sor" or (solver == "ssor-cg" and b.shape[0] <= LARGEST_CONJUGATE)
    return "triton" if b.is_cuda and fits and _has_triton() else "torch"


def solve(
    solver: str,
    grid: Grid,
    c: Tensor,
    omega: Tensor,
    b: Tensor,
    *,
    x0: Tensor | None = None,
    tolerance: Tensor | float = 1e-8,
    cap: int = 10_000,
    solutions: bool = True,
    engine: Engine = "auto",
) -> Solved:
    """Solve n systems on the device that b is on.

    Args:
        solver: "sor", "ssor-cg" or "cg".
        grid: The operator; other arguments as for `relaxation.sor`.
        c: Shifts, (n,).
        omega: Relaxation, (n,).
        b: Right sides, (m, m, n).
        x0: Where to start, (m, m, n); zero when None.
        tolerance: Of |r| / |r0|; one for all, or (n,).
        cap: Iterations at most.
        solutions: Whether x is wanted; sweeps in torch take a third longer with it.
        engine: "auto" for what `chosen` says.
    """
    if chosen(solver, b, engine) == "triton":
        from tuner.kernels.gpu import red_black

        method = red_black.sor if solver == "sor" else red_black.ssor_cg
        found = method(grid.kx, grid.ky, c, omega, b, x0=x0, tolerance=tolerance, cap=cap)
        return Solved(found.iterations, found.converged, found.x)
    if solver == "sor":
        return relaxation.sor(grid, c, omega, b, x0=x0, tolerance=tolerance, cap=cap, solutions=solutions)
    wanted = solver == "ssor-cg"
    return relaxation.ssor_cg(grid, c, omega, b, x0=x0, tolerance=tolerance, cap=cap, preconditioned=wanted)
