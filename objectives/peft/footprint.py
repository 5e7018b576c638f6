"""What a layout costs beside its parameters: memory of a step of training, and latency of inference."""

from __future__ import annotations

import torch
from torch import Tensor
from tuner.objectives.peft.batches import Bank
from tuner.objectives.peft.encoder import Encoder
from tuner.objectives.peft.layouts import Layout
from tuner.objectives.peft.network import layer, scores
from tuner.objectives.peft.packs import Pack
from tuner.objectives.peft.states import State
from tuner.objectives.peft.steps import losses_of

from tuner.measure import Precision, measure

_ADAM_BYTES = 16  # of a parameter: itself, its gradient and two moments, float32
_PRECISION = Precision(width=0.05, least=10, most=300, limit_s=1.0, warmup_s=0.05)


def training_mib(encoder: Encoder, layout: Layout, state: State, bank: Bank, batch: int) -> float:
    """Return what a step of training keeps, in MiB: what autograd saves of a batch, the parameters, and Adam's state.

    Counted, not measured: the same on every device, and whatever else is trained beside it. The frozen weights, which
    are the same for all layouts, are left out.

    Args:
        encoder: Frozen.
        layout: What is trained.
        state: Its parameters.
        bank: The first sentences make the batch.
        batch: How many.
    """
    pack = Pack([layout], [state], encoder.device, ())
    frozen = {part.untyped_storage().data_ptr() for one in encoder.layers for part in _parts(one)}
    own = pack.flat.untyped_storage().data_ptr()
    held: dict[int, int] = {}

    def keep(saved: Tensor) -> Tensor:
        storage = saved.untyped_storage()
        if storage.data_ptr() not in frozen and storage.data_ptr() != own:
            held[storage.data_ptr()] = storage.nbytes()
        return saved

    chosen = torch.arange(min(batch, len(bank.data)))[None]
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda saved: saved):
        losses = losses_of(encoder, pack, bank, chosen)
    del losses
    return (sum(held.values()) + _ADAM_BYTES * state.n_params()) / 2**20


def _parts(one: object) -> list[Tensor]:
    return [getattr(one, name) for name in one.__slots__]  # type: ignore[attr-defined]


@torch.no_grad()
def latency_ms(encoder: Encoder, layout: Layout, state: State, bank: Bank, sentences: int) -> float:
    """Return the median time of one batch from tokens to scores, in milliseconds, after warm-up.

    Nothing is merged into the frozen weights. On a GPU, events take the time.

    Args:
        encoder: Frozen.
        layout: What was trained.
        state: Its parameters.
        bank: The first sentences make the batch.
        sentences: How many.
    """
    pack = Pack([layout], [state], encoder.device, ())
    data = bank.data
    where = bank.at(torch.arange(min(sentences, len(data)))[None])
    within = torch.arange(len(data.tokens)) - data.starts.repeat_interleave(data.lengths)
    tokens, positions = data.tokens.to(encoder.device), within.to(encoder.device)

    def entry(index: int, rows: Tensor) -> Tensor:
        x = encoder.embed(tokens[rows], positions[rows])[None]
        for k in range(index):
            x = layer(encoder, k, x, where, None)
        return x[0]

    device = encoder.device.type
    found = measure(lambda: scores(encoder, pack, where, entry), device=device, cache="warm", precision=_PRECISION)
    return found.median_s * 1e3
