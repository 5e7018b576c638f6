"""The tuner's end of the warden: start it, tell it what runs, start it again when it dies."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import time
from pathlib import Path

from tuner.runners import warden

_MAX_GRACE_S = 5.0  # nobody waits for the trials of a dead tuner


class Guard:
    """Watches over process groups through a warden process. Start is lazy; every call is cheap.

    Args:
        token: The value of TUNER_RUN in the environment of everything that this run starts.
        grace_s: Between TERM and KILL when the tuner dies.
    """

    def __init__(self, token: str, grace_s: float) -> None:
        self._token = token
        self._grace_s = min(grace_s, _MAX_GRACE_S)
        self._groups: set[int] = set()
        self._process: subprocess.Popen[bytes] | None = None
        self._ends: dict[int, float] = {}
        self._rest = b""

    @property
    def pid(self) -> int | None:
        """The warden's process; None when there is none yet."""
        return None if self._process is None else self._process.pid

    def watch(self, group: int) -> None:
        """End this process group should the tuner die."""
        self._groups.add(group)
        self._ends.pop(group, None)
        self._send(f"+{group}\n")

    def release(self, group: int) -> None:
        """The group has ended."""
        if group in self._groups:
            self._groups.discard(group)
            self._send(f"-{group}\n")

    def ended_at(self, group: int) -> float | None:
        """When the group's leader ended (`time.monotonic`), if the warden saw it."""
        if self._process is None or self._process.stdout is None:
            return None
        with contextlib.suppress(BlockingIOError):
            while chunk := os.read(self._process.stdout.fileno(), 65536):
                *lines, self._rest = (self._rest + chunk).split(b"\n")
                for line in lines:
                    name, _, moment = line.partition(b" ")
                    self._ends[int(name)] = float(moment)
        return self._ends.pop(group, None)

    def check(self) -> None:
        """Start the warden again if it died."""
        if self._process is not None and self._process.poll() is not None:
            self._start()

    def close(self) -> None:
        """Dismiss the warden: nothing is left for it to do."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(OSError):
            assert process.stdin is not None
            process.stdin.write(b"bye\n")
        with contextlib.suppress(OSError):
            process.communicate(timeout=5)

    def _send(self, line: str) -> None:
        if self._process is None:
            self._start()
            return
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(line.encode())
        except OSError:
            self._start()

    def _start(self) -> None:
        if self._process is not None:
            for pipe in (self._process.stdin, self._process.stdout):
                with contextlib.suppress(OSError):
                    if pipe is not None:
                        pipe.close()
            self._process.wait()
        environment = {name: value for name, value in os.environ.items() if not name.startswith("TUNER_")}
        self._process = subprocess.Popen(
            [sys.executable, "-I", "-S", str(Path(warden.__file__)), self._token, str(self._grace_s)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            bufsize=0,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
        assert self._process.stdin is not None and self._process.stdout is not None
        os.set_blocking(self._process.stdout.fileno(), False)
        self._rest = b""
        with contextlib.suppress(OSError):  # it died at once; `check` will see
            self._process.stdin.write("".join(f"+{group}\n" for group in sorted(self._groups)).encode())


def run_token() -> str:
    """A value for TUNER_RUN that no other run has."""
    return f"{os.getpid():x}-{time.time_ns():x}-{os.urandom(4).hex()}"
