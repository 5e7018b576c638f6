"""What a person sees of a study: in a real terminal (tmux), resized, while it runs and after."""

from __future__ import annotations

import dataclasses
import functools
import io
import json
import math
import os
import subprocess
import sys
import threading
import time
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from rich.console import Console

import tuner
from tests.surroundings import environment
from tests.terminal import needs_tmux, terminal
from tuner import pareto, ranking
from tuner.reporting.live import Screen, lines_of, size, sparkline
from tuner.slots import BOARD, SlotState, post, posted, withdraw
from tuner.usage import Usage, UsageMeter
from tuner.views.live import LiveView, SlotRow, Tally, live_view, sampled

OBJECTIVE = """
import os, time
def f(config, trial):
    if trial.number in (2, 8):
        raise RuntimeError("no \\x1b[31mdata\\x1b[0m\\n::error::here")
    for step in range(1, 4):
        trial.report(step, accuracy=config["x"] * step / 3)
        time.sleep(0.1)
    while trial.number > 5 and not os.path.exists("go"):
        time.sleep(0.05)
    return {"accuracy": config["x"], "size": config["n"]}
"""
SWEEP: dict[str, Any] = {
    "name": "seen",
    "objective": "objective_seen:f",
    "metrics": {"accuracy": "maximize", "size": "minimize"},
    "parameters": {"x": {"min": 0.0, "max": 1.0}, "n": {"min": 1, "max": 64}},
    "baseline": {"x": 0.25, "n": 50},
    "search": "random",
    "parallel": 2,
    "budget": {"trials": 10},
    "runner": {"timeout": "5m"},
}


@pytest.fixture
def here(tmp_path: Path) -> Path:
    (tmp_path / "objective_seen.py").write_text(OBJECTIVE)
    (tmp_path / "sweep.yaml").write_text(json.dumps(SWEEP))
    return tmp_path


def told(folder: Path | None, n: int, **changes: Any) -> tuner.Study:
    sweep = {key: value for key, value in {**SWEEP, **changes}.items() if key not in ("objective", "runner")}
    study = tuner.Study.create({**sweep, "budget": {"trials": n}}, folder)
    while proposals := study.ask(1):
        p = proposals[0]
        if p.trial % 7 == 5:
            study.fail(p.trial, "crash", "boom")
        else:
            study.tell(p.trial, {m: p.config["x" if m == "accuracy" else "n"] for m in sweep["metrics"]})
    return study


# --- in a terminal ---


def whole(lines: list[str], *, columns: int, rows: int) -> bool:
    """Whether one live view is in sight, with nothing left of another, and fits."""
    heads = sum(line.startswith("seen  ") for line in lines)
    return lines[0].startswith("seen  ") and heads == 1 and max(map(len, lines)) < columns and len(lines) < rows


@needs_tmux
def test_a_run_and_a_watch_of_it_through_sizes_to_the_end(here: Path) -> None:
    with terminal(["run", "sweep.yaml"], cwd=here, columns=100, rows=30) as run:
        run.until(lambda lines: any(" cpu1 " in line for line in lines))
        with terminal(["watch", "seen"], cwd=here, columns=90, rows=24) as watch:
            seen = watch.until(lambda lines: sum("  3 accuracy=" in line for line in lines) == 2 and "6/10" in lines[0])
            assert seen[0].startswith("seen  6/10 trials, 1 failed, 2 running  0:00:0")
            assert any(line.startswith("last failure: trial 2 failed: crash: RuntimeError: no") for line in seen)
            assert "about 0:00:" in seen[0] and seen[0].endswith(" left")
            assert seen[1].startswith("━")
            assert any(line.startswith("best accuracy ") and "(baseline 0.25, +" in line for line in seen)
            assert any(line.startswith("hypervolume ↑  ") and "front of" in line for line in seen)
            title = next(line for line in seen if line.startswith(" slot"))
            assert title.split() == ["slot", "trial", "memory", "cpu", "elapsed", "/", "limit", "step"]
            row = next(line for line in seen if line.startswith(" cpu0"))
            assert "MiB" in row and "/ 0:05:00" in row
            assert not any(line.startswith("::") for line in seen)
            for columns, rows in ((50, 9), (120, 30)):
                watch.resize(columns, rows)
                run.resize(columns, rows)
                time.sleep(0.6)  # several looks at the size of the window
                for window in (run, watch):
                    window.until(functools.partial(whole, columns=columns, rows=rows))
            (here / "go").touch()
            ended = watch.until(lambda lines: lines[-1].startswith("exit code"))
            assert ended[-1] == "exit code 0"
            assert ended[0].startswith("seen  10/10 trials, 2 failed  ")
            assert ended[-2] == "ended: all 10 trials of the budget are started"
        final = run.until(lambda lines: lines[-1].startswith("exit code"))
        assert any(line.startswith("ended: all 10 trials") for line in final)
        assert any(line.startswith("front of") for line in final)
        assert not any(line.startswith("seen  ") for line in final)  # the live view is gone


@needs_tmux
def test_ten_thousand_trials_are_watched_once(tmp_path: Path) -> None:
    n = 2_000  # the benchmark watches 10,000
    told(tmp_path / ".tuner" / "seen", n).close()
    with terminal(["watch", "--once"], cwd=tmp_path) as window:
        lines = window.until(lambda lines: lines[-1].startswith("exit code"))
    assert lines[0].startswith(f"seen  {n}/{n} trials, {len(range(5, n, 7))} failed")
    assert lines[-2] == f"ended: all {n} trials of the budget are started"
    assert any(line.startswith("hypervolume ↑  ▁") and "█ " in line for line in lines)


def test_on_no_terminal_watching_prints_lines(here: Path) -> None:
    command = [sys.executable, "-m", "tuner"]
    run = subprocess.Popen([*command, "run", "sweep.yaml", "-q"], cwd=here, env=environment(), stdout=subprocess.PIPE)
    while not (here / ".tuner" / "seen" / BOARD).exists():
        time.sleep(0.05)
    threading.Timer(2.0, (here / "go").touch).start()
    done = subprocess.run(
        [*command, "watch", "--every", "0.2"], cwd=here, env=environment(), capture_output=True, text=True, check=True
    )
    run.communicate(timeout=60)
    lines = done.stdout.splitlines()
    assert lines[0].startswith("study seen in ")
    assert any(line.endswith("trial 8 failed: crash: RuntimeError: no  [31mdata [0m") for line in lines)
    assert lines[-1] == "ended: all 10 trials of the budget are started; 10/10 trials, 2 failed"
    assert not (here / ".tuner" / "seen" / BOARD).exists()  # the board is taken down at the end


# --- the parts ---


def test_a_tally_of_parts_is_that_of_the_whole() -> None:
    rng = np.random.default_rng(0)
    with tuner.Study.create({**SWEEP, "objective": None, "budget": {"trials": 400}, "baseline": None}) as study:
        parts = Tally()
        while proposals := study.ask(int(rng.integers(1, 9))):
            for p in reversed(proposals):
                if p.trial % 11 == 3:
                    study.fail(p.trial, "crash", "boom")
                else:
                    study.tell(p.trial, {"accuracy": p.config["x"], "size": p.config["n"]})
            parts.update(study)
        whole = Tally()
        whole.update(study)
        assert parts.curve == whole.curve
        assert sorted(parts.front) == sorted(whole.front) == sorted(ranking.front(study.history))
        volume, _ = study.hypervolume()
        assert parts.curve[-1][1] == pytest.approx(volume, rel=1e-12)
        assert [v for _, v in parts.curve] == sorted(v for _, v in parts.curve)
        assert parts.failure == max(t for t in range(400) if t % 11 == 3)


def test_a_tally_of_one_goal_holds_the_best_so_far() -> None:
    with told(None, 60, metrics={"size": "minimize"}) as study:
        tally = Tally()
        tally.update(study)
        values = [r.metrics["size"] if r.state == "completed" else math.inf for r in study.records()]
        assert sampled(tally.curve, tally.n, 60) == list(np.minimum.accumulate(values))


def test_what_had_less_of_the_fidelity_does_not_compare() -> None:
    sweep = {
        "metrics": {"loss": "minimize"},
        "parameters": {"x": {"min": 0.0, "max": 1.0}, "epochs": {"min": 1, "max": 9}},
        "fidelity": {"parameter": "epochs", "min": 1, "max": 9},
        "search": "random",
    }
    with tuner.Study.create(sweep) as study:
        for p in study.ask(3):
            study.tell(p.trial, {"loss": 1.0 + p.trial})
        tally = Tally()
        tally.update(study)
        assert tally.front == [study.best().trial]  # type: ignore[union-attr]


def test_sparklines_are_drawn_from_steps() -> None:
    curve = [(2, 1.0), (5, 3.0), (9, 8.0)]
    assert sampled(curve, 10, 10) == [None, None, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0, 3.0, 8.0]
    assert sampled(curve, 10, 5) == [None, 1.0, 3.0, 3.0, 8.0]
    assert sampled(curve, 2, 3) == [None, None, None]
    assert sparkline([None, 1.0, 3.0, 8.0]) == " ▁▃█"
    assert sparkline([2.0, 2.0]) == "▄▄"
    assert sparkline([]) == ""


def test_sizes_have_three_digits() -> None:
    assert [size(n) for n in (0, 999, 1024, 312 * 2**20, 2**40)] == ["0 B", "999 B", "1 KiB", "312 MiB", "1 TiB"]


def view(**changes: Any) -> LiveView:
    with told(None, 30) as study:
        tally = Tally()
        tally.update(study)
        slots = [SlotState(f"gpu{i}", gpus=(f"GPU-{i}",), trial=i, since=100.0, limit_s=60.0) for i in range(20)]
        usage = {"gpu0": Usage(2**30, 1.5, 2**33, 0.97)}
        return live_view(study, tally, slots=slots, usage=usage, reports={0: (7, {"loss": 0.25})}, now=142.0, **changes)


def test_lines_fit_whatever_the_size() -> None:
    for width in (1, 5, 20, 50, 200):
        for height in (1, 2, 3, 8, 20, 60):
            lines = lines_of(view(), "trial 5 failed: crash: boom", width=width, height=height)
            assert len(lines) <= height
            assert all(line.cell_len < max(width, 2) for line in lines)


def test_one_goal_has_its_best_trial_and_no_front() -> None:
    with told(None, 30, metrics={"size": "minimize"}) as study:
        tally = Tally()
        tally.update(study)
        shown = live_view(study, tally, slots=[SlotState("cpu0")], usage={}, reports={}, now=0.0)
        best = study.best()
    assert best is not None
    lines = [line.plain for line in lines_of(shown, "", width=120, height=60)]
    line = next(line for line in lines if line.startswith("best size ↓  "))
    assert f"  {best.metrics['size']:.5g} (baseline 50, -" in line
    assert line.endswith(f"  trial {best.trial}")
    assert any(line.split() == ["cpu0", "idle", "waits", "for", "the", "next", "suggestion"] for line in lines)
    assert not any(line.startswith(" front") for line in lines)


def test_a_row_tells_what_a_slot_does() -> None:
    lines = [line.plain for line in lines_of(view(), "", width=120, height=60)]
    row = next(line for line in lines if line.startswith(" gpu0"))
    assert row.split() == [
        "gpu0",
        "0",
        "1",
        "GiB",
        "150%",
        "8",
        "GiB",
        "97%",
        "0:00:42",
        "/",
        "0:01:00",
        "7",
        "loss=0.25",
    ]
    assert " and 4 more slots" in lines


def test_names_and_failures_cannot_act_on_the_terminal() -> None:
    bad = "a\x1b[2Jb\nc\x9b31m::error::"
    out = io.StringIO()
    screen = Screen(Console(file=out, force_terminal=True, width=80, height=40, color_system=None))
    row = SlotRow(slot=bad, trial=1, report=(1, {bad: 1.0}))
    shown = view()
    nasty = dataclasses.replace(shown, name=bad, slots=(row,), objectives=(bad, bad), state=bad)
    screen.draw(lambda width, height: lines_of(nasty, bad, width=width, height=height))
    text = out.getvalue()
    assert "\x1b" not in text and "\x9b" not in text
    assert not any(line.startswith(("c", "::")) for line in text.splitlines())


def test_a_board_is_posted_read_and_withdrawn(tmp_path: Path) -> None:
    slots = [SlotState("cpu0"), SlotState("gpu1", ("GPU-1",), trial=3, pid=77, since=1.5, limit_s=None)]
    assert posted(tmp_path) == []
    post(tmp_path, slots)
    assert posted(tmp_path) == slots
    (tmp_path / BOARD).write_text('[{"slot": "cpu0", "more": 1}]')
    assert posted(tmp_path) == []
    withdraw(tmp_path)
    withdraw(tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == []
    post(tmp_path / "gone", slots)  # a folder that is gone is no error


def test_usage_counts_descendants() -> None:
    code = "x = bytearray(1 << 25); import time\nend = time.time() + 20\nwhile time.time() < end: pass"
    child = subprocess.Popen(["sh", "-c", f'{sys.executable} -c "{code}"; true'])
    try:
        meter, slots = UsageMeter(), [SlotState("cpu0", trial=1, pid=child.pid), SlotState("cpu1")]
        end = time.monotonic() + 10
        while meter.read(slots)["cpu0"].memory_bytes < 1 << 25:
            assert time.monotonic() < end
            time.sleep(0.05)
        time.sleep(0.3)
        found = meter.read(slots)
        assert set(found) == {"cpu0"}
        assert (
            found["cpu0"].cpu_share is not None and 0.02 < found["cpu0"].cpu_share < 1.5
        )  # a busy loop on a busy machine
    finally:
        subprocess.run(["pkill", "-P", str(child.pid)], check=False)
        child.wait(timeout=10)
    assert UsageMeter().read(slots) == {}


def test_gpus_are_read_where_they_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    class NotSupportedError(Exception):
        pass

    def utilization(handle: str) -> types.SimpleNamespace:
        if handle.startswith("MIG-"):
            raise NotSupportedError
        return types.SimpleNamespace(gpu={"GPU-0": 90, "GPU-1": 40}[handle])

    fake = types.SimpleNamespace(
        NVMLError=NotSupportedError,
        nvmlInit=lambda: None,
        nvmlDeviceGetHandleByUUID=lambda uuid: uuid,
        nvmlDeviceGetMemoryInfo=lambda handle: types.SimpleNamespace(used=2**30),
        nvmlDeviceGetUtilizationRates=utilization,
    )
    monkeypatch.setitem(sys.modules, "pynvml", fake)
    own = os.getpid()
    slots = [
        SlotState("gpu0", ("GPU-0", "GPU-1"), trial=0, pid=own),
        SlotState("gpu1", ("MIG-0",), trial=1, pid=own),
        SlotState("cpu0", trial=2, pid=own),
    ]
    found = UsageMeter().read(slots)
    assert (found["gpu0"].gpu_memory_bytes, found["gpu0"].gpu_share) == (2**31, 0.65)
    assert (found["gpu1"].gpu_memory_bytes, found["gpu1"].gpu_share) == (2**30, None)
    assert (found["cpu0"].gpu_memory_bytes, found["cpu0"].gpu_share) == (None, None)


def test_drawing_paces_itself() -> None:
    screen = Screen(Console(file=io.StringIO(), force_terminal=True, width=80, height=40))
    began = time.thread_time()
    while time.thread_time() - began < 0.02:
        pass
    screen.paced(began)
    assert not screen.due
    assert screen._due - time.monotonic() > 2.0  # 0.02 s of work: at most a hundredth of the time to come


def test_volume_is_counted_from_the_corner_of_all() -> None:
    Y = np.array([[1.0, 1.0], [0.2, 0.5]])
    assert pareto.infer_reference(np.vstack([Y[:1], Y.min(axis=0)])).tolist() == pareto.infer_reference(Y).tolist()
