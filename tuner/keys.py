"""KeySet: a set of 16-byte keys that takes little more memory than the keys."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

_WIDTH = 16


class KeySet:
    """Keys of 16 bytes each: the bulk sorted in one array, the latest in a set until they are a tenth of it.

    A Python set takes some 110 bytes a key of this size. Merging costs O(1) a key in the long run.
    """

    def __init__(self) -> None:
        self._sorted = np.empty(0, dtype=f"S{_WIDTH}")
        self._latest: set[bytes] = set()

    def __len__(self) -> int:
        return len(self._sorted) + len(self._latest)

    def __contains__(self, key: bytes) -> bool:
        return key in self._latest or self._stored(key)

    def _stored(self, key: bytes) -> bool:
        # NumPy drops trailing zero bytes; keys of one width stay distinct without them.
        row = int(self._sorted.searchsorted(key))
        return row < len(self._sorted) and bytes(self._sorted[row]) == key.rstrip(b"\0")

    def add(self, key: bytes) -> None:
        """Add a key."""
        if key not in self:
            self._latest.add(key)
            if len(self._latest) > max(1000, len(self._sorted) // 10):
                self.update(())

    def update(self, keys: Iterable[bytes]) -> None:
        """Add many keys, and merge the latest into the array."""
        fresh = np.unique(np.array([*keys, *self._latest], dtype=self._sorted.dtype))
        self._latest = set()
        rows = np.searchsorted(self._sorted, fresh)
        if len(self._sorted):
            new = self._sorted[np.minimum(rows, len(self._sorted) - 1)] != fresh
            fresh, rows = fresh[new], rows[new]
        self._sorted = np.insert(self._sorted, rows, fresh)
