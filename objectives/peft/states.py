"""The tensors of one layout before training: drawn from its own seed, thinned where it is sparse.

    symbol   meaning                                     shape
    a        down-projection, uniform in +-1/sqrt(in)    (in, r)
    b        up-projection, zero                         (r, out)

A module thus begins by changing nothing, except a prefix: that begins as keys and values of real tokens (Li and Liang
2021, section 7.4). Where weights are removed (SparseAdapter, He et al. 2022), each tensor keeps its share:

    random      of weights drawn at random
    magnitude   of the largest |w|
    snip        of the largest |w dL/dw| (Lee et al. 2019)

b being zero, `magnitude` and `snip` look at a probe, in which it is drawn as `a` is.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor
from tuner.objectives.peft.layouts import Layout, Shape, blocks, kept, tensors, thinned

HEAD_SD = 0.02


@dataclass(slots=True, kw_only=True)
class State:
    """What is trained of one layout, by name.

    Attributes:
        values: The parameters.
        masks: True where a parameter is trained; only for tensors that are not trained everywhere.
        m: Adam's mean of gradients; empty before the first step.
        v: Adam's mean of squared gradients.
    """

    values: dict[str, Tensor]
    masks: dict[str, Tensor]
    m: dict[str, Tensor]
    v: dict[str, Tensor]

    def n_params(self) -> int:
        """How many parameters are trained."""
        return sum(
            int(self.masks[name].sum()) if name in self.masks else value.numel() for name, value in self.values.items()
        )


def initial(layout: Layout, shape: Shape, outputs: int, seed: int, bank: Mapping[str, Tensor]) -> State:
    """Return a layout's parameters before training, on the CPU, in float32.

    Args:
        layout: What is trained.
        shape: Of the encoder.
        outputs: Of the head.
        seed: Decides everything that is drawn.
        bank: Keys and values of real tokens by `<layer>.prefix.keys` and so on, shape (n, d), where prefixes are.
    """
    generator = torch.Generator().manual_seed(seed % 2**63)
    values, masks = {}, {}
    for name, dims in tensors(layout, shape, outputs).items():
        if name.endswith(".a"):
            values[name] = (2.0 * torch.rand(dims, generator=generator) - 1.0) / dims[0] ** 0.5
        elif name.endswith(".keys"):
            rows = torch.randint(len(bank[name]), (dims[0],), generator=generator)
            values[name] = bank[name][rows].clone()
            other = name.removesuffix("keys") + "values"
            values[other] = bank[other][rows].clone()
        elif name == "head.weight":
            values[name] = HEAD_SD * torch.randn(dims, generator=generator)
        elif name not in values:
            values[name] = torch.zeros(dims)
        if name.endswith("qkv.b"):
            mask = torch.zeros(dims, dtype=torch.bool)
            for rows_, columns in blocks(layout, int(name.partition(".")[0]), shape.hidden):
                mask[rows_, columns] = True
            masks[name] = mask
    state = State(values=values, masks=masks, m={}, v={})
    if layout.sparsity > 0 and layout.criterion == "random":
        thin(state, layout, {n: torch.rand(v.shape, generator=generator) for n, v in values.items() if thinned(n)})
    return state


def probe(state: State, seed: int) -> dict[str, Tensor]:
    """Return the parameters at which weights are compared: those of the state, every up-projection drawn."""
    generator = torch.Generator().manual_seed((seed + 1) % 2**63)
    found = dict(state.values)
    for name, value in state.values.items():
        if name.endswith(".b"):
            drawn = (2.0 * torch.rand(value.shape, generator=generator) - 1.0) / value.shape[0] ** 0.5
            found[name] = drawn * state.masks[name] if name in state.masks else drawn
    return found


def thin(state: State, layout: Layout, scores: Mapping[str, Tensor]) -> None:
    """Keep of each scored tensor the layout's share of the weights, those of the highest scores; the others are zero.

    Args:
        state: Changed in place.
        layout: Says how many stay.
        scores: By name, in the tensors' own shapes; ties go to the earlier weight.
    """
    for name, score in scores.items():
        value, block = state.values[name], state.masks.get(name)
        flat = score.reshape(-1).double()
        if block is not None:
            flat = torch.where(block.reshape(-1), flat, -1.0)
        size = value.numel() if block is None else int(block.sum())
        keep = torch.argsort(flat, descending=True, stable=True)[: kept(size, layout.sparsity)]
        mask = torch.zeros(value.numel(), dtype=torch.bool)
        mask[keep] = True
        state.masks[name] = mask.view(value.shape)
        state.values[name] = value * state.masks[name]
