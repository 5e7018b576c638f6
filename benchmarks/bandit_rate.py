"""Decisions a second of the online bandits, and what blocks cost them in regret.

    python benchmarks/bandit_rate.py [--instances 200000] [--seeds 10]

Twenty arms on one core. Losses are independent coin tosses, one arm better than the others by 0.1; the context of those
that look at one is a number that says nothing. Seconds are of choosing and learning together; the losses are there.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable

import numpy as np

from tuner.strategies.bandit.adversarial import tsallis_inf
from tuner.strategies.bandit.chebyshev import chebcb
from tuner.strategies.bandit.contextual import contextual
from tuner.strategies.bandit.decisions import Policy, blocks

ARMS = 20
LENGTHS = (1, 16, 256, 1024, 4096)


def made(name: str, seed: int) -> Policy:
    """A policy before its first decision."""
    places, bounds = np.linspace(0.0, 1.0, ARMS)[:, None], np.array([[0.0, 1.0]])
    kinds: dict[str, Callable[[], Policy]] = {
        "tsallis-inf": lambda: tsallis_inf(ARMS, seed=seed, floor=0.0),
        "chebcb": lambda: chebcb(ARMS, bounds=(0.0, 1.0), seed=seed),
        "thompson": lambda: contextual(places, bounds, seed=seed),
        "ucb": lambda: contextual(places, bounds, rule="ucb", seed=seed),
    }
    return kinds[name]()


def timed(name: str, n: int, longest: int, seed: int) -> tuple[float, float]:
    """Decisions a second, and regret a decision in thousandths."""
    rng = np.random.default_rng(seed)
    means = np.full(ARMS, 0.5)
    means[rng.integers(ARMS)] = 0.4
    contexts, losses = rng.random((n, 1)), rng.random(n)
    policy, regret, began = made(name, seed), 0.0, time.perf_counter()
    for start, end in blocks(n, longest):
        block = policy.choose(contexts[start:end], np.arange(start, end))
        expected = means[block.arms]
        policy = policy.learned(contexts[start:end], block, (losses[start:end] < expected).astype(np.float64))
        regret += float(expected.sum()) - 0.4 * (end - start)
    return n / (time.perf_counter() - began), 1e3 * regret / n


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--instances", type=int, default=200_000)
    parser.add_argument("--seeds", type=int, default=10)
    given = parser.parse_args()
    print("| policy | longest block | instances | decisions/s | thousandths of regret a decision | standard error |")
    print("|---|---|---|---|---|---|")
    for name in ("tsallis-inf", "chebcb", "thompson", "ucb"):
        for longest in LENGTHS:
            n = given.instances if name == "tsallis-inf" else given.instances // 10
            runs = np.array([timed(name, n, longest, seed) for seed in range(given.seeds)])
            error = runs[:, 1].std(ddof=1) / np.sqrt(len(runs)) if len(runs) > 1 else 0.0
            rate, regret = np.median(runs[:, 0]), runs[:, 1].mean()
            print(f"| {name} | {longest} | {n} | {rate:,.0f} | {regret:.2f} | {error:.2f} |", flush=True)


if __name__ == "__main__":
    main()
