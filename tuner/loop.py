"""The loop of a sweep: asks, dispatches, records, decides. The only place where time passes.

Each turn applies what other processes asked for, fills idle slots with proposals, waits for the runner's events, and
hands them to the study. Everything that survives a crash is in the study; the loop itself holds nothing worth keeping.

A strategy that thinks for long is asked in a second thread, so that time limits and signals are obeyed meanwhile; what
the runner tells in that time waits until the strategy has answered. The study is thus never used by both at once.
"""

from __future__ import annotations

import math
import os
import socket
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

from tuner import inbox, recommendation, surroundings
from tuner.blocks import in_blocks
from tuner.budget import too_many_failures
from tuner.errors import FailurePolicyError, TunerError
from tuner.interrupts import Interrupts
from tuner.objective import objective_of
from tuner.observer import Observer
from tuner.preferences.answers import add
from tuner.racing import Race
from tuner.repeats import Finalists, repeat_seed
from tuner.runners.protocol import Event, Finished, Job, Reported, Runner
from tuner.sinks.following import finish, follow
from tuner.slots import SlotState, post, withdraw
from tuner.stopping.auto import stopping_notes
from tuner.study import Study
from tuner.sweep import Sweep, check_feasible, load_sweep
from tuner.trial import Answer, Outcome, Proposal

_POLL_S = 0.25
_SLOW_ASK_S = 0.02
_HOUSEKEEPING_S = 0.5
_BREAKER_FIRST = 5
_BREAKER_MINUTE = 3
_LOG_TAIL_LINES = 20


def run(
    sweep: Sweep | Mapping[str, Any] | str | Path,
    dir: str | Path | None = None,
    *,
    new: bool = False,
    adopt: bool = False,
    warm_start: Sequence[str | Path] = (),
    observer: Observer | None = None,
) -> Study:
    """Run a sweep to its end, continuing the study in `dir` when there is one. The Python door to `tuner run`.

    Args:
        sweep: A sweep file, a dict of its content, or a `Sweep`.
        dir: The study's folder; `.tuner/<name>` by default.
        new: Move an existing study aside and start over.
        adopt: Continue an existing study although its space or metrics changed.
        warm_start: Earlier studies to learn from, folders or names, after those that the sweep names.
        observer: Told of what happens.

    Raises:
        SweepError: The sweep is wrong.
        FailurePolicyError: Too many trials failed.
        LockError: Another process is writing to the study.
    """
    from tuner.runners.factory import make_runner
    from tuner.sessions import open_or_create
    from tuner.stream import run_blocks

    given = sweep if isinstance(sweep, (Sweep, str, Path)) else dict(sweep)
    loaded = load_sweep(given, warm_start=[str(study) for study in warm_start])
    check_feasible(loaded)
    watcher = observer or Observer()
    study = open_or_create(loaded, dir, new=new, adopt=adopt)
    try:
        study.check_strategy()
        surroundings.write_down(study)
        for line in (*map(str, study.problem.sources), *stopping_notes(study.problem)):
            watcher.note(line)
        if in_blocks(study.problem):
            with Interrupts() as interrupts:
                run_blocks(study, watcher, interrupts)
            return study
        with Interrupts() as interrupts:
            runner = make_runner(study, wakeup_fd=interrupts.wakeup, note=watcher.note)
            followers = follow(study, loaded.log_to, watcher.note)
            try:
                Loop(study, runner, watcher, interrupts).run()
            finally:
                runner.close()
                finish(followers, watcher.note)
        if interrupts.level < 2:  # a second Ctrl-C means now
            recommendation.write_down(study, watcher.note)
        if interrupts.signal is None:
            _test_front(study, watcher)
    except BaseException:
        study.close()
        raise
    return study


def _test_front(study: Study, observer: Observer) -> None:
    """Measure the front and the baseline on what the search never saw, once: the objective's `test(config, seed=)`."""
    test = getattr(objective_of(study.sweep), "test", None)
    if test is None:
        return
    baseline = [study.read(0)] if study.ledger.baseline is not None else []
    for record in [*study.pareto(), *baseline]:
        if not any(name.startswith("test.") for name in record.measures):
            try:
                values = test(record.config, seed=record.seed)
            except Exception as error:  # a user's code; the sweep itself is whole
                observer.note(f"test of trial {record.trial} failed: {type(error).__name__}: {error}")
                return
            study.annotate(record.trial, {f"test.{name}": float(value) for name, value in values.items()})


class Loop:
    """One session of a sweep.

    Attributes:
        reason: Why it ended.
    """

    def __init__(self, study: Study, runner: Runner, observer: Observer, interrupts: Interrupts) -> None:
        self.reason = ""
        self._study = study
        self._runner = runner
        self._observer = observer
        self._interrupts = interrupts
        self._worker = f"run:{os.getpid()}@{socket.gethostname()}"
        self._running: dict[int, Proposal] = {}
        self._replicates: dict[int, list[Outcome]] = {}
        self._race = Race(study)
        self._began = self._counted = self._kept_house = time.monotonic()
        self._shown = self._posted = 0.0
        self._slots: list[SlotState] = []
        self._session: list[str] = []  # states of the first trials that ended, for the circuit breaker
        self._draining = False
        self._halted = False  # by a person, not by the budget: the finalists are left for the next session
        self._finalists = Finalists(study)
        self._level = 0
        self._ask_s = 0.0
        self._asking: Future[list[Proposal]] | None = None
        self._thinker = ThreadPoolExecutor(1, thread_name_prefix="strategy")
        self._deferred: list[Event] = []

    def run(self) -> None:
        """Run until the budget is spent, the space exhausted, or somebody says stop.

        Raises:
            FailurePolicyError: Too many trials failed; running ones were ended first.
        """
        self._observer.began(self._study, slots=self._runner.capacity)
        try:
            while self._turn():
                pass
        except FailurePolicyError as error:
            self.reason = str(error).splitlines()[0]
            self._end_running()
            raise
        except TunerError as error:
            self.reason = str(error).splitlines()[0]
            raise
        finally:
            self._stop_thinking()
            for trial in self._running:  # only after an error: the runner ends them, the next session starts them
                self._study.requeue(trial, self.reason or "the sweep ended by an internal error")
            self._count_time()
            if self._study.dir is not None:
                withdraw(self._study.dir)
            self._study.end_session(self.reason, self._interrupts.signal)
            self._observer.ended(self.reason)

    def _turn(self) -> bool:
        self._obey_interrupts()
        if self._asking is None:
            self._keep_house()
        if not self._draining or self._asking is not None:
            self._fill()
        if not self._running and self._asking is None and not self._confirm() and not self._waits():
            self.reason = self.reason or self._study.stop_reason or "nothing is left to start"
            return False
        self._show_slots()
        self._deferred += self._runner.poll(0.0 if self._deferred and self._asking is None else _POLL_S)
        if self._asking is not None:
            return True
        events, self._deferred = self._deferred, []
        for event in events:
            if isinstance(event, Reported):
                self._on_report(event)
            else:
                self._on_finish(event)
        self._observer.tick()
        return True

    def _waits(self) -> bool:
        """Whether trials could start if only a slot were free: another run measures, or somebody uses the GPUs."""
        return self._runner.idle() < 1 and not self._draining and self._study.stop_reason is None

    def _show_slots(self) -> None:
        """Tell who watches, here and in other processes, what runs where."""
        now = time.monotonic()
        if now - self._shown < _POLL_S:
            return
        self._shown, slots = now, self._runner.slots()
        self._observer.occupied(slots)
        if self._study.dir is not None and slots != self._slots and now - self._posted >= _HOUSEKEEPING_S:
            self._slots, self._posted = slots, now
            post(self._study.dir, slots)

    def _fill(self) -> None:
        for proposal in self._ask():
            if self._draining:
                self._study.requeue(proposal.trial, "the sweep stopped before it started")
                continue
            self._running[proposal.trial] = proposal
            self._runner.start(self._job(proposal))
            self._observer.started(proposal)

    def _confirm(self) -> bool:
        """Measure the finalists again once the budget is spent; whether that is going on."""
        if not self._halted and self._study.stop_reason is not None:
            before = self._finalists.began
            for job in self._finalists.next(self._runner.idle()):
                self._runner.start(job)
            if self._finalists.began and not before:
                self._observer.note(f"{self._study.stop_reason}; measuring the finalists again on fresh seeds")
        return self._finalists.n_running > 0

    def _ask(self) -> list[Proposal]:
        """Proposals for the idle slots; none yet while a slow strategy thinks."""
        if self._asking is not None:
            if not self._asking.done():
                return []
            asked, self._asking = self._asking, None
            return asked.result()
        idle = self._runner.idle()
        if idle < 1:
            return []
        if self._ask_s < _SLOW_ASK_S:
            return self._timed_ask(idle)
        self._asking = self._thinker.submit(self._timed_ask, idle)
        self._asking.add_done_callback(lambda _: self._interrupts.wake())
        return []

    def _stop_thinking(self) -> None:
        """Wait for the strategy; what it still proposed waits for the next session."""
        self._thinker.shutdown()
        if self._asking is not None and self._asking.exception() is None:
            for proposal in self._asking.result():
                self._study.requeue(proposal.trial, "the sweep stopped before it started")

    def _timed_ask(self, n: int) -> list[Proposal]:
        started = time.perf_counter()
        proposals = self._study.ask(n, worker=self._worker, lease_s=math.inf)
        self._ask_s = time.perf_counter() - started
        return proposals

    def _job(self, proposal: Proposal) -> Job:
        replicate = len(self._replicates.get(proposal.trial, ()))
        return Job(
            trial=proposal.trial,
            attempt=proposal.attempt,
            config=proposal.config,
            seed=repeat_seed(self._study.problem, proposal.trial, replicate),
            replicate=replicate,
            dir=None if self._study.dir is None else self._study.dir / "trials" / str(proposal.trial),
            fidelity=proposal.fidelity,
            context=proposal.context,
            checkpoint=self._checkpoint(proposal, replicate),
            timeout_s=self._study.sweep.runner.timeout,
            judged=self._study.problem.early_stop is not None,
        )

    def _checkpoint(self, proposal: Proposal, replicate: int) -> Path | None:
        """Where a trial that spends a fidelity keeps its state: the folder of the trial that it continues, if any."""
        if self._study.dir is None or self._study.problem.fidelity is None:
            return None
        trial, origin = proposal.trial, proposal.origin
        while origin is not None:
            trial, origin = origin, self._study.read(origin).origin
        folder = (
            self._study.dir / "trials" / str(trial) / ("checkpoint" if not replicate else f"checkpoint-{replicate}")
        )
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def _on_report(self, event: Reported) -> None:
        if event.trial not in self._running:
            return
        stop = self._study.report(event.trial, event.step, event.metrics)
        self._observer.reported(event.trial, event.step, event.metrics)
        if stop:
            self._runner.prune(event.trial)
        elif self._study.problem.early_stop is not None:
            self._runner.proceed(event.trial, event.step)

    def _on_finish(self, event: Finished) -> None:
        if self._finalists.owns(event):
            if (news := self._finalists.take(event)) is not None:
                self._observer.note(news)
            return
        proposal = self._running.get(event.trial)
        if proposal is None or proposal.attempt != event.attempt:
            return
        outcome = self._replicate(proposal, event.outcome)
        if outcome is None:
            self._runner.start(self._job(proposal))
            return
        del self._running[event.trial]
        record = self._study.finish(
            event.trial,
            outcome,
            attempt=event.attempt,
            slot=event.slot,
            ran=(event.started_at, event.finished_at),
        )
        if record is None:
            return
        self._observer.finished(record)
        if record.state != "waiting":
            self._session.append(record.state)
            self._check_failures(event.trial)

    def _replicate(self, proposal: Proposal, outcome: Outcome) -> Outcome | None:
        """The outcome of the trial, its repeats averaged; None when another repeat must run first."""
        repeats = self._study.problem.repeats
        if repeats is None or repeats.n <= 1:
            return outcome
        done = self._replicates.setdefault(proposal.trial, [])
        done.append(outcome)
        dropped = outcome.state == "completed" and len(done) < repeats.n and self._race.drops(proposal, done)
        if outcome.state == "completed" and len(done) < repeats.n and not dropped and self._level < 1:
            return None
        del self._replicates[proposal.trial]
        return outcome if outcome.state != "completed" else self._race.settled(proposal, done, dropped=dropped)

    # --- when to stop ---

    def _obey_interrupts(self) -> None:
        self._interrupts.drain()
        if self._interrupts.level <= self._level:
            return
        self._level = self._interrupts.level
        self._draining = self._halted = True
        self.reason = "interrupted"
        n_running = len(self._running) + self._finalists.n_running
        if self._level == 1:
            self._observer.note(f"stopping: {n_running} running trials may end; Ctrl-C again terminates them")
        elif self._level == 2:
            self._observer.note(f"terminating {n_running} running trials; Ctrl-C again kills them")
        self._interrupt_running(kill=self._level >= 3)

    def _interrupt_running(self, *, kill: bool) -> None:
        if self._level >= 2:
            self._runner.interrupt(kill=kill)

    def _end_running(self) -> None:
        """Terminate what runs and put it back to waiting."""
        self._runner.interrupt(kill=False)
        while self._running:
            for event in self._runner.poll(_POLL_S):
                if isinstance(event, Finished) and self._running.pop(event.trial, None) is not None:
                    self._study.finish(event.trial, event.outcome, attempt=event.attempt, slot=event.slot)

    def _keep_house(self) -> None:
        now = time.monotonic()
        if now - self._kept_house < _HOUSEKEEPING_S:
            return
        self._kept_house = now
        self._count_time()
        self._obey_requests()
        budget = self._study.problem.budget
        spent = self._study.ledger.spent
        if self._draining or self._finalists.began or budget is None or budget.time is None:
            return
        if spent.seconds >= budget.time:
            self._draining = True
            self.reason = "the time budget is spent"
            self._observer.note(f"{self.reason}; ending {len(self._running)} running trials")
            self._runner.interrupt(kill=False)

    def _count_time(self) -> None:
        now = time.monotonic()
        self._study.spend(now - self._counted)
        self._counted = now

    def _obey_requests(self) -> None:
        if self._study.dir is None:
            return
        for request in inbox.take(self._study.dir):
            try:
                self._obey(request)
            except TunerError as error:
                self._observer.note(f"request refused: {error}")

    def _obey(self, request: dict[str, Any]) -> None:
        if request["verb"] == "stop":
            self._draining = self._halted = True
            self.reason = "stopped by `tuner stop`"
            self._observer.note(self.reason)
            if request.get("now"):
                self._runner.interrupt(kill=False)
        elif request["verb"] == "enqueue":
            trial = self._study.enqueue(request["config"])
            self._observer.note(f"trial {trial} was enqueued")
        elif request["verb"] == "prefer":
            add(self._study, Answer(**request["answer"]))
        elif request["verb"] == "retry":
            self._study.retry(request["trials"])
            self._observer.note(f"trials {request['trials']} wait for another attempt")

    def _check_failures(self, trial: int) -> None:
        """The failure policy, and the circuit breaker: a sweep that only fails is stopped at once, with a log."""
        reason = too_many_failures(self._study.problem.budget, self._study.ledger.spent)
        states = self._session
        failed = states.count("failed")
        if len(states) == _BREAKER_FIRST and failed == _BREAKER_FIRST:
            reason = f"the first {_BREAKER_FIRST} trials all failed"
        in_first_minute = time.monotonic() - self._began < 60.0
        if in_first_minute and failed >= _BREAKER_MINUTE and failed == len(states):
            reason = f"{failed} trials failed in the first minute and none succeeded"
        if reason is not None:
            raise FailurePolicyError(f"stopped: {reason}\n{self.explain(trial)}")

    def explain(self, trial: int) -> str:
        """Why a trial failed, with the end of its log."""
        record = self._study.read(trial)
        failure = record.failure
        head = f"trial {trial}: {failure.kind}: {failure.message}" if failure is not None else f"trial {trial}"
        if self._study.dir is None:
            return head
        tail: list[str] = []
        for name in ("stdout.log", "stderr.log"):
            file = self._study.dir / "trials" / str(trial) / name
            if file.is_file():
                tail += file.read_text(encoding="utf-8", errors="replace").splitlines()[-_LOG_TAIL_LINES:]
        tail = tail[-_LOG_TAIL_LINES:]
        said = [line for line in head.splitlines() if line.strip().removeprefix("| ") not in tail]
        return "\n".join([*said, *(f"  | {line}" for line in tail)])
