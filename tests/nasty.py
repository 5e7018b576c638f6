"""Studies that nobody wishes for: random spaces and metrics with everything that goes wrong, through the public door.

What is asked of every study: no exception; every suggestion lies in the space, honours its restrictions, and was not
tried before (unless repeats are wanted, or one trial is meant to show whether measurements are noisy); fewer than asked
for only when nothing untried is left.
"""

from __future__ import annotations

import itertools
import math
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tuner.errors import ExhaustedError
from tuner.strategies.fresh import replicates
from tuner.study import Study
from tuner.trial import Config, Proposal

Declared = tuple[dict[str, Any], str]
"""A parameter, and a test that holds for some of its values."""


def _continuous(rng: random.Random) -> Declared:
    low, width = rng.choice([(-1e6, 1.0), (-1.0, 1e-9), (0.0, 1e9), (1e-12, 1.0), (-1e200, 2e200)])
    high = low + width
    return {"min": low, "max": high}, f"{{0}} >= {low + 0.2 * (high - low)!r}"


def _log(rng: random.Random) -> Declared:
    low = 10.0 ** rng.randint(-12, 0)
    return {"min": low, "max": low * 10.0 ** rng.randint(1, 12), "log": True}, f"{{0}} >= {low * 2!r}"


def _integer(rng: random.Random) -> Declared:
    low = rng.randint(-5, 5)
    return {"min": low, "max": low + rng.choice([1, 3, 40, 10**6])}, f"{{0}} > {low}"


KINDS: dict[str, Callable[[random.Random], Declared]] = {
    "continuous": _continuous,
    "log": _log,
    "integer": _integer,
    "step": lambda rng: ({"min": 0.0, "max": 1.0, "step": rng.choice([0.1, 0.25, 0.5])}, "{0} >= 0.5"),
    "ordered": lambda rng: ({"values": [1, 2, 4, 8, 16][: rng.randint(2, 5)], "ordered": True}, "{0} <= 2"),
    "choice": lambda rng: ({"values": list("abcdefgh")[: rng.randint(2, 8)]}, "{0} in ['a', 'c']"),
    "bool": lambda rng: ({"type": "bool"}, "{0}"),
    "subset": lambda rng: ({"subset": list("qkvo")[: rng.randint(2, 4)]}, "count({0}) >= 1"),
    "vector": lambda rng: ({"vector": rng.randint(2, 4), "min": 0.0, "max": 1.0}, "{0}[0] > 0.3"),
    "simplex": lambda rng: ({"simplex": ["x", "y", "z"][: rng.randint(2, 3)]}, "{0}['x'] > 0.2"),
    "permutation": lambda rng: ({"permutation": list("stuw")[: rng.randint(2, 4)]}, "{0}[0] != 's'"),
}

OUTCOMES: dict[str, Callable[[float, random.Random], float]] = {
    "smooth": lambda u, rng: u,
    "constant metric": lambda u, rng: 7.0,
    "20 orders of magnitude": lambda u, rng: 10.0 ** (20 * u - 10),
    "signed 20 orders": lambda u, rng: math.copysign(10.0 ** (20 * abs(u - 0.5)), u - 0.5),
    "1e300": lambda u, rng: 1e300 * u,
    "1e-300": lambda u, rng: 1e-300 * u,
    "large offset": lambda u, rng: 1e12 + u,
    "two values": lambda u, rng: float(u > 0.3),
    "pure noise": lambda u, rng: rng.gauss(0.0, 1.0),
    "one outlier": lambda u, rng: -1e15 if rng.random() < 0.1 else u,
}

RARE = "one feasible in a hundred"


@dataclass(slots=True)
class Report:
    """What one study showed.

    Attributes:
        kinds: Which nasty things it had.
        suggestions: How many configurations were proposed.
        modelled: How many of them by a model.
        fallbacks: Reasons of those that came about by an exception.
        violations: Rules that were broken.
        seconds: How long it took.
    """

    kinds: set[str]
    suggestions: int = 0
    modelled: int = 0
    fallbacks: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0


def definition(rng: random.Random, seed: int) -> tuple[dict[str, Any], dict[str, str], set[str]]:
    """A random sweep, the kind of outcome of each of its metrics, and what it holds."""
    chosen = [rng.choice(list(KINDS)) for _ in range(rng.randint(1, 6))]
    declared = [KINDS[kind](rng) for kind in chosen]
    kinds, parameters = set(chosen), {}
    for i, (spec, _) in enumerate(declared):
        parameters[f"p{i}"] = spec
        if i and rng.random() < 0.3:
            parent = rng.randrange(i)
            test = declared[parent][1].format(f"p{parent}")
            parameters[f"p{i}"] = {**spec, "when": test if rng.random() < 0.5 else f"not ({test})"}
            kinds.add("conditions")
    sweep: dict[str, Any] = {"name": f"nasty-{seed}", "parameters": parameters, "seed": seed}
    if rng.random() < 0.4:
        sweep["restrictions"] = [declared[0][1].format("p0")]
        kinds.add("restrictions")
    n_goals = rng.choice([1, 1, 1, 2, 2, 3, 4, 5])
    shapes = {f"f{j}": rng.choice(list(OUTCOMES)) for j in range(n_goals)}
    metrics: dict[str, Any] = {name: rng.choice(["minimize", "maximize"]) for name in shapes}
    for j in range(rng.choice([0, 0, 1, 2]) if n_goals < 5 else 0):
        shapes[f"g{j}"] = rng.choice(["smooth", "smooth", *OUTCOMES])
        metrics[f"g{j}"] = {"max": rng.choice([0.5, 0.01])}
        kinds |= {"constraints", RARE} if metrics[f"g{j}"]["max"] == 0.01 else {"constraints"}
    sweep["metrics"] = metrics
    method = rng.choice(["gp", "auto"])
    sweep["search"] = {"method": "gp", "initial": rng.randint(2, 5)} if method == "gp" else "auto"
    sweep["budget"] = {"trials": 1000 if rng.random() < 0.2 else rng.choice([8, 20, 24])}
    if rng.random() < 0.15:
        sweep["repeats"] = {"n": 2}
        kinds.add("replicates")
    return sweep, shapes, kinds | set(shapes.values()) | {method, f"{n_goals} goals" if n_goals > 1 else "1 goal"}


class NastyStudy:
    """One random study of at most `most` trials, played from its seed."""

    def __init__(self, seed: int, most: int) -> None:
        self._rng = random.Random(seed)
        sweep, self._shapes, kinds = definition(self._rng, seed)
        self.report = Report(kinds)
        self._failing = self._with("failed trials", 0.4) and self._rng.choice([0.1, 0.4, 0.95])
        self._nan = self._with("NaN metrics", 0.3) and 0.2
        self._repeated = self._with("duplicated points", 0.3) and 0.3
        self._pending = self._with("pending points", 0.3)
        self._trials = min(self._rng.choice([4, 12, 16, 20]), most)
        if self._trials == 4:
            kinds.add("few trials")
        self._study = Study.create(sweep)
        self._weights = [self._rng.random() for _ in range(self._study.problem.space.encoding.dim)]
        self._tried: set[bytes] = set()
        self._again = 0

    def _with(self, kind: str, share: float) -> bool:
        if self._rng.random() >= share:
            return False
        self.report.kinds.add(kind)
        return True

    def play(self) -> Report:
        """Ask and tell until the trials are used up."""
        started = time.perf_counter()
        try:
            while self.report.suggestions < self._trials:
                proposals = self._ask(3 if self._pending else 1)
                if not proposals:
                    break
                for proposal in proposals[:1] if self._pending and self._rng.random() < 0.7 else proposals:
                    self._answer(proposal)
        except Exception as error:
            self.report.violations.append(f"{type(error).__name__}: {error}")
        self.report.seconds = time.perf_counter() - started
        return self.report

    def _ask(self, n: int) -> list[Proposal]:
        study, space = self._study, self._study.problem.space
        try:
            proposals = study.ask(n) if n > 1 else [study.ask()]
        except ExhaustedError:
            proposals = []
        for proposal in proposals:
            key = space.key(proposal.config)
            self._judge(proposal, key in self._tried)
            self._tried.add(key)
        if len(proposals) < n and study.exhausted:
            self._check_exhausted()
        return proposals

    def _judge(self, proposal: Proposal, tried: bool) -> None:
        report, problem, provenance = self.report, self._study.problem, proposal.provenance
        space = problem.space
        self._again += proposal.again
        report.suggestions += 1
        report.modelled += provenance.acquisition is not None
        if "failed with" in provenance.reason or "the model failed" in provenance.reason:
            report.fallbacks.append(provenance.reason)
        for broken, rule in (
            (not space.contains(proposal.config), "lies outside the space"),
            (not space.feasible(proposal.config), "breaks a restriction"),
            (tried and not proposal.again and not replicates(problem), "was tried before"),
            (proposal.again and not tried, "is said to be tried again, but is new"),
            (proposal.again and self._again > 1, "is tried again, although one was"),
        ):
            if broken:
                report.violations.append(f"trial {proposal.trial} {rule}: {proposal.config}")

    def _check_exhausted(self) -> None:
        space = self._study.problem.space
        several = space.size() > 100_000  # restrictions may leave few of them, or conditions
        some = space.sample(300, np.random.default_rng(0)) if several else space.enumerate()
        rest = [c for c in some if space.feasible(c) and space.key(c) not in self._tried]
        if rest:
            self.report.violations.append(f"exhausted, but {len(rest)} configurations are untried")

    def _answer(self, proposal: Proposal) -> None:
        study, rng = self._study, self._rng
        metrics = self._measure(proposal.config)
        if rng.random() < self._failing:
            study.fail(proposal.trial, rng.choice(["crash", "oom_gpu", "timeout"]), "nasty")
            return
        if rng.random() < self._nan:
            metrics[rng.choice(list(metrics))] = rng.choice([math.nan, math.inf, -math.inf])
        study.tell(proposal.trial, metrics)
        if rng.random() < self._repeated:
            study.add(proposal.config, self._measure(proposal.config))

    def _measure(self, config: Config) -> dict[str, float]:
        x = self._study.problem.space.encoding.encode(config)[0]
        metrics = {}
        for j, (name, shape) in enumerate(self._shapes.items()):
            gaps = [w * abs(float(v) - (0.2 + 0.15 * j)) for v, w in zip(x, self._weights, strict=True)]
            u = min(sum(gaps) / max(sum(self._weights), 1e-9), 1.0)
            metrics[name] = OUTCOMES[shape](u, self._rng)
        return metrics


def play(seed: int, *, most: int = 20) -> Report:
    """The report of the study of one seed, of at most so many trials."""
    try:
        return NastyStudy(seed, most).play()
    except Exception as error:
        return Report({"creation"}, violations=[f"{type(error).__name__}: {error}"])


def table(reports: list[Report]) -> str:
    """Studies, suggestions, suggestions by a model, fallbacks and violations of each kind."""
    lines = [f"{'kind':28} studies suggested  by model fell back violated"]
    for kind in ["all", *sorted(set(itertools.chain(*(report.kinds for report in reports))))]:
        own = [report for report in reports if kind == "all" or kind in report.kinds]
        counts = [
            len(own),
            sum(report.suggestions for report in own),
            sum(report.modelled for report in own),
            sum(len(report.fallbacks) for report in own),
            sum(len(report.violations) for report in own),
        ]
        lines.append(f"{kind:28}" + "".join(f"{count:>8} " for count in counts).rstrip())
    return "\n".join(lines)
