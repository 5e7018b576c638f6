"""A layout: which layers of a frozen encoder get which modules of which size; its tensors and counts, without torch.

    symbol   meaning                                             value in MiniLM-L6
    L        layers                                              6
    d        width of the hidden states                          384
    f        width inside the feed-forward network               1536
    r        rank of LoRA, or size of an adapter
    c        outputs of the head: classes, or 1 for a regression

    module     tensors in one layer                              where
    serial     down (d, r), up (r, d)                            behind the feed-forward network (Pfeiffer et al. 2021)
    parallel   down (d, r), up (r, d)                            beside it, times 4 (He et al. 2022)
    prefix     keys (r, d), values (r, d)                        more keys and values (Li and Liang 2021)
    lora       down (in, r), up (r, out) for each target         beside its matrix, times alpha / r (Hu et al. 2022)
    bitfit     3d + d + f + d + 2d biases                        every bias of the layer (Ben Zaken et al. 2022)
    ia3        d for keys, d for values, f for down              factors (Liu et al. 2022)

Adapters have no biases, as AutoPEFT counts them (Zhou et al. 2024): 2 d (serial + parallel + prefix) a layer.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Literal, get_args

Target = Literal["query", "key", "value", "output", "up", "down"]
TARGETS: tuple[Target, ...] = get_args(Target)
ATTENTION: tuple[Target, ...] = ("query", "key", "value")
Rescaled = Literal["key", "value", "down"]
RESCALED: tuple[Rescaled, ...] = get_args(Rescaled)
Criterion = Literal["random", "magnitude", "snip"]
CRITERIA: tuple[Criterion, ...] = get_args(Criterion)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shape:
    """The sizes of an encoder."""

    layers: int
    hidden: int
    heads: int
    intermediate: int
    positions: int = 512
    vocabulary: int = 30_522

    @property
    def n_params(self) -> int:
        """Parameters of the encoder: embeddings, layers, and the normalisation behind the embeddings."""
        d, f = self.hidden, self.intermediate
        layer = 4 * (d * d + d) + 2 * d * f + f + d + 4 * d
        return (self.vocabulary + self.positions + 2) * d + 2 * d + self.layers * layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """What is trained, and how.

    Attributes:
        serial: Size of the serial adapter of each layer, 0 where there is none; like `parallel`, `prefix`, `rank`.
        parallel: Size of the parallel adapter.
        prefix: How many keys and values are added.
        rank: Of LoRA.
        alpha: LoRA's product is multiplied by alpha / rank.
        targets: The matrices that LoRA stands beside.
        bitfit: Layers whose biases are trained.
        ia3: What is rescaled in each layer.
        sparsity: Share of every adapter's weights that is removed before training (He et al. 2022, SparseAdapter).
        criterion: Which of them.
        learning_rate: Peak of Adam's.
    """

    serial: tuple[int, ...]
    parallel: tuple[int, ...]
    prefix: tuple[int, ...]
    rank: tuple[int, ...]
    alpha: float = 16.0
    targets: tuple[Target, ...] = ("query", "value")
    bitfit: tuple[bool, ...]
    ia3: tuple[tuple[Rescaled, ...], ...]
    sparsity: float = 0.0
    criterion: Criterion = "random"
    learning_rate: float = 1e-3

    def first(self) -> int:
        """The lowest layer in which something is trained; the number of layers where nothing is but the head."""
        lora = any(self.targets)
        for layer, sizes in enumerate(zip(self.serial, self.parallel, self.prefix, self.bitfit, self.ia3, strict=True)):
            if any(sizes) or (lora and self.rank[layer]):
                return layer
        return len(self.serial)


def tensors(layout: Layout, shape: Shape, outputs: int) -> dict[str, tuple[int, ...]]:
    """Return the shape of every tensor that a layout trains, by name; LoRA's of query, key and value are one.

    `<layer>.qkv.b` is block diagonal, (targets * rank, 3d): `blocks` says where it is trained.
    """
    d, f = shape.hidden, shape.intermediate
    found: dict[str, tuple[int, ...]] = {}
    attention = sum(target in layout.targets for target in ATTENTION)
    for layer in range(shape.layers):
        for name, size in (("serial", layout.serial[layer]), ("parallel", layout.parallel[layer])):
            found |= _pair(f"{layer}.{name}", d, size, d)
        if length := layout.prefix[layer]:
            found |= {f"{layer}.prefix.keys": (length, d), f"{layer}.prefix.values": (length, d)}
        rank = layout.rank[layer]
        found |= _pair(f"{layer}.qkv", d, attention * rank, 3 * d)
        for target, (inputs, outs) in {"output": (d, d), "up": (d, f), "down": (f, d)}.items():
            found |= _pair(f"{layer}.{target}", inputs, rank if target in layout.targets else 0, outs)
        if layout.bitfit[layer]:
            found[f"{layer}.bitfit.delta"] = (7 * d + f,)
        found |= {f"{layer}.ia3_{name}.delta": (f if name == "down" else d,) for name in layout.ia3[layer]}
    return found | {"head.weight": (d, outputs), "head.bias": (outputs,)}


def _pair(name: str, inputs: int, size: int, outputs: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.a": (inputs, size), f"{name}.b": (size, outputs)} if size else {}


def blocks(layout: Layout, layer: int, hidden: int) -> list[tuple[slice, slice]]:
    """Return the rows and columns of `<layer>.qkv.b` that are trained, one block for each of query, key and value."""
    rank = layout.rank[layer]
    found: list[tuple[slice, slice]] = []
    for place, target in enumerate(ATTENTION):
        if target in layout.targets:
            start = len(found) * rank
            found.append((slice(start, start + rank), slice(place * hidden, (place + 1) * hidden)))
    return found


def kept(size: int, sparsity: float) -> int:
    """Return how many weights of a matrix stay: rounded half up, at least one."""
    return max(1, math.floor((1.0 - sparsity) * size + 0.5))


def thinned(name: str) -> bool:
    """Return whether sparsity removes weights of this tensor: of adapters' and LoRA's matrices, and of prefixes."""
    return name.endswith((".a", ".b", ".keys", ".values"))


def count(layout: Layout, shape: Shape, outputs: int) -> int:
    """Return how many parameters are trained, the head's included, exactly."""
    total = 0
    for name, dims in tensors(layout, shape, outputs).items():
        size = prod(dims)
        if name.endswith("qkv.b"):
            size = dims[0] * shape.hidden  # rank rows of each block
        total += kept(size, layout.sparsity) if thinned(name) and layout.sparsity > 0 else size
    return total


METHODS = ("serial", "parallel", "prefix", "lora", "ia3", "bitfit")


def layout_of(config: Mapping[str, Any], shape: Shape) -> Layout:
    """Return the layout that a configuration of one of `tuner.search_spaces.peft` names; what it leaves out is off.

    With `method`, only that module is on. `size` is the size of the method's modules; `layers` says where they are, all
    by default; `rank_<layer>` goes before `rank`.
    """
    method = config.get("method")
    chosen = config.get("layers")
    active = [chosen is None or layer in chosen for layer in range(shape.layers)]

    def sizes(name: str, kind: str) -> tuple[int, ...]:
        given = config.get(name, config.get("size", 0) if method == kind else 0)
        on = method is None or method == kind
        return tuple(int(given) if on and there else 0 for there in active)

    rank = sizes("rank", "lora")
    rank = tuple(
        int(config.get(f"rank_{layer}", rank[layer])) if active[layer] and method in (None, "lora") else 0
        for layer in range(shape.layers)
    )
    default_ia3: Sequence[Rescaled] = RESCALED if method == "ia3" else ()
    rescaled = tuple(config.get("ia3", default_ia3)) if method in (None, "ia3") else ()
    biases = bool(config.get("bitfit", method == "bitfit"))
    return Layout(
        serial=sizes("serial", "serial"),
        parallel=sizes("parallel", "parallel"),
        prefix=sizes("prefix", "prefix"),
        rank=rank,
        alpha=float(config.get("alpha", 16.0)),
        targets=tuple(target for target in TARGETS if target in config.get("targets", ("query", "value"))),
        bitfit=tuple(biases and there for there in active),
        ia3=tuple(tuple(name for name in RESCALED if name in rescaled) if there else () for there in active),
        sparsity=float(config.get("sparsity", 0.0)),
        criterion=config.get("criterion", "random"),
        learning_rate=float(config.get("learning_rate", 1e-3)),
    )
