"""Turns: which proposals of `gp` are made within a trust region."""

from __future__ import annotations

import numpy as np
import pytest

from tests.strategy_problems import Lab, build, make_problem
from tuner.parameters import Choice, Float, Parameter, Permutation
from tuner.space import SearchSpace

NUMBERS: list[Parameter] = [Float(f"x{j}", low=0.0, high=1.0) for j in range(5)]
LETTERS: list[Parameter] = [Choice(f"c{j}", values=("a", "b", "c")) for j in range(5)]


def local_numbers(parameters: list[Parameter], objectives: int = 1) -> list[int]:
    """After how many finished trials, from 8 to 15, a proposal came from within a region."""
    lab = Lab(make_problem(SearchSpace(parameters), objectives=objectives))
    rng = np.random.default_rng(0)
    found = []
    for config in lab.problem.space.sample(16, rng):
        if len(lab.trials) >= 8:
            strategy = build("gp", lab.problem, initial=4, fit_steps=5, restarts=1, raw_samples=32)
            reason = strategy.suggest(lab.history(), 1, rng)[0].provenance.reason
            found += [len(lab.trials)] if "trust region" in reason else []
        lab.add(config)
    return found


@pytest.mark.parametrize(
    ("parameters", "numbers"),
    [
        pytest.param(NUMBERS, [9, 11, 13, 15], id="numbers"),
        pytest.param([*NUMBERS[:4], LETTERS[0]], [], id="mixed"),
        pytest.param(LETTERS, [], id="no order at all"),
        pytest.param(NUMBERS[:4], [], id="few columns"),
        pytest.param([*NUMBERS, Permutation("order", items=("a", "b", "c"))], [], id="a permutation"),
    ],
)
def test_one_objective_of_many_numeric_columns_is_searched_by_turns(
    parameters: list[Parameter], numbers: list[int]
) -> None:
    assert local_numbers(parameters) == numbers


def test_several_objectives_have_no_turns() -> None:
    assert local_numbers(NUMBERS, objectives=2) == []


@pytest.mark.parametrize("strategy", ["gp", "turbo"])
@pytest.mark.parametrize(
    ("parameters", "objectives", "low", "high"),
    [
        pytest.param(NUMBERS, 1, 0.25, 0.75, id="numbers"),
        pytest.param(NUMBERS[:4], 1, 0.0, 1.0, id="few columns"),
        pytest.param([*NUMBERS, LETTERS[0]], 1, 0.25, 0.75, id="mixed"),
        pytest.param(NUMBERS, 2, 0.0, 1.0, id="two objectives"),
    ],
)
def test_the_design_of_many_numbers_lies_in_the_middle_half_of_each(
    strategy: str, parameters: list[Parameter], objectives: int, low: float, high: float
) -> None:
    problem = make_problem(SearchSpace(parameters), objectives=objectives)
    design = build(strategy, problem, initial=32).suggest(Lab(problem).history(), 32, np.random.default_rng(0))
    values = np.array([[value for name, value in proposal.config.items() if name[0] == "x"] for proposal in design])
    assert low <= values.min() < low + 0.1
    assert high - 0.1 < values.max() <= high
    assert {proposal.config.get("c0") for proposal in design} in ({None}, {"a", "b", "c"})
