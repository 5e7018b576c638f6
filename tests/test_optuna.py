"""Optuna in both directions: conventions, state kept beside the history, our strategies inside its studies."""

from __future__ import annotations

import math

import numpy as np
import optuna
import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
from optuna.trial import TrialState

from tests.strategy_problems import Lab, all_kinds, build, conditional, make_problem, numeric, restricted
from tuner import pareto
from tuner.errors import UsageError
from tuner.optuna import StrategySampler
from tuner.optuna.mirror import AddedMirror, Axis, ReplayedMirror, optuna_constraint, our_margin, quiet
from tuner.space import SearchSpace
from tuner.strategies.evolutionary.cmaes import Onward


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_margin_is_met_here_exactly_when_it_is_there(margin: float) -> None:
    assert (optuna_constraint(margin) <= 0) == (margin >= 0)
    assert our_margin(optuna_constraint(margin)) == margin


def test_an_unknown_margin_counts_as_met() -> None:
    assert optuna_constraint(math.nan) == 0.0


@pytest.mark.parametrize("space", [numeric(), conditional(), all_kinds()])
def test_axes_keep_every_position(space: SearchSpace) -> None:
    axes = [Axis.of(column) for column in space.encoding.columns]
    assert len({axis.name for axis in axes}) == len(axes)
    for config in space.sample(50, np.random.default_rng(0)):
        x, active = space.encoding.encode(config)
        for j in np.flatnonzero(active):
            value = axes[j].value(x[j])
            assert axes[j].position(value) == pytest.approx(x[j], abs=1e-12)
            assert axes[j].distribution._contains(axes[j].distribution.to_internal_repr(value))


def history_with_everything() -> Lab:
    lab = Lab(make_problem(conditional(), objectives=2, constraint=True))
    for i, config in enumerate(lab.problem.space.sample(6, np.random.default_rng(1))):
        lab.add(config, state=["completed", "failed", "completed", "pruned", "infeasible", "pending"][i])
    lab.trials[2] = (*lab.trials[2][:2], {"f0": 2.0, "f1": -3.0, "g": 1.0})
    return lab


def test_a_mirror_says_what_the_history_says() -> None:
    lab = history_with_everything()
    history = lab.history()
    trials = AddedMirror(lab.problem).study(history).get_trials()
    states = [TrialState.COMPLETE, TrialState.FAIL, TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL]
    assert [trial.state for trial in trials] == [*states, TrialState.RUNNING]
    assert trials[2].values == [2.0, 3.0]
    assert trials[2].constraints == {"0: g <= 0.9": pytest.approx(0.1)}
    for trial, active in zip(trials, np.concatenate([history.active, history.pending_active])):
        assert len(trial.params) == active.sum()


def test_a_running_trial_is_finished_in_its_place() -> None:
    lab = history_with_everything()
    mirror = AddedMirror(lab.problem)
    study = mirror.study(lab.history())
    lab.finish(5)
    lab.add(lab.problem.space.centre(), state="pending")
    assert mirror.study(lab.history()) is study
    trials = study.get_trials()
    assert [trial.state for trial in trials[5:]] == [TrialState.COMPLETE, TrialState.RUNNING]
    assert trials[5].values == lab.problem.values(lab.trials[5][2])


def test_a_penalised_study_ranks_infeasible_trials_behind_feasible_ones() -> None:
    lab = Lab(make_problem(numeric(), constraint=True))
    for config, value in zip(lab.problem.space.sample(4, np.random.default_rng(0)), [0.5, 5.0, 2.0, -1e9]):
        lab.add(config, metrics={"f0": 10 * value, "g": value})
    sampler = optuna.samplers.RandomSampler(seed=0)
    study = ReplayedMirror(lab.problem, lambda number: sampler, penalise=True).study(lab.history())
    values = np.array([trial.value for trial in study.get_trials()], dtype=float)
    assert np.argsort(values)[::-1].tolist() == [0, 3, 2, 1]


@pytest.mark.parametrize("name", ["cmaes", "nsga2", "nsga3"])
def test_replay_rebuilds_what_the_sampler_keeps(name: str) -> None:
    problem = make_problem(numeric())
    lab = Lab(problem)
    kept, fresh = build(name, problem), build(name, problem)
    lab.run(kept, 14)
    with quiet():
        study = kept._mirror.study(lab.history())  # type: ignore[attr-defined]
        rebuilt = fresh._mirror.study(lab.history())  # type: ignore[attr-defined]
    noted = [{k: v for k, v in t.system_attrs.items() if "generation" in k} for t in study.get_trials()]
    assert sum(map(bool, noted)) >= 12
    assert {next(iter(notes.values())) for notes in noted if notes} >= {0, 1, 2}
    assert noted == [{k: v for k, v in t.system_attrs.items() if "generation" in k} for t in rebuilt.get_trials()]


def test_cmaes_samples_the_columns_it_does_not_search() -> None:
    lab = Lab(make_problem(all_kinds()))
    configs = lab.run(build("cmaes", lab.problem), 10)
    assert len({config["c"] for config in configs}) > 1
    assert len({config["x"] for config in configs}) == 10


def test_cmaes_goes_on_from_the_best_that_others_found() -> None:
    lab = Lab(make_problem(numeric(), seed=1))
    for config in lab.problem.space.sample(20, np.random.default_rng(0)):
        lab.add(config)
    others = lab.history()
    best = others.X[np.argmax(others.Y[:, 0])]
    onward = Onward(lab.problem, 20)
    lab.run(onward, 40)
    history = lab.history()
    assert history.Y[20:, 0].max() > history.Y[:20, 0].max()
    near, far = (np.linalg.norm(rows - best, axis=1).mean() for rows in (history.X[20:26], history.X[:20]))
    assert near < 0.8 * far  # a first generation with a step of a sixth, against uniform draws
    assert lab.ask(onward)[0].config == lab.ask(Onward(lab.problem, 20))[0].config


def test_nsga2_takes_the_trials_of_others_for_its_first_generations() -> None:
    lab = Lab(make_problem(numeric(), objectives=2, seed=1))
    for config in lab.problem.space.sample(40, np.random.default_rng(0)):
        lab.add(config)
    lab.run(build("nsga2", lab.problem, population=10), 30)
    ranks = pareto.ranks(lab.history().Y)
    assert ranks[40:].mean() < 0.8 * ranks[:40].mean()  # 0.42 to 0.71 with other seeds; 1 for uniform draws


def test_restrictions_are_met_although_the_sampler_does_not_know_them() -> None:
    lab = Lab(make_problem(restricted()))
    lab.run(build("tpe", lab.problem), 12)
    for proposal in lab.ask(build("tpe", lab.problem), 6):
        assert lab.problem.space.feasible(proposal.config)
        assert proposal.provenance.engine == "tpe"


@pytest.mark.parametrize("name", ["tpe", "cmaes"])
def test_a_sampler_finds_the_optimum_rather_than_its_opposite(name: str) -> None:
    lab = Lab(make_problem(numeric(), seed=1))
    lab.run(build(name, lab.problem), 40)
    values = [metrics["f0"] for _, _, metrics in lab.trials.values()]
    assert np.mean(values[30:]) > np.mean(values[:10])


def test_options_that_cannot_be_are_refused_when_built() -> None:
    with pytest.raises(ValueError, match="population"):
        build("nsga2", make_problem(numeric()), population=1)
    with pytest.raises(UsageError, match="exactly one objective"):
        build("cmaes", make_problem(numeric(), objectives=2))


def test_optuna_logs_as_before_afterwards() -> None:
    before = optuna.logging.get_verbosity()
    Lab(make_problem(numeric())).run(build("tpe", make_problem(numeric())), 2)
    assert optuna.logging.get_verbosity() == before


GP = {"initial": 4, "restarts": 2, "raw_samples": 24, "mc_samples": 16, "maxiter": 8}


def objective(trial: optuna.Trial) -> float:
    x = trial.suggest_float("x", -1.0, 1.0)
    lr = trial.suggest_float("lr", 1e-5, 1e-1, log=True)
    k = trial.suggest_int("k", 1, 16, log=True)
    kind = trial.suggest_categorical("kind", [None, "a", 2.5])
    trial.suggest_float("fixed", 3.0, 3.0)
    return (x - 0.3) ** 2 + (math.log10(lr) + 3) ** 2 + abs(k - 4) + (kind != "a")


@pytest.fixture(autouse=True)
def silent() -> None:
    optuna.logging.set_verbosity(optuna.logging.ERROR)


@pytest.mark.parametrize(("name", "options"), [("gp", GP), ("random", {}), ("sobol", {}), ("auto", {})])
def test_a_strategy_runs_in_an_optuna_study(name: str, options: dict[str, int]) -> None:
    study = optuna.create_study(sampler=StrategySampler(name, options=options, seed=0))
    study.optimize(objective, n_trials=7)
    assert len(study.trials) == 7
    assert all(trial.state == TrialState.COMPLETE for trial in study.trials)
    assert len({tuple(trial.params.items()) for trial in study.trials}) == 7


def test_an_interrupted_optuna_study_goes_on_as_if_it_had_not_been() -> None:
    runs = []
    for parts in ([8], [3, 5]):
        study = optuna.create_study()
        for n in parts:
            study.sampler = StrategySampler("gp", options=GP, seed=5)
            study.optimize(objective, n_trials=n)
        runs.append([trial.params for trial in study.trials])
    assert runs[0] == runs[1]


def test_directions_and_constraints_reach_the_strategy() -> None:
    def curve(trial: optuna.Trial) -> tuple[float, float]:
        x, y = trial.suggest_float("x", 0.0, 1.0, step=0.01), trial.suggest_float("y", 0.0, 1.0)
        trial.set_constraint("x is at most a half", x - 0.5)
        return x - y, (x - 0.2) ** 2 + y

    space = {"x": FloatDistribution(0.0, 1.0, step=0.01), "y": FloatDistribution(0.0, 1.0)}
    sampler = StrategySampler("gp", options=GP, search_space=space, seed=0)
    study = optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)
    study.optimize(curve, n_trials=14)
    late = [trial.params for trial in study.trials[6:]]
    assert np.mean([params["x"] <= 0.5 for params in late]) >= 0.5
    assert np.mean([params["y"] for params in late]) < 0.2
    assert max(trial.params["x"] for trial in study.best_trials) > 0.4


def test_an_exhausted_space_falls_back_to_chance() -> None:
    space = {"k": IntDistribution(0, 2), "c": CategoricalDistribution(["a", "b"])}
    study = optuna.create_study(sampler=StrategySampler("grid", search_space=space, seed=0))
    study.optimize(lambda trial: trial.suggest_int("k", 0, 2) + len(trial.suggest_categorical("c", ["a", "b"])), 8)
    assert len({(trial.params["k"], trial.params["c"]) for trial in study.trials[:6]}) == 6


def test_failed_and_infinite_trials_are_no_observations() -> None:
    def fragile(trial: optuna.Trial) -> float:
        x = trial.suggest_float("x", 0.0, 1.0)
        if trial.number == 2:
            raise ValueError("out of memory")
        return math.inf if trial.number == 3 else x

    study = optuna.create_study(sampler=StrategySampler("gp", options=GP, seed=0))
    study.optimize(fragile, n_trials=8, catch=ValueError)
    assert len(study.trials) == 8
