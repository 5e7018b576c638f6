"""Other tools' sweeps: what each entry becomes, what is noted, and what is refused."""

from __future__ import annotations

import contextlib
import math
import random
import re
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import SweepError
from tuner.importers import hydra, katib, nni, translate_file, wandb
from tuner.importers.hydra_grammar import parse_override
from tuner.parameters import from_dict
from tuner.sweep import dump_yaml, load_sweep
from tuner.sweeps.yaml_source import read_text

# ---- W&B

WANDB = """\
program: train.py
name: my first sweep
project: demo
description: a text
method: bayes
metric: {name: val/loss, goal: minimize, target: 0.1}
parameters:
  lr: {distribution: log_uniform_values, min: 1e-5, max: 1e-1}
  batch: {values: [16, 32, 32]}
  layers: {min: 1, max: 5}
  dropout: {min: 0, max: 0.5}
  epochs: {value: 10}
  optimizer:
    parameters:
      name: {values: [adam, sgd]}
      momentum: {min: 0.0, max: 0.9}
early_terminate: {type: hyperband, min_iter: 3, eta: 2}
run_cap: 25
"""


def wandb_sweep(**changes: Any) -> dict[str, Any]:
    sweep: dict[str, Any] = {
        "program": "train.py",
        "method": "random",
        "metric": {"name": "loss"},
        "parameters": {"lr": {"min": 0.0, "max": 1.0}},
    }
    return {key: value for key, value in (sweep | changes).items() if value is not None}


def test_a_wandb_file_loads_unmodified(tmp_path: Path) -> None:
    file = tmp_path / "sweep.yaml"
    file.write_text(WANDB, encoding="utf-8")
    sweep = load_sweep(file)
    assert sweep.command == ("${env}", "${interpreter}", "train.py", "${args}")
    assert sweep.name == "my-first-sweep"
    assert sweep.metrics["val/loss"].goal == "minimize"
    assert sweep.budget.target == {"val/loss": 0.1}
    assert sweep.budget.trials == 25
    assert sweep.search.method == "auto"
    assert sweep.early_stop is not None
    assert (sweep.early_stop.rule, sweep.early_stop.options) == ("asha", {"eta": 2, "min_steps": 3})
    assert list(sweep.parameters) == [
        "lr",
        "batch",
        "layers",
        "dropout",
        "epochs",
        "optimizer.name",
        "optimizer.momentum",
    ]
    assert sweep.parameters["batch"] == {"values": [16, 32]}
    notes = "\n".join(sweep.notes)
    for word in ("project", "description", "bayes", "hyperband", "optimizer.<name>", "my-first-sweep", "repeated"):
        assert word in notes
    assert load_sweep(sweep.to_dict()) == sweep


def test_wandb_macros_stay_for_the_runner() -> None:
    macros = [
        "${env}",
        "${interpreter}",
        "-m",
        "${program}",
        "${args_no_boolean_flags}",
        "${envvar:HOME}",
        "${args_json}",
    ]
    sweep = load_sweep(wandb_sweep(command=macros))
    assert sweep.command == tuple(word.replace("${program}", "train.py") for word in macros)
    without_program = load_sweep(wandb_sweep(program=None, command=["python", "x.py", "${args}"]))
    assert without_program.command == ("python", "x.py", "${args}")


def test_native_keys_stand_beside_and_win() -> None:
    sweep = load_sweep(wandb_sweep(run_cap=10, budget={"trials": 3, "time": "1h"}, parallel=2, search="gp"))
    assert (sweep.budget.trials, sweep.budget.time, sweep.parallel, sweep.search.method) == (3, 3600.0, 2, "gp")
    assert any("budget.trials replaces" in note for note in sweep.notes)
    assert load_sweep(wandb_sweep(), sets=["run_cap=7"]).budget.trials == 7
    assert load_sweep(wandb_sweep(), params=["lr=0.5"]).parameters["lr"] == 0.5


def test_several_metrics_and_brackets() -> None:
    sweep = load_sweep(
        wandb_sweep(
            metric=None,
            metrics=[{"name": "loss"}, {"name": "acc", "goal": "maximize"}],
            early_terminate={"type": "hyperband", "max_iter": 27, "s": 2, "strict": True},
        )
    )
    assert [(name, metric.goal) for name, metric in sweep.metrics.items()] == [
        ("loss", "minimize"),
        ("acc", "maximize"),
    ]
    assert sweep.early_stop is not None
    assert sweep.early_stop.options == {"eta": 3, "min_steps": 3, "max_rungs": 2}


E = math.e


@pytest.mark.parametrize(
    ("entry", "native"),
    [
        ({"distribution": "constant", "value": 3}, {"value": 3}),
        ({"distribution": "categorical", "values": ["a", "b"]}, {"values": ["a", "b"]}),
        ({"distribution": "int_uniform", "min": 1, "max": 8}, {"min": 1, "max": 8, "type": "int"}),
        ({"distribution": "uniform", "min": 1, "max": 8}, {"min": 1, "max": 8, "type": "float"}),
        ({"distribution": "uniform", "min": 0.5, "max": 8}, {"min": 0.5, "max": 8}),
        ({"distribution": "q_uniform", "min": 0.0, "max": 1.0, "q": 0.25}, {"min": 0.0, "max": 1.0, "step": 0.25}),
        ({"distribution": "q_uniform", "min": 0.3, "max": 7.6}, {"min": 0, "max": 8}),
        ({"distribution": "q_uniform", "min": 3, "max": 21, "q": 4}, {"min": 4, "max": 20, "step": 4}),
        ({"min": 0, "max": 10, "q": 2}, {"min": 0, "max": 10, "step": 2}),
        (
            {"distribution": "log_uniform_values", "min": 1, "max": 100},
            {"min": 1, "max": 100, "log": True, "type": "float"},
        ),
        ({"distribution": "inv_log_uniform_values", "min": 0.5, "max": 2}, {"min": 0.5, "max": 2, "log": True}),
        (
            {"distribution": "q_log_uniform_values", "min": 1, "max": 64, "q": 8},
            {"min": 8, "max": 64, "log": True, "step": 8},
        ),
        ({"distribution": "q_log_uniform", "min": 0, "max": 3}, {"min": 1, "max": 20, "log": True}),
        ({"min": 1, "max": 1, "distribution": "uniform"}, {"value": 1}),
    ],
)
def test_wandb_distributions_that_are_exact(entry: dict[str, Any], native: dict[str, Any]) -> None:
    translated, _ = wandb.translate(wandb_sweep(parameters={"p": entry}))
    assert translated["parameters"]["p"] == native
    from_dict("p", native)


def test_wandb_log_uniform_takes_exponents_and_says_so() -> None:
    translated, notes = wandb.translate(
        wandb_sweep(parameters={"p": {"distribution": "log_uniform", "min": -2, "max": 0}})
    )
    entry = translated["parameters"]["p"]
    assert entry["log"] is True
    assert (entry["min"], entry["max"]) == (pytest.approx(E**-2), 1.0)
    assert any("p: log_uniform takes exponents of e" in note for note in notes)
    inverse, _ = wandb.translate(wandb_sweep(parameters={"p": {"distribution": "inv_log_uniform", "min": 0, "max": 2}}))
    assert inverse["parameters"]["p"] == entry


@pytest.mark.parametrize(
    ("entry", "low", "high", "at"),
    [
        ({"distribution": "normal", "mu": 2, "sigma": 0.5}, 0.5, 3.5, 2.0),
        ({"distribution": "normal"}, -3.0, 3.0, 0.0),
        ({"mu": 1.0, "sigma": 2.0}, -5.0, 7.0, 1.0),
        ({"distribution": "q_normal", "mu": 2, "sigma": 1, "q": 0.5}, -1.0, 5.0, 2.0),
        ({"distribution": "log_normal", "mu": 0, "sigma": 1}, E**-3, E**3, 1.0),
        ({"distribution": "q_log_normal", "mu": 1, "sigma": 0.5}, 1, 12, 3),
        ({"distribution": "beta", "a": 1, "b": 3}, 0.0, 1.0, 0.25),
        ({"distribution": "q_beta", "a": 1, "b": 3, "q": 0.5}, 0.0, 1.0, 0.0),
    ],
)
def test_unbounded_distributions_become_ranges_with_a_prior(
    entry: dict[str, Any], low: float, high: float, at: float
) -> None:
    translated, notes = wandb.translate(wandb_sweep(parameters={"p": entry}))
    native = translated["parameters"]["p"]
    assert (native["min"], native["max"]) == (pytest.approx(low), pytest.approx(high))
    assert native["prior"]["at"] == pytest.approx(at)
    assert any(note.startswith("p: ") and "with a prior" in note for note in notes)
    from_dict("p", native)


def test_probabilities_become_a_prior() -> None:
    entry = {"distribution": "categorical_w_probabilities", "values": ["a", "b", "c"], "probabilities": [0.2, 0.8, 0]}
    translated, notes = wandb.translate(wandb_sweep(parameters={"p": entry}))
    assert translated["parameters"]["p"] == {"values": ["a", "b"], "prior": {"at": "b", "confidence": "low"}}
    assert any("probabilities" in note for note in notes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"method": "bayesian"}, '$.method: must be random, grid or bayes, but got "bayesian"; did you mean "bayes"?'),
        ({"metric": {"goal": "minimize"}}, "$.metric: must be {name: ..., goal: ...}"),
        ({"metric": {"name": "a", "goal": "min"}}, "$.metric.goal: must be minimize or maximize"),
        ({"metric": None}, "$.metric: a metric must be named"),
        ({"program": None}, "must have program or command"),
        ({"run_cap": 0}, "$.run_cap: must be a whole number of at least 1"),
        ({"early_terminate": {"type": "median"}}, "$.early_terminate: must be {type: hyperband"),
        ({"parameters": {"p": {"distribution": "unifrom", "min": 0, "max": 1}}}, 'did you mean "uniform"?'),
        ({"parameters": {"p": {"distribution": "uniform", "min": 0}}}, 'uniform needs "max", but it is missing'),
        ({"parameters": {"p": {"distribution": "normal", "sigma": 0}}}, "sigma > 0 must hold"),
        ({"parameters": {"p": {"distribution": "log_uniform", "min": 1, "max": 1000}}}, "an exponent must be between"),
        ({"parameters": {"p": {"distribution": "log_uniform_values", "min": 0, "max": 1}}}, "needs min > 0"),
        (
            {"parameters": {"p": {"distribution": "uniform", "min": "0", "max": 1}}},
            "$.parameters.p.min: must be a",
        ),
        ({"parameters": {"p": {"distribution": "beta", "mu": 1}}}, '$.parameters.p.mu: unknown key "mu"'),
        ({"parameters": {"a": {"parameters": 3}}}, "$.parameters.a: must be {parameters: {...}} alone"),
        ({"sweep": 1}, '$.sweep: unknown key "sweep"'),
    ],
)
def test_wrong_wandb_sweeps_are_refused_in_their_own_terms(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError) as caught:
        load_sweep(wandb_sweep(**changes))
    assert message in str(caught.value)


def test_lines_are_those_of_the_wandb_file() -> None:
    text = WANDB.replace("max: 0.9}", "max: -1.0}").replace("eta: 2", "eta: x")
    with pytest.raises(SweepError) as caught:
        load_sweep(text)
    assert [(problem.path, problem.line) for problem in caught.value.problems] == [("$.early_terminate.eta", 17)]
    with pytest.raises(SweepError) as caught:
        load_sweep(WANDB.replace("max: 0.9}", "max: -1.0}"))
    assert [(p.path, p.line) for p in caught.value.problems] == [('$.parameters["optimizer.momentum"].min', 16)]


def test_native_sweeps_are_not_taken_for_wandb() -> None:
    assert not wandb.is_wandb(
        {"command": ["x"], "metrics": {"a": "minimize"}, "parameters": {"p": {"min": 0, "max": 1}}}
    )
    assert not wandb.is_wandb({"objective": "peft", "method": "gp"})
    assert wandb.is_wandb({"command": ["x"], "parameters": {"p": {"distribution": "uniform"}}})


# ---- Katib

KATIB = """\
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {namespace: kubeflow, name: random-example}
spec:
  objective:
    type: maximize
    goal: 0.99
    objectiveMetricName: Validation-accuracy
    additionalMetricNames: [Train-accuracy]
    metricStrategies: [{name: Validation-accuracy, value: max}]
  algorithm:
    algorithmName: bayesianoptimization
    algorithmSettings: [{name: random_state, value: "10"}]
  earlyStopping: {algorithmName: medianstop}
  parallelTrialCount: 3
  maxTrialCount: 12
  maxFailedTrialCount: 2
  parameters:
    - {name: lr, parameterType: double, feasibleSpace: {min: "1e-4", max: "0.03", distribution: logUniform}}
    - {name: num-layers, parameterType: int, feasibleSpace: {min: "2", max: "5"}}
    - {name: units, parameterType: int, feasibleSpace: {min: "16", max: "64", step: "16"}}
    - {name: optimizer, parameterType: categorical, feasibleSpace: {list: [sgd, adam]}}
    - {name: batch, parameterType: discrete, feasibleSpace: {list: ["32", "64"]}}
    - {name: drop, parameterType: double, feasibleSpace: {min: "0", max: "1", distribution: normal}}
  trialTemplate:
    primaryContainerName: training
    trialParameters:
      - {name: learningRate, reference: lr}
      - {name: numberLayers, reference: num-layers}
    trialSpec:
      kind: Job
      spec:
        template:
          spec:
            containers:
              - {name: side, command: [sleep]}
              - name: training
                image: docker.io/mnist
                command: [python3, mnist.py, "--lr=${trialParameters.learningRate}"]
                args: ["--layers=${trialParameters.numberLayers}"]
"""


def test_a_katib_experiment_becomes_a_sweep_that_loads(tmp_path: Path) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(KATIB, encoding="utf-8")
    native, notes, dialect = translate_file(file)
    assert dialect == "katib"
    assert native["command"] == ["python3", "mnist.py", "--lr=${lr}", "--layers=${num-layers}"]
    patterns = [native["metrics"][name].pop("stdout") for name in ("Validation-accuracy", "Train-accuracy")]
    log = "epoch 1: Validation-accuracy=0.5 Train-accuracy = 1e-1\nMy-Train-accuracy=7 Validation-accuracy=.25"
    assert [re.findall(pattern, log) for pattern in patterns] == [["0.5", ".25"], ["1e-1"]]
    assert native["metrics"] == {
        "Validation-accuracy": {"goal": "maximize", "statistic": "max"},
        "Train-accuracy": {},
    }
    assert native["budget"] == {"trials": 12, "failures": 2, "target": {"Validation-accuracy": 0.99}}
    assert (native["parallel"], native["seed"], native["search"]) == (3, 10, {"method": "gp"})
    assert native["parameters"] == {
        "lr": {"min": 1e-4, "max": 0.03, "log": True},
        "num-layers": {"min": 2, "max": 5},
        "units": {"min": 16, "max": 64, "step": 16},
        "optimizer": {"values": ["sgd", "adam"]},
        "batch": {"values": [32, 64], "ordered": True},
        "drop": {"min": 0, "max": 1, "type": "float", "prior": {"at": 0.5, "confidence": "medium"}},
    }
    assert any("bayesianoptimization" in note for note in notes)
    assert load_sweep(dump_yaml(native)).name == "random-example"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('min: "1e-4"', 'min: "low"', "$.spec.parameters[0].feasibleSpace: must be a finite number"),
        (
            'parameterType: int, feasibleSpace: {min: "2"',
            'parameterType: long, feasibleSpace: {min: "2"',
            "parameterType must be",
        ),
        ("logUniform", "loguniform", 'unknown distribution "loguniform"; did you mean "logUniform"?'),
        ("bayesianoptimization", "bayes", '$.spec.algorithm.algorithmName: unknown algorithm "bayes"'),
        ("type: maximize", "type: up", "$.spec.objective.type: must be minimize or maximize"),
    ],
)
def test_wrong_katib_experiments_are_refused(tmp_path: Path, old: str, new: str, message: str) -> None:
    file = tmp_path / "experiment.yaml"
    file.write_text(KATIB.replace(old, new), encoding="utf-8")
    with pytest.raises(SweepError) as caught:
        translate_file(file)
    assert message in str(caught.value)
    assert "line " in str(caught.value)


def test_a_katib_experiment_without_a_command_says_so() -> None:
    data = read_text(KATIB).data
    del data["spec"]["trialTemplate"]
    native, notes = katib.translate(data)
    assert native["command"][-1] == "${args}"
    assert any("trialTemplate" in note for note in notes)


# ---- Hydra


@pytest.mark.parametrize(
    ("text", "entry"),
    [
        ("choice(16, 32)", {"values": [16, 32]}),
        ("choice(a)", {"value": "a"}),
        ("choice(true, null, 'x, y', 1e-3)", {"values": [True, None, "x, y", 1e-3]}),
        ("choice([1, 2], [3])", {"values": [[1, 2], [3]]}),
        ("adam,sgd", {"values": ["adam", "sgd"]}),
        ("7", {"value": 7}),
        ("two words", {"value": "two words"}),
        ("range(1, 5)", {"min": 1, "max": 5}),
        ("range(4)", {"min": 0, "max": 4}),
        ("range(1, 10, 3)", {"min": 1, "max": 10, "step": 3}),
        ("range(1, 9, step=3)", {"min": 1, "max": 7, "step": 3}),
        ("range(start=0, stop=1, step=0.25)", {"min": 0, "max": 1.0, "step": 0.25}),
        ("interval(0, 1.0)", {"min": 0, "max": 1.0}),
        ("interval(1, 8)", {"min": 1, "max": 8}),
        ("float(interval(1, 8))", {"min": 1, "max": 8, "type": "float"}),
        ("int(interval(1, 8.5))", {"min": 1, "max": 8, "type": "int"}),
        ("tag(log, interval(1e-5, 1e-1))", {"min": 1e-5, "max": 1e-1, "log": True}),
        ("tag(a, log, interval(start=1, end=64))", {"min": 1, "max": 64, "log": True}),
        ("tag(ordered, choice(1, 2))", {"values": [1, 2], "ordered": True}),
        ("int(choice(1.0, 2.0))", {"values": [1, 2]}),
        ("shuffle(range(1, 3))", {"min": 1, "max": 3}),
        ("sort([3, 1])", {"values": [3, 1]}),
        ("shuffle(a, b)", {"values": ["a", "b"]}),
    ],
)
def test_hydra_overrides(text: str, entry: dict[str, Any]) -> None:
    assert parse_override(text) == entry
    from_dict("p", entry)


def test_a_range_without_its_end_as_in_hydras_own_sweeper() -> None:
    assert parse_override("range(1, 5)", closed=False) == {"min": 1, "max": 4}
    assert parse_override("range(0, 1, 0.25)", closed=False) == {"min": 0, "max": 0.75, "step": 0.25}
    assert parse_override("range(1, 2)", closed=False) == {"value": 1}


@pytest.mark.parametrize(
    "text",
    ["choice()", "choice(1", "interval(1)", "interval(a, b)", "range(5, 1)", "range(0, 1, 0)", "extend_list(1)"]
    + ["interval(2, 1)", "choice(choice(1), 2)", "int(choice(a, b))", "1, interval(0, 1)", "(" * 100, "choice(" * 100]
    + ["tag(log, interval(0, 1))", "interval(0, 1, 2)", "range(0, 1, stride=2)", "x" * 20_000, "glob(*)", "a,", "{"],
)
def test_what_hydra_overrides_cannot_say_is_a_value_error(text: str) -> None:
    with pytest.raises(ValueError, match=r"must|needs|cannot|takes"):
        parse_override(text)


HYDRA = """\
defaults: [override hydra/sweeper: optuna]
hydra:
  sweeper:
    _target_: hydra_plugins.hydra_optuna_sweeper.optuna_sweeper.OptunaSweeper
    sampler: {_target_: optuna.samplers.NSGAIISampler, seed: 123, population_size: 10}
    direction: [minimize, maximize]
    study_name: sphere
    n_trials: 20
    n_jobs: 2
    params:
      x: interval(-5.5, 5.5)
      +model.depth: range(1, 10, 3)
      lr: tag(log, interval(1e-5, 1e-1))
      db: glob(*, exclude=t*)
      seed: 7
"""


def test_a_hydra_configuration_becomes_a_sweep_that_loads(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    for name in ("mysql", "postgres", "test"):
        (tmp_path / "db" / f"{name}.yaml").touch()
    file = tmp_path / "config.yaml"
    file.write_text(HYDRA, encoding="utf-8")
    native, notes, dialect = translate_file(file)
    assert dialect == "hydra"
    assert native["parameters"] == {
        "x": {"min": -5.5, "max": 5.5},
        "model.depth": {"min": 1, "max": 10, "step": 3},
        "lr": {"min": 1e-5, "max": 1e-1, "log": True},
        "db": {"values": ["mysql", "postgres"]},
        "seed": {"value": 7},
    }
    assert native["metrics"] == {"value_0": {"goal": "minimize"}, "value_1": {"goal": "maximize"}}
    assert (native["search"], native["seed"], native["name"]) == ({"method": "nsga2"}, 123, "sphere")
    assert (native["budget"], native["parallel"]) == ({"trials": 20}, 2)
    assert any("value_0, value_1" in note for note in notes)
    assert load_sweep(dump_yaml(native)).parameters["x"] == {"min": -5.5, "max": 5.5}


def test_hydras_old_search_space_and_command_line_form() -> None:
    space = {
        "x": {"type": "float", "low": 0, "high": 1, "step": 0.1},
        "n": {"type": "int", "low": 1, "high": 64, "log": True},
        "c": {"type": "categorical", "choices": ["a", "b"]},
    }
    native, _ = hydra.translate({"hydra": {"sweeper": {"search_space": space, "direction": "maximize"}}})
    assert native["parameters"] == {
        "x": {"min": 0, "max": 1, "step": 0.1, "type": "float"},
        "n": {"min": 1, "max": 64, "log": True, "type": "int"},
        "c": {"values": ["a", "b"]},
    }
    listed, _ = hydra.translate({"sweeper": {"params": ["a=1,2", "b=range(3)"]}})
    assert listed["parameters"] == {"a": {"values": [1, 2]}, "b": {"min": 0, "max": 2}}


def test_wrong_hydra_configurations_are_refused() -> None:
    sweeper = {"direction": "up", "params": {"x": "interval(1)"}, "search_space": {"y": {"type": "complex"}}}
    with pytest.raises(SweepError) as caught:
        hydra.translate({"hydra": {"sweeper": sweeper}})
    paths = [problem.path for problem in caught.value.problems]
    assert paths == ["$.hydra.sweeper.direction", "$.hydra.sweeper.params.x", "$.hydra.sweeper.search_space.y"]
    with pytest.raises(SweepError, match="at least one swept parameter"):
        hydra.translate({"hydra": {"sweeper": {"params": {}}}})


# ---- NNI

NNI = """\
experimentName: my exp
trialCommand: python3 model.py
trialCodeDirectory: src
trialConcurrency: 2
trialGpuNumber: 1
maxTrialNumber: 20
maxExperimentDuration: 1h
tuner: {name: Evolution, classArgs: {optimize_mode: minimize, population_size: 9}}
assessor: {name: Medianstop}
searchSpace:
  lr: {_type: loguniform, _value: [0.0001, 0.1]}
  units: {_type: choice, _value: [128, 256]}
  momentum: {_type: uniform, _value: [0, 1]}
  k: {_type: randint, _value: [1, 5]}
  q: {_type: quniform, _value: [0, 1, 0.25]}
  w: {_type: normal, _value: [0, 2]}
  layer:
    _type: choice
    _value:
      - {_name: Empty}
      - _name: Conv-1
        size: {_type: choice, _value: [2, 3]}
        pool:
          _type: choice
          _value: [{_name: max, stride: {_type: randint, _value: [1, 4]}}, {_name: none}]
"""


def test_an_nni_experiment_becomes_a_sweep_with_conditions(tmp_path: Path) -> None:
    file = tmp_path / "config.yml"
    file.write_text(NNI, encoding="utf-8")
    native, notes, dialect = translate_file(file)
    assert dialect == "nni"
    assert native["parameters"] == {
        "lr": {"min": 0.0001, "max": 0.1, "log": True},
        "units": {"values": [128, 256]},
        "momentum": {"min": 0, "max": 1, "type": "float"},
        "k": {"min": 1, "max": 4},
        "q": {"min": 0.0, "max": 1.0, "step": 0.25},
        "w": {"min": -6.0, "max": 6.0, "prior": {"at": 0.0, "confidence": "medium"}},
        "layer": {"values": ["Empty", "Conv-1"]},
        "layer.Conv-1.size": {"values": [2, 3], "when": "layer == 'Conv-1'"},
        "layer.Conv-1.pool": {"values": ["max", "none"], "when": "layer == 'Conv-1'"},
        "layer.Conv-1.pool.max.stride": {"min": 1, "max": 3, "when": "`layer.Conv-1.pool` == 'max'"},
    }
    assert native["metrics"] == {"default": {"goal": "minimize"}}
    assert native["runner"] == {"cwd": "src", "gpus": 1}
    assert (native["search"], native["early_stop"]) == ({"method": "nsga2"}, {"rule": "median"})
    sweep = load_sweep(dump_yaml(native))
    assert (sweep.name, sweep.budget.trials, sweep.budget.time, sweep.parallel) == ("my-exp", 20, 3600.0, 2)
    assert any("Medianstop" in note for note in notes)


def test_a_bare_nni_space_and_one_in_a_file(tmp_path: Path) -> None:
    space = tmp_path / "search_space.json"
    space.write_text('{"x": {"_type": "qloguniform", "_value": [1, 64, 8]}}', encoding="utf-8")
    native, _, dialect = translate_file(space)
    assert dialect == "nni"
    assert native["parameters"] == {"x": {"min": 8, "max": 64, "log": True, "step": 8}}
    config = tmp_path / "config.yml"
    config.write_text("search_space_file: search_space.json\ntrial_command: ./run.sh && echo\n", encoding="utf-8")
    native, _, _ = translate_file(config)
    assert native["parameters"] == {"x": {"min": 8, "max": 64, "log": True, "step": 8}}
    assert native["command"][:2] == ["sh", "-c"]
    config.write_text("search_space_file: nowhere.json\ntrial_command: ./run.sh\n", encoding="utf-8")
    with pytest.raises(SweepError, match=r"nowhere\.json"):
        translate_file(config)


@pytest.mark.parametrize(
    ("space", "message"),
    [
        ({"x": {"_type": "unifrom", "_value": [0, 1]}}, 'unknown _type "unifrom"; did you mean "uniform"?'),
        ({"x": {"_type": "uniform", "_value": [0]}}, "uniform needs 2 numbers"),
        ({"x": {"_type": "choice", "_value": []}}, "choice needs a list of values"),
        ({"x": {"_type": "loguniform", "_value": [0, 1]}}, "needs min > 0"),
    ],
)
def test_wrong_nni_spaces_are_refused(space: dict[str, Any], message: str) -> None:
    with pytest.raises(SweepError) as caught:
        nni.translate(space)
    assert "$.x._value" in str(caught.value)
    assert message in str(caught.value)


# ---- files


def test_an_unknown_dialect_is_named_and_a_native_sweep_passes(tmp_path: Path) -> None:
    file = tmp_path / "x.yaml"
    file.write_text("a: 1", encoding="utf-8")
    with pytest.raises(SweepError, match="must be a W&B sweep"):
        translate_file(file)
    with pytest.raises(SweepError, match="cannot be read"):
        translate_file(tmp_path / "missing.yaml")
    file.write_text("objective: peft", encoding="utf-8")
    assert translate_file(file)[2] == "native"
    file.write_text(WANDB, encoding="utf-8")
    native, _, dialect = translate_file(file)
    assert dialect == "wandb"
    assert load_sweep(dump_yaml(native)).budget.trials == 25


JUNK: list[Any] = [
    None,
    True,
    0,
    -1,
    0.5,
    1e300,
    10**30,
    math.inf,
    "x",
    "",
    [],
    [1],
    [[1]],
    [{}],
    {},
    {"a": {"b": 1}},
    "choice(1",
]


def mutated(value: Any, rng: random.Random) -> Any:
    """A deep copy with junk in about one place."""
    if isinstance(value, (dict, list)) and value and rng.random() < 0.9:
        copy = dict(value) if isinstance(value, dict) else list(value)
        key = rng.choice(sorted(copy) if isinstance(copy, dict) else range(len(copy)))
        copy[key] = mutated(copy[key], rng)
        return copy
    return rng.choice(JUNK)


@pytest.mark.parametrize("text", [WANDB, KATIB, HYDRA, NNI], ids=["wandb", "katib", "hydra", "nni"])
def test_junk_anywhere_is_translated_or_refused(text: str, tmp_path: Path) -> None:
    file = tmp_path / "foreign.yaml"
    rng, data = random.Random(0), read_text(text).data
    for _ in range(150):
        changed = mutated(data, rng)
        file.write_text(dump_yaml(changed if isinstance(changed, dict) else {}), encoding="utf-8")
        with contextlib.suppress(SweepError):
            load_sweep(translate_file(file)[0])
