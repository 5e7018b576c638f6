"""The objective `ode`: sample a Gaussian mixture in few evaluations of its exact score, by chosen knots and solvers.

The probability-flow ODE of diffusion and flow models is solved from noise 80 down to 0.002 (noise to signal), on the
path "ve" or "flow". What is measured on is a batch of starting noises, always the same; `test` measures on others.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.search_spaces.ode import OF_EVALUATIONS, restart
from tuner.search_spaces.ode import paradigms as picard_space

from tuner.errors import UsageError
from tuner.trial import Metric

if TYPE_CHECKING:
    from torch import Tensor
    from tuner.objectives.solver.ode_mixtures import Denoiser, Mixture
    from tuner.objectives.solver.ode_sampling import Plan

    from tuner.space import SearchSpace
    from tuner.trial import Trial

PATHS = ("ve", "flow")
MIXTURES = ("drawn", "ring")
DTYPES = ("float64", "float32")
_GOALS = {
    "restart": {"sliced_w2": "minimize", "evaluations": "minimize"},
    "paradigms": {"error": "minimize", "rounds": "minimize"},
}
_TEST_FACTOR = 4
_DIRECTIONS = 32
_FINE = 60


@dataclass(frozen=True, kw_only=True)
class Setting:
    """What is sampled and how it is measured: the options of `build`, less the space."""

    mixture: str
    dim: int
    modes: int
    seed: int
    evaluations: int
    particles: int
    path: str
    wrong: float
    dtype: str


@dataclass(frozen=True)
class _Batch:
    """Starting states, their exact endpoints, and sorted projections of as many exact samples."""

    start: Tensor
    ends: Tensor
    along: Tensor
    sorted_data: Tensor


class Ode:
    """Errors, evaluations and seconds of one sampler a trial.

    Attributes:
        space: One of `tuner.search_spaces.ode`.
        metrics: error (root mean square distance to the exact flow's endpoints from the same noises; minimised),
            sliced_w2 (sliced Wasserstein-2 distance to as many exact samples of the data), evaluations (of the score,
            a sample), seconds. Restart is random, so it has no error: sliced_w2 and evaluations are minimised. Picard's
            windows have rounds too (what cannot run at the same time), minimised with the error.
    """

    def __init__(self, space: SearchSpace, name: str, setting: Setting) -> None:
        self.space = space
        self.setting = setting
        self._name = name
        names = ["error", "sliced_w2", "evaluations", "seconds"]
        names = names[1:] if name == "restart" else [*names, "rounds"] if name == "paradigms" else names
        goals: Mapping[str, Any] = _GOALS.get(name, {"error": "minimize"})
        self.metrics: Mapping[str, Metric] = {
            metric: Metric(name=metric, goal=goals.get(metric), unit="s" if metric == "seconds" else "")
            for metric in names
        }
        self._batches: dict[tuple[str, str], _Batch] = {}

    def known(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Return the evaluations, where they follow from the configuration: everywhere but in Picard's windows."""
        from tuner.objectives.solver.ode_plans import counted

        if self._name == "paradigms":
            return {}
        return {"evaluations": float(counted(config, self.setting.evaluations))}

    def baseline(self) -> dict[str, Any]:
        """Return Euler's method on the schedule of Karras et al., as near as the space comes to it."""
        from tuner.objectives.solver.ode_plans import configuration
        from tuner.objectives.solver.ode_schedules import edm

        n = self.setting.evaluations
        own: dict[str, dict[str, Any]] = {
            "restart": {"steps": 18, "solver": "heun", "times": 0},
            "paradigms": {"steps": 100, "window": 16, "tolerance": 0.1},
            "boss": {"places": [round(100 * i / n) for i in range(1, n)]},
            "deis": {"order": 0, "exponent": 7.0},
        }
        return own.get(self._name) or configuration(self._name, edm(n))

    def prepare(self) -> None:
        """Solve the reference endpoints: once per process, less than a second for 512 samples in 2 dimensions."""
        self._batch("search", "cpu")

    def evaluate(self, config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
        """Return what a sampler's endpoints are like, on the noises that are searched with."""
        return self._measured(config, "search", trial.seed, trial.device)

    def test(self, config: Mapping[str, Any], *, seed: int = 0) -> dict[str, float]:
        """Return the same on noises that no search has seen, four times as many; no seconds."""
        found = self._measured(config, "test", seed, "cpu")
        return {name: value for name, value in found.items() if name in ("error", "sliced_w2")}

    def test_plan(self, plan: Plan) -> float:
        """Return the error of any plan on the noises of `test`: for references."""
        from tuner.objectives.solver.ode_metrics import endpoint_error
        from tuner.objectives.solver.ode_sampling import walk

        batch = self._batch("test", "cpu")
        return endpoint_error(walk(self.denoiser("cpu"), batch.start, plan)[0], batch.ends)

    def _measured(self, config: Mapping[str, Any], split: str, seed: int, device: str) -> dict[str, float]:
        import torch
        from tuner.objectives.solver.ode_metrics import endpoint_error, sliced_w2

        batch, denoise = self._batch(split, device), self.denoiser(device)
        with torch.inference_mode():
            began = time.perf_counter()
            y, counts = self._sampled(config, denoise, batch, seed)
            if device != "cpu":
                torch.cuda.synchronize()
            seconds = time.perf_counter() - began
            found = {**counts, "sliced_w2": sliced_w2(y, batch.along, batch.sorted_data), "seconds": seconds}
            if self._name != "restart":
                found["error"] = endpoint_error(y, batch.ends)
        return found

    def _sampled(
        self, config: Mapping[str, Any], denoise: Denoiser, batch: _Batch, seed: int
    ) -> tuple[Tensor, dict[str, float]]:
        from tuner.objectives.solver import ode_plans, ode_sampling

        n, path = self.setting.evaluations, self.setting.path
        if self._name == "paradigms":
            knots = ode_plans.knots_of({}, int(config["steps"]))
            y, count, rounds = ode_sampling.picard(
                denoise, batch.start, knots, window=int(config["window"]), tolerance=float(config["tolerance"])
            )
            return y, {"evaluations": float(count), "rounds": float(rounds)}
        plan = ode_plans.plan_of(config, n, path)
        if self._name == "restart" and int(config["times"]) > 0:
            low = float(config["low"])
            again = ode_sampling.Restart(low, low * float(config["ratio"]), int(config["times"]), int(config["again"]))
            y, count = ode_sampling.restarted(denoise, batch.start, plan, again, seed)
        elif self._name == "olss":
            y, count = self._fitted(plan, denoise, batch), n
        else:
            y, count = ode_sampling.walk(denoise, batch.start, plan)
        return y, {"evaluations": float(count)}

    def _fitted(self, plan: Plan, denoise: Denoiser, batch: _Batch) -> Tensor:
        """OLSS: coefficients from trajectories of their own, then the batch with them."""
        from tuner.objectives.solver import ode_sampling

        fitting = self.noises("fit", str(batch.start.device))
        states = ode_sampling.fine(denoise, fitting, plan.knots, substeps=_FINE * 4 // len(plan.solvers))
        coefficients = ode_sampling.least_squares(denoise, states, plan.knots)
        return ode_sampling.combined(denoise, batch.start, plan.knots, coefficients)

    @cached_property
    def mixture(self) -> Mixture:
        """What is sampled, in float64."""
        from tuner.objectives.solver import ode_mixtures

        s = self.setting
        return ode_mixtures.ring(s.modes) if s.mixture == "ring" else ode_mixtures.drawn(s.dim, s.modes, s.seed)

    def denoiser(self, device: str = "cpu", dtype: str | None = None) -> Denoiser:
        """Return E[X | y] of the mixture, or what is a share of it wrong."""
        import torch
        from tuner.objectives.solver import ode_mixtures

        mixture = self.mixture.to(device, getattr(torch, dtype or self.setting.dtype))
        if self.setting.wrong:
            return ode_mixtures.wrong(mixture, self.setting.wrong, self.setting.seed)
        return ode_mixtures.exact(mixture)

    def noises(self, split: str, device: str = "cpu") -> Tensor:
        """Return starting states of pure noise, (particles, d): to search, to fit, or four times as many to test."""
        import numpy as np
        import torch
        from tuner.objectives.solver.ode_schedules import RHO_MAX

        stream = ("search", "test", "fit").index(split)
        n = self.setting.particles * (_TEST_FACTOR if split == "test" else 1)
        z = np.random.default_rng([self.setting.seed, 3, stream]).standard_normal((n, self.mixture.dim))
        return torch.from_numpy(RHO_MAX * z).to(device, getattr(torch, self.setting.dtype))

    def _batch(self, split: str, device: str) -> _Batch:
        import torch
        from tuner.objectives.solver import ode_metrics, ode_mixtures, ode_sampling, ode_schedules

        if (split, device) not in self._batches:
            start = self.noises(split, device)
            grid = ode_schedules.log_linear(_FINE)
            with torch.inference_mode():
                ends = ode_sampling.fine(self.denoiser(device, "float64"), start.double(), grid)[-1].to(start)
                along = ode_metrics.directions(self.mixture.dim, _DIRECTIONS, self.setting.seed).to(start)
                data = ode_mixtures.samples(self.mixture, len(start), 5 + self.setting.seed).to(start)
                batch = _Batch(start, ends, along, ode_metrics.projected(data, along))
            self._batches[split, device] = batch
        return self._batches[split, device]


def build(
    *,
    space: str = "ays",
    mixture: str = "drawn",
    dim: int = 2,
    modes: int = 8,
    seed: int = 0,
    evaluations: int = 6,
    particles: int = 2048,
    path: str = "ve",
    wrong: float = 0.0,
    dtype: str = "float64",
) -> Ode:
    """Return the objective.

    Args:
        space: A name of `tuner.search_spaces.ode`: ays, free, boss, ld3, bespoke, olss, usf, deis, ghvb, restart or
            paradigms.
        mixture: "drawn" (one for each seed) or "ring" (equal modes on a circle in two dimensions).
        dim: Dimensions of a drawn mixture, 2 to 64.
        modes: 1 to 64.
        seed: Of the mixture and of the noises.
        evaluations: Of the score for each sample, 2 to 64, where the space fixes them.
        particles: Samples a trial.
        path: "ve" (X + rho Z at time rho) or "flow" (t X + (1 - t) Z): along which Heun and Adams-Bashforth step;
            Euler's method and the exponential integrators are the same on both.
        wrong: Relative error of the score, as of a trained network; 0 is exact.
        dtype: "float64" or "float32".

    Raises:
        UsageError: An option is out of its range.
    """
    named = {"restart": restart, "paradigms": picard_space}
    for name, value, known in (
        ("space", space, (*OF_EVALUATIONS, *named)),
        ("mixture", mixture, MIXTURES),
        ("path", path, PATHS),
        ("dtype", dtype, DTYPES),
    ):
        if value not in known:
            raise UsageError(f"{name} must be one of {', '.join(known)}, but got {value!r}; name one of them")
    ranges = {"dim": (dim, 2, 64), "modes": (modes, 1, 64), "evaluations": (evaluations, 2, 64)}
    for name, (count, low, high) in (ranges | {"particles": (particles, 16, 10**7)}).items():
        if not (isinstance(count, int) and low <= count <= high):
            raise UsageError(
                f"{name} must be a whole number from {low} to {high}, but got {count!r}; choose one of them"
            )
    if not 0.0 <= wrong <= 1.0:
        raise UsageError(f"wrong must lie between 0 and 1, but got {wrong!r}; 0.1 is a tenth of the data's scale")
    setting = Setting(
        mixture=mixture,
        dim=dim,
        modes=modes,
        seed=seed,
        evaluations=evaluations,
        particles=particles,
        path=path,
        wrong=float(wrong),
        dtype=dtype,
    )
    return Ode(named[space]() if space in named else OF_EVALUATIONS[space](evaluations), space, setting)
