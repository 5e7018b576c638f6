"""The two networks as functions of their parameters: `logits(architecture, weights, images)`.

    symbol    meaning                          shape
    weights   parameters by name               as `Architecture.shapes`
    images    grey levels in [0, 1]            (n, 8, 8)
    x         residual stream of the ViT       (n, tokens, width)

The ViT is Dosovitskiy et al. 2021 in small: pre-norm blocks, learned positions, mean pooling in place of a class token.
Parameters travel as a dict, so a pruned network is the same function of other weights.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor
from tuner.objectives.compression.architectures import BLOCKS, HEADS, MLP_WIDTHS, PATCH, SIDE, WIDTH, Architecture

Weights = Mapping[str, Tensor]
Observer = Callable[[str, Tensor], None]
"""Told the name of each prunable matrix and its input, shape (..., inputs), as the network runs."""


def _unobserved(name: str, x: Tensor) -> None:
    """Ignore what passes."""


def logits(architecture: Architecture, weights: Weights, images: Tensor, observe: Observer = _unobserved) -> Tensor:
    """Return the class scores of `images`, shape (n, 10)."""
    forward = _vit_logits if architecture.name == "vit" else _mlp_logits
    return forward(weights, images, observe)


def initial_weights(architecture: Architecture, generator: torch.Generator) -> dict[str, Tensor]:
    """Return fresh parameters: matrices with variance 1 / inputs, norms at one, biases at zero.

    What writes into the residual stream is scaled by 1 / sqrt(2 * blocks), as in GPT-2 (Radford et al. 2019); positions
    get half the size of a token, without which the ViT learns this little data slowly (91 % against 98 %).
    """
    weights = {}
    for name, shape in architecture.shapes.items():
        if name.endswith("bias"):
            weights[name] = torch.zeros(shape)
        elif len(shape) == 1:
            weights[name] = torch.ones(shape)
        else:
            weights[name] = torch.randn(shape, generator=generator) * _initial_scale(name, shape)
    return weights


def _initial_scale(name: str, shape: tuple[int, ...]) -> float:
    if name == "embed.position":
        return 0.5
    residual = name.endswith((".out.weight", ".down.weight"))
    return float(shape[1] ** -0.5 * ((2 * BLOCKS) ** -0.5 if residual else 1.0))


def _linear(weights: Weights, name: str, x: Tensor, observe: Observer) -> Tensor:
    observe(f"{name}.weight", x)
    return F.linear(x, weights[f"{name}.weight"], weights[f"{name}.bias"])


def _norm(weights: Weights, name: str, x: Tensor) -> Tensor:
    return F.layer_norm(x, (WIDTH,), weights[f"{name}.weight"], weights[f"{name}.bias"])


def _patches(images: Tensor) -> Tensor:
    n, k = images.shape[0], SIDE // PATCH
    tiles = images.reshape(n, k, PATCH, k, PATCH).permute(0, 1, 3, 2, 4)  # (n, row, column, PATCH, PATCH)
    return tiles.reshape(n, k * k, PATCH * PATCH)


def _attention(weights: Weights, block: str, x: Tensor, observe: Observer) -> Tensor:
    n, tokens, _ = x.shape
    qkv = _linear(weights, f"{block}.qkv", x, observe)
    q, k, v = qkv.reshape(n, tokens, 3, HEADS, WIDTH // HEADS).permute(2, 0, 3, 1, 4)  # each (n, heads, tokens, .)
    mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(n, tokens, WIDTH)
    return _linear(weights, f"{block}.out", mixed, observe)


def _vit_logits(weights: Weights, images: Tensor, observe: Observer) -> Tensor:
    x = F.linear(_patches(images) - 0.3, weights["embed.weight"], weights["embed.bias"])  # 0.3: the mean grey level
    x = x + weights["embed.position"]
    for i in range(BLOCKS):
        block = f"block{i}"
        x = x + _attention(weights, block, _norm(weights, f"{block}.norm1", x), observe)
        hidden = F.gelu(_linear(weights, f"{block}.up", _norm(weights, f"{block}.norm2", x), observe))
        x = x + _linear(weights, f"{block}.down", hidden, observe)
    pooled = _norm(weights, "norm", x).mean(dim=1)
    return F.linear(pooled, weights["head.weight"], weights["head.bias"])


def _mlp_logits(weights: Weights, images: Tensor, observe: Observer) -> Tensor:
    x = images.flatten(1)
    for i in range(len(MLP_WIDTHS)):
        x = F.relu(_linear(weights, f"layer{i}", x, observe))
    return F.linear(x, weights["head.weight"], weights["head.bias"])
