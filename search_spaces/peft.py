"""Layouts of parameter-efficient fine-tuning: which layers get which modules of which size, and the learning rate.

Sizes are those of AutoPEFT (Zhou et al. 2024): the hidden width over 1, 2, 4, ..., 256, then 1, then 0 for none; one
size of a kind for all layers that are on. Sparse ratios are those of SparseAdapter (He et al. 2022), whose criteria are
compared at initialisation. The kinds and their choices are those of the survey of Han et al. 2024.
"""

from __future__ import annotations

from collections.abc import Callable

from tuner.parameters import Bool, Choice, Float, Parameter, Subset
from tuner.space import SearchSpace

LAYERS, HIDDEN = 6, 384
"""Of MiniLM-L6."""

RANKS = (1, 2, 4, 8, 16, 32, 64)
TARGETS = ("query", "key", "value", "output", "up", "down")
RESCALED = ("key", "value", "down")
CRITERIA = ("random", "magnitude", "snip")
METHODS = ("serial", "parallel", "prefix", "lora", "ia3", "bitfit")
LEARNING_RATE = (1e-4, 1e-2)
ALPHA = (1.0, 128.0)
SPARSITY = 0.95


def sizes(hidden: int) -> tuple[int, ...]:
    """Return AutoPEFT's sizes for a hidden width, from 0 up: 11 of them for 768, 10 for 384."""
    return tuple(sorted({0, 1, *(hidden >> k for k in range(9) if hidden >> k > 1)}))


def autopeft(layers: int = LAYERS, hidden: int = HIDDEN) -> SearchSpace:
    """Return AutoPEFT's space, with a learning rate: sizes of three modules, and the layers that have them."""
    modules = [Choice(name, sizes(hidden), ordered=True) for name in ("serial", "parallel", "prefix")]
    return SearchSpace([*modules, _layers(layers), _learning_rate()], ["serial + parallel + prefix > 0"])


def lora(layers: int = LAYERS, hidden: int = HIDDEN) -> SearchSpace:
    """Return the space of LoRA: target matrices, layers with a rank of their own each, alpha."""
    targets = Subset("targets", TARGETS, min_size=1)
    alpha = Float("alpha", *ALPHA, log=True)
    return SearchSpace([_layers(layers), *_ranks(layers), targets, alpha, _learning_rate()])


def sparse_adapter(layers: int = LAYERS, hidden: int = HIDDEN) -> SearchSpace:
    """Return SparseAdapter's space: an adapter, and the share of its weights that is removed before training."""
    own = sizes(hidden)[1:]
    return SearchSpace(
        [
            Choice("method", ("serial", "parallel", "prefix", "lora")),
            Choice("size", own, ordered=True),
            _layers(layers),
            Subset("targets", TARGETS, min_size=1, when="method == 'lora'"),
            *_sparse(),
            _learning_rate(),
        ]
    )


def survey(layers: int = LAYERS, hidden: int = HIDDEN) -> SearchSpace:
    """Return the space of one method, and what that method has to choose."""
    return SearchSpace(
        [
            Choice("method", METHODS),
            _layers(layers),
            Choice("size", sizes(hidden)[1:], ordered=True, when="method in ['serial', 'parallel', 'prefix']"),
            Choice("rank", RANKS, ordered=True, when="method == 'lora'"),
            Float("alpha", *ALPHA, log=True, when="method == 'lora'"),
            Subset("targets", TARGETS, min_size=1, when="method == 'lora'"),
            Subset("ia3", RESCALED, min_size=1, when="method == 'ia3'"),
            Bool("bitfit", when="method != 'bitfit'"),
            _learning_rate(),
        ]
    )


def everything(layers: int = LAYERS, hidden: int = HIDDEN) -> SearchSpace:
    """Return the space in which all modules can be on at once."""
    modules: list[Parameter] = [Choice(name, sizes(hidden), ordered=True) for name in ("serial", "parallel", "prefix")]
    ranks = [Choice(f"rank_{k}", (0, *RANKS), ordered=True, when=f"{k} in layers") for k in range(layers)]
    return SearchSpace(
        [
            _layers(layers),
            *modules,
            *ranks,
            Subset("targets", TARGETS, min_size=1),
            Float("alpha", *ALPHA, log=True),
            Bool("bitfit"),
            Subset("ia3", RESCALED),
            *_sparse(),
            _learning_rate(),
        ]
    )


def _layers(layers: int) -> Subset:
    return Subset("layers", tuple(range(layers)), min_size=1)


def _learning_rate() -> Float:
    return Float("learning_rate", *LEARNING_RATE, log=True)


def _ranks(layers: int) -> list[Parameter]:
    return [Choice(f"rank_{k}", RANKS, ordered=True, when=f"{k} in layers") for k in range(layers)]


def _sparse() -> list[Parameter]:
    return [Float("sparsity", 0.0, SPARSITY), Choice("criterion", CRITERIA, when="sparsity > 0")]


SPACES: dict[str, Callable[[int, int], SearchSpace]] = {
    "autopeft": autopeft,
    "lora": lora,
    "sparse-adapter": sparse_adapter,
    "survey": survey,
    "everything": everything,
}
"""Each for a number of layers and a hidden width."""


def spaces() -> dict[str, Callable[[], SearchSpace]]:
    """Return the spaces by name, for MiniLM-L6."""
    return {
        "peft/autopeft": autopeft,
        "peft/lora": lora,
        "peft/sparse-adapter": sparse_adapter,
        "peft/survey": survey,
        "peft/everything": everything,
    }
