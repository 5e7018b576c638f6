"""The suite: every problem by name, and choosing among them."""

from __future__ import annotations

import difflib
import functools
import re
from collections.abc import Mapping, Sequence

from tuner.bench.problem import CLASSES, BenchProblem
from tuner.bench.problems import (
    combinatorial,
    conditional,
    constrained,
    continuous,
    mixed,
    multi_fidelity,
    noisy,
    outside,
    several,
)
from tuner.errors import EnvironmentUnfitError, UnknownNameError

_MODULES = (continuous, mixed, conditional, combinatorial, constrained, several, noisy, multi_fidelity, outside)


@functools.cache
def suite() -> Mapping[str, BenchProblem]:
    """Name -> problem, by class."""
    return {problem.name: problem for module in _MODULES for problem in module.problems()}


def select(words: Sequence[str]) -> list[BenchProblem]:
    """The problems that the words name, each word a split (dev, held-out, outside, all), a class, or a problem.

    `dev` and a class together mean the class within dev: `dev,mixed`. A class alone and `all` are our own problems.

    Raises:
        UnknownNameError: A word is none of these.
        EnvironmentUnfitError: It is `outside`, and ioh is not installed.
    """
    splits = [word for word in words if word in ("dev", "held-out", "outside", "all")]
    kinds = [word for word in words if word in CLASSES]
    names = [word for word in words if word not in splits and word not in kinds]
    if ("outside" in splits or any(re.match(r"(bbob|pbo)-\d", name) for name in names)) and not outside.problems():
        raise EnvironmentUnfitError("the outside problems need ioh; install it with `pip install tuner[bench]`")
    for name in names:
        if name not in suite():
            near = difflib.get_close_matches(name, suite(), 1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            known = f"dev, held-out, outside, all, a class ({', '.join(CLASSES)}) or a name of `tuner bench --list`"
            raise UnknownNameError(f"there is no benchmark problem {name!r}{hint} (known: {known})")
    chosen = []
    for problem in suite().values():
        in_split = problem.split in splits or (problem.split != "outside" and (not splits or "all" in splits))
        if problem.name in names or ((splits or kinds) and in_split and (not kinds or problem.kind in kinds)):
            chosen.append(problem)
    return chosen
