"""Keep ratios of a network's layers and the criterion that ranks their weights.

Ratios go from the input to the output. The ViT has eight layers, the attention and the MLP of each of its four blocks,
or 16 matrices when each gets a ratio of its own (qkv, out, up, down of each block). The MLP has four hidden matrices.
A uniform space has one ratio for all: what a search over layers has to beat.
"""

from __future__ import annotations

from collections.abc import Callable

from tuner.parameters import Choice, Vector
from tuner.space import SearchSpace

VIT_LAYERS = 8
VIT_MATRICES = 16
MLP_LAYERS = 4
LOWEST_KEEP = 0.05
CRITERIA = ("magnitude", "wanda", "random")


def vit() -> SearchSpace:
    """Return the space of the ViT: one keep ratio a layer and a criterion."""
    return _free(VIT_LAYERS)


def vit_monotone() -> SearchSpace:
    """Return the space of the ViT in which no layer keeps a larger share than one before it."""
    keep = Vector("keep", length=VIT_LAYERS, low=LOWEST_KEEP, high=1.0, monotone="decreasing")
    return SearchSpace([keep, Choice("criterion", CRITERIA)])


def vit_matrices() -> SearchSpace:
    """Return the space of the ViT with one keep ratio a matrix."""
    return _free(VIT_MATRICES)


def mlp() -> SearchSpace:
    """Return the space of the MLP: one keep ratio a hidden matrix and a criterion."""
    return _free(MLP_LAYERS)


def uniform() -> SearchSpace:
    """Return the space of either network with one keep ratio for all its layers, and a criterion."""
    return _free(1)


def _free(length: int) -> SearchSpace:
    return SearchSpace([Vector("keep", length=length, low=LOWEST_KEEP, high=1.0), Choice("criterion", CRITERIA)])


def spaces() -> dict[str, Callable[[], SearchSpace]]:
    """Return the spaces by name."""
    return {
        "sparsity/vit": vit,
        "sparsity/vit-monotone": vit_monotone,
        "sparsity/vit-matrices": vit_matrices,
        "sparsity/vit-uniform": uniform,
        "sparsity/mlp": mlp,
        "sparsity/mlp-uniform": uniform,
    }
