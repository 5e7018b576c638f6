"""The `parameters:` and `restrictions:` of a sweep file against `tuner.parameters` and `tuner.space`.

`tuner.parameters.from_dict` decides what a parameter is; sizes that would take the memory are refused before it builds.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from tuner.errors import Problem, SpaceError, SweepError
from tuner.sweeps.findings import Findings, Path, quote

if TYPE_CHECKING:
    from tuner.parameters import Parameter
    from tuner.sweep import Sweep

MAX_PARAMETERS = 1000
MAX_LENGTH = 10_000
MAX_COLUMNS = 20_000
REFUTABLE = 2000
"""Restrictions over at most so many combinations are tried out at load."""


def parameters_of(sweep: Sweep, findings: Findings) -> dict[str, Parameter]:
    """Return the parameters that are right."""
    parameters: dict[str, Parameter] = {}
    if len(sweep.parameters) > MAX_PARAMETERS:
        count = len(sweep.parameters)
        findings.add(("parameters",), f"must be at most {MAX_PARAMETERS} parameters, but got {count}; remove some")
        return parameters
    for name, spec in sweep.parameters.items():
        parameter = _parameter(name, spec, findings)
        if parameter is not None:
            parameters[name] = parameter
    columns = sum(len(parameter.columns()) for parameter in parameters.values())
    if columns > MAX_COLUMNS:
        findings.add(("parameters",), f"must hold at most {MAX_COLUMNS:,} numbers, but hold {columns:,}; shorten some")
    return parameters


def _parameter(name: str, spec: Any, findings: Findings) -> Parameter | None:
    from tuner.parameters import ParameterError, from_dict

    path = ("parameters", name)
    if name == "baseline" or name.startswith("baseline."):
        findings.add(path, 'a parameter must not be called "baseline", constraints use it; rename it')
        return None
    if _oversized(spec, path, findings):
        return None
    try:
        return from_dict(name, spec)
    except SpaceError as error:
        key = error.key if isinstance(error, ParameterError) else None
        findings.add(path if key is None else (*path, key), str(error))
        return None


_LISTS = ("values", "subset", "simplex", "permutation")


def _oversized(spec: Any, path: Path, findings: Findings) -> bool:
    """Note what would take the memory when it is built, and return whether anything would."""
    if not isinstance(spec, Mapping):
        return False
    lengths = {key: len(spec[key]) for key in _LISTS if isinstance(spec.get(key), list)}
    vector = spec.get("vector")
    if isinstance(vector, (int, float)):
        lengths["vector"] = int(vector)
    for key, length in lengths.items():
        if length > MAX_LENGTH:
            findings.add((*path, key), f"must hold at most {MAX_LENGTH:,} entries, but has {length:,}; shorten it")
    return any(length > MAX_LENGTH for length in lengths.values())


def canonical(name: str, spec: Any) -> Any:
    """Return the parameter's canonical form, in which 8 and 8.0 or a scalar and `{value: ...}` are the same."""
    from tuner.parameters import from_dict

    return from_dict(name, spec).to_dict()


def admits(name: str, spec: Mapping[str, Any], value: Any) -> bool:
    """Return whether the declared parameter may take the value; True when the declaration itself is wrong."""
    from tuner.parameters import from_dict

    if _oversized(spec, (), Findings()):
        return True
    try:
        parameter = from_dict(name, spec)
    except SpaceError:
        return True
    try:
        return bool(parameter.contains(parameter.normalise(value)))
    except SpaceError:
        return False


def refute(sweep: Sweep, parameters: Mapping[str, Parameter], findings: Findings) -> None:
    """Note what has no value, and restrictions that no combination of few values meets or that intervals exclude."""
    from tuner.sweeps.refutation import refuted

    for name, parameter in parameters.items():
        if parameter.when is not None:
            _try_once(parameter.when, ("parameters", name, "when"), parameters, findings)
    for index, text in enumerate(sweep.restrictions):
        _try_out(text, ("restrictions", index), parameters, findings)
    impossible = None if findings else refuted(sweep.restrictions, parameters)
    if impossible is not None:
        text = quote(sweep.restrictions[impossible])
        message = (
            f"some configuration must meet {text}, but the ranges and the restrictions before it leave none; relax it"
        )
        findings.add(("restrictions", impossible), message)


def _try_once(text: str, path: Path, parameters: Mapping[str, Parameter], findings: Findings) -> None:
    """Note values that do not fit the operators, such as `'a' < 3`."""
    from tuner.expressions import ExpressionError, parse

    try:
        parse(text).holds({name: parameter.centre() for name, parameter in parameters.items()})
    except ExpressionError as error:
        findings.add(path, str(error))


def _try_out(text: str, path: Path, parameters: Mapping[str, Parameter], findings: Findings) -> None:
    from tuner.expressions import ExpressionError, parse

    _try_once(text, path, parameters, findings)
    if findings.under(path):
        return
    restriction = parse(text)
    read = [parameters[name] for name in sorted(restriction.names) if name in parameters]
    if len(read) < len(restriction.names) or any(p.when is not None or not p.size() <= REFUTABLE for p in read):
        return
    count = math.prod(int(p.size()) for p in read)
    if count > REFUTABLE:
        return
    names = [p.name for p in read]
    try:
        feasible = any(
            restriction.holds(dict(zip(names, values, strict=True)))
            for values in itertools.product(*(p.members() for p in read))
        )
    except ExpressionError as error:
        findings.add(path, str(error))
        return
    if not feasible:
        findings.add(path, f"some configuration must meet {quote(text)}, but none of {count:,} does; relax it")


def check_feasible(sweep: Sweep, problem: Callable[[str, str], Problem]) -> None:
    """Raise `SweepError` when sampling finds no configuration that meets the restrictions."""
    findings = Findings()
    parameters = list(parameters_of(sweep, findings).values())
    if findings or not parameters:
        return
    error = _infeasible(parameters, sweep)
    if error is None:
        return
    suspects = [index for index, text in enumerate(sweep.restrictions) if not _drawn(text, parameters, sweep)]
    places = [f"$.restrictions[{index}]" for index in suspects] or ["$.restrictions"]
    raise SweepError([problem(place, str(error)) for place in places], sweep.source)


def _infeasible(parameters: list[Parameter], sweep: Sweep) -> SpaceError | None:
    import numpy as np

    from tuner.space import SearchSpace

    try:
        space = SearchSpace(parameters, sweep.restrictions, _known(sweep, {p.name for p in parameters}))
        space.sample(1, np.random.default_rng(0))
    except SpaceError as error:
        return error
    return None


def _drawn(text: str, parameters: list[Parameter], sweep: Sweep) -> bool:
    """Return whether random configurations meet this restriction alone."""
    import numpy as np

    from tuner.space import SearchSpace

    known = _known(sweep, {p.name for p in parameters})
    alone = SearchSpace(parameters, [text], known)
    try:
        drawn = SearchSpace(parameters, [], known).sample(1000, np.random.default_rng(0))
        return any(alone.feasible(config) for config in drawn)
    except SpaceError:
        return False


def _known(sweep: Sweep, parameters: set[str]) -> Callable[[dict[str, Any]], dict[str, float]] | None:
    """Return the metrics that are formulas over parameters, as restrictions may use them."""
    from tuner.expressions import parse

    formulas = {name: parse(metric.formula) for name, metric in sweep.metrics.items() if metric.formula}
    formulas = {name: formula for name, formula in formulas.items() if formula.names <= parameters}
    if not formulas:
        return None
    return lambda config: {
        name: float(formula.evaluate(config)) for name, formula in formulas.items() if formula.names <= config.keys()
    }
