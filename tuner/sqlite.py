"""SQLite files: how they are opened to be read, and what the errors of any database mean to people.

Without SQLAlchemy, whose import takes longer than reading ten thousand trials.
"""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path
from urllib.parse import quote

BUSY_S = 30.0
"""How long a statement waits for another process to end its own."""

SCHEMA_VERSION = 1
"""The version of the tables in `tuner.schema`."""


def sqlite_url(path: Path) -> str:
    """The database URL of a file."""
    return f"sqlite:///{path}"


def open_to_read(file: Path) -> sqlite3.Connection:
    """A connection that changes nothing.

    In a folder that cannot be written, SQLite opens a WAL database only when told that nobody changes it.
    """
    if not file.is_file():
        raise sqlite3.OperationalError(f"{file} does not exist")
    wal = file.with_name(f"{file.name}-wal")
    try:
        return _checked(f"file:{quote(str(file))}?mode=ro")
    except sqlite3.OperationalError:
        if os.access(file.parent, os.W_OK) or (wal.is_file() and wal.stat().st_size):
            raise
        return _checked(f"file:{quote(str(file))}?mode=ro&immutable=1")


def _checked(uri: str) -> sqlite3.Connection:
    connection = sqlite3.connect(uri, uri=True, timeout=BUSY_S, check_same_thread=False)
    try:
        connection.execute("select 1 from sqlite_master limit 1").close()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


RESTORE = "put a backup in its place, or save what can be read with `sqlite3 study.db .recover`"

_REMEDIES = {
    "disk is full": "free some space and run the same command again: every finished trial is kept",
    "disk I/O error": "see whether the disk is full or failing, then run the same command again",
    "No space left": "free some space and run the same command again: every finished trial is kept",
    "malformed": RESTORE,
    "not a database": RESTORE,
    "readonly": "make the study's folder writable, or read it with a verb that does not write",
    "unable to open": "check that the folder exists and that you may read and write it",
    "is locked": "another program writes to the file; close it and run the same command again",
    "does not exist": "check the name; a study is made with `tuner run SWEEP`",
    "connection failed": "check that the server runs, and the host, port, user and database in the URL",
}


def reason(error: Exception) -> str:
    """A database's error in one line, with what to do about it where that is known."""
    text = next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)
    if getattr(error, "connection_invalidated", False):
        return f"{text}; the connection is lost, run the same command again to continue"
    return next((f"{text}; {remedy}" for sign, remedy in _REMEDIES.items() if sign in text), text)
