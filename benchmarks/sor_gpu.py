"""Batched SOR on an NVIDIA GPU: solves a second against a loop of single solves, and against what the memory allows.

    python benchmarks/sor_gpu.py [--sides 32 64 128 256 512 1024] [--seconds 1.0] [--json FILE]

Systems (A + c I) x = b with the published shifts `high` scaled to each grid, normal right sides, Young's omega for each
system, relative residual 1e-8, float64. The limit of the memory is measured by a copy on the same card, bytes read plus
bytes written. A sweep through memory moves 32 bytes a cell; `GB/s` is that times the sweeps that systems needed, over
the seconds: where a kernel keeps its grid in the cache it may exceed the copy. Times are medians, device synchronised.
One by one, a few systems are solved; their rate is scaled by their iterations to the batch's mean. `--variants` times
the kernel for small grids with other numbers of warps, and with a system's own values in registers.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor
from tuner.kernels.gpu import red_black
from tuner.objectives.solver import batched, relaxation, streams, young

BATCH = {32: 32_768, 64: 16_384, 128: 4_096, 256: 1_024, 512: 256, 1024: 64}
SINGLES = 4


def copy_rate() -> float:
    """Bytes a second, read and written, of a copy of 4 GB."""
    source = torch.randn(2**29, dtype=torch.float64, device="cuda")
    target = torch.empty_like(source)
    seconds, _ = timed(lambda: target.copy_(source), 0.2)
    return 2 * 8 * source.numel() / seconds


def timed(work: Callable[[], object], least: float) -> tuple[float, object]:
    """Median seconds of at least 3 runs, one where a run takes longer than `least`; and what the last returned.

    A run before the first compiles what is needed and is not counted.
    """
    found = work()
    torch.cuda.synchronize()
    taken: list[float] = []
    while len(taken) < 3 or sum(taken) < least:
        began = time.perf_counter()
        found = work()
        torch.cuda.synchronize()
        taken.append(time.perf_counter() - began)
        if taken[-1] > least:
            break
    return statistics.median(taken), found


def systems(side: int, n: int) -> tuple[relaxation.Grid, Tensor, Tensor, Tensor]:
    """The grid, shifts, Young's omegas and right sides, on the GPU."""
    draw = torch.Generator("cuda").manual_seed(side)
    low, high = streams.shift_range(side)
    shape = torch.distributions.Beta(*streams.BETAS["high"])
    torch.manual_seed(side)
    c = low + (high - low) * shape.sample((n,)).double()
    omega = torch.from_numpy(young.best_omega(young.jacobi_radius(side, c.numpy())))
    b = torch.randn(n, side, side, generator=draw, dtype=torch.float64, device="cuda").permute(1, 2, 0)
    return relaxation.poisson(side, device="cuda"), c.cuda(), omega.cuda(), b


def one(side: int, solver: str, engine: batched.Engine, least: float, share: float = 1.0) -> dict[str, float | str]:
    """Rates of one solver on grids of one side."""
    n = max(1, int(BATCH.get(side, 64) * share))
    grid, c, omega, b = systems(side, n)
    if engine == "torch":
        b = b.contiguous()  # systems along the last axis, as that code wants them

    def solve(rows: slice) -> relaxation.Solved:
        return batched.solve(solver, grid, c[rows], omega[rows], b[:, :, rows], cap=20_000, engine=engine)

    seconds, found = timed(lambda: solve(slice(None)), least)
    assert isinstance(found, relaxation.Solved)
    assert bool(found.converged.all())
    singles = min(SINGLES, n)
    alone, _ = timed(lambda: [solve(slice(row, row + 1)) for row in range(singles)], least)
    each, of_them = float(found.iterations.double().mean()), float(found.iterations[:singles].double().mean())
    swept = float(found.iterations.sum()) * side**2 * red_black.BYTES_PER_CELL
    return {
        "side": side, "solver": solver, "engine": engine, "systems": n,
        "iterations": each, "solves_per_s": n / seconds,
        "single_per_s": singles / alone * of_them / each, "bytes_per_s": swept / seconds,
    }  # fmt: skip


def variants(sides: list[int], least: float) -> None:
    """Solves a second of the kernel that solves a whole system in a launch, by how it is launched."""
    print("| side | warps | held | solves/s | GB/s |")
    print("|---|---|---|---|---|")
    for side in sides:
        n, cells = BATCH[side], side**2 * red_black.BYTES_PER_CELL
        grid, c, omega, b = systems(side, n)
        for warps, held in itertools.product((2, 4, 8, 16, 32), (False, True)):
            if not 2 <= side**2 // 2 // (32 * warps) <= 32:
                continue  # cells a thread
            red_black.WARPS[side], red_black.HELD[side] = warps, held
            seconds, found = timed(lambda: batched.solve("sor", grid, c, omega, b, engine="triton"), least)  # noqa: B023
            assert isinstance(found, relaxation.Solved)
            moved = float(found.iterations.sum()) * cells / seconds
            print(f"| {side} | {warps} | {held} | {n / seconds:,.0f} | {moved / 1e9:.0f} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=sorted(BATCH))
    parser.add_argument("--seconds", type=float, default=0.5)
    parser.add_argument("--json", type=Path, help="write the figures here, after every line")
    parser.add_argument("--engines", nargs="+", default=["triton", "torch"])
    parser.add_argument("--variants", action="store_true", help="only how small grids are launched")
    given = parser.parse_args()
    if given.variants:
        variants([side for side in given.sides if side <= red_black.LARGEST_RESIDENT], given.seconds)
        return
    limit = copy_rate()
    device = torch.cuda.get_device_name()
    print(f"{device}, torch {torch.__version__}; a copy moves {limit / 1e9:.0f} GB/s\n")
    print(
        "| solver | by | side | systems | iterations | solves/s, batch | solves/s, one by one | ratio | GB/s | / copy |"
    )
    print("|---|---|---|---|---|---|---|---|---|---|")
    rows = []
    runs: list[tuple[str, batched.Engine, float]] = [
        ("sor", "triton", 1.0),
        ("ssor-cg", "triton", 0.25),
        ("sor", "torch", 0.25),
        ("ssor-cg", "torch", 0.25),
    ]
    for solver, engine, share in runs:
        for side in given.sides:
            if engine not in given.engines:
                continue
            if engine == "triton" and solver == "ssor-cg" and side > batched.LARGEST_CONJUGATE:
                continue
            row = one(side, solver, engine, given.seconds, share)
            rows.append(row)
            fast, slow, moved = float(row["solves_per_s"]), float(row["single_per_s"]), float(row["bytes_per_s"])
            sweeps = f"{moved / 1e9:.0f} | {moved / limit:.2f}" if solver == "sor" else "- | -"
            print(
                f"| {solver} | {engine} | {side} | {row['systems']} | {row['iterations']:.0f} | {fast:,.1f}"
                f" | {slow:,.1f} | {fast / slow:.1f} | {sweeps} |",
                flush=True,
            )
            if given.json is not None:
                given.json.write_text(json.dumps({"device": device, "copy_bytes_per_s": limit, "rows": rows}, indent=1))


if __name__ == "__main__":
    main()
