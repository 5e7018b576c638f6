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
from tuner.sweep_errors import Path, quote, render

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
    items: list[_Node] = field(default_factory=list)
    pairs: list[tuple[str, _Node, _Node, bool]] = field(default_factory=list)  # key, its node, value, is it a merge
    closed: bool = False


class _Refused(Exception):
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
        root = _compose(_events(text))
        return _Expansion().document(root)
    except _Refused as refused:
        raise SweepError([Problem(render(refused.path), refused.message, refused.line)], source) from None


def read_value(text: str) -> Data:
    """Return the plain data of a one-line value, as after `-P lr=`.

    Raises:
        SweepError: As `read_text`.
    """
    return read_text(text).data if text.strip() else ""


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
        raise _Refused(f"must be valid YAML, but cannot be read ({error}); correct it", None) from None


def _syntax(error: Exception) -> _Refused:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    line = mark.line + 1 if mark is not None else None
    what = getattr(error, "problem", None) or str(error).splitlines()[0]
    if "\\t" in what:
        return _Refused("must be indented with spaces, but has a tab; replace the tab by spaces", line)
    context = getattr(error, "context", None)
    where = f" {context}" if context else ""
    return _Refused(f"must be valid YAML, but {what}{where}; correct the text here", line)


def _compose(events: Iterator[Any]) -> _Node:
    """Return the one document's tree. Aliases are shared nodes, expanded later."""
    anchors: dict[str, _Node] = {}
    stack: list[tuple[_Node, list[_Node]]] = []  # an open collection and its children so far
    root: _Node | None = None
    documents = nodes = 0
    for event in events:
        name = type(event).__name__
        line, column = event.start_mark.line + 1, event.start_mark.column + 1
        if name == "DocumentStartEvent":
            documents += 1
            if documents > 1:
                raise _Refused("must be one document, but a second one starts; remove the '---'", line)
            continue
        if name in ("SequenceEndEvent", "MappingEndEvent"):
            node, children = stack.pop()
            _close(node, children)
            continue
        if name not in ("ScalarEvent", "AliasEvent", "SequenceStartEvent", "MappingStartEvent"):
            continue
        nodes += 1
        if nodes > MAX_NODES:
            raise _Refused(f"must hold at most {MAX_NODES:,} values, but has more; shorten it", line)
        node = _node(event, name, anchors, line, column)
        if stack:
            stack[-1][1].append(node)
        else:
            root = node
        if name.endswith("StartEvent"):
            stack.append((node, []))
            if len(stack) > MAX_DEPTH:
                raise _Refused(f"must be nested at most {MAX_DEPTH} deep, but is deeper; flatten it", line)
    if root is None:
        raise _Refused("must be a mapping, but the text is empty; see `tuner init` for a first sweep", 1)
    return root


def _node(event: Any, name: str, anchors: dict[str, _Node], line: int, column: int) -> _Node:
    if name == "AliasEvent":
        target = anchors.get(event.anchor)
        if target is None:
            raise _Refused(f"unknown alias {quote('*' + event.anchor)}; define its anchor above", line)
        if not target.closed:
            raise _Refused(f"alias {quote('*' + event.anchor)} must not stand inside its own anchor; remove it", line)
        return target
    tag = str(event.tag)[len(_TAG) :] if str(event.tag).startswith(_TAG) else event.tag and str(event.tag)
    if name == "ScalarEvent":
        node = _Node("scalar", line, column, _scalar(event.value, tag, event.implicit[0], line), closed=True)
    else:
        kind: Literal["list", "mapping"] = "list" if name == "SequenceStartEvent" else "mapping"
        if tag not in (None, "!", "seq" if kind == "list" else "map"):
            raise _Refused(f"must be plain data, but has the tag {quote(tag)}; remove the tag", line)
        node = _Node(kind, line, column)
    if event.anchor is not None:
        anchors[event.anchor] = node
    if name == "ScalarEvent":
        node.pairs = [(event.value, node, node, event.implicit[0] and event.value == _MERGE)]
    return node


def _close(node: _Node, children: list[_Node]) -> None:
    node.closed = True
    if node.kind == "list":
        node.items = children
        return
    seen: dict[str, int] = {}
    for key_node, value in zip(children[::2], children[1::2], strict=True):
        if key_node.kind != "scalar":
            raise _Refused("a key must be text, but got a list or mapping; write a plain key", key_node.line)
        text, _, _, merge = key_node.pairs[0]
        text = _joined(text, key_node.line)
        if text in seen:
            raise _Refused(
                f"a key must stand once, but {quote(text)} stands on line {seen[text]} too; remove one", key_node.line
            )
        seen[text] = key_node.line
        node.pairs.append((text, key_node, value, merge))


def _scalar(text: str, tag: str | None, plain: bool, line: int) -> Data:
    if tag is None:
        return _resolve(text, line) if plain else _joined(text, line)
    if tag in ("!", "str"):
        return _joined(text, line)
    value = _resolve(text, line)
    wanted = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}.get(tag)
    if wanted is None:
        raise _Refused(f"must be plain data, but has the tag {quote(tag)}; remove the tag", line)
    if not isinstance(value, wanted) or (isinstance(value, bool) and tag != "bool"):
        raise _Refused(f"must be a YAML {tag}, as its tag says, but got {quote(text)}; remove the tag", line)
    return float(value) if tag == "float" else value


def _resolve(text: str, line: int) -> Data:
    """Return the value of a plain scalar by the YAML 1.2 core schema."""
    if text in _WORDS:
        return _WORDS[text]
    if _INTEGER.match(text):
        if len(text) > MAX_DIGITS:
            raise _Refused(f"a number must have at most {MAX_DIGITS} digits, but has {len(text):,}; round it", line)
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
        raise _Refused("text must be valid Unicode, but holds half a surrogate pair; correct the escape", line) from None


class _Expansion:
    """Turns the tree into data, one copy for each alias, and stops at the limits."""

    def __init__(self) -> None:
        self.lines: dict[Path, tuple[int, int]] = {}
        self.count = 0

    def document(self, root: _Node) -> Document:
        data = self.value(root, ())
        self.lines.setdefault((), (root.line, root.column))
        return Document(data, self.lines)

    def value(self, node: _Node, path: Path) -> Data:
        self.count += 1
        if self.count > MAX_NODES:
            raise _Refused(
                f"must hold at most {MAX_NODES:,} values once its aliases are written out, but has more; "
                "remove aliases of aliases",
                node.line,
                path,
            )
        if len(path) > MAX_DEPTH:
            raise _Refused(f"must be nested at most {MAX_DEPTH} deep, but is deeper; flatten it", node.line, path)
        if node.kind == "scalar":
            return node.value
        if node.kind == "list":
            result = []
            for index, item in enumerate(node.items):
                self.lines[*path, index] = (item.line, item.column)
                result.append(self.value(item, (*path, index)))
            return result
        return self.mapping(node, path)

    def mapping(self, node: _Node, path: Path) -> dict[str, Data]:
        """Return the mapping: its own keys, then those of `<<`, earlier merges first."""
        own: dict[str, Data] = {}
        merges = []
        for key, key_node, value, merge in node.pairs:
            if merge:
                merges.extend(value.items if value.kind == "list" else [value])
                continue
            self.lines[*path, key] = (key_node.line, key_node.column)
            own[key] = self.value(value, (*path, key))
        for merged in merges:
            if merged.kind != "mapping":
                raise _Refused("<< must merge a mapping, but got something else; give it an alias", node.line, path)
            before = dict(self.lines)
            for key, value in self.mapping(merged, path).items():
                own.setdefault(key, value)
            self.lines.update(before)
        return own


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
