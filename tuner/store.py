"""Store: the trials of a study in one database, through SQLAlchemy Core.

SQLite in WAL mode by default (one file, `study.db`), in memory when there is no folder, PostgreSQL by URL. A trial
costs two transactions, one when it starts and one when it finishes; reports are batched into one. Only one process
writes (see `lock.py`); readers never block it. Rows are plain mappings; `study.py` gives them meaning.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.pool import StaticPool

from tuner.errors import StoreError

SCHEMA_VERSION = 1

_REPORT_BATCH = 200
_REPORT_INTERVAL_S = 1.0

_tables = sa.MetaData()

studies = sa.Table(
    "studies",
    _tables,
    sa.Column("study", sa.String, primary_key=True),
    sa.Column("schema_version", sa.Integer, nullable=False),
    sa.Column("digest", sa.String, nullable=False),
    sa.Column("sweep", sa.Text, nullable=False),
    sa.Column("token", sa.String, nullable=False),
    sa.Column("status", sa.String, nullable=False),
    sa.Column("spent_s", sa.Float, nullable=False),
    sa.Column("created_at", sa.Float, nullable=False),
)

trials = sa.Table(
    "trials",
    _tables,
    sa.Column("study", sa.String, primary_key=True),
    sa.Column("trial", sa.Integer, primary_key=True),
    sa.Column("state", sa.String, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("config", sa.Text, nullable=False),
    sa.Column("seed", sa.BigInteger, nullable=False),
    sa.Column("fidelity", sa.Float),
    sa.Column("context", sa.Text),
    sa.Column("origin", sa.Integer),
    sa.Column("provenance", sa.Text, nullable=False),
    sa.Column("worker", sa.String),
    sa.Column("deadline", sa.Float),
    sa.Column("started_at", sa.Float),
    sa.Column("finished_at", sa.Float),
    sa.Column("rank", sa.Integer),  # how many trials had finished when this one did: the order of the history
    sa.Column("metrics", sa.Text),
    sa.Column("measures", sa.Text),
    sa.Column("failure_kind", sa.String),
    sa.Column("failure_message", sa.Text),
    sa.Column("slot", sa.String),
)

reports = sa.Table(
    "reports",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String, nullable=False),
    sa.Column("trial", sa.Integer, nullable=False),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("step", sa.Integer, nullable=False),
    sa.Column("metrics", sa.Text, nullable=False),
    sa.Column("at", sa.Float, nullable=False),
    sa.Index("reports_of_trial", "study", "trial"),
)

events = sa.Table(
    "events",
    _tables,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("study", sa.String, nullable=False, index=True),
    sa.Column("at", sa.Float, nullable=False),
    sa.Column("kind", sa.String, nullable=False),
    sa.Column("trial", sa.Integer),
    sa.Column("detail", sa.Text, nullable=False),
)

Row = Mapping[str, Any]

_INSERT_TRIAL = sa.insert(trials)
_INSERT_EVENT = sa.insert(events)
_INSERT_REPORT = sa.insert(reports)


def sqlite_url(path: Path) -> str:
    """The database URL of a file."""
    return f"sqlite:///{path}"


class Store:
    """One study's rows. Every write method is one transaction."""

    def __init__(self, url: str, study: str, *, read_only: bool = False) -> None:
        self.study = study
        self.url = url
        self._reports: list[Row] = []
        try:
            self._engine = _engine(url)
            self._connection = self._engine.connect()
            if not read_only:
                _tables.create_all(self._connection)
                self._connection.commit()
        except (sa.exc.SQLAlchemyError, ImportError) as error:
            raise StoreError(f"storage {url!r} cannot be opened: {_reason(error)}") from error

    def close(self) -> None:
        """Close the connection; the store cannot be used after."""
        self._connection.close()
        self._engine.dispose()

    @contextmanager
    def _transaction(self) -> Iterator[sa.Connection]:
        try:
            yield self._connection
            self._connection.commit()
        except sa.exc.SQLAlchemyError as error:
            self._connection.rollback()
            raise StoreError(f"storage {self.url!r} cannot be written: {_reason(error)}") from error
        except BaseException:
            self._connection.rollback()
            raise

    def _read(self, query: sa.Select[Any]) -> Sequence[Row]:
        try:
            rows = [dict(row._mapping) for row in self._connection.execute(query)]
            self._connection.commit()
            return rows
        except sa.exc.SQLAlchemyError as error:
            self._connection.rollback()
            raise StoreError(f"storage {self.url!r} cannot be read: {_reason(error)}") from error

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

    def read_study(self) -> Row | None:
        """The study's own row; None when there is none.

        Raises:
            StoreError: It was written by a newer version.
        """
        try:
            rows = self._read(sa.select(studies).where(studies.c.study == self.study))
        except StoreError as error:
            if "no such table" in str(error):
                return None
            raise
        if not rows:
            return None
        if rows[0]["schema_version"] > SCHEMA_VERSION:
            raise StoreError(
                f"storage {self.url!r} has schema {rows[0]['schema_version']}, but this version reads up to "
                f"{SCHEMA_VERSION}; upgrade tuner"
            )
        return rows[0]

    def update_study(self, **values: Any) -> None:
        """Set columns of the study's own row."""
        with self._transaction() as connection:
            connection.execute(sa.update(studies).where(studies.c.study == self.study).values(**values))

    # --- trials ---

    def insert_trials(self, rows: Iterable[Row]) -> None:
        """Add trials, all or none."""
        with self._transaction() as connection:
            connection.execute(_INSERT_TRIAL, [{**_EMPTY_TRIAL, **row, "study": self.study} for row in rows])

    def update_trial(self, trial: int, **values: Any) -> None:
        """Set columns of one trial, and write the reports that were buffered, in one transaction."""
        with self._transaction() as connection:
            if self._reports:
                connection.execute(_INSERT_REPORT, self._reports)
                self._reports = []
            connection.execute(_update_trial(tuple(values)), {"_study": self.study, "_trial": trial, **values})

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

    def stream_trials(self) -> Iterator[Row]:
        """Finished trials in the order in which they finished, in batches, so that memory stays flat."""
        last = -1
        query = sa.select(trials).where(trials.c.study == self.study).order_by(trials.c.rank).limit(2000)
        while rows := self._read(query.where(trials.c.rank > last)):
            yield from rows
            last = rows[-1]["rank"]

    def trial(self, number: int) -> Row | None:
        """One trial; None when there is none of that number."""
        rows = self._read(sa.select(trials).where(trials.c.study == self.study, trials.c.trial == number))
        return rows[0] if rows else None

    def reports(self, trial: int | None = None) -> Sequence[Row]:
        """Intermediate reports, of one trial or of all, in the order of arrival."""
        query = sa.select(reports).where(reports.c.study == self.study).order_by(reports.c.id)
        return self._read(query if trial is None else query.where(reports.c.trial == trial))

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
        row = {"study": self.study, "at": time.time(), "kind": kind, "trial": trial, "detail": detail}
        with self._transaction() as connection:
            connection.execute(_INSERT_EVENT, [row])

    def events(self) -> Sequence[Row]:
        """Everything that was written down, oldest first."""
        return self._read(sa.select(events).where(events.c.study == self.study).order_by(events.c.id))


@contextmanager
def closing_on_error(store: Store) -> Iterator[Store]:
    """The store, closed when the block raises."""
    try:
        yield store
    except BaseException:
        store.close()
        raise


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


def _engine(url: str) -> sa.Engine:
    if url == "sqlite://":
        return sa.create_engine(url, poolclass=StaticPool, connect_args={"check_same_thread": False})
    # The loop's thinking thread uses the connection too, though never at the same time as the loop.
    sqlite = {"timeout": 30.0, "check_same_thread": False}
    engine = sa.create_engine(url, connect_args=sqlite if url.startswith("sqlite") else {})
    if url.startswith("sqlite"):
        sa.event.listen(engine, "connect", _tune_sqlite)
    return engine


def _tune_sqlite(connection: Any, _record: object) -> None:
    """WAL lets readers go on while one process writes; NORMAL survives a killed process, though not a power cut."""
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    cursor.execute("PRAGMA synchronous=NORMAL")
    cursor.close()


def _reason(error: Exception) -> str:
    return str(getattr(error, "orig", None) or error).splitlines()[0]


def dumps(value: Any) -> str:
    """Compact JSON; floats round trip exactly."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
