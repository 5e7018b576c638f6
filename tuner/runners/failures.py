"""Which kind of failure it was, from an exit status, the end of a log, or an exception."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterable
from pathlib import Path

from tuner.trial import Failure, FailureKind

_TAIL_BYTES = 16_384

_OOM_GPU = re.compile(
    r"CUDA out of memory|torch\.(cuda\.)?OutOfMemoryError|HIP out of memory|CUDA_ERROR_OUT_OF_MEMORY|"
    r"cudaErrorMemoryAllocation|CUBLAS_STATUS_ALLOC_FAILED|XlaRuntimeError: RESOURCE_EXHAUSTED|"
    r"CUDA error: out of memory|cuMemAlloc\w* failed: out of memory"
)
_OOM_HOST = re.compile(
    r"^MemoryError\b|numpy\.\S*ArrayMemoryError|DefaultCPUAllocator: (can't allocate|not enough) memory|"
    r"std::bad_alloc|Cannot allocate memory|java\.lang\.OutOfMemoryError",
    re.MULTILINE,
)
_INFRA = re.compile(
    r"NCCL error|ncclSystemError|ncclInternalError|ncclRemoteError|ncclUnhandledCudaError|NCCL WARN .*timeout|"
    r"\bXid\b|uncorrectable ECC|cudaErrorECCUncorrectable|fallen off the bus|[Dd]evice not ready|"
    r"device\(s\) is/are busy or unavailable|cudaErrorSystemNotReady|cudaErrorDevicesUnavailable|"
    r"system not yet initialized|ConnectionResetError|Connection reset by peer|Stale file handle"
)
_SICK_GPU = re.compile(
    r"CUDA error|CUDA driver error|cudaError|CUBLAS_STATUS|CUDNN_STATUS|cuDNN error|device-side assert"
)


def text_kind(text: str) -> FailureKind | None:
    """The kind that a log or an error message speaks of; None when it names nothing known."""
    if _OOM_GPU.search(text):
        return "oom_gpu"
    if _OOM_HOST.search(text):
        return "oom_host"
    if _INFRA.search(text):
        return "infra"
    return None


def exception_failure(error: BaseException) -> Failure:
    """Classify an exception that an objective raised; the message is the traceback's last line and its place."""
    place = ""
    trace = error.__traceback__
    while trace is not None:
        code = trace.tb_frame.f_code
        place = f" ({Path(code.co_filename).name}:{trace.tb_lineno}, in {code.co_name})"
        trace = trace.tb_next
    name = type(error).__name__
    message = f"{name}: {error}"[:2000] + place
    if isinstance(error, MemoryError):
        return Failure(kind="oom_host", message=message)
    if isinstance(error, ConnectionResetError):
        return Failure(kind="infra", message=message)
    qualified = f"{type(error).__module__}.{name}: {error}"
    return Failure(kind=text_kind(qualified) or "crash", message=message)


def poisons_worker(failure: Failure) -> bool:
    """Whether a process that failed so must not run another trial: a CUDA error is sticky, an OOM leaves fragments."""
    return failure.kind in ("oom_gpu", "oom_host", "infra") or bool(_SICK_GPU.search(failure.message))


def exit_failure(code: int, log: str, *, killed_for_memory: bool | None = None) -> Failure:
    """Classify the end of a process.

    Args:
        code: Exit code; negative for a signal, as in `subprocess`.
        log: The end of its stderr (or of stdout, when stderr is empty).
        killed_for_memory: Whether the kernel killed something for memory meanwhile; None when it cannot be known.
    """
    how = f"exited with code {code}" if code >= 0 else f"ended by {signal_name(-code)}"
    message = "\n".join([how, *last_lines(log, 5)])
    sigkilled = code in (-signal.SIGKILL, 128 + signal.SIGKILL)
    if sigkilled and (killed_for_memory or (killed_for_memory is None and code > 0)):
        return Failure(kind="oom_host", message=f"{how}: the kernel ended it for memory")
    kind = text_kind(log)
    if kind is not None:
        return Failure(kind=kind, message=message)
    return Failure(kind="signal" if code < 0 or sigkilled else "crash", message=message)


def signal_name(number: int) -> str:
    """SIGKILL for 9, and so on; "signal 42" when it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def tail(path: Path, limit: int = _TAIL_BYTES) -> str:
    """The end of a log; empty when there is none."""
    try:
        with open(path, "rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - limit))
            return file.read().decode(errors="replace")
    except OSError:
        return ""


def last_lines(text: str, n: int) -> list[str]:
    """The last `n` lines that hold something; of a progress bar only what was last visible."""
    lines = (line.rstrip().rsplit("\r", 1)[-1].rstrip() for line in text.splitlines())
    return [line[:500] for line in lines if line][-n:]


class OomCounter:
    """Whether the kernel killed a process for memory since the last look: the counter of our own control group."""

    def __init__(self) -> None:
        self._files = [path for path in _counter_files() if _oom_kills(path) is not None]
        self._seen = self._read()

    def moved(self) -> bool | None:
        """True when it counted up since the last call; None where there is no counter."""
        now = self._read()
        if not now:
            return None
        before, self._seen = self._seen, now
        return now != before

    def _read(self) -> list[int | None]:
        return [_oom_kills(path) for path in self._files]


def _counter_files() -> Iterable[Path]:
    """Files with an `oom_kill` line, version 2 and 1 control groups; the whole machine's when there is neither."""
    root = Path("/sys/fs/cgroup")
    groups = []
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                groups.append(root / path.lstrip("/") / "memory.events")
            elif "memory" in controllers.split(","):
                groups.append(root / "memory" / path.lstrip("/") / "memory.oom_control")
    except (OSError, ValueError):
        pass
    found = [path for path in groups if path.exists()]
    return found or [Path("/proc/vmstat")]


def _oom_kills(path: Path) -> int | None:
    try:
        for line in path.read_text().splitlines():
            name, _, count = line.partition(" ")
            if name == "oom_kill":
                return int(count)
    except (OSError, ValueError):
        pass
    return None
