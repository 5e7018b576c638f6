"""The bench: its problems' answers, its scores and tables on known numbers, and that a killed bench continues."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuner.cli import app
from typer.testing import CliRunner

from tests.strategy_problems import all_kinds, conditional
from tuner.bench import runner
from tuner.bench.bench import Request, compare, listed, timed
from tuner.bench.cache import Evaluations
from tuner.bench.flat import all_axes, assemble, spread
from tuner.bench.methods import open_session, parse_method
from tuner.bench.problem import CLASSES, BenchProblem, floats, minimise
from tuner.bench.problems import outside
from tuner.bench.results import Results
from tuner.bench.runner import Conditions, execute, planned
from tuner.bench.scores import Baselines, normalised, random_median, ranks, scores, summary
from tuner.bench.suite import select, suite
from tuner.bench.tables import document, render
from tuner.bench.worker import Run, checkpoints, play
from tuner.errors import EnvironmentUnfitError, UnknownNameError, UsageError
from tuner.space import SearchSpace
from tuner.trial import Metric

NAMES = list(suite())
CHEAP = [name for name in NAMES if not suite()[name].costly]


def line_of(**given: Any) -> dict[str, Any]:
    line = {"problem": "fake", "method": "m", "seed": 0, "trials": 60, "status": "done", "at": {}, "suggest_s": []}
    return {**line, "seconds": 1.0, "version": "v", **given}


def fake(name: str = "fake", **changes: Any) -> BenchProblem:
    """x0 in [0, 1], to minimise: the best value is 0."""
    problem = BenchProblem(
        name=name,
        kind="continuous",
        split="dev",
        space=SearchSpace(floats([(0, 1)])),
        metrics=minimise("y"),
        evaluate=lambda config: {"y": config["x0"]},
        best=0.0,
        source="here",
    )
    return dataclasses.replace(problem, **changes)


# --- the problems ---


@pytest.mark.parametrize("name", NAMES)
def test_the_stated_best_is_reached_at_the_stated_optimum(name: str) -> None:
    problem = suite()[name]
    assert math.isfinite(problem.best)
    for config in problem.optima:
        assert problem.space.contains(config), problem.space.violations(config)
    if not problem.optima:
        assert problem.costly or len(problem.goals) > 1
        return
    if len(problem.goals) > 1:
        reached = problem.merit([problem.evaluate(config) for config in problem.optima])
        assert 0.95 * problem.best <= reached <= problem.best  # a finite sample of the front stays below it
        return
    goal = problem.goals[0]
    values = problem.evaluate(problem.optima[0])
    # papers give the optima of constrained problems to 7 digits: they may break an active bound in the 6th
    loose = {m.name: values[m.name] + 1e-5 for m in problem.metrics if m.min is not None}
    assert problem.feasible({**values, **loose})
    assert values[goal.name] == pytest.approx(problem.best, rel=1e-5, abs=1e-5)


@pytest.mark.parametrize("name", CHEAP)
def test_random_trials_never_beat_the_stated_best(name: str) -> None:
    problem = suite()[name]
    n = 2000 if len(problem.goals) < 4 else 100  # hypervolume in 4 and 5 dimensions takes seconds
    configs = problem.space.sample(n, np.random.default_rng(0))
    merit = problem.merit([problem.evaluate(config) for config in configs])
    assert merit <= problem.best_merit + 1e-9 * abs(problem.best_merit)


@pytest.mark.parametrize("name", [name for name in NAMES if suite()[name].costly])
def test_real_training_gives_losses_in_range(name: str) -> None:
    problem = suite()[name]
    (metric,) = problem.goals
    for config in problem.space.sample(2, np.random.default_rng(1)):
        value = problem.evaluate(config)[metric.name]
        assert problem.best <= value <= 10.0
        assert problem.evaluate(config)[metric.name] == value


def test_every_class_has_problems_in_both_splits() -> None:
    for kind in CLASSES:
        for split in ("dev", "held-out"):
            assert len(select([split, kind])) >= 2, (kind, split)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch deprecates what BoTorch uses on import
def test_functions_agree_with_botorch() -> None:
    torch = pytest.importorskip("torch")
    from botorch.test_functions import multi_objective as many
    from botorch.test_functions import synthetic as one

    pairs = {
        "hartmann6": one.Hartmann(dim=6),
        "styblinski-tang-8": one.StyblinskiTang(dim=8),
        "michalewicz-5": one.Michalewicz(dim=5),
        "dixon-price-6": one.DixonPrice(dim=6),
        "branin-currin": many.BraninCurrin(),
        "vehicle-safety": many.VehicleSafety(),
        "zdt1-8": many.ZDT1(dim=8),  # its ZDT3 lacks the factor g of the paper
        "dtlz2-3-6": many.DTLZ2(dim=6, num_objectives=3),
        "dtlz7-3-8": many.DTLZ7(dim=8, num_objectives=3),
        "disc-brake": many.DiscBrake(),
    }
    for name, reference in pairs.items():
        problem = suite()[name]
        for config in problem.space.sample(5, np.random.default_rng(2)):
            x = torch.tensor([config[f"x{i}"] for i in range(len(config))], dtype=torch.float64)
            theirs = reference.evaluate_true(x[None])[0].reshape(-1).tolist()
            values = problem.evaluate(config)
            assert [values[goal.name] for goal in problem.goals] == pytest.approx(theirs, rel=1e-7), (
                name
            )  # BoTorch rounds constants


def test_select_knows_splits_classes_and_names() -> None:
    assert {p.split for p in select(["held-out"])} == {"held-out"}
    assert [p.name for p in select(["tree"])] == ["tree"]
    assert {p.kind for p in select(["dev", "mixed", "noisy"])} == {"mixed", "noisy"}
    with pytest.raises(UnknownNameError, match="did you mean 'hartmann6'"):
        select(["hartman6"])


# --- merit and scores ---


def test_noise_is_judged_without_it() -> None:
    problem = fake(noise=1.0)
    true = [{"y": 0.3}, {"y": 0.1}]
    observed = [{"y": -5.0}, {"y": 0.2}]
    assert problem.merit(true, observed) == -0.3
    assert problem.merit(true, observed, chosen=1) == -0.1
    assert problem.observe({"y": 0.0}, 3, 7) == problem.observe({"y": 0.0}, 3, 7) != problem.observe({"y": 0.0}, 3, 8)


def test_an_infeasible_run_counts_as_the_floor() -> None:
    problem = fake(metrics=(*minimise("y"), Metric(name="g", min=0.0)), floor=9.0)
    assert problem.merit([{"y": 0.1, "g": -1.0}]) == -9.0
    assert problem.merit([{"y": 0.1, "g": -1.0}, {"y": 0.5, "g": 0.0}]) == -0.5


def test_hypervolume_counts_feasible_trials_only() -> None:
    problem = fake(metrics=(*minimise("a", "b", a=1.0, b=1.0), Metric(name="g", min=0.0)), best=1.0)
    rows = [{"a": 0.5, "b": 0.5, "g": 1.0}, {"a": 0.0, "b": 0.0, "g": -1.0}]
    assert problem.merit(rows) == pytest.approx(0.25)
    assert problem.merit(rows[1:]) == 0.0


@pytest.mark.parametrize(("merit", "score"), [(-2.0, 0.0), (0.0, 1.0), (-1.0, 0.5), (-100.0, -1.0), (1.0, 1.5)])
def test_scores_are_linear_from_random_to_best(merit: float, score: float) -> None:
    assert normalised(merit, -2.0, 0.0) == score


def test_a_problem_that_random_solves_scores_one_when_solved() -> None:
    assert normalised(0.0, 0.0, 0.0) == 1.0
    assert normalised(-1.0, 0.0, 0.0) == -1.0


def test_the_zero_is_random_searchs_median(tmp_path: Path) -> None:
    problem, n = fake(), 9
    expected = -(1 - 0.5 ** (1 / n))  # median of the least of n uniform draws
    median = random_median(problem, n, 401)
    # the sample median's standard error is about 0.004: four of them, a false alarm in 16,000
    assert median == pytest.approx(expected, abs=0.016)
    baselines = Baselines(tmp_path)
    first = baselines.merit(problem, n)
    assert Baselines(tmp_path).merit(dataclasses.replace(problem, evaluate=lambda config: {}), n) == first


def test_tables_on_known_numbers(tmp_path: Path) -> None:
    one, two = fake("one"), fake("two", kind="mixed")
    (tmp_path / "baselines.json").write_text(
        json.dumps({f"{p.name}/{p.space.digest()[:8]}/60/25": -1.0 for p in (one, two)})
    )
    lines = [
        line_of(problem="one", method="a", at={"60": -0.5}, suggest_s=[9.0, 1.0, 3.0]),
        line_of(problem="one", method="a", seed=1, at={"60": -0.25}),
        line_of(problem="two", method="a", at={"60": 0.0}),
        line_of(problem="one", method="b", at={"60": 0.0}),
        line_of(problem="two", method="b", at={}, status="failed", error="why"),
    ]
    problems = {"one": one, "two": two}
    found = scores(lines, problems, Baselines(tmp_path), 60)
    assert found == {("one", "a"): [0.5, 0.75], ("two", "a"): [1.0], ("one", "b"): [1.0]}
    whole = summary(found, "a", ["one", "two"])
    assert whole is not None and whole.mean == pytest.approx(0.8125) and whole.problems == 2
    assert whole.interval[0] == 0.5 and whole.interval[1] == 1.0
    assert {m: r.mean for m, r in ranks(found, ["a", "b"], ["one", "two"]).items()} == {"a": 2.0, "b": 1.0}
    content = document(lines, problems, Baselines(tmp_path), [60], ["a", "b"])
    assert content["suggest_s"] == {"a": 2.0, "b": None}
    text = render(content, "table", detail=True)
    assert "two b seed 0: failed why" in text
    assert "all         0.81 [0.50, 1.00] 2" in text
    assert "| mixed | 1.00 [1.00, 1.00] 1 | - |" in render(content, "md")
    assert json.loads(render(content, "json"))["schema"] == "tuner.bench/1"


def test_ranks_share_ties() -> None:
    found = {("p", "a"): [0.5], ("p", "b"): [0.5], ("p", "c"): [0.1]}
    assert [r.mean for r in ranks(found, ["a", "b", "c"], ["p"]).values()] == [1.5, 1.5, 3.0]


# --- methods ---


@pytest.mark.parametrize("space", [all_kinds(), conditional()])
def test_flat_axes_carry_every_configuration(space: SearchSpace) -> None:
    names = {axis.name for axis in all_axes(space)}
    for config in space.sample(50, np.random.default_rng(0)):
        values = spread(space, config)
        assert set(values) <= names
        again = assemble(space, lambda axis, values=values: values[axis.name])
        assert space.key(again) == space.key(config)


METHODS = ("optuna-tpe", "optuna-nsga2", "tpe", "random", "nevergrad", "cma", "ax", "smac-rf", "smac-bb", "vizier")


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("name", ["tree", "gramacy", "zdt1-8"])
def test_methods_propose_members_of_the_space(method: str, name: str) -> None:
    try:
        parse_method(method)
    except UsageError as error:
        pytest.skip(str(error))
    if method in ("cma", "vizier") and name == "zdt1-8":
        pytest.skip(f"{method} has one goal")
    problem = suite()[name]
    session = open_session(method, problem, 6, 0, 60.0)
    for _ in range(6):
        config = session.ask()
        assert config is not None
        assert problem.space.contains(config), problem.space.violations(config)
        session.tell(config, problem.evaluate(config))


def test_outside_problems_are_apart_and_need_ioh(monkeypatch: pytest.MonkeyPatch) -> None:
    assert {p.split for p in select(["outside"])} == {"outside"}
    assert {p.split for p in select(["all", "continuous"])} == {"dev", "held-out"}
    assert {p.name for p in select(["bbob-15-5", "outside", "combinatorial"])} > {"bbob-15-5", "pbo-1-25"}
    monkeypatch.setattr(outside, "problems", tuple)
    for word in ("outside", "bbob-15-5"):
        with pytest.raises(EnvironmentUnfitError, match=r"need ioh; install it with `pip install tuner\[bench\]`"):
            select([word])


def test_methods_take_options() -> None:
    assert parse_method("gp:restarts=8:raw_samples=64") == ("gp", {"restarts": 8, "raw_samples": 64})
    with pytest.raises(UnknownNameError, match="no method 'gpp'"):
        parse_method("gpp")
    with pytest.raises(UsageError, match="key=value"):
        parse_method("gp:restarts")
    with pytest.raises(UsageError, match="defaults"):
        parse_method("optuna-tpe:seed=1")


def test_a_strategy_is_told_that_trials_take_their_time() -> None:
    problem = fake()
    session: Any = open_session("random", problem, 3, 0, 60.0)
    config = session.ask()
    session.tell(config, problem.evaluate(config))
    assert session._study.history.seconds[0] == pytest.approx(60.0)


# --- runs ---


def test_play_judges_at_the_checkpoints() -> None:
    assert checkpoints(60) == [20, 60] and checkpoints(30) == [20, 30] and checkpoints(200) == [20, 60, 200]
    line = play(Run("fake", "random", 0, 30), fake())
    assert line["status"] == "done" and set(line["at"]) == {"20", "30"} and len(line["suggest_s"]) == 30
    assert line["at"]["20"] <= line["at"]["30"] <= 0.0
    assert play(Run("fake", "random", 0, 30), fake())["at"] == line["at"]
    late = play(Run("fake", "random", 0, 30), fake(), limit_s=0.0)
    assert late["status"] == "timeout" and late["at"] == {}


def test_costly_values_are_kept_and_a_torn_line_is_passed_over(tmp_path: Path) -> None:
    calls = []
    problem = fake(costly=True, evaluate=lambda config: calls.append(1) or {"y": config["x0"]})
    assert Evaluations(problem, tmp_path).values({"x0": 0.5}) == {"y": 0.5}
    file = tmp_path / "fake.jsonl"
    file.write_text(file.read_text() + '{"key": "to')
    assert Evaluations(problem, tmp_path).values({"x0": 0.5}) == {"y": 0.5}
    assert len(calls) == 1


def test_a_killed_bench_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent))
    runs = planned(["gramacy", "tree"], ["random"], 2, 3)
    first = execute(runs, Results(tmp_path), Conditions(jobs=2, limit_s=60))
    kept = next(first)
    first.close()  # what a kill leaves: some lines, and perhaps half of one
    with (tmp_path / "runs.jsonl").open("a") as file:
        file.write('{"problem": "tree", "meth')
    done = len(Results(tmp_path).lines)
    rest = list(execute(runs, Results(tmp_path), Conditions(jobs=2, limit_s=60)))
    assert len(rest) == len(runs) - done
    lines = {(x["problem"], x["seed"]): x for x in Results(tmp_path).lines}
    assert len(lines) == 4 and all(x["status"] == "done" for x in lines.values())
    assert lines[kept["problem"], kept["seed"]] == kept
    assert list(execute(runs, Results(tmp_path), Conditions())) == []


def test_a_run_that_hangs_or_crashes_is_recorded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent))
    runs = [Run("no-such-problem", "random", 0, 2)]
    (line,) = execute(runs, Results(tmp_path), Conditions(limit_s=60))
    assert line["status"] == "failed" and "no-such-problem" in line["error"]
    monkeypatch.setattr(runner, "_GRACE_S", 0.0)
    (line,) = execute([Run("tree", "random", 0, 3)], Results(tmp_path), Conditions(limit_s=0.0))
    assert line["status"] == "killed"


def test_compare_and_the_verb(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent))
    request = Request(problems="gramacy", methods="random", trials=5, seeds=1, out=tmp_path, quiet=True)
    text = compare(request)
    assert "constrained" in text and "After 5 trials" in text
    options = ["--problems", "gramacy", "--methods", "random", "--trials", "5", "--seeds", "1", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, ["bench", *options, "--json"])
    assert result.exit_code == 0
    assert json.loads(result.stdout)["judged"][0]["trials"] == 5
    assert CliRunner().invoke(app, ["bench", "--problems", "nothing", "--list"]).exit_code == 2


def test_the_list_names_problems_and_methods() -> None:
    content = json.loads(listed("dev,noisy", "json"))
    assert {p["class"] for p in content["problems"]} == {"noisy"}
    assert "auto" in content["methods"] and "optuna-tpe" in content["methods"]
    with pytest.raises(UsageError, match="-f of a bench"):
        listed("dev", "csv")  # type: ignore[arg-type]


def test_timing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parent.parent))
    seconds = json.loads(timed("random", "5", "json"))["seconds"]
    assert 0.0 < seconds["random"]["5"] < 5.0
    with pytest.raises(UsageError, match="whole numbers"):
        timed("random", "5,x", "table")


def test_every_problem_makes_a_sweep() -> None:
    for name, problem in suite().items():
        assert open_session("random", problem, 3, 0, 60.0).ask() is not None, name
