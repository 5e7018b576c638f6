"""Which weights of a matrix go first: three pruning criteria as rankings, and the masks and counts that follow.

    symbol   meaning                                                    shape
    W        a prunable matrix                                          (outputs, inputs)
    norms    ||x_j||_2 of input j over all calibration tokens           (inputs,)
    ranks    0 for the weight kept longest                              (outputs, inputs)
    keep     share of the weights that stay                             scalar in [0, 1]

Ranks depend on nothing that a sweep varies, so they are computed once; a configuration's mask is one comparison.
Weights are compared within a group: the whole matrix for `magnitude` and `random`, one output's inputs for `wanda`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Criterion = Literal["magnitude", "wanda", "random"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)


def kept_per_group(criterion: Criterion, shape: tuple[int, int], keep: float) -> tuple[int, int]:
    """Return (groups, weights kept in each): the share is rounded half up within a group."""
    outputs, inputs = shape
    groups, size = (outputs, inputs) if criterion == "wanda" else (1, outputs * inputs)
    return groups, min(size, math.floor(keep * size + 0.5))


def kept_weights(criterion: Criterion, shape: tuple[int, int], keep: float) -> int:
    """Return how many weights of one matrix stay, exactly."""
    groups, each = kept_per_group(criterion, shape, keep)
    return groups * each


def magnitude_scores(W: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return |W| (Han et al. 2015), shape (outputs, inputs)."""
    import numpy as np

    return np.abs(W)


def wanda_scores(W: NDArray[np.float32], norms: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return |W_ij| * ||x_j||_2 (Sun et al. 2024, eq. (1)), shape (outputs, inputs)."""
    import numpy as np

    return np.asarray(np.abs(W) * norms, dtype=np.float32)


def ranks(scores: NDArray[np.float32], *, per_output: bool) -> NDArray[np.int64]:
    """Return each weight's place in its group by falling score; ties go to the earlier weight.

    Args:
        scores: Shape (outputs, inputs).
        per_output: Compare within a row instead of within the matrix.
    """
    import numpy as np

    grouped = scores if per_output else scores.reshape(1, -1)
    order = np.argsort(-grouped, axis=1, kind="stable")
    placed = np.empty(order.shape, dtype=np.int64)
    np.put_along_axis(placed, order, np.arange(order.shape[1])[None, :], axis=1)
    return placed.reshape(scores.shape)


def random_ranks(shape: tuple[int, int], rng: np.random.Generator) -> NDArray[np.int64]:
    """Return a uniformly random order of the matrix's weights."""
    return rng.permutation(shape[0] * shape[1]).reshape(shape)
