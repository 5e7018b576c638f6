"""Usage: the memory and the processors that running trials take now, of each with all its descendants.

Processes are read through psutil, GPUs through NVML where the package is installed. A reading costs some tens of
microseconds a process; nothing is read of a slot in which nothing runs.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from tuner.runners.processes import descendants

if TYPE_CHECKING:
    from tuner.slots import SlotState


@dataclass(frozen=True, slots=True)
class Usage:
    """What one slot takes.

    Attributes:
        memory_bytes: Resident, of all processes of the trial; pages that they share count for each.
        cpu_share: Of one processor, since the last reading: 1.5 is one and a half; None at the first.
        gpu_memory_bytes: Of the slot's GPUs; None without any.
        gpu_share: The mean share of the time in which they were busy; None where that is not told.
    """

    memory_bytes: int
    cpu_share: float | None = None
    gpu_memory_bytes: int | None = None
    gpu_share: float | None = None


class UsageMeter:
    """Reads slots again and again; it remembers the processor time of the last reading."""

    def __init__(self) -> None:
        self._seconds: dict[int, tuple[float, float]] = {}  # by leader: when it was read, and what
        self._nvml: Any = None
        self._nvml_tried = False

    def read(self, slots: Sequence[SlotState]) -> dict[str, Usage]:
        """What each slot takes in which a trial runs here and now, by slot."""
        found: dict[str, Usage] = {}
        before, self._seconds = self._seconds, {}
        for slot in slots:
            if slot.trial is None or slot.pid is None:
                continue
            family = _family(slot.pid)
            if not family:
                continue
            now, spent = time.monotonic(), sum(seconds for _, seconds in family)
            self._seconds[slot.pid] = now, spent
            share = None
            if slot.pid in before and now > before[slot.pid][0]:
                share = max(spent - before[slot.pid][1], 0.0) / (now - before[slot.pid][0])
            gpu_memory, gpu_share = self._gpus(slot.gpus)
            found[slot.slot] = Usage(sum(size for size, _ in family), share, gpu_memory, gpu_share)
        return found

    def _gpus(self, uuids: Sequence[str]) -> tuple[int | None, float | None]:
        if not uuids or (nvml := self._loaded()) is None:
            return None, None
        memory, shares = 0, []
        for uuid in uuids:
            try:
                handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
                memory += int(nvml.nvmlDeviceGetMemoryInfo(handle).used)
                shares.append(nvml.nvmlDeviceGetUtilizationRates(handle).gpu / 100.0)
            except nvml.NVMLError:  # an instance of a divided GPU does not tell how busy it is
                continue
        return memory or None, sum(shares) / len(shares) if shares else None

    def _loaded(self) -> Any:
        if not self._nvml_tried:
            self._nvml_tried = True
            try:
                import pynvml

                pynvml.nvmlInit()
                self._nvml = pynvml
            except Exception:  # no package, no driver: GPUs are not shown
                self._nvml = None
        return self._nvml


def _family(pid: int) -> list[tuple[int, float]]:
    """Resident bytes and processor seconds of a process and its descendants, of those that may be read."""
    found = []
    for member in [pid, *descendants(pid)]:
        try:
            process = psutil.Process(member)
            with process.oneshot():
                times = process.cpu_times()
                found.append((int(process.memory_info().rss), float(times.user + times.system)))
        except psutil.Error:
            continue
    return found
