"""saas: Bayesian optimisation with models that look for the few columns that matter, for many columns and few trials.

`gp` with an ensemble of models: each has another shrinkage of the sparse priors of Eriksson and Jankowiak 2021 (see the
covariance `saas`), and its share of the samples of the acquisition function. The cost of a suggestion is that of `gp`
times the members; beyond a few hundred trials the priors no longer matter, and `gp` or `turbo` do as well.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner import catalog
from tuner.strategies.bayesian import gp

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

    from tuner.problem import Problem
    from tuner.strategies.bayesian.engine import Engine


@dataclass(frozen=True, slots=True)
class Options:
    """What `saas` can be told.

    Attributes:
        initial: Trials before the first model; as for `gp` when None.
        members: Models of each outcome.
        fit_steps: Steps of L-BFGS-B for the hyperparameters of each.
        restarts: Local searches of the acquisition function.
        raw_samples: Draws from the space that they start from.
        mc_samples: Samples of the outcomes, of all members together.
        maxiter: Steps of each gradient search.
        max_rows: Most trials a model is conditioned on: the best half and the latest.
    """

    initial: int | None = None
    members: int = 4
    fit_steps: int = 60
    restarts: int = 8
    raw_samples: int = 512
    mc_samples: int = 32
    maxiter: int = 40
    max_rows: int = 300

    def __post_init__(self) -> None:
        if self.members < 2:
            raise ValueError(f"members must be >= 2, but got {self.members}; use gp for a single model")


def build(problem: Problem, options: Options) -> gp.GpSearch:
    """Return the strategy; it works on every problem."""
    shared = gp.shared(options)

    def engine() -> Engine:
        module = catalog.load("kernels", "saas")
        members = [_shrunk(module.shrink, tau) for tau in module.shrinkages(options.members)]
        return gp.engine(problem, shared, name="saas", members=members)

    return gp.GpSearch(problem, shared, proposer=engine)


def _shrunk(shrink: Callable[[Kernel, float], Kernel], tau: float) -> Callable[[Kernel], Kernel]:
    return lambda kernel: shrink(kernel, tau)
