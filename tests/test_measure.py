"""Measurements: known answers on a clock that only the measured functions move; on a GPU, bounds that physics sets."""

from __future__ import annotations

import itertools
import math
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tuner.errors import EnvironmentUnfitError, UsageError
from tuner.measure import Energy, Measurement, Precision, Reference, measure, median_interval, percentile
from tuner.sensors import GpuState, throttle_reasons
from tuner.timers import CpuTimer

ROOT = Path(__file__).resolve().parent.parent
QUICK = Precision(warmup_s=0.0, least=30)


class Machine:
    """A clock that moves by what calls take, and a counter of joules that ticks every 50 ms."""

    def __init__(self, *, busy_w: float = 300.0, idle_w: float = 100.0) -> None:
        self.time = 0.0
        self.joules = 0.0
        self.watts = {True: busy_w, False: idle_w}
        self.ticked, self.told = 0.0, 0.0
        self.timer = CpuTimer(clock=lambda: self.time, wait=lambda s: self.spend(s, busy=False))
        self.states: Iterator[GpuState] = itertools.repeat(GpuState(sm_mhz=1980.0, temperature_c=41.0, power_w=300.0))
        self.others: str | None = None

    def spend(self, seconds: float, *, busy: bool = True) -> None:
        self.time += seconds
        self.joules += self.watts[busy] * seconds
        if self.time - self.ticked >= 0.05:
            self.ticked, self.told = self.time, self.joules

    def state(self) -> GpuState:
        return next(self.states)

    def energy_j(self) -> float:
        return self.told

    def shared(self) -> str | None:
        return self.others

    def measured(self, durations: Iterator[float], **settings: Any) -> Measurement:
        settings.setdefault("precision", QUICK)
        return measure(lambda: self.spend(next(durations)), timer=self.timer, device="cpu", **settings)


def test_statistics_of_known_timings() -> None:
    durations = itertools.chain([9.0, 9.0, 9.0], itertools.cycle([0.001 * k for k in range(1, 102)]))
    found = Machine().measured(durations, precision=Precision(warmup_s=0.0, least=101, most=101), items=8)
    assert len(found.samples_s) == 101
    assert found.median_s == pytest.approx(0.051)  # 1 to 101 ms
    assert found.p95_s == pytest.approx(0.096)
    assert found.p99_s == pytest.approx(0.100)
    assert found.mad_s == pytest.approx(0.025)  # deviations: 0, then 1 to 50 ms twice; the 51st is 25
    assert (found.low_s, found.high_s) == (pytest.approx(0.041), pytest.approx(0.061))
    assert found.throughput == pytest.approx(8 / 0.051)
    assert not found.precise
    assert "wide after 101 calls" in found.warnings[0]
    assert set(found.metrics("step")) == {"step_ms", "step_p95_ms", "step_p99_ms", "step_mad_ms", "throughput"}
    assert found.metrics()["latency_ms"] == pytest.approx(51.0)


def test_the_interval_of_a_median_is_that_of_the_sign_test() -> None:
    # of ten, P(Binomial(10, 1/2) < 2) = 11 / 1024 and P(... < 3) = 56 / 1024: the 2nd and the 9th at 95%
    ten = [float(k) for k in range(1, 11)]
    assert median_interval(ten, 0.95) == (2.0, 9.0)
    assert median_interval(ten, 0.89) == (3.0, 8.0)
    assert median_interval(ten[:5], 0.95) == (-math.inf, math.inf)  # 2 / 32 > 5%
    many = [float(k) for k in range(1, 402)]
    assert median_interval(many, 0.95) == (pytest.approx(181, abs=1), pytest.approx(221, abs=1))
    assert percentile([4.0], 0.99) == 4.0


def test_warm_up_lasts_as_long_as_asked_and_is_thrown_away() -> None:
    durations = itertools.chain([0.5, 0.4, 0.3, 0.2], itertools.repeat(0.01))
    found = Machine().measured(durations, precision=Precision(warmup_s=1.3))
    assert all(sample == pytest.approx(0.01) for sample in found.samples_s)
    assert found.precise
    assert len(found.samples_s) == 30


def test_it_goes_on_until_the_interval_is_narrow() -> None:
    def durations() -> Iterator[float]:
        return itertools.cycle([0.00100, 0.00101, 0.00102, 0.00103, 0.00104])

    few = Machine().measured(durations(), precision=Precision(width=0.05, warmup_s=0.0))
    more = Machine().measured(durations(), precision=Precision(width=0.011, warmup_s=0.0))
    assert few.precise and more.precise
    assert 30 <= len(few.samples_s) < len(more.samples_s)
    low, high = more.low_s, more.high_s
    assert high - low <= 0.011 * more.median_s
    golden = (0.001 + 0.0001 * (0.618034 * k % 1.0) for k in itertools.count())  # no two alike
    limited = Machine().measured(golden, precision=Precision(width=1e-9, warmup_s=0.0, limit_s=0.5, most=10**6))
    assert not limited.precise
    assert sum(limited.samples_s) == pytest.approx(0.5, abs=0.05)


def test_inputs_rotate() -> None:
    machine, seen = Machine(), []

    def call(a: int, b: int) -> None:
        seen.append((a, b))
        machine.spend(0.01 * a)

    found = measure(call, [(1, 2), (3, 4)], timer=machine.timer, device="cpu", precision=QUICK)
    assert seen[:5] == [(1, 2), (3, 4), (1, 2), (3, 4), (1, 2)]
    assert found.cache == "rotate"
    assert sorted({round(s, 6) for s in found.samples_s}) == [0.01, 0.03]


def test_a_reference_that_drifts_corrects_the_timings_or_warns() -> None:
    def drifting(on_drift: Any, seconds: float | None = None) -> Measurement:
        machine = Machine()  # everything takes 1% longer with each second

        def slowed(share: float) -> None:
            machine.spend(share * (1.0 + 0.01 * machine.time))

        reference = Reference(call=lambda: slowed(0.01), on_drift=on_drift, seconds=seconds)
        precision = Precision(width=1e-6, warmup_s=0.0, least=300, limit_s=20.0)
        return measure(
            lambda: slowed(0.04), timer=machine.timer, device="cpu", precision=precision, reference=reference
        )

    corrected, warned = drifting("correct", 0.01), drifting("warn", 0.01)
    assert corrected.corrected and not warned.corrected
    assert corrected.median_s == pytest.approx(0.04, rel=0.002)
    assert warned.median_s > 0.042
    assert corrected.drift > 0.15
    assert any("corrected by it" in text for text in corrected.warnings)
    assert any("not corrected" in text for text in warned.warnings)
    assert drifting("correct").median_s == pytest.approx(warned.median_s, rel=0.03)  # as in the middle of it


def test_a_reference_that_does_not_drift_changes_nothing() -> None:
    machine = Machine()
    reference = Reference(call=lambda: machine.spend(0.01))
    found = machine.measured(itertools.repeat(0.02), reference=reference)
    assert (found.median_s, found.drift, found.corrected) == (pytest.approx(0.02), pytest.approx(0.0), False)
    assert found.reference_s == pytest.approx(0.01)


def test_drift_shows_without_a_reference_too() -> None:
    found = Machine().measured((0.01 * (1 + 0.001 * k) for k in itertools.count()), precision=Precision(most=300))
    assert any("pass a reference" in text for text in found.warnings)


def test_energy_is_counted_from_tick_to_tick() -> None:
    machine = Machine()
    found = machine.measured(itertools.repeat(0.004), sensors=machine, energy=Energy(window_s=2.0))
    assert found.power_w == pytest.approx(300.0, rel=1e-6)
    assert found.energy_j == pytest.approx(300.0 * 0.004, rel=1e-6)
    less = Machine().measured
    machine = Machine()
    found = machine.measured(itertools.repeat(0.004), sensors=machine, energy=Energy(less_idle=True))
    assert found.energy_j == pytest.approx(200.0 * 0.004, rel=1e-6)
    assert found.metrics()["energy_j"] == found.energy_j
    with pytest.raises(EnvironmentUnfitError, match="needs an NVIDIA GPU"):
        less(itertools.repeat(0.004), energy=Energy())


def test_energy_that_cannot_be_told_apart_is_refused() -> None:
    machine = Machine(busy_w=0.0)
    with pytest.raises(EnvironmentUnfitError, match="has not moved"):
        machine.measured(itertools.repeat(0.01), sensors=machine, energy=Energy())
    machine.others = "2 other processes use the GPU"
    with pytest.raises(EnvironmentUnfitError, match="2 other processes"):
        machine.measured(itertools.repeat(0.01), sensors=machine, energy=Energy())
    with pytest.raises(UsageError, match="window_s must be at least 1"):
        Energy(window_s=0.1)


def test_clocks_and_throttling_are_recorded_and_held_against_the_figures() -> None:
    machine = Machine()
    hot = GpuState(sm_mhz=1200.0, temperature_c=88.0, throttle=("HwThermalSlowdown", "GpuIdle"))
    cool = GpuState(sm_mhz=1980.0, temperature_c=41.0, throttle=("GpuIdle",))
    machine.states = itertools.cycle([cool, hot])
    found = machine.measured(itertools.repeat(0.01), sensors=machine)
    assert {state.throttle for state in found.states} == {cool.throttle, hot.throttle}
    assert any("slowed down" in text and "HwThermalSlowdown" in text for text in found.warnings)
    assert any("from 1200 to 1980 MHz" in text for text in found.warnings)
    reported = found.metrics()
    assert reported["temperature_c"] == 88.0
    assert reported["throttled"] == pytest.approx(0.5, abs=0.04)  # 15 batches, by turns
    assert (reported["sm_mhz"], "power_w" in reported) == (1980.0, False)


def test_reasons_are_told_by_either_name_that_nvml_has_given_them() -> None:
    old = SimpleNamespace(nvmlClocksThrottleReasonSwPowerCap=4, nvmlClocksThrottleReasonGpuIdle=1)
    new = SimpleNamespace(nvmlClocksEventReasonSwPowerCap=4, nvmlClocksEventReasonGpuIdle=1)
    assert throttle_reasons(old, 5) == throttle_reasons(new, 5) == ("SwPowerCap", "GpuIdle")
    assert throttle_reasons(new, 0) == ()


def test_wrong_arguments_are_named() -> None:
    with pytest.raises(UsageError, match="at least one input"):
        measure(lambda: None, [])
    with pytest.raises(UsageError, match="needs several inputs"):
        measure(lambda: None, cache="rotate")
    with pytest.raises(UsageError, match="1 <= least <= most"):
        Precision(least=10, most=5)
    with pytest.raises(UsageError, match="'tpu'"):
        measure(lambda: None, device="tpu")


def test_the_cache_of_a_cpu_can_be_flushed() -> None:
    found = measure(lambda: None, timer=CpuTimer(flush_bytes=1 << 16), device="cpu", cache="flush", precision=QUICK)
    assert found.cache == "flush"
    assert found.median_s < 1e-3


def test_on_a_cpu_neither_torch_nor_numpy_is_needed() -> None:
    code = (
        "import sys\nfrom tuner.measure import Precision, measure\n"
        "found = measure(lambda: sum(range(1000)), precision=Precision(limit_s=0.05, warmup_s=0.0))\n"
        "assert found.median_s > 0 and found.cache == 'warm'\n"
        "print(sorted({'torch', 'numpy', 'pynvml'} & set(sys.modules)))"
    )
    run = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


@pytest.mark.gpu
def test_a_matrix_product_is_no_faster_than_the_gpu_and_events_leave_out_the_launch() -> None:
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    found = measure(torch.matmul, [(a, b)], device="cuda", precision=Precision(width=0.02, limit_s=3.0))
    flops = 2 * 8192**3
    assert flops / 2.5e15 < found.median_s < flops / 5e13  # from a GPU of 2018 to one faster than there is
    assert found.cache == "flush"
    assert found.states
    assert all(state.sm_mhz and state.temperature_c and state.power_w for state in found.states)
    print(
        f"\n8192^3 bf16: {found.median_s * 1e3:.3f} ms, {flops / found.median_s / 1e12:.0f} TFLOP/s, {found.metrics()}"
    )
    tiny = torch.zeros(16, device="cuda")
    launch = measure(tiny.add_, [(1.0,)], device="cuda", cache="warm", precision=Precision(limit_s=1.0))
    print(f"16 additions: {launch.median_s * 1e6:.2f} us, {launch.warnings}")
    assert launch.median_s < 20e-6  # launching from Python takes that long or longer


@pytest.mark.gpu
def test_flushing_and_rotating_make_a_copy_cold() -> None:
    import torch

    size = torch.cuda.get_device_properties("cuda").L2_cache_size // 4  # source and target fit in half of it
    pairs = [tuple(torch.randn(size // 4, device="cuda") for _ in range(2)) for _ in range(12)]
    precision = Precision(limit_s=2.0)

    def copy(target: Any, source: Any) -> None:
        target.copy_(source)

    warm = measure(copy, pairs[:1], device="cuda", cache="warm", precision=precision)
    flushed = measure(copy, pairs[:1], device="cuda", precision=precision)
    rotated = measure(copy, pairs, device="cuda", precision=precision)
    few = measure(copy, pairs[:2], device="cuda", cache="rotate", precision=precision)
    print(f"\ncopy of {size >> 20} MiB: warm {warm.median_s * 1e6:.1f} us, flushed {flushed.median_s * 1e6:.1f} us, "
          f"rotated {rotated.median_s * 1e6:.1f} us")  # fmt: skip
    assert flushed.median_s > 1.1 * warm.median_s
    assert rotated.median_s > 1.1 * warm.median_s
    assert any("fit in the L2 cache" in text for text in few.warnings)


@pytest.mark.gpu
def test_energy_of_a_matrix_product_agrees_with_the_power_drawn() -> None:
    import torch

    a, b = (torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16) for _ in range(2))
    precision = Precision(width=0.05, limit_s=2.0)
    found = measure(torch.matmul, [(a, b)], device="cuda", precision=precision, energy=Energy(window_s=2.0))
    net = measure(torch.matmul, [(a, b)], device="cuda", precision=precision, energy=Energy(less_idle=True))
    assert found.energy_j is not None and found.power_w is not None and net.energy_j is not None
    print(f"\n8192^3 bf16: {found.energy_j:.3f} J a call at {found.power_w:.0f} W, {net.energy_j:.3f} J above idle; "
          f"{found.states[-1]}; {found.warnings}")  # fmt: skip
    assert 50 < found.power_w < 1500
    assert found.energy_j == pytest.approx(found.power_w * found.median_s, rel=0.3)  # calls are back to back
    assert 0 < net.energy_j < found.energy_j * 1.1
