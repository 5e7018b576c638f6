"""How good is what the answers of a known judge lead to? `python benchmarks/preference.py [duels|front] [seeds]`.

duels: Hartmann's function of six variables is the judge's utility; he says of 40 pairs of points which is better. The
regret of the point that is then recommended, for pairs by EUBO, by the hallucination believer of the skew process, and
at random.

front: a study of three objectives (the second problem of Deb, Thiele, Laumanns and Zitzler, six parameters) of 40
trials; the judge wants a random point of the true front, and answers a question after every second trial from the
eighth on. The regret in his utility of the member that is then recommended, against the best of the true front, for
the strategy `preference` and for `gp`, and that of the knee of the same front.
"""

from __future__ import annotations

import math
import sys
import time
from collections.abc import Sequence

import numpy as np
from scipy.optimize import minimize
from scipy.special import ndtr

from tuner import Study
from tuner.preferences import skew
from tuner.preferences.answers import add
from tuner.preferences.front import best_of_front, question
from tuner.preferences.utility import Array, Utility, answers_matrix, eubo, fitted_lengths, laplace
from tuner.trial import Answer

DUELS, FIRST, COLUMNS = 40, 8, 6
TRIALS, PARAMETERS = 40, 6
BEST = 3.32237

_ALPHA = np.array([1.0, 1.2, 3.0, 3.2])
_A = np.array(
    [[10, 3, 17, 3.5, 1.7, 8], [0.05, 10, 17, 0.1, 8, 14], [3, 3.5, 1.7, 10, 17, 8], [17, 8, 0.05, 10, 0.1, 14]]
)
_P = 1e-4 * np.array(
    [
        [1312, 1696, 5569, 124, 8283, 5886],
        [2329, 4135, 8307, 3736, 1004, 9991],
        [2348, 1451, 3522, 2883, 3047, 6650],
        [4047, 8828, 8732, 5743, 1091, 381],
    ]
)


def hartmann(x: Array) -> float:
    """Maximised; at most BEST."""
    return float(_ALPHA @ np.exp(-(_A * np.square(x - _P)).sum(axis=1)))


def refined(score: object, start: Array) -> Array:
    """Where L-BFGS-B leads from a start in the unit cube."""
    bounds = [(0.0, 1.0)] * len(start)
    return np.asarray(minimize(lambda x: -score(x), start, method="L-BFGS-B", bounds=bounds, options={"maxiter": 30}).x)  # type: ignore[operator]


def by_eubo(found: Utility, rng: np.random.Generator) -> tuple[Array, Array]:
    """The pair with the greatest expected utility of its better point."""
    pool = np.vstack([rng.random((250, COLUMNS)), around(found, rng)])
    value = eubo(*found.joint(pool))
    order = np.argsort(-np.triu(value, 1), axis=None)[:4]

    def score(pair: Array) -> float:
        return float(eubo(*found.joint(pair.reshape(2, COLUMNS)))[0, 1])

    ends = [refined(score, np.concatenate([pool[k // len(pool)], pool[k % len(pool)]])) for k in order]
    best = max(ends, key=score).reshape(2, COLUMNS)
    return best[0], best[1]


def by_believer(found: Utility, rng: np.random.Generator) -> tuple[Array, Array]:
    """The best seen point of a drawn process, and the point with its greatest expected improvement."""
    first = found.P[np.argmax(found.mean(found.P))]
    top = float(found.mean(first[None])[0])

    def score(x: Array) -> float:
        mean, cov = found.joint(x[None])
        sd = math.sqrt(max(cov[0, 0], 1e-12))
        u = (mean[0] - top) / sd
        return float((mean[0] - top) * ndtr(u) + sd * math.exp(-0.5 * u * u) / math.sqrt(2 * math.pi))

    pool = np.vstack([rng.random((250, COLUMNS)), around(found, rng)])
    starts = sorted(pool, key=score, reverse=True)[:4]
    return first, max((refined(score, start) for start in starts), key=score)


def around(found: Utility, rng: np.random.Generator) -> Array:
    """Points near the best ones seen."""
    best = found.P[np.argsort(-found.mean(found.P))[:5]]
    return np.clip(np.repeat(best, 10, axis=0) + rng.normal(scale=0.05, size=(50, COLUMNS)), 0.0, 1.0)


def duels(method: str, seed: int) -> float:
    """The regret of the recommended point after all duels."""
    rng = np.random.default_rng(seed)
    points: list[Array] = []
    won: list[tuple[int, int]] = []
    for duel in range(DUELS + 1):
        if won:
            P, A = np.array(points), answers_matrix(won, len(points))
            lengths = fitted_lengths(P, A)
            mean = laplace(P, A, lengths)[0]
        if duel == DUELS:
            break
        if duel < FIRST or method == "random":
            pair = rng.random(COLUMNS), rng.random(COLUMNS)
        elif method == "eubo":
            pair = by_eubo(mean, rng)
        else:
            pair = by_believer(skew.hallucinated(P, A, lengths, rng), rng)
        i = len(points)
        points += pair
        won.append((i, i + 1) if hartmann(pair[0]) >= hartmann(pair[1]) else (i + 1, i))
    return BEST - hartmann(P[np.argmax(mean.mean(P))])


def dtlz2(config: dict[str, float]) -> dict[str, float]:
    """Three objectives, minimised; the front is the part of the unit sphere where all but two parameters are 0.5."""
    a, b, *rest = (config[f"x{k}"] * math.pi / 2 if k < 2 else config[f"x{k}"] for k in range(PARAMETERS))
    r = 1 + sum((x - 0.5) ** 2 for x in rest)
    return {"f0": r * math.cos(a) * math.cos(b), "f1": r * math.cos(a) * math.sin(b), "f2": r * math.sin(a)}


def judged(metrics: dict[str, float], wanted: Array) -> float:
    """A judge's utility: minus the worst of what exceeds the point of the sphere that he wants, and a little by all."""
    excess = np.array(list(metrics.values())) - wanted
    return float(-excess.max() - 0.05 * excess.sum())


def search(strategy: str, seed: int) -> tuple[float, float]:
    """The regret of what the answers recommend, and of the front's knee."""
    direction = np.abs(np.random.default_rng(1000 + seed).standard_normal((20_000, 3)))
    sphere = direction / np.linalg.norm(direction, axis=1, keepdims=True)
    wanted = sphere[0]
    parameters = {f"x{k}": {"min": 0.0, "max": 1.0} for k in range(PARAMETERS)}
    metrics = {f"f{k}": {"goal": "minimize"} for k in range(3)}
    method, _, model = strategy.partition(":")
    options = {"method": method, **({"model": model} if model else {})}
    definition = {"metrics": metrics, "parameters": parameters, "search": options, "seed": seed}
    with Study.create({**definition, "budget": {"trials": TRIALS}}) as study:
        while proposals := study.ask(1):
            study.tell(proposals[0].trial, dtlz2(proposals[0].config))
            pair = question(study.history) if study.history.n >= 8 and study.history.n % 2 == 0 else None
            if pair is not None:
                left, right = (judged(dict(study.read(trial).metrics), wanted) for trial in pair)
                add(study, Answer(*pair) if left >= right else Answer(*pair[::-1]))
        best = best_of_front(study.history)
        study.ledger.answers.clear()
        knee = study.best()
        assert best is not None and knee is not None
        told = judged(dict(study.read(best.trial).metrics), wanted)
    top = max(judged(dict(enumerate(point)), wanted) for point in sphere)  # type: ignore[arg-type]
    return top - told, top - judged(dict(knee.metrics), wanted)


def main() -> None:
    what = sys.argv[1] if len(sys.argv) > 1 else "duels"
    seeds = range(int(sys.argv[2]) if len(sys.argv) > 2 else 4)
    if what == "duels":
        print(f"regret after {DUELS} duels, {len(seeds)} seeds")
        for method in ("random", "eubo", "skew"):
            began = time.perf_counter()
            regret = [duels(method, seed) for seed in seeds]
            seconds = (time.perf_counter() - began) / len(regret)
            print(f"{method:8} median {np.median(regret):.3f} ({listed(regret)}), {seconds:.0f} s a run", flush=True)
        return
    print(f"regret after {TRIALS} trials, {len(seeds)} judges")
    for strategy in ("preference", "preference:pairwise", "gp"):
        told, knee = zip(*[search(strategy, seed) for seed in seeds], strict=True)
        by_answers = f"median {np.median(told):.3f} ({listed(told)})"
        print(f"{strategy:20} by answers: {by_answers}; knee: {np.median(knee):.3f}", flush=True)


def listed(values: Sequence[float]) -> str:
    return " ".join(f"{value:.3f}" for value in values)


if __name__ == "__main__":
    main()
