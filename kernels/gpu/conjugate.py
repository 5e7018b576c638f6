"""Triton kernel of conjugate gradients preconditioned by symmetric SOR in red-black order, one system a program.

Layout and notation of `tuner.kernels.gpu.sweeps`; besides, for each colour, r (residuals), p (directions), q = A p, and
z = M^-1 r with M = (D + omega L) D^-1 (D + omega L') / (omega (2 - omega)):

    t_red = r_red / D,   z_black = (r_black + omega sum k t_red) / D,   z_red = t_red + omega sum k z_black / D

both times omega (2 - omega). Vectors stay in registers; t, z and p pass between threads through `red` and `black`, with
a barrier after each, three an iteration.
"""

from __future__ import annotations

import triton
import triton.language as tl
from tuner.kernels.gpu.sweeps import around, cells, weight


@triton.jit
def total(red, black):
    """Sum over both colours' tiles."""
    return tl.sum(tl.sum(red + black, 1), 0)


@triton.jit
def resident(
    x_red, x_black, red, black, b_red, b_black, k, diag, c, omega, tolerance, count, converged, cap,
    m: tl.constexpr, w: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, UNIFORM: tl.constexpr,
):  # fmt: skip
    """Solve one system a program, x in place; the grid fits one tile (m up to 64)."""
    n, size = tl.program_id(0).to(tl.int64), m * w
    i, q, s, here = cells(0, m, w, 0, ROWS, BLOCK, 0)
    _, _, t, there = cells(0, m, w, 1, ROWS, BLOCK, 0)
    at, k_black = i * w + q, k + 4 * size
    x_red, x_black, red, black = x_red + n * size, x_black + n * size, red + n * size, black + n * size
    relax, shift = tl.load(omega + n), tl.load(c + n)
    D = shift + weight(diag, at, here, UNIFORM)
    E = shift + weight(diag + size, at, there, UNIFORM)
    u = tl.load(x_red + at, mask=here, other=0.0)
    v = tl.load(x_black + at, mask=there, other=0.0)
    r = tl.load(b_red + n * size + at, mask=here, other=0.0) - D * u
    r += around(x_black, k, i, q, s, here, m, w, UNIFORM)
    g = tl.load(b_black + n * size + at, mask=there, other=0.0) - E * v
    g += around(x_red, k_black, i, q, t, there, m, w, UNIFORM)
    p, h = r * 0.0, g * 0.0
    norm = total(r * r, g * g)
    tolerated = tl.load(tolerance + n)
    limit, rz = tolerated * tolerated * norm, norm * 0.0 + 1.0
    iteration, scale = 0, relax * (2.0 - relax)
    going = ((norm >= limit) & (iteration < cap)).to(tl.int32)
    while going > 0:
        first = r * (1.0 / D)
        tl.store(red + at, first, mask=here)
        tl.debug_barrier()
        y = (g + relax * around(red, k_black, i, q, t, there, m, w, UNIFORM)) * (1.0 / E)
        tl.store(black + at, y, mask=there)
        tl.debug_barrier()
        z = scale * (first + relax / D * around(black, k, i, q, s, here, m, w, UNIFORM))
        y *= scale
        fresh = total(r * z, g * y)
        beta = tl.where(iteration > 0, fresh / rz, 0.0)
        rz = fresh
        p, h = z + beta * p, y + beta * h
        tl.debug_barrier()
        tl.store(red + at, p, mask=here)
        tl.store(black + at, h, mask=there)
        tl.debug_barrier()
        a = D * p - around(black, k, i, q, s, here, m, w, UNIFORM)
        d = E * h - around(red, k_black, i, q, t, there, m, w, UNIFORM)
        step = rz / total(p * a, h * d)
        u, v, r, g = u + step * p, v + step * h, r - step * a, g - step * d
        norm = total(r * r, g * g)
        iteration += 1
        going = ((norm >= limit) & (iteration < cap)).to(tl.int32)
        tl.debug_barrier()
    tl.store(x_red + at, u, mask=here)
    tl.store(x_black + at, v, mask=there)
    tl.store(count + n, iteration)
    tl.store(converged + n, (norm < limit).to(tl.int32))
