"""Table: what is modelled, as tensors, and what is wanted of it.

Columns come in the order objectives, margins, the label of failures, then what composite objectives read, and the
logarithm of the seconds when these matter. A column has a name by which it is known from one suggestion to the next.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from tuner.gp.acquisition import Goal
from tuner.gp.model import Outcomes, Surrogate
from tuner.gp.outcomes import Function
from tuner.strategies.bayesian.composites import Formula, applicable, formulas
from tuner.strategies.bayesian.earlier import Earlier
from tuner.strategies.bayesian.known import KnownMetrics
from tuner.strategies.bayesian.observations import Observations, observe
from tuner.strategies.bayesian.reports import with_reports

if TYPE_CHECKING:
    from tuner.fidelity import Levels
    from tuner.gp.covariance import Layout
    from tuner.history import History
    from tuner.problem import Problem

_FAR_BEYOND = 10.0
_WORTH_ALONE, _WORTH_TOGETHER = 0.15, 0.5
"""Nats a trial by which a transform must be better than none. One objective is searched in the transform's own units;
for several their volume counts in the metrics' units, and the way back from the transform blurs it."""


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """See the module.

    Attributes:
        X: Inputs as models see them, shape (n, d + a).
        Y: Shape (n, k), NaN where unknown.
        share: What part of the noise's variance each row has, shape (n,).
        names: What each column is, k of them.
        n_objectives: The first of the columns.
        n_margins: The next, the label of failures included.
        outcomes: What is known of the columns beforehand.
        known: Column -> its exact function.
        composites: Objective -> its formula, and the columns that this reads.
        seconds: The column of the seconds' logarithm, if there is one.
    """

    X: Tensor
    Y: Tensor
    share: Tensor
    names: tuple[str, ...]
    n_objectives: int
    n_margins: int
    outcomes: Outcomes
    known: Mapping[int, Function]
    composites: Mapping[int, tuple[Formula, tuple[int, ...]]]
    seconds: int | None = None

    def goal(self, problem: Problem, data: Observations, surrogate: Surrogate) -> Goal:
        """What is wanted of the columns, in the surrogate's units."""
        m, k, loc, scale = self.n_objectives, self.n_objectives + self.n_margins, surrogate.loc, surrogate.scale
        declared = [None if o.reference is None else o.sign * o.reference for o in problem.objectives]
        worst = {j: float(function(self.X).min()) for j, function in self.known.items() if j < m}
        reference = torch.from_numpy(data.reference(declared, worst=worst)).to(loc.device)

        def standardised(j: int, function: Function) -> Function:
            return lambda x: (function(x) - loc[j]) / scale[j]

        def applied(j: int, formula: Formula, parts: tuple[int, ...]) -> Function:
            at = list(parts)
            return lambda Z: (formula(loc[at] + scale[at] * Z) - loc[j]) / scale[j]

        return Goal(
            n_objectives=m,
            thresholds=-loc[m:k] / scale[m:k],
            reference=(reference - loc[:m]) / scale[:m],
            any_feasible=bool(data.feasible.any()),
            known={j: standardised(j, function) for j, function in self.known.items()},
            composites={j: (applied(j, formula, parts), parts) for j, (formula, parts) in self.composites.items()},
        )


class Tables:
    """Makes the tables of one problem.

    Args:
        problem: It.
        layout: How its configurations are laid out for the models.
        per_second: Whether seconds matter.
        stretched: Whether processes may vary more than the trials show.
        levels: With these, trials of every fidelity are told apart: X gets it as a last column, in [0, 1].
    """

    def __init__(
        self,
        problem: Problem,
        layout: Layout,
        *,
        per_second: bool = False,
        stretched: bool = False,
        levels: Levels | None = None,
    ) -> None:
        self._problem = problem
        self._layout = layout
        self._per_second = per_second
        self._stretched = stretched
        self._levels = levels
        self._known = KnownMetrics(problem, problem.space.encoding.dim)
        self._formulas = formulas(problem)
        self._earlier = Earlier(problem, layout)

    def observe(self, history: History, *, max_rows: int) -> Observations:
        """What a history has to say, see there."""
        if self._levels is None:
            return observe(history, max_rows=max_rows)
        return with_reports(observe(history, max_rows=max_rows, partial=True), history, self._levels)

    def table(self, data: Observations) -> Table:
        """What the observations are to a model."""
        rows = self._layout.arrange(data.X, data.active)
        if self._levels is not None:
            rows = np.concatenate([rows, self._levels.unit(data.fidelity)[:, None]], axis=1)
        X = torch.from_numpy(np.ascontiguousarray(rows))
        Y, m = torch.from_numpy(data.Y), data.n_objectives
        names = [f"objective {j}" for j in range(m)] + [f"margin {j}" for j in data.margins]
        names += ["label"] if data.failures else []
        known = self._known.objectives(X, Y[:, :m])
        ends = m + len(data.margins)
        Y = torch.cat([Y[:, :m], *(_bilog(Y[:, [j]]) for j in range(m, ends)), Y[:, ends:]], dim=1)
        columns, width = [Y], Y.shape[1]
        composites: dict[int, tuple[Formula, tuple[int, ...]]] = {}
        outputs = torch.from_numpy(data.outputs)
        for j, formula in self._formulas.items():
            measured = {name: outputs[:, i] for i, name in enumerate(self._problem.outputs)}
            functions = {name: self._known.function(name) for name in formula.leaves if name not in measured}
            values = {**measured, **{name: function(X) for name, function in functions.items()}}
            if not applicable(formula, torch.stack([values[name] for name in formula.leaves], dim=-1), Y[:, j]):
                continue
            for name in formula.leaves:
                if f"output {name}" not in names:
                    names.append(f"output {name}")
                    columns.append(values[name].unsqueeze(-1))
                    if name in functions:
                        known[len(names) - 1] = functions[name]
            composites[j] = formula, tuple(names.index(f"output {name}") for name in formula.leaves)
        parts = range(width, len(names))
        logs = _log_seconds(data) if self._per_second else None
        if logs is not None:
            names.append("seconds")
            columns.append(torch.from_numpy(logs).unsqueeze(-1))
        all_columns = torch.cat(columns, dim=1)
        outcomes = Outcomes(
            two_sided=range(width, len(names)),
            whole=range(m, width),
            labels=width - 1 if data.failures else None,
            exact=[*known, *composites],
            bent=range(m),
            positive=parts,
            worth=_WORTH_ALONE if m == 1 else _WORTH_TOGETHER,
            noisy=data.noisy,
            stretched=self._stretched,
            means=self._earlier.prior_means(X, Y[:, :m]),
        )
        return Table(
            X=X,
            Y=all_columns,
            share=torch.from_numpy(data.share),
            names=tuple(names),
            n_objectives=m,
            n_margins=width - m,
            outcomes=outcomes,
            known=known,
            composites=composites,
            seconds=len(names) - 1 if logs is not None else None,
        )


def _bilog(margin: Tensor) -> Tensor:
    """sign(c) log(1 + |c| / s) of a margin c (n, 1), s its median size; c itself when no size is far beyond s.

    After Eriksson and Poloczek (2021). Clipping a margin instead would take the few feasible trials for infeasible.
    """
    sizes = margin[torch.isfinite(margin) & (margin != 0)].abs()
    if not len(sizes) or float(sizes.max()) <= _FAR_BEYOND * float(sizes.median()):
        return margin
    return torch.sign(margin) * torch.log1p(margin.abs() / sizes.median())


def _log_seconds(data: Observations) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]] | None:
    """Shape (n,), NaN where unknown; None where they hardly differ, or for too few trials."""
    usable = np.isfinite(data.seconds) & (data.seconds > 0) & data.complete
    logs = np.full(len(usable), math.nan)
    logs[usable] = np.log(data.seconds[usable])
    return logs if int(usable.sum()) >= 4 and float(np.nanstd(logs)) > 0.1 else None
