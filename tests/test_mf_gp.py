"""mf-gp: what less fidelity is worth, which fidelities are proposed, and that the full one gets its share."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
import torch
from scipy import integrate, stats

import tuner
from tests.strategy_problems import SMALL, SPACES, Lab, build, make_problem, numeric
from tuner import catalog
from tuner.errors import UsageError
from tuner.fidelity import levels
from tuner.gp.fidelity import AcrossFidelities, cheapest, correlations, information
from tuner.gp.model import process
from tuner.history import History
from tuner.problem import Problem
from tuner.strategies.bayesian.fidelities import Spending
from tuner.strategies.bayesian.mf_gp import plan
from tuner.trial import Outcome, Proposal

DESIGN = {**SMALL["mf-gp"], "initial": 8}


def sweep(parameter: Any = 27, **changes: Any) -> dict[str, Any]:
    return {
        "name": "levels",
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "z": {"min": 0.0, "max": 1.0}, "epochs": parameter},
        "metrics": {"y": {"goal": "maximize"}},
        "fidelity": {"parameter": "epochs", "min": 1, "max": 27},
        "search": {"method": "mf-gp", **DESIGN},
        "budget": {"trials": 100},
        **changes,
    }


def value(config: Mapping[str, Any], fidelity: float) -> float:
    """Best at (0.7, 0.3) in full, elsewhere at less, where everything is also worse."""
    off = 0.2 * (1 - math.log(fidelity, 27))
    return -((config["x"] - 0.7 + off) ** 2) - (config["z"] - 0.3) ** 2 - 3 * off


def run(study: tuner.Study, n: int) -> list[Proposal]:
    """Ask and tell `n` times."""
    proposals = []
    for _ in range(n):
        proposals += study.ask(1)
        proposal = proposals[-1]
        assert proposal.fidelity is not None
        metrics = {"y": value(proposal.config, proposal.fidelity)}
        study.finish(proposal.trial, Outcome(state="completed", metrics=metrics), ran=(0.0, proposal.fidelity))
    return proposals


def spending(low: int, high: int, *, trials: int | None = None) -> Problem:
    fidelity = tuner.sweep.Fidelity(parameter="epochs", min=low, max=high)
    return dataclasses.replace(make_problem(numeric(), trials=trials), fidelity=fidelity)


def matern(d: int) -> Any:
    return catalog.load("kernels", "matern").Matern(d).double()


# ---- covariance and information


def test_the_covariance_has_unit_variance_and_takes_rows_without_a_fidelity_to_be_at_the_target() -> None:
    kernel = AcrossFidelities(lambda: matern(2), 2).double()
    X = torch.rand(40, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        K = kernel.forward(X, X)
        assert torch.allclose(K.diagonal(), torch.ones(40, dtype=torch.float64), atol=1e-9)
        assert torch.allclose(kernel.forward(X, X, diag=True), K.diagonal())
        assert float(torch.linalg.eigvalsh(K).min()) > -1e-10  # rounding of 40 eigenvalues of at most 40
        target = torch.cat([X[:, :2], torch.ones(40, 1, dtype=torch.float64)], dim=1)
        assert torch.equal(kernel.forward(X[:, :2], X), kernel.forward(target, X))


def test_the_covariance_is_the_sum_that_it_says() -> None:
    kernel = AcrossFidelities(lambda: matern(1), 1).double()
    x, y = torch.tensor([[0.2, 0.0]], dtype=torch.float64), torch.tensor([[0.5, 1.0]], dtype=torch.float64)

    def m52(r: float) -> float:
        r *= math.sqrt(5)
        return (1 + r + r * r / 3) * math.exp(-r)

    a, b, c = (share / sum(map(math.exp, (0, -1, -2))) for share in map(math.exp, (0, -1, -2)))
    inner, across = m52(0.3 / float(kernel.stays.lengthscale.detach())), m52(1 / 2)
    with torch.no_grad():
        assert float(kernel.forward(x, y)) == pytest.approx(a * inner + b * inner * across + c * across)


def test_correlations_are_those_of_the_joint_posterior() -> None:
    kernel = AcrossFidelities(lambda: matern(1), 1).double().requires_grad_(requires_grad=False)
    X = torch.tensor([[0.1, 1.0], [0.3, 0.0], [0.8, 0.5]], dtype=torch.float64)
    model = process(kernel, torch.full((3,), 1e-3, dtype=torch.float64), X, torch.tensor([0.0, 1.0, -1.0]).double())
    x, s = torch.tensor([[0.35]], dtype=torch.float64), torch.tensor([0.0, 0.5, 1.0], dtype=torch.float64)
    squared, mean, sd = correlations(model, x, s)
    at = torch.tensor([[0.35, 1.0], [0.35, 0.0], [0.35, 0.5], [0.35, 1.0]], dtype=torch.float64)
    K = kernel.forward(X, X) + 1e-3 * torch.eye(3, dtype=torch.float64)
    k = kernel.forward(at, X)
    C = kernel.forward(at, at) - k @ torch.linalg.solve(K, k.T)
    expected = C[0, 1:] ** 2 / (C[0, 0] * (C.diagonal()[1:] + 1e-3))
    assert torch.allclose(squared, expected, atol=1e-10)
    assert (mean, sd) == pytest.approx(tuple(float(v[0]) for v in model.predict(x)))
    assert (squared.diff() > 0).all()  # nearer to the target says more, the more so as one configuration has one mean


@pytest.mark.parametrize("gap", [-1.0, 0.0, 1.5])
@pytest.mark.parametrize("rho", [0.3, 0.7, 0.95])
def test_information_is_a_bound_under_that_of_the_truncated_joint_normal(gap: float, rho: float) -> None:
    """I = H(y) - H(y | f <= t) for standard normal f and y of correlation rho, by quadrature; never more than that."""

    def density(y: float) -> float:
        inner = stats.norm.cdf((gap - rho * y) / math.sqrt(1 - rho**2))
        return float(stats.norm.pdf(y) * inner / stats.norm.cdf(gap))

    def entropy(y: float) -> float:
        p = density(y)
        return -p * math.log(p) if p > 0 else 0.0

    exact = 0.5 * math.log(2 * math.pi * math.e) - integrate.quad(entropy, -9, 9, limit=200)[0]
    bound = float(information(torch.tensor([rho**2], dtype=torch.float64), gap))
    assert 0 < bound <= exact + 1e-9
    assert bound > 0.6 * exact  # the entropy of a truncated normal is near that of a normal of its variance


def test_information_at_the_mean_has_a_closed_form() -> None:
    squared = torch.tensor([0.0, 0.25, 0.81], dtype=torch.float64)
    assert torch.allclose(information(squared, 0.0), -0.5 * torch.log(1 - squared * 2 / math.pi))
    assert information(squared, math.inf).tolist() == information(squared, 3.0).tolist()


def test_the_most_information_per_cost_is_chosen() -> None:
    assert cheapest(torch.tensor([0.1, 0.4, 0.5], dtype=torch.float64), [1.0, 2.0, 5.0]) == 1
    assert (
        cheapest(torch.tensor([0.1, 0.2], dtype=torch.float64), [1.0, 2.0]) == 1
    )  # of equals the dearer, which says more
    assert cheapest(torch.zeros(3, dtype=torch.float64), [1.0, 2.0, 3.0]) == 2


# ---- what is proposed


def test_the_design_is_one_in_full_then_cheap_ones_then_the_best_of_them_at_more() -> None:
    rising = [3, 3, 9, 9, 27, 27]
    options = catalog.load("strategies", "mf-gp").Options
    assert plan(spending(1, 27), options()) == [27, *[1] * 16, *rising]  # three columns
    assert plan(spending(1, 27), options(overhead=0.1)) == [27, *[1] * 10, *rising]  # 1.5 / (1 / 27 + 0.1)
    assert plan(spending(2, 3), options()) == [3, 2, 2, 2, 3, 3]
    assert plan(spending(1, 27), options(initial=6)) == [27, 1, 1, 1, 3, 3]
    assert plan(spending(1, 27, trials=40), options()) == [27, *[1] * 5, 3, 3, 9, 9]
    proposals = run(tuner.Study.create(sweep()), 8)
    assert [p.fidelity for p in proposals] == [27, 1, 1, 1, 1, 3, 3, 9]
    cheap = {p.trial: value(p.config, 1) for p in proposals if p.fidelity == 1}
    risen = next(p for p in proposals if p.fidelity == 3)
    assert risen.config == proposals[max(cheap, key=lambda trial: cheap[trial])].config
    assert risen.provenance.reason == "initial design; epochs=3, as it was good at less"


def test_a_trial_costs_its_share_and_a_little_or_its_seconds_once_they_say() -> None:
    problem = spending(1, 27)
    lab = Lab(problem)
    for config, fidelity in zip(problem.space.sample(3, np.random.default_rng(0)), (1.0, 9.0, None), strict=True):
        lab.add(config, fidelity=fidelity)
    history = lab.history()
    by_share = Spending(levels=levels(problem), share=0.7, overhead=0.01, per_second=False)
    assert by_share.costs(history, np.array([1.0, 9.0, np.nan])) == pytest.approx(
        [(0.01 + f / 27) / 1.01 for f in (1, 9, 27)]
    )
    full = 1.01 / (3 * 0.01 + 37 / 27)  # of the cost of the three trials
    assert by_share.due(history, []) == (False, pytest.approx(full))
    assert by_share.due(history, [9.0])[0]
    assert dataclasses.replace(by_share, per_second=True).costs(history, np.array([1.0]))[0] == pytest.approx(
        (0.01 + 1 / 27) / 1.01  # half a second for each trial of the lab: seconds do not say
    )
    seconds = np.array([2.0 + 1.0, 2.0 + 9.0, 2.0 + 27.0])  # two that the fidelity has no part in
    measured = History(problem=problem, columns=columns(history, seconds=seconds), next_trial=3)
    costs = dataclasses.replace(by_share, per_second=True).costs(measured, history.fidelity)
    assert costs == pytest.approx(seconds / 29.0)


def columns(history: History, **changed: Any) -> dict[str, Any]:
    """The columns of a history, with some changed."""
    names = ("number", "X", "active", "Y", "C", "outputs", "state", "fidelity", "seconds")
    return {name: changed.get(name, getattr(history, name)) for name in names}


@pytest.mark.parametrize("parameter", [27, {"type": "int", "min": 1, "max": 27}, {"values": [1, 3, 9, 27]}])
def test_fidelities_lie_on_the_grid_and_are_explained(parameter: Any) -> None:
    proposals = run(tuner.Study.create(sweep(parameter)), 13)
    assert {p.fidelity for p in proposals} <= {1.0, 3.0, 9.0, 27.0}
    assert {p.fidelity for p in proposals} >= {1.0, 27.0}
    for proposal in proposals:
        assert proposal.config["epochs"] == (27 if parameter == 27 else proposal.fidelity)
        assert type(proposal.config["epochs"]) is int
        assert f"epochs={proposal.fidelity:g}" in proposal.provenance.reason
    by_model = [p for p in proposals if "qLogNEI" in p.provenance.reason]
    assert len(by_model) >= 5
    said = re.compile(r"nats for [\d.e-]+ full trials, correlation [\d.]+ with epochs=27|has had \d+% of the cost")
    for proposal in by_model:
        assert said.search(proposal.provenance.reason)
        assert set(proposal.provenance.mean) == {"y"}


def test_full_fidelity_gets_its_share_and_the_optimum_there_is_found() -> None:
    study = tuner.Study.create(sweep(search={"method": "mf-gp", **DESIGN, "fit_steps": 30, "share": 0.4}))
    proposals = run(study, 20)
    costs = np.array([0.01 + (p.fidelity or 27) / 27 for p in proposals])
    full = np.array([p.fidelity == 27 for p in proposals])
    share = np.cumsum(costs * full) / np.cumsum(costs)
    assert share.min() > 0.4 - costs[~full].max() / 2  # below it at once full fidelity is due
    best = study.best()
    assert best is not None
    assert best.fidelity == 27
    assert best.metrics["y"] > -0.01  # within 0.1 of the optimum, which less fidelity puts up to 0.2 away


def test_a_resumed_study_proposes_the_same(tmp_path: Any) -> None:
    undisturbed = run(tuner.Study.create(sweep()), 12)
    path = tmp_path / "study.db"
    proposals: list[Proposal] = []
    for part in (3, 6, 3):
        study = tuner.Study.create(sweep(), path) if not proposals else tuner.Study.open(path)
        with study:
            proposals += run(study, part)
    assert [(p.config, p.fidelity) for p in proposals] == [(p.config, p.fidelity) for p in undisturbed]


@pytest.mark.parametrize(
    ("space", "objectives"), [("all_kinds", 1), ("conditional", 2), ("restricted", 1), ("tiny", 2)]
)
def test_the_model_copes_with_every_space_several_objectives_and_failures(space: str, objectives: int) -> None:
    lab = Lab(make_problem(SPACES[space](), objectives=objectives, constraint=True))
    lab.problem = dataclasses.replace(lab.problem, fidelity=spending(1, 27).fidelity)
    strategy = build("mf-gp", lab.problem)
    for step in range(4):
        (proposal, *_) = lab.ask(strategy)
        assert "failed (" not in proposal.provenance.reason
        lab.add(proposal.config, state="failed" if step == 2 else "completed", fidelity=proposal.fidelity)
    (proposal, *_) = lab.ask(strategy, 2)
    assert "qLog" in proposal.provenance.reason


def test_reports_in_the_units_of_the_fidelity_are_learned_from() -> None:
    told = {}
    for scale in (1, 100):
        study = tuner.Study.create(sweep())
        for _ in range(9):
            (proposal,) = study.ask(1)
            assert proposal.fidelity is not None
            for step in range(1, int(proposal.fidelity) + 1):
                study.report(proposal.trial, scale * step, {"y": value(proposal.config, step)})
            metrics = {"y": value(proposal.config, proposal.fidelity)}
            study.finish(proposal.trial, Outcome(state="completed", metrics=metrics), ran=(0.0, 1.0))
        found = re.search(r"over (\d+) observations", study.ask(1)[0].provenance.reason)
        assert found is not None
        told[scale] = int(found[1])
    fidelities = [27, 1, 1, 1, 1, 3, 3, 9]  # with 8 trials of a design, then one by the model
    assert told[100] == len(fidelities) + 1
    assert told[1] >= told[100] + sum({27: 3, 9: 2, 3: 1, 1: 0}[f] for f in fidelities)


def test_without_a_fidelity_it_is_refused() -> None:
    with pytest.raises(UsageError, match=r"declares none; add `fidelity: \{parameter: epochs, min: 1, max: 27\}`"):
        catalog.load("strategies", "mf-gp").build(
            make_problem(numeric()), catalog.load("strategies", "mf-gp").Options()
        )
    for wrong, match in (({"share": 0.0}, "share must lie"), ({"overhead": -1.0}, "overhead must be")):
        with pytest.raises(ValueError, match=match):
            catalog.load("strategies", "mf-gp").Options(**wrong)
    short = sweep({"type": "int", "min": 1, "max": 20})
    with pytest.raises(UsageError, match=r"fidelity.max must be a value of 'epochs'"):
        tuner.Study.create(short).ask(1)
