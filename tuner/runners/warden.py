"""A tiny process that outlives the tuner by a moment, to end the trials of a tuner that was killed.

Run as a script, standard library only: `python -I -S warden.py TOKEN GRACE_S`. Its stdin is a pipe whose other end only
the tuner holds. Lines on it: `+PGID` (watch this group), `-PGID` (it ended), `bye` (the tuner ends by itself). When the
pipe closes without a `bye`, every watched group gets TERM, after the grace KILL, and then every process whose
environment carries `TUNER_RUN=TOKEN` gets KILL, wherever it has hidden.

It also keeps time: when the leader of a watched group ends, it writes `PGID MONOTONIC_SECONDS` to stdout. The tuner may
be busy with a suggestion at that moment and would measure the trial as too long.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import sys
import time

_ROUNDS = 50


def tagged_processes(name: str, value: str) -> list[int]:
    """The processes whose environment says `name=value`, except this one and its ancestors."""
    wanted = f"{name}={value}".encode()
    own = _lineage()
    found = []
    for entry in os.listdir("/proc") if os.path.isdir("/proc") else []:
        if not entry.isdigit() or int(entry) in own:
            continue
        try:
            with open(f"/proc/{entry}/environ", "rb") as file:
                if wanted in file.read().split(b"\0"):
                    found.append(int(entry))
        except OSError:
            continue
    return found


def reap_leftovers(token: str) -> int:
    """Kill what earlier runs of a study left behind: every process with `TUNER_STUDY_TOKEN=token`.

    A resumed run calls this before it starts anything. Each process gets TERM and, a second later, KILL.

    Returns:
        How many processes there were.
    """
    if not token:
        return 0
    found: set[int] = set()
    for round_ in range(_ROUNDS):
        alive = tagged_processes("TUNER_STUDY_TOKEN", token)
        if not alive:
            break
        found.update(alive)
        signal_all(alive, signal.SIGTERM if round_ == 0 else signal.SIGKILL)
        for _ in range(20 if round_ == 0 else 1):
            time.sleep(0.05)
            if not tagged_processes("TUNER_STUDY_TOKEN", token):
                break
    return len(found)


def signal_all(pids: list[int], number: int) -> None:
    """Send a signal to processes that may be gone already."""
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _lineage() -> set[int]:
    pid, found = os.getpid(), {os.getpid(), 0, 1}
    while pid > 1:
        try:
            with open(f"/proc/{pid}/stat", "rb") as file:
                pid = int(file.read().rsplit(b")", 1)[1].split()[1])
        except (OSError, IndexError, ValueError):
            break
        found.add(pid)
    return found


def _signal_groups(groups: set[int], number: int) -> set[int]:
    """The groups that still had members."""
    alive = set()
    for group in groups:
        try:
            os.killpg(group, number)
            alive.add(group)
        except OSError:
            pass
    return alive


def _finish(groups: set[int], token: str, grace_s: float) -> None:
    """End everything: TERM, grace, KILL, then whoever carries the token."""
    alive = _signal_groups(groups, signal.SIGTERM)
    until = time.monotonic() + grace_s
    while alive and time.monotonic() < until:
        time.sleep(0.02)
        alive = _signal_groups(alive, 0)
    _signal_groups(alive, signal.SIGKILL)
    for _ in range(_ROUNDS):
        strays = tagged_processes("TUNER_RUN", token)
        if not strays:
            return
        signal_all(strays, signal.SIGKILL)
        time.sleep(0.02)


class _Watch:
    """The groups that are watched, and a handle on the leader of each, to know when it ends."""

    def __init__(self) -> None:
        self.groups: set[int] = set()
        self.handles: dict[int, int] = {}  # pidfd -> group

    def obey(self, line: bytes) -> None:
        group = int(line[1:])
        if line[:1] == b"-":
            self.groups.discard(group)
            for handle in [handle for handle, owner in self.handles.items() if owner == group]:
                self.forget(handle)
        else:
            self.groups.add(group)
            with contextlib.suppress(OSError, AttributeError):
                self.handles[os.pidfd_open(group)] = group

    def forget(self, handle: int) -> None:
        del self.handles[handle]
        os.close(handle)

    def tell_time(self, handle: int) -> None:
        with contextlib.suppress(OSError):
            os.write(1, f"{self.handles[handle]} {time.monotonic()!r}\n".encode())
        self.forget(handle)


def main(token: str, grace_s: float) -> None:
    """Watch until the pipe closes, then clean up."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)
    os.set_blocking(1, False)
    watch, rest = _Watch(), b""
    while True:
        ready, _, _ = select.select([0, *watch.handles], [], [])
        for handle in ready:
            if handle:
                watch.tell_time(handle)
        if 0 not in ready:
            continue
        chunk = os.read(0, 65536)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            if line == b"bye":
                return
            watch.obey(line)
    _finish(watch.groups, token, grace_s)


if __name__ == "__main__":
    main(sys.argv[1], float(sys.argv[2]))
