"""Slots: what is going on in each of them, posted by the process that runs a study for those who watch it.

The board is one small file in the study's folder, replaced a few times a second at most and removed at the end. Nothing
rests on it: a board that is missing, old or broken shows no slots.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

BOARD = "slots.json"


@dataclass(frozen=True, slots=True)
class SlotState:
    """One slot now.

    Attributes:
        slot: Its id.
        gpus: Its GPUs' UUIDs.
        trial: What runs in it; None while nothing does.
        pid: The leader of the trial's process group.
        since: When the trial began, seconds since the epoch.
        limit_s: How long it may take; None for as long as it likes.
    """

    slot: str
    gpus: tuple[str, ...] = ()
    trial: int | None = None
    pid: int | None = None
    since: float | None = None
    limit_s: float | None = None


def post(directory: Path, slots: Sequence[SlotState]) -> None:
    """Replace the board; a disk that is full, or a folder that is gone, is not its business."""
    draft = directory / f".{BOARD}.{os.getpid()}"
    with contextlib.suppress(OSError):
        draft.write_text(json.dumps([asdict(slot) for slot in slots]), encoding="utf-8")
        os.replace(draft, directory / BOARD)


def withdraw(directory: Path) -> None:
    """Remove the board."""
    with contextlib.suppress(OSError):
        (directory / BOARD).unlink(missing_ok=True)


def posted(directory: Path) -> list[SlotState]:
    """What the board says; nothing of one that is missing or broken."""
    try:
        rows = json.loads((directory / BOARD).read_text(encoding="utf-8"))
        return [SlotState(**{**row, "gpus": tuple(row["gpus"])}) for row in rows]
    except (OSError, ValueError, TypeError, LookupError):
        return []
