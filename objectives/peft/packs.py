"""A pack: the parameters of K layouts, stacked where they have the same module in the same layer, and their Adam.

    symbol   meaning                                                  shape
    K        layouts in the pack
    G        layouts of a group, those that share a stacked tensor    G <= K
    flat     every parameter of every layout                          (P,)

A group's tensors are padded to the largest of their layouts with zeros. Padding stays zero: a padded column of `a` and
its row of `b` are zero, so that neither gets a gradient; padded keys are masked. All tensors are views of one flat
buffer, so that a step of Adam (Kingma and Ba 2015, no weight decay) is a handful of operations for the whole pack.

Layouts stand in the order in which they begin: below its first trained layer a layout is the frozen encoder, whose
hidden states are computed once for all. In layer l the first `entered[l]` of them are under way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from tuner.objectives.peft.layouts import Layout
from tuner.objectives.peft.states import State

BETAS = (0.9, 0.999)
EPS = 1e-8
PARALLEL_SCALE = 4.0
"""Of the parallel adapter (He et al. 2022, table 6)."""

_LORA = ("qkv", "output", "up", "down")
PRODUCTS = (*_LORA, "parallel", "serial")

Plan = dict[str, list[tuple[list[int], dict[str, int]]]]
"""Site -> its groups, each as its members and the number of the stacked tensor by the end of its name."""


@dataclass(frozen=True, slots=True)
class Group:
    """Layouts of a pack whose tensors are stacked.

    Attributes:
        members: Their places in the pack.
        rows: The same as a tensor; None when they are all that are under way.
        tensors: Stacked tensors by the end of their names, such as "a", shape (G, ...).
        scale: What a low-rank product is multiplied by, shape (G, 1, 1); None for 1.
        real: Which keys of a prefix are not padding, shape (G, P).
    """

    members: tuple[int, ...]
    rows: Tensor | None
    tensors: Mapping[str, Tensor]
    scale: Tensor | None = None
    real: Tensor | None = None


@dataclass(frozen=True, slots=True)
class Order:
    """How the layouts of a layer are dealt with one after another in its attention.

    Attributes:
        plain: Those without a prefix; None when all are.
        back: Where each layout comes when they are followed by the groups of the prefix; None when in its own place.
    """

    plain: Tensor | None = None
    back: Tensor | None = None


class Pack:
    """K layouts in training.

    Args:
        layouts: In the order in which they begin (`Layout.first`).
        states: Of each of them.
        device: Where to train.
        classes: Layouts whose sizes of a module lie between the same two of these bounds share a group; empty: only
            equal sizes do. A bound below 0 has those without it share one, too: nothing is picked out, more is padded.
    """

    def __init__(
        self, layouts: Sequence[Layout], states: Sequence[State], device: torch.device, classes: Sequence[int]
    ) -> None:
        self.layouts = list(layouts)
        self.device = device
        n_layers = len(layouts[0].serial)
        first = [layout.first() for layout in layouts]
        if first != sorted(first):
            raise ValueError("layouts must stand in the order in which they begin")
        self.entered = [sum(f <= layer for f in first) for layer in range(n_layers)]
        self._places: list[tuple[int, str, tuple[int, ...], int, int]] = []  # member, name, own shape, group, place
        self._parts: list[tuple[tuple[int, ...], int]] = []  # of each stacked tensor: shape, offset
        plan = self._plan(states, classes)
        size = sum(torch.Size(shape).numel() for shape, _ in self._parts)
        self.flat, self.m, self.v = (torch.zeros(size, device=device) for _ in range(3))
        self.rates = torch.zeros(size, device=device)
        masked = any(state.masks for state in states)
        self.mask = torch.ones(size, device=device) if masked else None
        self._fill(states)
        self.leaves = [part.detach().requires_grad_() for part in self.parts(self.flat)]
        self.sites = self._sites(plan)
        self.orders = [self._order(layer) for layer in range(n_layers)]
        self.steps = 0

    def __len__(self) -> int:
        return len(self.layouts)

    def groups(self, site: str) -> Sequence[Group]:
        """The groups of a module in a layer, such as "3.serial"; none where no layout has it."""
        return self.sites.get(site, ())

    def parts(self, buffer: Tensor) -> list[Tensor]:
        """The stacked tensors as views of a buffer of the size of `flat`, in the order of `leaves`."""
        return [self._view(buffer, part) for part in range(len(self._parts))]

    def step(self, gradients: Sequence[Tensor | None], rates: Tensor) -> None:
        """Take a step of Adam.

        Args:
            gradients: Of the leaves; None where a leaf is not used.
            rates: What the mean of gradients and the mean of their squares are times, shape (2,): the share of each
                layout's learning rate, and Adam's corrections.
        """
        whole = [
            leaf.new_zeros(leaf.numel()) if own is None else own.reshape(-1)
            for leaf, own in zip(self.leaves, gradients, strict=True)
        ]
        gradient = torch.cat(whole)
        if self.mask is not None:
            gradient.mul_(self.mask)
        first, second = BETAS
        self.m.lerp_(gradient, 1.0 - first)
        self.v.mul_(second).addcmul_(gradient, gradient, value=1.0 - second)
        correction = rates[1].sqrt()  # of the root, put on its two companions: fewer passes over all parameters
        root = self.v.sqrt().add_(EPS / correction)
        self.flat.addcdiv_((self.m * self.rates).mul_(-rates[0] / correction), root)

    def state(self, member: int) -> State:
        """Return a copy of what one layout trains, with Adam's moments, unpadded."""
        found = State(values={}, masks={}, m={}, v={})
        for owner, name, shape, part, place in self._places:
            if owner != member:
                continue
            inside = tuple(slice(0, n) for n in shape)
            for target, buffer in ((found.values, self.flat), (found.m, self.m), (found.v, self.v)):
                target[name] = self._view(buffer, part)[place][inside].clone()
            if self.mask is not None:
                mask = self._view(self.mask, part)[place][inside].bool()
                if not bool(mask.all()):
                    found.masks[name] = mask.clone()
        return found

    def without(self, gone: set[int], classes: Sequence[int]) -> Pack:
        """Return the pack of the other layouts, as they are."""
        left = [member for member in range(len(self)) if member not in gone]
        pack = Pack([self.layouts[k] for k in left], [self.state(k) for k in left], self.device, classes)
        pack.steps = self.steps
        return pack

    def _plan(self, states: Sequence[State], classes: Sequence[int]) -> Plan:
        """Lay out the flat buffer."""
        by_site: dict[str, dict[int, list[int]]] = {}
        for member, state in enumerate(states):
            for site, size in _sized(state).items():
                by_site.setdefault(site, {}).setdefault(_class(size, classes), []).append(member)
        plan: Plan = {}
        offset = 0
        for site, buckets in by_site.items():
            for _, having in sorted(buckets.items()):
                members = having if not self._everyone(site, classes) else list(range(self._under_way(site)))
                ends = [name.rpartition(".")[2] for name in states[having[0]].values if name.rpartition(".")[0] == site]
                parts = {}
                for end in ends:
                    shapes = [tuple(states[k].values[f"{site}.{end}"].shape) for k in having]
                    padded = (len(members), *(max(dims) for dims in zip(*shapes, strict=True)))
                    for k, shape in zip(having, shapes, strict=True):
                        self._places.append((k, f"{site}.{end}", shape, len(self._parts), members.index(k)))
                    parts[end] = len(self._parts)
                    self._parts.append((padded, offset))
                    offset += torch.Size(padded).numel()
                plan.setdefault(site, []).append((members, parts))
        return plan

    def _everyone(self, site: str, classes: Sequence[int]) -> bool:
        """Whether layouts without this module are members, with zeros that stay zero."""
        return site.rpartition(".")[2] in PRODUCTS and any(bound < 0 for bound in classes)

    def _under_way(self, site: str) -> int:
        return len(self) if site == "head" else self.entered[int(site.partition(".")[0])]

    def _fill(self, states: Sequence[State]) -> None:
        for member, name, shape, part, place in self._places:
            inside = tuple(slice(0, n) for n in shape)
            state = states[member]
            self._view(self.flat, part)[place][inside] = state.values[name].to(self.device)
            if name in state.m:
                self._view(self.m, part)[place][inside] = state.m[name].to(self.device)
                self._view(self.v, part)[place][inside] = state.v[name].to(self.device)
            if name in state.masks and self.mask is not None:
                self._view(self.mask, part)[place][inside] = state.masks[name].to(self.device, self.mask.dtype)
            self._view(self.rates, part)[place] = self.layouts[member].learning_rate

    def _view(self, buffer: Tensor, part: int) -> Tensor:
        shape, offset = self._parts[part]
        return buffer[offset : offset + torch.Size(shape).numel()].view(shape)

    def _sites(self, plan: Plan) -> dict[str, list[Group]]:
        sites: dict[str, list[Group]] = {}
        for site, groups in plan.items():
            for members, parts in groups:
                named = {end: self.leaves[part] for end, part in parts.items()}
                rows = None if len(members) == self._under_way(site) else torch.tensor(members, device=self.device)
                scale, real = self._scale(site, members), self._real(site, members)
                sites.setdefault(site, []).append(Group(tuple(members), rows, named, scale, real))
        return sites

    def _order(self, layer: int) -> Order:
        groups = self.groups(f"{layer}.prefix")
        behind = [member for group in groups for member in group.members]
        plain = sorted(set(range(self.entered[layer])) - set(behind))
        order = plain + behind
        moved = len(groups) + bool(plain) > 1
        back = torch.tensor(sorted(range(len(order)), key=order.__getitem__), device=self.device) if moved else None
        return Order(torch.tensor(plain, device=self.device, dtype=torch.int64) if behind else None, back)

    def _scale(self, site: str, members: Sequence[int]) -> Tensor | None:
        layer, _, module = site.partition(".")
        if module == "parallel":
            return torch.full((len(members), 1, 1), PARALLEL_SCALE, device=self.device)
        if module not in _LORA:
            return None
        scales = [self.layouts[k].alpha / max(1, self.layouts[k].rank[int(layer)]) for k in members]
        return torch.tensor(scales, device=self.device).view(-1, 1, 1)

    def _real(self, site: str, members: Sequence[int]) -> Tensor | None:
        layer, _, module = site.partition(".")
        if module != "prefix":
            return None
        lengths = torch.tensor([self.layouts[k].prefix[int(layer)] for k in members], device=self.device)
        return torch.arange(int(lengths.max()), device=self.device) < lengths[:, None]


def _sized(state: State) -> dict[str, int]:
    """The modules of a state by site, and the size that is padded: of `a` its columns, of keys their rows."""
    found = {}
    for name, value in state.values.items():
        site, _, end = name.rpartition(".")
        if end in ("a", "keys"):
            found[site] = value.shape[1] if end == "a" else value.shape[0]
        elif end not in ("b", "values"):
            found[site] = 0
    return found


def _class(size: int, classes: Sequence[int]) -> int:
    return size if not classes else sum(size > bound for bound in classes)
