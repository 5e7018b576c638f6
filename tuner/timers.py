"""Timing of calls: by the wall clock on a CPU, by events on the stream of a GPU, with the cache as it was asked for."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Protocol

from tuner.errors import UsageError

Call = Callable[[], object]

_MIB = 1 << 20
_BUSY_MOST_S = 0.02
_CYCLES_PER_S = 2e9


class Timer(Protocol):
    """How long calls take."""

    def run(self, calls: Sequence[Call], during: Callable[[], None]) -> list[float]:
        """Seconds of each call; `during` is called once while the work is under way, or right after it."""

    def now(self) -> float:
        """Seconds of a clock that only goes forward, once everything that was started is done."""

    def wait(self, seconds: float) -> None:
        """Do nothing for so long."""


class CpuTimer:
    """The wall clock of this process.

    Args:
        flush_bytes: So many bytes are written before each call, so that it finds nothing of its own in the cache; 0
            leaves the cache alone.
        clock: Seconds; only goes forward.
        wait: Does nothing for so many seconds.
    """

    def __init__(
        self,
        *,
        flush_bytes: int = 0,
        clock: Callable[[], float] = time.perf_counter,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._clock = clock
        self._wait = wait
        self._buffers = (bytearray(flush_bytes), bytes(flush_bytes)) if flush_bytes else None

    def run(self, calls: Sequence[Call], during: Callable[[], None]) -> list[float]:
        """Seconds of each call."""
        found = []
        for call in calls:
            if self._buffers is not None:
                self._buffers[0][:] = self._buffers[1]
            started = self._clock()
            call()
            found.append(self._clock() - started)
        during()
        return found

    def now(self) -> float:
        """Seconds on the clock."""
        return self._clock()

    def wait(self, seconds: float) -> None:
        """Do nothing for so long."""
        self._wait(seconds)


class CudaTimer:
    """Events on the current stream of a GPU: what the GPU spends, not what launching costs.

    The GPU is kept busy while a batch is launched, as long as launching the last one took (at most 20 ms): where it
    would wait for the next launch, the events would count that.

    Args:
        device: As torch names it, such as "cuda" or "cuda:1".
        flush_bytes: So many bytes are written before each call, outside its events; 0 leaves the L2 cache alone.
    """

    def __init__(self, device: str, *, flush_bytes: int = 0) -> None:
        import torch

        self._torch: Any = torch
        self._device = torch.device(device)
        size = max(flush_bytes // 4, 1)
        self._buffer = torch.empty(size, dtype=torch.int32, device=self._device) if flush_bytes else None
        self._launching_s = 0.0

    def run(self, calls: Sequence[Call], during: Callable[[], None]) -> list[float]:
        """Seconds of each call, by events that enclose it; they are waited for once, at the end."""
        cuda = self._torch.cuda
        with cuda.device(self._device):
            events = [(cuda.Event(enable_timing=True), cuda.Event(enable_timing=True)) for _ in calls]
            self._keep_busy(len(calls))
            began = time.perf_counter()
            for call, (start, end) in zip(calls, events, strict=True):
                if self._buffer is not None:
                    self._buffer.zero_()
                start.record()
                call()
                end.record()
            self._launching_s = (time.perf_counter() - began) / len(calls)
            during()
            cuda.synchronize()
        return [float(start.elapsed_time(end)) / 1e3 for start, end in events]

    def _keep_busy(self, calls: int) -> None:
        sleep = getattr(self._torch.cuda, "_sleep", None)  # counts cycles; torch has no public name for it
        if sleep is not None and self._launching_s:
            sleep(int(min(1.2 * self._launching_s * calls, _BUSY_MOST_S) * _CYCLES_PER_S))

    def now(self) -> float:
        """Seconds on the wall clock, once the GPU is done."""
        self._torch.cuda.synchronize(self._device)
        return time.perf_counter()

    def wait(self, seconds: float) -> None:
        """Do nothing for so long."""
        time.sleep(seconds)


def default_device() -> str:
    """ "cuda" when this process has begun to use a GPU through torch, otherwise "cpu"; imports nothing."""
    import sys

    torch = sys.modules.get("torch")
    return "cuda" if torch is not None and torch.cuda.is_available() and torch.cuda.is_initialized() else "cpu"


def cache_bytes(device: str) -> int:
    """The size of the last-level cache: L2 of a GPU; of a CPU what Linux tells, 32 MiB where it does not."""
    if device != "cpu":
        import torch

        return int(torch.cuda.get_device_properties(device).L2_cache_size)
    sizes = []
    for file in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*/size"):
        text = file.read_text().strip()
        sizes.append(int(text[:-1]) * (_MIB if text.endswith("M") else 1 << 10) if text[:-1].isdigit() else 0)
    return max(sizes, default=0) or 32 * _MIB


def make_timer(device: str, *, flush: bool) -> Timer:
    """The timer of a device; with `flush` it writes twice the last-level cache (at most 512 MiB) before each call.

    Raises:
        UsageError: The device is neither "cpu" nor a CUDA device that torch sees.
    """
    if device == "cpu":
        return CpuTimer(flush_bytes=min(2 * cache_bytes(device), 512 * _MIB) if flush else 0)
    import torch

    if not device.startswith("cuda") or not torch.cuda.is_available():
        raise UsageError(f'a device must be "cpu" or a CUDA device that torch sees, but got {device!r}')
    return CudaTimer(device, flush_bytes=min(2 * cache_bytes(device), 512 * _MIB) if flush else 0)


def gpu_uuid(device: str) -> str:
    """The UUID of a CUDA device, as NVML knows it; "" for an instance of a divided GPU and for a CPU."""
    if device == "cpu":
        return ""
    import torch

    uuid = str(getattr(torch.cuda.get_device_properties(device), "uuid", ""))
    return uuid if not uuid or uuid.startswith(("GPU-", "MIG-")) else f"GPU-{uuid}"
