"""Training the dense networks: seconds on one core, the same weights every time on the same versions."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from tuner.objectives.compression.architectures import ARCHITECTURES

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from tuner.objectives.compression.digits import Split


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """Everything that decides the trained weights; part of the key of the cache.

    Attributes:
        model: "vit" or "mlp".
        epochs: Passes over the training split, >= 1.
        learning_rate: Peak; warmed up over the first tenth of the steps, then a half cosine to zero.
        weight_decay: AdamW's (Loshchilov and Hutter 2019), on matrices only.
        batch: Images per step.
        label_smoothing: Share of the target spread over all classes.
        seed: Of the initial weights, the order of the images and their shifts.
    """

    model: str
    epochs: int
    learning_rate: float
    weight_decay: float = 0.05
    batch: int = 64
    label_smoothing: float = 0.05
    seed: int = 0


RECIPES = {
    "vit": Recipe(model="vit", epochs=30, learning_rate=3e-3),
    "mlp": Recipe(model="mlp", epochs=60, learning_rate=3e-3),
}


@contextmanager
def one_thread() -> Iterator[None]:
    """Run torch on one thread inside: the order of its sums, hence every bit of a result, depends on their number."""
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def train(recipe: Recipe, split: Split) -> dict[str, NDArray[np.float32]]:
    """Return the trained parameters by name, as arrays."""
    import torch
    import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
    from tuner.objectives.compression.networks import initial_weights, logits

    architecture = ARCHITECTURES[recipe.model]
    generator = torch.Generator().manual_seed(recipe.seed)
    images, labels = torch.from_numpy(split.images), torch.from_numpy(split.labels)
    with one_thread(), torch.enable_grad():
        weights = {name: w.requires_grad_() for name, w in initial_weights(architecture, generator).items()}
        optimizer = torch.optim.AdamW(
            [
                {"params": [w for w in weights.values() if w.ndim > 1], "weight_decay": recipe.weight_decay},
                {"params": [w for w in weights.values() if w.ndim == 1], "weight_decay": 0.0},
            ],
            lr=recipe.learning_rate,
        )
        batches = math.ceil(len(labels) / recipe.batch)
        for step in range(recipe.epochs * batches):
            if step % batches == 0:
                order = torch.randperm(len(labels), generator=generator)
            rows = order[(step % batches) * recipe.batch :][: recipe.batch]
            for group in optimizer.param_groups:
                group["lr"] = recipe.learning_rate * _schedule(step, recipe.epochs * batches)
            scores = logits(architecture, weights, _shifted(images[rows], generator))
            loss = F.cross_entropy(scores, labels[rows], label_smoothing=recipe.label_smoothing)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
    return {name: w.detach().numpy() for name, w in weights.items()}


def _schedule(step: int, steps: int) -> float:
    warmup = max(1, steps // 10)
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1.0 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def _shifted(images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    """Return the images moved by -1, 0 or 1 pixel along each axis, blank where they left; shape (n, 8, 8)."""
    import torch
    import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows

    n, side = images.shape[0], images.shape[-1]
    padded = F.pad(images, (1, 1, 1, 1))
    offset = torch.randint(0, 3, (2, n, 1), generator=generator)
    row, column = offset + torch.arange(side)  # each (n, side)
    return padded[torch.arange(n)[:, None, None], row[:, :, None], column[:, None, :]]
