"""Store: the trials of a study in one database, through SQLAlchemy Core.

SQLite in WAL mode by default (one file, `study.db`), in memory when there is no folder, PostgreSQL by URL. A trial
costs two transactions, one when it starts and one when it finishes; reports are batched into one. Only one process
writes (see `lock.py` and `database.claim`); readers never block it. Rows are plain mappings; `study.py` gives them
meaning.
"""

from __future__ import annotations

import itertools
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import sqlalchemy as sa

from tuner.compact import dumps
from tuner.database import claim, create_tables, lock_beside, no_such_table, open_engine, shown
from tuner.errors import StoreError
from tuner.lock import WriterLock
from tuner.schema import MIGRATIONS, SCHEMA_VERSION, events, reports, studies, tables, trials
from tuner.sqlite import reason, sqlite_url

__all__ = ["Row", "Store", "dumps", "sqlite_url"]

_REPORT_BATCH = 200
_REPORT_INTERVAL_S = 1.0
_READ_BATCH = 5000
_NUMBERS_BATCH = 500

Row = Mapping[str, Any]

_INSERT_TRIAL = sa.insert(trials)
_INSERT_EVENT = sa.insert(events)
_INSERT_REPORT = sa.insert(reports)
_CURRENT = sa.and_(
    reports.c.study == trials.c.study, reports.c.trial == trials.c.trial, reports.c.attempt == trials.c.attempt
)


class Store:
    """One study's rows. Every write method is one transaction.

    Args:
        url: See `database.open_engine`.
        study: The study's name, part of every key.
        read_only: Look only; another process may be writing.
        shared: Other folders may name this storage too: take its own lock, beside that of the folder.

    Raises:
        LockError: Another process writes to the study.
    """

    def __init__(self, url: str, study: str, *, read_only: bool = False, shared: bool = False) -> None:
        self.study = study
        self.url = shown(url)
        self.read_only = read_only
        self._reports: list[Row] = []
        self._lost = ""
        self._lock: WriterLock | None = None
        self._engine = open_engine(url, read_only=read_only)
        try:
            self._connection = self._engine.connect()
        except (sa.exc.SQLAlchemyError, UnicodeError) as error:
            raise StoreError(f"storage {self.url!r} cannot be opened: {reason(error)}") from error
        try:
            self._prepare(shared)
        except BaseException as error:
            self.close()
            if isinstance(error, sa.exc.SQLAlchemyError):
                raise StoreError(f"storage {self.url!r} cannot be opened: {reason(error)}") from error
            raise

    def _prepare(self, shared: bool) -> None:
        """Take the storage's own lock, and make the tables; a reader only promises not to write."""
        postgresql = self._engine.dialect.name == "postgresql"
        if self.read_only:
            if postgresql:
                self._connection = self._connection.execution_options(postgresql_readonly=True)
            return
        if postgresql:
            claim(self._connection, self.study, self.url)
        elif shared:
            self._lock = lock_beside(self._connection, self.study)
        create_tables(self._connection, tables)

    def close(self) -> None:
        """Write what is buffered and close the connection, and with it the lock; harmless when done twice."""
        try:
            if not self._connection.closed and not self._lost:
                self.flush_reports()
        finally:
            self._connection.close()
            self._engine.dispose()
            if self._lock is not None:
                self._lock.release()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        with self._guarded("written"):
            yield self._connection
            self._connection.commit()

    def _read(self, query: sa.Select[Any]) -> Sequence[Row]:
        with self._guarded("read"):
            rows = [dict(row._mapping) for row in self._connection.execute(query)]
            self._connection.commit()
            return rows

    @contextmanager
    def _guarded(self, what: str) -> Iterator[None]:
        """Every failure rolls back, and a database's becomes a StoreError.

        A writer never reconnects: its lock went with the connection, and another process may have written since.
        """
        if self._lost:
            raise StoreError(f"storage {self.url!r} cannot be {what}: {self._lost}")
        try:
            yield
        except BaseException as error:
            lost = getattr(error, "connection_invalidated", False)
            if lost:
                self._lost = reason(error)  # type: ignore[arg-type]
            elif not self._connection.closed:
                self._connection.rollback()
            if isinstance(error, sa.exc.SQLAlchemyError):
                raise StoreError(f"storage {self.url!r} cannot be {what}: {reason(error)}") from error
            raise

    # --- the study ---

    def create_study(self, *, digest: str, sweep: str, token: str, first: Sequence[Row] = ()) -> None:
        """Write the study's own row and its first waiting trials, all or none.

        Raises:
            StoreError: There is one already.
        """
        row = {
            "study": self.study,
            "schema_version": SCHEMA_VERSION,
            "digest": digest,
            "sweep": sweep,
            "token": token,
            "status": "created",
            "spent_s": 0.0,
            "created_at": time.time(),
        }
        with self._transaction() as connection:
            connection.execute(sa.insert(studies), [row])
            if first:
                waiting = [{**_EMPTY_TRIAL, **trial, "study": self.study, "state": "waiting"} for trial in first]
                connection.execute(_INSERT_TRIAL, waiting)

    def restore(self, rows: Mapping[str, Sequence[Row]]) -> None:
        """Write the rows of a study that was kept elsewhere, by table, all or none; they are numbered anew.

        Raises:
            StoreError: There is one already.
        """
        with self._transaction() as connection:
            for table in (studies, trials, reports, events):
                found = [{**_storable(dict(row)), "study": self.study} for row in rows[table.name]]
                if found:
                    connection.execute(sa.insert(table), [_numbered_anew(row) for row in found])

    def read_study(self) -> Row | None:
        """The study's own row, brought to this version's schema when the store may write; None when there is none.

        Raises:
            StoreError: It was written by a newer version, or by an older one from which no migration leads here.
        """
        query = sa.select(studies).where(studies.c.study == self.study)
        try:
            rows = self._read(query)
        except StoreError as error:
            if error.__cause__ is not None and no_such_table(error.__cause__):
                return None
            raise
        if not rows:
            return None
        version: int = rows[0]["schema_version"]
        if version == SCHEMA_VERSION:
            return rows[0]
        self._check_version(version)
        for step in range(version, SCHEMA_VERSION):
            with self._transaction() as connection:
                MIGRATIONS[step](connection, self.study)
                connection.execute(
                    sa.update(studies).where(studies.c.study == self.study).values(schema_version=step + 1)
                )
        return self._read(query)[0]

    def _check_version(self, version: int) -> None:
        has = f"storage {self.url!r} has schema {version}, but this version of tuner"
        if version > SCHEMA_VERSION:
            raise StoreError(f"{has} reads up to {SCHEMA_VERSION}; upgrade tuner")
        if any(step not in MIGRATIONS for step in range(version, SCHEMA_VERSION)):
            raise StoreError(f"{has} writes {SCHEMA_VERSION} and cannot migrate it; use the version that made it")
        if self.read_only:
            raise StoreError(f"{has} writes {SCHEMA_VERSION}; continue the study once with `tuner run` to migrate it")

    def update_study(self, **values: Any) -> None:
        """Set columns of the study's own row."""
        with self._transaction() as connection:
            connection.execute(sa.update(studies).where(studies.c.study == self.study).values(**values))

    def set_aside(self) -> str:
        """Rename the study to the first free `<name>.<k>`; returns that."""
        taken = {row["study"] for row in self._read(sa.select(studies.c.study))}
        name = next(free for k in itertools.count(1) if (free := f"{self.study}.{k}") not in taken)
        with self._transaction() as connection:
            for table in (studies, trials, reports, events):
                connection.execute(sa.update(table).where(table.c.study == self.study).values(study=name))
        return name

    # --- trials ---

    def insert_trials(self, rows: Iterable[Row]) -> None:
        """Add trials, all or none."""
        with self._transaction() as connection:
            empty = {**_EMPTY_TRIAL, "study": self.study}
            connection.execute(_INSERT_TRIAL, [_storable({**empty, **row}) for row in rows])

    def update_trial(self, trial: int, **values: Any) -> None:
        """Set columns of one trial, and write the reports that were buffered, in one transaction."""
        with self._transaction() as connection:
            if self._reports:
                connection.execute(_INSERT_REPORT, self._reports)
            row = _storable({"_study": self.study, "_trial": trial, **values})
            connection.execute(_update_trial(tuple(values)), row)
        self._reports = []

    def add_report(self, *, trial: int, attempt: int, step: int, metrics: str) -> None:
        """Buffer an intermediate report; the buffer is written when it is full or a second old."""
        row = {"study": self.study, "trial": trial, "attempt": attempt, "step": step, "metrics": metrics}
        self._reports.append({**row, "at": time.time()})
        if len(self._reports) >= _REPORT_BATCH or time.time() - self._reports[0]["at"] > _REPORT_INTERVAL_S:
            self.flush_reports()

    def flush_reports(self) -> None:
        """Write the buffered reports."""
        if self._reports:
            with self._transaction() as connection:
                connection.execute(_INSERT_REPORT, self._reports)
            self._reports = []

    def trials(self, *, states: Sequence[str] = ()) -> Sequence[Row]:
        """Trials by number, of the given states or all."""
        query = sa.select(trials).where(trials.c.study == self.study).order_by(trials.c.trial)
        return self._read(query.where(trials.c.state.in_(states)) if states else query)

    def numbered(self, numbers: Sequence[int]) -> Iterator[Row]:
        """The trials of these numbers, in their order."""
        query = sa.select(trials).where(trials.c.study == self.study)
        for start in range(0, len(numbers), _NUMBERS_BATCH):
            batch = numbers[start : start + _NUMBERS_BATCH]
            rows = {row["trial"]: row for row in self._read(query.where(trials.c.trial.in_(batch)))}
            yield from (rows[number] for number in batch)

    def finished(self, *, columns: Sequence[str], after: int = -1) -> Iterator[Sequence[sa.Row[Any]]]:
        """Some columns, then the rank, of the finished trials in the order in which they finished, in batches.

        Args:
            columns: Names in the table of trials.
            after: Only those of a higher rank.
        """
        last = after
        chosen = [trials.c[name] for name in (*columns, "rank")]
        query = sa.select(*chosen).where(trials.c.study == self.study).order_by(trials.c.rank).limit(_READ_BATCH)
        while True:
            with self._guarded("read"):
                rows = self._connection.execute(query.where(trials.c.rank > last)).fetchall()
                self._connection.commit()
            if not rows:
                return
            yield rows
            last = rows[-1][-1]

    def configs(self) -> Iterator[str]:
        """The configurations of the finished trials, as JSON, in the order in which they finished."""
        for rows in self.finished(columns=("config",)):
            yield from (row[0] for row in rows)

    def trial(self, number: int) -> Row | None:
        """One trial; None when there is none of that number."""
        rows = self._read(sa.select(trials).where(trials.c.study == self.study, trials.c.trial == number))
        return rows[0] if rows else None

    def reports(self, trial: int | None = None) -> Sequence[Row]:
        """Intermediate reports of the last attempt, of one trial or of all, in the order of arrival."""
        query = sa.select(reports).join(trials, _CURRENT).where(reports.c.study == self.study).order_by(reports.c.id)
        return self._read(query if trial is None else query.where(reports.c.trial == trial))

    def last_report(self, trial: int) -> Row | None:
        """What the last attempt at a trial reported last; None before that."""
        query = sa.select(reports).join(trials, _CURRENT).where(reports.c.study == self.study)
        rows = self._read(query.where(reports.c.trial == trial).order_by(reports.c.id.desc()).limit(1))
        return rows[0] if rows else None

    def counts(self) -> dict[str, int]:
        """Number of trials by state."""
        query = (
            sa.select(trials.c.state, sa.func.count().label("n"))
            .where(trials.c.study == self.study)
            .group_by(trials.c.state)
        )
        return {row["state"]: row["n"] for row in self._read(query)}

    # --- events ---

    def add_event(self, kind: str, detail: str, trial: int | None = None) -> None:
        """Write down that something happened: a late result, a retry, a lock taken over."""
        row = {"study": self.study, "at": time.time(), "kind": kind, "trial": trial, "detail": _legible(detail)}
        with self._transaction() as connection:
            connection.execute(_INSERT_EVENT, [row])

    def events(self, *, after: int = -1, kind: str | None = None) -> Sequence[Row]:
        """What was written down beside the trials, oldest first; only what came after the event `after`, of a kind."""
        query = sa.select(events).where(events.c.study == self.study, events.c.id > after)
        return self._read((query.where(events.c.kind == kind) if kind else query).order_by(events.c.id))

    def last_event(self) -> int:
        """The number of what was written down last; -1 of nothing."""
        rows = self._read(sa.select(sa.func.max(events.c.id).label("id")).where(events.c.study == self.study))
        return -1 if rows[0]["id"] is None else int(rows[0]["id"])


_EMPTY_TRIAL: dict[str, Any] = {column.name: None for column in trials.columns}
_updates: dict[tuple[str, ...], sa.Update] = {}


def _update_trial(columns: tuple[str, ...]) -> sa.Update:
    """An update statement for these columns, built once, so that SQLAlchemy's compiled form is reused."""
    if columns not in _updates:
        _updates[columns] = (
            sa.update(trials)
            .where(trials.c.study == sa.bindparam("_study"), trials.c.trial == sa.bindparam("_trial"))
            .values({column: sa.bindparam(column) for column in columns})
        )
    return _updates[columns]


def _storable(row: dict[str, Any]) -> dict[str, Any]:
    """A row whose one free text is legible; the rest is JSON in ASCII, or ours."""
    if row.get("failure_message"):
        row["failure_message"] = _legible(row["failure_message"])
    return row


def _numbered_anew(row: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in row.items() if name != "id"}


def _legible(text: str) -> str:
    """Text without what a database cannot hold: lone surrogates, and NUL, which PostgreSQL refuses."""
    return text.replace("\0", "\ufffd").encode("utf-8", "replace").decode("utf-8")
