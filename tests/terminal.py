"""A real terminal for tests: tmux of a fixed size, on a server of its own, and what a person sees in it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.surroundings import environment

needs_tmux = pytest.mark.skipif(shutil.which("tmux") is None, reason="needs tmux")


class Terminal:
    """One window of a tmux server."""

    def __init__(self, socket: str) -> None:
        self._socket = socket

    def tmux(self, *words: str) -> str:
        done = subprocess.run(["tmux", "-S", self._socket, *words], capture_output=True, text=True, check=True)
        return done.stdout

    def screen(self) -> list[str]:
        """The lines in sight, without the spaces at their ends and the empty ones below."""
        return self.tmux("capture-pane", "-p").rstrip("\n").split("\n")

    def raw(self) -> str:
        """The same with the escape sequences that style it."""
        return self.tmux("capture-pane", "-p", "-e")

    def resize(self, columns: int, rows: int) -> None:
        self.tmux("resize-window", "-x", str(columns), "-y", str(rows))

    def type(self, *keys: str) -> None:
        self.tmux("send-keys", *keys)

    def until(self, seen: Callable[[list[str]], object], timeout_s: float = 30.0) -> list[str]:
        """Wait for something to be seen; returns the lines."""
        end = time.monotonic() + timeout_s
        while not seen(lines := self.screen()):
            assert time.monotonic() < end, "\n".join(lines)
            time.sleep(0.05)
        return lines


@contextmanager
def terminal(
    arguments: list[str], *, cwd: Path, columns: int = 80, rows: int = 24, variables: Mapping[str, str] | None = None
) -> Iterator[Terminal]:
    """A terminal in which `tuner` runs with these arguments; it stays open with what it showed at the end."""
    around = {**environment(OMP_NUM_THREADS="1"), **(variables or {})}
    for name in ("CI", "NO_COLOR", "TMUX", "COLUMNS", "LINES"):  # the last two would fix its size
        around.pop(name, None)
    command = shlex.join([sys.executable, "-m", "tuner", *arguments])
    size = ["-x", str(columns), "-y", str(rows)]
    with tempfile.TemporaryDirectory(prefix="tmux-") as folder:  # short: a socket's path may not be long
        tmux = ["tmux", "-S", f"{folder}/s"]
        shown = f"{command}; echo exit code $?; sleep 60"
        subprocess.run([*tmux, "-f", os.devnull, "new-session", "-d", *size, shown], cwd=cwd, env=around, check=True)
        try:
            yield Terminal(f"{folder}/s")
        finally:
            subprocess.run([*tmux, "kill-server"], check=False, capture_output=True)
