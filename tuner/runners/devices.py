"""Devices and slots: which GPUs there are, how trials share a machine, and locks that hold across runs.

A slot is what one trial gets: GPUs by UUID (one MIG instance is one whole GPU) and a number of threads. Leases are
`flock`s in a folder of the user in the temporary directory; the kernel drops them when the process dies.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import stat
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from tuner.errors import EnvironmentUnfitError
from tuner.trial import Metric

_FREE_SHARE = 0.9  # of a GPU's memory that must be free before it is leased
_TIME_WORD = re.compile(
    r"latency|throughput|time|runtime|duration|wall|walltime|elapsed|seconds|ms|us|ns|speed|speedup|fps|qps|tps|rps|"
    r"energy|joules?|power|watts?|bandwidth|[tg]?flops|ttft|tpot"
)
_TIME_UNIT = re.compile(
    r"(n|u|µ|m)?s|sec(onds?)?|min(utes?)?|h(ours?)?|[kMm]?J|k?Wh|m?W|.*/\s*(s|sec|second|min|h)|.*\bper (second|s)|"
    r"([kMGT])?Hz|fps|qps|([kMGT])?FLOPS",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """A device that one trial can have to itself.

    Attributes:
        uuid: `GPU-…`, or `MIG-…` for an instance.
        index: In PCI bus order.
        memory_bytes: In all.
        name: As its maker calls it.
    """

    uuid: str
    index: int
    memory_bytes: int
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Slot:
    """What one trial gets.

    Attributes:
        id: "cpu0", "gpu1", ...: unique in a run.
        gpu_uuids: Its GPUs.
        cpus: The processors it is bound to; empty: any.
        threads: Cap on the threads of numerical libraries.
        exclusive: Nothing else may run that could disturb a measurement.
    """

    id: str
    gpu_uuids: tuple[str, ...] = ()
    cpus: tuple[int, ...] = ()
    threads: int = 1
    exclusive: bool = False


def discover_gpus() -> list[Gpu]:
    """The GPUs that this process may use, in bus order; empty without any.

    Asks NVML (the package nvidia-ml-py), or `nvidia-smi` where that is not installed. A mask in CUDA_VISIBLE_DEVICES,
    of indices or UUIDs, is respected.
    """
    gpus = list(_gpus_by_nvml() or _gpus_by_smi())
    mask = os.environ.get("CUDA_VISIBLE_DEVICES")
    if mask is None:
        return gpus
    found: list[Gpu] = []
    for entry in (part.strip() for part in mask.split(",")):
        chosen = [gpu for gpu in gpus if str(gpu.index) == entry or (len(entry) > 4 and gpu.uuid.startswith(entry))]
        if not chosen:
            break  # as CUDA does: what follows an invalid entry is invisible
        found += [gpu for gpu in chosen if gpu not in found]
    return found


def plan_slots(
    devices: Sequence[Gpu],
    *,
    gpus: int = 0,
    cpus: int | None = 1,
    parallel: int | Literal["auto"] = 1,
    exclusive: bool = False,
) -> list[Slot]:
    """The slots of a run: as many as `parallel` asks for and the devices allow.

    Args:
        devices: From `discover_gpus`.
        gpus: How many a trial gets.
        cpus: How many threads a trial gets; None: an equal share.
        parallel: How many trials at once; "auto": as many as fit.
        exclusive: A time or an energy is measured: one slot a device, on the CPU one at all.

    Raises:
        EnvironmentUnfitError: A trial needs more GPUs than there are.
    """
    processors = _processors()
    if gpus > len(devices):
        raise EnvironmentUnfitError(
            f"a trial needs {gpus} GPU{'s' * (gpus > 1)}, but {len(devices) or 'none'} can be seen here; "
            "lower runner.gpus, or look at CUDA_VISIBLE_DEVICES and `tuner doctor`"
        )
    if gpus:
        fit = len(devices) // gpus
    else:
        fit = 1 if exclusive else max(1, len(processors) // (cpus or 1))
    bounded = gpus > 0 or exclusive  # packing CPU trials is the user's choice, packing GPUs is not
    n = fit if parallel == "auto" else max(1, min(parallel, fit) if bounded else parallel)
    share = max(1, len(processors) // n)
    bind = exclusive and gpus > 0 and share * n <= len(processors)
    return [
        Slot(
            id=f"gpu{i}" if gpus else f"cpu{i}",
            gpu_uuids=tuple(gpu.uuid for gpu in devices[i * gpus : (i + 1) * gpus]),
            cpus=tuple(processors[i * share : (i + 1) * share]) if bind else (),
            threads=cpus or share,
            exclusive=exclusive,
        )
        for i in range(n)
    ]


def _processors() -> list[int]:
    """The processors this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def needs_exclusive(metrics: Sequence[Metric]) -> bool:
    """Whether a metric that matters (goal or bound) is a time, a rate or an energy, by its name or its unit."""
    return any(
        _is_time(metric)
        for metric in metrics
        if metric.formula is None and not (metric.goal is None and metric.min is None and metric.max is None)
    )


def _is_time(metric: Metric) -> bool:
    if metric.unit and _TIME_UNIT.fullmatch(metric.unit.strip()):
        return True
    words = re.split(r"[^a-z0-9]+", metric.name.lower())
    return any(map(_TIME_WORD.fullmatch, words)) or (len(words) > 1 and words[-1] in ("s", "j", "sec", "min", "h"))


class Lease:
    """Locks on a slot's devices; they end with `release` or with the process."""

    def __init__(self, descriptors: list[int]) -> None:
        self._descriptors = descriptors

    def release(self) -> None:
        """Give the devices back; may be called again."""
        while self._descriptors:
            os.close(self._descriptors.pop())


def lease(slot: Slot) -> Lease | None:
    """Lock a slot's devices against other runs of this user on this host; None when another run holds one.

    A slot on the CPU needs no lock, unless it is exclusive: then at most one run measures at a time.
    """
    names = [f"gpu-{uuid}" for uuid in slot.gpu_uuids] or (["measure"] if slot.exclusive else [])
    taken = Lease([])
    for name in names:
        path = _lock_folder() / f"{re.sub(r'[^A-Za-z0-9-]', '_', name)}.lock"
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        taken._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            taken.release()
            return None
    return taken


def occupant(slot: Slot) -> str | None:
    """Why a slot's GPUs are not free to use, as NVML sees it; None when they are, or when NVML cannot be asked."""
    with _nvml() as nvml:
        if nvml is None:
            return None
        for uuid in slot.gpu_uuids:
            handle = nvml.nvmlDeviceGetHandleByUUID(uuid)
            with contextlib.suppress(nvml.NVMLError):
                others = [process.pid for process in nvml.nvmlDeviceGetComputeRunningProcesses(handle)]
                others = [pid for pid in others if pid != os.getpid()]
                if others:
                    return f"{uuid} is used by process {', '.join(map(str, others))}"
            memory = nvml.nvmlDeviceGetMemoryInfo(handle)
            if memory.free < _FREE_SHARE * memory.total:
                return f"{uuid} has only {memory.free >> 20} of {memory.total >> 20} MiB free"
    return None


def _lock_folder() -> Path:
    """The user's own folder for locks.

    Raises:
        EnvironmentUnfitError: Somebody else's folder, or no folder, has that name.
    """
    path = Path(tempfile.gettempdir()) / f"tuner-{os.getuid()}"
    path.mkdir(mode=0o700, exist_ok=True)
    status = path.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.getuid():
        raise EnvironmentUnfitError(f"{path} must be a folder of this user; remove it, or set TMPDIR")
    return path


@contextlib.contextmanager
def _nvml() -> Iterator[Any]:
    """The NVML module, initialised; None where there is no driver or no nvidia-ml-py."""
    try:
        import pynvml
    except ImportError:
        yield None
        return
    try:
        pynvml.nvmlInit()
    except pynvml.NVMLError:
        yield None
        return
    try:
        yield pynvml
    finally:
        pynvml.nvmlShutdown()


def _gpus_by_nvml() -> Iterator[Gpu]:
    with _nvml() as nvml:
        for index in range(nvml.nvmlDeviceGetCount() if nvml is not None else 0):
            handle = nvml.nvmlDeviceGetHandleByIndex(index)
            for part in _instances(nvml, handle) or [handle]:
                yield Gpu(
                    uuid=_text(nvml.nvmlDeviceGetUUID(part)),
                    index=index,
                    memory_bytes=int(nvml.nvmlDeviceGetMemoryInfo(part).total),
                    name=_text(nvml.nvmlDeviceGetName(part)),
                )


def _instances(nvml: Any, handle: Any) -> list[Any]:
    """The MIG instances of a GPU; empty when it is not divided."""
    found = []
    with contextlib.suppress(nvml.NVMLError):
        if nvml.nvmlDeviceGetMigMode(handle)[0]:
            for i in range(nvml.nvmlDeviceGetMaxMigDeviceCount(handle)):
                with contextlib.suppress(nvml.NVMLError):
                    found.append(nvml.nvmlDeviceGetMigDeviceHandleByIndex(handle, i))
    return found


def _text(value: str | bytes) -> str:
    return value.decode() if isinstance(value, bytes) else value


def _gpus_by_smi() -> Iterator[Gpu]:
    query = ["nvidia-smi", "--query-gpu=uuid,index,memory.total,name", "--format=csv,noheader,nounits"]
    try:
        listing = subprocess.run(query, capture_output=True, text=True, timeout=20, check=True).stdout
    except (OSError, subprocess.SubprocessError):
        return
    for line in listing.splitlines():
        uuid, index, mebibytes, name = (part.strip() for part in line.split(",", 3))
        with contextlib.suppress(ValueError):
            yield Gpu(uuid=uuid, index=int(index), memory_bytes=int(mebibytes) << 20, name=name)
