"""Processes and their descendants: groups, strays that left them, and certainty that none is left.

A trial leads its own session and process group. Signals go to the group and to every descendant that left it. On Linux
the tuner is a child subreaper: an orphan of a trial becomes a child of the tuner and is found by the tag in its
environment (`TUNER_LEASE`) or by its session. Elsewhere psutil lists the descendants before the kill.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys

_LINUX = sys.platform == "linux"
_CHILDREN_FILE = os.path.exists(f"/proc/self/task/{os.getpid()}/children")  # some kernels and sandboxes have none
_PR_SET_PDEATHSIG, _PR_SET_CHILD_SUBREAPER, _PR_GET_CHILD_SUBREAPER = 1, 36, 37


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when the thread that started it ends; at once when `parent` is gone already."""
    if _LINUX:
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)


def adopt_orphans(adopt: bool = True) -> bool:
    """Make (or unmake) this process the parent of its orphaned descendants; returns what it was before."""
    if not _LINUX:
        return False
    libc, before = ctypes.CDLL(None), ctypes.c_int(0)
    libc.prctl(_PR_GET_CHILD_SUBREAPER, ctypes.byref(before), 0, 0, 0)
    libc.prctl(_PR_SET_CHILD_SUBREAPER, int(adopt), 0, 0, 0)
    return bool(before.value)


def exit_handle(pid: int) -> int | None:
    """A descriptor that becomes readable when the process ends; None where the system has none."""
    try:
        return os.pidfd_open(pid)
    except (AttributeError, OSError):
        return None


def wait_status(pid: int) -> tuple[int, object] | None:
    """(exit code as in `subprocess`, resource usage) of an ended child, which is reaped; None while it runs."""
    try:
        ended, status, usage = os.wait4(pid, os.WNOHANG)
    except ChildProcessError:
        return 0, None
    return (os.waitstatus_to_exitcode(status), usage) if ended else None


def children(pid: int) -> list[int]:
    """The direct children of a process."""
    if not _CHILDREN_FILE:
        return _children_by_psutil(pid)
    found: list[int] = []
    try:
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/children", "rb") as file:
                found += map(int, file.read().split())
    except OSError:
        pass
    return found


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, nearest first."""
    found = children(pid)
    for child in found:  # grows while it is walked
        found += children(child)
    return found


def peak_memory(pid: int) -> int:
    """Largest resident size so far of a process or of one of its descendants, bytes; 0 when it cannot be read.

    The kernel's `ru_maxrss` is useless for a child of a large process: it starts at the parent's own size.
    """
    return max((_high_water(member) for member in [pid, *descendants(pid)]), default=0)


def _high_water(pid: int) -> int:
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            _, found, rest = file.read().partition(b"VmHWM:")
    except OSError:
        return 0
    return int(rest.split(None, 1)[0]) * 1024 if found else 0


class Family:
    """A process that leads its own session, and everything that descends from it.

    Args:
        pid: The leader; also the number of its group and of its session.
        tag: The value of TUNER_LEASE in its environment, which its descendants inherit.
    """

    def __init__(self, pid: int, tag: str) -> None:
        self.pid = pid
        self._tag = f"TUNER_LEASE={tag}".encode()
        self._strays: dict[int, bytes] = {}  # pid -> start time: a recycled number is another process

    def signal(self, number: int) -> None:
        """Signal the whole family, also those that left the group."""
        self._find(descendants(self.pid))
        with contextlib.suppress(OSError):
            os.killpg(self.pid, number)
        for stray in list(self._strays):
            if self._alive(stray):
                with contextlib.suppress(OSError):
                    os.kill(stray, number)

    def survivors(self) -> bool:
        """Whether anyone outlived the leader (which must be reaped). Reaps those who ended."""
        with contextlib.suppress(ChildProcessError):
            while os.waitpid(-self.pid, os.WNOHANG)[0]:
                pass
        own = children(os.getpid())
        self._find([pid for pid in own if pid not in self._strays and self._belongs(pid)])
        self._find([pid for stray in list(self._strays) for pid in descendants(stray)])
        for stray in list(self._strays):
            if not self._alive(stray):
                del self._strays[stray]
        return bool(self._strays) or self._group_alive()

    def _find(self, pids: list[int]) -> None:
        for pid in pids:
            started = _start_time(pid)
            if started is not None:
                self._strays.setdefault(pid, started)

    def _alive(self, stray: int) -> bool:
        with contextlib.suppress(ChildProcessError):
            if os.waitpid(stray, os.WNOHANG)[0]:
                return False
        return _start_time(stray) == self._strays[stray]

    def _group_alive(self) -> bool:
        try:
            os.killpg(self.pid, 0)
        except PermissionError:
            return True
        except OSError:
            return False
        return True

    def _belongs(self, pid: int) -> bool:
        fields = _stat(pid)
        if fields is not None and int(fields[3]) == self.pid:
            return True
        try:
            with open(f"/proc/{pid}/environ", "rb") as file:
                return self._tag in file.read().split(b"\0")
        except OSError:
            return False


def _stat(pid: int) -> list[bytes] | None:
    """The fields of /proc/PID/stat after the name: state, parent, group, session, ..."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rsplit(b")", 1)[1].split()
    except (OSError, IndexError):
        return None


def _start_time(pid: int) -> bytes | None:
    if not _LINUX:
        return _start_time_by_psutil(pid)
    fields = _stat(pid)
    return fields[19] if fields is not None else None


def _children_by_psutil(pid: int) -> list[int]:
    import psutil

    try:
        return [child.pid for child in psutil.Process(pid).children()]
    except psutil.Error:
        return []


def _start_time_by_psutil(pid: int) -> bytes | None:
    import psutil

    try:
        return repr(psutil.Process(pid).create_time()).encode()
    except psutil.Error:
        return None
