"""The frozen encoder with the modules of K layouts in it, in one pass.

    symbol   meaning                                                       shape
    K        layouts under way in a layer
    B, T     sentences of a batch, tokens of the longest sentence there
    N        rows of a layout: the tokens of its batch, without padding    at most B T
    x        hidden states                                                 (K, N, d)

Padding costs nothing but in attention: rows are spread over (K B, T) there and gathered again. What is frozen is one
matrix product over all K N rows; a module is a batched product over the layouts that have it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor
from tuner.objectives.peft.encoder import ACTIVATIONS, Encoder, Layer
from tuner.objectives.peft.packs import Group, Order, Pack


@dataclass(frozen=True, slots=True, kw_only=True)
class Places:
    """Where the tokens of a step stand.

    Attributes:
        rows: Each row's token in the bank, 0 for a row that is none, shape (K, N).
        slots: Each row's place among the K * B * T, that many for a row that is none, shape (K, N).
        mask: Which places hold a token, shape (K, B, T).
    """

    rows: Tensor
    slots: Tensor
    mask: Tensor


class _Spread(torch.autograd.Function):
    """Rows to places, zero where no row is; the place behind the last takes the rows that are no token."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor, slots: Tensor, size: int) -> Tensor:
        ctx.save_for_backward(slots)
        return rows.new_zeros((size + 1, rows.shape[-1])).index_copy_(0, slots, rows)[:-1]

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        (slots,) = ctx.saved_tensors
        return _picked(gradients[0], slots), None, None


class _Gather(torch.autograd.Function):
    """Places to rows; rows that are no token are zero."""

    @staticmethod
    def forward(ctx: Any, places: Tensor, slots: Tensor) -> Tensor:
        ctx.save_for_backward(slots)
        ctx.size = len(places)
        return _picked(places, slots)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        (slots,) = ctx.saved_tensors
        rows = gradients[0]
        return rows.new_zeros((ctx.size + 1, rows.shape[-1])).index_copy_(0, slots, rows)[:-1], None


def _picked(places: Tensor, slots: Tensor) -> Tensor:
    """The rows at these places, zero for the place behind the last, whatever stands elsewhere."""
    size = len(places)
    rows = places.index_select(0, slots.clamp(max=size - 1))
    return rows.masked_fill_((slots == size)[:, None], 0.0)


def spread(rows: Tensor, slots: Tensor, size: int) -> Tensor:
    """Return rows (n, d) at their places, shape (size, d), zero elsewhere."""
    out: Tensor = _Spread.apply(rows, slots, size)  # type: ignore[no-untyped-call]
    return out


def gather(places: Tensor, slots: Tensor) -> Tensor:
    """Return the rows at these places, shape (n, d), zero for the place behind the last."""
    out: Tensor = _Gather.apply(places, slots)  # type: ignore[no-untyped-call]
    return out


def low_rank(
    x: Tensor, out: Tensor, groups: Sequence[Group], activation: Callable[[Tensor], Tensor] | None = None
) -> Tensor:
    """Return out + scale * activation(x a) b for the layouts that have the module, shape (K, N, outputs).

    Args:
        x: Shape (K, N, inputs).
        out: Shape (K, N, outputs).
        groups: The module's.
        activation: Between the two products.
    """
    own = False  # what a frozen product gave is a view: changed in place, its gradient would be copied three times
    for group in groups:
        a, b = group.tensors["a"], group.tensors["b"]
        if group.scale is not None:
            b = b * group.scale
        h = x if group.rows is None else x.index_select(0, group.rows)
        h = torch.bmm(h, a.to(x.dtype))
        h = activation(h) if activation is not None else h
        more = torch.bmm(h, b.to(x.dtype))  # rounded before it is added, as for one layout so for many
        if group.rows is None:
            out = out + more
        else:
            out = out.index_add_(0, group.rows, more) if own else out.index_add(0, group.rows, more)
        own = True  # and nobody kept what it was
    return out


def _deltas(groups: Sequence[Group], k: int) -> Tensor | None:
    """One vector a layout, zero for those that have none, shape (K, 1, n); None when no layout has one."""
    if not groups:
        return None
    (group,) = groups
    own = group.tensors["delta"]
    if group.rows is None:
        return own[:, None]
    return own.new_zeros((k, own.shape[1])).index_add(0, group.rows, own)[:, None]


def _attention(qkv: Tensor, places: Places, heads: int, prefixes: Sequence[Group], order: Order) -> Tensor:
    """Return what attention mixes, shape (K, N, d), of queries, keys and values, shape (K, N, 3d)."""
    k, n, width = qkv.shape
    batch, tokens = places.mask.shape[1:]
    size = k * batch * tokens
    slots = places.slots[:k].reshape(-1).clamp(max=size)
    padded = spread(qkv.reshape(k * n, width), slots, size)
    # first apart, then transposed: their gradients are put together without being copied. Each (K, B, H, T, e)
    q, key, value = (part.transpose(2, 3) for part in padded.view(k, batch, tokens, 3, heads, -1).unbind(3))
    mask = places.mask[:k, :, None, None, :]
    done = []
    if order.plain is None or len(order.plain):
        done.append(_mix(*(_of(part, order.plain) for part in (q, key, value, mask))))
    for group in prefixes:
        own = [_of(part, group.rows) for part in (q, key, value, mask)]
        done.append(_with_prefix(own[0], own[1], own[2], own[3], group))
    context = done[0] if order.back is None else torch.cat(done).index_select(0, order.back)
    return gather(context.transpose(2, 3).reshape(size, width // 3), slots).view(k, n, width // 3)


def _of(x: Tensor, rows: Tensor | None) -> Tensor:
    return x if rows is None else x.index_select(0, rows)


def _with_prefix(q: Tensor, key: Tensor, value: Tensor, mask: Tensor, group: Group) -> Tensor:
    """Attention of a group over its prefix and its tokens, shape (G, B, H, T, e)."""
    g, batch, heads, _, e = q.shape
    assert group.real is not None
    length = group.real.shape[1]
    more = [group.tensors[end].to(q.dtype).view(g, 1, length, heads, e).transpose(2, 3) for end in ("keys", "values")]
    key = torch.cat([more[0].expand(g, batch, heads, length, e), key], dim=3)
    value = torch.cat([more[1].expand(g, batch, heads, length, e), value], dim=3)
    real = group.real[:, None, None, None, :].expand(g, batch, 1, 1, length)
    return _mix(q, key, value, torch.cat([real, mask], dim=-1))


def _mix(q: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
    """Scaled dot-product attention over the last two dimensions of (G, B, H, T, e)."""
    g, batch = q.shape[:2]
    q, key, value, mask = (part.flatten(0, 1) for part in (q, key, value, mask))
    mixed = F.scaled_dot_product_attention(q, key, value, attn_mask=mask.expand(-1, -1, q.shape[2], -1))
    return mixed.view(g, batch, *mixed.shape[1:])


def layer(encoder: Encoder, index: int, x: Tensor, places: Places, pack: Pack | None) -> Tensor:
    """Return the hidden states behind a layer, shape (K, N, d); `pack` None for the frozen encoder itself."""
    w, d, k = encoder.layers[index], encoder.shape.hidden, len(x)

    def groups(module: str) -> Sequence[Group]:
        return () if pack is None else pack.groups(f"{index}.{module}")

    biases = _biases(_deltas(groups("bitfit"), k), w)
    qkv = low_rank(x, _shifted(F.linear(x, w.qkv_weight, w.qkv_bias), biases, "qkv_bias"), groups("qkv"))
    for place, name in enumerate(("ia3_key", "ia3_value"), start=1):
        if (factor := _deltas(groups(name), k)) is not None:
            qkv = qkv * F.pad(1.0 + factor.to(x.dtype), (place * d, (2 - place) * d), value=1.0)
    order = pack.orders[index] if pack is not None else Order()
    context = _attention(qkv, places, encoder.shape.heads, groups("prefix"), order)
    out = _shifted(F.linear(context, w.out_weight, w.out_bias), biases, "out_bias")
    out = low_rank(context, out, groups("output"))
    y = F.layer_norm(x + out, (d,), w.norm1_weight, w.norm1_bias, encoder.eps)
    y = _shifted(y, biases, "norm1_bias")
    inner = _shifted(F.linear(y, w.up_weight, w.up_bias), biases, "up_bias")
    inner = ACTIVATIONS[encoder.activation](low_rank(y, inner, groups("up")))
    if (factor := _deltas(groups("ia3_down"), k)) is not None:
        inner = inner * (1.0 + factor.to(x.dtype))
    z = _shifted(F.linear(inner, w.down_weight, w.down_bias), biases, "down_bias")
    z = low_rank(inner, z, groups("down"))
    z = low_rank(y, z, groups("parallel"), F.relu)
    z = low_rank(z, z, groups("serial"), F.relu)
    return _shifted(F.layer_norm(y + z, (d,), w.norm2_weight, w.norm2_bias, encoder.eps), biases, "norm2_bias")


_BIASES = ("qkv_bias", "out_bias", "norm1_bias", "up_bias", "down_bias", "norm2_bias")


def _biases(delta: Tensor | None, w: Layer) -> dict[str, Tensor]:
    """BitFit's changes of the biases by name, each (K, 1, n)."""
    if delta is None:
        return {}
    parts = torch.split(delta.to(w.qkv_bias.dtype), [len(getattr(w, name)) for name in _BIASES], dim=-1)
    return dict(zip(_BIASES, parts, strict=True))


def _shifted(x: Tensor, biases: dict[str, Tensor], name: str) -> Tensor:
    return x + biases[name] if name in biases else x


def scores(encoder: Encoder, pack: Pack, places: Places, entry: Callable[[int, Tensor], Tensor]) -> Tensor:
    """Return the outputs of every layout's head for every sentence, shape (K, B, outputs), float32.

    Args:
        encoder: Frozen.
        pack: K layouts.
        places: Where the tokens stand.
        entry: Hidden states of the frozen encoder in front of a layer (behind the last one: the number of layers), for
            rows of the bank of shape (n,); shape (n, d).
    """
    n, d = places.rows.shape[1], encoder.shape.hidden
    x: Tensor | None = None
    for index, under_way in enumerate([*pack.entered, len(pack)]):
        entered = 0 if x is None else len(x)
        if under_way > entered:
            new = entry(index, places.rows[entered:under_way].reshape(-1)).view(under_way - entered, n, d)
            x = new if x is None else torch.cat([x, new])
        if x is not None and index < encoder.shape.layers:
            x = layer(encoder, index, x, places, pack)
    assert x is not None
    k, batch, tokens = places.mask.shape
    spread_out = spread(x.reshape(k * n, d), places.slots.reshape(-1), k * batch * tokens).view(k, batch, tokens, d)
    lengths = places.mask.sum(dim=2, keepdim=True)
    pooled = spread_out.sum(dim=2, dtype=torch.float32) / lengths  # mean over the tokens of a sentence
    head = pack.groups("head")[0].tensors
    return torch.baddbmm(head["bias"][:, None], pooled, head["weight"])
