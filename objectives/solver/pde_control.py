"""The objective `pde-control`: control a heat equation with a kink, so that it follows what is wanted at little effort.

The state equation is in `heat_control.py`; `modes` of a reduced-order model (`reduced.py`) are the fidelity: declared
as `fidelity: {parameter: modes, min: 4, max: 64}`, a trial of fewer than 64 runs on the reduced model of so many modes,
and one of 64 on the full model, as all trials do where no fidelity is declared.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.search_spaces.control import MODES, PATCHES, SCALE, heat

from tuner.errors import UsageError
from tuner.trial import Metric

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tuner.objectives.solver.heat_control import Heat
    from tuner.objectives.solver.reduced import Reduced, Training

    from tuner.space import SearchSpace
    from tuner.trial import Trial


class PdeControl:
    """How far the state is from the wanted one, and what the control spends.

    Attributes:
        space: `control`, one number a patch and interval, and `modes`, which is 64 unless it is the fidelity.
        metrics: tracking, |Y - D|^2 / |D|^2, 1 for no control at all; effort, the mean of (u / 12)^2, which follows
            from the configuration alone; both are minimised. cost, in solutions of the full model, taking one of r
            modes to be r / 64 of it; seconds.
    """

    def __init__(self, *, side: int, steps: int, intervals: int, kappa: float) -> None:
        self.space: SearchSpace = heat(intervals)
        self._discrete = {"side": side, "steps": steps, "intervals": intervals}
        self._kappa = kappa
        self._models: dict[int, Reduced] = {}
        self.metrics: Mapping[str, Metric] = {
            "tracking": Metric(name="tracking", goal="minimize", reference=1.0),
            "effort": Metric(name="effort", goal="minimize", reference=1.0),
            "cost": Metric(name="cost"),
            "seconds": Metric(name="seconds", unit="s"),
        }

    def known(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Return the effort of a configuration."""
        return {"effort": sum((value / SCALE) ** 2 for value in config["control"]) / len(config["control"])}

    def baseline(self) -> dict[str, Any]:
        """Return no control at all."""
        return {"control": [0.0] * (PATCHES * self._discrete["intervals"]), "modes": MODES}

    def evaluate(self, config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
        """Return the metrics, on the model that the trial's fidelity asks for."""
        import numpy as np

        given = config.get("modes", MODES) if trial.fidelity is None else trial.fidelity
        modes = max(1, min(MODES, round(given)))
        u = np.array(config["control"], dtype=np.float64)
        _ = self._reduced(modes) if modes < MODES else self.heat  # made once: no part of a trial's seconds
        began = time.perf_counter()
        tracking = self.tracking(u, modes)
        seconds = time.perf_counter() - began
        return {"tracking": tracking, **self.known(config), "cost": modes / MODES, "seconds": seconds}

    def tracking(self, u: NDArray[np.float64], modes: int = MODES) -> float:
        """Return the tracking of controls u on so many modes; from 64 on, on the full model."""
        if modes >= MODES:
            return self.heat.tracking(self.heat.states(u))
        return self._reduced(modes).tracking(u)

    def _reduced(self, modes: int) -> Reduced:
        if modes not in self._models:
            self._models[modes] = self._training.model(modes)
        return self._models[modes]

    @cached_property
    def heat(self) -> Heat:
        """The full model."""
        from tuner.objectives.solver.heat_control import Heat

        return Heat(**self._discrete, kappa=self._kappa)

    @cached_property
    def _training(self) -> Training:
        from tuner.objectives.solver.reduced import Training

        return Training(self.heat, SCALE)


def build(*, side: int = 31, steps: int = 40, intervals: int = 2, kappa: float = 8.0) -> PdeControl:
    """Return the objective.

    Args:
        side: Cells along a side of the square, 11 to 127.
        steps: Of time, 8 to 1,000, a multiple of the intervals.
        intervals: Of time, over which controls are constant, 1 to 8: four numbers each.
        kappa: Strength of max(0, y), the kink; with 0 the problem is linear and quadratic.

    Raises:
        UsageError: An option is out of its range.
    """
    for name, value, low, high in (
        ("side", side, 11, 127),
        ("steps", steps, 8, 1_000),
        ("intervals", intervals, 1, 8),
    ):
        if not (isinstance(value, int) and low <= value <= high):
            raise UsageError(
                f"{name} must be a whole number from {low} to {high:,}, but got {value!r}; choose one of them"
            )
    if steps % intervals:
        raise UsageError(
            f"steps must be a multiple of intervals, but got {steps} and {intervals}; try {intervals * 20}"
        )
    if not 0.0 <= kappa <= 1_000.0:
        raise UsageError(f"kappa must lie between 0 and 1,000, but got {kappa!r}; 8 is usual")
    return PdeControl(side=side, steps=steps, intervals=intervals, kappa=float(kappa))
