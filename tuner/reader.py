"""Reader: the rows of a study in a SQLite file, for those who only look. What `Store` is for a writer.

The same questions with the same answers as `Store`'s, in plain SQL over the standard library: looking at a study is
then over before SQLAlchemy would be imported. Readers never block the writer, nor wait for it (WAL).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tuner.errors import StoreError
from tuner.sqlite import SCHEMA_VERSION, open_to_read, reason, sqlite_url
from tuner.trial import FINISHED

_READ_BATCH = 5000
_NUMBERS_BATCH = 500

Row = Mapping[str, Any]


class Reader:
    """One study's rows, not to be changed.

    Args:
        file: The database.
        study: The study's name.

    Raises:
        StoreError: It cannot be opened.
    """

    read_only = True

    def __init__(self, file: Path, study: str) -> None:
        self.study = study
        self.url = sqlite_url(file)
        try:
            self._connection = open_to_read(file)
        except sqlite3.Error as error:
            raise StoreError(f"storage {self.url!r} cannot be opened: {reason(error)}") from error

    def __getattr__(self, name: str) -> Any:
        """Whatever else `Store` can do."""
        if name.startswith("_"):
            raise AttributeError(name)
        raise StoreError(f"study {self.study!r} was opened to be read; open it without read_only to change it")

    def close(self) -> None:
        """Close the connection; harmless when done twice."""
        self._connection.close()

    @property
    def readable(self) -> bool:
        """Whether the study's tables are of this version, or missing."""
        row = self.read_study()
        return row is None or row["schema_version"] == SCHEMA_VERSION

    def _values(self, query: str, *arguments: object) -> list[tuple[Any, ...]]:
        return self._execute(query, arguments)[1]

    def _rows(self, query: str, *arguments: object) -> list[Row]:
        names, found = self._execute(query, arguments)
        return [dict(zip(names, values, strict=True)) for values in found]

    def _execute(self, query: str, arguments: Sequence[object]) -> tuple[list[str], list[tuple[Any, ...]]]:
        try:
            cursor = self._connection.execute(query, (self.study, *arguments))
            return [column[0] for column in cursor.description], cursor.fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"storage {self.url!r} cannot be read: {reason(error)}") from error

    def read_study(self) -> Row | None:
        """The study's own row; None when there is none."""
        try:
            rows = self._rows("SELECT * FROM studies WHERE study = ?")
        except StoreError as error:
            if "no such table" in str(error.__cause__):
                return None
            raise
        return rows[0] if rows else None

    def trials(self, *, states: Sequence[str] = ()) -> Sequence[Row]:
        """Trials by number, of the given states or all."""
        among = f" AND state IN ({_marks(states)})" if states else ""
        if states and not set(states) & set(FINISHED):  # only the finished ones have a rank, and ranks an index
            among += " AND rank IS NULL"
        return self._rows(f"SELECT * FROM trials WHERE study = ?{among} ORDER BY trial", *states)

    def numbered(self, numbers: Sequence[int]) -> Iterator[Row]:
        """The trials of these numbers, in their order."""
        for start in range(0, len(numbers), _NUMBERS_BATCH):
            batch = numbers[start : start + _NUMBERS_BATCH]
            query = f"SELECT * FROM trials WHERE study = ? AND trial IN ({_marks(batch)})"
            rows = {row["trial"]: row for row in self._rows(query, *batch)}
            yield from (rows[number] for number in batch)

    def finished(self, *, columns: Sequence[str], after: int = -1) -> Iterator[Sequence[tuple[Any, ...]]]:
        """Some columns, then the rank, of the finished trials in the order in which they finished, in batches.

        Args:
            columns: Names in the table of trials.
            after: Only those of a higher rank.
        """
        chosen = ", ".join(f"trials.{name}" for name in (*columns, "rank"))
        query = f"SELECT {chosen} FROM trials WHERE study = ? AND rank > ? ORDER BY rank LIMIT {_READ_BATCH}"
        while rows := self._values(query, after):
            yield rows
            after = rows[-1][-1]

    def configs(self) -> Iterator[str]:
        """The configurations of the finished trials, as JSON, in the order in which they finished."""
        for rows in self.finished(columns=("config",)):
            yield from (row[0] for row in rows)

    def trial(self, number: int) -> Row | None:
        """One trial; None when there is none of that number."""
        rows = self._rows("SELECT * FROM trials WHERE study = ? AND trial = ?", number)
        return rows[0] if rows else None

    def reports(self, trial: int | None = None) -> Sequence[Row]:
        """Intermediate reports of the last attempt, of one trial or of all, in the order of arrival."""
        query = (
            "SELECT reports.* FROM reports JOIN trials USING (study, trial, attempt) WHERE reports.study = ?"
            f"{'' if trial is None else ' AND reports.trial = ?'} ORDER BY reports.id"
        )
        return self._rows(query, *([] if trial is None else [trial]))

    def last_report(self, trial: int) -> Row | None:
        """What the last attempt at a trial reported last; None before that."""
        query = "SELECT reports.* FROM reports JOIN trials USING (study, trial, attempt) WHERE reports.study = ?"
        rows = self._rows(f"{query} AND reports.trial = ? ORDER BY reports.id DESC LIMIT 1", trial)
        return rows[0] if rows else None

    def counts(self) -> dict[str, int]:
        """Number of trials by state."""
        return dict(self._values("SELECT state, count(*) FROM trials WHERE study = ? GROUP BY state"))

    def events(self, *, after: int = -1, kind: str | None = None) -> Sequence[Row]:
        """What was written down beside the trials, oldest first; only what came after the event `after`, of a kind."""
        query = "SELECT * FROM events WHERE study = ? AND id > ?" + (" AND kind = ?" if kind else "")
        return self._rows(f"{query} ORDER BY id", after, *([kind] if kind else []))

    def last_event(self) -> int:
        """The number of what was written down last; -1 of nothing."""
        number = self._values("SELECT max(id) FROM events WHERE study = ?")[0][0]
        return -1 if number is None else int(number)


def _marks(values: Sequence[object]) -> str:
    return ", ".join("?" for _ in values)
