"""What an NVIDIA GPU says of itself through NVML: clocks, temperature, power, what slows it down, energy spent."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tuner.errors import EnvironmentUnfitError

SLOWING = ("SwPowerCap", "HwSlowdown", "SwThermalSlowdown", "HwThermalSlowdown", "HwPowerBrakeSlowdown")
"""The reasons for lower clocks that make a timing suspect; an idle GPU and clocks set by hand do not."""

_REASONS = (*SLOWING, "GpuIdle", "ApplicationsClocksSetting", "SyncBoost", "DisplayClockSetting")


@dataclass(frozen=True, slots=True, kw_only=True)
class GpuState:
    """A GPU at one moment; None where it does not tell.

    Attributes:
        sm_mhz: Clock of the multiprocessors.
        memory_mhz: Clock of the memory.
        temperature_c: Of the chip.
        power_w: Drawn now, as the driver averages it.
        throttle: Why clocks are lower than they could be, by NVML's names.
    """

    sm_mhz: float | None = None
    memory_mhz: float | None = None
    temperature_c: float | None = None
    power_w: float | None = None
    throttle: tuple[str, ...] = ()


class Sensors(Protocol):
    """Where states and energies come from."""

    def state(self) -> GpuState:
        """The GPU now."""

    def energy_j(self) -> float:
        """Energy spent since the driver was loaded; the counter moves every 20 to 100 ms."""

    def shared(self) -> str | None:
        """Why the energy is not that of one process alone; None when it is."""


class Nvml:
    """The sensors of one GPU. Make it with `open_sensors`."""

    def __init__(self, nvml: Any, handle: Any) -> None:
        self._nvml = nvml
        self._handle = handle

    def state(self) -> GpuState:
        """The GPU now."""
        nvml = self._nvml
        power = self._ask("nvmlDeviceGetPowerUsage")
        reasons = self._ask("nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons")
        return GpuState(
            sm_mhz=self._ask("nvmlDeviceGetClockInfo", of=[getattr(nvml, "NVML_CLOCK_SM", 1)]),
            memory_mhz=self._ask("nvmlDeviceGetClockInfo", of=[getattr(nvml, "NVML_CLOCK_MEM", 2)]),
            temperature_c=self._ask("nvmlDeviceGetTemperature", of=[getattr(nvml, "NVML_TEMPERATURE_GPU", 0)]),
            power_w=None if power is None else power / 1e3,
            throttle=() if reasons is None else throttle_reasons(nvml, int(reasons)),
        )

    def energy_j(self) -> float:
        """Energy spent since the driver was loaded.

        Raises:
            EnvironmentUnfitError: The GPU does not count it.
        """
        millijoules = self._ask("nvmlDeviceGetTotalEnergyConsumption")
        if millijoules is None:
            raise EnvironmentUnfitError("this GPU does not count its energy; measure on one of Volta or newer")
        return millijoules / 1e3

    def shared(self) -> str | None:
        """Why the energy is not that of one process alone; None when it is, as far as NVML can tell."""
        with contextlib.suppress(self._nvml.NVMLError):
            if self._nvml.nvmlDeviceGetMigMode(self._handle)[0]:
                return "the GPU is divided into MIG instances, and its counter is of the whole"
        with contextlib.suppress(self._nvml.NVMLError):
            others = len(self._nvml.nvmlDeviceGetComputeRunningProcesses(self._handle)) - 1
            if others > 0:
                return f"{others} other processes use the GPU"
        return None

    def _ask(self, *names: str, of: Sequence[Any] = ()) -> float | None:
        """What the first function that this NVML has says; None when the GPU does not support it."""
        for name in names:
            function = getattr(self._nvml, name, None)
            if function is not None:
                with contextlib.suppress(self._nvml.NVMLError):
                    return float(function(self._handle, *of))
        return None


def throttle_reasons(nvml: Any, mask: int) -> tuple[str, ...]:
    """The names of the bits that are set."""
    found = []
    for reason in _REASONS:
        for family in ("nvmlClocksEventReason", "nvmlClocksThrottleReason"):
            bit = getattr(nvml, f"{family}{reason}", 0)
            if bit and mask & bit:
                found.append(reason)
                break
    return tuple(found)


def open_sensors(uuid: str) -> Nvml | None:
    """The sensors of the GPU with this UUID; None without a driver or without nvidia-ml-py."""
    try:
        import pynvml
    except ImportError:
        return None
    try:
        pynvml.nvmlInit()
        return Nvml(pynvml, pynvml.nvmlDeviceGetHandleByUUID(uuid))
    except pynvml.NVMLError:
        return None
