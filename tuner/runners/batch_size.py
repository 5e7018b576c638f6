"""How many trials go into one pass of an objective that evaluates several at once."""

from __future__ import annotations

from collections.abc import Callable

FIRST = 4
MOST = 64
_PAYS = 1.1  # a pass twice as large must do so many times the work a second
_ROOM = 0.9  # of the memory


class BatchSize:
    """Doubles while that pays and fits, halves while that costs nothing; what did not fit is not tried again.

    The first pass is not counted: what an objective does once is in it. Passes smaller than the first one are judged
    when they have had as many trials as that. Where two sizes do about the same work a second, the smaller one stays:
    whoever proposes the next trial knows more.

    Args:
        fixed: So many at most, from the start; None: begin with 4, and measure.
        note: Told, in a sentence, when memory ran out.
    """

    def __init__(self, fixed: int | None = None, note: Callable[[str], None] | None = None) -> None:
        self.now = fixed if fixed is not None else FIRST
        self._moves = fixed is None
        self._too_many = MOST + 1 if fixed is None else fixed + 1
        self._warm = False
        self._seen: dict[int, tuple[int, float, float]] = {}  # size -> trials, work, seconds
        self._note = note or (lambda _: None)

    def ran(self, size: int, seconds: float, memory: float | None, work: float | None = None) -> None:
        """A pass of `size` trials took so long.

        Args:
            size: Trials in it.
            seconds: From its start to its end.
            memory: The share of the memory that it used at its peak; None when unknown.
            work: What it did, such as the steps that were reported; None: one for each trial.
        """
        if not self._moves or size != self.now or seconds <= 0:
            return
        if not self._warm:
            self._warm = True
            return
        before = self._seen.get(size, (0, 0.0, 0.0))
        done = work if work is not None else float(size)
        self._seen[size] = (before[0] + size, before[1] + done, before[2] + seconds)
        if self._seen[size][0] >= min(size, FIRST):
            self._move(size, memory)

    def ran_out(self, size: int) -> None:
        """A pass of `size` trials did not fit."""
        self._moves = False
        if size <= self._too_many:
            self._too_many = size
            self.now = max(1, min(self.now, size // 2))
            self._note(f"memory ran out with {size} trials in one pass; going on with {self.now}")

    def _move(self, size: int, memory: float | None) -> None:
        """Choose the next size, now that this one is known."""
        if size < FIRST and self._rate(2 * size) >= _PAYS * self._rate(size):
            self.now, self._moves = 2 * size, False  # the larger one was better
        elif size > FIRST and self._rate(size) < _PAYS * self._rate(size // 2):
            self.now = size // 2 if size > 2 * FIRST else FIRST // 2
            self._moves = size == 2 * FIRST
        elif size >= FIRST and 2 * size < self._too_many and (memory is None or 2 * memory <= _ROOM):
            self.now = 2 * size
        elif 1 < size <= FIRST:
            self.now = size // 2
        else:
            self._moves = False

    def _rate(self, size: int) -> float:
        _, work, seconds = self._seen[size]
        return work / seconds
