"""Red-black SOR and SSOR-preconditioned conjugate gradients on 2-D grids, many systems at once, in torch.

Each system is (A + c I) x = b with A = -div(k grad) in five points, Dirichlet boundaries and a grid of `side` x `side`
interior points; spacings are left out, so that constant k = 1 gives the matrix with diagonal 4 and neighbours -1.
A cell is red when row + column is even. Systems lie along the last axis: every operation runs over contiguous memory.

Notation, for n systems on a grid of m x m:

    c (n,)          shifts;   omega (n,)  relaxation;   b, x, r (m, m, n)
    kx (m + 1, m)   coefficients of the faces above and below a cell, ky (m, m + 1) left and right of it
    D (m, m, n)     the diagonal: the four faces' coefficients and the shift

SOR with W = D / omega + L: x <- x + W^-1 r until |r| / |r0| < tolerance (Khodak et al. 2024, section 2; Young 1971).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

_CHECK_EVERY = 32
_CG_CHECK_EVERY = 8
RED, BLACK = 0, 1


@dataclass(frozen=True, slots=True)
class Grid:
    """The operator without its shift.

    Attributes:
        kx: Coefficients of the faces between rows, (m + 1, m).
        ky: Coefficients of the faces between columns, (m, m + 1).
    """

    kx: Tensor
    ky: Tensor

    @property
    def side(self) -> int:
        """Interior points along a side."""
        return self.kx.shape[1]

    @property
    def diagonal(self) -> Tensor:
        """The diagonal without shift, (m, m)."""
        return self.kx[:-1] + self.kx[1:] + self.ky[:, :-1] + self.ky[:, 1:]


@dataclass(frozen=True, slots=True)
class Solved:
    """What solving took.

    Attributes:
        iterations: Of each system, (n,); the cap where it did not converge.
        converged: Whether the relative residual came below the tolerance, (n,).
        x: Solutions, (m, m, n); None when they were not asked for.
    """

    iterations: Tensor
    converged: Tensor
    x: Tensor | None = None


def poisson(side: int, *, device: str = "cpu") -> Grid:
    """Return the five-point Laplacian: diagonal 4, neighbours -1."""
    ones = torch.ones(side + 1, side, dtype=torch.float64, device=device)
    return Grid(ones, ones.T.contiguous())


def apply(grid: Grid, c: Tensor, x: Tensor) -> Tensor:
    """Return (A + c I) x, shape (m, m, n)."""
    y = (grid.diagonal[:, :, None] + c) * x
    kx, ky = grid.kx[:, :, None], grid.ky[:, :, None]
    y[1:] -= kx[1:-1] * x[:-1]
    y[:-1] -= kx[1:-1] * x[1:]
    y[:, 1:] -= ky[:, 1:-1] * x[:, :-1]
    y[:, :-1] -= ky[:, 1:-1] * x[:, 1:]
    return y


Slices = tuple[slice, slice]


@dataclass(frozen=True, slots=True)
class _Part:
    """Every second cell of every second row: a quarter of the grid, half of one colour."""

    cells: Slices
    neighbours: tuple[tuple[Slices, Tensor], ...]  # where they lie in the padded grid, and the faces between


def _parts(grid: Grid, colour: int) -> list[_Part]:
    found = []
    for row in (0, 1):
        column = (row + colour) % 2
        i, j = slice(row, None, 2), slice(column, None, 2)
        shape = grid.diagonal[i, j].shape
        if not all(shape):
            continue
        ends = row + 2 * shape[0], column + 2 * shape[1]
        places = [(0, 1, grid.kx[:-1]), (2, 1, grid.kx[1:]), (1, 0, grid.ky[:, :-1]), (1, 2, grid.ky[:, 1:])]
        around = tuple(
            ((slice(row + di, ends[0] + di, 2), slice(column + dj, ends[1] + dj, 2)), face[i, j][:, :, None])
            for di, dj, face in places
        )
        found.append(_Part((i, j), around))
    return found


class _Colours:
    """The cells by colour, and sums over neighbours of the other colour, for a padded array (m + 2, m + 2, n)."""

    def __init__(self, grid: Grid) -> None:
        self.of = (_parts(grid, RED), _parts(grid, BLACK))
        self._uniform = bool((grid.kx == 1.0).all() and (grid.ky == 1.0).all())

    def gather(self, r: Tensor, padded: Tensor, colour: int) -> None:
        """Add to r, at the cells of a colour, the neighbours' values of the other colour times their faces."""
        for part in self.of[colour]:
            own = r[part.cells]
            for place, face in part.neighbours:
                if self._uniform:
                    own += padded[place]
                else:
                    own.addcmul_(padded[place], face)


def sor(
    grid: Grid,
    c: Tensor,
    omega: Tensor,
    b: Tensor,
    *,
    x0: Tensor | None = None,
    tolerance: Tensor | float = 1e-8,
    cap: int = 10_000,
    solutions: bool = False,
) -> Solved:
    """Solve n systems by red-black SOR.

    The residual is carried along instead of being computed anew: a half sweep over one colour scales that colour's
    residual by 1 - omega and passes omega r / D to the neighbours. Systems that have converged leave the batch.

    Args:
        grid: The operator.
        c: Shifts, (n,); A + c I must be positive definite.
        omega: Relaxation in (0, 2), (n,).
        b: Right sides, (m, m, n).
        x0: Where to start, (m, m, n); zero when None.
        tolerance: Of |r| / |r0|, in the Euclidean norm; one for all, or (n,).
        cap: Iterations at most.
        solutions: Whether to return x.
    """
    m, n = grid.side, len(c)
    colours, device = _Colours(grid), b.device
    iterations = torch.full((n,), cap, dtype=torch.int64, device=device)
    x = None
    if solutions:
        x = torch.zeros_like(b) if x0 is None else x0.clone()
    r = b.clone() if x0 is None else b - apply(grid, c, x0)
    limit = (tolerance**2) * (r * r).sum((0, 1))
    left = torch.arange(n, device=device)
    scale = omega / (grid.diagonal[:, :, None] + c)
    keep = 1.0 - omega
    padded = torch.zeros(m + 2, m + 2, n, dtype=b.dtype, device=device)
    inner = padded[1:-1, 1:-1]
    done = torch.zeros(n, dtype=torch.bool, device=device)
    for k in range(cap):
        fresh = ~done & ((r * r).sum((0, 1)) < limit)
        iterations[left[fresh]] = k
        done |= fresh
        if k % _CHECK_EVERY == 0 and bool(done.any()):
            if bool(done.all()):
                break
            stay = ~done
            left, r, limit, done = left[stay], r[:, :, stay], limit[stay], done[stay]
            scale, keep = scale[:, :, stay], keep[stay]
            padded = torch.zeros(m + 2, m + 2, len(left), dtype=b.dtype, device=device)
            inner = padded[1:-1, 1:-1]
        for colour in (RED, BLACK):
            for part in colours.of[colour]:
                torch.mul(r[part.cells], scale[part.cells], out=inner[part.cells])
                r[part.cells].mul_(keep)
            colours.gather(r, padded, 1 - colour)
        if x is not None:
            x[:, :, left] += inner * ~done
    return Solved(iterations, iterations < cap, x)


def ssor_cg(
    grid: Grid,
    c: Tensor,
    omega: Tensor,
    b: Tensor,
    *,
    x0: Tensor | None = None,
    tolerance: Tensor | float = 1e-8,
    cap: int = 10_000,
    preconditioned: bool = True,
) -> Solved:
    """Solve n systems by conjugate gradients, preconditioned by one symmetric SOR sweep in red-black order.

    M = (D + omega L) D^-1 (D + omega L') / (omega (2 - omega)), and the identity when not `preconditioned`.
    Arguments as for `sor`. Systems that have converged leave the batch here, too.
    """
    colours, n = _Colours(grid), len(c)
    x = torch.zeros_like(b) if x0 is None else x0.clone()
    r = b - apply(grid, c, x)
    limit = (tolerance**2) * (r * r).sum((0, 1))
    iterations = torch.full((n,), cap, dtype=torch.int64, device=b.device)
    left, done = torch.arange(n, device=b.device), torch.zeros(n, dtype=torch.bool, device=b.device)
    solved, own = x, x.clone()
    inverse: Callable[[Tensor], Tensor] = torch.clone
    if preconditioned:
        inverse = _symmetric(colours, grid.diagonal[:, :, None] + c, omega)
    p, rz = r, torch.ones_like(limit)
    for k in range(cap):
        fresh = ~done & ((r * r).sum((0, 1)) < limit)
        iterations[left[fresh]] = k
        done |= fresh
        if k % _CG_CHECK_EVERY == 0 and bool(done.any()):
            solved[:, :, left] = own
            if bool(done.all()):
                break
            stay = ~done
            left, c, omega, own, r, p = left[stay], c[stay], omega[stay], own[:, :, stay], r[:, :, stay], p[:, :, stay]
            limit, rz, done = limit[stay], rz[stay], done[stay]
            if preconditioned:
                inverse = _symmetric(colours, grid.diagonal[:, :, None] + c, omega)
        z = inverse(r)
        fresh_rz = (r * z).sum((0, 1))
        p = z + torch.where(done, 0.0, fresh_rz / rz) * p if k else z
        rz = fresh_rz
        q = apply(grid, c, p)
        step = torch.where(done, 0.0, rz / (p * q).sum((0, 1)))
        own += step * p
        r -= step * q
    solved[:, :, left] = own
    return Solved(iterations, iterations < cap, solved)


def _symmetric(colours: _Colours, D: Tensor, omega: Tensor) -> Callable[[Tensor], Tensor]:
    """r -> M^-1 r: red then black, then red again, where L holds minus the faces between black and red cells."""
    padded = torch.zeros(D.shape[0] + 2, D.shape[1] + 2, D.shape[2], dtype=D.dtype, device=D.device)
    inner = padded[1:-1, 1:-1]

    def inverse(r: Tensor) -> Tensor:
        y = r.clone()
        _put(colours, inner, y * (omega / D), RED)  # y_red = r_red / D
        colours.gather(y, padded, BLACK)  # r_black - omega L y_red
        y /= D  # (D + omega L)^-1 r; black is final
        _put(colours, inner, y * omega, BLACK)
        back = torch.zeros_like(y)
        colours.gather(back, padded, RED)
        y += back / D  # red: (D y_red - omega L' z_black) / D
        y *= omega * (2.0 - omega)
        return y

    return inverse


def _put(colours: _Colours, inner: Tensor, values: Tensor, colour: int) -> None:
    for part in colours.of[colour]:
        inner[part.cells] = values[part.cells]
