"""asha, hyperband and halving: who goes on is known in small cases; slots are never idle; checkpoints are handed on."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tests.strategy_problems import Lab, make_problem, numeric
from tuner.errors import UsageError
from tuner.fidelity import ladder
from tuner.strategies.bandit.brackets import Bracket, hyperband_plan
from tuner.strategies.bandit.rungs import best_first
from tuner.study import Study
from tuner.trial import Outcome, Proposal, Trial

METHODS = ["asha", "hyperband", "halving", "bohb"]


def sweep(method: Any, epochs: Any = 9, least: float = 1, most: float = 9, **changes: Any) -> dict[str, Any]:
    return {
        "name": "climb",
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "epochs": epochs},
        "metrics": {"score": "maximize"},
        "fidelity": {"parameter": "epochs", "min": least, "max": most},
        "search": method,
        "budget": {"trials": 500},
        **changes,
    }


def score(proposal: Proposal) -> float:
    """Best at x = 0.7; less fidelity sees it through some noise that is its own."""
    assert proposal.fidelity is not None
    noise = np.random.default_rng([int(1e9 * proposal.config["x"]), int(proposal.fidelity)]).normal()
    return float(-((proposal.config["x"] - 0.7) ** 2) + 0.1 * noise / proposal.fidelity)


def tell(study: Study, proposal: Proposal) -> None:
    study.tell(proposal.trial, {"score": score(proposal)})


def one_by_one(study: Study, n: int) -> list[Proposal]:
    found = []
    for _ in range(n):
        found.append(study.ask())
        tell(study, found[-1])
    return found


# --- levels and plans ---


@pytest.mark.parametrize(
    ("low", "high", "eta", "values"),
    [
        (1, 27, 3, (1, 3, 9, 27)),
        (9, 729, 3, (9, 27, 81, 243, 729)),
        (1, 100, 3, (1, 4, 11, 33, 100)),  # whole numbers where the ends are
        (0.5, 5.0, 3, (5 / 9, 5 / 3, 5.0)),
        (1, 16, 4, (1, 4, 16)),
    ],
)
def test_levels_are_powers_of_eta_below_the_most(low: float, high: float, eta: int, values: tuple[float, ...]) -> None:
    study = Study.create(sweep("random", epochs=high, least=low, most=high))
    assert ladder(study.problem, eta).values == pytest.approx(values)


def test_hyperbands_brackets_are_the_published_ones() -> None:
    assert hyperband_plan(5, 3) == (  # budgets 9 to 729 in HpBandSter
        Bracket(0, (81, 27, 9, 3, 1)),
        Bracket(1, (27, 9, 3, 1)),
        Bracket(2, (9, 3, 1)),
        Bracket(3, (6, 2)),
        Bracket(4, (5,)),
    )


# --- asha ---


def test_asha_promotes_as_soon_as_a_third_can_go_on() -> None:
    study = Study.create(sweep("asha"))
    found = one_by_one(study, 40)
    levels = [proposal.fidelity for proposal in found]
    assert levels[:4] == [1, 1, 1, 3]
    by_number = {proposal.trial: proposal for proposal in found}
    for proposal in found:
        if proposal.origin is not None:
            below = by_number[proposal.origin]
            assert below.config == proposal.config
            assert below.fidelity == proposal.fidelity / 3
            earlier = [p for p in found if p.trial < proposal.trial and p.fidelity == below.fidelity]
            better = sum(score(p) > score(below) for p in earlier)
            assert better < len(earlier) // 3, proposal
    counts = Counter(levels)
    assert counts[3] >= counts[1] // 3  # more, where a later one was better than those that had gone on
    assert counts[9] >= counts[3] // 3 >= 3
    assert len({p.origin for p in found if p.origin is not None}) == counts[3] + counts[9]  # each goes on once


def test_a_failed_trial_counts_as_one_that_was_worse() -> None:
    study = Study.create(sweep("asha"))
    first, second, third = (study.ask() for _ in range(3))
    study.fail(first.trial, "crash")
    tell(study, second)
    tell(study, third)
    best = max((second, third), key=score)
    up = study.ask()
    assert (up.fidelity, up.origin) == (3, best.trial)
    assert study.ask().origin is None


# --- hyperband, halving ---


@pytest.mark.parametrize("slots", [1, 4, 50])
def test_hyperband_fills_its_brackets_and_no_slot_waits(slots: int) -> None:
    study, rng = Study.create(sweep("hyperband")), np.random.default_rng(0)
    running: list[Proposal] = []
    found: list[Proposal] = []
    for _ in range(120):
        fresh = study.ask(slots - len(running))
        assert len(fresh) == slots - len(running)
        found += fresh
        running += fresh
        tell(study, running.pop(int(rng.integers(len(running)))))  # any of them ends first
    for proposal in running:
        tell(study, proposal)
    started = Counter(p.fidelity for p in found if p.origin is None)
    assert list(started)[:2] == [1, 3] if slots > 1 else started[1] >= 9
    whole = started[9] // 3  # every three at the top are the last bracket of a cycle of 9, 3 and 3
    assert whole >= 1
    assert started[1] >= 9 * whole
    assert started[3] >= 3 * whole
    by_number = {p.trial: p for p in found}
    groups: dict[int, list[Proposal]] = {}
    for p in found:
        if p.origin is not None:
            assert by_number[p.origin].config == p.config
            groups.setdefault(int(by_number[p.origin].fidelity or 0), []).append(p)
    assert len(groups[1]) % 3 == 0 or slots > 1  # three of every nine


def test_halving_keeps_the_best_third_of_each_rung() -> None:
    study = Study.create(sweep("halving"))
    found = one_by_one(study, 26)
    assert [p.fidelity for p in found] == 2 * ([1] * 9 + [3] * 3 + [9])
    for bracket in (found[:13], found[13:]):
        ranked = sorted(bracket[:9], key=score, reverse=True)
        assert [p.config for p in bracket[9:12]] == [p.config for p in ranked[:3]]
        assert bracket[12].config == max(bracket[9:12], key=score).config
        assert bracket[12].origin in {p.trial for p in bracket[9:12]}


def test_halving_takes_so_many_configurations() -> None:
    study = Study.create(sweep({"method": "halving", "configurations": 4, "eta": 2}, epochs=4, most=4))
    assert [p.fidelity for p in one_by_one(study, 7)] == [1, 1, 1, 1, 2, 2, 4]


# --- every one of them ---


@pytest.mark.parametrize("method", METHODS)
def test_an_interrupted_study_goes_on_as_if_it_had_not_been(method: str, tmp_path: Path) -> None:
    def play(folder: Path, *, interrupted: bool) -> list[tuple[Any, ...]]:
        study, running, found = Study.create(sweep(method), folder), list[Proposal](), []
        for turn in range(60):
            if interrupted and turn % 7 == 3:
                study.close()
                study = Study.open(folder)
            running += study.ask(3 - len(running))
            proposal = running.pop(turn % len(running))
            if turn % 11 == 5:
                study.fail(proposal.trial, "crash")
            else:
                tell(study, proposal)
            found.append((proposal.trial, proposal.config, proposal.fidelity, proposal.origin))
        study.close()
        return found

    whole = play(tmp_path / "whole", interrupted=False)
    assert play(tmp_path / "cut", interrupted=True) == whole
    assert any(origin is not None for *_, origin in whole)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("epochs", [9, {"type": "int", "min": 1, "max": 9}, {"values": [1, 3, 9], "ordered": True}])
def test_a_fidelity_that_is_searched_is_set_in_the_configuration(method: str, epochs: Any) -> None:
    study = Study.create(sweep(method, epochs=epochs))
    found = one_by_one(study, 20)
    assert {p.fidelity for p in found} >= {1, 3}
    assert {p.fidelity for p in found} <= {1, 3, 9}
    if epochs != 9:
        assert all(p.config["epochs"] == p.fidelity for p in found)
    assert all("went wrong" not in p.provenance.reason and p.provenance.engine == method for p in found)


@pytest.mark.parametrize("method", METHODS)
def test_without_a_fidelity_it_says_what_to_add(method: str) -> None:
    bare = {key: value for key, value in sweep(method).items() if key != "fidelity"}
    with pytest.raises(UsageError, match="add `fidelity:"):
        Study.create(bare).check_strategy()
    with pytest.raises(UsageError, match="lower eta or min"):
        Study.create(sweep({"method": method, "eta": 4}, least=3)).check_strategy()


def test_the_best_are_feasible_first_then_on_the_front_then_with_room() -> None:
    lab = Lab(make_problem(numeric(), objectives=2, constraint=True))
    rows = [  # f0 maximised, f1 minimised, g <= 0.9
        {"f0": 9.0, "f1": 0.0, "g": 1.5},  # the best of all, were it feasible
        {"f0": 1.0, "f1": 1.0, "g": 0.5},
        {"f0": 2.0, "f1": 2.0, "g": 0.5},
        {"f0": 2.1, "f1": 2.1, "g": 0.5},
        {"f0": 4.0, "f1": 4.0, "g": 0.5},
        {"f0": 0.5, "f1": 2.0, "g": 0.5},  # dominated
        {"f0": 0.0, "f1": 9.0, "g": 1.0},  # nearly feasible
    ]
    for config, metrics in zip(lab.problem.space.sample(len(rows), np.random.default_rng(0)), rows, strict=True):
        lab.add(config, metrics=metrics)
    order = best_first(lab.history(), np.arange(len(rows))).tolist()
    assert set(order[:2]) == {1, 4}  # the ends of the front
    assert order[2:] == [3, 2, 5, 6, 0]  # 3 has a little more room than 2


def test_an_exhausted_lowest_rung_leaves_promotions() -> None:
    study = Study.create(sweep("asha", parameters={"x": {"values": [0.1, 0.4, 0.7, 0.9]}, "epochs": 9}))
    found = []
    for _ in range(5):
        found += (asked := study.ask(1))
        for proposal in asked:
            tell(study, proposal)
    assert [p.fidelity for p in found] == [1, 1, 1, 3, 1]
    assert study.ask(2) == []


def climb(config: dict[str, Any], trial: Trial) -> dict[str, float]:
    """Counts its epochs in the checkpoint, and what it did itself."""
    assert trial.checkpoint is not None
    file = trial.checkpoint / "state.json"
    done = json.loads(file.read_text()) if file.is_file() else {"epochs": 0, "trials": []}
    own = int(trial.fidelity or 0) - done["epochs"]
    done = {"epochs": done["epochs"] + own, "trials": [*done["trials"], trial.number]}
    file.write_text(json.dumps(done))
    return {"score": -abs(config["x"] - 0.7), "own": own, "links": len(done["trials"])}


def test_a_promoted_trial_continues_from_its_origins_checkpoint(tmp_path: Path) -> None:
    metrics = {"score": "maximize", "own": {"max": 99}, "links": {"max": 99}}
    objective = f"{__name__}:climb"
    definition = sweep("asha", objective=objective, metrics=metrics, budget={"trials": 40}, parallel=2)
    with tuner.run(definition, tmp_path / "s") as study:
        records = {r.trial: r for r in study.records()}
    links = Counter(int(r.metrics["links"]) for r in records.values())
    assert links[2] >= 3
    for record in records.values():
        assert record.metrics["links"] == {1: 1, 3: 2, 9: 3}[int(record.fidelity or 0)]
        below = 0.0 if record.origin is None else records[record.origin].fidelity
        assert record.metrics["own"] == record.fidelity - below


def test_a_stopped_trial_does_not_climb() -> None:
    study = Study.create(sweep("asha"))
    proposals = study.ask(3)
    best = max(proposals, key=score)
    for proposal in proposals:
        state = "pruned" if proposal is best else "completed"
        study.finish(proposal.trial, Outcome(state=state, metrics={"score": score(proposal)}))
    second = max((p for p in proposals if p is not best), key=score)
    assert study.ask().origin == second.trial
