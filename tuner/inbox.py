"""Inbox: how other processes ask the one that writes to a study for something (`tuner stop`, `enqueue`, `retry`).

A request is a JSON file that appears in `<study>/inbox` by an atomic rename; the writer takes it up within half a
second, in the order of the names, and removes it. When nobody writes, the request waits for the next session.
"""

from __future__ import annotations

import json
import os
import time
import uuid
from pathlib import Path
from typing import Any


def post(directory: Path, request: dict[str, Any]) -> None:
    """Leave a request: `{"verb": "stop"|"enqueue"|"retry", ...}`."""
    folder = directory / "inbox"
    folder.mkdir(exist_ok=True)
    name = f"{time.time_ns():020d}-{uuid.uuid4().hex[:8]}"
    draft = folder / f".{name}"
    draft.write_text(json.dumps(request), encoding="utf-8")
    os.replace(draft, folder / f"{name}.json")


def take(directory: Path) -> list[dict[str, Any]]:
    """The waiting requests, oldest first; they are removed. An unreadable one is dropped."""
    folder = directory / "inbox"
    if not folder.is_dir():
        return []
    requests = []
    for file in sorted(folder.glob("[0-9]*.json")):
        try:
            request = json.loads(file.read_text(encoding="utf-8"))
        except ValueError:
            request = None
        file.unlink(missing_ok=True)
        if isinstance(request, dict):
            requests.append(request)
    return requests
