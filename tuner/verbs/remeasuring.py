"""Measuring configurations anew, one evaluation at a time, through a sweep's objective and runner."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from tuner.errors import TunerError
from tuner.interrupts import Interrupts
from tuner.judging import judge
from tuner.reporting.tables import legible
from tuner.runners.factory import make_runner
from tuner.runners.local import LocalRunner
from tuner.runners.protocol import Finished, Job
from tuner.study import Study
from tuner.sweep import Sweep
from tuner.trial import Config, Outcome

_POLL_S = 0.5
_LOG_LINES = 5


class InterruptedGateError(TunerError):
    """A signal came; the exit code says which."""

    def __init__(self, signal: int) -> None:
        super().__init__("interrupted; nothing was decided and nothing written")
        self.exit_code = 128 + signal


class FailedError(TunerError):
    """An evaluation did not complete.

    Attributes:
        kind: The failure kind.
    """

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, slots=True)
class _Lane:
    study: Study
    runner: LocalRunner


class Remeasurer:
    """Evaluates configurations, each through its sweep. Use it in a `with` block.

    Sweeps are run in a study of their own that lives in memory: nothing is added to any other.

    Args:
        sweeps: By the name that `evaluate` is given. The same sweep twice shares its worker.
        note: Told when something must be waited for.
    """

    def __init__(self, sweeps: Mapping[str, Sweep], note: Callable[[str], None]) -> None:
        self._sweeps = sweeps
        self._note = note
        self._lanes: dict[str, _Lane] = {}
        self._interrupts = Interrupts()
        self._folder = tempfile.TemporaryDirectory(prefix="tuner-gate-")
        self._count = 0

    def __enter__(self) -> Remeasurer:
        self._interrupts.__enter__()
        made: dict[str, _Lane] = {}
        try:
            for name, sweep in self._sweeps.items():
                key = repr(sweep.to_dict())
                if key not in made:
                    made[key] = self._lane(sweep, held=bool(made))
                self._lanes[name] = made[key]
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _lane(self, sweep: Sweep, *, held: bool) -> _Lane:
        alone = {"storage": None, "warm_start": (), "parallel": 1}
        study = Study.create(sweep.model_copy(update=alone))
        runner = make_runner(study, wakeup_fd=self._interrupts.wakeup, note=self._note, held=held)
        return _Lane(study, runner)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for lane in {id(lane): lane for lane in self._lanes.values()}.values():
            lane.runner.close()
            lane.study.close()
        self._interrupts.__exit__(None, None, None)
        self._folder.cleanup()

    def evaluate(self, name: str, config: Config, seed: int) -> dict[str, float]:
        """Everything that one evaluation measured: metrics, computed ones, and what the runner measures for free.

        Raises:
            FailedError: It did not complete; infrastructure failures are tried again as often as the sweep allows.
            InterruptedGateError: A signal came.
        """
        lane = self._lanes[name]
        for _ in range(1 + lane.study.sweep.runner.retries):
            outcome, folder = self._run(lane, config, seed)
            if outcome.failure is None or outcome.failure.kind != "infra":
                break
        if outcome.state == "completed":
            return {**outcome.measures, **outcome.metrics}
        failure = outcome.failure
        what = f"{failure.kind}: {failure.message}" if failure is not None else outcome.state
        raise FailedError(failure.kind if failure is not None else outcome.state, _with_log(what, folder))

    def _run(self, lane: _Lane, config: Config, seed: int) -> tuple[Outcome, Path]:
        self._count += 1
        folder = Path(self._folder.name) / str(self._count)
        while not lane.runner.idle():
            lane.runner.poll(_POLL_S)
            self._obey(lane)
        lane.runner.start(Job(trial=self._count, config=dict(config), seed=seed, dir=folder))
        while True:
            for event in lane.runner.poll(_POLL_S):
                if isinstance(event, Finished):
                    policy = lane.study.sweep.runner.on_oom
                    return judge(lane.study.problem, config, event.outcome, on_oom=policy), folder
            self._obey(lane)

    def _obey(self, lane: _Lane) -> None:
        self._interrupts.drain()
        if self._interrupts.level and self._interrupts.signal is not None:
            lane.runner.interrupt(kill=self._interrupts.level > 1)
            raise InterruptedGateError(self._interrupts.signal)


def _with_log(what: str, folder: Path) -> str:
    """A failure and the last lines that were printed, each made harmless."""
    tail: list[str] = []
    for name in ("stdout.log", "stderr.log"):
        file = folder / name
        if file.is_file():
            tail += file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_LINES:]
    told = [legible(line) for line in what.splitlines() if line.strip()]
    return "\n".join([*told, *(f"  | {text}" for text in (legible(line) for line in tail) if f"| {text}" not in told)])
