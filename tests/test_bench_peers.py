"""Peers' adapters: what each is told, with fakes where a peer is not installed, and peers in other interpreters."""

from __future__ import annotations

import importlib
import json
import math
import subprocess
import sys
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from tuner.cli import app
from typer.testing import CliRunner

from tests.strategy_problems import all_kinds, conditional
from tuner.bench.bench import Request, compare
from tuner.bench.blocks import write_block
from tuner.bench.flat import Axis, all_axes
from tuner.bench.interpreters import launch, parse_pythons
from tuner.bench.methods import open_session, parse_method, peer_names
from tuner.bench.peers import PEERS
from tuner.bench.peers.botorch import position, value_at
from tuner.bench.peers.hebo import declared
from tuner.bench.peers.smac import SmacSession, allowed
from tuner.bench.peers.terms import penalised, penalised_goals
from tuner.bench.problem import BenchProblem, minimise
from tuner.bench.results import Results
from tuner.bench.runner import Conditions
from tuner.bench.suite import suite
from tuner.errors import UsageError
from tuner.parameters import Choice, Float, Int
from tuner.space import SearchSpace

ROOT = Path(__file__).resolve().parent.parent


def installed(name: str, modules: dict[str, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make a peer look installed, with these modules."""
    monkeypatch.setattr("tuner.bench.methods._version", lambda package: "9")
    for path, content in modules.items():
        module: Any = types.ModuleType(path)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, path, module)


def play(session: Any, problem: BenchProblem, n: int) -> list[dict[str, Any]]:
    configs = []
    for _ in range(n):
        configs.append(session.ask())
        assert problem.space.contains(configs[-1]), problem.space.violations(configs[-1])
        session.tell(configs[-1], problem.evaluate(configs[-1]))
    return configs


def mixed() -> BenchProblem:
    """A choice, a logarithmic integer and a number; least at (b, 1, 0)."""
    space = SearchSpace(
        [Choice("c", values=("a", "b")), Int("k", low=1, high=64, log=True), Float("x", low=0.0, high=1.0)]
    )
    return BenchProblem(
        name="mixed", kind="mixed", split="dev", space=space, metrics=minimise("y"), best=0.0, source="here",
        evaluate=lambda config: {"y": (config["c"] == "a") + math.log(config["k"]) + config["x"]},
    )  # fmt: skip


# --- what peers are told ---


def test_an_infeasible_trial_is_worse_than_the_floor_or_the_corner() -> None:
    one = suite()["gramacy"]
    metrics = {metric.name: -1.0 if metric.min is not None else 1.0 for metric in one.metrics}
    assert one.floor is not None
    assert penalised(one, metrics) > one.floor
    assert penalised_goals(one, metrics) == [penalised(one, metrics)]
    many = next(p for p in suite().values() if len(p.goals) > 1 and len(p.metrics) > len(p.goals))
    broken = {m.name: (m.min - 1.0 if m.min is not None else m.max + 1.0 if m.max is not None else 0.0)
              for m in many.metrics}  # fmt: skip
    corners = [-goal.sign * (goal.reference or 0.0) for goal in many.goals]
    assert all(told > corner for told, corner in zip(penalised_goals(many, broken), corners))


def test_conditions_that_are_products_of_sets() -> None:
    space = SearchSpace(
        [
            Choice("kernel", values=("linear", "poly", "rbf")),
            Int("k", low=1, high=4),
            Float("gamma", low=0.1, high=1.0, when="kernel != 'linear'"),
            Float("coef", low=0.1, high=1.0, when="kernel in ('poly', 'rbf') and k >= 3"),
            Float("odd", low=0.1, high=1.0, when="kernel == 'rbf' or k == 1"),
            Float("real", low=0.1, high=1.0, when="gamma > 0.5"),
        ]
    )
    assert allowed(space, "gamma") == {"kernel": ["poly", "rbf"]}
    assert allowed(space, "coef") == {"k": [3, 4], "kernel": ["poly", "rbf"]}
    assert allowed(space, "odd") is None
    assert allowed(space, "real") is None


@pytest.mark.parametrize("space", [all_kinds(), conditional()])
def test_positions_and_values_are_inverse(space: SearchSpace) -> None:
    for axis in all_axes(space):
        ends = axis.values or (axis.low, axis.high)
        for value in ends:
            assert value_at(axis, position(axis, value)) == pytest.approx(value)
    rate = Axis("rate", "rate", "real", 1e-4, 1.0, log=True)
    assert position(rate, 1e-2) == pytest.approx(0.5)


def test_hebo_axes() -> None:
    pick = Axis("c", "c", "choice", values=("a", "b"))
    assert declared(pick) == {"name": "c", "type": "cat", "categories": [0, 1]}
    assert declared(Axis("r", "r", "real", 1e-4, 1.0, log=True))["type"] == "pow"
    assert declared(Axis("k", "k", "integer", 1, 9)) == {"name": "k", "type": "int", "lb": 1, "ub": 9}
    assert declared(Axis("x", "x", "real", 0.0, 1.0))["type"] == "num"


# --- fakes ---


class FakeHebo:
    """Draws from what was declared, and keeps what it is told."""

    def __init__(self, space: Any, num_obj: int = 1, num_constr: int = 0, scramble_seed: int = 0) -> None:
        self.rows = space.rows
        self.width = num_obj + num_constr
        self.rng = np.random.default_rng(scramble_seed)
        self.told: list[Any] = []

    def suggest(self, n_suggestions: int) -> Any:
        import pandas as pd

        ends = {r["name"]: (r.get("lb", 0), r.get("ub", len(r.get("categories", [0])) - 1)) for r in self.rows}
        return pd.DataFrame([{name: self.rng.choice(pair) for name, pair in ends.items()}])

    def observe(self, rows: Any, outcome: Any) -> None:
        assert outcome.shape == (1, self.width) and len(rows) == 1
        self.told.append(outcome)


class FakeSpace:
    def parse(self, rows: Any) -> None:
        self.rows = rows


@pytest.mark.parametrize("name", ["tree", "gramacy", "zdt1-8", "models-wine"])
def test_hebo_by_a_fake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    modules = {
        "hebo.design_space.design_space": {"DesignSpace": FakeSpace},
        "hebo.optimizers.hebo": {"HEBO": FakeHebo},
        "hebo.optimizers.general": {"GeneralBO": FakeHebo},
        "torch": {"manual_seed": lambda seed: None},
    }
    installed("hebo", modules, monkeypatch)
    problem = suite()[name]
    session: Any = open_session("hebo", problem, 5, 0, 60.0)
    for _ in range(5):
        config = session.ask()
        assert problem.space.contains(config)
        session.tell(config, {metric.name: 1.0 for metric in problem.metrics})
    session.add(problem.space.sample(1, np.random.default_rng(0))[0], {metric.name: 1.0 for metric in problem.metrics})
    assert len(session._optimizer.told) == 6


class FakeTrial:
    def __init__(self, values: dict[str, Any]) -> None:
        self.parameters = SimpleNamespace(as_dict=lambda: values)
        self.measurement: Any = None

    def to_trial(self, number: int) -> FakeTrial:
        return self

    def complete(self, measurement: Any) -> None:
        self.measurement = measurement


class FakeDesigner:
    def __init__(self, statement: Any, rng: Any) -> None:
        self.space, self.rng, self.done = statement.search_space.root, np.random.default_rng(rng), []

    def suggest(self, n: int) -> list[FakeTrial]:
        return [FakeTrial({name: ends[self.rng.integers(len(ends))] for name, ends in self.space.axes.items()})]

    def update(self, completed: list[FakeTrial], active: list[FakeTrial]) -> None:
        self.done += completed


class FakeRoot:
    def __init__(self) -> None:
        self.axes: dict[str, list[Any]] = {}

    def add_float_param(self, name: str, low: Any, high: Any, scale_type: str) -> None:
        self.axes[name] = [low, high]

    add_int_param = add_float_param

    def add_categorical_param(self, name: str, values: list[str]) -> None:
        self.axes[name] = values


@pytest.mark.parametrize("name", ["tree", "gramacy", "training-a"])
def test_vizier_by_a_fake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    statement, settings = SimpleNamespace, dict[str, Any]()
    modules: dict[str, dict[str, Any]] = {
        "vizier.pyvizier": {
            "ProblemStatement": lambda: statement(search_space=statement(root=FakeRoot()), metric_information=[]),
            "MetricInformation": statement,
            "ObjectiveMetricGoal": statement(MINIMIZE="minimize"),
            "ScaleType": statement(LOG="log", LINEAR="linear"),
            "Measurement": statement,
        },
        "vizier.algorithms": {"CompletedTrials": list, "ActiveTrials": list},
        "vizier._src.algorithms.designers.gp_ucb_pe": {"VizierGPUCBPEBandit": FakeDesigner},
        "jax": {"random": statement(PRNGKey=lambda seed: seed), "config": statement(update=settings.__setitem__)},
    }
    installed("vizier", modules, monkeypatch)
    problem = suite()[name]
    session: Any = open_session("vizier", problem, 5, 0, 60.0)
    play(session, problem, 5)
    assert settings == {"jax_enable_x64": True}
    assert [list(trial.measurement.metrics) for trial in session._designer.done] == [["loss"]] * 5
    with pytest.raises(UsageError, match="takes one goal here"):
        open_session("vizier", suite()["zdt1-8"], 5, 0, 60.0)


class FakeFacade:
    """Walks through the corners of the space, honouring its conditions."""

    def __init__(self, scenario: Any, target: Any, **options: Any) -> None:
        self.scenario, self.options, self.told = scenario, options, []
        self.rng = np.random.default_rng(scenario.seed)

    def ask(self) -> Any:
        if len(self.told) == self.scenario.n_trials:
            raise StopIteration
        space = self.scenario.space
        values = {axis.name: axis.ends[self.rng.integers(len(axis.ends))] for axis in space.axes}
        active: dict[str, Any] = {}
        for axis in space.axes:
            parts = [part for condition in space.conditions for part in condition if part[0] is axis]
            if all(parent.name in active and active[parent.name] in own for _, parent, own in parts):
                active[axis.name] = values[axis.name]
        return SimpleNamespace(config=active, budget=getattr(self.scenario, "min_budget", None))

    def tell(self, info: Any, value: Any, save: bool) -> None:
        self.told.append(value.cost)


class FakeConfigurationSpace:
    def __init__(self, seed: int) -> None:
        self.axes: list[Any] = []
        self.conditions: list[Any] = []

    def add(self, made: list[Any]) -> None:
        (self.axes if isinstance(made[0], SimpleNamespace) else self.conditions).extend(made)


def fake_smac() -> dict[str, dict[str, Any]]:
    def number(name: str, low: Any, high: Any, log: bool) -> SimpleNamespace:
        return SimpleNamespace(name=name, ends=[low, high])

    def scenario(space: Any, **given: Any) -> SimpleNamespace:
        return SimpleNamespace(space=space, **given)

    return {
        "ConfigSpace": {
            "ConfigurationSpace": FakeConfigurationSpace,
            "CategoricalHyperparameter": lambda name, values: SimpleNamespace(name=name, ends=values),
            "Constant": lambda name, value: SimpleNamespace(name=name, ends=[value]),
            "UniformIntegerHyperparameter": number,
            "UniformFloatHyperparameter": number,
            "InCondition": lambda child, parent, values: [(child, parent, values)],
            "AndConjunction": lambda *parts: [piece for part in parts for piece in part],
        },
        "smac": {
            "Scenario": scenario,
            "HyperparameterOptimizationFacade": FakeFacade,
            "MultiFidelityFacade": FakeFacade,
        },
        "smac.runhistory.dataclasses": {"TrialValue": SimpleNamespace},
        "smac.multi_objective.parego": {"ParEGO": lambda scenario: "parego"},
        "smac.intensifier.hyperband_utils": {
            "get_n_trials_for_hyperband_multifidelity": lambda total, low, high, print_summary: 7
        },
    }


@pytest.mark.parametrize("name", ["tree", "gramacy", "zdt1-8", "training-a", "branches"])
def test_smac_by_a_fake(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    installed("smac", fake_smac(), monkeypatch)
    problem = suite()[name]
    session: Any = open_session("smac-rf", problem, 20, 0, 60.0)
    play(session, problem, 20)
    facade = session._facade
    assert len(facade.told) == 20 and session.ask() is None
    assert facade.scenario.deterministic
    assert ("multi_objective_algorithm" in facade.options) == (len(problem.goals) > 1)
    assert all(np.ndim(cost) == (len(problem.goals) > 1) for cost in facade.told)


def test_smac_spends_a_fidelity(monkeypatch: pytest.MonkeyPatch) -> None:
    installed("smac", fake_smac(), monkeypatch)
    problem = suite()["branin-levels"]
    session: Any = open_session("smac-mf", problem, 5, 0, 60.0)
    assert isinstance(session, SmacSession) and session.fidelity is None
    session.ask()
    assert session.fidelity == 1.0
    assert session._facade.scenario.n_trials == 7
    with pytest.raises(UsageError, match="has none; use smac-rf"):
        open_session("smac-mf", suite()["tree"], 5, 0, 60.0)


@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("name", ["mixed", "gramacy", "zdt1-8"])
def test_botorch_suggests(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("botorch")
    from botorch.acquisition.multi_objective import logei

    monkeypatch.setattr(logei, "_load_attempted", True, raising=False)  # compiles a kernel for the better part of 1 min
    monkeypatch.setattr("tuner.bench.peers.botorch._RESTARTS", 1)
    monkeypatch.setattr("tuner.bench.peers.botorch._RAW_SAMPLES", 8)
    problem = mixed() if name == "mixed" else suite()[name]
    configs = play(open_session("botorch", problem, 6, 0, 60.0), problem, 6)
    assert len({problem.space.key(config) for config in configs}) == 6


@pytest.mark.filterwarnings("default")
def test_pymoo_takes_generations() -> None:
    if "pymoo-nsga2" not in peer_names():
        pytest.skip("pymoo is not installed")
    problem = suite()["zdt1-8"]
    play(open_session("pymoo-nsga2", problem, 120, 0, 60.0), problem, 120)


def test_peers_refuse_what_they_cannot_express(monkeypatch: pytest.MonkeyPatch) -> None:
    installed("pymoo", {}, monkeypatch)
    with pytest.raises(UsageError, match="for several goals, but tree has one"):
        open_session("pymoo-nsga2", suite()["tree"], 5, 0, 60.0)
    with pytest.raises(UsageError, match="takes one goal here, but zdt1-8 has 2"):
        open_session("optuna-tpe-hyperband", suite()["zdt1-8"], 5, 0, 60.0)


# --- other interpreters ---


FAKE_HEBO = """
import numpy as np, pandas as pd
class DesignSpace:
    def parse(self, rows): self.rows = rows
class HEBO:
    def __init__(self, space, scramble_seed):
        self.space, self.rng = space, np.random.default_rng(scramble_seed)
    def suggest(self, n_suggestions):
        return pd.DataFrame([{r["name"]: self.rng.uniform(r["lb"], r["ub"]) for r in self.space.rows}])
    def observe(self, rows, outcome): pass
"""


def elsewhere(folder: Path) -> Path:
    """An interpreter that sees packages of its own: a miniature HEBO 9.9 and a torch of one line."""
    site = folder / "site"
    for path in ("hebo/design_space", "hebo/optimizers"):
        (site / path).mkdir(parents=True)
        (site / path / "__init__.py").touch()
    (site / "hebo/__init__.py").touch()
    (site / "hebo/design_space/design_space.py").write_text(FAKE_HEBO)
    (site / "hebo/optimizers/hebo.py").write_text(FAKE_HEBO)
    (site / "torch.py").write_text("def manual_seed(seed): pass\n")
    (site / "HEBO-9.9.dist-info").mkdir()
    (site / "HEBO-9.9.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: HEBO\nVersion: 9.9\n")
    python = folder / "python"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{site}:$PYTHONPATH" exec {sys.executable} "$@"\n')
    python.chmod(0o755)
    return python


def test_a_peer_runs_in_an_interpreter_of_its_own(tmp_path: Path) -> None:
    if "hebo" in peer_names():
        pytest.skip("HEBO is installed here")
    python = elsewhere(tmp_path)
    with pytest.raises(UsageError, match=r"--python hebo=/path/to/python"):
        parse_method("hebo")
    conditions = Conditions(pythons=parse_pythons([f"hebo={python}"]), limit_s=60)
    request = Request(
        problems="rosenbrock-5", methods="hebo", trials=3, seeds=1, out=tmp_path / "out", conditions=conditions,
        quiet=True,
    )  # fmt: skip
    assert "HEBO 9.9" in compare(request)
    (line,) = Results(tmp_path / "out").lines
    assert line["status"] == "done" and line["version"] == "HEBO 9.9" and len(line["suggest_s"]) == 3


def test_a_peer_that_dies_with_a_thread_waiting_ends_at_once(tmp_path: Path) -> None:
    if "hebo" in peer_names():
        pytest.skip("HEBO is installed here")
    python = elsewhere(tmp_path)
    waits = "import threading; threading.Thread(target=threading.Event().wait).start(); raise TypeError('no answer')"
    (tmp_path / "site/hebo/optimizers/hebo.py").write_text(
        FAKE_HEBO.replace(
            "def observe(self", f"def suggest(self, n_suggestions):\n        {waits}\n    def observe(self"
        )
    )
    conditions = Conditions(pythons=parse_pythons([f"hebo={python}"]), limit_s=1000)  # which no test may wait for
    request = Request(
        problems="rosenbrock-5", methods="hebo", trials=3, seeds=1, out=tmp_path / "out", conditions=conditions,
        quiet=True,
    )  # fmt: skip
    compare(request)
    (line,) = Results(tmp_path / "out").lines
    assert (line["status"], line["error"]) == ("failed", "TypeError: no answer")


def test_interpreters_are_checked_before_anything_runs(tmp_path: Path) -> None:
    for text in ("hebo", "nothing=python", "gp=python"):
        with pytest.raises(UsageError, match="PEER=INTERPRETER"):
            parse_pythons([text])
    with pytest.raises(UsageError, match="cannot be run"):
        parse_pythons([f"hebo={tmp_path}/no-python"])
    empty = tmp_path / "python"
    empty.write_text("#!/bin/sh\nexit 1\n")
    empty.chmod(0o755)
    with pytest.raises(UsageError, match="HEBO is not installed there"):
        parse_pythons([f"hebo={empty}"])


def test_a_worker_elsewhere_sees_this_package_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/of/this/environment")
    command, environment = launch("hebo", "tuner.bench.worker", {"hebo": "/there/python"}, tmp_path, 1)
    assert command == ["/there/python", "-m", "tuner.bench.worker"]
    folder = Path(environment["PYTHONPATH"])
    assert [path.name for path in folder.iterdir()] == ["tuner"]
    assert (folder / "tuner").resolve() == ROOT / "tuner"
    assert environment["OMP_NUM_THREADS"] == "1"
    here, unchanged = launch("gp:restarts=2", "tuner.bench.worker", {"hebo": "/there/python"}, tmp_path, 1)
    assert here[0] == sys.executable and unchanged["PYTHONPATH"] == "/of/this/environment"


def test_a_worker_of_a_peer_imports_nothing_but_numpy_and_ioh() -> None:
    code = (
        "import sys, importlib; import tuner.bench.worker as w; from tuner.bench.peers import PEERS; "
        "from tuner.bench.methods import peer_names; peer_names(); "
        "[importlib.import_module('tuner.bench.peers.' + p.module) for p in PEERS.values()]; w.suite(); "
        "files = {name: str(getattr(m, '__file__', '')) for name, m in sys.modules.items()}; "
        "print(*{name.split('.')[0] for name, file in files.items() if 'site-packages' in file})"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    found = {name for name in run.stdout.split() if not name.startswith("__editable__")}  # how we are installed
    assert found <= {"numpy", "ioh", "_distutils_hack", "distutils-precedence"}


def test_every_peer_has_its_module_and_session() -> None:
    for peer in PEERS.values():
        assert hasattr(importlib.import_module(f"tuner.bench.peers.{peer.module}"), peer.session)


# --- reports in documents ---


def test_a_report_goes_between_its_marks(tmp_path: Path) -> None:
    file = tmp_path / "bench.md"
    begin, end = "<!-- tuner bench: begin -->", "<!-- tuner bench: end -->"
    file.write_text(f"Before.\n{begin}\nold\n{end}\nAfter.\n")
    write_block(file, "tuner bench", "new")
    write_block(file, "tuner bench", "newer")
    assert file.read_text() == f"Before.\n{begin}\n\nnewer\n\n{end}\nAfter.\n"
    for text in ("", begin, f"{end}\n{begin}", f"{begin}{begin}{end}", f"{begin}{end}{end}"):
        file.write_text(text)
        with pytest.raises(UsageError, match="once each, in this order"):
            write_block(file, "tuner bench", "new")
        assert file.read_text() == text
    with pytest.raises(UsageError, match="there is no file"):
        write_block(tmp_path / "none.md", "tuner bench", "new")


def test_the_verb_writes_the_report_with_its_command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    file = tmp_path / "bench.md"
    file.write_text((ROOT / "docs/bench.md").read_text())
    options = ["--problems", "branin-levels", "--methods", "random,optuna-tpe-hyperband", "--trials", "5"]
    options += ["--seeds", "1", "--out", str(tmp_path / "out"), "--write", str(file), "--json"]
    result = CliRunner().invoke(app, ["bench", *options])
    assert result.exit_code == 0, result.output
    content = json.loads(result.stdout)
    mean = content["judged"][0]["classes"]["multi-fidelity"]["random"]["mean"]
    text = file.read_text()
    assert "`tuner bench --problems branin-levels --methods random,optuna-tpe-hyperband --trials 5 --seeds 1`" in text
    assert f"| multi-fidelity | {mean:.2f} [" in text
    assert "| class | random | optuna-tpe-hyperband |" in text
