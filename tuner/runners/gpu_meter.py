"""Peak memory and energy of a slot's GPUs while a trial runs, sampled through NVML by a thread.

Memory is what the whole device holds, which is the trial's because a lease is exclusive; energy is the difference of
the device's own counter, which moves every 20 to 100 ms, so that it is told only for a second or more, and never for
an instance of a divided GPU (its counter is the whole GPU's).
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Any

_PERIOD_S = 0.1
_SHORTEST_S = 1.0


class GpuMeter:
    """Measures the GPUs of the slots it is told of; without NVML, and without GPUs, it does nothing at no cost."""

    def __init__(self) -> None:
        self._nvml: Any = None
        self._lock = threading.Lock()
        self._handles: dict[str, list[Any]] = {}
        self._peaks: dict[str, int] = {}
        self._joules: dict[str, float | None] = {}
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def start(self, slot: str, uuids: Sequence[str]) -> None:
        """Begin to measure a slot's GPUs for a new trial."""
        if not uuids or not self._ready():
            return
        with self._lock, contextlib.suppress(self._nvml.NVMLError):
            handles = [self._nvml.nvmlDeviceGetHandleByUUID(uuid) for uuid in uuids]
            whole = not any(uuid.startswith("MIG-") for uuid in uuids)
            self._handles[slot] = handles
            self._peaks[slot] = self._memory(handles)
            self._joules[slot] = self._energy(handles) if whole else None

    def stop(self, slot: str, seconds: float) -> dict[str, float]:
        """What was measured since `start`: gpu_mem_peak_bytes and, when the trial was long enough, gpu_energy_j."""
        with self._lock:
            handles = self._handles.pop(slot, None)
            if handles is None:
                return {}
            before = self._joules.pop(slot)
            found = {"gpu_mem_peak_bytes": float(max(self._peaks.pop(slot), self._memory(handles)))}
            after = self._energy(handles) if before is not None and seconds >= _SHORTEST_S else None
            if before is not None and after is not None:
                found["gpu_energy_j"] = after - before
            return found

    def close(self) -> None:
        """Stop measuring."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None
            self._nvml.nvmlShutdown()

    def _ready(self) -> bool:
        if self._thread is not None:
            return True
        if self._closed.is_set():
            return False
        try:
            import pynvml

            pynvml.nvmlInit()
        except Exception:  # no package, or any of NVML's errors: nothing is measured
            self._closed.set()
            return False
        self._nvml = pynvml
        self._thread = threading.Thread(target=self._sample, name="tuner-gpu-meter", daemon=True)
        self._thread.start()
        return True

    def _sample(self) -> None:
        while not self._closed.wait(_PERIOD_S):
            with self._lock:
                for slot, handles in self._handles.items():
                    self._peaks[slot] = max(self._peaks[slot], self._memory(handles))

    def _memory(self, handles: Sequence[Any]) -> int:
        with contextlib.suppress(self._nvml.NVMLError):
            return sum(int(self._nvml.nvmlDeviceGetMemoryInfo(handle).used) for handle in handles)
        return 0

    def _energy(self, handles: Sequence[Any]) -> float | None:
        with contextlib.suppress(self._nvml.NVMLError):
            millijoules = [int(self._nvml.nvmlDeviceGetTotalEnergyConsumption(handle)) for handle in handles]
            return sum(millijoules) / 1e3
        return None
