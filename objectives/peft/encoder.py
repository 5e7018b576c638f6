"""A frozen encoder as plain tensors: BERT's post-norm transformer (Devlin et al. 2019), from a checkpoint or random.

symbol   meaning                  shape
W        a matrix                 (outputs, inputs), as in torch.nn.Linear
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields, replace

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor
from tuner.objectives.peft.layouts import Shape

from tuner.errors import ObjectiveError

ACTIVATIONS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "gelu": F.gelu,
    "gelu_new": lambda x: F.gelu(x, approximate="tanh"),
    "gelu_pytorch_tanh": lambda x: F.gelu(x, approximate="tanh"),
    "relu": F.relu,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """The weights of one layer, d its width and f the width inside."""

    qkv_weight: Tensor  # (3d, d): query, key, value
    qkv_bias: Tensor  # (3d,)
    out_weight: Tensor  # (d, d)
    out_bias: Tensor  # (d,)
    norm1_weight: Tensor  # (d,)
    norm1_bias: Tensor  # (d,)
    up_weight: Tensor  # (f, d)
    up_bias: Tensor  # (f,)
    down_weight: Tensor  # (d, f)
    down_bias: Tensor  # (d,)
    norm2_weight: Tensor  # (d,)
    norm2_bias: Tensor  # (d,)


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoder:
    """An encoder.

    Attributes:
        shape: Its sizes.
        words: Embeddings of tokens, (vocabulary, d).
        places: Embeddings of positions, that of the first token first, (positions, d); token types are added.
        norm_weight: Of the embeddings, (d,).
        norm_bias: Likewise.
        layers: From the input to the output.
        eps: Of every normalisation.
        activation: A name in ACTIVATIONS.
    """

    shape: Shape
    words: Tensor
    places: Tensor
    norm_weight: Tensor
    norm_bias: Tensor
    layers: tuple[Layer, ...]
    eps: float = 1e-12
    activation: str = "gelu"

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.words.device

    @property
    def dtype(self) -> torch.dtype:
        """In which it computes."""
        return self.words.dtype

    def to(self, device: torch.device | str, dtype: torch.dtype) -> Encoder:
        """Return the same encoder elsewhere."""
        layers = tuple(
            Layer(**{f.name: getattr(layer, f.name).to(device, dtype) for f in fields(Layer)}) for layer in self.layers
        )
        own = ("words", "places", "norm_weight", "norm_bias")
        return replace(self, layers=layers, **{name: getattr(self, name).to(device, dtype) for name in own})

    def embed(self, tokens: Tensor, places: Tensor) -> Tensor:
        """Return what enters the first layer, for tokens and their positions of shape (n,), shape (n, d)."""
        x = self.words[tokens] + self.places[places]
        normal: Tensor = F.layer_norm(x, (self.shape.hidden,), self.norm_weight, self.norm_bias, self.eps)
        return normal


def random_encoder(shape: Shape, seed: int) -> Encoder:
    """Return an encoder with random weights of the usual sizes, for tests and for timing."""
    generator = torch.Generator().manual_seed(seed)

    def normal(*dims: int) -> Tensor:
        drawn: Tensor = torch.randn(dims, generator=generator) / dims[-1] ** 0.5
        return drawn

    d, f = shape.hidden, shape.intermediate
    layers = tuple(
        Layer(
            qkv_weight=normal(3 * d, d),
            qkv_bias=0.1 * normal(3 * d),
            out_weight=normal(d, d),
            out_bias=0.1 * normal(d),
            norm1_weight=torch.ones(d),
            norm1_bias=0.1 * normal(d),
            up_weight=normal(f, d),
            up_bias=0.1 * normal(f),
            down_weight=normal(d, f),
            down_bias=0.1 * normal(d),
            norm2_weight=torch.ones(d),
            norm2_bias=0.1 * normal(d),
        )
        for _ in range(shape.layers)
    )
    return Encoder(
        shape=shape,
        words=torch.randn((shape.vocabulary, d), generator=generator),
        places=0.1 * torch.randn((shape.positions, d), generator=generator),
        norm_weight=torch.ones(d),
        norm_bias=torch.zeros(d),
        layers=layers,
    )


_BERT = {
    "out": "attention.output.dense",
    "norm1": "attention.output.LayerNorm",
    "up": "intermediate.dense",
    "down": "output.dense",
    "norm2": "output.LayerNorm",
}
_DISTIL = {
    "out": "attention.out_lin",
    "norm1": "sa_layer_norm",
    "up": "ffn.lin1",
    "down": "ffn.lin2",
    "norm2": "output_layer_norm",
}
_FAMILIES: Mapping[str, tuple[str, tuple[str, str, str], Mapping[str, str], int]] = {
    "bert": ("encoder.layer", ("attention.self.query", "attention.self.key", "attention.self.value"), _BERT, 0),
    "roberta": ("encoder.layer", ("attention.self.query", "attention.self.key", "attention.self.value"), _BERT, 2),
    "xlm-roberta": ("encoder.layer", ("attention.self.query", "attention.self.key", "attention.self.value"), _BERT, 2),
    "camembert": ("encoder.layer", ("attention.self.query", "attention.self.key", "attention.self.value"), _BERT, 2),
    "distilbert": ("transformer.layer", ("attention.q_lin", "attention.k_lin", "attention.v_lin"), _DISTIL, 0),
}
"""Model type -> where its layers are, its query, key and value, the other matrices, and the first token's position."""

MODEL_TYPES = tuple(_FAMILIES)


def encoder_of(weights: Mapping[str, Tensor], shape: Shape, model_type: str, *, eps: float, activation: str) -> Encoder:
    """Return the encoder that a checkpoint holds, in float32.

    Args:
        weights: By the names of Hugging Face's model, without a prefix such as "bert.".
        shape: Its sizes.
        model_type: One of MODEL_TYPES.
        eps: Of every normalisation.
        activation: A name in ACTIVATIONS.

    Raises:
        ObjectiveError: The type or the activation is none that this knows, or a weight is missing.
    """
    if model_type not in _FAMILIES or activation not in ACTIVATIONS:
        known = f"{', '.join(MODEL_TYPES)} with {', '.join(ACTIVATIONS)}"
        raise ObjectiveError(f"a model must be one of {known}, but it is {model_type!r} with {activation!r}")
    stem, attention, names, offset = _FAMILIES[model_type]
    try:
        layers = []
        for i in range(shape.layers):
            own = {
                f"{name}_{kind}": weights[f"{stem}.{i}.{theirs}.{kind}"].float()
                for name, theirs in names.items()
                for kind in ("weight", "bias")
            }
            for kind in ("weight", "bias"):
                own[f"qkv_{kind}"] = torch.cat([weights[f"{stem}.{i}.{part}.{kind}"].float() for part in attention])
            layers.append(Layer(**own))
        places = weights["embeddings.position_embeddings.weight"].float()[offset:]
        if (types := weights.get("embeddings.token_type_embeddings.weight")) is not None:
            places = places + types[0].float()
        return Encoder(
            shape=replace(shape, positions=len(places)),
            words=weights["embeddings.word_embeddings.weight"].float(),
            places=places,
            norm_weight=weights["embeddings.LayerNorm.weight"].float(),
            norm_bias=weights["embeddings.LayerNorm.bias"].float(),
            layers=tuple(layers),
            eps=eps,
            activation=activation,
        )
    except KeyError as error:
        raise ObjectiveError(
            f"the checkpoint of a {model_type!r} has no weight {error}; use one that is whole"
        ) from None
