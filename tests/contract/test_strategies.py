"""What every registered strategy must do, whatever its method."""

from __future__ import annotations

import copy
import random
from typing import Any

import numpy as np
import pytest

from tests.strategy_problems import SPACES, Lab, all_kinds, build, conditional, make_problem, numeric, restricted, tiny
from tuner import catalog
from tuner.errors import UsageError
from tuner.problem import Problem
from tuner.randomness import generator
from tuner.trial import Answer, Config, Proposal

ONLINE = {"chebcb", "thompson", "tsallis-inf", "ucb"}
"""Strategies that choose among few arms again and again: tests/test_online.py says what they must do."""
NAMES = [name for name in catalog.names("strategies") if name not in ONLINE]
SINGLE = {"cmaes"}
"""Strategies that take one objective only, and say so."""


@pytest.fixture(params=NAMES)
def name(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def prepared(problem: Problem, n: int = 6) -> Lab:
    """A study with `n` completed trials, drawn from the space."""
    lab = Lab(problem)
    for config in distinct(problem, n):
        lab.add(config)
    return lab


def distinct(problem: Problem, n: int) -> list[Config]:
    drawn = {problem.space.key(c): c for c in problem.space.sample(20 * n, np.random.default_rng(7))}
    return list(drawn.values())[:n]


def check(lab: Lab, proposals: list[Proposal]) -> None:
    """In the space, honouring restrictions, new, and by a model that did not fail."""
    space, history = lab.problem.space, lab.history()
    keys = [space.key(proposal.config) for proposal in proposals]
    assert len(set(keys)) == len(keys)
    for proposal in proposals:
        assert space.contains(proposal.config), proposal.config
        assert space.feasible(proposal.config), proposal.config
        assert not history.seen(proposal.config) or proposal.origin is not None, proposal.config
        assert proposal.provenance.engine in NAMES
        assert "failed (" not in str(proposal.provenance.reason), proposal.provenance.reason


def global_generators() -> tuple[object, ...]:
    """What the global generators hold, as text: nobody may draw from them."""
    import torch

    return repr(np.random.get_state()), random.getstate(), torch.get_rng_state().tolist(), torch.get_num_threads()


def points(proposals: list[Proposal]) -> list[Config]:
    return [proposal.config for proposal in proposals]


@pytest.mark.parametrize("space", sorted(SPACES))
def test_proposals_lie_in_the_space_and_are_new(name: str, space: str) -> None:
    lab = prepared(make_problem(SPACES[space]()), 4)
    strategy = build(name, lab.problem)
    for n in (1, 2):
        proposals = lab.ask(strategy, n)
        assert len(proposals) == n
        check(lab, proposals)
        for proposal in proposals:
            lab.add(proposal.config)


def test_an_empty_history_is_a_start(name: str) -> None:
    lab = Lab(make_problem(all_kinds()))
    proposals = lab.ask(build(name, lab.problem), 3)
    assert len(proposals) == 3
    check(lab, proposals)


def test_the_seed_reproduces_and_another_seed_differs(name: str) -> None:
    runs = []
    for seed in (1, 1, 2):
        lab = Lab(make_problem(numeric(), seed=seed))
        runs.append(lab.run(build(name, lab.problem), 4))
    assert runs[0] == runs[1]
    assert runs[0] != runs[2]


@pytest.mark.parametrize("space", [numeric, conditional])
def test_a_fresh_instance_proposes_what_the_old_one_did_at_every_cut(name: str, space: Any) -> None:
    problem = make_problem(space(), seed=3)
    lab = Lab(problem)
    configs = lab.run(build(name, problem), 9)
    for cut in range(9):
        assert points(lab.ask(build(name, problem), upto=cut)) == [configs[cut]]


def test_a_fresh_instance_agrees_when_trials_finish_out_of_order(name: str) -> None:
    problem = make_problem(numeric(), parallel=3)
    lab, kept = prepared(problem, 5), build(name, problem)
    running: list[int] = []
    for step in range(5):
        (proposal,) = lab.ask(kept)
        assert points(lab.ask(build(name, problem))) == [proposal.config]
        running.append(lab.add(proposal.config, state="pending"))
        if step % 2:
            lab.finish(running.pop(len(running) // 2), "failed" if step == 3 else "completed")


def test_an_instance_that_meets_another_history_starts_over(name: str) -> None:
    problem = make_problem(numeric())
    used, first, second = build(name, problem), prepared(problem, 6), Lab(problem)
    first.run(used, 2)
    for config in distinct(problem, 9)[::-1]:
        second.add(config)
    assert points(second.ask(used)) == points(second.ask(build(name, problem)))
    assert points(first.ask(used, upto=5)) == points(first.ask(build(name, problem), upto=5))


def test_answers_about_trials_are_taken_as_part_of_the_history(name: str) -> None:
    if name in SINGLE:
        pytest.skip("one objective leaves nothing to prefer")
    problem = make_problem(conditional(), objectives=2, seed=3)
    lab, kept = prepared(problem, 5), build(name, problem)
    lab.answers = [Answer(0, 1), Answer(2, 3, equal=True), Answer(3, 0), Answer(1, 3), Answer(6, 2), Answer(2, 99)]
    proposed = [lab.ask(kept)]
    while len(lab.trials) < 8:
        for proposal in proposed[-1]:
            lab.add(proposal.config, fidelity=proposal.fidelity, origin=proposal.origin)
        proposed.append(lab.ask(kept))
    for cut, proposals in enumerate(proposed, start=5):
        check(lab, proposals) if cut == len(lab.trials) else None
        assert points(lab.ask(build(name, problem), upto=cut)) == points(proposals)


def test_suggest_changes_nothing(name: str) -> None:
    lab = prepared(make_problem(restricted(), constraint=True), 6)
    lab.add(distinct(lab.problem, 8)[-1], state="pending")
    history, trials = lab.history(), copy.deepcopy(lab.trials)
    arrays = {key: np.array(getattr(history, key)) for key in ("X", "active", "Y", "C", "state", "number", "pending_X")}
    generators = global_generators()
    build(name, lab.problem).suggest(history, 2, generator(0, history.next_trial))
    for key, before in arrays.items():
        assert np.array_equal(getattr(history, key), before, equal_nan=key in "YC")
    assert lab.trials == trials
    assert global_generators() == generators


def test_failed_pruned_and_infeasible_trials_are_survived(name: str) -> None:
    problem = make_problem(conditional(), constraint=True)
    lab = Lab(problem)
    states = ["failed", "completed", "pruned", "completed", "infeasible", "completed", "failed", "completed"]
    for config, state in zip(distinct(problem, len(states)), states):
        lab.add(config, state=state)
    proposals = lab.ask(build(name, problem), 2)
    assert len(proposals) == 2
    check(lab, proposals)


@pytest.mark.parametrize("state", ["failed", "pruned"])
def test_nothing_but_failures_is_survived(name: str, state: str) -> None:
    problem = make_problem(numeric())
    lab = Lab(problem)
    for config in distinct(problem, 7):
        lab.add(config, state=state)
    check(lab, lab.ask(build(name, problem), 1))


def test_extreme_and_constant_values_are_survived(name: str) -> None:
    problem = make_problem(numeric(), constraint=True)
    for values in ([1.0] * 8, [1e300, -1e300, 0.0, 1e-300, 5.0, -1.0, 1e9, -1e9]):
        lab = Lab(problem)
        for config, value in zip(distinct(problem, 8), values):
            lab.add(config, metrics={"f0": value, "g": -value})
        check(lab, lab.ask(build(name, problem), 1))


@pytest.mark.parametrize("objectives", [2, 5])
def test_several_objectives_work_or_are_refused_with_an_alternative(name: str, objectives: int) -> None:
    problem = make_problem(numeric(), objectives=objectives, constraint=True)
    if name in SINGLE:
        with pytest.raises(UsageError, match="use gp, tpe"):
            build(name, problem)
        return
    lab = prepared(problem, 6)
    check(lab, lab.ask(build(name, problem), 2))


def test_nothing_feasible_yet_is_survived(name: str) -> None:
    problem = make_problem(numeric(), constraint=True)
    lab = Lab(problem)
    for i, config in enumerate(distinct(problem, 6)):
        lab.add(config, metrics={"f0": 2.0 + i, "g": 1.0 + i})
    check(lab, lab.ask(build(name, problem), 1))


def test_pending_trials_are_not_proposed_again(name: str) -> None:
    problem = make_problem(tiny())
    lab = Lab(problem)
    strategy = build(name, problem)
    while len(lab.trials) < 7:
        proposals = lab.ask(strategy, 2)
        assert proposals
        check(lab, proposals)
        for i, proposal in enumerate(proposals):
            lab.add(proposal.config, state="pending" if i else "completed")
    assert lab.ask(strategy, 2) == []


def test_an_exhausted_space_gives_fewer_and_then_nothing(name: str) -> None:
    problem = make_problem(tiny())
    lab = prepared(problem, 5)
    strategy = build(name, problem)
    rest = lab.ask(strategy, 5)
    assert len(rest) == 2
    check(lab, rest)
    for proposal in rest:
        lab.add(proposal.config)
    assert lab.ask(strategy, 1) == []
