"""Problem: what a sweep asks for once its objective is loaded. Strategies, the study and the loop all read it.

A metric is one of four kinds, told apart by where its value comes from:

    measured    the objective reports it
    free        the runner measures it for every trial (`wall_s`, `max_rss_bytes`, ...)
    known       it follows from the configuration alone (`known(config)`, or a formula over parameters)
    composite   a formula over other metrics, computed when they are told

A constraint over known metrics and parameters only is also a restriction of the space: no trial is spent on it.
"""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from tuner import expressions
from tuner.errors import ObjectiveError, SweepError
from tuner.errors import Problem as Fault
from tuner.expressions import Expression
from tuner.space import SearchSpace
from tuner.trial import FREE_METRICS, Config, Metric

if TYPE_CHECKING:
    from tuner.sources import Source
    from tuner.sweep import Budget, EarlyStop, Fidelity, Repeats, SearchSection, Sweep

Context = Callable[[int], tuple[float, ...]]
Known = Callable[[Config], Mapping[str, float]]


_MAX_DESIGN = 10
_ITEM_LEVELS = 27
"""The least fidelity of an objective whose score is a mean over items is one of so many parts of them."""


@dataclass(frozen=True, slots=True)
class Constraint:
    """An outcome constraint: an expression over metrics, parameters and the baseline's metrics.

    Attributes:
        text: As written, or `metric <= bound` for a metric's own bound.
        expression: Its parsed form.
        metrics: The metrics it reads.
        needs_baseline: Whether it compares with the baseline.
    """

    text: str
    expression: Expression
    metrics: frozenset[str]
    needs_baseline: bool

    def margin(self, config: Config, metrics: Mapping[str, float], baseline: Mapping[str, float] | None) -> float:
        """How far from the bound, feasible when >= 0; NaN when a metric or the baseline's is not known (yet)."""
        if not self.metrics <= metrics.keys():
            return math.nan
        env: dict[str, Any] = {**config, **metrics}
        if self.needs_baseline:
            if baseline is None or not self.metrics <= baseline.keys():
                return math.nan
            env.update({f"baseline.{name}": value for name, value in baseline.items()})
            if "baseline" in self.expression.names:
                env["baseline"] = baseline[next(iter(self.metrics))]
        try:
            return self.expression.margin(env)
        except expressions.ExpressionError:
            return math.nan


@dataclass(frozen=True, kw_only=True)
class Problem:
    """The space, the metrics and the rules of one study.

    Attributes:
        name: The study's name.
        space: What is searched; known constraints are among its restrictions.
        metrics: Every declared metric, in the sweep's order.
        constraints: Outcome constraints, bounds of metrics among them.
        known: Metrics that follow from a configuration alone.
        known_names: Their names.
        composites: Metrics that are formulas over other metrics.
        baseline: The configuration that everything is compared with; trial 0.
        initial: Configurations tried next.
        sources: Earlier studies in this problem's terms, for a warm start.
        context: What is known of trial `number`'s instance before it is chosen for: a stream of instances.
        context_bounds: Least and largest value of each number of a context.
    """

    name: str
    space: SearchSpace
    metrics: tuple[Metric, ...]
    constraints: tuple[Constraint, ...] = ()
    known: Known | None = None
    known_names: frozenset[str] = frozenset()
    composites: Mapping[str, Expression] = field(default_factory=dict)
    baseline: Config | None = None
    initial: tuple[Config, ...] = ()
    sources: tuple[Source, ...] = ()
    search: SearchSection | None = None
    budget: Budget | None = None
    fidelity: Fidelity | None = None
    early_stop: EarlyStop | None = None
    repeats: Repeats | None = None
    parallel: int = 1
    seed: int = 0
    noisy: bool = False
    context: Context | None = None
    context_bounds: tuple[tuple[float, float], ...] | None = None

    @cached_property
    def design_trials(self) -> int:
        """How many trials a strategy with a model makes before it: the columns plus one.

        More, so that every value of the largest choice is seen twice; at most 10, at most a fifth of a budget of
        trials, and at least 3 when the columns allow it.
        """
        trials = self.budget.trials if self.budget is not None else None
        share = _MAX_DESIGN if trials is None else max(3, trials // 5)
        choices = [len(c.grid or ()) for c in self.space.encoding.columns if c.kind == "categorical"]
        return min(max(self.space.encoding.dim, 2 * max(choices, default=0)) + 1, _MAX_DESIGN, share)

    @cached_property
    def objectives(self) -> tuple[Metric, ...]:
        """The metrics with a goal, in order: the columns of `History.Y`."""
        return tuple(metric for metric in self.metrics if metric.goal is not None)

    @cached_property
    def required(self) -> tuple[str, ...]:
        """Names of the metrics that a completed trial has: those with a goal or a bound."""
        return tuple(m.name for m in self.metrics if m.goal is not None or m.min is not None or m.max is not None)

    @cached_property
    def measured(self) -> tuple[Metric, ...]:
        """The metrics that a trial must bring; the known and the composite ones are computed."""
        return tuple(m for m in self.metrics if m.name not in self.known_names and m.name not in self.composites)

    @cached_property
    def outputs(self) -> tuple[str, ...]:
        """The measured metrics that composite objectives read, in order: the columns of `History.outputs`."""
        read: set[str] = set()
        front = [metric.name for metric in self.objectives if metric.name in self.composites]
        while front:
            name = front.pop()
            if name in self.composites and name not in read:
                front += self.composites[name].names
            read.add(name)
        return tuple(metric.name for metric in self.measured if metric.name in read)

    def known_metrics(self, config: Config) -> dict[str, float]:
        """The metrics that follow from a configuration, {} when there are none."""
        return dict(self.known(config)) if self.known is not None else {}

    def complete(self, config: Config, metrics: Mapping[str, float]) -> dict[str, float]:
        """`metrics` with the known and the composite ones filled in.

        A composite whose formula fails on these values (a division by zero) stays absent.
        """
        told = {name: value for name, value in metrics.items() if name not in self.composites}
        values = {**told, **self.known_metrics(config)}
        for _ in self.composites:  # one pass settles at least one formula, in whatever order they were declared
            waiting = [name for name in self.composites if name not in values]
            for name in waiting:
                formula = self.composites[name]
                if formula.names <= values.keys() | config.keys():
                    with contextlib.suppress(expressions.ExpressionError, ArithmeticError, TypeError, ValueError):
                        values[name] = float(formula.evaluate({**config, **values}))
            if not waiting:
                break
        return {**metrics, **values}

    def outputs_of(self, metrics: Mapping[str, float]) -> list[float]:
        """The values of `outputs` in one trial's metrics; NaN where absent."""
        return [metrics.get(name, math.nan) for name in self.outputs]

    def margins(
        self, config: Config, metrics: Mapping[str, float], baseline: Mapping[str, float] | None
    ) -> list[float]:
        """One margin a constraint, in order; NaN where unknown."""
        return [constraint.margin(config, metrics, baseline) for constraint in self.constraints]

    def feasible(self, config: Config, metrics: Mapping[str, float], baseline: Mapping[str, float] | None) -> bool:
        """Whether every known margin is >= 0."""
        return all(not margin < 0 for margin in self.margins(config, metrics, baseline))

    def values(self, metrics: Mapping[str, float]) -> list[float]:
        """The objectives of one trial, all maximised; NaN where absent."""
        return [
            metric.sign * metrics[metric.name] if metric.name in metrics else math.nan for metric in self.objectives
        ]


def make_problem(sweep: Sweep, objective: Any = None, *, slots: int = 1, reading: bool = False) -> Problem:
    """The problem that a sweep poses, with its objective's own space, metrics and known values taken in.

    Args:
        sweep: A validated sweep.
        objective: The loaded objective; only its optional `space`, `metrics`, `known` and `baseline` are read.
        slots: Device slots at hand: what `parallel: auto` means.
        reading: Only to read what was measured: the restrictions, which may need the objective's code, are left out.

    Raises:
        SweepError: The sweep and the objective do not fit together.
    """
    metrics = _metrics(sweep, objective)
    if objective is not None and hasattr(objective, "space"):
        own = list(objective.known(objective.space.centre())) if hasattr(objective, "known") else []
        names = [metric.name for metric in metrics]
        sweep.check_names(
            parameters=objective.space.names,
            metrics=names,
            known=own,
            baseline=hasattr(objective, "baseline"),
            fidelities=getattr(objective, "fidelities", None),
        )
    composites, own_formulas = _formulas(metrics, _parameter_names(sweep, objective))
    known = _known(objective, own_formulas)
    known_names = _known_names(metrics, own_formulas, objective)
    constraints = _constraints(sweep, metrics)
    on_known = [c.text for c in constraints if c.metrics and c.metrics <= known_names and not c.needs_baseline]
    space = _space(sweep, objective, [] if reading else [*sweep.restrictions, *on_known], known)
    baseline = sweep.baseline if sweep.baseline is not None else _own_baseline(sweep, objective)
    return Problem(
        name=sweep.name,
        space=space,
        metrics=metrics,
        constraints=constraints,
        known=known,
        known_names=frozenset(known_names),
        composites=composites,
        baseline=None if baseline is None else space.normalise(baseline, partial=True),
        initial=tuple(space.normalise(config, partial=True) for config in sweep.initial),
        search=sweep.search,
        budget=sweep.budget,
        fidelity=sweep.fidelity or _items(objective),
        early_stop=sweep.early_stop,
        repeats=sweep.repeats,
        parallel=slots if sweep.parallel == "auto" else sweep.parallel,
        seed=sweep.seed,
        noisy=sweep.repeats.n > 1 or hasattr(objective, "context"),
        context=_context(objective),
        context_bounds=getattr(objective, "context_bounds", None),
    )


def _metrics(sweep: Sweep, objective: Any) -> tuple[Metric, ...]:
    own: Mapping[str, Metric] = getattr(objective, "metrics", None) or {}
    if not sweep.metrics:
        if not own:
            raise SweepError([Fault("$.metrics", "at least one metric must be declared; add `metrics:`")], sweep.source)
        return tuple(own.values())
    merged = []
    for name, section in sweep.metrics.items():
        declared = Metric(name=name, **section.model_dump(exclude={"name"}))
        merged.append(_filled(declared, own[name]) if name in own else declared)
    if not any(metric.goal for metric in merged):
        fault = Fault(
            "$.metrics", "at least one metric must have a goal, but none has; add `goal: maximize` or `minimize`"
        )
        raise SweepError([fault], sweep.source)
    return tuple(merged)


def _filled(declared: Metric, own: Metric) -> Metric:
    """A sweep's metric with the objective's own unit, and its hypervolume corner when both want the same of it."""
    reference = own.reference if declared.reference is None and declared.goal == own.goal else declared.reference
    return replace(declared, unit=declared.unit or own.unit, reference=reference)


def _parameter_names(sweep: Sweep, objective: Any) -> set[str]:
    own = getattr(objective, "space", None)
    return set(sweep.parameters) | (set(own.names) if own is not None else set())


def _formulas(metrics: Sequence[Metric], parameters: set[str]) -> tuple[dict[str, Expression], dict[str, Expression]]:
    """Formulas over other metrics (composites), and formulas over parameters alone (known)."""
    parsed = {metric.name: expressions.parse(metric.formula) for metric in metrics if metric.formula}
    over_parameters = {name: formula for name, formula in parsed.items() if formula.names <= parameters}
    return {name: f for name, f in parsed.items() if name not in over_parameters}, over_parameters


def _known(objective: Any, formulas: Mapping[str, Expression]) -> Known | None:
    own: Known | None = getattr(objective, "known", None)
    if own is None and not formulas:
        return None

    def known(config: Config) -> Mapping[str, float]:
        values = dict(own(config)) if own is not None else {}
        for name, formula in formulas.items():
            if formula.names <= config.keys() | values.keys():
                values[name] = float(formula.evaluate({**config, **values}))
        return values

    return known


def _known_names(metrics: Sequence[Metric], formulas: Mapping[str, Expression], objective: Any) -> set[str]:
    names = set(formulas)
    if getattr(objective, "known", None) is not None:
        names |= set(objective.known(objective.space.centre()))
    return names & {metric.name for metric in metrics} | set(formulas)


def _constraints(sweep: Sweep, metrics: Sequence[Metric]) -> tuple[Constraint, ...]:
    texts = list(sweep.constraints)
    for metric in metrics:
        if metric.max is not None:
            texts.append(f"{_quoted(metric.name)} <= {metric.max!r}")
        if metric.min is not None:
            texts.append(f"{_quoted(metric.name)} >= {metric.min!r}")
    names = {metric.name for metric in metrics} | set(FREE_METRICS)
    return tuple(_constraint(text, names, sweep.source) for text in texts)


def _quoted(name: str) -> str:
    """A metric's name as an expression reads it: in backquotes when it is no identifier, such as `val/loss`."""
    return name if all(part.isidentifier() for part in name.split(".")) else f"`{name}`"


def _constraint(text: str, metric_names: set[str], source: str) -> Constraint:
    expression = expressions.parse(text)
    of_baseline = {n.removeprefix("baseline.") for n in expression.names if n.startswith("baseline.")}
    read = frozenset((expression.names & metric_names) | (of_baseline & metric_names))
    needs_baseline = bool(of_baseline) or "baseline" in expression.names
    if "baseline" in expression.names and len(read) != 1:
        fault = Fault(
            "$.constraints",
            f"a bare `baseline` must stand beside exactly one metric, but {text!r} has {len(read)}; "
            "write `baseline.<metric>`",
        )
        raise SweepError([fault], source)
    return Constraint(text=text, expression=expression, metrics=read, needs_baseline=needs_baseline)


def _space(sweep: Sweep, objective: Any, restrictions: list[str], known: Known | None) -> SearchSpace:
    from tuner.parameters import from_dict

    own: SearchSpace | None = getattr(objective, "space", None)
    parameters = {parameter.name: parameter for parameter in own.parameters} if own is not None else {}
    for name, spec in sweep.parameters.items():
        if own is not None and name not in parameters:
            known_list = ", ".join(sorted(parameters))
            fault = Fault(f"$.parameters.{name}", f"the objective has no parameter {name!r} (it has: {known_list})")
            raise SweepError([fault], sweep.source)
        parameters[name] = from_dict(name, spec)
    if not parameters:
        fault = Fault("$.parameters", "at least one parameter must be declared, but there is none; add `parameters:`")
        raise SweepError([fault], sweep.source)
    inherited = [r.text for r in own.restrictions] if own is not None else []
    return SearchSpace(list(parameters.values()), [*inherited, *restrictions], known)


def _items(objective: Any) -> Fidelity | None:
    """The fidelity of an objective that says of how many items its score is the mean: how many of them."""
    from tuner.sweep import Fidelity

    n = getattr(objective, "items", None)
    if n is None or callable(n):  # a mapping's own method
        return None
    if isinstance(n, bool) or not isinstance(n, int) or n < 2:
        raise ObjectiveError(f"items must be a whole number of at least 2, but got {n!r}; correct the objective")
    return Fidelity(parameter="items", min=max(math.ceil(n / _ITEM_LEVELS), 1), max=n)


def _context(objective: Any) -> Context | None:
    """The objective's contexts, checked as they come: the code is a user's."""
    own = getattr(objective, "context", None)
    if own is None:
        return None

    def context(number: int) -> tuple[float, ...]:
        value = own(number)
        try:
            found = tuple(float(part) for part in (value if isinstance(value, Sequence) else (value,)))
        except (TypeError, ValueError):
            found = ()
        if not found or not all(math.isfinite(part) for part in found):
            raise ObjectiveError(
                f"context({number}) must return finite numbers, but got {value!r}; correct the objective"
            )
        return found

    return context


def _own_baseline(sweep: Sweep, objective: Any) -> Config | None:
    baseline = getattr(objective, "baseline", None)
    if baseline is None:
        return None
    config = baseline()
    if not isinstance(config, Mapping):
        raise ObjectiveError(f"baseline() must return a configuration, but {sweep.name!r} returned {config!r}")
    fixed = {name: spec for name, spec in sweep.parameters.items() if not isinstance(spec, Mapping)}
    return {**config, **fixed}
