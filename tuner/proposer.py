"""Proposer: asks the strategy, and sees to it that what comes back may be spent a trial on.

Whatever the strategy, a proposal lies in the space, honours the restrictions, and repeats no earlier one (unless the
policy is `replicate`). A strategy that breaks the rules is asked again on a fresh stream, and then replaced by a draw
from the space, with the reason in the provenance.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from tuner import catalog
from tuner.errors import TunerError, UsageError
from tuner.fidelity import may_rise, reached
from tuner.history import History
from tuner.randomness import generator
from tuner.trial import Config, Proposal, Provenance

if TYPE_CHECKING:
    from tuner.problem import Problem
    from tuner.strategies.protocol import Strategy

_RETRIES = 4
_DRAWS = 200
_ENUMERABLE = 100_000


def make_strategy(problem: Problem, method: str, options: dict[str, Any]) -> Strategy:
    """Build a strategy by name with the options of a sweep file.

    Raises:
        UnknownNameError: There is no such strategy.
        UsageError: It has no such option, or cannot work on this problem.
    """
    module = catalog.load("strategies", method)
    factory: Callable[..., Strategy] = module.build
    known = {f.name for f in dataclasses.fields(module.Options)} if hasattr(module, "Options") else set()
    for name in options:
        if name not in known:
            listed = ", ".join(sorted(known)) or "none"
            raise UsageError(f"search: the strategy {method!r} has no option {name!r} (it has: {listed})")
    try:
        return factory(problem, module.Options(**options)) if hasattr(module, "Options") else factory(problem)
    except (TypeError, ValueError) as error:
        raise UsageError(f"search: the options of {method!r} do not fit: {error}") from error


class Proposer:
    """Proposes new configurations for one study."""

    def __init__(self, problem: Problem) -> None:
        section = problem.search
        self._problem = problem
        self._method = section.method if section is not None else "auto"
        self._strategy = make_strategy(problem, self._method, dict(section.options) if section is not None else {})
        declared = section.duplicates if section is not None else None
        again = problem.noisy or getattr(self._strategy, "repeats", False)
        self._replicate = (declared or ("replicate" if again else "reject")) == "replicate"
        self._size = problem.space.size()

    def propose(self, history: History, n: int) -> list[Proposal]:
        """Up to `n` proposals that may be evaluated; fewer when the space is exhausted."""
        if not self._replicate and history.n_seen >= self._size and not may_rise(history):
            return []
        taken: set[bytes] = set()
        accepted: list[Proposal] = []
        reason = f"{self._method} proposed nothing new {_RETRIES} times; drawn from the space"
        for stream in range(_RETRIES):
            try:
                proposals = self._suggest(history, n - len(accepted), stream)
            except TunerError:
                raise
            except Exception as error:
                # A strategy's bug must not cost the sweep: the trial is drawn, and says why.
                reason = f"{self._method} failed with {type(error).__name__}: {error}; drawn from the space"
                break
            for proposal in proposals:
                if proposal.again or self._acceptable(proposal.config, history, taken, proposal.fidelity):
                    accepted.append(proposal)
                    taken.add(self._problem.space.key(proposal.config))
            if len(accepted) >= n or not proposals:
                return accepted[:n]
        return accepted + self._draw(history, n - len(accepted), taken, reason)

    def _suggest(self, history: History, n: int, stream: int) -> list[Proposal]:
        started = time.perf_counter()
        proposals = self._strategy.suggest(history, n, generator(self._problem.seed, history.next_trial, stream))
        seconds = round((time.perf_counter() - started) / max(len(proposals), 1), 6)
        return [
            dataclasses.replace(proposal, provenance=_storable(proposal.provenance, seconds)) for proposal in proposals
        ]

    def _acceptable(self, config: Config, history: History, taken: set[bytes], fidelity: float | None = None) -> bool:
        """Whether it is new; a configuration that was tried may be tried again at more fidelity."""
        space = self._problem.space
        if not space.contains(config):
            return False
        if self._replicate:
            return True
        if space.key(config) in taken:
            return False
        return not history.seen(config) or (fidelity is not None and reached(history, config) < fidelity)

    def _draw(self, history: History, n: int, taken: set[bytes], reason: str) -> list[Proposal]:
        """Configurations drawn from the space itself, when the strategy could not propose new ones."""
        space = self._problem.space
        rng = generator(self._problem.seed, history.next_trial, _RETRIES)
        drawn: list[Proposal] = []
        for config in self._fresh(history, n, taken, space.sample(_DRAWS, rng)):
            drawn.append(Proposal(config=config, provenance=Provenance(engine="random", reason=reason)))
        if len(drawn) < n and self._size <= _ENUMERABLE and not math.isinf(self._size):
            for config in self._fresh(history, n - len(drawn), taken, space.enumerate()):
                drawn.append(Proposal(config=config, provenance=Provenance(engine="grid", reason=reason)))
        return drawn

    def _fresh(self, history: History, n: int, taken: set[bytes], candidates: Any) -> list[Config]:
        fresh: list[Config] = []
        for config in candidates:
            if len(fresh) == n:
                break
            if self._acceptable(config, history, taken):
                taken.add(self._problem.space.key(config))
                fresh.append(config)
        return fresh


def _storable(provenance: Provenance, seconds: float) -> Provenance:
    """A strategy's account of a proposal without the numbers that are none: its arithmetic may have overflowed."""
    value = provenance.acquisition
    return dataclasses.replace(
        provenance,
        acquisition=value if value is None or math.isfinite(value) else None,
        mean={name: mean for name, mean in provenance.mean.items() if math.isfinite(mean)},
        sd={name: sd for name, sd in provenance.sd.items() if math.isfinite(sd)},
        seconds=seconds,
    )
