"""Red-black SOR in Triton: it counts what the torch code counts, which test_sor.py holds against dense matrices.

On a machine without a GPU the same kernels run, slowly, in Triton's interpreter, on grids of a few cells.
"""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from tuner.objectives.solver import batched, relaxation, streams, young
from tuner.objectives.solver.sor import build

from tuner.trial import Trial

GPU = torch.cuda.is_available()


def problem(side: int, n: int, *, varied: bool, device: str = "cpu") -> tuple[relaxation.Grid, Tensor, Tensor, Tensor]:
    """A grid, shifts (n,), omegas (n,) and right sides (side, side, n)."""
    draw = torch.Generator().manual_seed(side)
    grid = relaxation.poisson(side)
    if varied:
        kx, ky = (torch.rand(shape, generator=draw, dtype=torch.float64) for shape in (grid.kx.shape, grid.ky.shape))
        grid = relaxation.Grid(0.5 + 1.5 * kx, 0.5 + 1.5 * ky)
    low, high = streams.shift_range(side)
    c = low * 0.5 + (high - low) * torch.rand(n, generator=draw, dtype=torch.float64)
    c = c.abs() if varied else c
    best = torch.from_numpy(young.best_omega(young.jacobi_radius(side, c.numpy())))
    omega = best + (1.9 - best) * 0.5 * torch.rand(n, generator=draw, dtype=torch.float64)
    b = torch.randn(side, side, n, generator=draw, dtype=torch.float64)
    return relaxation.Grid(grid.kx.to(device), grid.ky.to(device)), c.to(device), omega.to(device), b.to(device)


def close(side: int, expected: relaxation.Solved, found: relaxation.Solved) -> None:
    """The same counts, but for systems whose residual passes the limit within rounding, and the same solutions."""
    apart = (expected.iterations - found.iterations).abs()
    assert int(apart.max()) <= (0 if side < 64 else 1), (expected.iterations, found.iterations)
    assert float((apart > 0).double().mean()) <= 0.05
    assert bool((expected.converged & found.converged).all())
    assert expected.x is not None and found.x is not None
    assert float((expected.x - found.x).norm() / expected.x.norm()) < 1e-5  # both within 1e-8 of the right side


@pytest.fixture
def interpreted(monkeypatch: pytest.MonkeyPatch) -> None:
    if GPU:
        pytest.skip("the kernels run on the GPU here")
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    pytest.importorskip("triton", reason="needs Triton, whose interpreter runs kernels without a GPU")


@pytest.mark.parametrize(("side", "varied"), [(5, False), (6, True)])
@pytest.mark.usefixtures("interpreted")
def test_kernels_count_what_torch_counts(side: int, varied: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    from tuner.kernels.gpu import red_black

    grid, c, omega, b = problem(side, 3, varied=varied)
    start, tolerance = torch.ones_like(b), torch.tensor([1e-2, 1e-1, 1e-3], dtype=torch.float64)
    expected = relaxation.sor(grid, c, omega, b, x0=start, tolerance=tolerance, solutions=True)
    for largest in (128, 0):  # one launch; a launch a half sweep
        monkeypatch.setattr(red_black, "LARGEST_RESIDENT", largest)
        found = red_black.sor(grid.kx, grid.ky, c, omega, b, x0=start, tolerance=tolerance)
        close(side, expected, relaxation.Solved(found.iterations, found.converged, found.x))
        capped = red_black.sor(grid.kx, grid.ky, c, omega, b, cap=2)
        assert capped.iterations.tolist() == [2, 2, 2]
        assert not capped.converged.any()
    expected = relaxation.ssor_cg(grid, c, omega, b, x0=start, tolerance=tolerance)
    found = red_black.ssor_cg(grid.kx, grid.ky, c, omega, b, x0=start, tolerance=tolerance)
    close(side, expected, relaxation.Solved(found.iterations, found.converged, found.x))


@pytest.mark.gpu
@pytest.mark.parametrize("varied", [False, True])
@pytest.mark.parametrize(("side", "n"), [(10, 100), (32, 32), (50, 16), (100, 4), (140, 2)])
def test_the_gpu_counts_what_the_cpu_counts(side: int, n: int, varied: bool) -> None:
    grid, c, omega, b = problem(side, n, varied=varied)
    expected = relaxation.sor(grid, c, omega, b, solutions=True)
    symmetric = relaxation.ssor_cg(grid, c, omega, b)
    moved = tuple(value.cuda() for value in (c, omega, b))
    there = relaxation.Grid(grid.kx.cuda(), grid.ky.cuda())
    for engine in ("torch", "triton"):
        found = batched.solve("sor", there, *moved, engine=engine)
        close(side, expected, relaxation.Solved(found.iterations.cpu(), found.converged.cpu(), found.x.cpu()))
        if engine == "torch" or side <= batched.LARGEST_CONJUGATE:
            found = batched.solve("ssor-cg", there, *moved, engine=engine)
            close(side, symmetric, relaxation.Solved(found.iterations.cpu(), found.converged.cpu(), found.x.cpu()))


@pytest.mark.gpu
def test_solutions_on_the_gpu_leave_the_residual_asked_for() -> None:
    for side, n in ((64, 100), (512, 4)):
        grid, c, omega, b = problem(side, n, varied=False, device="cuda")
        found = batched.solve("sor", grid, c, omega, b, cap=200_000, engine="triton")
        assert found.converged.all()
        left = (relaxation.apply(grid, c, found.x) - b).norm(dim=(0, 1)) / b.norm(dim=(0, 1))
        assert float(left.max()) < 1.01e-8  # rounding of the residual's own sum


def test_systems_that_have_converged_leave_conjugate_gradients() -> None:
    grid, c, omega, b = problem(8, 40, varied=True)
    tolerance = torch.logspace(-10, -1, 40, dtype=torch.float64)
    together = relaxation.ssor_cg(grid, c, omega, b, tolerance=tolerance)
    assert together.x is not None
    for t in (0, 17, 39):
        own = relaxation.ssor_cg(
            grid, c[t : t + 1], omega[t : t + 1], b[:, :, t : t + 1], tolerance=float(tolerance[t])
        )
        assert own.x is not None
        assert int(own.iterations[0]) == int(together.iterations[t])
        assert torch.allclose(own.x[:, :, 0], together.x[:, :, t], rtol=0, atol=1e-12)


@pytest.mark.gpu
def test_the_objective_solves_on_the_device_of_its_trials() -> None:
    sor = build(stream="high", side=16, solver="any", tolerance="free")
    configs = [{"solver": name, "omega": 1.3, "tolerance": 1e-6} for name in ("sor", "ssor-cg", "cg")]
    there = sor.evaluate_batch(configs, [Trial(number=number, device="cuda") for number in range(3)])
    here = sor.evaluate_batch(configs, [Trial(number=number) for number in range(3)])
    for one, other in zip(there, here, strict=True):
        assert one["iterations"] == other["iterations"]
        assert one["error"] == pytest.approx(other["error"], rel=1e-6)
