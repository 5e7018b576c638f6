"""Samplers: a plan of knots and solvers walked in few evaluations, Restart, Picard windows, and the fine reference.

Letters as in `ode_solvers.py`. A plan holds one knot for every evaluation and one for the end: a step that takes two
evaluations takes two knots, so that a plan costs what it says whatever its solvers are.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from torch import Tensor
from tuner.objectives.solver.ode_mixtures import Denoiser
from tuner.objectives.solver.ode_solvers import SOLVERS, Row, Rule, momentum_row, step_row


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What a sampler does.

    Attributes:
        knots: Noise at each evaluation and at the end, falling, n + 1 of them.
        solvers: A name of `SOLVERS` for each of the n steps.
        correct: Whether the step is corrected by the evaluation at its end, which the next step makes anyway; the last
            step has none.
        path: "ve" or "flow".
        beta: Damping of the solvers with momentum.
        offsets: What is added to log rho where the denoiser is told the noise, one a step (LD3); none when empty.
        gains: Factor on each step's increment (Bespoke's scale, its derivative taken as a difference); 1 when empty.
    """

    knots: Sequence[float]
    solvers: Sequence[str]
    correct: Sequence[bool] = ()
    path: str = "ve"
    beta: float = 1.0
    offsets: Sequence[float] = ()
    gains: Sequence[float] = ()


@dataclass(frozen=True)
class Restart:
    """Noise added again and taken away again (Xu et al. 2023).

    Attributes:
        low: Where the noise is added: the nearest knot below it, or the last.
        high: The noise from which the extra steps begin.
        times: How often.
        steps: Extra steps each time, spaced as Karras et al. space theirs.
    """

    low: float
    high: float
    times: int
    steps: int


@dataclass
class _Walk:
    """The evaluations since the walk began."""

    denoise: Denoiser
    rho: list[float] = field(default_factory=list)
    data: list[Tensor] = field(default_factory=list)
    noise: list[Tensor] = field(default_factory=list)

    def evaluate(self, y: Tensor, rho: float, offset: float = 0.0) -> tuple[Tensor, Tensor]:
        """D and eps at y; eps is the network's answer for the noise that it is told."""
        told = rho * math.exp(offset)
        data = self.denoise(y, torch.as_tensor(told, dtype=y.dtype, device=y.device))
        if offset == 0.0:
            return data, (y - data) / rho
        noise = (y - data) / told
        return y - rho * noise, noise

    def record(self, rho: float, evaluated: tuple[Tensor, Tensor]) -> None:
        self.rho.append(rho)
        self.data.append(evaluated[0])
        self.noise.append(evaluated[1])

    def apply(self, row: Row, y: Tensor) -> Tensor:
        """The state after a step; the row's coefficients belong to the latest evaluations."""
        found = row.scale * y
        first = len(self.rho) - len(row.data)
        for j, (b, c) in enumerate(zip(row.data, row.noise, strict=True), start=first):
            if b:
                found.add_(self.data[j], alpha=float(b))
            if c:
                found.add_(self.noise[j], alpha=float(c))
        return found


def _plain(rule: Rule, walk: _Walk, path: str, start: float, end: float, extra: int = 0) -> Row:
    return step_row(rule, path, walk.rho[-(rule.order + extra) :], start, end)


def walk(denoise: Denoiser, y: Tensor, plan: Plan) -> tuple[Tensor, int]:
    """Return the state at the last knot, shape as `y`, and how many evaluations were made.

    Args:
        denoise: Of the mixture.
        y: States at the first knot, shape (n, d).
        plan: Its knots may repeat: such a step is left out.
    """
    made, held, count = _Walk(denoise), None, 0
    steps = [i for i in range(len(plan.solvers)) if plan.knots[i + 1] < plan.knots[i]]
    knots = [plan.knots[i] for i in steps] + [plan.knots[-1]]
    place = 0
    while place < len(steps):
        i, start = steps[place], knots[place]
        rule = SOLVERS[plan.solvers[i]]
        made.record(start, made.evaluate(y, start, plan.offsets[i] if plan.offsets else 0.0))
        count += 1
        if held is not None:  # the step before, corrected by this evaluation
            y = made.apply(_plain(held[0], made, plan.path, held[2], start, extra=1), held[1])
            held = None
        paired = rule.stages == 2 and place + 2 <= len(steps)
        end = knots[place + 2 if paired else place + 1]
        after = made.apply(_row(rule, made, plan, start, end), y)
        if paired:
            after = _heun(made, plan.path, y, after, start, end)
            count += 1
        elif plan.correct and plan.correct[i] and place + 1 < len(steps) and not rule.momentum:
            held = (rule, y, start)
        if plan.gains:
            after = y + plan.gains[i] * (after - y)
        y = after
        place += 2 if paired else 1
    return y, count


def _row(rule: Rule, made: _Walk, plan: Plan, start: float, end: float) -> Row:
    if rule.momentum:
        return momentum_row(rule, plan.path, made.rho, start, end, plan.beta)
    return _plain(rule, made, plan.path, start, end)


def _heun(made: _Walk, path: str, y: Tensor, predicted: Tensor, start: float, end: float) -> Tensor:
    """The trapezoid through an evaluation at the predicted end, which is then forgotten."""
    made.record(end, made.evaluate(predicted, end))
    after = made.apply(step_row(Rule("velocity", 2), path, made.rho[-2:], start, end), y)
    for kept in (made.rho, made.data, made.noise):
        kept.pop()
    return after


def karras(high: float, low: float, steps: int, rho: float = 7.0) -> list[float]:
    """Return steps + 1 noises from `high` to `low`, equally spaced in noise^(1/rho) (Karras et al. 2022, eq. 5)."""
    ramp = np.linspace(high ** (1.0 / rho), low ** (1.0 / rho), steps + 1) ** rho
    return [high, *map(float, ramp[1:-1]), low]


def restarted(denoise: Denoiser, y: Tensor, plan: Plan, restart: Restart, seed: int) -> tuple[Tensor, int]:
    """Return the state at the last knot and the evaluations made, with noise added and removed in between.

    Args:
        denoise: Of the mixture, exact or wrong.
        y: States at the first knot, shape (n, d).
        plan: Of the descent; its first solver makes the extra steps too.
        restart: Where, how far and how often.
        seed: Of the noise that is added.
    """
    cut = next((i for i, rho in enumerate(plan.knots) if rho <= restart.low), len(plan.knots) - 1)
    cut = max(cut, 1)
    low, high = plan.knots[cut], max(restart.high, plan.knots[cut] * 1.0001)
    y, count = walk(denoise, y, _part(plan, 0, cut))
    extra = Plan(
        knots=karras(high, low, restart.steps),
        solvers=[plan.solvers[0]] * restart.steps,
        path=plan.path,
        beta=plan.beta,
    )
    generator = np.random.default_rng([seed, 11])
    for _ in range(restart.times):
        z = torch.from_numpy(generator.standard_normal(tuple(y.shape))).to(y)
        y, more = walk(denoise, y + math.sqrt(high**2 - low**2) * z, extra)
        count += more
    if cut < len(plan.solvers):
        y, more = walk(denoise, y, _part(plan, cut, len(plan.solvers)))
        count += more
    return y, count


def _part(plan: Plan, first: int, last: int) -> Plan:
    return Plan(knots=plan.knots[first : last + 1], solvers=plan.solvers[first:last], path=plan.path, beta=plan.beta)


def picard(
    denoise: Denoiser, y: Tensor, knots: Sequence[float], *, window: int, tolerance: float
) -> tuple[Tensor, int, int]:
    """Return the state at the last knot, the evaluations made for each sample, and the rounds they took.

    ParaDiGMS (Shih et al. 2023, algorithm 1) over Euler's steps: every round evaluates a window of steps at once and
    sums their drifts; the window then moves on past the steps whose change, squared and averaged over dimensions, is at
    most tolerance^2 times the variance of an ancestral step there, for every sample. Rounds are what waits for another
    when a window fits on the device; the first step of a window is always exact, so there are at most as many as knots.
    """
    n = len(knots) - 1
    rho = torch.tensor(list(knots), dtype=y.dtype, device=y.device)
    h = (rho[1:] - rho[:-1])[:, None, None]
    allowed = tolerance**2 * (rho[1:] * (1.0 - (rho[1:] / rho[:-1]) ** 2).sqrt()) ** 2
    states = y.expand(n + 1, *y.shape).clone()
    first, count, rounds = 0, 0, 0
    while first < n:
        last = min(first + window, n)
        at, level = states[first:last], rho[first:last, None, None]
        drift = (at - denoise(at, level)) / level
        moved = states[first] + torch.cumsum(h[first:last] * drift, dim=0)
        change = (moved - states[first + 1 : last + 1]).square().mean(dim=2).amax(dim=1)
        states[first + 1 : last + 1] = moved
        settled = int((change <= allowed[first:last]).long().cumprod(dim=0).sum())
        count, rounds = count + last - first, rounds + 1
        first += max(settled, 1)
        if last < n:
            states[last + 1 :] = states[last]
    return states[n], count, rounds


def fine(denoise: Denoiser, y: Tensor, rho: Sequence[float], *, substeps: int = 4) -> Tensor:
    """Return the states of the exact flow at each of the falling noises `rho`, shape (len(rho), n, d), y first.

    Runge and Kutta's fourth-order method in log rho, where dy / dlog rho = y - D.
    """

    def slope(state: Tensor, level: float) -> Tensor:
        return state - denoise(state, torch.as_tensor(math.exp(level), dtype=y.dtype, device=y.device))

    states = [y]
    for high, low in itertools.pairwise(rho):
        h, level, state = math.log(low / high) / substeps, math.log(high), states[-1]
        for _ in range(substeps):
            k1 = slope(state, level)
            k2 = slope(state + 0.5 * h * k1, level + 0.5 * h)
            k3 = slope(state + 0.5 * h * k2, level + 0.5 * h)
            k4 = slope(state + h * k3, level + h)
            state = state + h / 6.0 * (k1 + 2.0 * k2 + 2.0 * k3 + k4)
            level += h
        states.append(state)
    return torch.stack(states)


def least_squares(denoise: Denoiser, states: Tensor, rho: Sequence[float]) -> list[Tensor]:
    """Return OLSS's coefficients of each step, step i of shape (i + 2,).

    Duan et al. 2023: every state is the linear combination of the first state and all noises so far that comes nearest
    to the fine trajectory. Fitted step by step along the sampler's own states.

    Args:
        denoise: Of the mixture.
        states: The fine trajectory at `rho`, shape (n + 1, samples, d).
        rho: Its noises.
    """
    y, basis, found = states[0], [states[0].reshape(-1)], []
    made = _Walk(denoise)
    for i, level in enumerate(rho[:-1]):
        basis.append(made.evaluate(y, level)[1].reshape(-1))
        A = torch.stack(basis, dim=1)
        coefficients = torch.linalg.lstsq(A, states[i + 1].reshape(-1, 1), driver="gelsd").solution[:, 0]
        found.append(coefficients)
        y = (A @ coefficients).reshape(states[0].shape)
    return found


def combined(denoise: Denoiser, y: Tensor, rho: Sequence[float], coefficients: Sequence[Tensor]) -> Tensor:
    """Return the state at the last of `rho` by the coefficients of `least_squares`."""
    made, basis = _Walk(denoise), [y]
    for level, shares in zip(rho[:-1], coefficients, strict=True):
        basis.append(made.evaluate(y, level)[1])
        y = torch.stack([share * part for share, part in zip(shares, basis, strict=True)]).sum(dim=0)
    return y
