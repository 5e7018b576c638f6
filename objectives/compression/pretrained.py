"""A dense network ready to be pruned: trained once per recipe and set of versions, then read from the cache."""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.objectives.compression import checkpoints, digits
from tuner.objectives.compression.architectures import ARCHITECTURES, Architecture
from tuner.objectives.compression.training import Recipe, one_thread, train

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray
    from tuner.objectives.compression.checkpoints import Arrays

_NORM = "input_norm/"
_SOURCES = ("architectures.py", "digits.py", "networks.py", "pretrained.py", "training.py")
_VERSIONS = ("numpy", "scikit-learn", "torch")


@dataclass(frozen=True, slots=True, kw_only=True)
class Pretrained:
    """A trained network and what the criteria need of its activations.

    Attributes:
        architecture: Shapes and counts.
        weights: Every parameter by name, float32.
        input_norms: ||x_j||_2 of each input of each prunable matrix over the training split, shape (inputs,), float32.
    """

    architecture: Architecture
    weights: Mapping[str, NDArray[np.float32]]
    input_norms: Mapping[str, NDArray[np.float32]]


def checkpoint_path(recipe: Recipe) -> Path:
    """Return where the recipe's weights lie: a changed recipe, source file or library version is another path."""
    digest = hashlib.sha256(json.dumps(dataclasses.asdict(recipe), sort_keys=True).encode())
    digest.update(json.dumps({name: version(name) for name in _VERSIONS}).encode())
    for source in _SOURCES:
        digest.update(Path(__file__).with_name(source).read_bytes())
    return checkpoints.cache_dir() / "compression" / f"{recipe.model}-{digest.hexdigest()[:16]}.ckpt"


def load(recipe: Recipe) -> Pretrained:
    """Return the recipe's network, trained now when the cache does not hold it."""
    arrays = checkpoints.fetch(checkpoint_path(recipe), lambda: _make(recipe))
    return Pretrained(
        architecture=ARCHITECTURES[recipe.model],
        weights={name: array for name, array in arrays.items() if not name.startswith(_NORM)},
        input_norms={name.removeprefix(_NORM): array for name, array in arrays.items() if name.startswith(_NORM)},
    )


def _make(recipe: Recipe) -> Arrays:
    import torch
    from tuner.objectives.compression.networks import logits

    split = digits.load()["train"]
    weights = train(recipe, split)
    squares: dict[str, torch.Tensor] = {}

    def observe(name: str, x: torch.Tensor) -> None:
        squares[name] = x.square().flatten(0, -2).sum(dim=0)

    with one_thread(), torch.inference_mode():
        tensors = {name: torch.from_numpy(array) for name, array in weights.items()}
        logits(ARCHITECTURES[recipe.model], tensors, torch.from_numpy(split.images), observe)
    return weights | {_NORM + name: square.sqrt().numpy() for name, square in squares.items()}
