"""Restrictions that no configuration can meet, found by interval arithmetic: exact when it says so, silent otherwise.

Each parameter is the interval of its values; an expression is bounded from below and above by those of its parts. A
restriction is refuted when the bounds leave no room, such as `lr > 1` where lr is at most 0.01. What the arithmetic
does not understand has no bounds, and refutes nothing. Sampling finds the rest (`tuner.space`).
"""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tuner.expressions import parse
from tuner.parameters import Choice, Constant, Float, Int, Parameter, Simplex, Subset, Vector

Interval = tuple[float, float]
EVERYTHING: Interval = (-math.inf, math.inf)
_SLACK = 1e-9
"""Relative room for rounding: comparisons hold to 1e-12, and bounds are sums of rounded numbers."""


@dataclass(frozen=True, slots=True)
class _Many:
    """The values of a structured parameter: bounds of one entry, of their sum, and of their number."""

    entry: Interval
    total: Interval
    length: Interval


Bounds = Interval | _Many


def refuted(restrictions: Sequence[str], parameters: Mapping[str, Parameter]) -> int | None:
    """Return the index of the first restriction that cannot hold beside those before it; None when all might.

    Args:
        restrictions: Expressions that `tuner.expressions.parse` accepts.
        parameters: Those that are known, by name; a restriction on conditional ones is never refuted.
    """
    bounds = {name: _bounds(parameter) for name, parameter in parameters.items() if parameter.when is None}
    for index, text in enumerate(restrictions):
        if "`" in text or parse(text).names & (parameters.keys() - bounds.keys()):
            continue  # names between backquotes are not Python; an inactive parameter lifts the restriction
        tree = ast.parse(text.strip(), mode="eval").body
        if _false(tree, bounds):
            return index
        _narrow(tree, bounds)
    return None


def _bounds(parameter: Parameter) -> Bounds:
    if isinstance(parameter, (Float, Int)):
        return float(parameter.low), float(parameter.high)
    if isinstance(parameter, (Choice, Constant)):
        values = parameter.values if isinstance(parameter, Choice) else (parameter.value,)
        numbers = [float(value) for value in values if isinstance(value, (int, float))]
        return (min(numbers), max(numbers)) if numbers and len(numbers) == len(values) else EVERYTHING
    if isinstance(parameter, Vector):
        entry, n = (float(parameter.low), float(parameter.high)), parameter.length
        return _Many(entry, (n * entry[0], n * entry[1]), (n, n))
    if isinstance(parameter, Simplex):
        total = float(parameter.total or 1)
        return _Many((0.0, total), (total, total), (len(parameter.items), len(parameter.items)))
    if isinstance(parameter, Subset):
        most = len(parameter.items) if parameter.max_size is None else parameter.max_size
        return _Many(EVERYTHING, EVERYTHING, (parameter.min_size, most))
    return EVERYTHING


def _false(node: ast.expr, bounds: Mapping[str, Bounds]) -> bool:
    """Return whether the condition holds nowhere."""
    match node:
        case ast.BoolOp(op=ast.And()):
            return any(_false(term, bounds) for term in node.values)
        case ast.BoolOp(op=ast.Or()):
            return all(_false(term, bounds) for term in node.values)
        case ast.Constant(value=bool() | int() | float() as value):
            return not value
        case ast.Compare():
            sides = [_value(side, bounds) for side in (node.left, *node.comparators)]
            return any(_never(op, a, b) for op, a, b in zip(node.ops, sides, sides[1:], strict=False))
    return False


def _never(op: ast.cmpop, a: Interval, b: Interval) -> bool:
    """Return whether the comparison of two numbers within the intervals is always false."""
    room = _SLACK * max([1.0, *(abs(x) for x in (*a, *b) if math.isfinite(x))])
    if isinstance(op, ast.Lt):
        return a[0] >= b[1]
    if isinstance(op, ast.Gt):
        return a[1] <= b[0]
    if isinstance(op, ast.LtE):
        return a[0] > b[1] + room
    if isinstance(op, ast.GtE):
        return a[1] < b[0] - room
    return isinstance(op, ast.Eq) and (a[0] > b[1] + room or a[1] < b[0] - room)


def _value(node: ast.expr, bounds: Mapping[str, Bounds]) -> Interval:
    match node:
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool) and abs(value) < 1e300:
            return float(value), float(value)
        case ast.Name():
            found = bounds.get(node.id, EVERYTHING)
            return EVERYTHING if isinstance(found, _Many) else found
        case ast.UnaryOp(op=ast.USub()):
            low, high = _value(node.operand, bounds)
            return -high, -low
        case ast.Subscript(value=ast.Name(id=name)):
            found = bounds.get(name, EVERYTHING)
            return found.entry if isinstance(found, _Many) else EVERYTHING
        case ast.BinOp():
            return _arithmetic(node.op, _value(node.left, bounds), _value(node.right, bounds))
        case ast.Call(func=ast.Name(id=name)):
            return _function(name, node.args, bounds)
    return EVERYTHING


def _arithmetic(op: ast.operator, a: Interval, b: Interval) -> Interval:
    if not all(math.isfinite(x) for x in (*a, *b)):
        return EVERYTHING
    if isinstance(op, ast.Add):
        return a[0] + b[0], a[1] + b[1]
    if isinstance(op, ast.Sub):
        return a[0] - b[1], a[1] - b[0]
    if isinstance(op, ast.Mult):
        corners = [x * y for x in a for y in b]
        return min(corners), max(corners)
    if isinstance(op, ast.Div) and not b[0] <= 0 <= b[1]:
        corners = [x / y for x in a for y in b]
        return min(corners), max(corners)
    return EVERYTHING


def _function(name: str, arguments: Sequence[ast.expr], bounds: Mapping[str, Bounds]) -> Interval:
    if len(arguments) == 1 and isinstance(arguments[0], ast.Name):
        many = bounds.get(arguments[0].id)
        if isinstance(many, _Many):
            of = {"sum": many.total, "len": many.length, "count": many.length, "min": many.entry, "max": many.entry}
            return of.get(name, EVERYTHING)
    parts = [_value(argument, bounds) for argument in arguments]
    if name in ("min", "max") and len(parts) > 1:
        pick = min if name == "min" else max
        return pick(low for low, _ in parts), pick(high for _, high in parts)
    if name == "abs" and len(parts) == 1:
        low, high = parts[0]
        return (0.0 if low <= 0 <= high else min(abs(low), abs(high))), max(abs(low), abs(high))
    return EVERYTHING


def _narrow(node: ast.expr, bounds: dict[str, Bounds]) -> None:
    """Tighten the bounds of names that the condition compares with numbers."""
    if isinstance(node, ast.BoolOp) and isinstance(node.op, ast.And):
        for term in node.values:
            _narrow(term, bounds)
    if not isinstance(node, ast.Compare):
        return
    for op, left, right in zip(node.ops, (node.left, *node.comparators), node.comparators, strict=False):
        a, b = _value(left, bounds), _value(right, bounds)
        less, more = isinstance(op, (ast.Lt, ast.LtE, ast.Eq)), isinstance(op, (ast.Gt, ast.GtE, ast.Eq))
        for side, own, other, below, above in ((left, a, b, less, more), (right, b, a, more, less)):
            if isinstance(side, ast.Name) and not isinstance(bounds.get(side.id), _Many):
                low = max(own[0], other[0]) if above else own[0]
                high = min(own[1], other[1]) if below else own[1]
                bounds[side.id] = (low, high)
