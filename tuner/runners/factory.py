"""The runner that a study's sweep asks for: worker processes or commands, on leased slots of this machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from tuner.errors import UsageError
from tuner.objective import objective_of, reference_of
from tuner.runners.command import Command
from tuner.runners.devices import Slot, discover_gpus, needs_exclusive, plan_slots
from tuner.runners.local import LocalRunner
from tuner.runners.pool import PythonObjective
from tuner.runners.warden import reap_leftovers

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.sweep import Sweep


def make_runner(
    study: Study, *, wakeup_fd: int = -1, note: Callable[[str], None] | None = None, held: bool = False
) -> LocalRunner:
    """A runner for the study's trials; what an earlier run left behind is ended first.

    Args:
        study: Open for writing.
        wakeup_fd: `poll` returns early when it is readable; -1 for none.
        note: Told when something must be waited for.
        held: The caller holds the devices already, by another runner.

    Raises:
        EnvironmentUnfitError: The GPUs asked for are not there.
        UsageError: The sweep has neither an objective nor a command.
    """
    sweep = study.sweep
    reap_leftovers(study.token)
    return LocalRunner(
        _evaluation(sweep, frozenset(study.problem.space.names)),
        slots=_slots(study),
        metrics=study.problem.measured,
        study_dir=study.dir,
        timeout_s=sweep.runner.timeout,
        grace_s=sweep.runner.grace,
        env=sweep.runner.env,
        study_token=study.token,
        wakeup_fd=wakeup_fd if wakeup_fd >= 0 else None,
        note=note,
        held=held,
    )


def _slots(study: Study) -> list[Slot]:
    runner = study.sweep.runner
    exclusive = runner.exclusive if runner.exclusive is not None else needs_exclusive(study.problem.measured)
    devices = discover_gpus() if runner.gpus else []
    parallel = study.sweep.parallel
    return plan_slots(devices, gpus=runner.gpus, cpus=runner.cpus, parallel=parallel, exclusive=exclusive)


def _evaluation(sweep: Sweep, names: frozenset[str]) -> PythonObjective | Command:
    if sweep.command is not None:
        cwd = sweep.base_dir / sweep.runner.cwd if sweep.runner.cwd else sweep.base_dir
        return Command(argv=sweep.command, names=names, cwd=cwd)
    reference = reference_of(sweep)
    if reference is None:
        raise UsageError("the sweep has nothing to run; add `objective:` or `command:`, or use `tuner ask` and `tell`")
    return PythonObjective(reference=reference, recycle=sweep.runner.recycle, batch=_batch(sweep))


def _batch(sweep: Sweep) -> int | None:
    """Trials of one pass: 1 where the objective evaluates one at a time, or solves a stream; None: as it pays."""
    asked = sweep.runner.batch
    if asked == 1:
        return 1
    objective = objective_of(sweep)
    if not hasattr(objective, "evaluate_batch") or hasattr(objective, "context"):
        return 1
    return None if asked == "auto" else asked
