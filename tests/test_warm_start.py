"""Warm start: what is taken of earlier studies with other spaces, what is tried first, and what survives of it."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuner.cli import app
from typer.testing import CliRunner

import tuner
from tuner.errors import SweepError, UsageError
from tuner.problem import Problem
from tuner.sources import comparable

EARLIER: dict[str, Any] = {
    "name": "earlier",
    "metrics": {"loss": "minimize"},
    "parameters": {
        "lr": {"min": 1e-4, "max": 1.0, "log": True},
        "layers": {"min": 1, "max": 8},
        "optim": {"values": ["sgd", "adam"]},
        "epochs": 3,
    },
    "search": "random",
}
LATER: dict[str, Any] = {
    "name": "later",
    "metrics": {"loss": "minimize", "size": {"goal": "minimize", "formula": "layers * width"}},
    "parameters": {
        "lr": {"min": 1e-3, "max": 10.0, "log": True},
        "layers": {"min": 1, "max": 8},
        "optim": {"values": ["lion", "adam", "sgd"]},
        "epochs": {"min": 1, "max": 9},
        "width": {"min": 1, "max": 64},
        "beta": {"min": 0.0, "max": 1.0, "when": "optim == 'adam'"},
    },
    "search": "random",
    "budget": {"trials": 60},
}


def bowl(config: dict[str, Any]) -> float:
    return float(abs(np.log10(config["lr"]) + 1.5) + 0.1 * abs(config["layers"] - 5) + (config["optim"] == "sgd"))


def fill(sweep: dict[str, Any], folder: Path, n: int, value: Callable[[dict[str, Any]], float] = bowl) -> Path:
    """A study with `n` trials."""
    with tuner.Study.create({**EARLIER, **sweep}, folder) as study:
        for proposal in study.ask(n):
            study.tell(proposal.trial, dict.fromkeys(study.sweep.metrics, value(proposal.config)))
    return folder


def told(parameters: dict[str, Any], rows: list[tuple[dict[str, Any], float]], folder: Path, **more: Any) -> Path:
    """A study that holds these configurations and losses."""
    with tuner.Study.create({**EARLIER, "parameters": parameters, **more}, folder) as study:
        for config, loss in rows:
            study.add(config, {"loss": loss})
    return folder


def problem_of(warm: list[Path], **changes: Any) -> Problem:
    with tuner.Study.create({**LATER, **changes, "warm_start": [str(path) for path in warm]}) as study:
        return study.problem


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    return fill({}, tmp_path / "earlier", 40)


# ---- matching


def test_trials_are_carried_over_and_the_best_of_them_tried_first(earlier: Path) -> None:
    with tuner.Study.open(earlier, read_only=True) as there:
        records = [record for record in there.records() if record.config["lr"] >= 1e-3]
    baseline = {"lr": 0.1, "optim": "lion", "width": 16}
    with tuner.Study.create({**LATER, "baseline": baseline, "warm_start": [str(earlier)]}) as study:
        (source,) = study.problem.sources
        space = study.problem.space
        configs = space.encoding.decode_many(source.X)
        assert list(source.number) == [record.trial for record in records]
        for config, y, record in zip(configs, source.Y, records, strict=True):
            centre = {"beta": 0.5} if record.config["optim"] == "adam" else {}
            assert config == {**space.normalise(record.config, partial=True), "epochs": 3, "width": 16, **centre}
            assert list(y) == [-record.metrics["loss"], -record.config["layers"] * 16]
        assert str(source) == (
            f"warm start from earlier: {len(records)} of 40 trials usable ({40 - len(records)} with lr outside of its "
            "values); 3 of 6 parameters matched (missing: epochs, imputed with its constant there; width, imputed with "
            "the baseline's value; beta, imputed with its centre); metrics loss"
        )
        # A third of a design of 6 columns + 1.
        assert [p.provenance.engine for p in study.ask(4)] == ["baseline", "warm", "warm", "random"]


def test_with_one_objective_the_best_is_first(earlier: Path) -> None:
    with tuner.Study.open(earlier, read_only=True) as there:
        usable = [record for record in there.records() if record.config["lr"] >= 1e-3]
    best = min(usable, key=lambda record: record.metrics["loss"])
    sweep = {**LATER, "metrics": {"loss": "minimize"}, "warm_start": [str(earlier)]}
    (p,) = tuner.Study.create(sweep).ask(1)
    assert p.provenance.reason == f"warm start from earlier, trial {best.trial}"
    assert p.config["lr"] == best.config["lr"] and p.config["layers"] == best.config["layers"]


def test_what_is_missing_is_imputed_from_constant_then_baseline_then_prior_then_centre(tmp_path: Path) -> None:
    numbers = {"min": 0, "max": 10}
    source = told({"x": numbers, "a": 7, "far": 99}, [({"x": 2}, 1.0)], tmp_path / "s")
    space = {
        "x": numbers,
        "a": numbers,
        "far": numbers,
        "b": numbers,
        "c": {**numbers, "prior": {"at": 9}},
        "d": numbers,
    }
    with tuner.Study.create(
        {**LATER, "metrics": {"loss": "minimize"}, "parameters": space, "warm_start": [str(source)]}
    ) as study:
        (found,) = study.problem.sources
        config = study.problem.space.encoding.decode(found.X[0])
    assert config == {"x": 2, "a": 7, "far": 5, "b": 5, "c": 9, "d": 5}
    assert dict(found.imputed) == {
        "a": "its constant there",
        "far": "its centre",
        "b": "its centre",
        "c": "its prior",
        "d": "its centre",
    }
    with_baseline = problem_of([source], metrics={"loss": "minimize"}, parameters=space, baseline={"b": 1, "a": 2})
    assert with_baseline.space.encoding.decode(with_baseline.sources[0].X[0])["b"] == 1
    assert with_baseline.space.encoding.decode(with_baseline.sources[0].X[0])["a"] == 7


def test_numbers_go_to_the_nearer_step_and_values_that_are_none_make_a_trial_unusable(tmp_path: Path) -> None:
    rows: list[tuple[dict[str, Any], float]] = [
        ({"x": 0.31, "k": "a"}, 1.0),
        ({"x": 0.49, "k": "b"}, 2.0),
        ({"x": 0.5, "k": "c"}, 3.0),
    ]
    source = told({"x": {"min": 0.0, "max": 1.0}, "k": {"values": ["a", "b", "c"]}}, rows, tmp_path / "s")
    space = {"x": {"min": 0.0, "max": 1.0, "step": 0.25}, "k": {"values": ["c", "a"]}}
    problem = problem_of([source], metrics={"loss": "minimize"}, parameters=space)
    assert problem.space.encoding.decode_many(problem.sources[0].X) == [{"x": 0.25, "k": "a"}, {"x": 0.5, "k": "c"}]
    assert dict(problem.sources[0].unusable) == {"with k outside of its values": 1}


def test_a_constant_keeps_the_trials_that_had_its_value_when_there_are_any(tmp_path: Path) -> None:
    rows: list[tuple[dict[str, Any], float]] = [({"x": 0.1 * k, "data": "a" if k % 2 else "b"}, k) for k in range(6)]
    source = told({"x": {"min": 0.0, "max": 1.0}, "data": {"values": ["a", "b"]}}, rows, tmp_path / "s")
    kept = []
    for data in ("a", "c"):
        space = {"x": {"min": 0.0, "max": 1.0}, "data": data}
        kept.append(len(problem_of([source], metrics={"loss": "minimize"}, parameters=space).sources[0].X))
    assert kept == [3, 6]


@pytest.mark.parametrize(
    ("a", "b", "same"),
    [
        ({"min": 0, "max": 3}, {"min": 0.0, "max": 9.5}, True),
        ({"values": [1, 2]}, {"values": ["x"]}, True),
        ({"values": [1, 2]}, {"min": 1, "max": 2}, False),
        ({"subset": ["q", "k"]}, {"subset": ["q", "k", "v"]}, True),
        ({"vector": 3, "min": 0, "max": 1}, {"vector": 3, "min": 0.0, "max": 2.0}, True),
        ({"vector": 3, "min": 0, "max": 1}, {"vector": 4, "min": 0, "max": 1}, False),
        ({"simplex": ["a", "b"]}, {"simplex": ["b", "a"]}, True),
        ({"simplex": ["a", "b"]}, {"simplex": ["a", "c"]}, False),
        ({"permutation": ["a", "b"]}, {"permutation": ["b", "a"]}, True),
        ({"permutation": ["a", "b"]}, {"permutation": ["a", "b", "c"]}, False),
        ({"value": 3}, {"min": 0, "max": 3}, False),
    ],
)
def test_parameters_of_one_kind_are_comparable(a: dict[str, Any], b: dict[str, Any], same: bool) -> None:
    from tuner.parameters import from_dict

    assert comparable(from_dict("p", a), from_dict("p", b)) is same


def test_a_condition_of_the_new_space_decides_what_is_active(tmp_path: Path) -> None:
    both = {"optim": {"values": ["adam", "sgd"]}, "beta": {"min": 0.0, "max": 1.0}}
    rows: list[tuple[dict[str, Any], float]] = [
        ({"optim": "adam", "beta": 0.2}, 1.0),
        ({"optim": "sgd", "beta": 0.9}, 2.0),
    ]
    source = told(both, rows, tmp_path / "s")
    space = {**both, "beta": {**both["beta"], "when": "optim == 'adam'"}}
    problem = problem_of([source], metrics={"loss": "minimize"}, parameters=space)
    assert problem.space.encoding.decode_many(problem.sources[0].X) == [
        {"optim": "adam", "beta": 0.2},
        {"optim": "sgd"},
    ]
    assert problem.sources[0].active.tolist() == [[True, True], [True, False]]


def test_what_breaks_a_restriction_is_learnt_from_but_not_proposed(tmp_path: Path) -> None:
    numbers = {"min": 0, "max": 9}
    source = told({"x": numbers}, [({"x": k}, -k) for k in range(10)], tmp_path / "s")
    space = {"x": numbers, "y": numbers}
    sweep = {**LATER, "metrics": {"loss": "minimize"}, "parameters": space, "warm_start": [str(source)]}
    study = tuner.Study.create({**sweep, "restrictions": ["x + y <= 9"]})
    assert len(study.problem.sources[0].X) == 10
    (p,) = study.ask(1)
    assert p.provenance.reason == "warm start from s, trial 9"
    assert p.config == {"x": 9, "y": 0}  # the imputed 4 gave way
    study = tuner.Study.create({**sweep, "restrictions": ["x <= 7"]})
    assert study.ask(1)[0].config["x"] == 7


def test_infeasible_and_failed_trials_are_not_tried_first(tmp_path: Path) -> None:
    sweep = {**EARLIER, "metrics": {"loss": "minimize", "memory": {"goal": "minimize"}}}
    with tuner.Study.create(sweep, tmp_path / "s") as study:
        for i, proposal in enumerate(study.ask(12)):
            if i < 3:
                study.fail(proposal.trial, "crash")
            else:
                study.tell(proposal.trial, {"loss": i, "memory": 100.0 - i})
    metrics = {"loss": "maximize", "memory": {"max": 95.0}}
    with pytest.raises(UsageError, match="has 'loss' to minimize, but the sweep to maximize"):
        problem_of([tmp_path / "s"], metrics=metrics, parameters=EARLIER["parameters"])
    metrics["loss"] = "minimize"
    problem = problem_of([tmp_path / "s"], metrics=metrics, parameters=EARLIER["parameters"])
    (source,) = problem.sources
    assert dict(source.unusable) == {"without a complete result": 3}
    assert source.feasible.tolist() == [100.0 - i <= 95.0 for i in range(3, 12)]
    study = tuner.Study.create({**LATER, "metrics": metrics, "parameters": EARLIER["parameters"],
                                "warm_start": [str(tmp_path / "s")]})  # fmt: skip
    assert study.ask(1)[0].provenance.reason == "warm start from s, trial 5"


# ---- what is tried first


def test_first_tries_are_not_all_alike_and_a_third_of_the_design(tmp_path: Path) -> None:
    box = {name: {"min": 0.0, "max": 1.0} for name in "uvwxyz"}
    point = dict.fromkeys(box, 0.5)
    near = [({**point, "x": 0.5 + 0.001 * k}, 0.001 * k) for k in range(30)]
    far = [({**point, "x": 0.9}, 0.1), ({**point, "y": 0.2}, 0.2)]
    source = told(box, near + far + [({**point, "u": 0.0, "z": k / 64}, 9.0) for k in range(64)], tmp_path / "s")
    with tuner.Study.create(
        {**LATER, "metrics": {"loss": "minimize"}, "parameters": box, "warm_start": [str(source)]}
    ) as study:
        proposals = study.ask(4)
    # A design of 6 + 1 trials leaves 2; the better third of 96 trials is `near` and `far`.
    assert [p.provenance.reason.removeprefix("warm start from s, ") for p in proposals[:2]] == ["trial 0", "trial 30"]
    assert [p.provenance.engine for p in proposals[2:]] == ["random", "random"]


def test_sources_take_turns_and_never_repeat_each_other(tmp_path: Path) -> None:
    box = {name: {"min": 0.0, "max": 1.0} for name in "abcdef"}
    point = dict.fromkeys(box, 0.5)
    rows = [({**point, "a": 0.15 * k}, float(k)) for k in range(7)]
    one, two = told(box, rows, tmp_path / "one"), told(box, rows, tmp_path / "two")
    sweep = {**LATER, "metrics": {"loss": "minimize"}, "parameters": box, "warm_start": [str(one), str(two)]}
    study = tuner.Study.create({**sweep, "initial": [{**point, "a": 0.0}]})
    reasons = [p.provenance.reason for p in study.ask(5)]
    assert reasons == ["", "warm start from one, trial 1", "warm start from two, trial 2", "", ""]


def test_a_longer_study_is_thinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tuner.snapshots.MAX_TRIALS", 10)
    source = told({"x": {"min": 0, "max": 99}}, [({"x": k}, -k) for k in range(50)], tmp_path / "s")
    problem = problem_of([source], metrics={"loss": "minimize"}, parameters={"x": {"min": 0, "max": 99}})
    x = [config["x"] for config in problem.space.encoding.decode_many(problem.sources[0].X)]
    assert x == [0, 11, 22, 33, 44, 45, 46, 47, 48, 49]
    assert problem.sources[0].n_finished == 50


# ---- resuming


@pytest.mark.parametrize("search", ["random", "sobol", "tpe"])
def test_a_continued_study_needs_no_source_and_proposes_the_same(earlier: Path, tmp_path: Path, search: str) -> None:
    sweep = {**LATER, "metrics": {"loss": "minimize"}, "search": search, "warm_start": [str(earlier)]}

    def advance(study: tuner.Study, n: int) -> list[dict[str, Any]]:
        out = []
        for _ in range(n):
            proposal = study.ask()
            study.tell(proposal.trial, {"loss": bowl({**proposal.config})})
            out.append(proposal.config)
        return out

    with tuner.Study.create(sweep, tmp_path / "whole") as study:
        whole, kept = advance(study, 16), study.problem.sources[0]
    with tuner.Study.create(sweep, tmp_path / "cut") as study:
        parts = advance(study, 2)
    shutil.rmtree(earlier)
    for n in (3, 11):
        with tuner.Study.open(tmp_path / "cut") as study:
            again = study.problem.sources[0]
            assert all(np.array_equal(getattr(again, f), getattr(kept, f), equal_nan=f == "Y") for f in ("X", "Y"))
            assert str(again) == str(kept)
            parts += advance(study, n)
    assert parts == whole
    with tuner.Study.open(tmp_path / "cut", read_only=True) as reading:
        assert len(list(reading.records())) == 16


# ---- the command line


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory with an objective, a finished study `earlier` and a sweep in it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "objective_warm.py").write_text(
        "def f(config):\n    return {'loss': config['lr'] + config['layers']}\n"
    )
    fill({}, tmp_path / ".tuner" / "earlier", 20)
    (tmp_path / "sweep.yaml").write_text(sweep_text())
    return tmp_path


def sweep_text(**changes: Any) -> str:
    content = {**LATER, "metrics": {"loss": "minimize"}, "objective": "objective_warm:f", "budget": {"trials": 6}}
    return json.dumps({**content, **changes})


def invoke(*args: str, code: int = 0) -> str:
    result = CliRunner().invoke(app, list(args))
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result.stdout + result.stderr


def test_run_takes_studies_by_name_and_continues_only_the_same_warm_start(here: Path) -> None:
    planned = invoke("run", "sweep.yaml", "--warm-start", "earlier", "--dry-run")
    assert "warm start from earlier: " in planned and "trial 0 (warm start from earlier, trial " in planned
    assert "warm start" not in invoke("validate", "sweep.yaml")
    assert "warm start from earlier: " in invoke("validate", "sweep.yaml", "-S", "warm_start=[earlier]")
    ran = invoke("run", "sweep.yaml", "--warm-start", "earlier", "--plain")
    assert "warm start from earlier: " in ran
    assert "warm start from earlier, trial " in invoke("show", "0")
    shutil.rmtree(here / ".tuner" / "earlier")
    invoke("run", "sweep.yaml", "--warm-start", "earlier", "--plain", "-S", "budget.trials=7")
    refused = invoke("run", "sweep.yaml", "--plain", code=2)
    assert 'warm_start: ["earlier"] became nothing' in refused
    invoke("run", "sweep.yaml", "--plain", "--adopt", "-S", "budget.trials=8")
    assert not (here / ".tuner" / "later" / "sources.json").exists()
    invoke("run", "sweep.yaml", "--plain", "-S", "budget.trials=9")


def test_a_study_may_learn_from_its_former_self(here: Path) -> None:
    invoke("run", "sweep.yaml", "--plain")
    assert "6 of 6 trials usable" in invoke("run", "sweep.yaml", "--plain", "--new", "--warm-start", "later")
    with tuner.Study.open(here / ".tuner" / "later", read_only=True) as study:
        assert study.read(0).provenance.engine == "warm"
        best = min(study.records(), key=lambda record: record.metrics["loss"])
    with tuner.Study.open(here / ".tuner" / "later.1", read_only=True) as former:
        assert best.metrics["loss"] <= min(record.metrics["loss"] for record in former.records())


def test_a_study_that_says_nothing_here_is_refused(here: Path) -> None:
    (here / "sweep.yaml").write_text(sweep_text(warm_start=["earlier", "lost"]))
    assert "$.warm_start[1]: there is no study 'lost'" in invoke("validate", "sweep.yaml", code=2)
    (here / "sweep.yaml").write_text(sweep_text(warm_start=["earlier"], metrics={"accuracy": "maximize"}))
    refused = invoke("run", "sweep.yaml", code=2)
    assert "must share a metric with a goal, but it has loss, and the sweep accuracy" in refused
    assert not (here / ".tuner" / "later" / "sweep.yaml").exists()
    (here / "sweep.yaml").write_text(sweep_text(warm_start=["earlier"], parameters={"depth": {"min": 1, "max": 9}}))
    assert "at least one parameter must have the same name and kind" in invoke("validate", "sweep.yaml", code=2)
    (here / "sweep.yaml").write_text(sweep_text(warm_start=["earlier"], parameters={"layers": {"min": 20, "max": 30}}))
    found = invoke("validate", "sweep.yaml", code=2)
    assert "none of its trials is usable (20 with layers outside of its values)" in found


def test_python_takes_folders_and_adds_them_to_the_sweeps_own(here: Path) -> None:
    other = fill({}, here / "elsewhere", 5)
    sweep = {**json.loads(sweep_text()), "warm_start": ["earlier"]}
    with tuner.run(sweep, here / "s", warm_start=[other, "earlier"]) as study:
        assert study.sweep.warm_start == ("earlier", str(other))
        assert [source.name for source in study.problem.sources] == ["earlier", "elsewhere"]
    with pytest.raises(SweepError, match="must name each study once"):
        tuner.run({**sweep, "warm_start": ["earlier", "earlier"]}, here / "t")


def test_a_broken_snapshot_is_told(here: Path) -> None:
    invoke("run", "sweep.yaml", "--warm-start", "earlier", "--plain")
    (here / ".tuner" / "later" / "sources.json").write_text('{"schema": "tuner.sources/9"}')
    assert "remove it to read the studies again" in invoke(
        "run", "sweep.yaml", "--warm-start", "earlier", "--plain", code=7
    )
