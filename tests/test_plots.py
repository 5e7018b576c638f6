"""`tuner plot`: what each plot shows, and what is said when there is nothing to draw."""

from __future__ import annotations

import builtins
import math
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

from tuner.study import Study
from tuner.verbs.plotting import KINDS, Request, view_of

N = 40
SWEEP: dict[str, Any] = {
    "name": "digits",
    "metrics": {"accuracy": "maximize", "cost": {"goal": "minimize", "unit": "$a$ <b>"}, "memory": {"max": 0.9}},
    "parameters": {
        "lr": {"min": 1e-5, "max": 1e-1, "log": True},
        "layers": {"min": 1, "max": 12},
        "optim": {"values": ["adamw", "sgd"]},
        "beta": {"min": 0.9, "max": 0.99, "when": "optim == 'adamw'"},
        "keep": {"vector": 2, "min": 0.0, "max": 1.0},
    },
    "baseline": {"lr": 1e-3, "layers": 6, "optim": "sgd", "keep": [0.5, 0.5]},
    "search": "random",
    "budget": {"trials": N + 2},
}


def outcome(config: dict[str, Any]) -> dict[str, float]:
    """Accuracy follows from lr alone, cost from layers alone."""
    accuracy = 1.0 - abs(math.log10(config["lr"]) + 3) / 2
    return {"accuracy": accuracy, "cost": float(config["layers"]), "memory": config["keep"][0]}


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty completed trials, one failed, one stopped; each reported twice; on two slots."""
    folder = tmp_path_factory.mktemp("studied") / "digits"
    with Study.create(SWEEP, folder) as study:
        for k in range(N + 2):
            proposal = study.ask()
            metrics = outcome(proposal.config)
            for step in (1, 2):
                study.report(proposal.trial, step, {"accuracy": metrics["accuracy"] * step / 2})
            if k == N:
                study.fail(proposal.trial, "crash", "boom")
            else:
                study.tell(proposal.trial, metrics, slot=f"cpu{k % 2}")
    return folder


def plot(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["plot", *args])
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


def words(file: Path) -> set[str]:
    """The texts of an SVG."""
    return {"".join(e.itertext()).strip() for e in ET.parse(file).getroot().iter("{http://www.w3.org/2000/svg}text")}


EXPECTED = {
    "front": {"accuracy ↑", "cost ($a$ <b>) ↓", "front", "dominated", "infeasible", "baseline"},
    "progress": {"hypervolume ↑", "trials", "so far", "baseline"},
    "parallel": {"accuracy ↑", "lr", "keep[1]", "adamw", "inactive", "0.001"},
    "importance": {"accuracy", "cost", "lr", "layers", "keep"},
    "slice": {"lr", "layers", "keep[0]", "feasible", "infeasible", "best"},
    "contour": {"accuracy ↑, smoothed", "lr"},
    "curves": {"step", "accuracy ↑", "not stopped"},
    "timeline": {"seconds", "completed", "failed"},
}


@pytest.mark.parametrize("kind", KINDS)
def test_every_plot_says_what_it_shows(studied: Path, tmp_path: Path, kind: str) -> None:
    file = tmp_path / f"{kind}.svg"
    assert plot(kind, str(studied), "-o", str(file)).stdout.strip() == str(file)
    assert words(file) >= EXPECTED[kind]


def test_the_size_is_what_was_asked_and_the_file_the_same_twice(studied: Path, tmp_path: Path) -> None:
    from PIL import Image

    file, svgs = tmp_path / "front.png", [tmp_path / "a.svg", tmp_path / "b.svg"]
    plot("front", str(studied), "-o", str(file), "--width", "3.3", "--height", "2", "--dpi", "100")
    with Image.open(file) as image:
        assert image.size == (330, 200)
    for svg in svgs:
        plot("front", str(studied), "-o", str(svg))
    assert svgs[0].read_bytes() == svgs[1].read_bytes()


def view(studied: Path, kind: str, **options: Any) -> Any:
    with Study.open(studied, read_only=True) as study:
        return view_of(study, kind, Request(**options))


def test_the_front_is_the_study_s_own(studied: Path) -> None:
    found = view(studied, "front", metrics=("cost", "accuracy"))
    with Study.open(studied, read_only=True) as study:
        front = {record.trial for record in study.pareto()}
        completed = {r.trial: r for r in study.records() if r.state == "completed"}
    assert {dot.trial for dot in found.front} == front
    assert {dot.trial for dot in found.infeasible} == {n for n, r in completed.items() if not r.feasible}
    assert len(found.front) + len(found.dominated) + len(found.infeasible) == len(completed)
    assert [dot.x for dot in found.front] == sorted(dot.x for dot in found.front)
    assert (found.baseline.x, found.baseline.y) == (6.0, pytest.approx(1.0, abs=1e-12))
    assert found.x_label.startswith("cost")


def test_progress_ends_at_the_best_and_at_the_hypervolume(studied: Path) -> None:
    with Study.open(studied, read_only=True) as study:
        volume = study.hypervolume()[0]
        best = max(r.metrics["accuracy"] for r in study.records() if r.feasible)
    for over in ("trials", "time"):
        one, both = view(studied, "progress", metrics=("accuracy",), over=over), view(studied, "progress", over=over)
        assert one.best[-1] == best
        assert both.best[-1] == pytest.approx(volume, rel=1e-12)
        assert (np.diff(both.best) >= 0).all()
        assert (np.diff(both.at) >= 0).all()
    assert view(studied, "progress").at[-1] == N + 2


def test_importance_finds_what_the_metrics_follow_from(studied: Path) -> None:
    shares = view(studied, "importance").shares
    assert shares["accuracy"][0][0] == "lr"
    assert shares["cost"][0][0] == "layers"
    assert sum(share for _, share in shares["cost"]) == pytest.approx(1.0)


def test_scales_hold_the_values_where_the_trials_stand(studied: Path) -> None:
    scales = {axis.name: axis for axis in view(studied, "parallel").axes}
    places, labels = zip(*scales["lr"].ticks, strict=True)
    assert labels == ("1e-05", "0.0001", "0.001", "0.01", "0.1")
    np.testing.assert_allclose(places, [0.0, 0.25, 0.5, 0.75, 1.0], atol=1e-12)
    assert [label for _, label in scales["layers"].ticks] == ["5", "10"]
    inactive = np.isnan(scales["beta"].positions)
    sgd = {label: place for place, label in scales["optim"].ticks}["sgd"]
    assert (inactive == (scales["optim"].positions == sgd)).all()


def test_smoothing_keeps_a_constant_and_is_blank_far_away() -> None:
    from tuner.views.contour import smoothed

    grid = np.linspace(0, 1, 11)
    corner = np.array([[0.0, 0.0]] * 64)  # bandwidth 0.15: blank beyond 0.375
    z = smoothed(corner, np.full(64, 3.0), grid)
    far = np.hypot(*np.meshgrid(grid, grid)) >= 0.375
    assert np.isnan(z[far]).all()
    np.testing.assert_allclose(z[~far], 3.0, rtol=1e-12)


def test_the_timeline_has_a_lane_a_slot(studied: Path) -> None:
    found = view(studied, "timeline")
    assert {"slot cpu0", "slot cpu1"} < set(found.lanes)
    assert len(found.bars) == N + 2
    assert all(0 <= share <= 1 for share in found.busy.values())


@pytest.mark.parametrize(
    ("args", "complaint"),
    [
        (("fromt",), "no plot called 'fromt'; did you mean 'front'?"),
        (("slice", "-m", "acuracy"), "did you mean 'accuracy'?"),
        (("slice", "-m", "zzz"), "there are: accuracy, cost"),
        (("slice", "-p", "layer"), "did you mean 'layers'?"),
        (("contour", "-p", "lr"), "give --parameter twice"),
        (("curves", "-m", "memory"), "no reported metric called 'memory'"),
        (("front", "-o", "front.pdf"), "must end in .png or .svg"),
        (("front", "-o", "nowhere/front.png"), "does not; make it first"),
        (("front", "--width", "0"), "--width must lie between 1 and 50 inches"),
        (("front", "--dpi", "5000"), "--dpi must lie between 30 and 1200"),
        (("front", "--over", "time"), "--over is for `tuner plot progress`"),
        (("front", "-m", "cost", "-m", "cost"), "two different metrics"),
        (("timeline", "-m", "cost"), "takes at most 0 --metric"),
    ],
)
def test_what_cannot_be_drawn_is_refused(
    studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...], complaint: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert complaint in plot(args[0], str(studied), *args[1:], code=2).stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
def test_an_empty_study_and_one_objective_say_so(tmp_path: Path, kind: str) -> None:
    single = {**SWEEP, "metrics": {"accuracy": "maximize", "cost": {}, "memory": {}}}
    for name, sweep in (("empty", SWEEP), ("single", single)):
        Study.create(sweep, tmp_path / name).close()
        said = plot(kind, str(tmp_path / name), "-o", str(tmp_path / "p.png"), code=2).stderr
        alone = name == "single" and kind == "front"
        assert "try `tuner plot progress`" in said if alone else " no " in said


def test_without_matplotlib_it_says_what_to_install(
    studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = builtins.__import__

    def absent(name: str, *args: Any, **kwargs: Any) -> Any:
        if name.partition(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", absent)
    said = plot("front", str(studied), "-o", str(tmp_path / "front.png"), code=8).stderr
    assert "pip install tuner[plots]" in said


def test_names_in_other_scripts_and_control_characters_do_no_harm(tmp_path: Path) -> None:
    metrics = {"模型 <script>": "minimize", "b&amp;": "minimize"}
    parameters = {"$x_1^": {"min": 0.0, "max": 1.0}, "c": {"values": ["\x1b[31m$x$", "a\nb", "c"]}}
    sweep = {"name": "s", "metrics": metrics, "parameters": parameters, "search": "random"}
    with Study.create(sweep, tmp_path / "s") as study:
        for k in range(12):
            study.tell(study.ask().trial, dict(zip(metrics, (float(k % 5), -float(k % 3)), strict=True)))
    for kind in ("front", "parallel", "importance", "slice"):
        for ending in ("png", "svg"):
            plot(kind, str(tmp_path / "s"), "-o", str(tmp_path / f"{kind}.{ending}"))
    assert any("<script>" in word for word in words(tmp_path / "front.svg"))
    assert {"[31m$x$", "a b"} < words(tmp_path / "parallel.svg")


def test_a_plot_of_too_many_parameters_says_what_it_leaves_out(tmp_path: Path) -> None:
    sweep = {"name": "s", "metrics": {"loss": "minimize"}, "parameters": {"w": {"vector": 30, "min": 0.0, "max": 1.0}}}
    with Study.create({**sweep, "search": "random"}, tmp_path / "s") as study:
        for k in range(4):
            study.tell(study.ask().trial, {"loss": float(k)})
    for kind, most in (("parallel", 20), ("slice", 24)):
        file = tmp_path / f"{kind}.svg"
        plot(kind, str(tmp_path / "s"), "-o", str(file))
        assert f"the first {most} of 30 parameters; --parameter chooses others" in words(file)
    plot("slice", str(tmp_path / "s"), "-o", str(tmp_path / "one.svg"), "-p", "w[29]")
    assert "w[29]" in words(tmp_path / "one.svg")
