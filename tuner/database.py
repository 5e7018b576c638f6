"""Database: how a storage is opened and locked: SQLite files in WAL mode, SQLite in memory, PostgreSQL by URL.

The lock of a study in PostgreSQL is an advisory lock of the writer's session, so it holds across hosts and ends with
the connection: a holder that was killed keeps nothing, and one whose host vanished keeps it for the minute that the
server needs to notice. It needs a connection of its own from end to end: a pooler in transaction mode does not give
one.
"""

from __future__ import annotations

import hashlib
import importlib.util
import os
import socket
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import NullPool

from tuner.errors import LockError, StoreError
from tuner.lock import WriterLock
from tuner.sqlite import BUSY_S, open_to_read

_CONNECT_S = 10
_CREATING_TABLES = 0x74756E6572  # "tuner": the advisory lock under which tables are made


def shown(url: str) -> str:
    """A URL as messages show it: without its password."""
    try:
        return sa.make_url(url).render_as_string(hide_password=True)
    except sa.exc.ArgumentError:
        return url


def open_engine(url: str, *, read_only: bool = False) -> sa.Engine:
    """The engine of a storage.

    Args:
        url: `sqlite:///file`, `sqlite://` (in memory), or `postgresql://user@host/database`.
        read_only: A SQLite file is then neither made nor changed.

    Raises:
        StoreError: The URL names no database that can be opened, or its driver is not installed.
    """
    try:
        parsed = sa.make_url(url)
        if parsed.get_backend_name() == "sqlite":
            return _sqlite(url, read_only=read_only)
        if parsed.get_backend_name() in ("postgresql", "postgres"):
            return _postgresql(parsed)
    except sa.exc.ArgumentError as error:
        raise StoreError(f"storage must be a database URL, but got {url!r}: {error}") from error
    raise StoreError(f"storage must be sqlite:///FILE or postgresql://HOST/DATABASE, but got {shown(url)!r}")


def _sqlite(url: str, *, read_only: bool) -> sa.Engine:
    # Not from SQLAlchemy's parts: a file name may hold `?` and `#`.
    name = url.partition("://")[2].removeprefix("/")
    if not name or name == ":memory:":
        creator = lambda: sqlite3.connect(":memory:", check_same_thread=False)  # noqa: E731
    elif read_only:
        creator = lambda: open_to_read(Path(name))  # noqa: E731
    else:
        creator = lambda: _read_write(name)  # noqa: E731
    return sa.create_engine("sqlite://", creator=creator, poolclass=NullPool)


def _read_write(name: str) -> sqlite3.Connection:
    """WAL lets readers go on while one process writes; NORMAL survives a killed process, though not a power cut."""
    # The loop's thinking thread uses the connection too, though never at the same time as the loop.
    connection = sqlite3.connect(name, timeout=BUSY_S, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode=WAL").close()
        connection.execute("PRAGMA synchronous=NORMAL").close()
    except sqlite3.Error:
        connection.close()
        raise
    return connection


def _postgresql(url: sa.URL) -> sa.Engine:
    if url.drivername in ("postgresql", "postgres"):
        url = url.set(drivername=f"postgresql+{_driver()}")
    arguments: dict[str, Any] = {}
    if url.get_driver_name() in ("psycopg", "psycopg2"):
        arguments = {"application_name": _holder_name(), "connect_timeout": _CONNECT_S}
    try:
        engine = sa.create_engine(url, poolclass=NullPool, connect_args=arguments)
    except ImportError as error:
        raise StoreError(f"storage {shown(str(url))!r} needs a driver that is not installed: {error}") from error
    return engine


def _driver() -> str:
    for name in ("psycopg", "psycopg2"):
        if importlib.util.find_spec(name) is not None:
            return name
    raise StoreError("a study on PostgreSQL needs the driver psycopg; install it with `pip install tuner[postgresql]`")


def _holder_name() -> str:
    return f"tuner {os.getpid()}@{socket.gethostname()}"[:63]


def create_tables(connection: sa.Connection, tables: sa.MetaData) -> None:
    """Make the tables that are missing, in one transaction; on PostgreSQL one process at a time."""
    if connection.dialect.name == "postgresql":
        connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_CREATING_TABLES)))
    tables.create_all(connection)
    connection.commit()


def claim(connection: sa.Connection, study: str, url: str) -> None:
    """Take the writer's lock of a study on PostgreSQL; the connection holds it until it is closed.

    Raises:
        LockError: Another connection holds it.
    """
    for setting, value in (("idle", 30), ("interval", 10), ("count", 3)):
        connection.exec_driver_sql(f"SET tcp_keepalives_{setting} = {value}")
    taken = connection.scalar(sa.select(sa.func.pg_try_advisory_lock(lock_key(study))))
    holder = None if taken else _holder(connection, study)
    connection.commit()
    if not taken:
        raise LockError(f"study {study!r} in {shown(url)} is being written by {holder}; wait for it, or end it")


def lock_beside(connection: sa.Connection, study: str) -> WriterLock | None:
    """The writer's lock of a study in a SQLite file that several folders may name: a file beside it; None in memory.

    Raises:
        LockError: Another process holds it.
    """
    name = next(row[2] for row in connection.exec_driver_sql("PRAGMA database_list") if row[1] == "main")
    file = Path(name)
    return WriterLock(file.parent, f"{file.name}.{lock_key(study) % 2**64:016x}.lock") if name else None


def lock_key(study: str) -> int:
    """The signed 64-bit number that stands for a study among a database's advisory locks."""
    return int.from_bytes(hashlib.sha256(f"tuner:{study}".encode()).digest()[:8], "big", signed=True)


def _holder(connection: sa.Connection, study: str) -> str:
    """Who holds the lock, by the name that its connection gives itself; the server shows it to the same role only."""
    key = lock_key(study) % 2**64
    query = sa.text(
        "SELECT a.application_name FROM pg_locks l JOIN pg_stat_activity a USING (pid) WHERE l.locktype = 'advisory' "
        "AND l.granted AND l.classid::bigint = :high AND l.objid::bigint = :low AND l.objsubid = 1"
    )
    name = connection.scalar(query, {"high": key >> 32, "low": key & 0xFFFFFFFF})
    pid, _, host = str(name or "").removeprefix("tuner ").partition("@")
    return f"process {pid} on {host}" if pid.isdigit() and host else "another process"


def no_such_table(error: BaseException) -> bool:
    """Whether a statement failed because the database holds no tables of ours."""
    cause = getattr(error, "orig", None)
    return "no such table" in str(cause) or getattr(cause, "sqlstate", getattr(cause, "pgcode", None)) == "42P01"
