"""A settled search looks outside the incumbent's basin, and one that sees noise finds out."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

import tuner
from tuner.noise import is_noisy
from tuner.trial import Config

QUICK = {"fit_steps": 15, "restarts": 2, "raw_samples": 64, "mc_samples": 8, "maxiter": 10}


def play(value: Callable[[Config], float], trials: int, search: Any, parameters: dict[str, Any]) -> tuner.Study:
    study = tuner.Study.create(
        {
            "name": "play",
            "parameters": parameters,
            "metrics": {"y": {"goal": "minimize"}},
            "search": search,
            "budget": {"trials": trials},
        }
    )
    for _ in range(trials):
        proposal = study.ask()
        study.tell(proposal.trial, {"y": value(proposal.config)})
    return study


def reasons(study: tuner.Study) -> list[str]:
    return [record.provenance.reason for record in study.records()]


LURE: dict[str, Any] = {
    "method": {"values": ["a", "b", "c", "d"]},
    "x": {"min": 0.0, "max": 1.0},
    "z": {"min": 0.0, "max": 1.0},
}


def lure(config: Config) -> float:
    """0.3 at best, with x at 0.2; but for method d, which has its 0 in a narrow well at 0.8."""
    off = config["x"] - (0.8 if config["method"] == "d" else 0.2)
    return (0.0 if config["method"] == "d" else 0.3) + math.log1p(100 * off**2) / 4 + (config["z"] - 0.5) ** 2


def test_a_settled_search_jumps_out_of_its_basin() -> None:
    study = play(lure, 40, {"method": "gp", **QUICK}, LURE)
    jumps = [number for number, reason in enumerate(reasons(study)) if "a jump out of" in reason]
    assert jumps
    best = study.best()
    assert best is not None
    assert best.config["method"] == "d"
    assert best.metrics["y"] < 0.05


BRANCHES: dict[str, Any] = {
    "method": {"values": ["a", "b", "c"]},
    "x": {"min": 0.0, "max": 1.0, "when": "method != 'c'"},
    **{f"z{j}": {"min": 0.0, "max": 1.0, "when": "method == 'c'"} for j in range(4)},
}


def branches(config: Config) -> float:
    """0.3 at best, soon found; but for method c, which has its 0 where all its columns are at 0.85."""
    if config["method"] == "c":
        return float(np.mean([abs(config[f"z{j}"] - 0.85) for j in range(4)]))
    return 0.3 + (config["x"] - 0.6) ** 2 + (0.1 if config["method"] == "b" else 0.0)


def test_a_jump_into_another_branch_moves_all_of_its_columns() -> None:
    study = play(branches, 40, {"method": "gp", **QUICK}, BRANCHES)
    jumps = [record for record in study.records() if "a jump out of" in record.provenance.reason]
    there = [record.config for record in jumps if record.config["method"] == "c"]
    assert any(all(abs(config[f"z{j}"] - 0.5) > 0.1 for j in range(4)) for config in there)
    best = study.best()
    assert best is not None
    assert best.config["method"] == "c"
    assert best.metrics["y"] < 0.1


def test_a_search_that_still_gains_does_not_jump() -> None:
    steps = iter(range(100))
    study = play(lambda config: -float(next(steps)), 24, {"method": "gp", **QUICK}, LURE)
    assert not any("a jump out of" in reason for reason in reasons(study))


def test_many_numbers_are_searched_by_turns_everywhere_and_around_the_best() -> None:
    for columns, turns in ((5, [7, 9, 11]), (4, [])):
        space = {f"x{j}": {"min": 0.0, "max": 1.0} for j in range(columns)}
        search = {"method": "gp", "initial": 6, **QUICK}
        study = play(lambda c: (c["x0"] - 0.3) ** 2 + c["x1"], 13, search, space)
        assert [n for n, reason in enumerate(reasons(study)) if "trust region of length" in reason] == turns


def test_the_design_shows_every_value_of_a_choice_more_than_once() -> None:
    study = play(lure, 60, {"method": "gp", **QUICK}, LURE)
    design = [r.config["method"] for r in study.records() if "initial design" in r.provenance.reason]
    assert len(design) == 9
    assert min(design.count(value) for value in "abcd") >= 2


def test_auto_repeats_one_configuration_when_it_sees_noise() -> None:
    rng = np.random.default_rng(3)
    noisy = play(
        lambda config: (config["x"] - 0.3) ** 2 + 0.1 * rng.normal(), 30, "auto", {"x": LURE["x"], "z": LURE["z"]}
    )
    repeats = [reason for reason in reasons(noisy) if "tried twice" in reason]
    assert len(repeats) == 1
    assert is_noisy(noisy.history)
    assert noisy.recommendation() is not None


def test_auto_repeats_nothing_of_a_smooth_function() -> None:
    study = play(lambda config: (config["x"] - 0.3) ** 2 + config["z"], 20, "auto", {"x": LURE["x"], "z": LURE["z"]})
    assert study.history.n_seen == 20
    assert not is_noisy(study.history)


def test_what_duplicates_are_for_is_the_users_to_say() -> None:
    rng = np.random.default_rng(3)
    search = {"method": "auto", "duplicates": "reject"}
    study = play(lambda config: config["x"] + 0.3 * rng.normal(), 24, search, {"x": LURE["x"], "z": LURE["z"]})
    assert study.history.n_seen == 24


def test_sizes_that_no_good_trial_had_are_not_beyond_what_is_wanted() -> None:
    """Loss falls with size; trials larger than the baseline fail at first. The front reaches beyond the baseline."""
    study = tuner.Study.create(
        {
            "name": "sizes",
            "parameters": {"layers": {"min": 1, "max": 8}, "x": {"min": 0.0, "max": 1.0}},
            "metrics": {"loss": "minimize", "size": {"goal": "minimize", "formula": "layers * 10"}},
            "baseline": {"layers": 4, "x": 0.5},
            "search": {"method": "gp", "initial": 8, **QUICK},
            "budget": {"trials": 20},
        }
    )
    for number in range(20):
        proposal = study.ask()
        if number < 8 and proposal.config["layers"] > 4:
            study.fail(proposal.trial, "timeout", "the machine was busy")
        else:
            study.tell(proposal.trial, {"loss": 1 / proposal.config["layers"] + (proposal.config["x"] - 0.5) ** 2})
    assert max(record.metrics["size"] for record in study.pareto()) > 44  # beyond the corner that 40 gives
