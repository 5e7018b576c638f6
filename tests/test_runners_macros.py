"""Placeholders in commands: ours, and W&B's as its documentation and its agent have them."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tuner.errors import UsageError
from tuner.runners.macros import expand_command, placeholders

CONFIG = {"lr": 0.001, "layers": 3, "opt": "adam", "nesterov": True, "debug": False, "keep": [0.5, 1.0]}


def expand(*template: str, config: Mapping[str, Any] = CONFIG, **place: Any) -> list[str]:
    names = {*CONFIG, "beta2", "mix"}
    return expand_command(template, dict(config), names=names, **place)


@pytest.mark.parametrize(
    ("macro", "expected"),
    [
        # The table of W&B's documentation of sweep commands, and its agent's treatment of booleans and lists.
        ("${env}", "/usr/bin/env"),
        ("${interpreter}", sys.executable),
        ("${program}", "train.py"),
        ("${args}", "--lr=0.001|--layers=3|--opt=adam|--nesterov=True|--debug=False|--keep=[0.5, 1.0]"),
        ("${args_no_equals}", "--lr|0.001|--layers|3|--opt|adam|--nesterov|True|--debug|False|--keep|[0.5, 1.0]"),
        ("${args_no_hyphens}", "lr=0.001|layers=3|opt=adam|nesterov=True|debug=False|keep=[0.5, 1.0]"),
        ("${args_no_boolean_flags}", "--lr=0.001|--layers=3|--opt=adam|--nesterov|--keep=[0.5, 1.0]"),
        ("${args_json}", json.dumps(CONFIG)),
        ("${args_json_file}", "/t/7/params.json"),
        ("${args_append_hydra}", "+lr=0.001|+layers=3|+opt=adam|+nesterov=True|+debug=False|+keep=[0.5, 1.0]"),
        ("${args_override_hydra}", "++lr=0.001|++layers=3|++opt=adam|++nesterov=True|++debug=False|++keep=[0.5, 1.0]"),
        ("${envvar:HOST}", "node7"),
        ("${envvar:MISSING}", "MISSING"),
        ("pre-${envvar:HOST}/${envvar:HOST}", "pre-node7/node7"),
        # Our own.
        ("${lr}", "0.001"),
        ("--lr=${lr}", "--lr=0.001"),
        ("${opt}-${layers}", "adam-3"),
        ("${nesterov}", "true"),
        ("${keep}", "[0.5, 1.0]"),
        ("${keep[1]}", "1.0"),
        ("${trial.dir}/out", "/t/7/out"),
        ("${trial.number}", "7"),
        ("${seed}", "11"),
        ("${fidelity}", "9"),
        ("${gpu.ids}", "GPU-a,GPU-b"),
        ("$${lr}", "${lr}"),
        ("run.py ${args_no_hyphens}", "run.py lr=0.001 layers=3 opt=adam nesterov=True debug=False 'keep=[0.5, 1.0]'"),
        ("plain $HOME {x}", "plain $HOME {x}"),
    ],
)
def test_macros(macro: str, expected: str) -> None:
    place: dict[str, Any] = {
        "dir": Path("/t/7"),
        "trial": 7,
        "seed": 11,
        "fidelity": 9.0,
        "gpu_ids": ("GPU-a", "GPU-b"),
    }
    found = expand("first", macro, program="train.py", environ={"HOST": "node7"}, **place)
    assert found == ["first", *expected.split("|")]


@pytest.mark.parametrize("macro", ["${args}", "${args_no_equals}", "${args_no_boolean_flags}", "${args_no_hyphens}"])
def test_structures_reach_the_script_as_json(macro: str) -> None:
    mix = {"mix": {"web": 0.25, "code": 0.75}, "keep": ["q", "v"]}
    texts = [word.split("=", 1)[-1] for word in expand(macro, config=mix) if word not in ("--mix", "--keep")]
    assert [json.loads(text) for text in texts] == [mix["mix"], mix["keep"]]


def test_wandb_agrees_with_the_macros() -> None:
    utils = pytest.importorskip("wandb.sdk.launch.sweeps.utils")
    theirs = utils.create_sweep_command_args({"args": {name: {"value": value} for name, value in CONFIG.items()}})
    for macro, expected in theirs.items():
        if macro != "args_dict":
            assert expand(f"${{{macro}}}") == expected, macro


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        (["run", "--beta2", "${beta2}", "--lr", "${lr}"], ["run", "--lr", "0.001"]),
        (["run", "--beta2=${beta2}", "-v"], ["run", "-v"]),
        (["run", "--verbose", "--beta2=${beta2}"], ["run", "--verbose"]),
        (["run", "beta2", "${beta2}"], ["run", "beta2"]),
        (["run", "--a=1", "${beta2}"], ["run", "--a=1"]),
        (["run", "--mix", "${mix[web]}"], ["run"]),
        (["run", "--epochs", "${fidelity}", "--gpus", "${gpu.ids}"], ["run"]),
    ],
)
def test_inactive_parameters_leave_no_trace(template: list[str], expected: list[str]) -> None:
    assert expand(*template) == expected


def test_a_parameter_wins_over_what_the_trial_knows() -> None:
    assert expand("${seed}", config={"seed": 5}, seed=11) == ["5"]


@pytest.mark.parametrize(
    ("argument", "words"),
    [
        ("${lrr}", "did you mean ${lr}"),
        ("${HOME}", "envvar:NAME"),
        ("${program}", "program:"),
        ("${keep[9]}", "no entry '9'"),
    ],
)
def test_an_unknown_placeholder_is_an_error(argument: str, words: str) -> None:
    with pytest.raises(UsageError, match=words.replace("$", r"\$").replace("{", r"\{")):
        expand("run", argument)


def test_placeholders_are_listed_by_their_parameter() -> None:
    assert placeholders(["a", "${lr}x${keep[0]}", "${args}", "${envvar:X}", "$${no}"]) == {"lr", "keep", "args"}
