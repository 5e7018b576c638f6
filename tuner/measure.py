"""Measuring rightly: latency, throughput and energy of a function, for use inside an objective.

    from tuner.measure import measure

    def objective(config, trial):
        found = measure(build(config), inputs, device=trial.device)
        return found.metrics()        # latency_ms, latency_p95_ms, latency_p99_ms, latency_mad_ms, throughput

Warm-up is discarded. On a GPU, events on the stream take the time, and the L2 cache is flushed before each call or the
inputs rotate; on a CPU the wall clock does. Calls repeat until the interval of their median is narrow enough. Clocks,
temperature, power and throttle reasons are recorded where NVML tells them. A reference that is measured in between says
whether the machine drifted. Neither torch nor NVML is needed for a CPU.

    x_(k)    the k-th smallest of n timings
    [x_(k), x_(n+1-k)]    holds the median with the confidence asked for, whatever the distribution is: k is the largest
             with 2 P(Binomial(n, 1/2) < k) <= 1 - confidence. It assumes that timings do not depend on one another;
             `Measurement.drift` and the warnings say when they visibly do.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from statistics import NormalDist, fmean, median
from typing import Any, Literal

from tuner.errors import EnvironmentUnfitError, UsageError
from tuner.sensors import SLOWING, GpuState, Sensors, open_sensors
from tuner.timers import Call, Timer, cache_bytes, default_device, gpu_uuid, make_timer

Cache = Literal["auto", "flush", "rotate", "warm"]

_BATCH_S = 0.02  # calls between two looks at the clock, the sensors and the interval
_BATCH_MOST = 50
_ENERGY_BATCH_S = 0.005
_STUCK_S = 2.0  # a counter that has not moved for so long does not move
_CLOCKS_VARY = 0.05
_FEW_FOR_P99 = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Precision:
    """When enough was measured.

    Attributes:
        width: Of the interval of the median, as a share of the median.
        confidence: Of that interval.
        least: Timings at least.
        most: Timings at most.
        limit_s: Seconds at most, warm-up apart.
        warmup_s: Seconds of warm-up at least; every input is run once, and three calls are made, in any case.
    """

    width: float = 0.01
    confidence: float = 0.95
    least: int = 30
    most: int = 2000
    limit_s: float = 10.0
    warmup_s: float = 0.1

    def __post_init__(self) -> None:
        if not (self.width > 0 and 0 < self.confidence < 1 and 1 <= self.least <= self.most and self.limit_s > 0):
            raise UsageError(
                "a precision needs width > 0, 0 < confidence < 1, 1 <= least <= most and limit_s > 0, "
                f"but got {self}; change the one that is off"
            )


@dataclass(frozen=True, slots=True, kw_only=True)
class Energy:
    """How energy is measured: calls one after another, without flushing the cache, whose energy would be counted too.

    Attributes:
        window_s: Seconds of calls at least; the counter moves every 20 to 100 ms, so that short windows mean nothing.
        less_idle: Subtract what the GPU draws while it does nothing, measured for as long before.
    """

    window_s: float = 1.0
    less_idle: bool = False

    def __post_init__(self) -> None:
        if self.window_s < 1.0:
            raise UsageError(f"window_s must be at least 1, but got {self.window_s}; NVML's counter moves too seldom")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """Something whose time should not change, measured between the timings of what is of interest.

    Attributes:
        call: It.
        seconds: What it took when the machine was as it should be; None: its median in this measurement.
        tolerance: The share by which it may change.
        on_drift: When it changes by more: divide each timing by the change around it, or only warn.
    """

    call: Call
    seconds: float | None = None
    tolerance: float = 0.02
    on_drift: Literal["correct", "warn"] = "correct"


@dataclass(frozen=True, slots=True, kw_only=True)
class Measurement:
    """What was measured. Times are of one call.

    Attributes:
        samples_s: Every timing, in order, corrected where `corrected` says so.
        median_s: Their median.
        low_s: Lower end of the median's interval.
        high_s: Upper end.
        p95_s: 95th percentile, linearly interpolated.
        p99_s: 99th percentile.
        mad_s: Median absolute deviation from the median, not scaled.
        precise: The interval became as narrow as was asked for.
        cache: flush, rotate or warm.
        items: What one call handles, for the throughput.
        energy_j: Of one call; None when it was not asked for.
        power_w: Mean over the window of the energy.
        states: Of the GPU, one a batch.
        drift: Last over first median of the reference, less 1; without one, last over first third of the timings.
        reference_s: Median of the reference; None without one.
        corrected: Timings were divided by the reference's changes.
        warnings: What makes the figures suspect.
    """

    samples_s: tuple[float, ...]
    median_s: float
    low_s: float
    high_s: float
    p95_s: float
    p99_s: float
    mad_s: float
    precise: bool
    cache: str
    items: float = 1.0
    energy_j: float | None = None
    power_w: float | None = None
    states: tuple[GpuState, ...] = ()
    drift: float = 0.0
    reference_s: float | None = None
    corrected: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def throughput(self) -> float:
        """Items a second at the median."""
        return self.items / self.median_s

    def metrics(self, name: str = "latency") -> dict[str, float]:
        """What an objective returns: milliseconds by name, the throughput, the energy where it was asked for.

        On a GPU also sm_mhz (median), temperature_c (highest), power_w (mean) and throttled, the share of batches in
        which something slowed it down.
        """
        found = {
            f"{name}_ms": self.median_s * 1e3,
            f"{name}_p95_ms": self.p95_s * 1e3,
            f"{name}_p99_ms": self.p99_s * 1e3,
            f"{name}_mad_ms": self.mad_s * 1e3,
            "throughput": self.throughput,
        }
        found |= {} if self.energy_j is None else {"energy_j": self.energy_j}
        clocks = [state.sm_mhz for state in self.states if state.sm_mhz is not None]
        heat = [state.temperature_c for state in self.states if state.temperature_c is not None]
        power = [state.power_w for state in self.states if state.power_w is not None]
        found |= {"sm_mhz": median(clocks)} if clocks else {}
        found |= {"temperature_c": max(heat)} if heat else {}
        found |= {"power_w": fmean(power)} if power else {}
        found |= {"throttled": throttled(self.states)} if self.states else {}
        return found | ({} if self.power_w is None else {"power_w": self.power_w})


def measure(
    function: Callable[..., object],
    inputs: Sequence[tuple[Any, ...]] = ((),),
    *,
    device: str | None = None,
    cache: Cache = "auto",
    items: float = 1.0,
    precision: Precision | None = None,
    energy: Energy | None = None,
    reference: Reference | None = None,
    timer: Timer | None = None,
    sensors: Sensors | None = None,
) -> Measurement:
    """Measure how long a call takes and, when asked, what energy it costs.

    Args:
        function: What is measured. On a GPU it must work on the current stream; it need not wait for the GPU.
        inputs: Tuples of arguments, used by turns. Several that exceed the cache together keep it cold.
        device: "cpu" or a CUDA device; None: the GPU when this process uses one through torch.
        cache: "flush" (write over it before each call), "rotate" (several inputs), "warm", or "auto": rotate when there
            are several inputs, else flush on a GPU and warm on a CPU.
        items: What one call handles (tokens, images), for the throughput.
        precision: When enough was measured.
        energy: Measure energy too, on a GPU that this process has to itself.
        reference: Says whether the machine drifts.
        timer: Instead of the device's own.
        sensors: Instead of NVML.

    Raises:
        UsageError: There is no input, the device is unknown, or "rotate" has one input.
        EnvironmentUnfitError: Energy was asked for where it cannot be told: without NVML, on a shared or divided GPU.
    """
    precision, device = precision or Precision(), device or default_device()
    cache = _cache(cache, inputs, device)
    timer = timer or make_timer(device, flush=cache == "flush")
    sensors = sensors or (open_sensors(gpu_uuid(device)) if device != "cpu" else None)
    calls = _calls(function, inputs)
    work = _Work(calls=calls, timer=timer, sensors=sensors, reference=reference, precision=precision)
    each_s = work.warm_up(len(inputs))
    work.repeat(each_s)
    joules, watts = _energy(calls, timer, sensors, energy, each_s) if energy is not None else (None, None)
    return work.result(cache=cache, items=items, energy=(joules, watts), notes=_cache_notes(cache, inputs, device))


def _cache(cache: Cache, inputs: Sequence[tuple[Any, ...]], device: str) -> Cache:
    if not inputs:
        raise UsageError("measure needs at least one input, but got none; pass [()] for a call without arguments")
    if cache == "rotate" and len(inputs) < 2:
        raise UsageError('cache="rotate" needs several inputs, but got one; pass more, or use "flush"')
    if cache != "auto":
        return cache
    if len(inputs) > 1:
        return "rotate"
    return "warm" if device == "cpu" else "flush"


def _cache_notes(cache: str, inputs: Sequence[tuple[Any, ...]], device: str) -> list[str]:
    if cache != "rotate" or device == "cpu":
        return []
    held = sum(int(getattr(part, "nbytes", 0)) for one in inputs for part in one)
    room = cache_bytes(device)
    if held > room:
        return []
    return [f"the {len(inputs)} inputs fit in the L2 cache together ({held >> 20} of {room >> 20} MiB): it is warm"]


def _calls(function: Callable[..., object], inputs: Sequence[tuple[Any, ...]]) -> Iterator[Call]:
    for arguments in itertools.cycle(inputs):
        yield lambda arguments=arguments: function(*arguments)  # type: ignore[misc]


@dataclass(slots=True, kw_only=True)
class _Work:
    """One measurement under way."""

    calls: Iterator[Call]
    timer: Timer
    sensors: Sensors | None
    reference: Reference | None
    precision: Precision
    batches: list[list[float]] = field(default_factory=list)
    references: list[float] = field(default_factory=list)
    states: list[GpuState] = field(default_factory=list)

    def warm_up(self, inputs: int) -> float:
        """Run what is thrown away; seconds that a call takes by then."""
        started = self.timer.now()
        latest: list[float] = []
        for k in itertools.count(1):
            latest = self.timer.run([next(self.calls)], _nothing)
            if k >= max(3, inputs) and self.timer.now() - started >= self.precision.warmup_s:
                break
        if self.reference is not None:
            self.timer.run([self.reference.call] * 3, _nothing)
        return max(latest[-1], 1e-9)

    def repeat(self, each_s: float) -> None:
        """Time batches, the reference between them, until the interval is narrow enough or a limit is reached."""
        size = min(max(1, int(_BATCH_S / each_s)), _BATCH_MOST)
        started, n = self.timer.now(), 0
        self._refer(size)
        while True:
            count = min(size, self.precision.most - n)
            self.batches.append(self.timer.run([next(self.calls) for _ in range(count)], self._look))
            self._refer(size)
            n += count
            late = self.timer.now() - started >= self.precision.limit_s
            if n >= self.precision.most or late or (n >= self.precision.least and self.precise()):
                return

    def _look(self) -> None:
        if self.sensors is not None:
            self.states.append(self.sensors.state())

    def _refer(self, size: int) -> None:
        if self.reference is not None:
            self.references.append(median(self.timer.run([self.reference.call] * min(size, 10), _nothing)))

    def precise(self) -> bool:
        """Whether the interval is narrow enough."""
        samples, _ = self._samples()
        low, high = median_interval(samples, self.precision.confidence)
        return high - low <= self.precision.width * median(samples)

    def _samples(self) -> tuple[list[float], bool]:
        """Every timing, and whether they were corrected for the drift of the reference."""
        reference = self.reference
        if reference is None or reference.on_drift == "warn" or not self._drifted():
            return [value for batch in self.batches for value in batch], False
        due = reference.seconds or median(self.references)
        around = itertools.pairwise(self.references)
        factors = [math.sqrt(before * after) / due for before, after in around]
        return [v / factor for batch, factor in zip(self.batches, factors, strict=True) for v in batch], True

    def _drifted(self) -> bool:
        reference = self.reference
        if reference is None:
            return False
        due = reference.seconds or median(self.references)
        return max(abs(one / due - 1.0) for one in self.references) > reference.tolerance

    def result(
        self, *, cache: str, items: float, energy: tuple[float | None, float | None], notes: list[str]
    ) -> Measurement:
        """What came of it."""
        samples, corrected = self._samples()
        low, high = median_interval(samples, self.precision.confidence)
        middle = median(samples)
        drift = self._drift(samples)
        precise = high - low <= self.precision.width * middle
        return Measurement(
            samples_s=tuple(samples),
            median_s=middle,
            low_s=low,
            high_s=high,
            p95_s=percentile(samples, 0.95),
            p99_s=percentile(samples, 0.99),
            mad_s=median(abs(value - middle) for value in samples),
            precise=precise,
            cache=cache,
            items=items,
            energy_j=energy[0],
            power_w=energy[1],
            states=tuple(self.states),
            drift=drift,
            reference_s=median(self.references) if self.references else None,
            corrected=corrected,
            warnings=(*notes, *self._warnings(samples, drift, precise, corrected), *_slowed(self.states)),
        )

    def _drift(self, samples: Sequence[float]) -> float:
        if self.reference is not None:
            first = self.reference.seconds or self.references[0]
            return self.references[-1] / first - 1.0
        third = len(samples) // 3
        return median(samples[-third:]) / median(samples[:third]) - 1.0 if third else 0.0

    def _warnings(self, samples: Sequence[float], drift: float, precise: bool, corrected: bool) -> Iterator[str]:
        if not precise:
            low, high = median_interval(samples, self.precision.confidence)
            width = (high - low) / median(samples)
            asked = f"not {self.precision.width:.1%}"
            yield f"the interval of the median is {width:.1%} wide after {len(samples)} calls, {asked}"
        if self._drifted():
            done = "timings were corrected by it" if corrected else "timings are not corrected"
            yield f"the reference drifted (last against first {drift:+.1%}); {done}"
        elif self.reference is None and abs(drift) > max(0.02, 2 * self.precision.width):
            yield f"timings drifted by {drift:+.1%} from the first third to the last; pass a reference to correct them"
        if len(samples) < _FEW_FOR_P99:
            yield f"the 99th percentile of {len(samples)} calls is little else than their maximum"


def _nothing() -> None:
    """Nothing to do while calls run."""


def throttled(states: Sequence[GpuState]) -> float:
    """The share of the states in which something slowed the GPU down."""
    return sum(any(reason in SLOWING for reason in state.throttle) for state in states) / len(states)


def _slowed(states: Sequence[GpuState]) -> Iterator[str]:
    """What the sensors hold against the figures."""
    reasons = sorted({reason for state in states for reason in state.throttle if reason in SLOWING})
    if reasons:
        yield f"the GPU was slowed down in {throttled(states):.0%} of the batches: {', '.join(reasons)}"
    clocks = [state.sm_mhz for state in states if state.sm_mhz]
    if clocks and min(clocks) < (1.0 - _CLOCKS_VARY) * max(clocks):
        yield f"the SM clock varied from {min(clocks):.0f} to {max(clocks):.0f} MHz"


def percentile(samples: Sequence[float], share: float) -> float:
    """The value below which a share of the samples lies, linearly interpolated."""
    ordered = sorted(samples)
    place = share * (len(ordered) - 1)
    below = math.floor(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


def median_interval(samples: Sequence[float], confidence: float) -> tuple[float, float]:
    """The order statistics that hold the median with this confidence; (-inf, inf) when there are too few samples."""
    n, k = len(samples), _rank(len(samples), confidence)
    if k < 1:
        return -math.inf, math.inf
    ordered = sorted(samples)
    return ordered[k - 1], ordered[n - k]


def _rank(n: int, confidence: float) -> int:
    """The largest k with 2 P(Binomial(n, 1/2) < k) <= 1 - confidence; by the normal law for n > 200."""
    tail = (1.0 - confidence) / 2.0
    if n > 200:
        return math.floor((n + 1) / 2.0 + NormalDist().inv_cdf(tail) * math.sqrt(n) / 2.0)
    below, k = 0.0, 0
    while (below := below + math.comb(n, k) / 2.0**n) <= tail:
        k += 1
    return k


def _energy(
    calls: Iterator[Call], timer: Timer, sensors: Sensors | None, energy: Energy, each_s: float
) -> tuple[float, float]:
    """Joules of one call and watts while calls run, from one tick of the counter to another."""
    if sensors is None:
        raise EnvironmentUnfitError("energy needs an NVIDIA GPU and nvidia-ml-py (pip install tuner[gpu])")
    shared = sensors.shared()
    if shared is not None:
        raise EnvironmentUnfitError(f"energy cannot be told apart: {shared}; measure on a whole GPU that is free")
    idle_w = 0.0
    if energy.less_idle:
        idle_w, _ = _window(lambda: timer.wait(_ENERGY_BATCH_S), timer, sensors, energy.window_s)
    size = min(max(1, int(_ENERGY_BATCH_S / each_s)), 1000)
    made = itertools.count(1)
    done = 0

    def batch() -> None:
        nonlocal done
        for _ in range(size):
            next(calls)()
        done = next(made)

    watts, (batches, seconds) = _window(batch, timer, sensors, energy.window_s, lambda: done)
    return (watts - idle_w) * seconds / (batches * size), watts


def _window(
    work: Call, timer: Timer, sensors: Sensors, window_s: float, count: Callable[[], int] = lambda: 0
) -> tuple[float, tuple[int, float]]:
    """Watts while `work` is done again and again, how often it was, and seconds, between two ticks of the counter."""
    begun, joules = _until_tick(work, timer, sensors)
    before = count()
    while timer.now() - begun < window_s:
        work()
    ended, after = _until_tick(work, timer, sensors)
    seconds = ended - begun
    return (after - joules) / seconds, (count() - before, seconds)


def _until_tick(work: Call, timer: Timer, sensors: Sensors) -> tuple[float, float]:
    """Do `work` until the counter moves; when that was, and what it says."""
    started, first = timer.now(), sensors.energy_j()
    while True:
        work()
        now, joules = timer.now(), sensors.energy_j()
        if joules != first:
            return now, joules
        if now - started > _STUCK_S:
            raise EnvironmentUnfitError(f"the GPU's energy counter has not moved for {_STUCK_S:g} s; it cannot be used")
