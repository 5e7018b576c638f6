"""Batched red-black SOR, and conjugate gradients under it, on an NVIDIA GPU: storage, kernels, the loop of launches.

Systems (A + c I) x = b as in `tuner.objectives.solver.relaxation`: A = -div(k grad) in five points, Dirichlet
boundaries, a grid of m x m, float64. Grids up to 128 a side are solved by one program each, in one launch
(`sweeps.resident`). On larger ones every half sweep is a launch over all systems, bound by the memory: 32 bytes a cell
and sweep, since a half reads its colour's x and b and the other colour's x, and writes its own. Systems that have
converged do nothing more.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import triton
from torch import Tensor
from tuner.kernels.gpu import conjugate, sweeps

LARGEST_RESIDENT = 128
BYTES_PER_CELL = 32  # and sweep, through memory
_CHUNK = 16  # iterations a replayed graph holds; even, since red cells alternate between two buffers
WARPS = {32: 2, 64: 4, 128: 8}  # a program, by rows of its tile; 4 where it has fewer
HELD = {32: True, 64: True, 128: False}  # the fastest of `benchmarks/sor_gpu.py --variants` on an H200, as WARPS
_CONJUGATE_WARPS = {32: 4, 64: 8}


def pack(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the red and the black cells, each (n, m, w), of x (m, m, n)."""
    m, _, n = x.shape
    w = (m + 1) // 2
    whole = torch.zeros(n, m, w, 2, dtype=x.dtype, device=x.device)
    whole.view(n, m, 2 * w)[:, :, :m] = x.permute(2, 0, 1)
    red, black = torch.empty_like(whole[..., 0]), torch.empty_like(whole[..., 0])
    for row, colour in ((0, 0), (1, 1)):
        red[:, row::2], black[:, row::2] = whole[:, row::2, :, colour], whole[:, row::2, :, 1 - colour]
    return red.contiguous(), black.contiguous()


def unpack(red: Tensor, black: Tensor) -> Tensor:
    """Return x (m, m, n) of its red and black cells."""
    n, m, w = red.shape
    whole = torch.empty(n, m, w, 2, dtype=red.dtype, device=red.device)
    for row, colour in ((0, 0), (1, 1)):
        whole[:, row::2, :, colour], whole[:, row::2, :, 1 - colour] = red[:, row::2], black[:, row::2]
    return whole.view(n, m, 2 * w)[:, :, :m].permute(1, 2, 0)


@dataclass(frozen=True, slots=True)
class Operator:
    """The matrix without its shift, packed.

    Attributes:
        faces: Coefficients of the faces above, below, left and right of the cells of each colour, (2, 4, m, w).
        diagonal: Their sums, (2, m, w); 1 at padding.
        uniform: Whether every face is 1.
    """

    faces: Tensor
    diagonal: Tensor
    uniform: bool


def operator(kx: Tensor, ky: Tensor) -> Operator:
    """Pack the coefficients of the faces between rows, kx (m + 1, m), and between columns, ky (m, m + 1)."""
    around = torch.stack([kx[:-1], kx[1:], ky[:, :-1], ky[:, 1:]], dim=-1)  # (m, m, 4)
    faces = torch.stack(pack(around))
    total = faces.sum(1)
    return Operator(faces, torch.where(total == 0.0, 1.0, total), bool((kx == 1.0).all() and (ky == 1.0).all()))


@dataclass(frozen=True, slots=True)
class Counted:
    """What solving took: iterations (n,), whether each system converged (n,), and solutions (m, m, n)."""

    iterations: Tensor
    converged: Tensor
    x: Tensor


def sor(
    kx: Tensor,
    ky: Tensor,
    c: Tensor,
    omega: Tensor,
    b: Tensor,
    *,
    x0: Tensor | None = None,
    tolerance: Tensor | float = 1e-8,
    cap: int = 10_000,
) -> Counted:
    """Solve n systems by red-black SOR.

    Args:
        kx: Coefficients of the faces between rows, (m + 1, m).
        ky: Coefficients of the faces between columns, (m, m + 1).
        c: Shifts, (n,).
        omega: Relaxation in (0, 2), (n,).
        b: Right sides, (m, m, n).
        x0: Where to start, (m, m, n); zero when None.
        tolerance: Of |r| / |r0|; one for all, or (n,).
        cap: Iterations at most.
    """
    given = operator(kx, ky)
    red, black = pack(torch.zeros_like(b) if x0 is None else x0)
    tolerated = torch.as_tensor(tolerance, dtype=b.dtype, device=b.device).expand(len(c)).contiguous()
    solve = _resident if b.shape[0] <= LARGEST_RESIDENT else _launches
    count, converged, red = solve(given, c.contiguous(), omega.contiguous(), red, black, pack(b), tolerated, cap)
    count = torch.where(converged, count, cap)
    return Counted(count, converged, unpack(red, black))


def ssor_cg(
    kx: Tensor,
    ky: Tensor,
    c: Tensor,
    omega: Tensor,
    b: Tensor,
    *,
    x0: Tensor | None = None,
    tolerance: Tensor | float = 1e-8,
    cap: int = 10_000,
) -> Counted:
    """Solve n systems by conjugate gradients under symmetric SOR; as `sor`, on grids of at most 64 a side."""
    given = operator(kx, ky)
    red, black = pack(torch.zeros_like(b) if x0 is None else x0)
    n, m, w = red.shape
    tolerated = torch.as_tensor(tolerance, dtype=b.dtype, device=b.device).expand(n).contiguous()
    count, converged = torch.empty(2, n, dtype=torch.int32, device=b.device)
    rows = triton.next_power_of_2(m)
    conjugate.resident[(n,)](
        red, black, torch.zeros_like(red), torch.zeros_like(black), *pack(b), given.faces, given.diagonal,
        c.contiguous(), omega.contiguous(), tolerated, count, converged, cap,
        m=m, w=w, ROWS=rows, BLOCK=triton.next_power_of_2(w), UNIFORM=given.uniform,
        num_warps=_CONJUGATE_WARPS.get(rows, 4), num_stages=1,
    )  # fmt: skip
    fine = converged.bool()
    return Counted(torch.where(fine, count.long(), cap), fine, unpack(red, black))


def _resident(
    given: Operator,
    c: Tensor,
    omega: Tensor,
    red: Tensor,
    black: Tensor,
    b: tuple[Tensor, Tensor],
    tolerance: Tensor,
    cap: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """One launch, a program a system; x is solved in place."""
    n, m, w = red.shape
    count = torch.empty(n, dtype=torch.int32, device=red.device)
    converged = torch.empty_like(count)
    rows = triton.next_power_of_2(m)
    sweeps.resident[(n,)](
        red, black, *b, given.faces, given.diagonal, c, omega, tolerance, count, converged, cap,
        m=m, w=w, ROWS=rows, BLOCK=triton.next_power_of_2(w), UNIFORM=given.uniform, HELD=HELD.get(rows, False),
        num_warps=WARPS.get(rows, 4), num_stages=1,
    )  # fmt: skip
    return count.long(), converged.bool(), red


def _launches(
    given: Operator,
    c: Tensor,
    omega: Tensor,
    red: Tensor,
    black: Tensor,
    b: tuple[Tensor, Tensor],
    tolerance: Tensor,
    cap: int,
) -> tuple[Tensor, Tensor, Tensor]:
    """Three launches an iteration, replayed from a graph; red cells alternate between two buffers.

    An iteration overwrites red cells before it is known that the one before had converged: the other buffer holds them.
    """
    n, m, w = red.shape
    reds = (red, red.clone())
    block = min(128, triton.next_power_of_2(w))
    rows = max(1, 1024 // block)
    tiles = triton.cdiv(w, block), triton.cdiv(m, rows), n
    parts = tiles[0] * tiles[1]
    part = torch.zeros(2, n, parts, dtype=red.dtype, device=red.device)
    done, count = torch.zeros(2, n, dtype=torch.int32, device=red.device)
    size = {"ROWS": rows, "BLOCK": block, "UNIFORM": given.uniform, "num_warps": 4}
    shape = (parts, m, w)

    def relax(own: Tensor, other: Tensor, out: Tensor, colour: int, omega: Tensor) -> None:
        common = given.faces, given.diagonal, c, omega, part[colour], done
        sweeps.half[tiles](own, other, out, b[colour], *common, *shape, colour=colour, **size)

    none = torch.zeros_like(omega)
    relax(reds[0], black, reds[1], 0, none)  # with omega = 0 nothing moves: |r0|^2 of each colour is left in `part`
    relax(black, reds[0], black, 1, none)
    limit = tolerance**2 * part.sum((0, 2))

    def iterate() -> None:
        for start, end in ((reds[0], reds[1]), (reds[1], reds[0])):
            relax(start, black, end, 0, omega)
            sweeps.check[(n,)](*part, limit, done, count, cap, parts, PARTS=triton.next_power_of_2(parts))
            relax(black, end, black, 1, omega)

    _until(done, iterate, red.is_cuda)
    odd = (count % 2 == 1)[:, None, None]
    return count.long(), done == 1, torch.where(odd, reds[1], reds[0])


def _until(done: Tensor, iterate: Callable[[], None], graph: bool) -> None:
    """Repeat `iterate`, two iterations, until every system is done; on a GPU as a graph of `_CHUNK` iterations."""
    iterate()  # compiles the kernels, too
    replay = iterate
    if graph:
        recorded = torch.cuda.CUDAGraph()
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):
            recorded.capture_begin()
            for _ in range(_CHUNK // 2):
                iterate()
            recorded.capture_end()
        torch.cuda.current_stream().wait_stream(beside)
        replay = recorded.replay
    while not bool(done.all()):
        replay()
