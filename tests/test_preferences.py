"""Utilities learned from answers, the questions they lead to, `tuner prefer`, and the strategy that listens."""

from __future__ import annotations

import dataclasses
import importlib
import json
import math
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

import tuner
from tests.strategy_problems import SMALL
from tests.surroundings import environment
from tuner import inbox
from tuner.errors import UsageError
from tuner.preferences import answers, skew
from tuner.preferences.front import best_of_front, latest, preferred, question
from tuner.preferences.utility import answers_matrix, covariance, eubo, fitted_lengths, laplace
from tuner.study import Study
from tuner.trial import Answer

TWO = {"a": "minimize", "b": "minimize"}
POINTS = np.random.default_rng(0).random((4, 2))
DUELS = [(0, 1), (2, 1), (3, 2)]
LENGTHS = np.full(2, 0.3)


def circle(n: int) -> list[tuple[float, float]]:
    """n points of a concave front."""
    return [(1 - math.sin(t), 1 - math.cos(t)) for t in np.linspace(0, math.pi / 2, n)]


def make(folder: Path | None, points: Sequence[tuple[float, float]], **changes: Any) -> Study:
    """A study whose trials gave these objectives; trial k had x = k / 100."""
    definition = {"metrics": TWO, "parameters": {"x": {"min": 0.0, "max": 1.0}, "y": {"min": 0.0, "max": 1.0}}}
    study = Study.create({**definition, "search": "random", **changes}, folder)
    for k, (a, b) in enumerate(points):
        study.enqueue({"x": k / 100, "y": 0.5})
        study.tell(study.ask().trial, {"a": a, "b": b})
    return study


def judge(study: Study, utility: Callable[[Mapping[str, float]], float], n: int) -> list[tuple[int, int]]:
    """What is asked when somebody with this utility answers n questions."""
    asked = []
    for _ in range(n):
        pair = question(study.history)
        assert pair is not None
        asked.append(pair)
        left, right = (utility(study.read(trial).metrics) for trial in pair)
        answers.add(study, Answer(*pair) if left >= right else Answer(*pair[::-1]))
    return asked


def wants(a: float, b: float) -> Callable[[Mapping[str, float]], float]:
    """Closeness to a point of the plane."""
    return lambda metrics: -math.hypot(metrics["a"] - a, metrics["b"] - b)


def test_laplace_is_that_of_botorch() -> None:
    importlib.import_module("tuner.gp")  # silences what importing BoTorch warns of
    import torch
    from botorch.acquisition.preference import AnalyticExpectedUtilityOfBestOption
    from botorch.models.pairwise_gp import PairwiseGP
    from gpytorch.kernels import RBFKernel, ScaleKernel

    noise = 0.3
    kernel = ScaleKernel(RBFKernel(ard_num_dims=2)).double()
    kernel.outputscale = noise**-2  # BoTorch's noise has unit variance
    kernel.base_kernel.lengthscale = torch.from_numpy(LENGTHS)
    model = PairwiseGP(torch.from_numpy(POINTS), torch.tensor(DUELS), covar_module=kernel, xtol=1e-10).eval()
    there = model.posterior(torch.from_numpy(POINTS))
    found, _ = laplace(POINTS, answers_matrix(DUELS, 4), LENGTHS, noise=noise)
    mean, cov = found.joint(POINTS)
    # BoTorch adds a jitter to its covariance
    np.testing.assert_allclose(mean, noise * there.mean.squeeze(-1).detach().numpy(), atol=1e-3)
    np.testing.assert_allclose(cov, noise**2 * there.mvn.covariance_matrix.detach().numpy(), atol=1e-3)
    value = AnalyticExpectedUtilityOfBestOption(pref_model=model)(torch.from_numpy(POINTS[:2])).detach().numpy()
    np.testing.assert_allclose(eubo(mean, cov)[0, 1], noise * value.item(), atol=1e-3)


def test_the_skew_process_is_what_rejection_sampling_gives() -> None:
    rng = np.random.default_rng(1)
    A, s = answers_matrix(DUELS, 4), math.sqrt(2.0) * skew.NOISE
    mean, cov = skew.posterior(POINTS, A, LENGTHS, rng, chains=200, kept=100).joint(POINTS)
    drawn = rng.multivariate_normal(np.zeros(4), covariance(POINTS, POINTS, LENGTHS), size=400_000)
    kept = drawn[(drawn @ A.T + s * rng.standard_normal((len(drawn), 3)) >= 0).all(axis=1)]
    # 60,000 kept draws: standard errors of 0.003 for the means, and 0.5% for the variances
    np.testing.assert_allclose(mean, kept.mean(axis=0), atol=0.05 * np.abs(mean).max())
    np.testing.assert_allclose(cov, np.cov(kept.T), atol=0.05 * cov.max())


def test_gibbs_holds_far_out_in_the_tail() -> None:
    correlated = np.linalg.inv(np.array([[1.0, -0.999], [-0.999, 1.0]]))  # both >= 0 is a rare corner
    drawn = skew.truncated(correlated, np.random.default_rng(0), chains=20, kept=20)
    assert np.isfinite(drawn).all()
    assert (drawn >= 0).all()
    assert drawn.mean() < 0.2


def test_contradictions_ties_and_equal_points_do_no_harm() -> None:
    P = np.vstack([POINTS, POINTS[:1]])
    duels = [(0, 1), (1, 0), (0, 4), (4, 0), (2, 3)]
    A = answers_matrix(duels, 5)
    found, _ = laplace(P, A, fitted_lengths(P, A))
    mean = found.mean(P)
    assert abs(mean[0] - mean[1]) < 0.05  # what was said of 2 and 3 says a little of 0 and 1
    assert mean[0] == pytest.approx(mean[4])
    assert mean[2] > mean[3]
    assert np.isfinite(skew.hallucinated(P, A, LENGTHS, np.random.default_rng(0)).mean(P)).all()


def test_the_last_answer_about_a_pair_counts() -> None:
    given = [Answer(1, 2), Answer(3, 4), Answer(2, 1)]
    assert latest(given) == [Answer(3, 4), Answer(2, 1)]


@pytest.mark.parametrize("wish", [(0.1, 0.6), (0.3, 0.3), (0.7, 0.1)])
def test_answers_lead_to_what_is_wanted(wish: tuple[float, float]) -> None:
    study = make(None, circle(21))
    judge(study, wants(*wish), 10)
    best = best_of_front(study.history)
    assert best is not None
    values = sorted((wants(*wish)(record.metrics) for record in study.pareto()), reverse=True)
    # among the three best of 21 after 10 of 210 questions
    assert wants(*wish)(study.read(best.trial).metrics) >= values[2]
    assert study.best() == study.read(best.trial)
    assert best.answers == 10
    assert 1 / 21 < best.probability <= 1


def test_only_the_order_of_the_utility_matters() -> None:
    asked = [
        judge(make(None, circle(9)), lambda m, f=transform: f(wants(0.2, 0.5)(m)), 6)  # type: ignore[misc]
        for transform in (lambda u: u, lambda u: math.exp(5 * u), lambda u: u**3)
    ]
    assert asked[0] == asked[1] == asked[2]


def test_questions_are_about_the_front_and_each_pair_once() -> None:
    study = make(None, [(0.0, 1.0), (0.5, 0.5), (1.0, 0.0), (1.0, 1.0), (0.5, 0.5)])
    asked = judge(study, wants(0, 1), 4)
    assert asked[0] == (0, 2)  # the ends
    assert not any(3 in pair for pair in asked)
    assert {frozenset(pair) for pair in asked} <= {frozenset(p) for p in ((0, 1), (0, 2), (1, 2), (0, 4), (2, 4))}
    judge(study, wants(0, 1), 1)
    assert question(study.history) is None  # trials 1 and 4 gave the same
    assert question(make(None, [(0.0, 1.0), (1.0, 0.0)]).history, {frozenset((0, 1))}) is None


def test_a_long_front_is_asked_about_here_and_there() -> None:
    study = make(None, [])
    for k, (a, b) in enumerate(circle(150)):
        study.add({"x": k / 150, "y": 0.5}, {"a": a, "b": b})
    judge(study, wants(0.3, 0.3), 12)
    best = best_of_front(study.history)
    assert best is not None
    assert len(best.ranking) == 150
    middle = study.read(best.trial).metrics
    assert math.hypot(middle["a"] - 0.293, middle["b"] - 0.293) < 0.15  # a tenth of the front's length


def test_answers_about_what_is_gone_or_incomplete_say_nothing() -> None:
    study = make(None, circle(3))
    history = study.history
    history.answers = (Answer(0, 99),)
    assert preferred(history) is None
    history.answers = (Answer(0, 99), Answer(2, 0))
    found = preferred(history)
    assert found is not None
    assert found.n == 1


def invoke(*args: str, said: str = "", code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(args), input=said)
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


def stored(folder: Path) -> list[Answer]:
    with Study.open(folder, read_only=True) as study:
        return list(study.history.answers)


def test_a_conversation(tmp_path: Path) -> None:
    make(tmp_path, circle(5)).close()
    told = invoke("prefer", str(tmp_path), said="l\nwhat?\nright\ns\ne\nq\n").stdout
    assert told.count("please say") == 1
    assert "a ↓" in told
    assert "preferred: trial" in told
    given = stored(tmp_path)
    assert [answer.equal for answer in given] == [False, False, True]
    assert given[0] == Answer(0, 4)
    best = json.loads(invoke("best", str(tmp_path), "--json").stdout)["trial"]["trial"]
    assert f"preferred: trial {best} " in told
    assert f"preferred: trial {best} " in invoke("best", str(tmp_path)).stdout
    assert f"preferred: trial {best} " in invoke("status", str(tmp_path)).stdout


def test_json_lines_and_answers_at_once(tmp_path: Path) -> None:
    make(tmp_path, circle(5)).close()
    said = '{"answer": "right"}\n{"better": 1, "worse": 2}\n{"answer": "skip"}\n'
    lines = [json.loads(line) for line in invoke("prefer", str(tmp_path), "--json", said=said).stdout.splitlines()]
    assert [line["schema"] for line in lines] == ["tuner.question/1"] * 4 + ["tuner.preferred/1"]
    assert {lines[0]["left"]["trial"], lines[0]["right"]["trial"]} == {0, 4}
    assert lines[-1]["preferred"]["answers"] == 2
    invoke("prefer", str(tmp_path), "--answer", "3>2", "--answer", "1 < 3", "--answer", "0=3")
    assert stored(tmp_path)[1:] == [Answer(1, 2), Answer(3, 2), Answer(3, 1), Answer(0, 3, equal=True)]


def test_while_another_process_writes_answers_go_through_its_inbox(tmp_path: Path) -> None:
    with make(tmp_path, circle(3)):
        assert "by 1 answer" in invoke("prefer", str(tmp_path), "--answer", "1>0").stdout
        assert "no trial 9" in invoke("prefer", str(tmp_path), "--answer", "1>9", code=2).stderr
    assert stored(tmp_path) == []
    (request,) = inbox.take(tmp_path)
    assert request == {"verb": "prefer", "answer": {"better": 1, "worse": 0, "equal": False}}


def objective(config: Mapping[str, Any]) -> dict[str, float]:
    x, y = float(config["x"]), float(config["y"])
    return {"a": x + (y - 0.5) ** 2, "b": 1 - x + (y - 0.5) ** 2}


def test_a_run_takes_up_answers_and_steers(tmp_path: Path) -> None:
    parameters = {name: {"min": 0.0, "max": 1.0} for name in "xy"}
    definition = {"metrics": TWO, "parameters": parameters, "search": {"method": "preference", **SMALL["preference"]}}
    definition |= {"objective": "tests.test_preferences:objective", "name": "liked"}
    with tuner.run({**definition, "budget": {"trials": 8}}, tmp_path) as study:
        front = [record.trial for record in study.pareto()]
        by_a = sorted(front, key=lambda trial: study.read(trial).metrics["a"])
    for worse in by_a[2:]:
        invoke("prefer", str(tmp_path), "--answer", f"{by_a[0]}>{worse}")
    inbox.post(tmp_path, {"verb": "prefer", "answer": dataclasses.asdict(Answer(by_a[0], by_a[1]))})
    with tuner.run({**definition, "budget": {"trials": 16}}, tmp_path) as study:
        assert len(study.history.answers) == len(by_a) - 1
        later = [study.read(trial) for trial in range(8, 16)]
        assert all("answers speak for" in record.provenance.reason for record in later)
        assert {record.provenance.engine for record in later} == {"preference"}
        # who always wants less of `a` is not served by the half of the front that has most of it
        assert float(np.median([record.metrics["a"] for record in later])) < 0.5


def test_mistakes_are_told(tmp_path: Path) -> None:
    make(tmp_path / "one", [(0.0, 0.0)]).close()
    assert "nothing to compare" in invoke("prefer", str(tmp_path / "one"), code=2).stderr
    folder = tmp_path / "two"
    make(folder, circle(3)).close()
    for word in ("1", "a>b", "1>>2", "-1>2"):
        assert "--answer takes two trials" in invoke("prefer", str(folder), "--answer", word, code=2).stderr
    assert "two different trials" in invoke("prefer", str(folder), "--answer", "1>1", code=2).stderr
    assert "no trial 7" in invoke("prefer", str(folder), "--answer", "1>7", code=2).stderr
    assert "JSON object" in invoke("prefer", str(folder), "--json", said="left\n", code=2).stderr
    assert "must be left" in invoke("prefer", str(folder), "--json", said='{"answer": "up"}\n', code=2).stderr
    with Study.create({"metrics": {"a": "minimize"}, "parameters": {"x": {"min": 0, "max": 1}}}, tmp_path / "goal"):
        pass
    assert "between several goals" in invoke("prefer", str(tmp_path / "goal"), code=2).stderr
    for options in ({"model": "elo"}, {"noise": 0.0}):
        study = make(None, circle(3), search={"method": "preference", **options})
        with pytest.raises(UsageError, match="do not fit"):
            study.check_strategy()


def test_auto_listens_once_there_are_answers() -> None:
    study = make(None, circle(12), search="auto")
    silent = study.ask().provenance.reason
    answers.add(study, Answer(0, 1))
    assert "auto chose gp" in silent
    assert "auto chose preference: answers say what is wanted" in study.ask().provenance.reason


def test_looking_needs_no_torch(tmp_path: Path) -> None:
    make(tmp_path, circle(5)).close()
    invoke("prefer", str(tmp_path), "--answer", "1>0")
    code = (
        "import sys; from typer.testing import CliRunner; from tuner.cli import app; "
        f"r = CliRunner().invoke(app, ['best', {str(tmp_path)!r}]); "
        "print(r.stdout, *sys.modules)"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment())
    assert "preferred: trial" in run.stdout
    assert not {"torch", "pandas", "optuna", "botorch"} & set(run.stdout.split())
