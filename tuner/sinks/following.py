"""Following: a process a sink, which reads the study as it grows and logs every trial once.

The sweep does not wait for loggers, and what goes wrong in one of them, up to a crash, only costs a note. Which trials
were logged is written down beside the files, a line each, so that a later session goes on where this one stopped; a
trial that was logged but not yet written down is logged again in the same place.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, TYPE_CHECKING, Literal, get_args

from tuner.errors import EnvironmentUnfitError
from tuner.sinks.entry import MakesSink, entry_of
from tuner.trial import FINISHED

if TYPE_CHECKING:
    from tuner.study import Study

SinkName = Literal["tensorboard", "mlflow", "wandb"]
SINKS: tuple[SinkName, ...] = get_args(SinkName)
_EXTRA = {"tensorboard": "tensorboard", "mlflow": "mlflow", "wandb": "wandb"}
_LOGGED = "logged.txt"
_PATIENCE_S = 60.0
"""How long the end of a sweep waits for its loggers."""


@dataclass(slots=True)
class Follower:
    """A sink's process; it ends when its standard input does."""

    name: str
    process: subprocess.Popen[bytes]
    log: Path


def follow(study: Study, names: Sequence[str], note: Callable[[str], None]) -> list[Follower]:
    """Start a process for every sink named; a study in memory has no place for their files."""
    if study.dir is None:
        return []
    followers = []
    for name in names:
        folder = study.dir / name
        try:
            folder.mkdir(parents=True, exist_ok=True)
            log = folder / "sink.log"
            with log.open("ab") as out:
                process = subprocess.Popen(
                    [sys.executable, "-m", "tuner.sinks.following", name, str(study.dir)],
                    stdin=subprocess.PIPE, stdout=out, stderr=out, env=_environment(), start_new_session=True,
                )  # fmt: skip
        except OSError as error:
            note(f"{name}: not logged there: {error}")
            continue
        followers.append(Follower(name, process, log))
    return followers


def _environment() -> dict[str, str]:
    """Where this process found tuner, the others find it too."""
    root = str(Path(__file__).resolve().parents[2])
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}


def finish(followers: Sequence[Follower], note: Callable[[str], None]) -> None:
    """Tell the processes that the sweep is over, and say what went wrong in them."""
    for follower in followers:
        if follower.process.stdin is not None:
            follower.process.stdin.close()
    for follower in followers:
        try:
            code = follower.process.wait(_PATIENCE_S)
        except subprocess.TimeoutExpired:
            note(f"{follower.name} is still logging; process {follower.process.pid} goes on with it")
            continue
        if code:
            text = follower.log.read_text(encoding="utf-8", errors="replace").strip()
            why = text.splitlines()[-1] if text else f"its process ended with {code}"
            note(f"{follower.name}: {why} (see {follower.log}; the study itself is whole)")


def log_new(study: Study, name: str) -> int:
    """Log the finished trials that a sink has not been told of; returns how many.

    Raises:
        EnvironmentUnfitError: The sink's package is not installed.
    """
    assert study.dir is not None
    folder = study.dir / name
    folder.mkdir(parents=True, exist_ok=True)
    marks = folder / _LOGGED
    done = set(marks.read_text(encoding="utf-8").split()) if marks.is_file() else set()
    new = [r for r in study.records(states=FINISHED) if f"{r.trial}:{r.attempt}" not in done]
    if not new:
        return 0
    sink = _sink(name).open_sink(folder, study.sweep.name)
    with marks.open("a", encoding="utf-8") as out:
        for record in new:
            sink.write(entry_of(study, record))
            out.write(f"{record.trial}:{record.attempt}\n")
            out.flush()
    sink.close()
    return len(new)


def _sink(name: str) -> MakesSink:
    module: MakesSink = importlib.import_module(f"tuner.sinks.{name}")
    return module


def check_installed(name: str) -> None:
    """Raises EnvironmentUnfitError unless a sink's package can be imported."""
    package = {"tensorboard": "tensorboardX"}.get(name, name)
    if importlib.util.find_spec(package) is None:
        raise EnvironmentUnfitError(
            f"log_to: {name} needs {package}; install it with `pip install tuner[{_EXTRA[name]}]`"
        )


def main(name: str, directory: str, parent: IO[bytes]) -> None:
    """Log until the parent closes its end, and once more."""
    import select

    from tuner.study import Study

    with Study.open(directory, read_only=True) as study:
        check_installed(name)
        ended = False
        while not ended:
            ended = bool(select.select([parent], [], [], 1.0)[0])
            study.refresh()
            log_new(study, name)


if __name__ == "__main__":
    try:
        main(sys.argv[1], sys.argv[2], sys.stdin.buffer)
    except Exception as error:
        print(f"{type(error).__name__}: {error}".replace("\n", " "), file=sys.stderr)
        sys.exit(1)
