"""How many trials go into one pass of an objective that evaluates several at once."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 4
MOST = 64
_PAYS = 1.1  # a pass twice as large must finish so many times the trials a second
_ROOM = 0.9  # of the memory


class BatchSize:
    """Doubles while that pays and fits, halves when memory runs out; what did not fit is not tried again.

    Args:
        fixed: So many at most, from the start; None: begin with 4, and measure.
        note: Told, in a sentence, when memory ran out.
    """

    def __init__(self, fixed: int | None = None, note: Callable[[str], None] | None = None) -> None:
        self.now = fixed if fixed is not None else FIRST
        self._grows = fixed is None
        self._too_many = MOST + 1 if fixed is None else fixed + 1
        self._rates: dict[int, float] = {}
        self._note = note or (lambda _: None)

    def ran(self, size: int, seconds: float, memory: float | None) -> None:
        """A pass of `size` trials took so long.

        Args:
            size: Trials in it.
            seconds: From its start to its end.
            memory: The share of the memory that it used at its peak; None when unknown.
        """
        if not self._grows or size != self.now or seconds <= 0:
            return
        self._rates[size] = max(self._rates.get(size, 0.0), size / seconds)
        before = self._rates.get(size // 2)
        if before is not None and self._rates[size] < _PAYS * before:
            self.now, self._grows = size // 2, False
        elif 2 * size < self._too_many and (memory is None or 2 * memory <= _ROOM):
            self.now = 2 * size
        else:
            self._grows = False

    def ran_out(self, size: int) -> None:
        """A pass of `size` trials did not fit."""
        self._grows = False
        if size <= self._too_many:
            self._too_many = size
            self.now = max(1, min(self.now, size // 2))
            self._note(f"memory ran out with {size} trials in one pass; going on with {self.now}")
