"""Switches, categories, subsets and orders, without a number among them."""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tuner.bench.problem import BenchProblem, Split, minimise
from tuner.parameters import Bool, Choice, Parameter, Permutation, Subset
from tuner.space import SearchSpace
from tuner.trial import Config

Array = NDArray[Any]


def _problem(
    name: str,
    split: Split,
    parameters: Sequence[Parameter],
    function: Callable[[Config], float],
    least: float,
    source: str,
    optimum: Config | None = None,
    *,
    exact: bool = True,
) -> BenchProblem:
    return BenchProblem(
        name=name, kind="combinatorial", split=split, space=SearchSpace(parameters), metrics=minimise("y"),
        evaluate=lambda config: {"y": float(function(config))}, best=least, exact=exact, source=source,
        optima=(optimum,) if optimum is not None else (),
    )  # fmt: skip


def _switches(n: int) -> list[Parameter]:
    return [Bool(f"b{i}") for i in range(n)]


def _bits(config: Config) -> Array:
    return np.array([config[f"b{i}"] for i in range(len(config))])


def _pattern(bits: Sequence[bool] | Array) -> Config:
    return {f"b{i}": bool(b) for i, b in enumerate(bits)}


def _satisfiability(name: str, split: Split, n: int, clauses: int, seed: int) -> BenchProblem:
    """Weight of the unsatisfied clauses of three literals; made satisfiable by one planted assignment."""
    rng = np.random.default_rng([20267, seed])
    planted = rng.integers(2, size=n).astype(bool)
    chosen: list[Array] = []
    wanted: list[Array] = []
    while len(chosen) < clauses:
        where, sign = rng.choice(n, 3, replace=False), rng.integers(2, size=3).astype(bool)
        if (planted[where] == sign).any():
            chosen.append(where)
            wanted.append(sign)
    where, sign, weight = np.array(chosen), np.array(wanted), rng.uniform(0.2, 1.0, clauses)

    def unsatisfied(config: Config) -> float:
        return float(weight @ ~(_bits(config)[where] == sign).any(axis=1))

    source = "weighted MAX-3-SAT, planted; see Oh et al. 2019 (COMBO) for its use"
    return _problem(name, split, _switches(n), unsatisfied, 0.0, source, _pattern(planted))


def _contamination(name: str, split: Split, n: int, best: float, pattern: str, seed: int) -> BenchProblem:
    """Where to clean a chain of food stages so that contamination stays below a limit (Hu et al. 2010)."""
    rng = np.random.default_rng([20268, seed])
    samples, limit, slack, penalty = 100, 0.1, 0.05, 0.01
    start = rng.beta(1, 30, samples)
    spread, cure = rng.beta(1, 17 / 3, (n, samples)), rng.beta(1, 3 / 7, (n, samples))

    def cost(config: Config) -> float:
        level, total = start, 0.0
        for i, clean in enumerate(_bits(config)):
            level = (1 - cure[i]) * level if clean else spread[i] * (1 - level) + level
            total += clean - (np.mean(level <= limit) - (1 - slack))
        return float(total + penalty * n)

    source = "Hu et al. 2010; Baptista and Poloczek 2018 (BOCS)"
    optimum = _pattern([c == "1" for c in pattern]) if pattern else None
    return _problem(name, split, _switches(n), cost, best, source, optimum, exact=False)


def _landscape(name: str, split: Split, n: int, k: int, best: float, pattern: str, seed: int) -> BenchProblem:
    """Kauffman's NK landscape with random neighbourhoods, negated."""
    rng = np.random.default_rng([20269, seed])
    near = np.array([[i, *rng.choice([j for j in range(n) if j != i], k, replace=False)] for i in range(n)])
    tables, powers = rng.uniform(0, 1, (n, 2 ** (k + 1))), 2 ** np.arange(k + 1)

    def value(config: Config) -> float:
        return -float(np.mean(tables[np.arange(n), _bits(config)[near] @ powers]))

    optimum = _pattern([c == "1" for c in pattern]) if pattern else None
    return _problem(name, split, _switches(n), value, best, "Kauffman and Levin 1987", optimum, exact=False)


def _autocorrelation(name: str, split: Split, n: int, energy: float, runs: str) -> BenchProblem:
    """Energy of a low-autocorrelation binary sequence over its length; the optimum by its run lengths."""

    def value(config: Config) -> float:
        s = np.where(_bits(config), 1.0, -1.0)
        return float(sum(float(s[:-k] @ s[k:]) ** 2 for k in range(1, n))) / n

    bits = [bool(i % 2) for i, run in enumerate(runs) for _ in range(int(run, 16))]
    source = "Packebusch and Mertens 2016, low autocorrelation binary sequences"
    return _problem(name, split, _switches(n), value, energy / n, source, _pattern(bits))


def _ising(name: str, split: Split, rows: int, columns: int, best: float, pattern: str, seed: int) -> BenchProblem:
    """Which couplings of an Ising grid to drop: divergence from the full model plus a price for each one kept."""
    rng = np.random.default_rng([20270, seed])
    at = np.arange(rows * columns).reshape(rows, columns)
    edges = np.array([*zip(at[:, :-1].ravel(), at[:, 1:].ravel()), *zip(at[:-1].ravel(), at[1:].ravel())])
    strength = rng.uniform(0.05, 5.0, len(edges)) * rng.choice([-1, 1], len(edges)) / 2

    @functools.cache
    def full() -> tuple[Array, float, Array]:
        n = rows * columns
        spins = 2.0 * (np.arange(2**n)[:, None] >> np.arange(n) & 1) - 1
        products = spins[:, edges[:, 0]] * spins[:, edges[:, 1]]
        log_z = float(np.logaddexp.reduce(products @ strength))
        return products, log_z, np.exp(products @ strength - log_z) @ products

    def value(config: Config) -> float:
        products, log_z, moments = full()
        keep = _bits(config)
        partial = (
            float(np.logaddexp.reduce(products[:, keep] @ strength[keep])) if keep.any() else math.log(len(products))
        )
        return float(strength[~keep] @ moments[~keep]) + partial - log_z + 0.05 * float(keep.sum())

    optimum = _pattern([c == "1" for c in pattern]) if pattern else None
    return _problem(name, split, _switches(len(edges)), value, best, "Baptista and Poloczek 2018 (BOCS)", optimum)


def _colouring(name: str, split: Split, n: int, colours: int, seed: int) -> BenchProblem:
    """Weight of the neighbours of one colour; colourable by a planted colouring."""
    rng = np.random.default_rng([20271, seed])
    planted = rng.integers(colours, size=n)
    edges = [e for e in itertools.combinations(range(n), 2) if planted[e[0]] != planted[e[1]] and rng.random() < 0.5]
    weight, (a, b) = rng.uniform(0.2, 1, len(edges)), np.array(edges).T

    def clashes(config: Config) -> float:
        held = np.array([config[f"c{i}"] for i in range(n)])
        return float(weight @ (held[a] == held[b]))

    words = ("red", "green", "blue", "yellow", "black")[:colours]
    optimum = {f"c{i}": words[c] for i, c in enumerate(planted)}
    space = [Choice(f"c{i}", values=words) for i in range(n)]
    return _problem(name, split, space, clashes, 0.0, "weighted graph colouring, planted", optimum)


def _tour(name: str, split: Split, n: int, seed: int) -> BenchProblem:
    """Length of a round trip through cities on an ellipse, which is shortest along it."""
    rng = np.random.default_rng([20272, seed])
    angle = rng.uniform(0, 2 * math.pi, n)
    place = np.stack([2 * np.cos(angle), np.sin(angle)], axis=1)

    def length(order: Sequence[int]) -> float:
        path = place[list(order)]
        return float(np.linalg.norm(path - np.roll(path, -1, axis=0), axis=1).sum())

    best = [int(i) for i in np.argsort(angle)]
    items = tuple(f"city{i}" for i in range(n))
    return _problem(name, split, [Permutation("tour", items=items)],
                    lambda config: length([items.index(c) for c in config["tour"]]), length(best),
                    "travelling salesman in convex position", {"tour": [items[i] for i in best]})  # fmt: skip


def _assignment(name: str, split: Split, n: int, best: float, order: Sequence[int], seed: int) -> BenchProblem:
    """Quadratic assignment (Koopmans and Beckmann 1957) of random flows to places in the unit square."""
    rng = np.random.default_rng([20273, seed])
    flow = np.triu(rng.integers(0, 10, (n, n)), 1)
    place = rng.uniform(0, 1, (n, 2))
    far = np.linalg.norm(place[:, None] - place[None], axis=-1)
    items = tuple(f"p{i}" for i in range(n))

    def cost(config: Config) -> float:
        at = [items.index(p) for p in config["order"]]
        return float((flow * far[np.ix_(at, at)]).sum())

    optimum = {"order": [items[i] for i in order]} if len(order) else None
    return _problem(name, split, [Permutation("order", items=items)], cost, best, "Koopmans and Beckmann 1957", optimum,
                    exact=False)  # fmt: skip


def _regressors(name: str, split: Split, products: int, best: float, chosen: Sequence[int], seed: int) -> BenchProblem:
    """Which columns of scikit-learn's diabetes data, and products of them, to regress on: BIC over 100."""
    rng = np.random.default_rng([20274, seed])
    pairs = [tuple(map(int, rng.choice(10, 2, replace=False))) for _ in range(products)]

    @functools.cache
    def data() -> tuple[Array, Array]:
        from sklearn.datasets import load_diabetes

        X, y = load_diabetes(return_X_y=True)
        X = np.hstack([X, *(X[:, [i]] * X[:, [j]] for i, j in pairs)])
        return (X - X.mean(axis=0)) / X.std(axis=0), y - y.mean()

    items = tuple(f"f{i}" for i in range(10 + products))

    def bic(config: Config) -> float:
        X, y = data()
        held = [items.index(item) for item in config["columns"]]
        left = y - X[:, held] @ np.linalg.lstsq(X[:, held], y, rcond=None)[0] if held else y
        return (len(y) * math.log(float(left @ left) / len(y)) + math.log(len(y)) * len(held)) / 100

    optimum = {"columns": [items[i] for i in chosen]} if len(chosen) else None
    source = "subset selection by BIC (Schwarz 1978) on the data of Efron et al. 2004"
    return _problem(name, split, [Subset("columns", items=items)], bic, best, source, optimum, exact=False)


def problems() -> tuple[BenchProblem, ...]:
    """Where no optimum is planted or in the literature, `best` is of a long local search with many restarts."""
    return (
        _satisfiability("maxsat-28", "dev", 28, 90, 1),
        _satisfiability("maxsat-50", "held-out", 50, 180, 2),
        _contamination("contamination-21", "dev", 21, 18.08, "011011011011101101010", 1),
        _landscape("nk-20-3", "dev", 20, 3, -0.7747214983085614, "01001001010111100010", 1),
        _landscape("nk-24-4", "held-out", 24, 4, -0.7661708468163836, "100011001101001111111111", 2),
        _autocorrelation("labs-25", "held-out", 25, 36, "337111121221"),
        _ising("ising-3-4", "dev", 3, 4, 0.7500099440786997, "11110111011011110", 1),
        _colouring("colouring-15", "held-out", 15, 4, 1),
        _tour("tour-12", "dev", 12, 1),
        _assignment("assignment-10", "held-out", 10, 86.02174227614076, (8, 6, 7, 0, 4, 2, 3, 1, 9, 5), 1),
        _regressors("regressors-25", "dev", 15, 35.563785200762304, (1, 2, 3, 6, 8), 1),
    )
