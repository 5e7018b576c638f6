"""From a configuration to what the sampler does, and from published schedules to configurations."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from tuner.objectives.solver.ode_sampling import Plan, karras
from tuner.objectives.solver.ode_schedules import RHO_MAX, RHO_MIN, edm, gathered, spread_out
from tuner.search_spaces.ode import GRID

_FORMS = {"noise": ("euler", "deis-1", "deis-2"), "data": ("euler", "dpm-2", "dpm-3")}
_GHVB = ("hb", "ghvb-2", "ghvb-3")
_FAMILIES = (
    ("euler", "ab2", "ab3"),
    (*_FORMS["noise"], "deis-3"),
    _FORMS["data"],
    ("euler", "hb"),
    ("euler", "ghvb-2", "ghvb-3"),
    ("euler", "heun"),
)
"""Solvers by order: what stands in for one before there are evaluations for it."""


def knots_of(config: Mapping[str, Any], evaluations: int) -> list[float]:
    """Return the noises of a configuration: of its knots, of places on BOSS's grid, or of an exponent."""
    if "knots" in config:
        return spread_out(config["knots"])
    if "places" in config:
        grid = karras(RHO_MAX, RHO_MIN, GRID)
        return [grid[i] for i in (0, *config["places"], GRID)]
    return edm(evaluations, rho=float(config.get("exponent", 7.0)))


def solvers_of(config: Mapping[str, Any], steps: int) -> list[str]:
    """Return the solver of each step."""
    if "solver" in config:
        return [config["solver"]] * steps
    if "order" in config:
        order = int(config["order"])
        name = _GHVB[order - 1] if "beta" in config else ("euler" if order == 0 else f"deis-{order}")
        return [name] * steps
    found = []
    for i in range(1, steps + 1):
        order = int(config.get(f"order_{i}", 1))
        found.append(config.get(f"solver_{i}", _FORMS[config.get(f"form_{i}", "noise")][order - 1]))
    return found


def plan_of(config: Mapping[str, Any], evaluations: int, path: str) -> Plan:
    """Return the plan of a configuration of any space with knots or an exponent."""
    steps = int(config.get("steps", evaluations))
    return Plan(
        knots=knots_of(config, steps),
        solvers=solvers_of(config, steps),
        correct=[bool(config.get(f"correct_{i}", False)) for i in range(1, steps + 1)],
        path=path,
        beta=float(config.get("beta", 1.0)),
        offsets=config.get("offsets", ()),
        gains=config.get("gains", ()),
    )


def counted(config: Mapping[str, Any], evaluations: int) -> int:
    """Return the evaluations that a configuration of any space but Picard's makes."""
    knots = knots_of(config, int(config.get("steps", evaluations)))
    steps = sum(low < high for high, low in itertools.pairwise(knots))
    return steps + int(config.get("times", 0)) * int(config.get("again", 0))


def configuration(space: str, knots: Sequence[float], *, solver: str = "euler") -> dict[str, Any]:
    """Return the configuration of a space in which all steps have one solver, without what a space adds to that.

    Args:
        space: One with knots: free, ays, ld3, bespoke, olss, usf or ghvb.
        knots: Noises, such as those of a published schedule.
        solver: One that the space has; of DEIS or DPM-Solver++ in "usf". The other spaces have no use for it.
    """
    n = len(knots) - 1
    found: dict[str, Any] = {"knots": gathered(knots)}
    family = next(names for names in _FAMILIES if solver in names)
    if space == "free":
        found |= {f"solver_{i}": family[min(family.index(solver), i - 1)] for i in range(1, n + 1)}
        if solver in _GHVB:
            found["beta"] = 0.8
        found |= {f"correct_{i}": False for i in range(1, n)}
    elif space == "usf":
        form = "data" if solver.startswith("dpm") else "noise"
        found |= {f"form_{i}": form for i in range(2, n + 1)}
        found |= {f"order_{i}": min(family.index(solver) + 1, i, 3) for i in range(2, n + 1)}
        found |= {f"correct_{i}": False for i in range(1, n)}
    elif space == "ghvb":
        found |= {"order": 1, "beta": 1.0}
    elif space != "olss":
        found["solver"] = solver
    if space == "ld3":
        found["offsets"] = [0.0] * n
    if space == "bespoke":
        found["gains"] = [1.0] * n
    return found
