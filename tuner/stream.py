"""A stream in blocks: for instances that come too fast for a trial each.

With `search: {method: ..., block: 1024}` an online bandit decides for blocks of instances, the objective's
`evaluate_batch` solves them in this process, and the study keeps one event a block (`blocks.py`). Blocks grow with what
is known, up to the length asked for, so that the newest decisions are never based on much less than all. What was
solved before is learned from again when a stream goes on: an interrupted one equals one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner import blocks, inbox
from tuner.errors import ObjectiveError, UsageError
from tuner.objective import objective_of
from tuner.proposer import make_strategy
from tuner.strategies.bandit.decisions import Block, Policy, block_length, uniforms
from tuner.strategies.bandit.online import Online
from tuner.trial import Metric, Trial

if TYPE_CHECKING:
    from tuner.interrupts import Interrupts
    from tuner.observer import Observer
    from tuner.study import Study

Array = NDArray[np.float64]
_NEWS_S = 10.0
_INBOX_S = 0.5
_SEEDS = 7  # the stream of draws that trials are seeded with


def run_blocks(study: Study, observer: Observer, interrupts: Interrupts) -> None:
    """Solve a study's stream block by block, until the budget is spent or somebody says stop.

    Raises:
        UsageError: The objective cannot solve many instances at once, or the method does not choose for blocks.
        ObjectiveError: It failed; the blocks before are kept.
    """
    section = study.problem.search
    assert section is not None  # `block` is one of its options
    strategy = make_strategy(study.problem, section.method, dict(section.options))
    objective = objective_of(study.sweep)
    if not isinstance(strategy, Online) or not hasattr(objective, "evaluate_batch"):
        raise UsageError(
            "search: `block` needs an online bandit and an objective with evaluate_batch(configs, trials); leave it "
            "out to run trial by trial"
        )
    observer.began(study, slots=1)
    reason = _Solving(study, strategy, objective, observer, interrupts).run()
    study.end_session(reason, interrupts.signal)
    observer.note(f"{study.ledger.spent.instances} instances in {len(blocks.of(study))} blocks: {reason}")
    observer.ended(reason)


class _Solving:
    """One session of a stream."""

    def __init__(
        self, study: Study, strategy: Online, objective: Any, observer: Observer, interrupts: Interrupts
    ) -> None:
        self._study, self._strategy, self._objective = study, strategy, objective
        self._observer, self._interrupts = observer, interrupts
        self._metric = study.problem.objectives[0]
        self._counted = self._told = time.monotonic()
        self._looked = 0.0

    def run(self) -> str:
        """Return why it ended."""
        policy = self._strategy.policy
        for solved in blocks.of(self._study):
            policy = learned(policy, self._strategy.contexts(solved.first, solved.end), solved, self._metric)
        while (reason := self._reason()) is None:
            policy = self._step(policy)
        return reason

    def _step(self, policy: Policy) -> Policy:
        began, first = time.perf_counter(), self._study.ledger.spent.instances
        left = self._left(first)
        numbers = np.arange(first, first + min(block_length(first, self._strategy.block), left))
        contexts = self._strategy.contexts(first, first + len(numbers))
        block = policy.choose(contexts, numbers)
        metrics = self._evaluate(numbers, contexts, block)
        solved = blocks.Solved(
            first=first,
            arms=block.arms,
            wanted=None if block.wanted is None else block.wanted.arms,
            chances=block.chances if block.wanted is None else block.wanted.chances,
            metrics=metrics,
            seconds=time.perf_counter() - began,
        )
        blocks.add(self._study, solved)
        self._news(solved)
        return learned(policy, contexts, solved, self._metric)

    def _evaluate(self, numbers: NDArray[np.int64], contexts: Array, block: Block) -> dict[str, Array]:
        known, seed = self._study.problem.context is not None, self._study.problem.seed
        here = self._study.dir or Path()
        seeds = (uniforms(seed, numbers, _SEEDS) * 2.0**31).astype(np.int64).tolist()
        trials = [
            Trial(number=number, seed=own, dir=here, context=tuple(context) if known else None)
            for number, own, context in zip(numbers.tolist(), seeds, contexts.tolist(), strict=True)
        ]
        configs = [dict(self._strategy.arms[arm]) for arm in block.arms]
        where = f"instances {numbers[0]} to {numbers[-1]}"
        try:
            found: Sequence[Mapping[str, float]] = self._objective.evaluate_batch(configs, trials)
            names = [metric.name for metric in self._study.problem.measured if metric.name in found[0]]
            values = {name: np.array([float(one[name]) for one in found]) for name in names}
        except Exception as error:  # a user's code
            raise ObjectiveError(
                f"{where}: evaluate_batch failed with {type(error).__name__}: {error}; the blocks before are kept"
            ) from error
        own = values.get(self._metric.name)
        if own is None or len(own) != len(numbers) or not np.isfinite(own).all():
            raise ObjectiveError(
                f"{where}: evaluate_batch must return a finite {self._metric.name!r} for each of the {len(numbers)}; "
                "the blocks before are kept"
            )
        return values

    def _reason(self) -> str | None:
        """Why nothing more is solved; None while something is."""
        now = time.monotonic()
        self._study.spend(now - self._counted)
        self._counted = now
        if self._interrupts.level:
            return "interrupted"
        if self._study.dir is not None and now - self._looked >= _INBOX_S:
            self._looked = now
            if any(request["verb"] == "stop" for request in inbox.take(self._study.dir)):
                return "stopped by `tuner stop`"
        return self._study.stop_reason

    def _left(self, first: int) -> int:
        budget = self._study.problem.budget
        trials = budget.trials if budget is not None else None
        return self._strategy.block if trials is None else trials - first

    def _news(self, solved: blocks.Solved) -> None:
        now = time.monotonic()
        if now - self._told >= _NEWS_S:
            self._told = now
            mean = float(solved.metrics[self._metric.name].mean())
            self._observer.note(f"instance {solved.end}: {self._metric.name} {mean:.5g} in the last {len(solved.arms)}")


def learned(policy: Policy, contexts: Array, solved: blocks.Solved, metric: Metric) -> Policy:
    """Return the policy that also knows a stored block."""
    losses = -metric.sign * solved.metrics[metric.name]
    block = Block(solved.arms, solved.chances)
    if solved.wanted is not None:
        block = Block(solved.arms, solved.chances, wanted=Block(solved.wanted, solved.chances))
    return policy.learned(contexts, block, losses)
