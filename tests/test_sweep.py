"""Loading sweeps: what they mean, what is refused and with which words, overrides, round trips, the schema."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tuner.errors import SweepError
from tuner.sweep import Sweep, check_feasible, dump_yaml, json_schema, load_sweep
from tuner.sweeps.yaml_source import MAX_DEPTH, MAX_NODES, read_text, read_value

FULL = """\
name: lora-layout
command: [python, train.py, "--lr", "${lr}", "${args}"]
metrics:
  accuracy:   {goal: maximize}
  params_m:   {goal: minimize, reference: 5.0}
  latency_ms: {goal: minimize, statistic: p95}
  memory_gb:  {max: 40}
constraints: ["accuracy >= baseline - 0.01"]
parameters:
  lr:      {min: 1e-5, max: 1e-2, log: true}
  rank:    {values: [4, 8, 16, 32], ordered: true}
  targets: {subset: [q, k, v, o, up, down], min_size: 1}
  keep:    {vector: 12, min: 0.1, max: 1.0, monotone: decreasing}
  mix:     {simplex: [web, code, books]}
  optim:   {values: [adamw, lion]}
  beta2:   {min: 0.9, max: 0.999, when: "optim == 'adamw'"}
  epochs:  3
restrictions: ["rank * count(targets) <= 96"]
baseline: {lr: 2e-4, rank: 16}
initial: [{lr: 1e-4, rank: 8}]
search: auto
budget: {trials: 60, time: 4h, failures: 30%}
fidelity: {parameter: epochs, min: 1, max: 27}
early_stop: asha
repeats: {n: 1, finalists: 5, finalist_n: 5}
runner: {gpus: 1, cpus: 4, timeout: 30m, grace: 20s, retries: 2, on_oom: infeasible, env: {THREADS: 1}}
parallel: 4
seed: 0
storage: null
"""


def small(**changes: Any) -> dict[str, Any]:
    """A small valid sweep with some keys changed; None removes a key."""
    sweep: dict[str, Any] = {
        "command": ["python", "train.py", "${args}"],
        "metrics": {"loss": "minimize"},
        "parameters": {"lr": {"min": 1e-5, "max": 1e-2, "log": True}, "rank": {"values": [4, 8]}},
    }
    return {key: value for key, value in (sweep | changes).items() if value is not None}


def refusal(source: Any, **overrides: Any) -> str:
    with pytest.raises(SweepError) as caught:
        load_sweep(source, **overrides)
    assert all(problem.path.startswith("$") for problem in caught.value.problems)
    return str(caught.value)


# ---- meaning


def test_the_documented_sweep_loads_with_every_section() -> None:
    sweep = load_sweep(FULL)
    assert sweep.command == ("python", "train.py", "--lr", "${lr}", "${args}")
    assert sweep.metrics["latency_ms"].statistic == "p95"
    assert sweep.metrics["memory_gb"].max == 40.0
    assert sweep.metrics["memory_gb"].goal is None
    assert sweep.budget.trials == 60
    assert sweep.budget.time == 4 * 3600
    assert sweep.budget.failures == pytest.approx(0.3)
    assert sweep.fidelity is not None
    assert (sweep.fidelity.parameter, sweep.fidelity.min, sweep.fidelity.max) == ("epochs", 1, 27)
    assert sweep.early_stop is not None
    assert sweep.early_stop.rule == "asha"
    assert (sweep.runner.timeout, sweep.runner.grace, sweep.runner.env) == (1800.0, 20.0, {"THREADS": "1"})
    assert sweep.parallel == 4
    assert sweep.storage is None
    assert sweep.notes == ()


def test_defaults_are_those_of_the_documentation() -> None:
    sweep = load_sweep(small())
    assert sweep.search.method == "auto"
    assert sweep.budget.trials is None
    assert (sweep.parallel, sweep.seed, sweep.repeats.n) == (1, 0, 1)
    assert (sweep.runner.backend, sweep.runner.grace, sweep.runner.retries) == ("local", 10.0, 2)


@pytest.mark.parametrize(
    ("section", "method", "options"),
    [
        ("gp", "gp", {}),
        ({"method": "gp", "kernel": "mixed"}, "gp", {"kernel": "mixed"}),
        ({"method": "gp", "options": {"kernel": "mixed"}}, "gp", {"kernel": "mixed"}),
        ({"kernel": "mixed"}, "auto", {"kernel": "mixed"}),
    ],
)
def test_search_takes_a_name_or_options_beside_it(section: Any, method: str, options: dict[str, Any]) -> None:
    search = load_sweep(small(search=section)).search
    assert (search.method, search.options) == (method, options)


def test_objective_takes_a_name_options_or_a_callable() -> None:
    named = load_sweep({"objective": {"name": "peft", "model": "minilm"}})
    assert named.objective is not None
    assert (named.objective.name, named.objective.options) == ("peft", {"model": "minilm"})
    called = load_sweep(small(command=None, objective=refusal))
    assert called.objective is not None
    assert called.objective.function is refusal
    assert called.objective.name.endswith(":refusal")
    with_options = load_sweep(small(command=None, objective={"name": refusal, "depth": 3}))
    assert with_options.objective is not None
    assert (with_options.objective.function, with_options.objective.options) == (refusal, {"depth": 3})
    kept = load_sweep(called, sets=["seed=3"])
    assert kept.objective is not None
    assert kept.objective.function is refusal


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("30m", 1800), ("1h30m", 5400), ("20s", 20), ("1.5h", 5400), ("500ms", 0.5), (90, 90), ("2d", 172800)],
)
def test_durations(text: Any, seconds: float) -> None:
    assert load_sweep(small(budget={"time": text})).budget.time == seconds


@pytest.mark.parametrize(("text", "value"), [("30%", 0.3), (5, 5), (0.25, 0.25), (0, 0)])
def test_failures_are_a_count_or_a_share(text: Any, value: float) -> None:
    failures = load_sweep(small(budget={"failures": text})).budget.failures
    assert failures == pytest.approx(value)
    assert isinstance(failures, type(value))


def test_a_command_may_be_one_line_of_text() -> None:
    assert load_sweep(small(command='python train.py --tag "a b" ${args}')).command == (
        "python",
        "train.py",
        "--tag",
        "a b",
        "${args}",
    )


def test_relative_folders_start_at_the_sweep_file(tmp_path: Path) -> None:
    file = tmp_path / "My sweep!.yaml"
    file.write_text(dump_yaml(small()), encoding="utf-8")
    sweep = load_sweep(file)
    assert sweep.base_dir == tmp_path.resolve()
    assert sweep.name == "My-sweep"
    assert load_sweep(str(file)) == sweep


def test_json_is_read_tabs_and_escapes_included(tmp_path: Path) -> None:
    file = tmp_path / "sweep.json"
    file.write_text(json.dumps(small(name="x"), indent="\t"), encoding="utf-8")
    assert load_sweep(file).name == "x"
    assert read_text('{"a": "\\ud83d\\ude00\\/"}').data == {"a": "😀/"}


def test_a_parameter_that_the_command_does_not_show_is_noted() -> None:
    (note,) = load_sweep(small(command=["python", "train.py", "--lr", "${lr}"])).notes
    assert "rank" in note
    assert "TUNER_PARAMS" in note
    assert load_sweep(small(command=["python", "t.py", "${args_no_hyphens}"])).notes == ()


# ---- round trip, digest, feasibility


@pytest.mark.parametrize("source", [FULL, small(), small(search={"method": "gp", "k": 1}, baseline={"lr": 1e-3})])
def test_what_is_written_reads_back_equal(source: Any, tmp_path: Path) -> None:
    sweep = load_sweep(source)
    assert load_sweep(sweep.to_dict()) == sweep
    file = tmp_path / "sweep.yaml"
    file.write_text(dump_yaml(sweep.to_dict()), encoding="utf-8")
    again = load_sweep(file)
    assert again == sweep
    assert again.digest() == sweep.digest()
    assert again.base_dir == sweep.base_dir


any_text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
tricky = ["1e-5", "no", "0o17", "1_000", "12:30", "~", "<<", "- a", "a: b", "a #b", " a ", "\x7f", "\ufeff", "null"]
plain_data = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | any_text
    | st.sampled_from(tricky),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(any_text, inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(any_text, plain_data, min_size=1, max_size=4))
def test_dumped_yaml_reads_back_exactly(data: dict[str, Any]) -> None:
    assert json.dumps(read_text(dump_yaml(data)).data) == json.dumps(data)


def test_the_digest_is_of_what_makes_trials_comparable() -> None:
    base = load_sweep(small()).digest()
    for same in (
        small(budget={"trials": 5}),
        small(seed=7),
        small(search="gp"),
        small(metrics={"loss": {"goal": "minimize"}}),
    ):
        assert load_sweep(same).digest() == base
    for other in (
        small(parameters={"lr": {"min": 1e-5, "max": 1e-3, "log": True}, "rank": {"values": [4, 8]}}),
        small(metrics={"loss": "maximize"}),
        small(command=["python", "other.py", "${args}"]),
        small(restrictions=["rank <= 8"]),
    ):
        assert load_sweep(other).digest() != base


def test_infeasible_restrictions_are_refused_by_name() -> None:
    assert "$.restrictions[1]" in refusal(small(restrictions=["rank <= 8", "rank > 8"]))
    assert "$.restrictions[0]" in refusal(small(restrictions=["1 > 2"]))
    assert "$.restrictions[1]" in refusal(small(restrictions=["lr < 1", "lr > 1e-1"]))
    assert "$.restrictions[1]" in refusal(small(restrictions=["lr < 1e-4", "rank > 2 and 1e-3 <= lr"]))
    keep = small(parameters={"keep": {"vector": 4, "min": 0.0, "max": 1.0}, "k": {"min": 1, "max": 9}})
    assert "$.restrictions[0]" in refusal(keep | {"restrictions": ["sum(keep) > 2 * k + 3"]})
    for possible in ("sum(keep) >= 2 * k", "keep[0] < keep[1]", "k == 9 or keep[0] > 2", "not k > 3", "k ** 2 > 80"):
        load_sweep(keep | {"restrictions": [possible, "k >= 1"]})
    sampled = load_sweep(keep | {"restrictions": ["keep[0] * keep[1] - keep[0] ** 2 > 2"]})
    with pytest.raises(SweepError, match=r"\$\.restrictions\[0\]"):
        check_feasible(sampled)


def test_restrictions_may_use_formulas_over_parameters() -> None:
    sweep = small(metrics={"loss": "minimize", "size": {"formula": "rank * 2"}}, restrictions=["size <= 8"])
    check_feasible(load_sweep(sweep))
    sweep["metrics"]["size"]["formula"] = "loss * 2"
    assert "not known before the trial" in refusal(sweep)


# ---- YAML


def test_scalars_follow_yaml_1_2() -> None:
    text = "a: 1e-5\nb: no\nc: 12:30\nd: 010\ne: 0o17\nf: 1_000\non: .5\ng: ~\nh: 2001-01-01\ni: 0x1F\nj: '1'"
    assert read_text(text).data == {
        "a": 1e-5,
        "b": "no",
        "c": "12:30",
        "d": 10,
        "e": 15,
        "f": "1_000",
        "on": 0.5,
        "g": None,
        "h": "2001-01-01",
        "i": 31,
        "j": "1",
    }


def test_anchors_and_merge_keys() -> None:
    text = "base: &b {x: 1, y: {z: 2}}\nfirst: {<<: *b, y: 3}\nmany: {<<: [{x: 9}, *b]}\nalias: *b"
    document = read_text(text)
    assert document.data["first"] == {"x": 1, "y": 3}
    assert document.data["many"] == {"x": 9, "y": {"z": 2}}
    assert document.data["alias"] == document.data["base"]
    assert document.data["alias"]["y"] is not document.data["base"]["y"]


def test_every_key_knows_its_line() -> None:
    document = read_text("a:\n  b: 1\n  c:\n    - x\n    - {d: 2}\n")
    assert document.lines["a", "b"] == (2, 3)
    assert document.lines["a", "c", 1, "d"] == (5, 8)
    assert document.line(("a", "c", 1, "nowhere")) == 5


BOMB = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 12)
)
MERGE_BOMB = "a0: &a0 {}\n" + "".join(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}\n" for i in range(1, 40))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (BOMB, f"at most {MAX_NODES:,} values once its aliases"),
        (MERGE_BOMB, f"at most {MAX_NODES:,} values"),
        ("[" * 5000, f"at most {MAX_DEPTH} deep"),
        ("a: [" + "1," * 60_000 + "]", f"at most {MAX_NODES:,} values"),
        ("a: " + "x" * (1 << 20), "at most 1,048,576 bytes"),
        ("a: &x [*x]", "inside its own anchor"),
        ("a: *nowhere", 'unknown alias "*nowhere"'),
        ("a: 1\nb: 2\na: 3", 'line 3: $.a: a key must stand once, but "a" stands on line 1'),
        ("a:\n\tb: 1", "has a tab"),
        ("a: !!python/object:os.system x", "has the tag"),
        ("a: !!binary aGk=", "has the tag"),
        ("a: 1\n---\nb: 1", "must be one document"),
        ("", "the text is empty"),
        ("a: " + "9" * 5000, "at most 400 digits"),
        ("? [a]\n: 1", "a key must be text"),
        ('a: "\\ud800"', "half a surrogate pair"),
        ('a: "\\Uffffffff"', "must be valid YAML"),
        ("command: [python, ${args}]", "in quotation marks"),
        ("a: 'x", "line 1"),
        ("a: \x00", "special characters"),
    ],
)
def test_hostile_or_broken_yaml_is_refused(text: str, message: str) -> None:
    with pytest.raises(SweepError) as caught:
        read_text(text)
    assert message in str(caught.value)


@given(st.text(st.characters(codec="utf-8"), max_size=60) | st.text("ab:-[]{}&*!|>'\"%@`,?# \n\t<1.e", max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    try:
        document = read_text(text)
    except SweepError:
        return
    json.dumps(document.data)


# ---- words


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"budgt": {"trials": 1}}, '$.budgt: unknown key "budgt"; did you mean "budget"?'),
        ({"budget": {"trails": 5}}, '$.budget.trails: unknown key "trails"; did you mean "trials"? known: '),
        (
            {"budget": {"trials": "60"}},
            '$.budget.trials: must be a whole number, but got "60"; write it as a plain number',
        ),
        ({"budget": {"trials": 0}}, "must be at least 1, but got 0; write for example 60"),
        ({"budget": {"time": "soon"}}, "$.budget.time: must be a positive duration"),
        ({"budget": {"failures": 1.5}}, "$.budget.failures: must be a share"),
        ({"budget": {"target": {"los": 1}}}, '$.budget.target.los: unknown metric "los"; did you mean "loss"?'),
        ({"budget": {"cost": {"metric": "loss"}}}, '$.budget.cost.limit: "limit" is required'),
        (
            {"metrics": {"loss": "minimise"}},
            'but got "minimise"; did you mean "minimize"?',
        ),
        ({"metrics": {"loss": None}}, "$.metrics.loss: must say what to do with the metric"),
        ({"metrics": {"loss": {"max": 3}}}, "$.metrics: at least one metric must have a goal"),
        ({"metrics": {"loss": {"goal": "minimize", "statistic": "p101"}}}, "statistic must be last, mean"),
        (
            {"metrics": {"loss": {"goal": "minimize", "min": 3, "max": 1}}},
            "min <= max must hold, but got min=3.0",
        ),
        ({"metrics": {"loss": {"goal": "minimize", "stdout": "loss: .*"}}}, "hold a group around the value"),
        ({"metrics": {"loss": {"goal": "minimize", "stdout": "("}}}, "regular expression"),
        ({"metrics": {"loss": {"goal": "minimize", "path": "$.a"}}}, "path needs a file"),
        ({"metrics": {"loss": {"goal": "minimize", "file": "a", "stdout": "json"}}}, "must have one source"),
        ({"metrics": {"loss": "minimize", "lr": "minimize"}}, "must not share its name with a parameter"),
        ({"metrics": None}, "$.metrics: there must be metrics"),
        ({"parameters": None}, "$.parameters: there must be parameters"),
        ({"objective": "peft"}, "but got objective and command; keep one"),
        ({"command": []}, "$.command: must start with a program"),
        ({"command": "python t.py | tee log"}, "no shell reads it"),
        (
            {"command": ["python", "${lrr}", "${args}"]},
            '$.command[1]: unknown placeholder "${lrr}"; did you',
        ),
        ({"command": ["echo", "${HOME}"]}, "the environment's is ${envvar:HOME}"),
        ({"command": ["python", "${program}"]}, "${program} needs program"),
        ({"constraints": ["los <= 1"]}, '$.constraints[0]: unknown metric or parameter "los"; did you mean "loss"?'),
        ({"constraints": ["loss <= baseline"]}, "needs a baseline, but the sweep has none"),
        ({"constraints": ["rank <= 4"]}, "must name a metric, but has only parameters; move this to restrictions"),
        ({"constraints": ["loss <="]}, "$.constraints[0]: "),
        ({"restrictions": ["loss <= 1"]}, '"loss" is a metric, not known before the trial; move this to constraints'),
        ({"restrictions": ["rnk <= 1"]}, '$.restrictions[0]: unknown parameter "rnk"; did you mean "rank"?'),
        ({"restrictions": ["__import__('os').system('x')"]}, "$.restrictions[0]: "),
        ({"baseline": {"lrr": 1}}, '$.baseline.lrr: unknown parameter "lrr"; did you mean "lr"?'),
        ({"baseline": {"lr": 5.0}}, "$.baseline.lr: "),
        ({"initial": [{"rank": 4}, {"rank": 5}]}, "$.initial[1].rank: "),
        ({"fidelity": {"parameter": "epoch", "min": 1, "max": 9}}, '$.fidelity.parameter: unknown parameter "epoch"'),
        ({"fidelity": {"parameter": "lr", "min": 9, "max": 1}}, "$.fidelity: min < max must hold"),
        ({"search": {"method": "gp", "duplicates": "keep"}}, "$.search.duplicates: must be one of reject, replicate"),
        ({"early_stop": {"eta": 3}}, '"rule" is required'),
        ({"repeats": {"n": True}}, "$.repeats.n: must be a whole number, but got true"),
        ({"runner": {"gpu": 1}}, '$.runner.gpu: unknown key "gpu"; did you mean "gpus"?'),
        ({"runner": {"env": {"A=B": "1"}}}, 'must be text without "="'),
        ({"runner": {"backend": "ray"}}, "$.runner.backend: must be one of local"),
        ({"parallel": "many"}, '$.parallel: must be "auto" or a whole number'),
        ({"seed": -1}, "$.seed: must be at least 0"),
        ({"seed": 10**30}, "$.seed: a whole number must fit 64 bits"),
        ({"name": "../../etc"}, "$.name: must be a folder name"),
        ({"notes": ["x"]}, '$.notes: unknown key "notes"'),
        ({"parameters": {"lr": {"min": 1, "max": 0}}}, "$.parameters.lr.min: low < high must hold"),
        ({"parameters": {"lr": {"min": 0, "max": 1, "log": True}}}, "$.parameters.lr.min: log needs low > 0"),
        ({"parameters": {"lr": {"min": 0, "max": float("inf")}}}, "$.parameters.lr.max: a number must be finite"),
        ({"parameters": {"lr": {"min": 0, "mx": 1}}}, "$.parameters.lr.mx: "),
        (
            {"parameters": {"k": {"vector": 10**12, "min": 0, "max": 1}}},
            "$.parameters.k.vector: must hold at most",
        ),
        ({"parameters": {"baseline": 3}}, 'must not be called "baseline"'),
        ({"parameters": {f"p{i}": 1 for i in range(1001)}}, "$.parameters: must be at most 1000 parameters"),
        (
            {"parameters": {f"p{i}": {"vector": 9999, "min": 0, "max": 1} for i in range(3)}},
            "$.parameters: must hold at most 20,000 numbers",
        ),
        (
            {"parameters": {"a": {"min": 0, "max": 1, "when": "b > 0"}, "b": {"min": 0, "max": 1, "when": "a > 0"}}},
            'conditions must not go in a circle, but "a" needs "b" needs "a"',
        ),
        (
            {"metrics": {"loss": "minimize", "a": {"formula": "b + 1"}, "b": {"formula": "a + 1"}}},
            'formulas must not go in a circle, but "a" needs "b" needs "a"',
        ),
    ],
)
def test_what_is_wrong_is_said_with_its_place_and_remedy(changes: dict[str, Any], message: str) -> None:
    assert message in refusal(small(**changes))


def test_everything_wrong_is_told_at_once_with_lines() -> None:
    text = FULL.replace("trials: 60", "trails: 60").replace("rank: 8}", "rang: 8}").replace("max: 1e-2", "max: 1e-9")
    with pytest.raises(SweepError) as caught:
        load_sweep(text)
    found = {(problem.path, problem.line) for problem in caught.value.problems}
    assert found == {("$.parameters.lr.min", 10), ("$.initial[0].rang", 20), ("$.budget.trails", 22)}
    assert "line 22: $.budget.trails:" in str(caught.value)


def test_pydantic_jargon_does_not_leak() -> None:
    wrong = small(
        budget=[], runner=3, seed="x", constraints={"a": 1}, initial=[3], baseline=[1], repeats={"n": 1.5}, storage=3
    )
    text = refusal(wrong)
    for word in ("Input", "pydantic", "valid dictionary", "instance", "type="):
        assert word not in text


def test_a_bare_baseline_stands_beside_one_metric() -> None:
    metrics = {"loss": "minimize", "acc": "maximize"}
    load_sweep(
        small(metrics=metrics, baseline={}, constraints=["acc >= baseline - 0.01", "loss <= baseline.loss * 1.1"])
    )
    message = refusal(small(metrics=metrics, baseline={}, constraints=["acc >= baseline + loss"]))
    assert "a bare baseline must stand beside exactly one metric" in message


def test_an_objective_may_bring_names_that_are_checked_later() -> None:
    sweep = load_sweep(
        {"objective": "peft", "restrictions": ["rank <= hidden"], "baseline": {"rank": 8}, "metrics": {}}
    )
    sweep.check_names(parameters=["rank", "hidden"])
    with pytest.raises(SweepError, match=r'\$\.restrictions\[0\]: unknown parameter "hidden"'):
        sweep.check_names(parameters=["rank"])
    assert "$.baseline" in str(sweep.problem("$.baseline.rank", "no"))


@pytest.mark.parametrize("name", ["missing.yaml", "."])
def test_a_file_that_cannot_be_read_is_a_sweep_error(tmp_path: Path, name: str) -> None:
    assert "cannot be read" in refusal(tmp_path / name)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert "UTF-8" in refusal(binary)


# ---- overrides


def test_fixing_a_parameter_keeps_its_condition_and_moves_the_baseline() -> None:
    sweep = load_sweep(FULL, params=["lr=1e-3", "beta2=0.95", "targets=[q, v]", "optim=lion"])
    assert sweep.parameters["lr"] == 1e-3
    assert sweep.parameters["beta2"] == {"value": 0.95, "when": "optim == 'adamw'"}
    assert sweep.parameters["targets"] == {"value": ["q", "v"]}
    assert sweep.baseline == {"lr": 1e-3, "rank": 16}
    assert sweep.initial[0]["lr"] == 1e-3
    assert sweep.notes == ()


def test_fixing_outside_the_declared_range_is_noted() -> None:
    (note,) = load_sweep(FULL, params=["lr=1"]).notes
    assert "-P lr=1" in note


def test_setting_keys_opens_shorthands_and_reaches_lists_and_dotted_names() -> None:
    sets = ["budget.trials=5", "search.kernel=mixed", "metrics.accuracy.unit=%", "command.0=python3", "runner.env.A=b"]
    sweep = load_sweep(FULL, sets=[*sets, "early_stop.eta=4"])
    assert sweep.budget.trials == 5
    assert (sweep.search.method, sweep.search.options) == ("auto", {"kernel": "mixed"})
    assert sweep.metrics["accuracy"].unit == "%"
    assert sweep.command is not None
    assert sweep.command[0] == "python3"
    assert sweep.runner.env == {"THREADS": "1", "A": "b"}
    assert sweep.early_stop is not None
    assert (sweep.early_stop.rule, sweep.early_stop.options) == ("asha", {"eta": 4})
    dotted = load_sweep(small(parameters={"opt.lr": {"min": 1, "max": 2}}), sets=["parameters.opt.lr.max=7"])
    assert dotted.parameters["opt.lr"]["max"] == 7
    assert load_sweep(small(), sets=["metrics.loss.max=3"]).metrics["loss"].goal == "minimize"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"params": ["lrr=1"]}, '-P lrr=1: unknown parameter "lrr"; did you mean "lr"?'),
        ({"params": ["lr"]}, '-P must be name=value, but got "lr"'),
        ({"params": ["lr=[1"]}, "-P lr=[1: must be valid YAML"),
        ({"sets": ["budget.trials"]}, "-S must be key=value"),
        (
            {"sets": ["budget.trials=abc"]},
            'must be a whole number, but got "abc"; write for example 60 (set by -S budget.trials=abc)',
        ),
        ({"sets": ["budgt.trials=3"]}, 'unknown key "budgt"; did you mean "budget"? (set by -S budgt.trials=3)'),
        ({"sets": ["name.x.y=3"]}, 'has no "x"'),
        ({"sets": ["command.9=x"]}, '-S command.9=x: $.command is a list of 3, so it has no "9"'),
    ],
)
def test_a_wrong_override_is_named(overrides: dict[str, list[str]], message: str) -> None:
    assert message in refusal(small(name="n"), **overrides)


def test_overrides_apply_to_a_loaded_sweep() -> None:
    sweep = load_sweep(FULL)
    assert load_sweep(sweep) is sweep
    changed = load_sweep(sweep, sets=["seed=5"])
    assert (changed.seed, changed.name) == (5, sweep.name)
    assert read_value("") == ""


# ---- schema


def test_the_json_schema_covers_every_key_and_describes_it() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    documented = set(schema["properties"]) - {"$schema"}
    assert documented == set(Sweep.model_fields) - {"notes", "source"}
    text = json.dumps(schema)
    for reference in {part.split('"')[0] for part in text.split("#/$defs/")[1:]}:
        assert reference in schema["$defs"], reference
    assert schema["$defs"]["Budget"]["additionalProperties"] is False


def test_the_json_schema_accepts_and_refuses() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    validator = jsonschema.Draft202012Validator(json_schema())
    validator.check_schema(json_schema())
    full = read_text(FULL).data
    assert not list(validator.iter_errors(full))
    assert not list(validator.iter_errors(load_sweep(FULL).to_dict()))
    full["budget"]["trails"] = 1
    assert list(validator.iter_errors(full))
