"""What the shell proposes when somebody presses Tab: names of studies, numbers of trials, words that a verb knows.

Run at every press, so nothing heavy is imported, and never an error: where there is nothing to propose, nothing is.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from urllib.parse import quote

import typer

from tuner.errors import TunerError
from tuner.folders import find_study, list_studies

_MOST = 500
_BUSY_S = 0.2

Completions = list[str | tuple[str, str]]


def study_names(incomplete: str) -> Completions:
    """The studies under `.tuner/`."""
    return [folder.name for folder in list_studies() if folder.name.startswith(incomplete)]


def trial_numbers(*states: str) -> Callable[[typer.Context, str], Completions]:
    """Numbers of trials in some states, in all without any, the last ones first, each with its state.

    They are those of the study on the line, or of the latest.
    """

    def complete(ctx: typer.Context, incomplete: str) -> Completions:
        try:
            folder = find_study(ctx.params.get("study"))
            return [(str(number), state) for number, state in _trials(folder, states, incomplete)]
        except (TunerError, sqlite3.Error, OSError):
            return []

    return complete


def _trials(folder: Path, states: Sequence[str], incomplete: str) -> list[tuple[int, str]]:
    file = folder.resolve() / "study.db"
    connection = sqlite3.connect(f"file:{quote(str(file))}?mode=ro", uri=True, timeout=_BUSY_S)
    try:
        among = f"AND state IN ({', '.join('?' for _ in states)})" if states else ""
        query = f"SELECT trial, state FROM trials WHERE CAST(trial AS TEXT) LIKE ? {among} ORDER BY trial DESC LIMIT ?"
        digits = incomplete if incomplete.isdigit() else ""
        return connection.execute(query, (f"{digits}%", *states, _MOST)).fetchall()
    finally:
        connection.close()


def words(*known: str) -> Callable[[str], Completions]:
    """Some of the words that there are."""
    return lambda incomplete: [word for word in known if word.startswith(incomplete)]
