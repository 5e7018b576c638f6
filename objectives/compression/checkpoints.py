"""Trained weights on disk: made once per key, by one process, and whole or not there.

A checkpoint is a SHA-256 digest followed by an `.npz` archive with no pickle inside; when they disagree, it is made
again. It is written beside its place and renamed into it. A lock file per key lets one process train while the others
wait; the operating system drops the lock of a process that dies.
"""

from __future__ import annotations

import hashlib
import io
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from tuner.errors import ObjectiveError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Arrays = Mapping[str, NDArray[np.float32]]

_DIGEST_BYTES = hashlib.sha256().digest_size


def cache_dir() -> Path:
    """Return the folder named by TUNER_CACHE, else `tuner` in the user's cache folder."""
    if named := os.environ.get("TUNER_CACHE"):
        return Path(named).expanduser()
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches" / "tuner"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tuner"


def fetch(path: Path, make: Callable[[], Arrays]) -> Arrays:
    """Return the arrays stored at `path`; when they are missing or damaged, make and store them first.

    Args:
        path: Names the content: the same path must always mean the same arrays.
        make: Called at most once, by at most one process at a time.

    Raises:
        ObjectiveError: The folder cannot be written.
    """
    arrays = _read(path)
    if arrays is not None:
        return arrays
    with _locked(path.with_suffix(".lock")):
        arrays = _read(path)  # another process may have stored it meanwhile
        if arrays is None:
            arrays = make()
            _write(path, arrays)
        return arrays


def _read(path: Path) -> Arrays | None:
    import numpy as np

    try:
        stored = path.read_bytes()
    except OSError:
        return None
    digest, content = stored[:_DIGEST_BYTES], stored[_DIGEST_BYTES:]
    if hashlib.sha256(content).digest() != digest:
        return None
    with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _write(path: Path, arrays: Arrays) -> None:
    import numpy as np

    content = io.BytesIO()
    np.savez(content, **arrays)  # type: ignore[arg-type]  # numpy types a name like any other keyword
    temporary = path.with_suffix(".tmp")  # the lock makes this process the only writer
    with _writable(path), temporary.open("wb") as file:
        file.write(hashlib.sha256(content.getvalue()).digest() + content.getvalue())
        file.flush()
        os.fsync(file.fileno())
        temporary.replace(path)


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    import fcntl

    with _writable(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("a")
    with file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _writable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ObjectiveError(
            f"the cache folder must be writable, but {path.parent}: {error.strerror}; set TUNER_CACHE to one that is"
        ) from error
