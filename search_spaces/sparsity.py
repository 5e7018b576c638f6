"""Keep ratios of a network's matrices and the criterion that ranks their weights.

One number per prunable matrix, from the input to the output. The ViT's four blocks hold qkv, out, up and down each; the
MLP has four hidden layers.
"""

from __future__ import annotations

from collections.abc import Callable

from tuner.parameters import Choice, Vector
from tuner.space import SearchSpace

VIT_MATRICES = 16
MLP_MATRICES = 4
LOWEST_KEEP = 0.05
CRITERIA = ("magnitude", "wanda", "random")


def vit() -> SearchSpace:
    """Return the space of the ViT: 16 free keep ratios and a criterion."""
    return SearchSpace([Vector("keep", length=VIT_MATRICES, low=LOWEST_KEEP, high=1.0), Choice("criterion", CRITERIA)])


def vit_monotone() -> SearchSpace:
    """Return the space of the ViT in which no matrix keeps a larger share than one before it."""
    keep = Vector("keep", length=VIT_MATRICES, low=LOWEST_KEEP, high=1.0, monotone="decreasing")
    return SearchSpace([keep, Choice("criterion", CRITERIA)])


def mlp() -> SearchSpace:
    """Return the space of the MLP: four free keep ratios and a criterion."""
    return SearchSpace([Vector("keep", length=MLP_MATRICES, low=LOWEST_KEEP, high=1.0), Choice("criterion", CRITERIA)])


def spaces() -> dict[str, Callable[[], SearchSpace]]:
    """Return the spaces by name."""
    return {"sparsity/vit": vit, "sparsity/vit-monotone": vit_monotone, "sparsity/mlp": mlp}
