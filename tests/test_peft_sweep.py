"""Sweeps over layouts that share passes: early stopping, fidelities, and going on after an interruption."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tuner.errors import SweepError
from tuner.objective import ObjectiveRef, load_objective
from tuner.study import Study
from tuner.trial import Trial

MODULE = """
from tuner.objectives.peft import models
from tuner.objectives.peft.encoder import random_encoder
from tuner.objectives.peft.peft import Peft, Settings

models.load = lambda folder: random_encoder(models.shape_of(folder), 0)
models.tokenizer = lambda folder: lambda lines, most: [[1, *(2 + len(w) for w in line.split())] for line in lines]


class Tiny(Peft):
    def __init__(self, **options):
        super().__init__(Settings(**options))
"""

SHAPE = {
    "model_type": "bert",
    "num_hidden_layers": 2,
    "hidden_size": 16,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 32,
    "vocab_size": 100,
}


@pytest.fixture
def options(tmp_path: Path) -> dict[str, Any]:
    (tmp_path / "tiny_layouts.py").write_text(MODULE)
    (tmp_path / "config.json").write_text(json.dumps(SHAPE))
    rng = np.random.default_rng(0)
    lengths = rng.integers(1, 12, (120, 6))
    rows = [f"{' '.join('x' * n for n in row)},{'yes' if row[0] > row[1] else 'no'}" for row in lengths.tolist()]
    (tmp_path / "own.csv").write_text("text,label\n" + "\n".join(dict.fromkeys(rows)))
    own = {"model": str(tmp_path), "data": str(tmp_path / "own.csv"), "space": "autopeft", "tokens": 16}
    return {**own, "examples": 32, "validation": 24, "epochs": 4, "batch": 8}


def sweep(options: Mapping[str, Any], folder: Path, **more: Any) -> dict[str, Any]:
    return {
        "objective": {"name": "tiny_layouts:Tiny", **options},
        "base_dir": str(folder),
        "search": "random",
        "runner": {"batch": 4, "cpus": 1},
        **more,
    }


def alone(options: Mapping[str, Any], folder: Path, study: Study, trial: int) -> list[float]:
    """The losses of a trial that shares a pass with nobody."""
    record, losses = study.read(trial), []

    def send(step: int | None, values: Mapping[str, float]) -> bool:
        losses.append(values["loss"])
        return False

    objective = load_objective(ObjectiveRef(name="tiny_layouts:Tiny", options=options, folder=folder))
    objective.evaluate(record.config, Trial(number=trial, seed=record.seed, send=send))
    return losses


def test_what_a_rule_stops_ends_at_its_rung_and_the_others_go_on(options: dict[str, Any], tmp_path: Path) -> None:
    fidelity = {"parameter": "epochs", "min": 1, "max": 4}
    asked = sweep(options, tmp_path, fidelity=fidelity, early_stop={"rule": "asha", "eta": 2, "protect": False})
    tuner.run({**asked, "budget": {"trials": 4}}, tmp_path / "study").close()
    with tuner.run({**asked, "budget": {"trials": 10}}, tmp_path / "study") as study:  # it goes on
        records = list(study.records())
        assert len(records) == 10
        ends = {record.trial: [step for step, _ in study.reports(record.trial)] for record in records}
        stopped = {record.trial for record in records if record.state == "pruned"}
        assert 3 <= len(stopped) <= 8
        assert all(record.state == "completed" for record in records if record.trial not in stopped)
        assert all(ends[trial] in ([1], [1, 2]) for trial in stopped)
        assert all(ends[trial] == [1, 2, 3, 4] for trial in ends.keys() - stopped)
        for trial in (min(ends.keys() - stopped), max(ends.keys() - stopped), min(stopped)):
            told = [values["loss"] for _, values in study.reports(trial)]
            # float32, 16 steps, sums in another order; the loss is near 0.7
            np.testing.assert_allclose(told, alone(options, tmp_path, study, trial)[: len(told)], atol=1e-5)


def test_a_fidelity_is_all_that_the_objective_has(options: dict[str, Any], tmp_path: Path) -> None:
    def made(parameter: str, most: int) -> None:
        fidelity = {"parameter": parameter, "min": 1, "max": most}
        tuner.Study.create(sweep(options, tmp_path, fidelity=fidelity), tmp_path / f"{parameter}{most}").close()

    made("epochs", 4)
    with pytest.raises(SweepError, match=r"fidelity.max: must be 4, which is all of the objective's epochs, but got 9"):
        made("epochs", 9)
    with pytest.raises(SweepError, match=r"unknown parameter \"examples\"; known: epochs, layers"):
        made("examples", 32)
