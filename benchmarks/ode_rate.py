"""Samples a second of the batched sampler, by device and precision, and whether all agree.

    python benchmarks/ode_rate.py [--devices cpu cuda] [--particles 2048 65536 1048576] [--dims 2 16 64] [--seconds 0.5]

Six evaluations of DEIS of order 2 on the schedule of Karras et al., mixtures of 8 modes. `samples/s` is the median of
runs that fill `--seconds`; `GB/s` counts one read and one write of the states and of D an evaluation, what a perfect
kernel would move. `error` is to the exact flow in float64 from the same noises on that device; `apart` the
largest distance of its endpoints from the first device's in float64, on the first 2,048 samples.
"""

from __future__ import annotations

import argparse
import statistics
import time

import numpy as np
import torch
from tuner.objectives.solver import ode_metrics, ode_mixtures, ode_sampling, ode_schedules
from tuner.objectives.solver.ode_sampling import Plan

MODES, EVALUATIONS, COMPARED = 8, 6, 2048
PLAN = Plan(knots=ode_schedules.edm(EVALUATIONS), solvers=["deis-2"] * EVALUATIONS)


def waited(device: str) -> float:
    if device != "cpu":
        torch.cuda.synchronize()
    return time.perf_counter()


def median_seconds(denoise: ode_mixtures.Denoiser, y: torch.Tensor, device: str, seconds: float) -> float:
    ode_sampling.walk(denoise, y, PLAN)
    took: list[float] = []
    while sum(took) < seconds or len(took) < 3:
        began = waited(device)
        ode_sampling.walk(denoise, y, PLAN)
        took.append(waited(device) - began)
    return statistics.median(took)


def noises(n: int, dim: int) -> torch.Tensor:
    return torch.from_numpy(80.0 * np.random.default_rng([dim, n]).standard_normal((n, dim)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--devices", nargs="+", default=["cpu", "cuda"] if torch.cuda.is_available() else ["cpu"])
    parser.add_argument("--particles", type=int, nargs="+", default=[2048, 65_536, 1_048_576])
    parser.add_argument("--dims", type=int, nargs="+", default=[2, 16, 64])
    parser.add_argument("--seconds", type=float, default=0.5)
    given = parser.parse_args()
    names = {device: "CPU" if device == "cpu" else torch.cuda.get_device_name() for device in given.devices}
    print(f"torch {torch.__version__}, {torch.get_num_threads()} threads, {names}")
    print("| d | samples | device | precision | samples/s | GB/s | error | apart |\n|---|---|---|---|---|---|---|---|")
    with torch.inference_mode():
        for dim in given.dims:
            mixture = ode_mixtures.drawn(dim, MODES, 0)
            for n in given.particles:
                compare(mixture, noises(n, dim), given.devices, given.seconds)


def compare(mixture: ode_mixtures.Mixture, start: torch.Tensor, devices: list[str], seconds: float) -> None:
    n, dim = start.shape
    first: torch.Tensor | None = None
    for device in devices:
        exact = ode_mixtures.exact(mixture.to(device, torch.float64))
        some = start[:COMPARED].to(device)
        ends = ode_sampling.fine(exact, some, ode_schedules.log_linear(60))[-1]
        for dtype in (torch.float64, torch.float32):
            denoise, y = ode_mixtures.exact(mixture.to(device, dtype)), start.to(device, dtype)
            took = median_seconds(denoise, y, device, seconds)
            reached = ode_sampling.walk(denoise, y[:COMPARED], PLAN)[0].double()
            first = reached.cpu() if first is None else first
            error = ode_metrics.endpoint_error(reached, ends)
            apart = float((reached.cpu() - first).square().sum(dim=1).sqrt().max())
            moved = 4 * EVALUATIONS * n * dim * y.element_size() / took / 1e9
            precision = str(dtype).removeprefix("torch.")
            where = f"{dim} | {n:,} | {device} | {precision}"
            print(f"| {where} | {n / took:,.0f} | {moved:.1f} | {error:.6f} | {apart:.1e} |", flush=True)


if __name__ == "__main__":
    main()
