"""SOR over a stream of systems: bandits choose omega for each, against the best fixed omega and the best for each.

    python benchmarks/sor_stream.py [--seeds 20] [--instances 5000] [--streams high low heat] [--workers 1]
                                    [--longest 1] [--plot docs/sor-stream.svg]

The published experiment (Khodak, Chow, Balcan and Talwalkar, "Learning to Relax", 2024): 5,000 systems (A + c I) x = b
on a 10 x 10 grid, 20 values of omega, two distributions of shifts; and Crank-Nicolson steps of the heat equation on
25 x 25. Every seed draws systems of its own. Iterations of every system with every omega are counted first (they are
kept in `--cache`), then policies run over that table, so that a policy costs what its decisions cost.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from tuner.objectives.solver import reference, streams

from tuner.strategies.bandit.adversarial import tsallis_inf
from tuner.strategies.bandit.chebyshev import chebcb
from tuner.strategies.bandit.contextual import contextual
from tuner.strategies.bandit.decisions import Policy, blocks

Array = NDArray[np.float64]
SIDES = {"high": 10, "low": 10, "heat": 25}
OMEGAS = np.linspace(1.0, 1.95, 20)
POLICIES = ("tsallis-inf", "tsallis-inf, 5 bins", "chebcb", "ucb", "thompson")


def cached(stream: str, instances: int, seed: int, folder: Path) -> tuple[Array, Array]:
    """Contexts (n,) and iterations (n, arms + 1) of one seed's systems, from the folder when it holds them."""
    file = folder / f"{stream}-{instances}-{seed}.npz"
    if not file.is_file():
        torch.set_num_threads(1)
        contexts = reference.systems(stream, SIDES[stream], instances, seed=seed)[0]
        counts = reference.counts(stream, SIDES[stream], instances, OMEGAS, seed=seed)
        folder.mkdir(parents=True, exist_ok=True)
        np.savez_compressed(file, contexts=contexts, counts=counts)
    found = np.load(file)
    return found["contexts"], found["counts"]


def policy(name: str, seed: int, bounds: tuple[float, float]) -> Policy:
    """A policy before its first decision."""
    places = np.linspace(0.0, 1.0, len(OMEGAS))[:, None]
    made: dict[str, Callable[[], Policy]] = {
        "tsallis-inf": lambda: tsallis_inf(len(OMEGAS), seed=seed, floor=1.0),
        "tsallis-inf, 5 bins": lambda: tsallis_inf(len(OMEGAS), seed=seed, floor=1.0, bins=5, bounds=bounds),
        "chebcb": lambda: chebcb(len(OMEGAS), bounds=bounds, seed=seed, floor=1.0),
        "ucb": lambda: contextual(places, np.array([bounds]), rule="ucb", seed=seed),
        "thompson": lambda: contextual(places, np.array([bounds]), seed=seed),
    }
    return made[name]()


def paid(made: Policy, contexts: Array, counts: Array, longest: int) -> Array:
    """What each instance cost, (n,), when a policy chose its arms in blocks of at most `longest`."""
    costs = np.empty(len(counts))
    for start, end in blocks(len(counts), longest):
        numbers, seen = np.arange(start, end), contexts[start:end, None]
        chosen = made.choose(seen, numbers)
        costs[start:end] = counts[numbers, chosen.arms]
        made = made.learned(seen, chosen, costs[start:end])
    return costs


def one_seed(seed: int, stream: str, instances: int, longest: int, folder: Path) -> dict[str, Array]:
    """What every instance cost under each policy and reference, by name."""
    contexts, counts = cached(stream, instances, 0 if stream == "heat" else seed, folder)
    bounds = (0.0, 10.0) if stream == "heat" else streams.shift_range(SIDES[stream])
    found = {f"omega {omega:.2f}": counts[:, arm] for arm, omega in enumerate(OMEGAS)}
    found["Young's omega"], counts = counts[:, -1], counts[:, :-1]
    found["best arm per instance"] = counts.min(axis=1)
    found["random arm"] = counts.mean(axis=1)
    for name in POLICIES:
        found[name] = paid(policy(name, seed, bounds), contexts, counts, longest)
    return found


def summary(runs: list[dict[str, Array]]) -> dict[str, tuple[float, float, float]]:
    """Mean over all instances, its standard error over seeds, and the mean over the last fifth, by name."""
    last = len(next(iter(runs[0].values()))) // 5
    found = {}
    for name in runs[0]:
        each = np.array([run[name].mean() for run in runs])
        error = float(each.std(ddof=1) / np.sqrt(len(each))) if len(each) > 1 else 0.0
        found[name] = float(each.mean()), error, float(np.mean([run[name][-last:].mean() for run in runs]))
    return found


def rules(stream: str, means: dict[str, tuple[float, float, float]]) -> list[tuple[str, float, float]]:
    """The pass rules: what is asked, what came out, and its limit."""
    fixed = min(value[0] for name, value in means.items() if name.startswith("omega"))
    young_last, best = means["Young's omega"][2], means["best arm per instance"][0]
    ours = min(("thompson", "ucb"), key=lambda name: means[name][0])
    found = [("thompson, all / best arm per instance", means["thompson"][0] / best, 1.08)]
    if stream == "heat":
        return [*found, (f"{ours}, all / best fixed", means[ours][0] / fixed, 1.0)]
    return [
        ("tsallis-inf, all / best fixed", means["tsallis-inf"][0] / fixed, 1.25),
        ("tsallis-inf, last fifth / best fixed", means["tsallis-inf"][2] / fixed, 1.12),
        ("chebcb, all / best fixed", means["chebcb"][0] / fixed, 0.75 if stream == "high" else 0.88),
        ("chebcb, last fifth / Young's omega", means["chebcb"][2] / young_last, 1.15),
        *found,
    ]


def report(stream: str, runs: list[dict[str, Array]], seconds: float) -> None:
    means = summary(runs)
    best = means["best arm per instance"][0]
    side, n = SIDES[stream], len(next(iter(runs[0].values())))
    print(f"\n{stream}: {n} systems on {side} x {side}, {len(runs)} seeds, {seconds:.0f} s\n")
    print("| iterations a system | all | standard error | last fifth | all / best arm per instance |")
    print("|---|---|---|---|---|")
    fixed = sorted((value[0], name) for name, value in means.items() if name.startswith("omega"))
    for name, (mean, error, last) in means.items():
        if name.startswith("omega") and name not in [name for _, name in fixed[:2]]:
            continue
        print(f"| {name} | {mean:.2f} | {error:.2f} | {last:.2f} | {mean / best:.3f} |")
    print()
    for text, value, limit in rules(stream, means):
        print(f"{'pass' if value <= limit else 'FAIL'}  {text}: {value:.3f}, at most {limit}")


SHOWN = {
    "tsallis-inf": "#d1495b",
    "tsallis-inf, 5 bins": "#edae49",
    "chebcb": "#66a182",
    "thompson": "#00518c",
    "best arm per instance": "#555555",
}


def plot(file: Path, found: dict[str, list[dict[str, Array]]]) -> None:
    """The mean so far against the number of systems, one panel a stream."""
    import matplotlib as mpl
    import matplotlib.pyplot as plt

    mpl.rcParams.update({"svg.hashsalt": "sor", "font.size": 9, "axes.spines.top": False, "axes.spines.right": False})
    figure, panels = plt.subplots(1, len(found), figsize=(4.2 * len(found), 3.2), squeeze=False)
    for panel, (stream, runs) in zip(panels[0], found.items(), strict=True):
        fixed = min((name for name in runs[0] if name.startswith("omega")), key=lambda name: runs[0][name].mean())
        for name, colour in {**SHOWN, fixed: "#999999"}.items():
            so_far = np.mean([np.cumsum(run[name]) / np.arange(1, len(run[name]) + 1) for run in runs], axis=0)
            label = f"{name}, the best fixed" if name == fixed else name
            dashed = "--" if name in (fixed, "best arm per instance") else "-"
            panel.plot(np.arange(1, len(so_far) + 1), so_far, dashed, color=colour, label=label, linewidth=1.4)
        panel.set(xscale="log", yscale="log", xlabel="systems solved", title=f"{stream}, {len(runs)} seeds")
    panels[0][0].set_ylabel("iterations a system, mean so far")
    panels[0][-1].legend(frameon=False, fontsize=8)
    figure.tight_layout()
    figure.savefig(file, metadata={"Date": None})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--instances", type=int, default=5_000)
    parser.add_argument("--streams", nargs="+", default=["high", "low", "heat"], choices=sorted(SIDES))
    parser.add_argument("--workers", type=int, default=1)
    parser.add_argument("--longest", type=int, default=1, help="instances a block at most")
    parser.add_argument("--plot", type=Path, help="write a picture of the means here")
    parser.add_argument("--cache", type=Path, default=Path(".tuner/sor-tables"))
    given = parser.parse_args()
    found = {}
    for stream in given.streams:
        began = time.perf_counter()
        each = partial(one_seed, stream=stream, instances=given.instances, longest=given.longest, folder=given.cache)
        if stream == "heat":  # one trajectory: counted once, whatever the seeds
            cached(stream, given.instances, 0, given.cache)
        with ProcessPoolExecutor(given.workers) as pool:
            runs = list(pool.map(each, range(given.seeds)))
        found[stream] = runs
        report(stream, runs, time.perf_counter() - began)
    if given.plot is not None:
        plot(given.plot, found)


if __name__ == "__main__":
    main()
