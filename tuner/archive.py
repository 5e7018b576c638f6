"""Archive: a whole study as one text, and back to a study folder.

The text is JSON: the resolved sweep, and the rows of the study's tables column by column. It holds everything that
`tuner status`, `best`, `pareto`, `trials` and a continued run read; not the trials' folders with their logs. Values in
`runner.env` whose name says that they are secret stay behind, and so do the address of a storage elsewhere and the
folder that the sweep was read from.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner import snapshots
from tuner.compact import dumps
from tuner.errors import StoreError, UsageError

if TYPE_CHECKING:
    from tuner.study import Study

SCHEMA = "tuner.study/1"
HIDDEN = "hidden"
"""What stands in the place of a secret."""

_SECRET = re.compile(r"key|token|secret|passw|credential", re.IGNORECASE)
_TABLES = ("studies", "trials", "reports", "events")


def shareable_sweep(study: Study) -> dict[str, Any]:
    """The resolved sweep without secrets, a storage of its own, and the folder that it was read from."""
    from tuner.identity import resolved_sweep

    return _shareable(resolved_sweep(study.sweep, study.problem))


def _shareable(sweep: Mapping[str, Any]) -> dict[str, Any]:
    kept = {name: value for name, value in sweep.items() if name not in ("storage", "base_dir")}
    environment = (kept.get("runner") or {}).get("env")
    if environment:
        shown = {name: HIDDEN if _SECRET.search(name) else text for name, text in environment.items()}
        kept["runner"] = {**kept["runner"], "env": shown}
    return kept


def pack(study: Study) -> str:
    """The text that `restore` reads."""
    rows = study.rows()
    tables = {name: _columns(rows[name]) for name in _TABLES}
    if tables["studies"]:
        stored = [json.loads(text) for text in tables["studies"]["sweep"]]
        tables["studies"]["sweep"] = [dumps(_shareable(sweep)) for sweep in stored]
    sources = None if study.dir is None else study.dir / snapshots.FILE
    document = {
        "schema": SCHEMA,
        "sweep": shareable_sweep(study),
        "sources": sources.read_text(encoding="utf-8") if sources is not None and sources.is_file() else None,
        "tables": tables,
    }
    return dumps(document)


def _columns(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """Rows by column, without the study's name, which is the same in all of them."""
    kept = [row for row in map(_without_host, rows) if row is not None]
    names = [name for name in kept[0] if name not in ("study", "id")] if kept else []
    return {name: [row[name] for row in kept] for name in names}


def _without_host(row: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """A row that names no process and no machine: whatever ran there does not run any more where this is read."""
    if row.get("kind") == "takeover":
        return None
    asked = str(row.get("worker") or "").startswith("ask:")
    return {**row, "worker": "ask:" if asked else None} if "worker" in row else row


def restore(text: str, directory: Path | None = None) -> Path:
    """Make the study of an archive in a folder, `.tuner/<name>` by default; returns the folder.

    Raises:
        UsageError: The text is no archive, or of another version.
        StoreError: There is something in the folder already.
    """
    from tuner.sessions import HOME, write_atomically
    from tuner.sqlite import sqlite_url
    from tuner.store import Store
    from tuner.sweep import dump_yaml, load_sweep

    document = _document(text)
    sweep, tables = load_sweep(document["sweep"]), _tables(document)
    folder = HOME / sweep.name if directory is None else directory
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise StoreError(f"{folder} exists already; choose another folder with --output")
    folder.mkdir(parents=True, exist_ok=True)
    file = folder.absolute() / "study.db"
    store = Store(sqlite_url(file), sweep.name)
    try:
        store.restore(tables)
    except BaseException:
        store.close()
        file.unlink(missing_ok=True)
        raise
    store.close()
    if document["sources"] is not None:
        write_atomically(folder / snapshots.FILE, str(document["sources"]))
    write_atomically(folder / "sweep.yaml", dump_yaml(document["sweep"]))  # last: with it, the study is whole
    return folder


def _document(text: str) -> dict[str, Any]:
    try:
        document = json.loads(text)
        known = document["schema"]
        complete = {"sweep", "sources", "tables"} <= document.keys() and isinstance(document["sweep"], dict)
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise UsageError(f"the file holds no study that can be understood: {error}") from error
    if known != SCHEMA or not complete:
        raise UsageError(f"the study must have the schema {SCHEMA!r}, but has {known!r}; use the version that wrote it")
    return dict(document)


def _tables(document: Mapping[str, Any]) -> dict[str, list[dict[str, Any]]]:
    """Rows by table."""
    from tuner.schema import tables as known

    found: dict[str, list[dict[str, Any]]] = {}
    try:
        for name in _TABLES:
            columns: Mapping[str, list[Any]] = document["tables"][name]
            strange = set(columns) - set(known.tables[name].columns.keys())
            if strange:
                raise UsageError(f"the table {name!r} of this version has no column {', '.join(sorted(strange))}")
            values = zip(*columns.values(), strict=True)
            found[name] = [dict(zip(columns, row, strict=True)) for row in values]
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise UsageError(f"the study in the file is damaged: {error}") from error
    return found
