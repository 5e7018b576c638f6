"""YAML 1.2 text to plain data with the line of every key, and plain data back to text.

The text may come from anyone. ruamel.yaml only scans and parses; the nodes are built, resolved and expanded here, under
limits on size, depth and number, so that neither deep nesting nor a file of aliases of aliases can take the memory, and
no tag can construct anything. Scalars follow the YAML 1.2 core schema (`1e-5` is a number; `no`, `on` and `12:30` are
text). JSON is YAML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from tuner.errors import Problem, SweepError
from tuner.sweeps.findings import Path, quote, render

MAX_BYTES = 1 << 20
MAX_NODES = 50_000
MAX_DEPTH = 40
MAX_DIGITS = 400

Data = Any
"""None, bool, int, float, str, list of Data, or dict of str to Data."""

_INTEGER = re.compile(r"[-+]?[0-9]+\Z|0o[0-7]+\Z|0x[0-9a-fA-F]+\Z")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?\Z")
_INFINITE = re.compile(r"([-+]?)\.(?:inf|Inf|INF)\Z")
_WORDS = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
    **dict.fromkeys((".nan", ".NaN", ".NAN"), float("nan")),
}
_TAG = "tag:yaml.org,2002:"
_MERGE = "<<"


@dataclass(frozen=True, slots=True)
class Document:
    """What a text holds.

    Attributes:
        data: Plain Python values.
        lines: (line, column), both from 1, of every key and list entry, by path.
    """

    data: Data
    lines: Mapping[Path, tuple[int, int]]

    def line(self, path: Path) -> int | None:
        """Return the line of `path`, or of the nearest place above it that the text holds."""
        for length in range(len(path), -1, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]][0]
        return None


@dataclass(slots=True)
class _Node:
    kind: Literal["scalar", "list", "mapping"]
    line: int
    column: int
    value: Data = None
    text: str = ""  # a scalar as written: keys are text whatever they look like
    merge: bool = False  # the plain scalar <<
    items: list[_Node] = field(default_factory=list)
    pairs: list[tuple[_Node, _Node]] = field(default_factory=list)
    closed: bool = False


class _Refusal(Exception):  # noqa: N818 - becomes a SweepError
    def __init__(self, message: str, line: int | None, path: Path = ()) -> None:
        super().__init__(message)
        self.message, self.line, self.path = message, line, path


def read_text(text: str, source: str = "sweep") -> Document:
    """Return what the YAML or JSON `text` holds.

    Args:
        text: The whole file.
        source: Its name, for messages.

    Raises:
        SweepError: It is not one YAML document, is larger or deeper than the limits, repeats a key, or holds a tag or a
            number that plain data cannot.
    """
    if len(text) > MAX_BYTES or len(text.encode("utf-8", "replace")) > MAX_BYTES:
        raise SweepError([Problem("$", f"must be at most {MAX_BYTES:,} bytes, but has more; shorten it")], source)
    try:
        root = _Composer().compose(_events(text))
        return _Expansion().document(root)
    except _Refusal as refused:
        raise SweepError([Problem(render(refused.path), refused.message, refused.line)], source) from None


def read_value(text: str) -> Data:
    """Return the plain data of a one-line value, as after `-P lr=`.

    Raises:
        SweepError: As `read_text`.
    """
    text = text.strip()
    if text.startswith(("%", "@", "`")):  # YAML keeps these for itself
        return text
    return read_text(text).data if text else ""


def _events(text: str) -> Iterator[Any]:
    from ruamel.yaml import YAML
    from ruamel.yaml.error import YAMLError

    if text.lstrip("\ufeff \t\r\n").startswith("{"):  # tabs may indent JSON, not YAML
        text = re.sub(r"(?m)^[\t ]+", lambda match: " " * len(match.group()), text)
    yaml = YAML(typ="safe", pure=True)
    try:
        yield from yaml.parse(text)
    except YAMLError as error:
        raise _syntax(error) from None
    except (ValueError, AttributeError, IndexError, TypeError, AssertionError, OverflowError, RecursionError) as error:
        # The scanner's own slips on broken input, such as an escape for a character that does not exist.
        raise _Refusal(f"must be valid YAML, but cannot be read ({error}); correct it", None) from None


def _syntax(error: Exception) -> _Refusal:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else None
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    if "\\t" in what:
        return _Refusal("must be indented with spaces, but has a tab; replace the tab by spaces", line)
    if "got '{'" in what:
        return _Refusal('must be valid YAML, but has a "{" inside [...]; put "${...}" in quotation marks', line)
    context = getattr(error, "context", None)
    where = f" {context}" if context else ""
    return _Refusal(f"must be valid YAML, but {what}{where}; correct the text here", line)


class _Composer:
    """Builds the one document's tree from events. Aliases are shared nodes, expanded later."""

    def __init__(self) -> None:
        self.anchors: dict[str, _Node] = {}
        self.stack: list[tuple[_Node, list[_Node]]] = []  # an open collection and its children so far
        self.root: _Node | None = None
        self.documents = self.nodes = 0

    def compose(self, events: Iterator[Any]) -> _Node:
        try:
            for event in events:
                self.take(event, type(event).__name__, event.start_mark.line + 1, event.start_mark.column + 1)
        except _Refusal as refusal:
            refusal.path = refusal.path or self.section()
            raise
        if self.root is None:
            raise _Refusal("must be a mapping, but the text is empty; see `tuner init` for a first sweep", 1)
        return self.root

    def section(self) -> Path:
        """Return the top-level key that was read last, as the place of a problem."""
        if not self.stack or self.stack[0][0].kind != "mapping" or not self.stack[0][1]:
            return ()
        children = self.stack[0][1]
        key = children[(len(children) - 1) // 2 * 2]
        return (key.text,) if key.kind == "scalar" else ()

    def take(self, event: Any, name: str, line: int, column: int) -> None:
        if name == "DocumentStartEvent":
            self.documents += 1
            if self.documents > 1:
                raise _Refusal("must be one document, but a second one starts; remove the '---'", line)
        elif name in ("SequenceEndEvent", "MappingEndEvent"):
            _close(*self.stack[-1])
            self.stack.pop()
        elif name in ("ScalarEvent", "AliasEvent", "SequenceStartEvent", "MappingStartEvent"):
            self.nodes += 1
            if self.nodes > MAX_NODES:
                raise _Refusal(f"must hold at most {MAX_NODES:,} values, but has more; shorten it", line)
            node = _node(event, name, self.anchors, line, column)
            if self.stack:
                self.stack[-1][1].append(node)
            else:
                self.root = node
            if name.endswith("StartEvent"):
                self.stack.append((node, []))
                if len(self.stack) > MAX_DEPTH:
                    raise _Refusal(f"must be nested at most {MAX_DEPTH} deep, but is deeper; flatten it", line)


def _node(event: Any, name: str, anchors: dict[str, _Node], line: int, column: int) -> _Node:
    if name == "AliasEvent":
        target = anchors.get(event.anchor)
        if target is None:
            raise _Refusal(f"unknown alias {quote('*' + event.anchor)}; define its anchor above", line)
        if not target.closed:
            raise _Refusal(f"alias {quote('*' + event.anchor)} must not stand inside its own anchor; remove it", line)
        return target
    tag = str(event.tag)[len(_TAG) :] if str(event.tag).startswith(_TAG) else event.tag and str(event.tag)
    if name == "ScalarEvent":
        plain = bool(event.implicit[0])
        node = _Node("scalar", line, column, _scalar(event.value, tag, plain, line), closed=True)
        node.text, node.merge = event.value, plain and event.value == _MERGE
    else:
        kind: Literal["list", "mapping"] = "list" if name == "SequenceStartEvent" else "mapping"
        if tag not in (None, "!", "seq" if kind == "list" else "map"):
            raise _Refusal(f"must be plain data, but has the tag {quote(tag)}; remove the tag", line)
        node = _Node(kind, line, column)
    if event.anchor is not None:
        anchors[event.anchor] = node
    return node


def _close(node: _Node, children: list[_Node]) -> None:
    node.closed = True
    if node.kind == "list":
        node.items = children
        return
    seen: dict[str, int] = {}
    for key_node, value in zip(children[::2], children[1::2], strict=True):
        if key_node.kind != "scalar":
            raise _Refusal("a key must be text, but got a list or mapping; write a plain key", key_node.line)
        text = _joined(key_node.text, key_node.line)
        if text in seen:
            raise _Refusal(
                f"a key must stand once, but {quote(text)} stands on line {seen[text]} too; remove one", key_node.line
            )
        seen[text] = key_node.line
        node.pairs.append((key_node, value))


def _scalar(text: str, tag: str | None, plain: bool, line: int) -> Data:
    if tag is None:
        return _resolve(text, line) if plain else _joined(text, line)
    if tag in ("!", "str"):
        return _joined(text, line)
    value = _resolve(text, line)
    wanted = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}.get(tag)
    if wanted is None:
        raise _Refusal(f"must be plain data, but has the tag {quote(tag)}; remove the tag", line)
    if not isinstance(value, wanted) or (isinstance(value, bool) and tag != "bool"):
        raise _Refusal(f"must be a YAML {tag}, as its tag says, but got {quote(text)}; remove the tag", line)
    return float(value) if tag == "float" and value is not None else value


def _resolve(text: str, line: int) -> Data:
    """Return the value of a plain scalar by the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        if len(text) > MAX_DIGITS:
            raise _Refusal(f"a number must have at most {MAX_DIGITS} digits, but has {len(text):,}; round it", line)
        return int(text, 8 if text.startswith("0o") else 16 if text.startswith("0x") else 10)
    if len(text) <= MAX_DIGITS and _FLOAT.match(text):
        return float(text)
    if infinite := _INFINITE.match(text):
        return float(infinite.group(1) + "inf")
    return _joined(text, line)


def _joined(text: str, line: int) -> str:
    """Return `text` with the surrogate pairs of JSON's escapes joined."""
    if text.isascii() or not any("\ud800" <= c <= "\udfff" for c in text):
        return text
    try:
        return text.encode("utf-16", "surrogatepass").decode("utf-16")
    except UnicodeDecodeError:
        raise _Refusal(
            "text must be valid Unicode, but holds half a surrogate pair; correct the escape", line
        ) from None


class _Expansion:
    """Turns the tree into data, one copy for each alias, and stops at the limits."""

    def __init__(self) -> None:
        self.lines: dict[Path, tuple[int, int]] = {}
        self.count = 0
        self.depth = 0

    def document(self, root: _Node) -> Document:
        data = self.value(root, ())
        self.lines[()] = (root.line, root.column)
        return Document(data, self.lines)

    def value(self, node: _Node, path: Path) -> Data:
        self.enter(node, path)
        if node.kind == "scalar":
            value = node.value
        elif node.kind == "list":
            value = [self.item(item, (*path, index), item) for index, item in enumerate(node.items)]
        else:
            value = self.mapping(node, path)
        self.depth -= 1
        return value

    def enter(self, node: _Node, path: Path) -> None:
        self.count += 1
        self.depth += 1
        if self.count > MAX_NODES:
            raise _Refusal(
                f"must hold at most {MAX_NODES:,} values once its aliases are written out, but has more; "
                "remove aliases of aliases",
                node.line,
                path,
            )
        if self.depth > MAX_DEPTH:
            raise _Refusal(f"must be nested at most {MAX_DEPTH} deep, but is deeper; flatten it", node.line, path)

    def item(self, node: _Node, path: Path, place: _Node) -> Data:
        self.lines.setdefault(path, (place.line, place.column))
        return self.value(node, path)

    def mapping(self, node: _Node, path: Path) -> dict[str, Data]:
        """Return the mapping: its own keys, then those of `<<`, earlier merges first."""
        merges: list[_Node] = []
        result: dict[str, Data] = {}
        for key, value in node.pairs:
            if key.merge:
                merges.extend(value.items if value.kind == "list" else [value])
            else:
                name = _joined(key.text, key.line)
                result[name] = self.item(value, (*path, name), key)
        for merged in merges:
            if merged.kind != "mapping":
                raise _Refusal("<< must merge a mapping, but got something else; give it an alias", node.line, path)
            self.enter(merged, path)
            for name, value in self.mapping(merged, path).items():
                result.setdefault(name, value)
            self.depth -= 1
        return result


_PLAIN_TEXT = re.compile(r"[A-Za-z_$/.][\w ./+*=<>()$-]*\Z", re.ASCII)


def dump_yaml(data: Mapping[str, Data]) -> str:
    """Return `data` as YAML: two levels in block style, the rest in flow style; `read_text` gives it back exactly."""
    lines: list[str] = []
    for key, value in data.items():
        if isinstance(value, Mapping) and value:
            lines.append(f"{_text(key)}:")
            lines.extend(f"  {_text(inner)}: {_flow(item)}" for inner, item in value.items())
        else:
            lines.append(f"{_text(key)}: {_flow(value)}")
    return "\n".join(lines) + "\n" if lines else "{}\n"


def _flow(value: Data) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_text(str(key))}: {_flow(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_flow(item) for item in value) + "]"
    if isinstance(value, float):
        text = repr(value)
        if text in ("nan", "inf", "-inf"):
            return "." + text if text != "-inf" else "-.inf"
        return text.replace("e", ".0e") if "e" in text and "." not in text else text  # YAML 1.1 readers need the dot
    return _text(value) if isinstance(value, str) else json.dumps(value)


def _text(text: str) -> str:
    """Return a scalar that reads back as this text, quoted only where it must be."""
    plain = _PLAIN_TEXT.match(text) and not text.endswith(" ") and text not in _YAML_11_WORDS
    if plain and _resolve(text, 0) == text and text != _MERGE and not _FLOAT.match(text.replace("_", "")):
        return text
    quoted = json.dumps(text, ensure_ascii=not text.isprintable())
    return quoted.replace("\x7f", "\\u007f")


_YAML_11_WORDS = frozenset(
    variant for word in ("y", "n", "yes", "no", "on", "off") for variant in (word, word.capitalize(), word.upper())
)
