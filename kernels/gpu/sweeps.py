"""Triton kernels of red-black SOR on five-point grids, many systems at once.

Notation, for n systems on a grid of m x m:

    colour          red (0) when row + column is even, else black (1)
    x, b            the cells of one colour by rows, (n, m, w), w = (m + 1) // 2; cell (i, q) lies in column 2 q + s
    s               (i + colour) mod 2; columns from m on are padding and hold zeros
    k               the faces above, below, left and right of the cells, (2, 4, m, w); not read when UNIFORM (all 1)
    D               diag + c, diag (2, m, w) the sum of the four faces (4 when UNIFORM, and not read)

In this order the neighbours above and below (i, q) have its q, those to the left and right q - 1 + s and q + s, all of
the other colour. Half a sweep adds omega res / D to a colour, res = b + sum of k x over neighbours - D x; the colour's
residual is then (1 - omega) res. So |r|^2 at the start of an iteration is that of red, found in its red half, and
(1 - omega)^2 times that of black in the black half before: the check of convergence needs no pass of its own.
"""

from __future__ import annotations

import triton
import triton.language as tl


@triton.jit
def cells(first, m, w, colour, ROWS: tl.constexpr, BLOCK: tl.constexpr, q0):
    """Rows, positions, s and which of a tile lie on the grid."""
    i = first + tl.arange(0, ROWS)[:, None]
    q = q0 + tl.arange(0, BLOCK)[None, :]
    s = (i + colour) % 2
    return i, q, s, (i < m) & (2 * q + s < m)


@triton.jit
def around(x, k, i, q, s, here, m, w, UNIFORM: tl.constexpr):
    """Sum of k x over the four neighbours; x begins at a system's other colour, k at this colour's faces."""
    at, size = i * w + q, m * w
    up = tl.load(x + at - w, mask=here & (i > 0), other=0.0)
    down = tl.load(x + at + w, mask=here & (i < m - 1), other=0.0)
    left = tl.load(x + at - 1 + s, mask=here & (q + s > 0), other=0.0)
    right = tl.load(x + at + s, mask=here & (q + s < w), other=0.0)
    if not UNIFORM:
        up *= tl.load(k + at, mask=here, other=0.0)
        down *= tl.load(k + size + at, mask=here, other=0.0)
        left *= tl.load(k + 2 * size + at, mask=here, other=0.0)
        right *= tl.load(k + 3 * size + at, mask=here, other=0.0)
    return up + down + left + right


@triton.jit
def weight(diag, at, here, UNIFORM: tl.constexpr):
    """The diagonal without shift at the cells of a tile."""
    if UNIFORM:
        found = 4.0
    else:
        found = tl.load(diag + at, mask=here, other=1.0)
    return found


@triton.jit
def resident(
    red, black, b_red, b_black, k, diag, c, omega, tolerance, count, converged, cap,
    m: tl.constexpr, w: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, UNIFORM: tl.constexpr,
    HELD: tl.constexpr,
):  # fmt: skip
    """Solve one system a program, from the first sweep to the last; the grid fits one tile (m up to 128).

    Values pass between a program's threads through memory, which stays in the first-level cache, with a barrier after
    each half sweep. HELD: each thread holds x and b of its own cells in registers; else they are read anew, too.
    """
    n, size = tl.program_id(0).to(tl.int64), m * w
    red, black, b_red, b_black = red + n * size, black + n * size, b_red + n * size, b_black + n * size
    relax, shift = tl.load(omega + n), tl.load(c + n)
    keep = (1.0 - relax) * (1.0 - relax)
    i, q, s, here = cells(0, m, w, 0, ROWS, BLOCK, 0)
    _, _, t, there = cells(0, m, w, 1, ROWS, BLOCK, 0)
    at = i * w + q
    D = shift + weight(diag, at, here, UNIFORM)
    E = shift + weight(diag + size, at, there, UNIFORM)
    v, g = tl.load(black + at, mask=there, other=0.0), tl.load(b_black + at, mask=there, other=0.0)
    res = g + around(red, k + 4 * size, i, q, t, there, m, w, UNIFORM) - E * v
    if HELD:
        u, f = tl.load(red + at, mask=here, other=0.0), tl.load(b_red + at, mask=here, other=0.0)
    square = res * res  # of black cells at the start of the iteration
    tolerated = tl.load(tolerance + n)
    limit = tolerated * 0.0 - 1.0
    iteration, going, fine = 0, 1, 0
    while going > 0:
        if not HELD:
            u, f = tl.load(red + at, mask=here, other=0.0), tl.load(b_red + at, mask=here, other=0.0)
        res = f + around(black, k, i, q, s, here, m, w, UNIFORM) - D * u
        norm = tl.sum(tl.sum(res * res + square, 1), 0)
        limit = tl.where(limit < 0.0, tolerated * tolerated * norm, limit)
        fine = (norm < limit).to(tl.int32)
        going = ((norm >= limit) & (iteration < cap)).to(tl.int32)
        step = relax * going.to(tl.float64)
        u += step / D * res
        tl.store(red + at, u, mask=here)
        tl.debug_barrier()
        if not HELD:
            v, g = tl.load(black + at, mask=there, other=0.0), tl.load(b_black + at, mask=there, other=0.0)
        res = g + around(red, k + 4 * size, i, q, t, there, m, w, UNIFORM) - E * v
        square = keep * res * res
        v += step / E * res
        tl.store(black + at, v, mask=there)
        tl.debug_barrier()
        iteration += going
    tl.store(count + n, iteration)
    tl.store(converged + n, fine & (iteration < cap).to(tl.int32))


@triton.jit
def half(
    own, other, out, b, k, diag, c, omega, part, done, parts, m, w,
    colour: tl.constexpr, ROWS: tl.constexpr, BLOCK: tl.constexpr, UNIFORM: tl.constexpr,
):  # fmt: skip
    """Relax a tile of one colour, from `own` into `out`, and leave |res|^2 of its cells in `part` (n, parts).

    Programs: (column tiles, row tiles, systems). Of black cells (1 - omega)^2 |res|^2, what is left of it.
    """
    n, size = tl.program_id(2), m * w
    if tl.load(done + n) == 0:
        i, q, s, here = cells(tl.program_id(1) * ROWS, m, w, colour, ROWS, BLOCK, tl.program_id(0) * BLOCK)
        at, start = i * w + q, n.to(tl.int64) * size
        relax = tl.load(omega + n)
        D = tl.load(c + n) + weight(diag + colour * size, at, here, UNIFORM)
        x = tl.load(own + start + at, mask=here, other=0.0)
        faces = k + colour * 4 * size
        res = tl.load(b + start + at, mask=here, other=0.0) - D * x
        res += around(other + start, faces, i, q, s, here, m, w, UNIFORM)
        tl.store(out + start + at, x + relax / D * res, mask=here)
        square = tl.sum(tl.sum(res * res, 1), 0)
        if colour == 1:
            square *= (1.0 - relax) * (1.0 - relax)
        tile = tl.program_id(1) * tl.num_programs(0) + tl.program_id(0)
        tl.store(part + n * parts + tile, square)


@triton.jit
def check(part_red, part_black, limit, done, count, cap, parts, PARTS: tl.constexpr):
    """Between the halves of an iteration: mark the systems that had converged when it began; count it for the others.

    One system a program. `done` becomes 1 where |r|^2 < limit, 2 where `cap` iterations were made or |r| is not finite.
    """
    n = tl.program_id(0)
    if tl.load(done + n) == 0:
        i = tl.arange(0, PARTS)
        red = tl.load(part_red + n * parts + i, mask=i < parts, other=0.0)
        black = tl.load(part_black + n * parts + i, mask=i < parts, other=0.0)
        norm, most, made = tl.sum(red + black, 0), tl.load(limit + n), tl.load(count + n)
        over = (made >= cap) | ((norm < most) == (norm >= most))
        tl.store(done + n, tl.where(over, 2, (norm < most).to(tl.int32)))
        tl.store(count + n, tl.where(over | (norm < most), made, made + 1))
