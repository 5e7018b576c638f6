"""Steps of training for K layouts: one by one, or captured once as a CUDA graph and replayed.

    symbol   meaning                                                          shape
    K, B     layouts, sentences of a batch of each
    S        steps of an epoch
    rates    of each step: what Adam's mean and its mean square are times     (S, 2)

A step launches thousands of small kernels, which take a GPU less time than it takes Python to launch them; a graph is
one launch. Its shapes are fixed: every layout gets as many rows as the longest batch of the epoch has tokens, and
attention as many places as the longest sentence; what is padded changes nothing. It counts the steps by itself.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor
from tuner.objectives.peft.batches import Bank, rounded
from tuner.objectives.peft.encoder import Encoder
from tuner.objectives.peft.network import scores
from tuner.objectives.peft.packs import BETAS, Pack

_WARM = 3  # steps before a capture: what is set up at first use must be
_LEAST = 8  # steps for which a capture pays


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The steps of an epoch.

    Attributes:
        batches: Which sentences each layout takes, on the CPU, shape (K, S, B).
        rates: See `rates_of`, where the layouts are trained.
    """

    batches: Tensor
    rates: Tensor


def schedule(step: int, steps: int, warmup: float) -> float:
    """Return the share of the learning rate at a step, from 0."""
    rise = max(1, math.ceil(warmup * steps))
    return (step + 1) / rise if step < rise else (steps - step) / max(1, steps - rise)


def rates_of(done: int, steps: int, total: int, warmup: float) -> Tensor:
    """Return the rates of the next `steps` steps after `done`, with Adam's corrections, shape (steps, 2)."""
    first, second = BETAS
    rows = [
        (schedule(step, total, warmup) / (1.0 - first ** (step + 1)), 1.0 / (1.0 - second ** (step + 1)))
        for step in range(done, done + steps)
    ]
    return torch.tensor(rows, dtype=torch.float32)


def losses_of(
    encoder: Encoder, pack: Pack, bank: Bank, chosen: Tensor, n_rows: int | None = None, tokens: int | None = None
) -> Tensor:
    """Return the loss of each layout on its own batch, shape (K,).

    Args:
        encoder: Frozen.
        pack: K layouts.
        bank: The sentences.
        chosen: Which sentences, shape (K, B); on the CPU, unless `n_rows` and `tokens` are given.
        n_rows: Rows of each layout; None for as many as are needed.
        tokens: Places of each sentence; None for as many as are needed.
    """
    output = scores(encoder, pack, bank.at(chosen, n_rows, tokens), bank.entry)
    labels = bank.labels[chosen.to(encoder.device, non_blocking=True)]
    k, batch, outputs = output.shape
    if outputs == 1:
        return (output[..., 0] - labels).square().mean(1)
    return (
        F.cross_entropy(output.reshape(k * batch, outputs), labels.reshape(-1), reduction="none").view(k, batch).mean(1)
    )


class Steps:
    """Takes the steps of a pack.

    Args:
        encoder: Frozen.
        pack: K layouts.
        bank: The sentences.
        capture: Whether steps are captured, and replayed; for a GPU.
        fixed: Whether all steps have the same shapes, as captured ones do.
    """

    def __init__(self, encoder: Encoder, pack: Pack, bank: Bank, *, capture: bool = False, fixed: bool = False) -> None:
        self._encoder = encoder
        self._pack = pack
        self._bank = bank
        self._capture = capture
        self._fixed = fixed or capture
        self._graph: _Graph | None = None

    def epoch(self, work: Work) -> list[float]:
        """Take the steps; the mean loss of each layout."""
        steps = work.batches.shape[1]
        lengths = self._bank.data.lengths
        rows = [rounded(n) for n in lengths[work.batches].sum(2).amax(0).tolist()]  # of each step
        places: list[int] = lengths[work.batches].amax((0, 2)).tolist()
        if self._fixed:
            rows, places = [max(rows)] * steps, [self._bank.data.longest] * steps
        batches = work.batches.to(self._encoder.device)
        total = torch.zeros(len(self._pack), device=self._encoder.device)
        graphed = self._capture and steps >= _LEAST
        ready = self._graph is not None and self._graph.n_rows >= rows[0]
        singly = steps if not graphed else 0 if ready else _WARM
        for step in range(singly):
            total += self._take(batches[:, step], work.rates[step], rows[step], places[step])
        if graphed:
            if not ready:
                self._graph = None  # first, so that its memory can be used again
                self._graph = _Graph(self, batches, work.rates, rows[0], places[0])
            assert self._graph is not None
            total += self._graph.run(batches, work.rates, singly)
        self._pack.steps += steps
        found: list[float] = (total / steps).tolist()
        return found

    def _take(self, chosen: Tensor, rates: Tensor, n_rows: int, tokens: int) -> Tensor:
        """Take one step; the losses before it, shape (K,)."""
        losses = losses_of(self._encoder, self._pack, self._bank, chosen, n_rows, tokens)
        gradients = torch.autograd.grad(losses.sum(), self._pack.leaves, allow_unused=True)
        self._pack.step(gradients, rates)
        return losses.detach()


class _Graph:
    """A captured step: what it reads and writes stays where it is."""

    def __init__(self, steps: Steps, batches: Tensor, rates: Tensor, n_rows: int, tokens: int) -> None:
        self.n_rows = n_rows
        self._batches, self._rates = batches.clone(), rates.clone()
        self._step = torch.zeros(1, dtype=torch.int64, device=batches.device)
        self._total = torch.zeros(len(batches), device=batches.device)
        self._graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(self._graph):
            chosen = self._batches.index_select(1, self._step)[:, 0]
            self._total += steps._take(chosen, self._rates.index_select(0, self._step)[0], n_rows, tokens)
            self._step += 1

    def run(self, batches: Tensor, rates: Tensor, first: int) -> Tensor:
        """Take the steps of an epoch from `first` on; the sums of the losses, shape (K,)."""
        self._batches.copy_(batches)
        self._rates.copy_(rates)
        self._step.fill_(first)
        self._total.zero_()
        for _ in range(first, batches.shape[1]):
            self._graph.replay()
        return self._total
