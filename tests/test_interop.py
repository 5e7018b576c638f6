"""Studies in other tools' hands and back: Optuna storages, Kernel Tuner's T4, TensorBoard, MLflow, W&B."""

from __future__ import annotations

import json
import warnings
from pathlib import Path
from typing import Any

import jsonschema
import optuna
import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

import tuner
from tuner.study import Study
from tuner.trial import Failure, Outcome

T4 = {
    "type": "object",
    "required": ["results", "schema_version"],
    "properties": {
        "schema_version": {"type": "string", "pattern": "^[0-9]{1,}.[0-9]{1,}.[0-9]{1,}$"},
        "results": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["configuration", "times", "invalidity", "correctness"],
                "properties": {
                    "timestamp": {"type": "string"},
                    "configuration": {"type": "object"},
                    "objectives": {"type": "array"},
                    "times": {
                        "type": "object",
                        "properties": {
                            "compilation_time": {"type": "number"},
                            "runtimes": {"type": "array"},
                            "framework": {"type": "number"},
                            "search_algorithm": {"type": "number"},
                            "validation": {"type": "number"},
                        },
                    },
                    "invalidity": {"enum": ["timeout", "compile", "runtime", "correctness", "constraints", "correct"]},
                    "correctness": {"type": "number"},
                    "measurements": {
                        "type": "array",
                        "items": {"properties": {"name": {"type": "string"}, "unit": {"type": "string"}}},
                    },
                },
            },
        },
    },
}
"""What version 1.0.0 of the T4 results schema demands."""


def invoke(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(args))
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


def make(folder: Path) -> str:
    """A study with a completed, an infeasible, a pruned and a failed trial, reports and a condition."""
    definition: dict[str, Any] = {
        "name": "mixed",
        "metrics": {"acc": {"goal": "maximize"}, "size": {"goal": "minimize", "unit": "MB"}, "mem": {"max": 10.0}},
        "parameters": {
            "x": {"min": 1e-3, "max": 1.0, "log": True},
            "c": {"values": ["p", "q"]},
            "y": {"min": 1, "max": 9, "when": "c == 'q'"},
        },
        "search": "random",
    }
    tried: list[tuple[dict[str, Any], Outcome]] = [
        ({"x": 0.5, "c": "p"}, Outcome(state="completed", metrics={"acc": 0.9, "size": 3.0, "mem": 1.0})),
        ({"x": 0.1, "c": "q", "y": 3}, Outcome(state="completed", metrics={"acc": 0.95, "size": 4.0, "mem": 12.0})),
        ({"x": 0.2, "c": "q", "y": 4}, Outcome(state="pruned")),
        ({"x": 0.3, "c": "p"}, Outcome(state="failed", failure=Failure(kind="timeout", message="too slow"))),
    ]
    with Study.create(definition, folder) as study:
        for k, (config, outcome) in enumerate(tried):
            study.enqueue(config)
            trial = study.ask().trial
            for step in range(1, 3):
                study.report(trial, step, {"acc": 0.1 * step})
            study.finish(trial, outcome, ran=(1e9 + k, 1e9 + k + 0.5))
    return str(folder)


def test_optuna_reads_what_was_exported(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    invoke("export", make(tmp_path / "own"), "--to", "optuna", "-o", url)
    study = optuna.load_study(study_name="mixed", storage=url)
    complete, infeasible, pruned, failed = study.trials
    assert [t.state.name for t in study.trials] == ["COMPLETE", "COMPLETE", "PRUNED", "FAIL"]
    assert study.metric_names == ["acc", "size"]
    assert [d.name for d in study.directions] == ["MAXIMIZE", "MINIMIZE"]
    assert complete.values == [0.9, 3.0]
    assert complete.constraints["mem <= 10.0"] == pytest.approx(-9.0)
    assert infeasible.constraints["mem <= 10.0"] == pytest.approx(2.0)
    assert infeasible.system_attrs["constraints"] == [pytest.approx(2.0)]  # where optuna-dashboard looks
    assert pruned.intermediate_values == {1: pytest.approx(0.1), 2: pytest.approx(0.2)}
    assert complete.user_attrs["metric:mem"] == 1.0
    assert failed.user_attrs["tuner:failure"] == "timeout: too slow"
    assert complete.datetime_complete is not None
    assert [t.number for t in study.best_trials] == [0]


def test_an_exported_study_comes_back(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/optuna.db"
    invoke("export", make(tmp_path / "own"), "--to", "optuna", "-o", url)
    told = invoke("import", url, "-o", str(tmp_path / "back")).stdout
    assert "y is not in every trial: `when: c == 'q'`" in told
    with Study.open(tmp_path / "own", read_only=True) as own, Study.open(tmp_path / "back", read_only=True) as back:
        assert back.problem.space.to_dict() == own.problem.space.to_dict()
        for one, other in zip(own.records(), back.records(), strict=True):
            assert (other.state, other.config, other.feasible) == (one.state, one.config, one.feasible)
            assert other.seconds == pytest.approx(one.seconds)
            assert own.reports(one.trial) == back.reports(one.trial)
        assert back.read(0).metrics == {"acc": 0.9, "size": 3.0, "mem <= 10.0": -9.0}
        assert back.read(0).measures["optuna.metric:mem"] == 1.0


def test_what_optuna_defined_while_it_ran(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/wild.db"

    def objective(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0, 1 + trial.number % 2)
        kind = trial.suggest_categorical("kind", ["a", "b", "c"])
        if kind != "a":
            x += trial.suggest_int("n", 2, 10, step=2)
        trial.set_user_attr("who", "me")
        if trial.number == 5:
            raise RuntimeError("no")
        return x

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    study = optuna.create_study(storage=url, study_name="wild one", sampler=optuna.samplers.RandomSampler(seed=1))
    study.optimize(objective, n_trials=10, catch=(RuntimeError,))
    study.ask()
    told = invoke("import", url, "-o", str(tmp_path / "wild")).stdout
    for part in ("had not finished", "union", "user attributes that are no numbers are left out: who"):
        assert part in told
    with Study.open(tmp_path / "wild", read_only=True) as back:
        assert back.counts() == {"completed": 9, "failed": 1}
        kept = [t for t in study.trials if t.state.is_finished()]
        for record, trial in zip(back.records(), kept, strict=True):
            # twelve digits are what this space tells numbers apart by
            assert record.config == {**trial.params, "x": pytest.approx(trial.params["x"], rel=1e-11)}
        assert [r.metrics.get("value") for r in back.records()] == [t.value for t in kept]


def test_which_study_of_a_storage(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path}/two.db"
    for name in ("one", "two"):
        optuna.create_study(storage=url, study_name=name)
    assert "holds 2 studies (one, two)" in invoke("import", url, code=2).stderr
    assert "no study 'three'" in invoke("import", url, "--optuna-study", "three", code=2).stderr
    assert "no finished trial" in invoke("import", url, "--optuna-study", "one", code=2).stderr
    assert "cannot be opened" in invoke("import", "sqlite:////no/such/place.db", code=7).stderr
    assert "is for a storage" in invoke("import", "file.csv", "--optuna-study", "x", code=2).stderr


def test_t4_there_and_back(tmp_path: Path) -> None:
    file = tmp_path / "kernel.json"
    invoke("export", make(tmp_path / "own"), "--to", "t4", "-o", str(file))
    document = json.loads(file.read_text())
    jsonschema.validate(document, T4)
    assert [r["invalidity"] for r in document["results"]] == ["correct", "constraints", "timeout"]
    assert document["results"][0]["measurements"][1] == {"name": "size", "value": 3.0, "unit": "MB"}
    assert document["results"][0]["times"]["runtimes"] == [pytest.approx(500.0)]
    told = invoke("import", str(file), "-o", str(tmp_path / "back")).stdout
    assert "`when: c == 'q'`" in told
    with Study.open(tmp_path / "back", read_only=True) as back:
        assert next((r.state, r.config) for r in back.records()) == ("completed", {"x": 0.5, "c": "p"})
        assert back.counts() == {"completed": 1, "failed": 2}
    assert "holds a study already" in invoke("import", str(file), "-o", str(tmp_path / "back"), code=2).stderr


def learn(config: dict[str, Any], trial: Any) -> dict[str, float]:
    for step in range(1, 4):
        trial.report(step, loss=config["x"] ** 2 + 1 / step)
    if config["x"] < -0.5:
        raise RuntimeError("bad region")
    return {"loss": config["x"] ** 2}


def sweep(sinks: list[str], trials: int) -> dict[str, Any]:
    return {
        "name": "logged",
        "objective": "tests.test_interop:learn",
        "metrics": {"loss": "minimize"},
        "parameters": {"x": {"min": -1.0, "max": 1.0}, "items": {"subset": ["a", "b"]}},
        "search": "random",
        "log_to": sinks,
        "budget": {"trials": trials},
    }


def test_loggers_are_told_of_every_trial_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    sinks = ["tensorboard", "mlflow", "wandb"]
    tuner.run(sweep(sinks, 3), tmp_path).close()
    last = (tmp_path / "mlflow/logged.txt").read_text().splitlines()
    (tmp_path / "mlflow/logged.txt").write_text("\n".join(last[:-1]) + "\n")  # killed before it was written down
    with tuner.run(sweep(sinks, 5), tmp_path) as study:
        records = list(study.records())
    for sink in sinks:
        assert len((tmp_path / sink / "logged.txt").read_text().split()) == 5, (
            tmp_path / sink / "sink.log"
        ).read_text()
    assert len(list((tmp_path / "wandb/wandb").glob("offline-run-*"))) == 5
    assert sorted(p.name for p in (tmp_path / "tensorboard").iterdir() if p.is_dir()) == [f"{k:05d}" for k in range(5)]
    assert all(len(list(p.glob("events.*"))) == 1 for p in (tmp_path / "tensorboard").iterdir() if p.is_dir())
    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # MLflow's own deprecations
        from mlflow import MlflowClient

        client = MlflowClient(tracking_uri=(tmp_path / "mlflow").as_uri())
        runs = client.search_runs([client.get_experiment_by_name("logged").experiment_id])
        by_trial = {int(run.data.tags["tuner.trial"]): run for run in runs}
        curve = client.get_metric_history(by_trial[0].info.run_id, "loss")
    assert len(runs) == 5
    for record in records:
        assert float(by_trial[record.trial].data.params["x"]) == record.config["x"]
        assert by_trial[record.trial].data.metrics.get("loss") is not None
        assert by_trial[record.trial].info.status == ("FAILED" if record.state == "failed" else "FINISHED")
    assert [metric.step for metric in curve][:3] == [1, 2, 3]


def test_a_failing_logger_costs_a_note_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    broken = tmp_path / "path/tensorboardX"
    broken.mkdir(parents=True)
    (broken / "__init__.py").write_text("raise RuntimeError('this logger is broken')")
    monkeypatch.setenv("PYTHONPATH", str(broken.parent))
    notes: list[str] = []

    class Watcher(tuner.observer.Observer):
        def note(self, text: str) -> None:
            notes.append(text)

    with tuner.run(sweep(["tensorboard"], 3), tmp_path / "study", observer=Watcher()) as study:
        assert sum(study.counts().values()) == 3
    assert any("tensorboard: RuntimeError: this logger is broken" in note for note in notes)


def test_export_logs_what_was_not_logged(tmp_path: Path) -> None:
    folder = make(tmp_path / "own")
    assert "logged 4 more trials" in invoke("export", folder, "--to", "tensorboard").stdout
    assert "logged 0 more trials" in invoke("export", folder, "--to", "tensorboard").stdout
    assert "leave --output out" in invoke("export", folder, "--to", "tensorboard", "-o", "x", code=2).stderr
    with pytest.raises(tuner.errors.SweepError, match="log_to"):
        Study.create(sweep(["comet"], 1))
