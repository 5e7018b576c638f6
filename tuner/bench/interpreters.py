"""Other interpreters for peers that cannot live beside the tool: `--python hebo=/opt/hebo/bin/python`.

What runs there is this package from where it is, seen through a folder that holds a link to it and nothing else: the
environment of the tool would bring its own NumPy. A worker of a peer needs NumPy there, and the peer; a problem that
trains models needs scikit-learn too.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from tuner.bench.methods import peer_package
from tuner.errors import UsageError

_THREADS = (
    "OMP_NUM_THREADS",
    "MKL_NUM_THREADS",
    "OPENBLAS_NUM_THREADS",
    "NUMEXPR_NUM_THREADS",
    "VECLIB_MAXIMUM_THREADS",
)
_VERSION = "import sys; from importlib.metadata import version; print(version(sys.argv[1]))"


def parse_pythons(texts: Sequence[str]) -> dict[str, str]:
    """`hebo=/path/to/python` as peer -> interpreter.

    Raises:
        UsageError: One is not of that form, names no peer, cannot be run, or has not what the peer needs.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, sign, path = text.partition("=")
        package = peer_package(name)
        if not sign or package is None:
            raise UsageError(f"--python takes PEER=INTERPRETER, such as hebo=/opt/hebo/bin/python, but got {text!r}")
        try:
            run = subprocess.run([path, "-c", _VERSION, package], capture_output=True, text=True, check=False)
        except OSError as error:
            raise UsageError(f"--python {text}: {path} cannot be run: {error.strerror}") from error
        if run.returncode:
            raise UsageError(f"--python {text}: {package} is not installed there; install it with that interpreter")
        found[name] = path
    return found


def thread_caps(threads: int) -> dict[str, str]:
    """The environment variables that keep numerical libraries to so many threads."""
    return dict.fromkeys(_THREADS, str(threads))


def launch(
    method: str, module: str, pythons: Mapping[str, str], folder: Path, threads: int
) -> tuple[list[str], dict[str, str]]:
    """The command and the environment that run a module of this package for a method.

    Args:
        method: As `parse_method` takes it.
        module: Its full name.
        pythons: Peer -> interpreter, where it is not this one.
        folder: Where a link to the package may be put.
        threads: Of the process.
    """
    environment = {**os.environ, **thread_caps(threads)}
    name = method.split(":")[0]
    if name not in pythons:
        return [sys.executable, "-m", module], environment
    link = folder / "elsewhere" / "tuner"
    if not link.is_symlink():
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(Path(__file__).resolve().parent.parent, target_is_directory=True)
    environment["PYTHONPATH"] = str(link.parent)
    return [pythons[name], "-m", module], environment
