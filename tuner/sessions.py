"""Sessions: how a study comes to be: created, opened, found again, continued under a changed sweep."""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from tuner import identity, snapshots
from tuner.blocks import in_blocks
from tuner.compact import dumps
from tuner.errors import StoreError, SweepError, UsageError
from tuner.folders import HOME, find_study, has_study, list_studies
from tuner.lock import WriterLock, worker_alive
from tuner.objective import objective_of
from tuner.problem import Problem, make_problem
from tuner.reader import Reader
from tuner.records import new_proposal, row_of
from tuner.snapshots import Snapshot
from tuner.sources import first_tries, with_sources
from tuner.sqlite import sqlite_url
from tuner.study import Study
from tuner.sweep import Sweep, dump_yaml, load_sweep
from tuner.trial import Proposal

if TYPE_CHECKING:
    from tuner.store import Store

__all__ = ["HOME", "create", "find_study", "has_study", "list_studies", "open_or_create", "reopen", "write_atomically"]

Kept = TypeVar("Kept", bound="Store | Reader")


def create(sweep: Sweep | Mapping[str, Any] | str | Path, dir: str | Path | None = None) -> Study:
    """A new study; see `Study.create`."""
    sweep = load_sweep(sweep if isinstance(sweep, (Sweep, str, Path)) else dict(sweep))
    problem, taken = make_problem(sweep, objective_of(sweep)), earlier_studies(sweep)
    if dir is None:
        return _created(sweep, problem, taken, None, None)
    with _locked(Path(dir)) as (directory, lock):
        return _created(sweep, problem, taken, directory, lock)


@contextmanager
def _locked(dir: Path) -> Iterator[tuple[Path, WriterLock]]:
    """A folder, made when it is missing, and its lock; let go when the block raises."""
    directory = dir.absolute()
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(f"{directory} cannot be made: {error.strerror}; choose another with --dir") from error
    lock = WriterLock(directory)
    try:
        yield directory, lock
    except BaseException:
        lock.release()
        raise


def _created(
    sweep: Sweep,
    problem: Problem,
    taken: Sequence[Snapshot],
    directory: Path | None,
    lock: WriterLock | None,
    *,
    new: bool = False,
) -> Study:
    problem = with_sources(problem, taken)
    with _closing_on_error(_store(sweep, directory)) as store:
        resolved = identity.resolved_sweep(sweep, problem)
        digest = identity.digest(resolved)
        row = store.read_study()
        if row is not None and new:
            store.set_aside()
            row = None
        if row is None:
            first = [row_of(proposal) for proposal in _first(problem)]
            store.create_study(digest=digest, sweep=dumps(resolved), token=uuid.uuid4().hex, first=first)
        elif directory is None or has_study(directory) or row["digest"] != digest:
            raise StoreError(f"{directory or store.url} holds a study already; open it, or choose another name")
        if directory is not None:
            _keep(sweep, taken, directory)
            # Written last: a folder with a sweep.yaml holds a whole study, whenever its maker was killed.
            write_atomically(directory / "sweep.yaml", dump_yaml(resolved))
        study = Study(sweep, problem, store, directory=directory, lock=lock)
        if row is not None:  # of a maker that was killed, or of another machine on the same database
            _take_over(study, lock)
        return study


def _take_over(study: Study, lock: WriterLock | None) -> None:
    """Make the trials that a dead process was running wait for another attempt; asked ones keep their lease."""
    if lock is not None and lock.previous is not None:
        study.add_event("takeover", f"from process {lock.previous['pid']} on {lock.previous['host']}")
    for record in study.records(states=("running",)):
        owner = record.worker or ""
        if not owner.startswith("ask:") and not worker_alive(owner):
            study.requeue(record.trial, "its process died")


def _first(problem: Problem) -> list[Proposal]:
    """The baseline as trial 0, then the initial configurations, then the best of a warm start; none in blocks."""
    if in_blocks(problem):
        return []
    configs = [(problem.baseline, "baseline", "")] if problem.baseline is not None else []
    configs += [(config, "initial", "") for config in problem.initial if config != problem.baseline]
    configs += [(config, "warm", reason) for config, reason in first_tries(problem)]
    return [new_proposal(problem, number, *first) for number, first in enumerate(configs)]


def earlier_studies(sweep: Sweep) -> list[Snapshot]:
    """What a sweep's warm start has to offer.

    Raises:
        SweepError: One of the studies is missing; all of them at once.
    """
    folders, faults = [], []
    for index, name in enumerate(sweep.warm_start):
        try:
            folders.append(sweep.base_dir / name if has_study(sweep.base_dir / name) else find_study(name))
        except StoreError as error:
            faults.append(sweep.problem(f"$.warm_start[{index}]", str(error)))
    if faults:
        raise SweepError(faults, sweep.source)
    taken = []
    for name, folder in zip(sweep.warm_start, folders, strict=True):
        short = folder.resolve().name
        unique = [other.resolve().name for other in folders].count(short) == 1
        with reopen(folder, read_only=True) as study:
            taken.append(snapshots.snapshot(study, short if unique else name))
    return taken


def _keep(sweep: Sweep, taken: Sequence[Snapshot], directory: Path) -> None:
    """Write down what was taken of earlier studies; remove what is there of others."""
    file = directory / snapshots.FILE
    if taken:
        write_atomically(file, snapshots.write_text(sweep.warm_start, taken))
    else:
        file.unlink(missing_ok=True)


def reopen(dir: str | Path, *, read_only: bool = False, sweep: Sweep | None = None, adopt: bool = False) -> Study:
    """An existing study; see `Study.open`.

    Args:
        dir: The study's folder.
        read_only: Look only; another process may be writing.
        sweep: Continue under this sweep (its budget, parallelism and runner); None for the stored one.
        adopt: Continue under it even when its space, metrics or objective differ.

    Raises:
        UsageError: `sweep` has another space, metrics or objective; the message shows the difference.
    """
    directory = Path(dir).absolute()
    if not has_study(directory):
        raise StoreError(f"{dir} holds no study; start one with `tuner run SWEEP`, or see `tuner list`")
    if read_only:
        stored = load_sweep(directory / "sweep.yaml")
        with _closing_on_error(_reader(stored, directory)) as store:
            return Study(stored, make_problem(stored, reading=True), store, directory=directory, lock=None)
    with _locked(directory) as (_, lock):
        return _reopened(sweep, directory, lock, adopt=adopt)


def _reopened(sweep: Sweep | None, directory: Path, lock: WriterLock, *, adopt: bool) -> Study:
    chosen = sweep if sweep is not None else load_sweep(directory / "sweep.yaml")
    problem = make_problem(chosen, objective_of(chosen))
    with _closing_on_error(_store(chosen, directory)) as store:
        resolved = None if sweep is None else _reconciled(chosen, problem, store, directory, adopt=adopt)
        kept = snapshots.read_file(directory / snapshots.FILE, chosen.warm_start)
        taken = earlier_studies(chosen) if kept is None else kept
        problem = with_sources(problem, taken)
        if kept is None:
            _keep(chosen, taken, directory)
        if resolved is not None:
            store.update_study(digest=identity.digest(resolved), sweep=dumps(resolved))
            write_atomically(directory / "sweep.yaml", dump_yaml(resolved))
        study = Study(chosen, problem, store, directory=directory, lock=lock)
        _take_over(study, lock)
        return study


def _reconciled(sweep: Sweep, problem: Problem, store: Store, directory: Path, *, adopt: bool) -> dict[str, Any]:
    """The sweep to continue under, resolved; refused when it differs from the study's own where that matters."""
    row = store.read_study()
    if row is None:
        stored = load_sweep(directory / "sweep.yaml")
        here, there = f"{stored.name!r} in {_shown(stored, directory)}", f"{sweep.name!r} in {_shown(sweep, directory)}"
        raise UsageError(
            f"{directory} keeps its trials as {here}, but the sweep says {there}, which is empty; "
            "keep the name and the storage, or start over with --new"
        )
    resolved = identity.resolved_sweep(sweep, problem)
    changes = identity.differences(json.loads(row["sweep"]), resolved)
    if changes and not adopt:
        listed = "\n  ".join(changes)
        raise UsageError(
            f"{directory} was made from a different sweep:\n  {listed}\n"
            "start over with --new, or keep its trials under the changed sweep with --adopt"
        )
    return resolved


def open_or_create(sweep: Sweep, dir: str | Path | None = None, *, new: bool = False, adopt: bool = False) -> Study:
    """The study of a sweep, open for writing.

    Args:
        sweep: A validated sweep.
        dir: The study's folder; `.tuner/<name>` by default.
        new: Move an existing study aside, to the first free `<folder>.<k>`, and start over.
        adopt: Continue an existing study although its space, metrics or objective changed.

    Raises:
        UsageError: The existing study was made from a different sweep.
        LockError: Another process is writing to it.
    """
    path = Path(dir) if dir is not None else HOME / sweep.name
    taken = earlier_studies(sweep) if new or not has_study(path) else []  # before `path` itself is moved aside
    if new and path.exists():
        _move_aside(path)
    with _locked(path) as (directory, lock):
        if has_study(directory):
            return _reopened(sweep, directory, lock, adopt=adopt)
        return _created(sweep, make_problem(sweep, objective_of(sweep)), taken, directory, lock, new=new)


def _move_aside(directory: Path) -> None:
    """Rename a folder that nobody writes to, and its trials where they lie in a database of several studies."""
    with _locked(directory) as (folder, lock):
        k = 1
        while (target := folder.with_name(f"{folder.name}.{k}")).exists():
            k += 1
        if has_study(folder) and (stored := load_sweep(folder / "sweep.yaml")).storage:
            with _closing_on_error(_store(stored, folder)) as store:
                name = store.set_aside()
                store.close()
            renamed = {**stored.to_dict(), "name": name}
            write_atomically(folder / "sweep.yaml", dump_yaml(renamed))
        os.rename(folder, target)
        lock.release()


def write_atomically(file: Path, text: str) -> None:
    """Replace a file so that a reader, or a crash, sees the old content or the new, never half of it.

    Raises:
        StoreError: It cannot be written.
    """
    draft = file.with_name(f".{file.name}.{os.getpid()}")
    try:
        draft.write_text(text, encoding="utf-8")
        os.replace(draft, file)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StoreError(f"{file} cannot be written: {error.strerror}; free some space or choose another") from error


@contextmanager
def _closing_on_error(store: Kept) -> Iterator[Kept]:
    """The store, closed when the block raises."""
    try:
        yield store
    except BaseException:
        store.close()
        raise


def _store(sweep: Sweep, directory: Path | None, *, read_only: bool = False) -> Store:
    """Where a sweep's trials are kept. A storage of its own choice has a lock of its own: two folders may name it."""
    from tuner.store import Store

    if sweep.storage:
        return Store(sweep.storage, sweep.name, read_only=read_only, shared=True)
    return Store(
        "sqlite://" if directory is None else sqlite_url(directory / "study.db"), sweep.name, read_only=read_only
    )


def _reader(sweep: Sweep, directory: Path) -> Store | Reader:
    """The same to be read: a file of this version's tables without SQLAlchemy."""
    if sweep.storage:
        return _store(sweep, directory, read_only=True)
    reader = Reader(directory / "study.db", sweep.name)
    if reader.readable:
        return reader
    reader.close()
    return _store(sweep, directory, read_only=True)


def _shown(sweep: Sweep, directory: Path) -> str:
    if not sweep.storage:
        return str(directory / "study.db")
    from tuner.database import shown

    return shown(sweep.storage)
