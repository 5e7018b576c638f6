"""Which covariance goes over which columns: chosen by the space, overridden by name.

Notation
    x       a configuration as a model sees it, shape (d + a,): d columns of the unit cube, then one activity (0 or 1)
            for each of the a conditions that some parameters depend on; an inactive column holds 0.5
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tuner import catalog
from tuner.parameters import Permutation, Simplex, Vector

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

    from tuner.parameters.columns import Column
    from tuner.space import SearchSpace

Array = NDArray[np.float64]

STRUCTURED: Mapping[type, str] = {Simplex: "simplex", Permutation: "permutation", Vector: "layered"}
"""Parameters of these kinds have a group of their own, under this covariance; columns of others join by their kind."""

BY_KIND: Mapping[str, str] = {"categorical": "overlap", "ordinal": "ordered"}
"""Columns of these kinds, of all parameters together, are under this covariance; others under effects."""


@dataclass(frozen=True, slots=True)
class Group:
    """Columns that share a covariance.

    Attributes:
        kernel: Its name in the catalog.
        columns: Positions in x.
        condition: Which of the a conditions they depend on, from 0; None when they are always active.
    """

    kernel: str
    columns: tuple[int, ...]
    condition: int | None = None


class Layout:
    """How the configurations of a space are laid out for a model.

    Args:
        space: Where they come from.
        kernels: Parameter -> the covariance that it gets, instead of the space's choice.
        held: Parameter -> what it is taken to be, whatever a configuration says: models do not see it vary.
        over: Makes the covariance out of one over x and the number d + a, where models see more than x.
        numeric: The covariance over numeric columns.

    Attributes:
        groups: Every column is in one, but those of held parameters.
        dim: d + a.
        unordered: The positions in x without an order.
    """

    def __init__(
        self,
        space: SearchSpace,
        kernels: Mapping[str, str] | None = None,
        *,
        held: Mapping[str, Any] | None = None,
        over: Callable[[Callable[[], Kernel], int], Kernel] | None = None,
        numeric: str = "effects",
    ) -> None:
        encoding = space.encoding
        self._columns = encoding.columns
        self._held = {name: space[name].encode(value) for name, value in (held or {}).items()}
        self._places = encoding.slices
        self._over = over
        conditions: dict[str, int] = {}
        firsts: list[int] = []
        found: dict[tuple[str, int | None, str], list[int]] = {}
        for parameter in space.parameters:
            columns = range(encoding.slices[parameter.name].start, encoding.slices[parameter.name].stop)
            if not columns or parameter.name in self._held:
                continue
            place = None
            if parameter.when is not None:
                place = conditions.setdefault(str(space.conditions[parameter.name]), len(conditions))
                firsts += [columns[0]] if place == len(firsts) else []
            own = (kernels or {}).get(parameter.name) or STRUCTURED.get(type(parameter))
            for j in columns:
                kind = BY_KIND.get(self._columns[j].kind, numeric)
                found.setdefault((own or kind, place, parameter.name if own else ""), []).append(j)
        self._firsts = firsts
        self._conditions = {
            p.name: conditions[str(space.conditions[p.name])]
            for p in space.parameters
            if p.when is not None and str(space.conditions[p.name]) in conditions
        }
        self.groups = tuple(Group(name, tuple(columns), place) for (name, place, _), columns in found.items())
        self.dim = encoding.dim + len(firsts)
        self.unordered = tuple(j for j, column in enumerate(self._columns) if column.kind == "categorical")

    def activity(self, parameter: str) -> int | None:
        """The position in x that says whether a parameter is active; None when it always is."""
        place = self._conditions.get(parameter)
        return None if place is None else len(self._columns) + place

    def arrange(self, X: Array, active: NDArray[np.bool_]) -> Array:
        """Encoded rows and their masks, both (n, d), as x, shape (n, d + a)."""
        for name, values in self._held.items():
            X = np.array(X)
            X[:, self._places[name]] = values
        if not self._firsts:
            return X
        return np.concatenate([X, active[:, self._firsts].astype(np.float64)], axis=1)

    def covariance(self) -> Kernel:
        """A new covariance, its hyperparameters where their priors have their modes."""
        return self._covariance() if self._over is None else self._over(self._covariance, self.dim)

    def _covariance(self) -> Kernel:
        mixed, conditional = catalog.load("kernels", "mixed").Mixed, catalog.load("kernels", "conditional").Conditional
        d = len(self._columns)
        always = [group for group in self.groups if group.condition is None]
        parts = [_kernel(group, self._columns) for group in always]
        places: list[tuple[int, ...]] = [group.columns for group in always]
        for condition in range(len(self._firsts)):
            inner = [group for group in self.groups if group.condition == condition]
            columns = [j for group in inner for j in group.columns]
            kernels = [_kernel(group, self._columns) for group in inner]
            if len(kernels) > 1:
                at = {j: i for i, j in enumerate(columns)}
                kernels = [mixed(kernels, [[at[j] for j in group.columns] for group in inner])]
            parts.append(conditional(kernels[0]))
            places.append((*columns, d + condition))
        if len(parts) == 1 and places[0] == tuple(range(self.dim)):
            return parts[0].double()
        kernel: Kernel = mixed(parts, places).double()
        return kernel


def _kernel(group: Group, columns: Sequence[Column]) -> Kernel:
    kernel: Kernel = catalog.load("kernels", group.kernel).build([columns[j] for j in group.columns])
    return kernel
