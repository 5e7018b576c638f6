"""The warm start inside `gp`: what the studies it starts from do to what it predicts and proposes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner

SWEEP: dict[str, Any] = {
    "metrics": {"loss": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}, "k": {"values": ["a", "b"]}},
    "search": "gp",
    "budget": {"trials": 40},
}


def bowl(config: dict[str, Any]) -> float:
    return float(9 * (config["x"] - 0.3) ** 2 + np.sin(6 * config["y"]) + (config["k"] == "b"))


def earlier(folder: Path, sign: float) -> str:
    with tuner.Study.create({**SWEEP, "name": "earlier", "search": "sobol", "budget": {"trials": 60}}, folder) as study:
        for proposal in study.ask(50):
            study.tell(proposal.trial, {"loss": 5 * sign * bowl(proposal.config) + 2})
    return str(folder)


def advance(study: tuner.Study, n: int) -> list[dict[str, Any]]:
    configs = []
    for _ in range(n):
        proposal = study.ask()
        study.tell(proposal.trial, {"loss": bowl(proposal.config)})
        configs.append(proposal.config)
    return configs


def errors(study: tuner.Study) -> list[float]:
    """How far off the predictions of proposals by model were."""
    records = [record for record in study.records() if record.provenance.engine == "gp"]
    return [abs(record.provenance.mean["loss"] - record.metrics["loss"]) for record in records]


def test_predictions_are_better_with_a_study_that_agrees(tmp_path: Path) -> None:
    found = []
    for warm in ([], [earlier(tmp_path / "agrees", 1.0)]):
        study = tuner.Study.create({**SWEEP, "warm_start": warm})
        advance(study, 12)
        found.append((float(np.mean(errors(study))), study.best().metrics["loss"]))  # type: ignore[union-attr]
    (cold, cold_best), (warm_error, warm_best) = found
    assert warm_error < 0.5 * cold
    assert warm_best <= cold_best


def test_a_study_that_contradicts_only_costs_its_first_tries(tmp_path: Path) -> None:
    warm = [earlier(tmp_path / "contradicts", -1.0)]
    study, cold = tuner.Study.create({**SWEEP, "warm_start": warm}), tuner.Study.create(SWEEP)
    advance(study, 16)
    advance(cold, 16)
    assert study.best().metrics["loss"] == pytest.approx(cold.best().metrics["loss"], abs=0.05)  # type: ignore[union-attr]


def test_a_continued_study_proposes_the_same(tmp_path: Path) -> None:
    sweep = {**SWEEP, "warm_start": [earlier(tmp_path / "agrees", 1.0)]}
    with tuner.Study.create(sweep, tmp_path / "whole") as study:
        whole = advance(study, 9)
    with tuner.Study.create(sweep, tmp_path / "cut") as study:
        parts = advance(study, 6)
    with tuner.Study.open(tmp_path / "cut") as study:
        parts += advance(study, 3)
    assert parts == whole
