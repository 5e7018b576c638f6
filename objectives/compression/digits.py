"""The data: scikit-learn's 1,797 handwritten digits (8x8 grey images, real people), in three stratified splits.

Source: the test set of "Optical Recognition of Handwritten Digits", E. Alpaydin and C. Kaynak, UCI, 1998.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

SPLIT_SEED = 20_240
SHARES = {"train": 0.6, "validation": 0.2, "test": 0.2}


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images and labels of one split.

    Attributes:
        images: Shape (n, 8, 8), float32, grey levels in [0, 1].
        labels: Shape (n,), int64, 0 to 9.
        rows: Shape (n,), int64: positions in scikit-learn's data set; no row is in two splits.
    """

    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    rows: NDArray[np.int64]


@cache
def load() -> dict[str, Split]:
    """Return the splits by name: train (1,078 images), validation (359), test (360); each class at its own share."""
    import numpy as np
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    data = load_digits()
    images = (data.images / 16.0).astype(np.float32)  # grey levels are 0 to 16
    labels = data.target.astype(np.int64)
    everything = np.arange(len(labels))
    train, rest = train_test_split(
        everything, train_size=SHARES["train"], stratify=labels, random_state=SPLIT_SEED, shuffle=True
    )
    validation, test = train_test_split(
        rest, train_size=0.5, stratify=labels[rest], random_state=SPLIT_SEED, shuffle=True
    )
    rows = {"train": train, "validation": validation, "test": test}
    return {name: Split(images=images[r], labels=labels[r], rows=r) for name, r in rows.items()}
