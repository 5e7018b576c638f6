"""Training K layouts at once: own seeds, own learning rates, own ends; one layout alone is the same with K = 1.

    symbol   meaning                                    shape
    K, B     layouts, sentences of a batch of each
    loss     of each layout, mean over its batch        (K,)

The gradient of the sum of the K losses holds each layout's own gradient: no parameter is shared.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tuner.objectives.peft.batches import Bank, chunks
from tuner.objectives.peft.encoder import Encoder
from tuner.objectives.peft.layouts import Layout, Shape, tensors, thinned
from tuner.objectives.peft.network import scores
from tuner.objectives.peft.packs import PRODUCTS, Pack
from tuner.objectives.peft.states import State, initial, probe, thin
from tuner.objectives.peft.steps import Steps, Work, losses_of, rates_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """What all layouts of a pack share.

    Attributes:
        epochs: Passes over the training sentences.
        examples: Training sentences, the first ones.
        batch: Sentences of a step; the rest of an epoch that fills no batch is left out.
        warmup: Share of the steps in which the learning rate rises; then it falls to zero, both linearly.
        outputs: Of the head: classes, or 1 for a regression.
    """

    epochs: int
    examples: int
    batch: int = 32
    warmup: float = 0.06
    outputs: int = 2

    @property
    def steps(self) -> int:
        """Steps of an epoch."""
        return max(1, self.examples // self.batch)


@dataclass(frozen=True, slots=True)
class Run:
    """One layout in a pack.

    Attributes:
        layout: What is trained.
        seed: Decides what is drawn: parameters and the order of sentences.
    """

    layout: Layout
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """What one layout reports after an epoch.

    Attributes:
        number: From 1.
        loss: Mean over the epoch's steps.
        score: On the validation sentences: accuracy, or Pearson's correlation.
        seconds: Of the epoch and of scoring, shared among those that were under way.
    """

    number: int
    loss: float
    score: float
    seconds: float = 0.0


Report = Callable[[int, Epoch], bool]
"""Told the place of a run and its epoch; returns whether the run should end here."""


_NUMBER_BYTES = 72
"""Of GPU memory for every number that is trained, padding included: what 83 and 162 million more of them took, with 32
and 64 layouts on an H200."""


def default_classes(encoder: Encoder, layouts: Sequence[Layout]) -> tuple[int, ...]:
    """Return the bounds by the device.

    Where launches cost nothing, only what has the same size is stacked. On a GPU everything is, which is the fastest
    (23 and 46 ms a step of 32 and 64 layouts on an H200, 31 and 60 in three classes), unless that would take more than
    a quarter of the memory that is free.
    """
    if encoder.device.type != "cuda":
        return ()
    free = torch.cuda.mem_get_info(encoder.device)[0]
    free += torch.cuda.memory_reserved(encoder.device) - torch.cuda.memory_allocated(encoder.device)
    return (-1,) if 4 * _NUMBER_BYTES * padded(layouts, encoder.shape) <= free else (24, 96)


def padded(layouts: Sequence[Layout], shape: Shape) -> int:
    """Return how many numbers are trained, at most, when every module is padded to its largest, in every layout."""
    largest: dict[str, int] = {}
    for layout in layouts:
        for name, own in tensors(layout, shape, 1).items():
            if name.split(".")[1] in PRODUCTS:
                largest[name] = max(largest.get(name, 0), math.prod(own))
    return len(layouts) * sum(largest.values())


def default_width(device: torch.device, n: int) -> int:
    """Return how many of n layouts take a step together: all on a GPU, one on a CPU, which a batch of one fills.

    What one layout's step touches stays in a processor's cache.
    """
    return n if device.type == "cuda" else 1


@dataclass(slots=True)
class _Party:
    """Layouts that take their steps together: their places among all, what they train, and their orders."""

    places: list[int]
    pack: Pack
    shuffles: list[torch.Generator]
    steps: Steps

    def without(self, gone: set[int], bounds: Sequence[int], stepping: Callable[[Pack], Steps]) -> _Party:
        """The members that are left."""
        left = [member for member in range(len(self.pack)) if member not in gone]
        pack = self.pack.without(gone, bounds)
        return _Party([self.places[k] for k in left], pack, [self.shuffles[k] for k in left], stepping(pack))


def train(
    encoder: Encoder,
    runs: Sequence[Run],
    recipe: Recipe,
    training: Bank,
    validation: Bank | None,
    report: Report,
    *,
    classes: Sequence[int] | None = None,
    width: int | None = None,
    capture: bool | None = None,
) -> list[State]:
    """Train layouts together; return what each trained, in the order of `runs`.

    A run whose loss is not finite is reported once, with that loss, and ends.

    Args:
        encoder: Frozen.
        runs: At least one.
        recipe: What they share.
        training: Sentences that are learned from.
        validation: Sentences that are scored after every epoch; None: none are.
        report: Told of every run after every epoch.
        classes: Bounds of sizes within which modules are padded together; None: by the device.
        width: How many take a step together; None: by the device.
        capture: Whether steps are captured as CUDA graphs; None: on a GPU where it pays.
    """
    bounds = default_classes(encoder, [run.layout for run in runs]) if classes is None else classes
    width = default_width(encoder.device, len(runs)) if width is None else width
    order = sorted(range(len(runs)), key=lambda place: runs[place].layout.first())

    def stepping(pack: Pack) -> Steps:
        return Steps(encoder, pack, training, capture=capture)

    def party(places: list[int]) -> _Party:
        own = [runs[place] for place in places]
        pack = Pack([run.layout for run in own], begin(encoder, own, recipe, training), encoder.device, bounds)
        shuffles = [torch.Generator().manual_seed(run.seed % 2**63) for run in own]
        return _Party(places, pack, shuffles, stepping(pack))

    parties = [party(order[k : k + width]) for k in range(0, len(order), width)]
    ended: dict[int, State] = {}
    for number in range(1, recipe.epochs + 1):
        going = []
        for own in parties:
            told = _epoch(encoder, own, recipe, validation, number)
            gone = set()
            for member, epoch in enumerate(told):
                place = own.places[member]
                if report(place, epoch) or not math.isfinite(epoch.loss) or number == recipe.epochs:
                    gone.add(member)
                    ended[place] = own.pack.state(member)
            if len(gone) < len(told):
                going.append(own.without(gone, bounds, stepping) if gone else own)
        parties = going
    return [ended[place] for place in range(len(runs))]


def _epoch(encoder: Encoder, party: _Party, recipe: Recipe, validation: Bank | None, number: int) -> list[Epoch]:
    """Train for one epoch, and score."""
    began = time.perf_counter()
    losses = party.steps.epoch(_work(party.pack, recipe, party.shuffles))
    found = evaluate(encoder, party.pack, validation) if validation is not None else [math.nan] * len(losses)
    each_s = (time.perf_counter() - began) / len(losses)
    return [
        Epoch(number=number, loss=loss, score=score, seconds=each_s) for loss, score in zip(losses, found, strict=True)
    ]


def begin(encoder: Encoder, runs: Sequence[Run], recipe: Recipe, training: Bank) -> list[State]:
    """Return the runs' parameters before training."""
    tokens: dict[str, Tensor] = {}
    for index in range(encoder.shape.layers):
        if any(run.layout.prefix[index] for run in runs):
            keys, values = training.keys_and_values(index)
            tokens |= {f"{index}.prefix.keys": keys, f"{index}.prefix.values": values}
    states = [initial(run.layout, encoder.shape, recipe.outputs, run.seed, tokens) for run in runs]
    for run, state in zip(runs, states, strict=True):
        if run.layout.sparsity > 0 and run.layout.criterion != "random":
            _thin(encoder, run, state, recipe, training)
    return states


def _thin(encoder: Encoder, run: Run, state: State, recipe: Recipe, training: Bank) -> None:
    """Remove weights by what they are at the probe, for `snip` times the gradient of the first batch's loss."""
    at = probe(state, run.seed)
    found: Mapping[str, Tensor] = {name: value.abs() for name, value in at.items() if thinned(name)}
    if run.layout.criterion == "snip":
        probed = State(values=at, masks=state.masks, m={}, v={})
        pack = Pack([run.layout], [probed], encoder.device, ())
        shuffle = torch.Generator().manual_seed(run.seed % 2**63)
        chosen = torch.randperm(recipe.examples, generator=shuffle)[: recipe.batch]
        loss = losses_of(encoder, pack, training, chosen[None]).sum()
        slopes = torch.autograd.grad(loss, pack.leaves, allow_unused=True)
        for buffer, gradient in zip(pack.parts(pack.m), slopes, strict=True):
            if gradient is not None:
                buffer.copy_(gradient)
        gradients = pack.state(0).m
        found = {name: score * gradients[name].abs().cpu() for name, score in found.items()}
    thin(state, run.layout, found)


def _work(pack: Pack, recipe: Recipe, shuffles: Sequence[torch.Generator]) -> Work:
    """The next epoch of each layout, in its own order."""
    batch = min(recipe.batch, recipe.examples)
    orders = torch.stack([torch.randperm(recipe.examples, generator=one) for one in shuffles])  # (K, examples)
    rates = rates_of(pack.steps, recipe.steps, recipe.epochs * recipe.steps, recipe.warmup)
    batches = orders[:, : recipe.steps * batch].view(len(pack), recipe.steps, batch)
    left = recipe.epochs * recipe.steps - pack.steps
    return Work(batches=batches, rates=rates.to(pack.device), left=left)


@torch.no_grad()
def evaluate(encoder: Encoder, pack: Pack, bank: Bank) -> list[float]:
    """Return each layout's score on all sentences: accuracy, or Pearson's correlation for one output."""
    outputs = predict(encoder, pack, bank).double()  # (K, n, outputs)
    if outputs.shape[2] > 1:
        right = outputs.argmax(dim=2) == bank.labels
        accuracies: list[float] = right.double().mean(1).tolist()
        return accuracies
    x = outputs[..., 0] - outputs[..., 0].mean(1, keepdim=True)
    y = bank.labels.double() - bank.labels.double().mean()
    correlation = (x * y).sum(1) / (x.norm(dim=1) * y.norm()).clamp_min(1e-12)
    found: list[float] = correlation.tolist()
    return found


@torch.no_grad()
def predict(encoder: Encoder, pack: Pack, bank: Bank) -> Tensor:
    """Return the outputs of every layout for every sentence, shape (K, n, outputs)."""
    most = (262_144 if encoder.device.type == "cuda" else 4_096) // len(pack)
    outputs = pack.groups("head")[0].tensors["weight"].shape[-1]
    found = torch.empty((len(pack), len(bank.data), outputs), device=encoder.device)
    for chunk in chunks(bank.data.lengths, max(most, 512)):
        where = bank.at(chunk[None].expand(len(pack), -1))
        found[:, chunk.to(encoder.device)] = scores(encoder, pack, where, bank.entry)
    return found
