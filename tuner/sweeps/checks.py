"""What ties the sections of a sweep together: names, parameters, bounds, conditions, placeholders, restrictions.

Each check adds what it finds to `Findings`; none raises, runs user code or loads an objective. An objective may bring
names of its own: then names that the sweep does not declare are left to `Sweep.check_names`.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from tuner.errors import SpaceError
from tuner.sweeps.declarations import parameters_of, refute
from tuner.sweeps.findings import Findings, Path, quote, shorten, unknown
from tuner.sweeps.yaml_source import MAX_DEPTH, MAX_NODES
from tuner.trial import FREE_METRICS

if TYPE_CHECKING:
    from tuner.expressions import Expression
    from tuner.parameters import Parameter
    from tuner.sweep import Sweep

MAX_METRICS = 1000
MAX_INTEGER = 2**63 - 1


def plain(data: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Return a deep copy of `data` as dicts, lists, text, finite numbers, booleans and None; callables pass.

    Raises:
        SweepError: It holds something else, a number that no store keeps, or more than the limits.
    """
    findings = Findings()
    copy = _Plain(findings).value(data, ())
    findings.raise_if_any(source)
    return dict(copy)


class _Plain:
    def __init__(self, findings: Findings) -> None:
        self.findings = findings
        self.count = 0

    def value(self, value: Any, path: Path) -> Any:
        self.count += 1
        if self.count > MAX_NODES or len(path) > MAX_DEPTH:
            limit = f"hold at most {MAX_NODES:,} values" if self.count > MAX_NODES else f"be at most {MAX_DEPTH} deep"
            if not any("must hold at most" in message for _, message in self.findings.found):
                self.findings.add(path, f"must {limit}, but has more; shorten it")
            return None
        if isinstance(value, Mapping):
            return {key: self.value(item, (*path, key)) for key, item in self.keys(value, path)}
        if isinstance(value, (list, tuple)):
            return [self.value(item, (*path, index)) for index, item in enumerate(value[: MAX_NODES + 1])]
        return self.scalar(value, path)

    def keys(self, value: Mapping[Any, Any], path: Path) -> Iterable[tuple[str, Any]]:
        for key, item in value.items():
            if not isinstance(key, str):
                self.findings.add(path, f"a key must be text, but got {quote(key)}; put it in quotation marks")
            elif len(key) > 500 or not key.isprintable():
                self.findings.add(path, f"a key must be printable and at most 500 characters, but got {quote(key)}")
            else:
                yield key, item

    def scalar(self, value: Any, path: Path) -> Any:
        if isinstance(value, str) and not value.isascii() and any("\ud800" <= c <= "\udfff" for c in value):
            self.findings.add(path, f"text must be Unicode, but got {quote(value)}; remove the half surrogate pair")
        if value is None or isinstance(value, (bool, str)):
            return value
        if type(value).__module__ == "numpy" and hasattr(value, "item"):
            value = value.item()
        if isinstance(value, int):
            if abs(value) > MAX_INTEGER:
                self.findings.add(path, f"a whole number must fit 64 bits, but got {quote(value)}; write a smaller one")
            return value
        if isinstance(value, float):
            if not math.isfinite(value):
                self.findings.add(path, f"a number must be finite, but got {value}; write a finite one")
            return value
        if callable(value) and path and path[0] == "objective":
            return value
        self.findings.add(path, f"must be plain data, but got {type(value).__name__}; write text, numbers or lists")
        return None


def closed(data: Mapping[str, Any]) -> bool:
    """Return whether the sweep itself declares every parameter: it runs a command."""
    return data.get("objective") is None


@dataclass(frozen=True, slots=True)
class Scope:
    """The names that expressions may use.

    Attributes:
        parameters: Declared, and the objective's own.
        metrics: Declared, the objective's own, and those that are free.
        known: Names that follow from the configuration alone; restrictions may use them.
        closed: Whether any other name is an error.
        baseline: Whether there is, or may be, a baseline to compare with.
    """

    parameters: frozenset[str]
    metrics: frozenset[str]
    known: frozenset[str]
    closed: bool
    baseline: bool

    @classmethod
    def of(
        cls,
        sweep: Sweep,
        parameters: Iterable[str],
        metrics: Iterable[str],
        known: Iterable[str],
        *,
        closed: bool,
        baseline: bool,
    ) -> Scope:
        """Return the scope of `sweep` with the objective's own names."""
        inputs = frozenset(parameters) | frozenset(sweep.parameters)
        formulas = {name: m.formula for name, m in sweep.metrics.items() if m.formula is not None}
        follows = set(known)
        for _ in formulas:
            for name, text in formulas.items():
                formula = _quiet(text)
                if formula is not None and formula.names <= inputs | follows:
                    follows.add(name)
        outputs = frozenset(metrics) | frozenset(sweep.metrics) | frozenset(FREE_METRICS)
        return cls(inputs, outputs, frozenset(follows), closed, baseline or sweep.baseline is not None)


def check(sweep: Sweep, data: Mapping[str, Any], broken: AbstractSet[str], findings: Findings) -> None:
    """Check the whole sweep.

    Args:
        sweep: As validated, with defaults where it is wrong.
        data: As read: the names it declares count even where their entries are wrong.
        broken: Top-level keys that are wrong; what depends on them is not checked.
        findings: Receives what is wrong.
    """
    is_closed = closed(data)
    _one_evaluator(data, findings)
    if is_closed and not broken & {"command", "parameters", "metrics"}:
        _complete(sweep, findings)
    _metric_names(sweep, findings)
    parameters = parameters_of(sweep, findings)
    raw_metrics = data.get("metrics")
    metrics = raw_metrics if isinstance(raw_metrics, dict) else {}
    open_metrics = not isinstance(raw_metrics, dict) and "metrics" in broken
    raw_parameters = data.get("parameters")
    names = raw_parameters if isinstance(raw_parameters, dict) else {}
    whole = is_closed and not open_metrics and "parameters" not in broken
    has_baseline = not is_closed or data.get("baseline") is not None
    scope = Scope.of(sweep, names, metrics, (), closed=whole, baseline=has_baseline)
    check_names(sweep, scope, findings)
    _configurations(sweep, parameters, findings)
    _fidelity(sweep, parameters, findings)
    if "command" not in broken and sweep.command is not None:
        _placeholders(sweep, scope, findings)
    if not findings:
        refute(sweep, parameters, findings)


def _one_evaluator(data: Mapping[str, Any], findings: Findings) -> None:
    """At most one: a sweep without any is for `ask` and `tell`, and `run` refuses it."""
    given = [key for key in ("objective", "command", "program") if data.get(key) is not None]
    if len(given) > 1:
        got = " and ".join(given)
        findings.add((given[-1],), f"a sweep must have one of objective and command, but got {got}; keep one")


def _complete(sweep: Sweep, findings: Findings) -> None:
    if not sweep.parameters:
        findings.add(("parameters",), "there must be parameters to tune, but there are none; add parameters: {...}")
    if not sweep.metrics:
        findings.add(("metrics",), "there must be metrics, but there are none; add metrics: {loss: minimize}")
    elif not any(metric.goal for metric in sweep.metrics.values()):
        findings.add(("metrics",), "at least one metric must have a goal, but none has; add goal: minimize or maximize")


def _metric_names(sweep: Sweep, findings: Findings) -> None:
    if len(sweep.metrics) > MAX_METRICS:
        findings.add(("metrics",), f"must be at most {MAX_METRICS} metrics, but got {len(sweep.metrics)}; remove some")
    for name in sweep.metrics:
        path = ("metrics", name)
        if not name.strip() or name == "baseline" or name.startswith("baseline."):
            findings.add(path, f"a metric must not be called {quote(name)}; rename it")
        elif name in sweep.parameters:
            findings.add(path, f"a metric must not share its name with a parameter, but {quote(name)} does; rename one")


# ---- names in expressions


def parsed(text: str, path: Path, findings: Findings) -> Expression | None:
    """Return the parsed expression, or None when it is none, which is noted."""
    from tuner.expressions import ExpressionError, parse

    try:
        return parse(text)
    except ExpressionError as error:
        findings.add(path, str(error))
        return None


def _quiet(text: str) -> Expression | None:
    return parsed(text, (), Findings())


def check_names(
    sweep: Sweep, scope: Scope, findings: Findings, fidelities: Mapping[str, float] = MappingProxyType({})
) -> None:
    """Check that every expression parses and every name in the sweep is one of the scope's.

    Args:
        sweep: Whose names.
        scope: What they may be.
        findings: Receives what is wrong.
        fidelities: What an objective can be given less of, and all of it.
    """
    _conditions(sweep, scope, findings)
    for index, text in enumerate(sweep.restrictions):
        path = ("restrictions", index)
        restriction = parsed(text, path, findings)
        if restriction is not None:
            findings.extend(path, _strangers(restriction, scope.parameters | scope.known, "parameter", scope))
    for index, text in enumerate(sweep.constraints):
        _constraint(text, ("constraints", index), scope, findings)
    _formulas(sweep, scope, findings)
    if scope.closed:
        for place, name, names, what in _references(sweep, scope, fidelities):
            if name not in names:
                findings.add(place, unknown(what, name, names))
    spent = sweep.fidelity
    if spent is not None and spent.max != (whole := fidelities.get(spent.parameter, spent.max)):
        findings.add(
            ("fidelity", "max"),
            f"must be {whole:g}, which is all of the objective's {spent.parameter}, but got {spent.max:g}; "
            f"write max: {whole:g}, or {spent.parameter}: {spent.max:g} in objective",
        )


def _strangers(expression: Expression, names: Collection[str], what: str, scope: Scope) -> list[str]:
    """Return a sentence for every name in the expression that is none of `names`, as far as the scope knows."""
    sentences = []
    for name in sorted(expression.names - set(names)) if scope.closed else ():
        if what == "parameter" and name in scope.metrics:
            sentences.append(f"{quote(name)} is a metric, not known before the trial; move this to constraints")
        else:
            sentences.append(f"{unknown(what, name, names)} (in {quote(expression.text)})")
    return sentences


def _references(
    sweep: Sweep, scope: Scope, fidelities: Mapping[str, float]
) -> Iterable[tuple[Path, str, Collection[str], str]]:
    """Yield every place that names a parameter or metric outside an expression: path, name, known names, what."""
    for name in sweep.baseline or {}:
        yield ("baseline", name), name, scope.parameters, "parameter"
    for index, config in enumerate(sweep.initial):
        for name in config:
            yield ("initial", index, name), name, scope.parameters, "parameter"
    for name in sweep.budget.target:
        yield ("budget", "target", name), name, scope.metrics, "metric"
    if sweep.budget.cost is not None:
        yield ("budget", "cost", "metric"), sweep.budget.cost.metric, scope.metrics, "metric"
    if sweep.fidelity is not None:
        spent = scope.parameters | fidelities.keys()
        yield ("fidelity", "parameter"), sweep.fidelity.parameter, spent, "parameter"


def _constraint(text: str, path: Path, scope: Scope, findings: Findings) -> None:
    """Check one constraint. A bare `baseline` stands for the baseline's value of the one metric beside it."""
    constraint = parsed(text, path, findings)
    if constraint is None:
        return
    of_baseline = {name for name in constraint.names if name.startswith("baseline.")}
    metrics = scope.metrics | {f"baseline.{name}" for name in scope.metrics}
    findings.extend(
        path, _strangers(constraint, scope.parameters | metrics | {"baseline"}, "metric or parameter", scope)
    )
    bare = "baseline" in constraint.names
    if (bare or of_baseline) and not scope.baseline:
        findings.add(path, f"{quote(text)} needs a baseline, but the sweep has none; add baseline: {{...}}")
    read = (constraint.names & scope.metrics) | {name.removeprefix("baseline.") for name in of_baseline}
    if bare and scope.closed and len(read & scope.metrics) != 1:
        findings.add(
            path,
            f"a bare baseline must stand beside exactly one metric, but {quote(text)} has {len(read)}; "
            "write baseline.<metric>, or one constraint for each metric",
        )
    if scope.closed and not constraint.names & metrics and constraint.names <= scope.parameters:
        findings.add(path, f"{quote(text)} must name a metric, but has only parameters; move this to restrictions")


def _formulas(sweep: Sweep, scope: Scope, findings: Findings) -> None:
    edges: dict[str, set[str]] = {}
    for name, metric in sweep.metrics.items():
        if metric.formula is None:
            continue
        path = ("metrics", name, "formula")
        formula = parsed(metric.formula, path, findings)
        if formula is None:
            continue
        names = scope.parameters | scope.metrics
        findings.extend(path, _strangers(formula, names, "metric or parameter", scope))
        edges[name] = {n for n in formula.names if n in sweep.metrics}
    for cycle in _cycles(edges):
        findings.add(
            ("metrics", cycle[0], "formula"), f"formulas must not go in a circle, but {_arrow(cycle)}; break it"
        )


def _conditions(sweep: Sweep, scope: Scope, findings: Findings) -> None:
    edges: dict[str, set[str]] = {}
    for name, spec in sweep.parameters.items():
        text = spec.get("when") if isinstance(spec, Mapping) else None
        if not isinstance(text, str):
            continue
        path = ("parameters", name, "when")
        condition = parsed(text, path, findings)
        if condition is not None:
            findings.extend(path, _strangers(condition, scope.parameters, "parameter", scope))
            edges[name] = {n for n in condition.names if n in sweep.parameters}
    for cycle in _cycles(edges):
        findings.add(
            ("parameters", cycle[0], "when"), f"conditions must not go in a circle, but {_arrow(cycle)}; break it"
        )


def _arrow(cycle: Sequence[str]) -> str:
    return " needs ".join(quote(name) for name in [*cycle[:6], *(["..."] if len(cycle) > 6 else []), cycle[0]])


def _cycles(edges: Mapping[str, set[str]]) -> list[list[str]]:
    """Return disjoint cycles, one for each knot, starting from the first-declared member."""
    left = {name: {n for n in needs if n in edges} for name, needs in edges.items()}
    while ready := [name for name, needs in left.items() if not needs & left.keys()]:
        for name in ready:
            del left[name]
    cycles = []
    while left:
        walk: list[str] = []
        name = next(iter(left))
        while name not in walk:
            walk.append(name)
            following = sorted(left[name] & left.keys())
            if not following:
                break
            name = following[0]
        else:
            cycles.append(walk[walk.index(name) :])
        for seen in walk:
            left.pop(seen, None)
    return cycles


# ---- configurations, fidelity, command


def _configurations(sweep: Sweep, parameters: Mapping[str, Parameter], findings: Findings) -> None:
    """Check the values of the baseline and of the initial configurations, parameter by parameter."""
    places: list[tuple[Path, Mapping[str, Any]]] = [(("baseline",), sweep.baseline or {})]
    places.extend((("initial", index), config) for index, config in enumerate(sweep.initial))
    for path, config in places:
        for name, value in config.items():
            if name in parameters:
                try:
                    parameters[name].normalise(value)
                except SpaceError as error:
                    findings.add((*path, name), str(error))


def _fidelity(sweep: Sweep, parameters: Mapping[str, Parameter], findings: Findings) -> None:
    if sweep.fidelity is None or sweep.fidelity.parameter not in parameters:
        return
    name = sweep.fidelity.parameter
    if not isinstance(parameters[name].centre(), (int, float)):
        findings.add(("fidelity", "parameter"), f"must be a parameter that is a number, but {quote(name)} is none")


def _placeholders(sweep: Sweep, scope: Scope, findings: Findings) -> None:
    from tuner.runners.macros import MACROS, placeholders

    assert sweep.command is not None
    for index, word in enumerate(sweep.command):
        for name in sorted(placeholders([word])):
            if name == "program":
                findings.add(("command", index), "${program} needs program: FILE beside the command; add it")
            elif scope.closed and name not in scope.parameters and name not in MACROS:
                known = [f"${{{n}}}" for n in sorted(scope.parameters)]
                variable = f"; the environment's is ${{envvar:{name}}}" if name.isupper() else ""
                findings.add(("command", index), unknown("placeholder", f"${{{name}}}", known) + variable)


def notes(sweep: Sweep) -> list[str]:
    """Return warnings: parameters that the command line does not show."""
    from tuner.runners.macros import placeholders

    if sweep.command is None:
        return []
    used = placeholders(sweep.command)
    text = " ".join([*sweep.command, *sweep.runner.env.values()])
    if any(name.startswith("args") for name in used) or "TUNER_PARAM" in text:
        return []
    unseen = [name for name in sweep.parameters if name not in used]
    if not unseen:
        return []
    names = ", ".join(shorten(name, 40) for name in unseen[:8]) + (", ..." if len(unseen) > 8 else "")
    return [
        f"not on the command line: {names}; add ${{args}}, or let the script read TUNER_PARAMS or TUNER_PARAM_<NAME>"
    ]
