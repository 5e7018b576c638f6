"""Engine: proposals by model, for every strategy that has one.

It learns, conditions, makes the acquisition function, and looks for the best candidates; what else a strategy does is
its own affair.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tuner.gp.acquisition import MAX_VOLUME_OBJECTIVES, make_acquisition
from tuner.gp.covariance import Layout
from tuner.gp.model import Surrogate, condition
from tuner.gp.optimize import one_thread
from tuner.noise import in_doubt, tried_again
from tuner.strategies.bayesian.candidates import Candidates
from tuner.strategies.bayesian.elsewhere import ranked_elsewhere, settled
from tuner.strategies.bayesian.learned import Learned
from tuner.strategies.bayesian.observations import Observations, observe
from tuner.strategies.bayesian.predicted import predicted
from tuner.strategies.bayesian.regions import Region
from tuner.strategies.bayesian.table import Tables
from tuner.strategies.bayesian.tilts import prior_tilt, seconds_tilt, together
from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

    from tuner.history import History
    from tuner.problem import Problem
    from tuner.strategies.fresh import Fresh

Wanted = Callable[["History", int], "tuple[Callable[[Tensor], Tensor], str] | None"]
"""History and a seed -> the utility of objectives, maximised, (..., m) -> (...,), and a note; None for none yet."""

Within = Callable[[Observations, Tensor, Surrogate, np.random.Generator], Region]
"""Observations, their X as models see it, and the surrogate -> where candidates are looked for."""

_INCUMBENTS = 4
_MIN_SAMPLES = 4

_NOISY = 0.01
"""Share of an objective's variance from which its noise is worth a word, and a trial to find out."""

_MORE_ON_GPU = 8
_GPU_PAYS = 1000
"""Trials from which a GPU is worth its start and its memory. From 200 at the latest it is faster, but by less than a
tenth of a second (`benchmarks/suggestion_seconds.py`)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """How proposals are made; the fields are those of `tuner.strategies.bayesian.gp.Options`, and

    fit_steps: Steps of L-BFGS-B for hyperparameters.
    """

    restarts: int = 8
    raw_samples: int = 512
    mc_samples: int = 32
    maxiter: int = 40
    max_rows: int = 1000
    kernels: Mapping[str, str] = field(default_factory=dict)
    per_second: bool = False
    fit_steps: int = 60
    doubt: bool = False


class Engine:
    """See the module.

    Args:
        problem: What is searched.
        settings: How.
        name: The strategy's, for the provenance.
        members: For each member of an ensemble of models, what is made of the space's covariance; one as it is.
        wanted: What is improved instead of the objectives.
    """

    def __init__(
        self,
        problem: Problem,
        settings: Settings,
        *,
        name: str = "gp",
        members: Sequence[Callable[[Kernel], Kernel]] = (lambda kernel: kernel,),
        wanted: Wanted = lambda history, seed: None,
    ) -> None:
        self._problem = problem
        self._space = problem.space
        self._settings = settings
        self._name = name
        self._wanted = wanted
        numeric = "effects" if len(members) == 1 else "matern"  # sparse priors are of lengthscales of all columns
        self._layout = Layout(problem.space, settings.kernels, numeric=numeric)
        self._tables = Tables(problem, self._layout, per_second=settings.per_second, stretched=len(members) > 1)
        self._learned = [
            Learned(self._tables, self._covariance(member), maxiter=settings.fit_steps) for member in members
        ]

    def _covariance(self, member: Callable[[Kernel], Kernel]) -> Callable[[], Kernel]:
        return lambda: member(self._layout.covariance())

    def propose(
        self,
        history: History,
        fresh: Fresh,
        n: int,
        rng: np.random.Generator,
        *,
        since: int,
        within: Within | None = None,
    ) -> list[Proposal]:
        """Up to `n` proposals, each made as if those before it were running.

        Args:
            history: At least two trials of it have completed.
            fresh: Takes the configurations.
            n: How many.
            rng: For candidates and samples.
            since: The number of trials before the first model.
            within: Where to look; everywhere when None.
        """
        with one_thread():
            return self._propose(history, fresh, n, rng, since, within)

    def _propose(
        self,
        history: History,
        fresh: Fresh,
        n: int,
        rng: np.random.Generator,
        since: int,
        within: Within | None,
    ) -> list[Proposal]:
        settings, layout = self._settings, self._layout
        seed = int(rng.integers(2**31 - 1))
        device = _device(history.n)
        data = observe(history, max_rows=settings.max_rows * (1 if device.type == "cpu" else _MORE_ON_GPU))
        table = self._tables.table(data)
        learned = [each.hyperparameters(history, table) for each in self._learned]
        X, Y, share = table.X.to(device), table.Y.to(device), table.share.to(device)
        surrogates = [condition(X, Y, each, table.outcomes, share=share) for each in learned]
        surrogate = surrogates[0]
        goal, found = table.goal(self._problem, data, surrogate), self._wanted(history, seed)
        if found is not None:
            goal = replace(goal, utility=_in_units(found[0], surrogate, table.n_objectives))
        samples = settings.mc_samples
        if table.n_objectives >= MAX_VOLUME_OBJECTIVES:
            samples = max(samples // 4, _MIN_SAMPLES)
        incumbents = data.incumbents(_INCUMBENTS)
        known, started = data.complete, history.n - since + 1
        priors = prior_tilt(self._problem, layout, started, X[torch.from_numpy(known)], data.ranks()[known])
        tilt = together(priors, seconds_tilt(surrogate, table.seconds))
        pending = torch.from_numpy(np.array(layout.arrange(history.pending_X, history.pending_active))).to(device)
        region = within(data, table.X, surrogate, rng) if within is not None else None
        candidates = Candidates(layout, self._space, incumbents, settings.raw_samples, rng, region=region)
        notes = [*self._notes(surrogates), *([region.note] if region is not None else [])]
        notes += [found[1]] if found is not None else []
        quiet = within is None and not data.noisy and (_noise(surrogate, 0) < _NOISY or tried_again(history))
        still = settled(data, surrogate, layout) if quiet else None
        proposals = self._again(history, data, surrogate) if history.n >= 2 * since else []
        for _ in range(n - len(proposals)):
            acquisition = make_acquisition(
                surrogates,
                goal,
                X,
                standing=torch.from_numpy(data.standing).to(device),
                X_pending=pending,
                seed=seed,
                n_samples=samples,
                tilt=tilt,
            )
            jumps: list[tuple[float, Config]] = []
            if still is not None:
                at, steps = incumbents[0], settings.maxiter
                jumps = ranked_elsewhere(
                    acquisition, candidates, layout, self._space, surrogate, at, rng, maxiter=steps
                )
            ranked = jumps or candidates.ranked(acquisition, restarts=settings.restarts, maxiter=settings.maxiter)
            chosen = next(((value, config) for value, config in ranked if fresh.take(config)), None)
            if chosen is None:
                break
            x, active = self._space.encoding.encode(chosen[1])
            row = torch.from_numpy(layout.arrange(x[None], active[None])).to(device)
            why = [f"settled for {still} trials, a jump out of the incumbent's basin"] if jumps else []
            reason = _account(acquisition.name, data, [*notes, *why])
            mean, sd = predicted(self._problem, acquisition, surrogates, goal, row)
            provenance = Provenance(engine=self._name, acquisition=chosen[0], mean=mean, sd=sd, reason=reason)
            proposals.append(Proposal(config=chosen[1], provenance=provenance))
            pending = torch.cat([pending, row])
        return proposals

    def _again(self, history: History, data: Observations, surrogate: Surrogate) -> list[Proposal]:
        """The best configuration once more, when it is in doubt whether measurements are noisy."""
        noise = max((_noise(surrogate, j) for j in range(data.n_objectives)), default=0.0)
        if not self._settings.doubt or not in_doubt(history) or noise < _NOISY:
            return []
        config = self._space.encoding.decode(data.incumbents(1)[0])
        reason = f"the model sees noise of {noise:.0%} of the variance; a configuration tried twice will show it"
        return [Proposal(config=config, provenance=Provenance(engine=self._name, reason=reason), again=True)]

    def _notes(self, surrogates: Sequence[Surrogate]) -> list[str]:
        found = list(dict.fromkeys(note for surrogate in surrogates for note in surrogate.notes))
        if (noise := _noise(surrogates[0], 0)) > _NOISY:
            found.append(f"noise of {noise:.0%} of the variance")
        return [f"{len(surrogates)} models"] * (len(surrogates) > 1) + found


def _in_units(utility: Callable[[Tensor], Tensor], surrogate: Surrogate, m: int) -> Callable[[Tensor], Tensor]:
    """A utility of m objectives in their own units as one of Z."""
    loc, scale = surrogate.loc[:m], surrogate.scale[:m]
    return lambda Z: utility(loc + scale * Z)


def _noise(surrogate: Surrogate, j: int) -> float:
    """The noise's share of the variance of outcome j; 0 where it has no model."""
    model = surrogate.models.get(j)
    return 0.0 if model is None else float(model.noise.mean())


def _device(trials: int) -> torch.device:
    """Where models of so many trials are: on a GPU when there is one and it pays."""
    gpu = trials >= _GPU_PAYS and torch.cuda.is_available()
    return torch.device("cuda" if gpu else "cpu")


def _account(name: str, data: Observations, notes: Sequence[str]) -> str:
    failed = f", {data.failures} of them failed" if data.failures else ""
    return "; ".join([f"{name} over {data.n_trials} trials{failed}", *notes])
