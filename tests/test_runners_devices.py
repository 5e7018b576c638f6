"""GPUs, slots, leases across runs, and what is measured on a GPU: with a fake NVML, and on a real GPU."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
import types
from pathlib import Path
from typing import Any

import pytest

from tests.runner_cases import LOSS, events_until_finished, outcome, until
from tuner.errors import EnvironmentUnfitError
from tuner.runners.command import Command
from tuner.runners.devices import Gpu, Slot, discover_gpus, lease, needs_exclusive, occupant, plan_slots
from tuner.runners.gpu_meter import GpuMeter
from tuner.runners.lane import slot_environment
from tuner.runners.local import LocalRunner
from tuner.runners.protocol import Finished, Job
from tuner.trial import Metric

ROOT = Path(__file__).resolve().parent.parent
GIB = 1 << 30


class FakeNvml(types.ModuleType):
    """As much of nvidia-ml-py as the tuner uses: GPU 1 is divided into two instances."""

    class NVMLError(Exception):
        pass

    def __init__(self) -> None:
        super().__init__("pynvml")
        self.used = {"GPU-aaaa-0": 1 * GIB, "MIG-bbbb-0": 0, "MIG-bbbb-1": 0, "GPU-cccc-2": 0}
        self.joules = 1000.0
        self.processes: list[int] = []

    def nvmlInit(self) -> None: ...  # noqa: N802

    def nvmlShutdown(self) -> None: ...  # noqa: N802

    def nvmlDeviceGetCount(self) -> int:  # noqa: N802
        return 3

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:  # noqa: N802
        return ["GPU-aaaa-0", "GPU-bbbb-1", "GPU-cccc-2"][index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:  # noqa: N802
        return uuid

    def nvmlDeviceGetMigMode(self, handle: str) -> tuple[int, int]:  # noqa: N802
        if handle == "GPU-cccc-2":
            raise self.NVMLError
        return (1, 1) if handle == "GPU-bbbb-1" else (0, 0)

    def nvmlDeviceGetMaxMigDeviceCount(self, handle: str) -> int:  # noqa: N802
        return 3

    def nvmlDeviceGetMigDeviceHandleByIndex(self, handle: str, index: int) -> str:  # noqa: N802
        if index == 2:
            raise self.NVMLError
        return f"MIG-bbbb-{index}"

    def nvmlDeviceGetUUID(self, handle: str) -> bytes:  # noqa: N802
        return handle.encode()

    def nvmlDeviceGetName(self, handle: str) -> str:  # noqa: N802
        return "Fake"

    def nvmlDeviceGetMemoryInfo(self, handle: str) -> types.SimpleNamespace:  # noqa: N802
        used = self.used[handle]
        return types.SimpleNamespace(total=80 * GIB, used=used, free=80 * GIB - used)

    def nvmlDeviceGetComputeRunningProcesses(self, handle: str) -> list[types.SimpleNamespace]:  # noqa: N802
        return [types.SimpleNamespace(pid=pid) for pid in self.processes]

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:  # noqa: N802
        return round(1000 * self.joules)


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> FakeNvml:
    fake = FakeNvml()
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    return fake


@pytest.fixture(autouse=True)
def own_locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Locks of these tests lie in a folder of their own."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr("tempfile.tempdir", None)


GPUS = [Gpu(uuid=f"GPU-{i}", index=i, memory_bytes=80 * GIB, name="Fake") for i in range(4)]


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (None, ["GPU-aaaa-0", "MIG-bbbb-0", "MIG-bbbb-1", "GPU-cccc-2"]),
        ("", []),
        ("2,0", ["GPU-cccc-2", "GPU-aaaa-0"]),
        ("GPU-aaaa", ["GPU-aaaa-0"]),
        ("MIG-bbbb-1", ["MIG-bbbb-1"]),
        ("0,7,2", ["GPU-aaaa-0"]),
        ("0,0", ["GPU-aaaa-0"]),
    ],
)
def test_a_mask_is_respected(
    nvml: FakeNvml, monkeypatch: pytest.MonkeyPatch, mask: str | None, expected: list[str]
) -> None:
    if mask is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", mask)
    assert [gpu.uuid for gpu in discover_gpus()] == expected


def test_slots_on_gpus() -> None:
    slots = plan_slots(GPUS, gpus=2, cpus=4, parallel="auto")
    assert [slot.gpu_uuids for slot in slots] == [("GPU-0", "GPU-1"), ("GPU-2", "GPU-3")]
    assert [slot.threads for slot in slots] == [4, 4]
    assert len(plan_slots(GPUS, gpus=1, parallel=9)) == 4  # GPUs are not shared
    assert len(plan_slots(GPUS, gpus=1, parallel=3, exclusive=True)) == 3


def test_gpus_that_are_not_there_are_an_error() -> None:
    with pytest.raises(EnvironmentUnfitError, match="5 GPUs, but 4"):
        plan_slots(GPUS, gpus=5)
    with pytest.raises(EnvironmentUnfitError, match="1 GPU, but none"):
        plan_slots([], gpus=1)


def test_slots_on_the_cpu() -> None:
    assert [slot.id for slot in plan_slots([], parallel=5)] == ["cpu0", "cpu1", "cpu2", "cpu3", "cpu4"]
    assert len(plan_slots([], parallel=5, exclusive=True)) == 1
    processors = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    assert len(plan_slots([], cpus=1, parallel="auto")) == processors
    assert plan_slots([], cpus=None, parallel=1)[0].threads == processors


@pytest.mark.parametrize(
    ("metric", "expected"),
    [
        (Metric(name="latency_ms", goal="minimize"), True),
        (Metric(name="tokens_per_s", goal="maximize"), True),
        (Metric(name="wall_s", max=3), True),
        (Metric(name="gpu_energy_j", goal="minimize"), True),
        (Metric(name="cost", goal="minimize", unit="ms"), True),
        (Metric(name="rate", goal="maximize", unit="img/s"), True),
        (Metric(name="speed", goal="maximize", unit="TFLOPS"), True),
        (Metric(name="latency_ms"), False),
        (Metric(name="latency_ms", goal="minimize", formula="flops / 3"), False),
        (Metric(name="accuracy", goal="maximize"), False),
        (Metric(name="timesteps", goal="maximize"), False),
        (Metric(name="params_m", goal="minimize", unit="M"), False),
        (Metric(name="max_rss_bytes", goal="minimize", unit="GB"), False),
    ],
)
def test_times_and_energies_need_exclusive_slots(metric: Metric, expected: bool) -> None:
    assert needs_exclusive([LOSS, metric]) is expected


def test_a_slots_environment() -> None:
    slot = Slot(id="gpu0", gpu_uuids=("GPU-0", "GPU-1"), threads=4)
    found = slot_environment(slot)
    assert found["CUDA_VISIBLE_DEVICES"] == found["TUNER_GPU_IDS"] == "GPU-0,GPU-1"
    assert found["CUDA_DEVICE_ORDER"] == "PCI_BUS_ID" and found["OMP_NUM_THREADS"] == "4"
    assert "CUDA_VISIBLE_DEVICES" not in slot_environment(Slot(id="cpu0"))


def test_leases_hold_across_processes_and_end_with_them(tmp_path: Path) -> None:
    slot = Slot(id="gpu0", gpu_uuids=("GPU-0", "GPU-1"))
    code = textwrap.dedent("""
        import time
        from tuner.runners.devices import Slot, lease
        held = lease(Slot(id="gpu0", gpu_uuids=("GPU-1",)))
        print(held is not None, flush=True)
        time.sleep(60)
    """)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", code], env=environment, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout is not None and other.stdout.readline() == "True\n"
        assert lease(slot) is None
        free = lease(Slot(id="gpu0", gpu_uuids=("GPU-0",)))  # the failed lease let go of it
        assert free is not None
        free.release()
        other.kill()
    held = until(lambda: lease(slot))
    assert lease(slot) is None
    held.release()
    held.release()
    again = lease(slot)
    assert again is not None
    again.release()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / f"tuner-{os.getuid()}").symlink_to(tmp_path)
    with pytest.raises(EnvironmentUnfitError, match="TMPDIR"):
        lease(Slot(id="cpu0", exclusive=True))


def test_two_runs_do_not_measure_at_once(tmp_path: Path) -> None:
    notes: list[str] = []
    slot = Slot(id="cpu0", exclusive=True)
    command = Command(argv=("echo", '{"loss": 1}'))
    first = LocalRunner(command, slots=[slot], metrics=[LOSS], study_dir=tmp_path)
    with LocalRunner(command, slots=[slot], metrics=[LOSS], study_dir=tmp_path, note=notes.append) as second:
        assert (first.idle(), second.idle(), second.capacity) == (1, 0, 1)
        assert second.poll(0.1) == []
        first.close()
        until(lambda: second.poll(1.0) == [] and second.idle())
        assert outcome(second).state == "completed"
    assert notes == ["slot cpu0 waits for the right to measure on this machine: another run holds it"]


def test_a_gpu_that_others_use_is_waited_for(nvml: FakeNvml) -> None:
    slot = Slot(id="gpu0", gpu_uuids=("GPU-aaaa-0",))
    assert occupant(slot) is None
    nvml.used["GPU-aaaa-0"] = 20 * GIB
    assert occupant(slot) == "GPU-aaaa-0 has only 61440 of 81920 MiB free"
    nvml.processes = [4321, os.getpid()]
    assert occupant(slot) == "GPU-aaaa-0 is used by process 4321"
    notes: list[str] = []
    command = Command(argv=("echo", '{"loss": 1}'))
    with LocalRunner(command, slots=[slot], metrics=[LOSS], note=notes.append) as run:
        assert run.idle() == 0 and "process 4321" in notes[0]
        nvml.used["GPU-aaaa-0"], nvml.processes = 0, []
        until(lambda: run.poll(1.0) == [] and run.idle())


def test_memory_and_energy_of_a_trial(nvml: FakeNvml, tmp_path: Path) -> None:
    slot = Slot(id="gpu0", gpu_uuids=("GPU-aaaa-0",))
    metrics = [LOSS, Metric(name="gpu_energy_j", goal="minimize")]
    command = Command(argv=("sh", "-c", "sleep 1.1; echo '{\"loss\": 1}'"))
    with LocalRunner(command, slots=[slot], metrics=metrics, study_dir=tmp_path) as run:
        run.start(Job(trial=0, config={}))
        nvml.used["GPU-aaaa-0"] = 30 * GIB
        time.sleep(0.4)
        nvml.used["GPU-aaaa-0"] = 2 * GIB
        nvml.joules += 250
        (event,) = events_until_finished(run)
    assert isinstance(event, Finished)
    assert event.outcome.measures["gpu_mem_peak_bytes"] == 30 * GIB
    assert event.outcome.metrics == {"loss": 1.0, "gpu_energy_j": 250.0}


def test_short_trials_and_instances_tell_no_energy(nvml: FakeNvml) -> None:
    meter = GpuMeter()
    meter.start("a", ["GPU-aaaa-0"])
    meter.start("b", ["MIG-bbbb-0"])
    assert meter.stop("a", 0.2) == {"gpu_mem_peak_bytes": float(GIB)}
    assert meter.stop("b", 5.0) == {"gpu_mem_peak_bytes": 0.0}
    assert meter.stop("b", 5.0) == {}
    meter.close()
    meter.close()


def test_without_nvml_nothing_is_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pynvml", None)
    meter = GpuMeter()
    meter.start("a", ["GPU-0"])
    assert meter.stop("a", 9.0) == {}
    meter.close()
    assert occupant(Slot(id="gpu0", gpu_uuids=("GPU-0",))) is None


@pytest.mark.gpu
def test_a_real_gpu(tmp_path: Path) -> None:
    (gpu, *_) = discover_gpus()
    code = """
        import json, sys, time, torch
        device = torch.cuda.get_device_properties(0)
        x = torch.ones(2**30, device="cuda")
        end = time.time() + 1.5
        while time.time() < end:
            x.mul_(1.0); torch.cuda.synchronize()
        print(json.dumps({"loss": torch.cuda.device_count()}))
    """
    metrics: list[Any] = [LOSS, Metric(name="gpu_energy_j", goal="minimize")]
    slots = plan_slots([gpu], gpus=1, exclusive=True)
    command = Command(argv=("${interpreter}", "-c", textwrap.dedent(code)))
    with LocalRunner(command, slots=slots, metrics=metrics, study_dir=tmp_path) as run:
        until(run.idle)
        found = outcome(run)
    assert found.metrics["loss"] == 1.0, found
    assert 4 * GIB < found.measures["gpu_mem_peak_bytes"] < 8 * GIB
    assert 50 < found.metrics["gpu_energy_j"] < 10_000
    with LocalRunner(
        Command(argv=("${interpreter}", "-c", "import torch; torch.ones(2**40, device='cuda')")),
        slots=slots,
        metrics=metrics,
        study_dir=tmp_path,
    ) as run:
        until(lambda: run.poll(0.5) == [] and run.idle())
        failure = outcome(run).failure
    assert failure is not None and failure.kind == "oom_gpu"
