"""Observer: what the loop tells whoever watches. Terminal displays and tests override what they care about."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tuner.records import TrialRecord
    from tuner.slots import SlotState
    from tuner.study import Study
    from tuner.trial import Proposal


class Observer:
    """Watches in silence. Every method returns at once; the loop waits for it."""

    def began(self, study: Study, *, slots: int) -> None:
        """The sweep starts or continues."""

    def started(self, proposal: Proposal) -> None:
        """A trial was handed to the runner."""

    def occupied(self, slots: Sequence[SlotState]) -> None:
        """What is going on in each slot now; told a few times a second."""

    def reported(self, trial: int, step: int, metrics: Mapping[str, float]) -> None:
        """A running trial reported intermediate values."""

    def finished(self, record: TrialRecord) -> None:
        """A trial came to an end, or waits for another attempt."""

    def note(self, text: str) -> None:
        """Something a person should know, in one line."""

    def tick(self) -> None:
        """Time passed: a chance to redraw."""

    def ended(self, reason: str) -> None:
        """The sweep is over."""
