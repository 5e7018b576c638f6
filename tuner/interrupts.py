"""Interrupts: the three-step Ctrl-C, SIGTERM and SIGHUP, as levels that the loop reads.

Level 1 (first Ctrl-C): start nothing new, let running trials end. Level 2 (second Ctrl-C, SIGTERM, SIGHUP): terminate
the trials' process groups, after a grace kill them; they go back to waiting. Level 3 (third Ctrl-C): kill now.
"""

from __future__ import annotations

import contextlib
import signal
import socket
import threading
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any

_TERMINATING = (signal.SIGTERM, signal.SIGHUP)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """Why a session of a study ended."""

    reason: str
    signal: int | None = None


class Interrupts:
    """Installs the handlers in a `with` block of the main thread; elsewhere it only stays at level 0.

    Attributes:
        level: 0 to 3.
        signal: The first signal that came.
        wakeup: A file descriptor that becomes readable when a signal comes, for the loop's selector; -1 elsewhere.
    """

    def __init__(self) -> None:
        self.level = 0
        self.signal: signal.Signals | None = None
        self.wakeup = -1
        self._previous: dict[signal.Signals, Any] = {}
        self._sockets: tuple[socket.socket, socket.socket] | None = None
        self._previous_fd = -1

    def __enter__(self) -> Interrupts:
        if threading.current_thread() is not threading.main_thread():
            return self
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._sockets = (reader, writer)
        self.wakeup = reader.fileno()
        self._previous_fd = signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGINT, *_TERMINATING):
            self._previous[number] = signal.signal(number, self._on_signal)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self._sockets is None:
            return
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._previous_fd)
        for end in self._sockets:
            end.close()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        received = signal.Signals(number)
        self.signal = self.signal or received
        self.level = max(self.level, 2) if received in _TERMINATING else min(self.level + 1, 3)

    def wake(self) -> None:
        """Make `wakeup` readable, from any thread."""
        if self._sockets is not None:
            with contextlib.suppress(BlockingIOError, OSError):
                self._sockets[1].send(b"\0")

    def drain(self) -> None:
        """Empty the wake-up pipe, so that it wakes again."""
        if self._sockets is not None:
            try:
                while self._sockets[0].recv(4096):
                    pass
            except BlockingIOError:
                pass
