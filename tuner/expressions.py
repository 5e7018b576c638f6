"""Conditions, restrictions and formulas: a small language, parsed through `ast`, compiled to closures, never `eval`ed.

What may stand in an expression: comparisons (chained too), `+ - * / // % **`, `and or not`, `in`, `not in`,
`x if c else y`, lists, numbers, strings, True, False, None, names (`optimizer.lr` is one name), subscripts
(`mix['web']`, `keep[0]`) and the functions of `tuner.operators`. A name that is no identifier, or a word of the
language, goes between backquotes: `` `learning-rate` <= `lambda` ``.

Arithmetic is on numbers only, powers are bounded, and text and nesting are limited: no expression can take long or run
anything. Two numbers of which one is a float compare as equal when they agree to 1e-12 relative or 1e-15
absolute, so that `0.1 + 0.2 == 0.3` and `0.1 + 0.2 <= 0.3` hold.
"""

from __future__ import annotations

import ast
import keyword
import math
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tuner.errors import SpaceError
from tuner.operators import BINARY, COMPARE, FUNCTIONS, OPPOSITE, close, equal, number, show

MAX_LENGTH = 10_000
MAX_DEPTH = 100

Closure = Callable[[Mapping[str, Any]], Any]

_UNDEFINED = (ArithmeticError, ValueError)
"""What arithmetic raises outside its domain: the expression has no value there, so it does not hold."""


class ExpressionError(SpaceError):
    """A text that is no expression, or an expression that has no value for these names."""


class _MissingNameError(Exception):
    """A name that the mapping lacks; the caller decides what that means."""


@dataclass(frozen=True, slots=True, eq=False, repr=False)
class Expression:
    """A parsed expression; make one with `parse`.

    Attributes:
        text: As written.
        names: The names it reads.
    """

    text: str
    names: frozenset[str]
    _value: Closure
    _margin: Closure

    def evaluate(self, env: Mapping[str, Any]) -> Any:
        """The value, given the names' values.

        Raises:
            ExpressionError: A name is missing, or the values do not fit the operators.
        """
        try:
            return self._value(env)
        except _MissingNameError as missing:
            raise self._missing(missing, env) from None
        except (TypeError, LookupError, *_UNDEFINED) as error:
            raise self._no_value(error) from None

    def holds(self, env: Mapping[str, Any]) -> bool:
        """Whether it is true; False where a name is missing or arithmetic is undefined (`1 / 0`, `log(-1)`).

        Raises:
            ExpressionError: The values do not fit the operators, as in `'a' < 3`.
        """
        try:
            return bool(self._value(env))
        except _MissingNameError:
            return False
        except _UNDEFINED:
            return False
        except (TypeError, LookupError) as error:
            raise self._no_value(error) from None

    def margin(self, env: Mapping[str, Any]) -> float:
        """By how much it holds: >= 0 exactly when it does, up to the strictness of `<` and `>`.

        `a <= b` gives b - a, `and` the smallest, `or` the largest, `==` -|a - b|; what is not a number gives +1 or -1.
        -inf where arithmetic is undefined.

        Raises:
            ExpressionError: A name is missing, or the values do not fit the operators.
        """
        try:
            margin = float(self._margin(env))
        except _MissingNameError as missing:
            raise self._missing(missing, env) from None
        except _UNDEFINED:
            return -math.inf
        except (TypeError, LookupError) as error:
            raise self._no_value(error) from None
        return margin if margin == margin else -math.inf

    def equation(self) -> tuple[str, Expression] | None:
        """The name and the other side of `name == ...`, when the whole expression is that; None otherwise."""
        source, quoted = _unquote(re.sub(r"[\r\n\t]", " ", self.text))
        tree = ast.parse(source, mode="eval").body
        if not (isinstance(tree, ast.Compare) and len(tree.ops) == 1 and isinstance(tree.ops[0], ast.Eq)):
            return None
        sides = [tree.left, tree.comparators[0]]
        for side, other in (sides, reversed(sides)):
            compiler = _Compiler(self.text, source, quoted)
            if isinstance(side, (ast.Name, ast.Attribute)):
                compiler.value(side)
                (name,) = compiler.names
                compiler.names.clear()
                value, margin = compiler.value(other), compiler.margin(other, False)
                if name not in compiler.names:
                    return name, Expression(self.text, frozenset(compiler.names), value, margin)
        return None

    def _missing(self, missing: _MissingNameError, env: Mapping[str, Any]) -> ExpressionError:
        known = ", ".join(sorted(map(str, env))) or "none"
        return ExpressionError(f'every name in "{self.text}" needs a value, but "{missing}" has none; known: {known}')

    def _no_value(self, error: Exception) -> ExpressionError:
        return ExpressionError(f'"{self.text}" has no value here: {error}')

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expression) and self.text == other.text

    def __hash__(self) -> int:
        return hash(self.text)

    def __repr__(self) -> str:
        return f"parse({self.text!r})"

    def __str__(self) -> str:
        return self.text

    def __reduce__(self) -> tuple[Callable[[str], Expression], tuple[str]]:
        return parse, (self.text,)


def parse(text: str) -> Expression:
    """The expression that `text` writes.

    Raises:
        ExpressionError: The text is no expression; the message names the column (from 1) and what is allowed.
    """
    if not isinstance(text, str):
        raise ExpressionError(f"an expression is a text, but got {show(text)}")
    text = text.strip()
    if not text:
        raise ExpressionError("an expression needs at least a name or a number, but got an empty text")
    if len(text) > MAX_LENGTH:
        raise ExpressionError(
            f'an expression has at most {MAX_LENGTH:,} characters, but got {len(text):,}: "{text[:40]}..."'
        )
    source, quoted = _unquote(re.sub(r"[\r\n\t]", " ", text))
    compiler = _Compiler(text, source, quoted)
    tree = compiler.tree()
    value, margin = compiler.value(tree), compiler.margin(tree, False)
    return Expression(text, frozenset(compiler.names), value, margin)


_ALLOWED = (
    "allowed are comparisons, + - * / // % **, and, or, not, in, x if c else y, lists, numbers, strings, names, "
    f"subscripts, and the functions {', '.join(FUNCTIONS)}"
)

_INSTEAD = {
    ast.BitAnd: "write `and` instead of `&`",
    ast.BitOr: "write `or` instead of `|`",
    ast.BitXor: "write `**` instead of `^`",
    ast.Is: "write `==` instead of `is`",
    ast.IsNot: "write `!=` instead of `is not`",
    ast.Invert: "write `not` instead of `~`",
}

_RESERVED = frozenset(keyword.kwlist) - {"and", "or", "not", "in", "is", "if", "else", "True", "False", "None"}


_QUOTED = re.compile(r"""('(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")|`([^`]*)`""")
_STAND_IN = "\u01c1"  # a letter that starts an identifier and that nobody types


def _unquote(text: str) -> tuple[str, dict[str, str]]:
    """The text with each `quoted name` replaced by an identifier of the same width, and what each stands for."""
    quoted: dict[str, str] = {}

    def replace(match: re.Match[str]) -> str:
        if match[1] is not None:
            return match[0]
        name = (_STAND_IN + str(len(quoted))).ljust(len(match[0]), _STAND_IN)
        quoted[name] = match[2]
        return name

    return _QUOTED.sub(replace, text), quoted


class _Compiler:
    """One pass from the text of an expression to its closures."""

    def __init__(self, text: str, source: str, quoted: dict[str, str]) -> None:
        self.text = text
        self.source = source
        self.quoted = quoted
        self.names: set[str] = set()

    def error(self, column: int, message: str) -> ExpressionError:
        shown = self.text if len(self.text) <= 80 else self.text[:77] + "..."
        return ExpressionError(f'cannot read the expression "{shown}": column {column}: {message}')

    def refuse(self, node: ast.AST, message: str) -> ExpressionError:
        offset = getattr(node, "col_offset", 0)
        column = len(self.source.encode("utf-8", "replace")[:offset].decode("utf-8", "ignore")) + 1
        return self.error(column, message)

    def tree(self) -> ast.expr:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(self.source, mode="eval").body
        except SyntaxError as error:
            raise self.error(max(error.offset or 1, 1), self._syntax(error)) from None
        except (ValueError, MemoryError, RecursionError, OverflowError) as error:
            raise self.error(1, f"it is nested too deeply or holds an unreadable number ({error})") from None
        level, depth = [tree], 0
        while level:
            depth += 1
            if depth > MAX_DEPTH:
                raise self.refuse(level[0], f"nesting goes at most {MAX_DEPTH} deep; use sum([...]) or several entries")
            level = [child for node in level for child in ast.iter_child_nodes(node) if isinstance(child, ast.expr)]
        return tree

    def _syntax(self, error: SyntaxError) -> str:
        words = _RESERVED.intersection(re.findall(r"\w+", self.source))
        if words:
            word = min(words)
            return (
                f"`{word}` is a word of the language; a parameter of that name is written between backquotes: `{word}`"
            )
        if re.search(r"(?<![=<>!])=(?!=)", self.source):
            return "`=` is no comparison; write `==`"
        if "&&" in self.source or "||" in self.source:
            return "write `and` and `or`"
        return f"{error.msg}; {_ALLOWED}"

    def value(self, node: ast.expr) -> Closure:
        """The closure that gives the node's value."""
        match node:
            case ast.Constant():
                return self._constant(node)
            case ast.Name() | ast.Attribute():
                return self._name(node)
            case ast.BinOp():
                return self._binary(node)
            case ast.UnaryOp():
                return self._unary(node)
            case ast.BoolOp():
                return self._boolean(node)
            case ast.Compare():
                return self._compare(node)
            case ast.IfExp():
                test, yes, no = self.value(node.test), self.value(node.body), self.value(node.orelse)
                return lambda env: yes(env) if test(env) else no(env)
            case ast.List() | ast.Tuple():
                items = [self.value(item) for item in node.elts]
                return lambda env: [item(env) for item in items]
            case ast.Subscript():
                return self._subscript(node)
            case ast.Call():
                return self._call(node)
        raise self.refuse(node, f"{type(node).__name__} is not allowed; {_ALLOWED}")

    def _constant(self, node: ast.Constant) -> Closure:
        constant = node.value
        if not (constant is None or isinstance(constant, (bool, int, float, str))):
            raise self.refuse(node, f"{show(constant)} is neither a number nor a string; {_ALLOWED}")
        return lambda env: constant

    def _name(self, node: ast.expr) -> Closure:
        parts: list[str] = []
        base = node
        while isinstance(base, ast.Attribute):
            parts.append(base.attr)
            base = base.value
        if not isinstance(base, ast.Name):
            raise self.refuse(node, f"a dot joins names only, as in optimizer.lr; {_ALLOWED}")
        parts.append(base.id)
        name = ".".join(self.quoted.get(part, part) for part in reversed(parts))
        self.names.add(name)

        def look_up(env: Mapping[str, Any]) -> Any:
            try:
                return env[name]
            except KeyError:
                raise _MissingNameError(name) from None

        return look_up

    def _binary(self, node: ast.BinOp) -> Closure:
        if type(node.op) not in BINARY:
            hint = _INSTEAD.get(type(node.op), _ALLOWED)
            raise self.refuse(node, f"the operator {type(node.op).__name__} is not allowed; {hint}")
        apply, symbol = BINARY[type(node.op)]
        left, right = self.value(node.left), self.value(node.right)

        def binary(env: Mapping[str, Any]) -> Any:
            a, b = left(env), right(env)
            if not (isinstance(a, (int, float)) and isinstance(b, (int, float))):
                a, b = number(a, symbol), number(b, symbol)
            return apply(a, b)

        return binary

    def _unary(self, node: ast.UnaryOp) -> Closure:
        if isinstance(node.op, ast.Invert):
            raise self.refuse(node, _INSTEAD[ast.Invert])
        operand = self.value(node.operand)
        if isinstance(node.op, ast.Not):
            return lambda env: not operand(env)
        if isinstance(node.op, ast.USub):
            return lambda env: -number(operand(env), "-")
        return lambda env: +number(operand(env), "+")

    def _boolean(self, node: ast.BoolOp) -> Closure:
        terms = [self.value(term) for term in node.values]
        if len(terms) == 2:
            a, b = terms
            if isinstance(node.op, ast.And):
                return lambda env: bool(a(env)) and bool(b(env))
            return lambda env: bool(a(env)) or bool(b(env))
        if isinstance(node.op, ast.And):
            return lambda env: all(term(env) for term in terms)
        return lambda env: any(term(env) for term in terms)

    def _operators(self, node: ast.Compare) -> list[type[ast.cmpop]]:
        for op in node.ops:
            if type(op) not in COMPARE:
                raise self.refuse(node, _INSTEAD.get(type(op), _ALLOWED))
        return [type(op) for op in node.ops]

    def _compare(self, node: ast.Compare) -> Closure:
        tests = [COMPARE[op] for op in self._operators(node)]
        first, *rest = [self.value(side) for side in (node.left, *node.comparators)]
        if len(tests) == 1:
            test, second = tests[0], rest[0]
            return lambda env: test(first(env), second(env))

        def chain(env: Mapping[str, Any]) -> bool:
            left = first(env)
            for test, side in zip(tests, rest, strict=True):
                right = side(env)
                if not test(left, right):
                    return False
                left = right
            return True

        return chain

    def _subscript(self, node: ast.Subscript) -> Closure:
        if isinstance(node.slice, (ast.Slice, ast.Tuple)):
            raise self.refuse(node.slice, "a subscript is one index or one key, as in keep[0] or mix['web']")
        container, index = self.value(node.value), self.value(node.slice)

        def subscript(env: Mapping[str, Any]) -> Any:
            held, key = container(env), index(env)
            if isinstance(held, Mapping):
                if key not in held:
                    raise LookupError(f"{show(key)} is none of {show(list(held))}")
                return held[key]
            if not isinstance(held, (list, tuple)) or not isinstance(key, int):
                raise TypeError(f"cannot take {show(key)} from {show(held)}")
            if not -len(held) <= key < len(held):
                raise LookupError(f"index {key} is outside of a list of {len(held)}")
            return held[key]

        return subscript

    def _call(self, node: ast.Call) -> Closure:
        if not isinstance(node.func, ast.Name) or node.func.id not in FUNCTIONS:
            called = ast.unparse(node.func) if isinstance(node.func, (ast.Name, ast.Attribute)) else "this"
            raise self.refuse(node, f"{called} is no function here; functions are {', '.join(FUNCTIONS)}")
        name = node.func.id
        function, fewest, most = FUNCTIONS[name]
        if node.keywords or not fewest <= len(node.args) <= most:
            takes = f"{fewest}" if fewest == most else f"{fewest} to {most}"
            raise self.refuse(
                node, f"{name} takes {takes} plain arguments, but got {len(node.args) + len(node.keywords)}"
            )
        arguments = [self.value(argument) for argument in node.args]
        if len(arguments) == 1:
            only = arguments[0]
            return lambda env: function(only(env))
        return lambda env: function(*(argument(env) for argument in arguments))

    def margin(self, node: ast.expr, negate: bool) -> Closure:
        """The closure that gives the margin of the node, or of its negation (pushed down to the comparisons)."""
        match node:
            case ast.UnaryOp(op=ast.Not()):
                return self.margin(node.operand, not negate)
            case ast.BoolOp():
                return _margin_of_terms(
                    [self.margin(term, negate) for term in node.values], isinstance(node.op, ast.And) is not negate
                )
            case ast.IfExp():
                test, yes, no = self.value(node.test), self.margin(node.body, negate), self.margin(node.orelse, negate)
                return lambda env: yes(env) if test(env) else no(env)
            case ast.Compare():
                operators = self._operators(node)
                sides = [self.value(side) for side in (node.left, *node.comparators)]
                pairs = [
                    _margin_of_pair(OPPOSITE[op] if negate else op, sides[i], sides[i + 1])
                    for i, op in enumerate(operators)
                ]
                return pairs[0] if len(pairs) == 1 else _margin_of_terms(pairs, not negate)
        value = self.value(node)
        return lambda env: 1.0 if bool(value(env)) is not negate else -1.0


def _margin_of_pair(op: type[ast.cmpop], left: Closure, right: Closure) -> Closure:
    test = COMPARE[op]
    sign = {ast.Lt: 1.0, ast.LtE: 1.0, ast.Gt: -1.0, ast.GtE: -1.0}.get(op)

    def margin(env: Mapping[str, Any]) -> float:
        a, b = left(env), right(env)
        numbers = isinstance(a, (int, float)) and isinstance(b, (int, float))
        if numbers and sign is not None:
            return 0.0 if close(a, b) else sign * (b - a)
        if numbers and op is ast.Eq and not (isinstance(a, bool) and isinstance(b, bool)):
            return 0.0 if equal(a, b) else -abs(a - b)
        return 1.0 if test(a, b) else -1.0

    return margin


def _margin_of_terms(terms: Sequence[Closure], conjunction: bool) -> Closure:
    """min (and) or max (or) of the terms; one after the deciding term may be undefined, as `and` would not reach it."""
    sign = 1.0 if conjunction else -1.0

    def margin(env: Mapping[str, Any]) -> float:
        worst = math.inf
        for term in terms:
            try:
                worst = min(worst, sign * term(env))
            except (_MissingNameError, TypeError, LookupError, *_UNDEFINED):
                if worst >= 0:
                    raise
        return sign * worst

    return margin
