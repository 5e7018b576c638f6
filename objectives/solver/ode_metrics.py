"""How far samples are from where they should be: from the exact flow's endpoints, and from the data as a whole."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor


def endpoint_error(y: Tensor, reference: Tensor) -> float:
    """Return the root mean square distance of samples from their references, both (n, d)."""
    return math.sqrt(float((y - reference).square().sum(dim=1).mean()))


def directions(dim: int, n: int, seed: int) -> Tensor:
    """Return unit vectors, shape (dim, n)."""
    z = np.random.default_rng([seed, 19]).standard_normal((dim, n))
    return torch.from_numpy(z / np.linalg.norm(z, axis=0))


def projected(samples: Tensor, along: Tensor) -> Tensor:
    """Return the sorted projections of samples, shape (n, directions)."""
    return (samples @ along).sort(dim=0).values


def sliced_w2(samples: Tensor, along: Tensor, sorted_reference: Tensor) -> float:
    """Return the sliced Wasserstein-2 distance of as many samples as there are in the reference.

    Root mean square over directions of the exact distance of the projections. Two exact sets of n samples are not 0
    apart: about sqrt(log log n / n) for smooth densities, so compare with the data's own (`floor` of the objective).

    Args:
        samples: Shape (n, d).
        along: Unit vectors, shape (d, directions).
        sorted_reference: `projected` of n exact samples.
    """
    return math.sqrt(float((projected(samples, along) - sorted_reference).square().mean()))
