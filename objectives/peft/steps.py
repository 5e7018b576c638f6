"""Steps of training for K layouts: one by one, or captured once as a CUDA graph and replayed.

    symbol   meaning                                                          shape
    K, B     layouts, sentences of a batch of each
    S        steps of an epoch
    rates    of each step: what Adam's mean and its mean square are times     (S, 2)

A step launches thousands of small kernels, which take a GPU less time than it takes Python to launch them; a graph is
one launch. Its shapes are fixed: every layout gets as many rows as the longest batch of the epoch has tokens, and
attention as many places as the longest sentence; what is padded changes nothing. It counts the steps by itself, and is
kept for the epochs that follow; their longer steps are taken one by one.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812 - the name every torch reader knows
from torch import Tensor
from tuner.objectives.peft.batches import Bank, rounded
from tuner.objectives.peft.encoder import Encoder
from tuner.objectives.peft.network import scores
from tuner.objectives.peft.packs import BETAS, Pack

_WARM = 3  # steps before a capture: what is set up at first use must be
_LEAST = 24
"""Steps still to come for which a capture pays: on an H200 it takes 0.14 s, and saves 8 ms a step of 32 layouts, with
launches of 25 us each, and more where they are fewer."""
_MOST = 1_024
"""Sentences of a step above which nothing is gained: with 64 layouts of 32 a step took 60 ms either way on an H200."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The steps of an epoch.

    Attributes:
        batches: Which sentences each layout takes, on the CPU, shape (K, S, B).
        rates: See `rates_of`, where the layouts are trained.
        left: Steps still to come, the later epochs' included; 0 for none but these.
    """

    batches: Tensor
    rates: Tensor
    left: int = 0


def pays(left: int, sentences: int) -> bool:
    """Return whether a captured step pays on a GPU: `left` steps to come, of so many sentences, of all layouts."""
    return left >= _LEAST and sentences <= _MOST


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
        capture: Whether steps are captured, and replayed; None: on a GPU where it `pays`.
        fixed: Whether all steps have the same shapes, as captured ones do.
    """

    def __init__(
        self, encoder: Encoder, pack: Pack, bank: Bank, *, capture: bool | None = False, fixed: bool = False
    ) -> None:
        self._encoder = encoder
        self._pack = pack
        self._bank = bank
        self._capture = False if capture is None and encoder.device.type != "cuda" else capture
        self._fixed = fixed
        self._graph: _Graph | None = None

    def epoch(self, work: Work) -> list[float]:
        """Take the steps; the mean loss of each layout."""
        steps = work.batches.shape[1]
        lengths = self._bank.data.lengths
        rows = [rounded(n) for n in lengths[work.batches].sum(2).amax(0).tolist()]  # of each step
        places: list[int] = lengths[work.batches].amax((0, 2)).tolist()
        first = _WARM if self._graph is None and self._wanted(work) else 0
        most, longest = max(rows), self._bank.data.longest
        fixed = steps if self._fixed else first
        rows[:fixed], places[:fixed] = [most] * fixed, [longest] * fixed
        batches = work.batches.to(self._encoder.device)
        total = torch.zeros(len(self._pack), device=self._encoder.device)
        for step in range(first):
            total += self._take(batches[:, step], work.rates[step], rows[step], places[step])
        if first:
            self._graph = self._captured(batches, work.rates, most, longest)
        graph = self._graph
        if graph is not None:
            graph.load(batches, work.rates)
        for step in range(first, steps):
            if graph is not None and rows[step] <= graph.n_rows:
                graph.take(step)
            else:
                total += self._take(batches[:, step], work.rates[step], rows[step], places[step])
        if graph is not None:
            total += graph.total
        self._pack.steps += steps
        found: list[float] = (total / steps).tolist()
        return found

    def _wanted(self, work: Work) -> bool:
        """Whether to capture now."""
        k, steps, batch = work.batches.shape
        if self._capture is None:
            return steps > _WARM and pays(max(steps, work.left), k * batch)
        return self._capture and steps > _WARM

    def _captured(self, batches: Tensor, rates: Tensor, n_rows: int, tokens: int) -> _Graph | None:
        """A captured step; None, and no further attempt, when it cannot be had: nothing has been changed then."""
        try:
            return _Graph(self, batches, rates, n_rows, tokens)
        except RuntimeError as error:  # memory that has run out is one, too
            self._capture = False
            why = str(error).partition("\n")[0]
        if torch.cuda.is_available():
            torch.cuda.empty_cache()  # what the attempt held
        warnings.warn(f"steps of training are taken one by one: no CUDA graph of them ({why})", stacklevel=2)
        return None

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
        self.total = torch.zeros(len(batches), device=batches.device)  # of the losses since `load`, shape (K,)
        self._batches, self._rates = batches.clone(), rates.clone()
        self._step = torch.zeros(1, dtype=torch.int64, device=batches.device)
        self._next = 0
        self._graph = torch.cuda.CUDAGraph()
        before = torch.cuda.current_stream()
        try:
            with torch.cuda.graph(self._graph, capture_error_mode="thread_local"):  # other threads may do what they do
                chosen = self._batches.index_select(1, self._step)[:, 0]
                self.total += steps._take(chosen, self._rates.index_select(0, self._step)[0], n_rows, tokens)
                self._step += 1
        finally:
            torch.cuda.set_stream(before)  # a capture that fails may leave its own

    def load(self, batches: Tensor, rates: Tensor) -> None:
        """Take the sentences and rates of an epoch."""
        self._batches.copy_(batches)
        self._rates.copy_(rates)
        self.total.zero_()
        self._next = -1

    def take(self, step: int) -> None:
        """Take a step of the epoch."""
        if step != self._next:
            self._step.fill_(step)
        self._graph.replay()
        self._next = step + 1
