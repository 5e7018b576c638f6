"""The two networks as shapes and counts, without torch: what `known` metrics follow from.

    symbol      meaning                                    shape
    W           a prunable matrix                          (outputs, inputs)
    positions   times W is applied to one image            tokens of the ViT, 1 in the MLP

A weight that is kept costs one multiplication and one addition at every position: 2 * positions FLOPs. Products that
involve no prunable weight (embedding, attention scores, class head) are counted in `fixed_flops`; biases,
normalisation, softmax and activations are not counted.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from math import prod

SIDE = 8  # an image is SIDE x SIDE pixels
CLASSES = 10

PATCH = 2  # a token is PATCH x PATCH pixels
TOKENS = (SIDE // PATCH) ** 2
WIDTH = 64
HEADS = 4
HIDDEN = 128
BLOCKS = 4

MLP_WIDTHS = (256, 128, 128, 64)


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """A network's parameters, and which of them can be pruned.

    Attributes:
        name: "vit" or "mlp".
        shapes: Every parameter's shape by name; a matrix is (outputs, inputs).
        layers: The prunable matrices, from the input to the output, in the groups that share a keep ratio: the
            attention (qkv, out) and the MLP (up, down) of each of the ViT's blocks; each hidden matrix of the MLP.
        positions: How often each prunable matrix is applied to one image.
        fixed_flops: FLOPs of one image that pruning does not touch.
    """

    name: str
    shapes: Mapping[str, tuple[int, ...]]
    layers: tuple[tuple[str, ...], ...]
    positions: int
    fixed_flops: int

    @property
    def prunable(self) -> tuple[str, ...]:
        """The prunable matrices, from the input to the output."""
        return tuple(name for layer in self.layers for name in layer)

    @property
    def n_params(self) -> int:
        """Parameters of the dense network, biases, norms and embeddings included."""
        return sum(prod(shape) for shape in self.shapes.values())

    @property
    def n_prunable(self) -> int:
        """Weights of the dense network that can be pruned."""
        return sum(prod(self.shapes[name]) for name in self.prunable)

    def kept_params(self, kept_weights: int) -> int:
        """Return the parameters left when `kept_weights` of the prunable ones are."""
        return self.n_params - self.n_prunable + kept_weights

    def flops(self, kept_weights: int) -> int:
        """Return the FLOPs of one image when `kept_weights` of the prunable weights are left."""
        return self.fixed_flops + 2 * self.positions * kept_weights


def _vit() -> Architecture:
    shapes: dict[str, tuple[int, ...]] = {
        "embed.weight": (WIDTH, PATCH * PATCH),
        "embed.bias": (WIDTH,),
        "embed.position": (TOKENS, WIDTH),
    }
    matrices = {"qkv": (3 * WIDTH, WIDTH), "out": (WIDTH, WIDTH), "up": (HIDDEN, WIDTH), "down": (WIDTH, HIDDEN)}
    layers: list[tuple[str, ...]] = []
    for block in range(BLOCKS):
        for norm in ("norm1", "norm2"):
            shapes |= {f"block{block}.{norm}.weight": (WIDTH,), f"block{block}.{norm}.bias": (WIDTH,)}
        for name, shape in matrices.items():
            shapes |= {f"block{block}.{name}.weight": shape, f"block{block}.{name}.bias": shape[:1]}
        for pair in (("qkv", "out"), ("up", "down")):
            layers.append(tuple(f"block{block}.{name}.weight" for name in pair))
    shapes |= {"norm.weight": (WIDTH,), "norm.bias": (WIDTH,)}
    shapes |= {"head.weight": (CLASSES, WIDTH), "head.bias": (CLASSES,)}
    scores_and_mixing = 2 * BLOCKS * TOKENS * TOKENS * WIDTH  # multiply-adds of Q K^T and of softmax(.) V
    fixed = TOKENS * PATCH * PATCH * WIDTH + scores_and_mixing + WIDTH * CLASSES
    return Architecture(name="vit", shapes=shapes, layers=tuple(layers), positions=TOKENS, fixed_flops=2 * fixed)


def _mlp() -> Architecture:
    widths = (SIDE * SIDE, *MLP_WIDTHS)
    shapes: dict[str, tuple[int, ...]] = {}
    for i, (inputs, outputs) in enumerate(itertools.pairwise(widths)):
        shapes |= {f"layer{i}.weight": (outputs, inputs), f"layer{i}.bias": (outputs,)}
    layers = tuple((name,) for name in shapes if name.endswith(".weight"))
    shapes |= {"head.weight": (CLASSES, widths[-1]), "head.bias": (CLASSES,)}
    return Architecture(name="mlp", shapes=shapes, layers=layers, positions=1, fixed_flops=2 * CLASSES * widths[-1])


ARCHITECTURES: Mapping[str, Architecture] = {"vit": _vit(), "mlp": _mlp()}
