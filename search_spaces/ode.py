"""Spaces of published samplers: knots, solvers, correctors, momentum, restarts, Picard windows.

Every space but those of Restart and ParaDiGMS spends `evaluations` at most, whatever is chosen in it. `knots` are the
inner knots as sorted numbers in [0, 1], on the scale on which the schedule of Karras et al. is even. Parameters whose
names end in _i belong to step i, from 1; a step has the solvers that differ there, as orders need evaluations to go
through.

    ays         Align Your Steps (Sabour et al. 2024): knots, and one solver for all steps; what is searched by default
    free        knots, and for each step a solver, momentum among them, and whether it is corrected
    boss        BOSS (Nguyen et al. 2024): places on a grid of 100 steps, Euler
    ld3         LD3 (Tong et al. 2024): knots, and what the network is told instead of the solver's noise
    bespoke     Bespoke solvers (Shaul et al. 2024): knots and a factor on each step
    olss        OLSS (Duan et al. 2023): knots; coefficients follow by least squares
    usf         Unified Sampling Framework (Liu et al. 2023): knots; form, order and corrector a step
    deis        DEIS (Zhang and Chen 2023): order, and the exponent of the schedule
    ghvb        Generalised Heavy Ball (Wizadwongsa et al. 2023): order, damping, knots
    restart     Restart (Xu et al. 2023): steps, interval, times, steps each time
    paradigms   ParaDiGMS (Shih et al. 2023): steps, window, tolerance
"""

from __future__ import annotations

from collections.abc import Callable

from tuner.parameters import Bool, Choice, Float, Int, Vector
from tuner.parameters.parameter import Parameter
from tuner.space import SearchSpace

EVALUATIONS = 6
GRID = 100
SINGLE = ("euler", "heun", "ab2", "ab3", "deis-1", "deis-2", "deis-3", "dpm-2", "dpm-3")
MOMENTUM = ("hb", "ghvb-2", "ghvb-3")
_ORDERS = {
    1: ("euler", "heun"),
    2: ("ab2", "deis-1", "dpm-2", "hb", "ghvb-2"),
    3: ("ab3", "deis-2", "dpm-3", "ghvb-3"),
    4: ("deis-3",),
}
"""Solvers by the evaluations that they go through."""


def knots(evaluations: int) -> Vector:
    """Return the inner knots of so many steps."""
    return Vector("knots", length=evaluations - 1, low=0.0, high=1.0, monotone="increasing")


def free(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return knots, and for each step its solver and whether the evaluation at its end corrects it."""
    found: list[Parameter] = [knots(evaluations)]
    for i in range(1, evaluations + 1):
        known = [name for order, names in _ORDERS.items() if order <= i for name in names]
        found.append(Choice(f"solver_{i}", tuple(name for name in known if name != "heun" or i < evaluations)))
    found += [Bool(f"correct_{i}") for i in range(1, evaluations)]
    damped = " or ".join(f"solver_{i} in {MOMENTUM!r}" for i in range(2, evaluations + 1))
    return SearchSpace([*found, Float("beta", 0.2, 1.0, when=damped)])


def ays(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return knots, and one solver for all steps."""
    return SearchSpace([knots(evaluations), Choice("solver", SINGLE)])


def boss(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return the places of the inner knots on BOSS's grid; equal places are one knot, and fewer evaluations."""
    places = Vector("places", length=evaluations - 1, low=1, high=GRID - 1, integer=True, monotone="increasing")
    return SearchSpace([places])


def ld3(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return knots, offsets of log noise for the network, and one solver."""
    offsets = Vector("offsets", length=evaluations, low=-0.2, high=0.2)
    return SearchSpace([knots(evaluations), offsets, Choice("solver", SINGLE)])


def bespoke(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return knots, a factor on each step's increment, and the method they are of."""
    gains = Vector("gains", length=evaluations, low=0.5, high=2.0, log=True)
    return SearchSpace([knots(evaluations), gains, Choice("solver", ("euler", "heun"))])


def olss(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return knots: the coefficients are fitted for them."""
    return SearchSpace([knots(evaluations)])


def usf(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return knots, and for each step form, order and corrector."""
    found: list[Parameter] = [knots(evaluations)]
    for i in range(2, evaluations + 1):
        found += [Choice(f"form_{i}", ("noise", "data")), Int(f"order_{i}", 1, min(i, 3))]
    return SearchSpace([*found, *(Bool(f"correct_{i}") for i in range(1, evaluations))])


def deis(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return the order of DEIS and the exponent of the schedule."""
    return SearchSpace([Int("order", 0, 3), Float("exponent", 1.0, 9.0)])


def ghvb(evaluations: int = EVALUATIONS) -> SearchSpace:
    """Return the order of the method, its damping, and knots."""
    return SearchSpace([knots(evaluations), Int("order", 1, 3), Float("beta", 0.1, 1.0)])


def restart() -> SearchSpace:
    """Return steps of the descent, and the interval, times and steps of the restarts in it."""
    again = "times > 0"
    return SearchSpace(
        [
            Int("steps", 4, 40, log=True),
            Choice("solver", SINGLE),
            Int("times", 0, 10),
            Float("low", 0.01, 1.0, log=True, when=again),
            Float("ratio", 1.5, 100.0, log=True, when=again),
            Int("again", 2, 10, when=again),
        ]
    )


def paradigms() -> SearchSpace:
    """Return steps, the window that is evaluated at once, and the tolerance at which it moves on."""
    return SearchSpace(
        [Int("steps", 20, 400, log=True), Int("window", 4, 128, log=True), Float("tolerance", 1e-4, 1.0, log=True)]
    )


OF_EVALUATIONS: dict[str, Callable[[int], SearchSpace]] = {
    "free": free,
    "ays": ays,
    "boss": boss,
    "ld3": ld3,
    "bespoke": bespoke,
    "olss": olss,
    "usf": usf,
    "deis": deis,
    "ghvb": ghvb,
}
"""Spaces of so many evaluations."""


def spaces() -> dict[str, Callable[[], SearchSpace]]:
    """Return the spaces by name, six evaluations where their number is fixed."""
    fixed: tuple[Callable[[], SearchSpace], ...] = (free, ays, boss, ld3, bespoke, olss, usf, deis, ghvb)
    return {f"ode/{space.__name__}": space for space in (*fixed, restart, paradigms)}
