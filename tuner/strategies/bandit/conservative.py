"""A policy that is not expected to cost more than the baseline by more than a declared margin, at any time.

Wu, Shariff, Lattimore and Szepesvari, "Conservative bandits", 2016; with a model of the losses, Kazerouni et al., 2017.
An arm is safe when, were it as bad as the model still allows, all that was spent would stay within the margin of what
the baseline would have cost at its best. Where the policy wants an arm that is not, the safe one that may be best is
played, the baseline among them: that is how the model learns what else is safe. What the policy wanted is told to it
with the model's loss, so that the arms it may not play do not look free.

    slack       sum over what was played of (1 + margin) baseline - loss; the baseline itself adds margin * its loss
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

import numpy as np

from tuner.strategies.bandit.contextual import Contextual
from tuner.strategies.bandit.decisions import Arms, Array, Block, Policy


@dataclass(frozen=True, slots=True)
class Conservative:
    """The wrapper's state.

    Attributes:
        policy: What chooses.
        model: What is known of every arm's losses.
        baseline: The arm that is safe.
        margin: How much more than the baseline may be spent, as a share of it.
        deviations: Standard deviations within which the model is believed.
        slack: What may be lost before the margin is used up.
    """

    policy: Policy
    model: Contextual
    baseline: int
    margin: float
    deviations: float = 2.0
    slack: float = 0.0

    def choose(self, contexts: Array, numbers: Arms) -> Block:
        """Return what the policy wants where that is safe, and elsewhere the safe arm that may be best."""
        wanted = self.policy.choose(contexts, numbers)
        arms, chances = np.full(len(numbers), self.baseline, dtype=np.int64), wanted.chances.copy()
        if self.model.unit:
            allowed, worst = self._allowance(contexts), self.model.predict(contexts, self.deviations)
            hoped, slack = self.model.predict(contexts, -self.deviations), self.slack
            for row, arm in enumerate(wanted.arms):
                left = slack + allowed[row] - worst[row]
                safe = left >= 0.0
                safe[self.baseline] = True
                arms[row] = arm if safe[arm] else np.where(safe, hoped[row], np.inf).argmin()
                if arms[row] != self.baseline:
                    slack = left[arms[row]]
        chances[arms != wanted.arms] = 1.0
        return Block(arms, chances, wanted=wanted)

    def chances(self, contexts: Array, arms: Arms) -> Array:
        """Return with which probability the policy alone would draw the arms."""
        return self.policy.chances(contexts, arms)

    def learned(self, contexts: Array, block: Block, losses: Array) -> Self:
        """Return the policy that also knows what a block cost."""
        wanted = block if block.wanted is None else block.wanted
        own, told = block.arms == self.baseline, losses.copy()
        other = wanted.arms != block.arms
        if other.any():
            imagined = self.model.predict(contexts)[np.arange(len(losses)), wanted.arms]
            told[other] = imagined[other] if self.model.unit else losses[other]
        allowed = self._allowance(contexts) if self.model.unit else np.zeros(len(losses))
        gained = np.where(own, self.margin * np.abs(losses), allowed - losses)
        return replace(
            self,
            policy=self.policy.learned(contexts, wanted, told),
            model=self.model.learned(contexts, block, losses),
            slack=self.slack + float(gained.sum()),
        )

    def _allowance(self, contexts: Array) -> Array:
        """What may be spent where the baseline is at its best, margin included, (b,)."""
        least = self.model.predict(contexts, -self.deviations)[:, self.baseline]
        found: Array = least + self.margin * np.abs(least)
        return found
