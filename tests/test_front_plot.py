"""The front as a plot of characters: what is drawn, where it is not, and what a person sees of it."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import pytest

import tuner
from tests.surroundings import environment
from tests.terminal import needs_tmux, terminal
from tuner.commands.terminal import draw_front
from tuner.reporting import front_plot
from tuner.views.front import Dot, FrontView, front_view

SWEEP = {
    "name": "two",
    "metrics": {"accuracy": "maximize", "size": "minimize", "ms": {"max": 3}},
    "parameters": {"x": {"min": 0.0, "max": 1.0}},
    "baseline": {"x": 0.5},
    "search": "random",
    "budget": {"trials": 40},
}


@pytest.fixture
def two(tmp_path: Path) -> Path:
    with tuner.Study.create(SWEEP, tmp_path / ".tuner" / "two") as study:
        while proposals := study.ask(1):
            p = proposals[0]
            x = p.config["x"]
            size = 10 * x if p.trial % 3 == 0 else 10 * x + 4
            study.tell(p.trial, {"accuracy": x, "size": size, "ms": 9.0 if p.trial % 10 == 7 else 1.0})
    return tmp_path


@needs_tmux
def test_a_person_sees_the_front_above_its_table(two: Path) -> None:
    with terminal(["pareto"], cwd=two, columns=90, rows=50) as window:
        lines = window.until(lambda lines: lines[-1].startswith("exit code 0"))
        assert " size ↓  against  accuracy ↑" in lines
        top = next(i for i, line in enumerate(lines) if "┌───" in line)
        bottom = next(i for i, line in enumerate(lines) if "└┬──" in line)
        legend = next(line for line in lines if line.startswith(" × infeasible"))
        assert legend.split() == ["×", "infeasible", "·", "dominated", "●", "front", "◆", "baseline", "★", "knee"]
        plot = "\n".join(lines[top:bottom])
        assert plot.count("★") == 1
        assert plot.count("●") >= 5
        table = next(i for i, line in enumerate(lines) if line.startswith(" trial "))
        assert table > bottom
        assert "\x1b[" in window.raw()
    with terminal(["pareto", "--no-plot"], cwd=two, columns=90, rows=50) as window:
        lines = window.until(lambda lines: lines[-1].startswith("exit code 0"))
        assert not any("┌───" in line for line in lines)
        assert any(line.startswith(" trial ") for line in lines)


def test_a_pipe_gets_the_table_alone(two: Path) -> None:
    command = [sys.executable, "-m", "tuner", "pareto"]
    done = subprocess.run(command, cwd=two, env=environment(), capture_output=True, text=True, check=True)
    assert "●" not in done.stdout + done.stderr
    assert "plotext" not in done.stderr


def test_without_plotext_one_line_says_how_to_get_it(
    two: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(front_plot, "available", lambda: False)
    with tuner.Study.open(two / ".tuner" / "two", read_only=True) as study:
        draw_front(study)
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.splitlines() == [front_plot.HINT]


def view(n: int = 3) -> FrontView:
    front = tuple(Dot(i, float(i), float(i)) for i in range(n))
    return FrontView(
        x_label="a ↑",
        y_label="b ↓",
        x_larger_is_better=True,
        front=front,
        dominated=tuple(Dot(i, i / 1e3, 9.0 - i / 1e3) for i in range(9_000)),
        infeasible=(),
        knee=front[0],
        baseline=None,
        connected=True,
    )


def test_it_fits() -> None:
    pytest.importorskip("plotext", minversion="6")
    for width, height in ((30, 8), (80, 20), (200, 50)):
        lines = front_plot.front_plot(view(), width=width, height=height, color=False).split("\n")
        assert len(lines) <= height  # plotext draws no larger than the terminal
        assert max(map(len, lines)) <= width or width < 45  # the legend alone needs that
    assert front_plot.front_plot(view(), width=29, height=8) == ""
    assert front_plot.front_plot(view(), width=30, height=7) == ""


def test_names_cannot_act_on_the_terminal_and_colours_can_be_left_out() -> None:
    pytest.importorskip("plotext", minversion="6")
    nasty = dataclasses.replace(view(), x_label="a\x1b[2J\n::error::", y_label="b\x9b31m")
    text = front_plot.front_plot(nasty, width=80, height=20, color=False)
    assert "\x1b" not in text and "\x9b" not in text
    assert not any(line.startswith("::") for line in text.splitlines())


def test_the_front_of_a_study_is_drawn(two: Path) -> None:
    pytest.importorskip("plotext", minversion="6")
    with tuner.Study.open(two / ".tuner" / "two", read_only=True) as study:
        text = front_plot.front_plot(front_view(study), width=80, height=20, color=False)
    assert "◆ baseline" in text
