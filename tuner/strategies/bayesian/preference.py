"""preference: Bayesian optimisation of what somebody prefers, by the answers of `tuner prefer`.

Until there is an answer, it is `gp`: the whole front is looked for. From then on the improvement of a utility of the
objectives is sought, learned from the answers (`tuner.preferences`), in the composition of Lin et al. (2022): processes
of the objectives inside, the utility outside. So the search goes where the front is liked, and still learns each
objective as the smooth function that it is.

The utility is the mean of the pairwise process (`model: pairwise`), or of a draw of the skew process, taken for the
truth (`model: skew`, the hallucination believer of Takeno et al. 2023). With one objective there is nothing to prefer.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.strategies.bayesian import gp

if TYPE_CHECKING:
    from torch import Tensor

    from tuner.history import History
    from tuner.preferences.front import Model, Preferred
    from tuner.problem import Problem
    from tuner.strategies.bayesian.engine import Engine


@dataclass(frozen=True, slots=True)
class Options:
    """What `preference` can be told.

    Attributes:
        model: pairwise or skew.
        noise: Standard deviation of a judgement, in units of the utility's, more for one who contradicts himself; the
            model's own when None.
        initial: Trials before the first model; as for `gp` when None.
        fit_steps: Steps of L-BFGS-B for the hyperparameters.
        restarts: Local searches of the acquisition function.
        raw_samples: Draws from the space that they start from.
        mc_samples: Samples of the objectives' noise-free values at the trials.
        maxiter: Steps of each gradient search.
        max_rows: Most trials a model is conditioned on.
    """

    model: Model = "skew"
    noise: float | None = None
    initial: int | None = None
    fit_steps: int = 60
    restarts: int = 8
    raw_samples: int = 512
    mc_samples: int = 32
    maxiter: int = 40
    max_rows: int = 1000

    def __post_init__(self) -> None:
        if self.model not in ("pairwise", "skew"):
            raise ValueError(f"model must be pairwise or skew, but got {self.model!r}")
        if self.noise is not None and not 1e-3 <= self.noise <= 10.0:
            raise ValueError(f"noise must lie between 0.001 and 10, but got {self.noise}")


def build(problem: Problem, options: Options) -> gp.GpSearch:
    """Return the strategy; it works on every problem."""
    shared = gp.shared(options)

    def engine() -> Engine:
        def asked_for(history: History, seed: int) -> tuple[Callable[[Tensor], Tensor], str] | None:
            return wanted(history, seed, options)

        return gp.engine(problem, shared, name="preference", wanted=asked_for)

    return gp.GpSearch(problem, shared, proposer=engine)


def wanted(history: History, seed: int, options: Options) -> tuple[Callable[[Tensor], Tensor], str] | None:
    """The utility that the answers speak for, of objectives (..., m) maximised, and a note; None without an answer."""
    if not history.answers:
        return None
    import numpy as np

    from tuner.preferences.front import preferred

    found = preferred(history, model=options.model, noise=options.noise, rng=np.random.default_rng(seed))
    if found is None:
        return None
    return as_tensors(found), f"for the utility that {found.n} answer{'s' if found.n > 1 else ''} speak for"


def as_tensors(found: Preferred) -> Callable[[Tensor], Tensor]:
    """The utility's mean, with gradients, wherever its argument is."""
    import torch

    of = found.utility
    P, lengths, weights = (torch.from_numpy(values) for values in (of.P, of.lengths, of.weights))
    low, width = torch.from_numpy(found.low), torch.from_numpy(found.width)

    def utility(Y: Tensor) -> Tensor:
        y = (Y - low.to(Y)) / (width * lengths).to(Y)  # (..., m)
        gaps = y.unsqueeze(-2) - (P / lengths).to(Y)  # (..., k, m)
        value: Tensor = torch.exp(-0.5 * gaps.square().sum(dim=-1)) @ weights.to(Y)
        return value

    return utility
