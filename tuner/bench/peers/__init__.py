"""Peers, each with its defaults, through its own interface; their packages are imported when a run begins.

Single goals are minimised by all of them here: a goal to maximise is negated. A peer that knows no constraints is told
the problem's floor plus the violation where a trial is infeasible; one that knows no conditions gets every axis, and
what an inactive one says changes nothing. Each module says what its peer knows and what it does not.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tuner.bench.methods import Session
from tuner.bench.problem import BenchProblem
from tuner.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Peer:
    """An adapter.

    Attributes:
        package: What must be installed.
        module: Of this package, where its session is.
        session: The name of a class that takes (problem, trials, seed) and the options.
        options: Its own choice among what the peer offers, no more.
        several: Whether it takes more than one goal; None: only that.
    """

    package: str
    module: str
    session: str
    options: Mapping[str, Any] = field(default_factory=dict)
    several: bool | None = True

    def make(self, problem: BenchProblem, n_trials: int, seed: int) -> Session:
        """The beginning of a run.

        Raises:
            UsageError: The peer cannot express the problem.
        """
        many = len(problem.goals) > 1
        if many and self.several is False:
            raise UsageError(f"{self.package} takes one goal here, but {problem.name} has {len(problem.goals)}")
        if not many and self.several is None:
            raise UsageError(f"{self.package} is run for several goals, but {problem.name} has one")
        module = importlib.import_module(f"tuner.bench.peers.{self.module}")
        made: Session = getattr(module, self.session)(problem, n_trials, seed, **self.options)
        return made


def _optuna(sampler: str, **options: Any) -> Peer:
    chosen = {"sampler": sampler, "options": options}
    return Peer(package="optuna", module="optuna", session="OptunaSession", options=chosen)


def _smac(facade: str, *, several: bool = True) -> Peer:
    return Peer(package="smac", module="smac", session="SmacSession", options={"facade": facade}, several=several)


PEERS: Mapping[str, Peer] = {
    "optuna-tpe": _optuna("TPESampler"),
    "optuna-tpe-group": _optuna("TPESampler", multivariate=True, group=True),
    "optuna-gp": _optuna("GPSampler"),
    "optuna-cmaes": _optuna("CmaEsSampler"),
    "optuna-nsga2": _optuna("NSGAIISampler"),
    "optuna-tpe-hyperband": Peer(package="optuna", module="optuna", session="HyperbandSession", several=False),
    "nevergrad": Peer(package="nevergrad", module="nevergrad", session="NevergradSession"),
    "cma": Peer(package="cma", module="cma", session="CmaSession"),
    "ax": Peer(package="ax-platform", module="ax", session="AxSession"),
    "botorch": Peer(package="botorch", module="botorch", session="BoTorchSession"),
    "smac-rf": _smac("HyperparameterOptimizationFacade"),
    "smac-bb": _smac("BlackBoxFacade"),
    "smac-mf": _smac("MultiFidelityFacade", several=False),
    "hebo": Peer(package="HEBO", module="hebo", session="HeboSession"),
    "vizier": Peer(package="google-vizier", module="vizier", session="VizierSession", several=False),
    "pymoo-nsga2": Peer(package="pymoo", module="pymoo", session="PymooSession", several=None),
}
