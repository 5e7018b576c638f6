"""What `wandb` wrote offline, read without `wandb`.

An offline run leaves `wandb/offline-run-<time>-<id>/run-<id>.wandb`: a LevelDB log (32 KiB blocks of records, each with
a header of checksum (4 bytes), length (2), type (1)) of protocol buffer messages. Of these only three matter:

    Record         2: HistoryRecord   3: SummaryRecord
    HistoryRecord  1: HistoryItem     HistoryItem: 1: key, 2: nested key (repeated), 16: value as JSON
    SummaryRecord  1: SummaryItem (same layout as above: update)   2: SummaryItem (remove)

Keys that start with an underscore are W&B's own (`_step`, `_runtime`, ...). Checked against wandb 0.31.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_BLOCK = 32_768
_HEADER = 7
_FULL, _FIRST, _MIDDLE, _LAST = 1, 2, 3, 4


@dataclass(slots=True)
class WandbRun:
    """An offline run.

    Attributes:
        summary: Final values by name.
        history: Every logged value by name, in order.
    """

    summary: dict[str, Any] = field(default_factory=dict)
    history: dict[str, list[Any]] = field(default_factory=dict)


def read_offline_run(folder: Path) -> WandbRun | None:
    """The last run below `folder` (the value of WANDB_DIR); None when there is none that can be read."""
    root = folder / "wandb"
    if not root.is_dir():
        return None
    stores = sorted(root.glob("*run-*/run-*.wandb"), key=lambda path: path.stat().st_mtime)
    if not stores:
        return None
    run = WandbRun()
    with contextlib.suppress(ValueError, IndexError):  # a torn end: its writer was killed; what came before it counts
        for record in _records(stores[-1].read_bytes()):
            _apply(record, run)
    summary = stores[-1].parent / "files" / "wandb-summary.json"
    with contextlib.suppress(OSError, ValueError, AttributeError):  # offline runs have it only in some versions
        run.summary.update(_public(json.loads(summary.read_text(encoding="utf-8"))))
    return run


def _public(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in values.items() if not name.startswith("_")}


def _records(data: bytes) -> Iterator[bytes]:
    """The messages of a LevelDB log; stops at the first torn one."""
    position, parts = _HEADER, b""  # the file has a header of its own, as long as a record's
    while position + _HEADER <= len(data):
        left = _BLOCK - position % _BLOCK
        if left < _HEADER:
            position += left
            continue
        length = int.from_bytes(data[position + 4 : position + 6], "little")
        kind = data[position + 6]
        body = data[position + _HEADER : position + _HEADER + length]
        if kind not in (_FULL, _FIRST, _MIDDLE, _LAST) or len(body) < length:
            return
        position += _HEADER + length
        parts = body if kind in (_FULL, _FIRST) else parts + body
        if kind in (_FULL, _LAST):
            yield parts


def _fields(message: bytes) -> Iterator[tuple[int, bytes]]:
    """(field number, content) of the length-delimited fields of a message."""
    position = 0
    while position < len(message):
        tag, position = _varint(message, position)
        number, kind = tag >> 3, tag & 7
        if kind == 2:
            length, position = _varint(message, position)
            yield number, message[position : position + length]
            position += length
        elif kind == 0:
            _, position = _varint(message, position)
        elif kind in (1, 5):
            position += 8 if kind == 1 else 4
        else:
            raise ValueError(f"wire type must be 0, 1, 2 or 5, but got {kind}")


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 127) << shift
        position += 1
        if byte < 128:
            return value, position
        shift += 7


def _apply(record: bytes, run: WandbRun) -> None:
    for number, content in _fields(record):
        if number == 2:
            for item, body in _fields(content):
                if item == 1:
                    key, value = _item(body)
                    if not key.startswith("_"):
                        run.history.setdefault(key, []).append(value)
        elif number == 3:
            for item, body in _fields(content):
                key, value = _item(body)
                if item == 1 and not key.startswith("_"):
                    run.summary[key] = value
                elif item == 2:
                    run.summary.pop(key, None)


def _item(body: bytes) -> tuple[str, Any]:
    """(name, value); nested names are joined by dots."""
    key, nested, text = "", [], b"null"
    for number, content in _fields(body):
        if number == 1:
            key = content.decode()
        elif number == 2:
            nested.append(content.decode())
        elif number == 16:
            text = content
    return key or ".".join(nested), json.loads(text)
