"""Sentences as one long row of tokens, their hidden states in the frozen encoder, and the batches of K layouts.

symbol   meaning                                                       shape
n        sentences
M        tokens of all sentences together
bank     hidden states of the frozen encoder in front of a layer       (M, d)
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tuner.objectives.peft.encoder import Encoder
from tuner.objectives.peft.network import Places, layer

_ROUND = 16  # rows of a layout are rounded up to a multiple: fewer different sizes for the allocator
_BANK_ROWS = 16_384


@dataclass(frozen=True, slots=True, kw_only=True)
class Corpus:
    """Tokenised sentences with labels.

    Attributes:
        tokens: Of all sentences, one behind another, shape (M,).
        starts: Where each sentence starts, shape (n,).
        lengths: Tokens of each sentence, at least one, shape (n,).
        labels: int64 classes or float32 ratings, shape (n,).
    """

    tokens: Tensor
    starts: Tensor
    lengths: Tensor
    labels: Tensor

    def __len__(self) -> int:
        return len(self.lengths)

    def head(self, n: int) -> Corpus:
        """Return the first `n` sentences; they keep their places in the bank."""
        end = int(self.starts[n - 1] + self.lengths[n - 1]) if n < len(self) else len(self.tokens)
        return Corpus(
            tokens=self.tokens[:end], starts=self.starts[:n], lengths=self.lengths[:n], labels=self.labels[:n]
        )

    @property
    def longest(self) -> int:
        """Tokens of the longest sentence."""
        return int(self.lengths.max())


def corpus(sentences: Sequence[Sequence[int]], labels: Tensor) -> Corpus:
    """Return sentences, given as lists of tokens, as one row."""
    lengths = torch.tensor([len(sentence) for sentence in sentences])
    tokens = torch.tensor([token for sentence in sentences for token in sentence])
    return Corpus(tokens=tokens, starts=torch.cumsum(lengths, 0) - lengths, lengths=lengths, labels=labels)


def places(starts: Tensor, lengths: Tensor, *, n_rows: int, tokens: int) -> Places:
    """Return where the tokens of K batches stand; nothing is waited for on a GPU.

    Args:
        starts: Of each sentence in the bank, shape (K, B).
        lengths: Of each sentence, shape (K, B).
        n_rows: N, at least the tokens of the longest batch.
        tokens: T, at least the length of the longest sentence.
    """
    k, batch = lengths.shape
    device = lengths.device
    t = torch.arange(tokens, device=device)
    mask = t < lengths[..., None]  # (K, B, T)
    before = torch.cumsum(lengths, 1) - lengths
    row = torch.arange(k, device=device)[:, None, None] * n_rows + before[..., None] + t
    row = torch.where(mask, row, k * n_rows).reshape(-1)
    size = k * batch * tokens
    slots = torch.full((k * n_rows + 1,), size, device=device)
    slots.scatter_(0, row, torch.arange(size, device=device))
    rows = torch.zeros(k * n_rows + 1, dtype=torch.int64, device=device)
    rows.scatter_(0, row, (starts[..., None] + t).reshape(-1))
    return Places(rows=rows[:-1].view(k, n_rows), slots=slots[:-1].view(k, n_rows), mask=mask)


def rounded(n: int) -> int:
    """Return n rounded up, so that few different sizes occur."""
    return -(-n // _ROUND) * _ROUND


class Bank:
    """Hidden states of the frozen encoder for one corpus, computed in front of a layer when they are first wanted.

    Args:
        encoder: Frozen, where they are kept.
        data: The sentences.
    """

    def __init__(self, encoder: Encoder, data: Corpus) -> None:
        self._encoder = encoder
        self.data = data
        device = encoder.device
        self.starts, self.lengths = data.starts.to(device), data.lengths.to(device)
        self.labels = data.labels.to(device)
        self._states: list[Tensor] = []

    def entry(self, index: int, rows: Tensor) -> Tensor:
        """Return hidden states in front of a layer for some tokens, shape (len(rows), d)."""
        return self.states(index).index_select(0, rows)

    @torch.no_grad()
    def states(self, index: int) -> Tensor:
        """Return the hidden states in front of a layer of every token, shape (M, d)."""
        if not self._states:
            within = torch.arange(len(self.data.tokens)) - self.data.starts.repeat_interleave(self.data.lengths)
            device = self._encoder.device
            self._states.append(self._encoder.embed(self.data.tokens.to(device), within.to(device)))
        while len(self._states) <= index:
            self._states.append(self._next(len(self._states) - 1))
        return self._states[index]

    def _next(self, index: int) -> Tensor:
        before = self._states[index]
        found = torch.empty_like(before)
        for chunk in chunks(self.data.lengths, _BANK_ROWS):
            where = self.at(chunk[None])
            x = layer(self._encoder, index, before[where.rows.reshape(-1)].view(1, -1, before.shape[1]), where, None)
            n = int(self.data.lengths[chunk].sum())
            found[where.rows[0, :n]] = x[0, :n]
        return found

    def at(self, chosen: Tensor, n_rows: int | None = None, tokens: int | None = None) -> Places:
        """Return where the tokens of K batches of sentences stand.

        Args:
            chosen: Which sentences, shape (K, B); on the CPU, unless the two others are given.
            n_rows: Rows of each batch; None for as many as are needed.
            tokens: Places of each sentence; None for as many as are needed.
        """
        on = chosen.to(self.starts.device, non_blocking=True)
        if n_rows is None or tokens is None:
            lengths = self.data.lengths[chosen]
            n_rows = n_rows if n_rows is not None else rounded(int(lengths.sum(1).max()))
            tokens = tokens if tokens is not None else int(lengths.max())
        return places(self.starts[on], self.lengths[on], n_rows=n_rows, tokens=tokens)

    def keys_and_values(self, index: int, limit: int = 2048) -> tuple[Tensor, Tensor]:
        """Return the frozen keys and values of the first tokens in a layer, each (n, d), float32 on the CPU."""
        x, w = self.states(index)[:limit], self._encoder.layers[index]
        with torch.no_grad():
            _, keys, values = torch.nn.functional.linear(x, w.qkv_weight, w.qkv_bias).float().cpu().chunk(3, dim=1)
        return keys.contiguous(), values.contiguous()


def chunks(lengths: Tensor, most: int) -> Iterator[Tensor]:
    """Yield all sentences by rising length in chunks of at most `most` tokens (one sentence at least)."""
    order = torch.argsort(lengths, stable=True)
    total = 0
    chunk: list[int] = []
    for sentence in order.tolist():
        length = int(lengths[sentence])
        if chunk and total + length > most:
            yield torch.tensor(chunk)
            chunk, total = [], 0
        chunk.append(sentence)
        total += length
    if chunk:
        yield torch.tensor(chunk)
