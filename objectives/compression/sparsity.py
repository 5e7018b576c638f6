"""The objective `sparsity`: which share of each layer of a trained network to keep, and by which criterion.

A small vision transformer or an MLP, trained once on scikit-learn's digits, is pruned in one shot (no retraining) and
measured on the validation split. Sizes follow from the configuration alone (`Sparsity.known`).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner.objectives.compression import criteria
from tuner.objectives.compression.architectures import ARCHITECTURES, Architecture
from tuner.objectives.compression.training import RECIPES, Recipe
from tuner.search_spaces.sparsity import spaces

from tuner.errors import UsageError
from tuner.trial import Metric

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray
    from tuner.objectives.compression.pretrained import Pretrained

    from tuner.space import SearchSpace
    from tuner.trial import Trial


class Sparsity:
    """Validation accuracy against size of a pruned network.

    Deterministic given a configuration, except with the `random` criterion: it draws masks from the trial's seed.
    Wanda's activation norms come from the dense network on the training split (the paper prunes block after block and
    measures each block's inputs behind the blocks already pruned).

    A sweep sees the validation split only. The test split is for `test`, which the loop calls once, at the end of a
    sweep, for the members of the front: a test accuracy that chose a configuration would no longer be one.

    Attributes:
        space: One of `tuner.search_spaces.sparsity`.
        metrics: accuracy (share of validation images, maximised), kept_kparams (thousands of parameters left, biases,
            norms and embeddings included, minimised), mflops (of one image, masked weights skipped; recorded).
    """

    def __init__(self, recipe: Recipe, space: SearchSpace) -> None:
        self.recipe = recipe
        self.space = space
        self.architecture = ARCHITECTURES[recipe.model]
        self._groups = _groups(self.architecture, len(space.centre()["keep"]))
        dense_kparams = self.architecture.n_params / 1e3
        self.metrics: Mapping[str, Metric] = {
            "accuracy": Metric(name="accuracy", goal="maximize", reference=0.5),
            "kept_kparams": Metric(name="kept_kparams", goal="minimize", unit="k", reference=dense_kparams),
            "mflops": Metric(name="mflops", unit="MFLOP"),
        }

    def known(self, config: Mapping[str, Any]) -> dict[str, float]:
        """Return kept_kparams and mflops of a configuration, exactly, rounding of the keep counts included."""
        shapes = self.architecture.shapes
        kept = sum(
            criteria.kept_weights(config["criterion"], (shapes[name][0], shapes[name][1]), keep)
            for group, keep in zip(self._groups, config["keep"], strict=True)
            for name in group
        )
        return {
            "kept_kparams": self.architecture.kept_params(kept) / 1e3,
            "mflops": self.architecture.flops(kept) / 1e6,
        }

    def evaluate(self, config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
        """Return validation accuracy and the known metrics."""
        return {"accuracy": self._accuracy(config, "validation", trial.seed), **self.known(config)}

    def test(self, config: Mapping[str, Any], *, seed: int = 0) -> dict[str, float]:
        """Return the test accuracy. For members of the front at the end of a sweep, never for choosing among them.

        Args:
            config: A configuration of the space.
            seed: The seed of the trial that measured it, which the `random` criterion needs to repeat its masks.
        """
        return {"accuracy": self._accuracy(config, "test", seed)}

    def baseline(self) -> dict[str, Any]:
        """Return the configuration of the dense network."""
        return {"keep": [1.0] * len(self._groups), "criterion": "magnitude"}

    def prepare(self) -> None:
        """Train the network unless the cache holds it: once per machine, by one process, seconds on one core."""
        _ = self._pretrained

    def masks(self, config: Mapping[str, Any], seed: int = 0) -> dict[str, NDArray[np.bool_]]:
        """Return what stays of each prunable matrix, shape (outputs, inputs), True where a weight is kept.

        Args:
            config: A configuration of the space.
            seed: Of the `random` criterion; the others ignore it.
        """
        criterion: criteria.Criterion = config["criterion"]
        ranks = self._random_ranks(seed) if criterion == "random" else self._ranks[criterion]
        masks = {}
        for group, keep in zip(self._groups, config["keep"], strict=True):
            for name in group:
                outputs, inputs = ranks[name].shape
                masks[name] = ranks[name] < criteria.kept_per_group(criterion, (outputs, inputs), keep)[1]
        return masks

    def _accuracy(self, config: Mapping[str, Any], split: str, seed: int) -> float:
        import torch
        from tuner.objectives.compression import digits
        from tuner.objectives.compression.networks import logits
        from tuner.objectives.compression.training import one_thread

        data = digits.load()[split]
        weights = dict(self._weights)
        for name, mask in self.masks(config, seed).items():
            weights[name] = weights[name] * torch.from_numpy(mask)
        with one_thread(), torch.inference_mode():
            predicted = logits(self.architecture, weights, torch.from_numpy(data.images)).argmax(dim=1)
        return float((predicted.numpy() == data.labels).mean())

    @cached_property
    def _pretrained(self) -> Pretrained:
        from tuner.objectives.compression import pretrained

        return pretrained.load(self.recipe)

    @cached_property
    def _weights(self) -> dict[str, torch.Tensor]:
        import torch

        return {name: torch.from_numpy(array) for name, array in self._pretrained.weights.items()}

    @cached_property
    def _ranks(self) -> dict[str, dict[str, NDArray[np.int64]]]:
        """Criterion -> matrix -> ranks, for the criteria that do not draw."""
        weights, norms = self._pretrained.weights, self._pretrained.input_norms
        ranks: dict[str, dict[str, NDArray[np.int64]]] = {"magnitude": {}, "wanda": {}}
        for name in self.architecture.prunable:
            W = weights[name]
            ranks["magnitude"][name] = criteria.ranks(criteria.magnitude_scores(W), per_output=False)
            ranks["wanda"][name] = criteria.ranks(criteria.wanda_scores(W, norms[name]), per_output=True)
        return ranks

    def _random_ranks(self, seed: int) -> dict[str, NDArray[np.int64]]:
        import numpy as np

        rng = np.random.default_rng(seed)
        shapes = self.architecture.shapes
        return {
            name: criteria.random_ranks((shapes[name][0], shapes[name][1]), rng) for name in self.architecture.prunable
        }


def _groups(architecture: Architecture, length: int) -> tuple[tuple[str, ...], ...]:
    """The matrices that share each of `length` keep ratios."""
    prunable = architecture.prunable
    choices = ((prunable,), architecture.layers, tuple((name,) for name in prunable))
    return next(groups for groups in choices if len(groups) == length)


def build(*, model: str = "vit", variant: str | None = None, epochs: int | None = None) -> Sparsity:
    """Return the objective.

    Args:
        model: "vit" (131 thousand prunable weights in 8 layers) or "mlp" (74 thousand in 4).
        variant: "uniform" (one keep ratio for all layers), or for the ViT "monotone" (ratios only fall from the input
            to the output) or "matrices" (one for each of the 16 matrices); None for one free ratio a layer.
        epochs: Of training, in place of the recipe's; fewer is faster and less accurate.

    Raises:
        UsageError: There is no such model or variant, or `epochs` is below 1.
    """
    if model not in RECIPES:
        raise UsageError(f"model must be one of {', '.join(RECIPES)}, but got {model!r}; name one of them")
    if epochs is not None and epochs < 1:
        raise UsageError(f"epochs must be at least 1, but got {epochs!r}; leave it out for the recipe's own")
    name = f"sparsity/{model}" if variant is None else f"sparsity/{model}-{variant}"
    if name not in spaces():
        known = [known.partition("-")[2] for known in spaces() if known.startswith(f"sparsity/{model}-")]
        choices = f"one of {', '.join(known)}"
        raise UsageError(f"variant of {model!r} must be {choices}, but got {variant!r}; or leave it out")
    recipe = RECIPES[model] if epochs is None else dataclasses.replace(RECIPES[model], epochs=epochs)
    return Sparsity(recipe, spaces()[name]())
