"""What each operator and function of an expression does to values; every one is bounded in time and memory."""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Mapping, Sequence
from functools import reduce
from numbers import Real
from typing import Any

MAX_POWER_BITS = 4096


def show(value: object) -> str:
    """The value as a message shows it: at most 80 characters."""
    if isinstance(value, int) and value.bit_length() > 200:
        return f"an integer of {value.bit_length():,} bits"
    text = repr(value)
    return text if len(text) <= 80 else text[:77] + "..."


def is_tensor(value: Any) -> bool:
    """Whether the value is a tensor: many numbers at once, on which arithmetic works element by element.

    Formulas are applied to samples of what a model expects. Comparisons of tensors have no truth value and are refused.
    """
    return isinstance(getattr(value, "ndim", None), int) and hasattr(value, "requires_grad")


def number(value: Any, what: str) -> Any:
    """The value, when it is a real number or a tensor.

    Raises:
        TypeError: It is not; `what` is the operator or function that needs one.
    """
    if isinstance(value, (int, float)):
        return value
    if isinstance(value, Real):
        return float(value)
    if is_tensor(value):
        return value
    raise TypeError(f"{what} needs numbers, but got {show(value)}")


def close(a: Any, b: Any) -> bool:
    """Whether two numbers, of which one is a float, agree to 1e-12 relative or 1e-15 absolute."""
    if not (isinstance(a, (int, float)) and isinstance(b, (int, float))):
        return False
    if not (isinstance(a, float) or isinstance(b, float)):
        return False
    return math.isclose(a, b, rel_tol=1e-12, abs_tol=1e-15)


def equal(a: Any, b: Any) -> bool:
    """Whether two values are equal, floats up to rounding."""
    return bool(a == b) or close(a, b)


def _differ(a: Any, b: Any) -> bool:
    return not equal(a, b)


def _at_most(a: Any, b: Any) -> bool:
    return bool(a <= b) or close(a, b)


def _at_least(a: Any, b: Any) -> bool:
    return bool(a >= b) or close(a, b)


def _below(a: Any, b: Any) -> bool:
    return bool(a < b) and not close(a, b)


def _above(a: Any, b: Any) -> bool:
    return bool(a > b) and not close(a, b)


def _contained(a: Any, b: Any) -> bool:
    if isinstance(b, str) and not isinstance(a, str):
        return False
    if not isinstance(b, (str, list, tuple, Mapping)):
        raise TypeError(f"`in` needs a list, a subset or a text on its right, but got {show(b)}")
    return a in b


def _missing_from(a: Any, b: Any) -> bool:
    return not _contained(a, b)


def _power(a: Any, b: Any) -> Any:
    if isinstance(a, int) and isinstance(b, int) and b > 0 and a.bit_length() * b > MAX_POWER_BITS:
        raise OverflowError(f"a power of integers has at most {MAX_POWER_BITS} bits, but got {show(a)} ** {show(b)}")
    result = a**b
    if isinstance(result, complex):
        raise ValueError(f"a fractional power needs a base >= 0, but got {show(a)} ** {show(b)}")
    return result


def _items(value: Any, what: str) -> Sequence[Any]:
    if isinstance(value, Mapping):
        return list(value.values())
    if isinstance(value, (list, tuple)):
        return value
    raise TypeError(f"{what} needs a list, a subset or a simplex, but got {show(value)}")


def _sum(values: Any) -> Any:
    return sum(number(value, "sum") for value in _items(values, "sum"))


def _extreme(pick: Callable[[Sequence[Any]], Any], what: str) -> Callable[..., Any]:
    def extreme(*values: Any) -> Any:
        listed = _items(values[0], what) if len(values) == 1 else values
        if not listed:
            raise ValueError(f"{what} needs at least one value")
        numbers = [number(value, what) for value in listed]
        if any(is_tensor(value) for value in numbers):
            return reduce(lambda a, b: _clamped(a, b, what) if is_tensor(a) else _clamped(b, a, what), numbers)
        return pick(numbers)

    return extreme


def _clamped(tensor: Any, other: Any, what: str) -> Any:
    if not is_tensor(tensor):
        return max(tensor, other) if what == "max" else min(tensor, other)
    return tensor.clamp(min=other) if what == "max" else tensor.clamp(max=other)


def _len(value: Any) -> int:
    return len(value) if isinstance(value, str) else len(_items(value, "len"))


def _count(values: Any, *wanted: Any) -> int:
    listed = _items(values, "count")
    return sum(1 for value in listed if equal(value, wanted[0])) if wanted else len(listed)


def _log(x: Any, *base: Any) -> Any:
    if is_tensor(x):
        return x.log() / (math.log(number(base[0], "log")) if base else 1.0)
    return math.log(number(x, "log"), *(number(b, "log") for b in base))


def _round(x: Any, digits: Any = 0) -> Any:
    if not (isinstance(digits, int) and -30 <= digits <= 30):
        raise ValueError(f"round takes -30 to 30 digits, but got {show(digits)}")
    rounded = round(number(x, "round"), digits)
    return int(rounded) if digits == 0 else rounded


def _numeric(function: Callable[[Any], Any], what: str) -> Callable[[Any], Any]:
    return lambda x: getattr(x, what)() if is_tensor(x) else function(number(x, what))


FUNCTIONS: Mapping[str, tuple[Callable[..., Any], int, int]] = {
    "abs": (_numeric(abs, "abs"), 1, 1),
    "ceil": (_numeric(math.ceil, "ceil"), 1, 1),
    "count": (_count, 1, 2),
    "exp": (_numeric(math.exp, "exp"), 1, 1),
    "floor": (_numeric(math.floor, "floor"), 1, 1),
    "len": (_len, 1, 1),
    "log": (_log, 1, 2),
    "max": (_extreme(max, "max"), 1, 1000),
    "min": (_extreme(min, "min"), 1, 1000),
    "round": (_round, 1, 2),
    "sqrt": (_numeric(math.sqrt, "sqrt"), 1, 1),
    "sum": (_sum, 1, 1),
}
"""Name -> the function, and how few and how many arguments it takes."""

BINARY: Mapping[type[ast.operator], tuple[Callable[[Any, Any], Any], str]] = {
    ast.Add: (operator.add, "+"),
    ast.Sub: (operator.sub, "-"),
    ast.Mult: (operator.mul, "*"),
    ast.Div: (operator.truediv, "/"),
    ast.FloorDiv: (operator.floordiv, "//"),
    ast.Mod: (operator.mod, "%"),
    ast.Pow: (_power, "**"),
}

COMPARE: Mapping[type[ast.cmpop], Callable[[Any, Any], bool]] = {
    ast.Eq: equal,
    ast.NotEq: _differ,
    ast.Lt: _below,
    ast.LtE: _at_most,
    ast.Gt: _above,
    ast.GtE: _at_least,
    ast.In: _contained,
    ast.NotIn: _missing_from,
}

OPPOSITE: Mapping[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Lt: ast.GtE,
    ast.GtE: ast.Lt,
    ast.Gt: ast.LtE,
    ast.LtE: ast.Gt,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
}
