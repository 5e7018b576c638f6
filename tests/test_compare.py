"""`tuner compare`: studies whose fronts, volumes and differences are known."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

from tuner.study import Study
from tuner.trial import Outcome

TWO = {"a": {"goal": "minimize", "reference": 10.0}, "b": {"goal": "minimize", "reference": 10.0}}
ONE = {"loss": "minimize"}


def make(
    folder: Path,
    metrics: Mapping[str, Any],
    values: Sequence[Mapping[str, float]],
    measures: Mapping[str, float] | None = None,
    **changes: Any,
) -> str:
    """A study whose trials had these values; trial k had x = k / 10."""
    definition = {"metrics": metrics, "parameters": {"x": {"min": 0.0, "max": 9.0}, "c": {"values": ["p", "q"]}}}
    with Study.create({**definition, "search": "random", **changes}, folder) as study:
        for k, own in enumerate(values):
            study.enqueue({"x": k / 10, "c": "p"})
            trial = study.ask().trial
            study.finish(trial, Outcome(state="completed", metrics=own, measures=measures or {}))
    return str(folder)


def ab(*pairs: tuple[float, float]) -> list[dict[str, float]]:
    return [{"a": a, "b": b} for a, b in pairs]


def losses(*values: float) -> list[dict[str, float]]:
    return [{"loss": value} for value in values]


def compare(*args: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, ["compare", *args])
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


def document(*args: str) -> Any:
    found = json.loads(compare(*args, "--json").stdout)
    assert found["schema"] == "tuner.compare/1"
    return found


def test_fronts_volumes_and_attainment(tmp_path: Path) -> None:
    first = make(tmp_path / "first", TWO, ab((2, 6), (6, 2), (7, 7)))
    second = make(tmp_path / "second", TWO, ab((9, 9), (2, 6), (4, 3), (8, 1)))
    found = document(first, second)
    one, two = found["sides"]
    # (2, 6) stands on both fronts; (6, 2) is dominated by nothing; (4, 3), (8, 1) neither
    assert (one["front"], one["surviving"]) == ([0, 1], [0, 1])
    assert (two["front"], two["surviving"]) == ([1, 2, 3], [1, 2, 3])
    # from (10, 10): 8 * 4 + 4 * 8 - 4 * 4; 8 * 4 + 6 * 3 + 2 * 2
    assert (one["score"], two["score"]) == (48.0, 54.0)
    assert found["corner"] == {"a": 10.0, "b": 10.0}
    assert one["attains"] == {"second": pytest.approx(1 / 3)}
    assert two["attains"] == {"first": pytest.approx(1 / 2)}
    assert one["best"] == {"a": {"trial": 0, "value": 2.0}, "b": {"trial": 1, "value": 2.0}}
    [difference] = found["differences"]
    assert (difference["value"], difference["relative"]) == (6.0, 0.125)
    assert difference["low"] is difference["by"] is None
    assert found["counts"] == [3]
    assert [side["so_far"] for side in (one, two)] == [[48.0], [50.0]]
    text = compare(first, second).stdout
    assert "hypervolume of second against first: +6 (+12.5%)" in text
    assert "no interval: nothing was measured twice" in text
    assert "### where the two best differ (1 parameters are the same)" in compare(first, second, "-f", "md").stdout


def test_a_dominated_member_does_not_survive_and_a_common_corner_is_inferred(tmp_path: Path) -> None:
    free = {"a": "minimize", "b": "maximize"}
    first = make(tmp_path / "first", free, ab((1, 1), (2, 3)))
    second = make(tmp_path / "second", free, ab((1, 2), (3, 3)))
    found = document(first, second)
    assert [side["surviving"] for side in found["sides"]] == [[1], [0]]
    # the joint front is (1, 2), (2, 3): its worst values less a tenth of its range
    assert found["corner"] == {"a": pytest.approx(2.1), "b": pytest.approx(1.9)}


def test_one_metric_is_compared_at_matching_counts(tmp_path: Path) -> None:
    first = make(tmp_path / "first", ONE, losses(9, 8, 7, 6, 5, 4, 3, 2, 1, 1, 0.5, 0.5))
    second = make(tmp_path / "second", ONE, losses(*[4.0] * 10, 3.0))
    found = document(first, second)
    assert found["corner"] is None
    assert found["counts"] == [10, 11]
    assert [side["so_far"] for side in found["sides"]] == [[1.0, 0.5], [4.0, 3.0]]
    assert found["differences"][0]["value"] == 2.5
    assert found["compared"] == ["first", "second"]
    assert "best loss of second against first: +2.5 (+500.0%)" in compare(first, second).stdout


def test_several_studies_of_each_sweep_give_an_interval_over_studies(tmp_path: Path) -> None:
    random = [make(tmp_path / f"r{k}", ONE, losses(5.0 + k), seed=k) for k in range(2)]
    sobol = [make(tmp_path / f"s{k}", ONE, losses(2.0), seed=k, search="sobol") for k in range(2)]
    [difference] = document(*random, *sobol)["differences"]
    assert (difference["of"], difference["against"]) == (["s0", "s1"], ["r0", "r1"])
    assert difference["by"] == "studies"
    # means of two draws from {5, 6} are 5 or 6 a quarter of the time each: beyond the 2.5% on either side
    assert [difference[key] for key in ("value", "low", "high")] == [-3.5, -4.0, -3.0]
    assert "by 2 and 2 studies; 0 lies outside" in compare(*random, *sobol).stdout


def test_one_study_against_several_has_no_interval(tmp_path: Path) -> None:
    several = [make(tmp_path / f"r{k}", ONE, losses(5.0 + k), seed=k) for k in range(2)]
    alone = make(tmp_path / "alone", ONE, losses(2.0), search="sobol")
    assert [one["by"] for one in document(alone, *several)["differences"]] == [None, None]


def test_repeated_measurements_give_an_interval(tmp_path: Path) -> None:
    repeats, spread = {"n": 4}, {"loss_sd": 0.2}
    first = make(tmp_path / "first", ONE, losses(3.0, 1.0), spread, repeats=repeats)
    second = make(tmp_path / "second", ONE, losses(2.0), spread, repeats=repeats)
    [difference] = document(first, second)["differences"]
    assert difference["by"] == "repeats"
    # standard errors 0.2 / sqrt(4) on either side: 1.96 * sqrt(2) * 0.1 = 0.277, from 400 draws within a fifth
    assert difference["value"] == 1.0
    assert difference["high"] - difference["value"] == pytest.approx(0.277, rel=0.2)
    assert difference["value"] - difference["low"] == pytest.approx(0.277, rel=0.2)
    front = make(tmp_path / "front", TWO, ab((2, 6), (6, 2)), {"a_sd": 0.2, "b_sd": 0.2}, repeats=repeats)
    moved = make(tmp_path / "moved", TWO, ab((3, 6), (6, 3)), {"a_sd": 0.2, "b_sd": 0.2}, repeats=repeats)
    # 8 * 4 + 4 * 8 - 4 * 4 = 48 against 7 * 4 + 4 * 7 - 4 * 4 = 40
    [volume] = document(front, moved)["differences"]
    assert volume["low"] < volume["value"] == -8.0 < volume["high"] < 0


def test_only_what_all_have_is_compared(tmp_path: Path) -> None:
    first = make(tmp_path / "first", ONE, losses(3.0))
    second = make(tmp_path / "second", {**ONE, "size": "minimize"}, [{"loss": 2.0, "size": 1.0}])
    found = document(first, second)
    assert (found["metrics"], found["left_out"]) == ({"loss": "minimize"}, ["size"])
    other = make(tmp_path / "other", {"loss": "maximize"}, losses(3.0))
    said = compare(first, other, code=2).stderr
    assert "first has minimize loss; other has maximize loss" in said


def test_a_study_without_a_feasible_trial_is_said(tmp_path: Path) -> None:
    bounded = {"loss": {"goal": "minimize", "max": 1.0}}
    first, second = make(tmp_path / "first", bounded, losses(3.0)), make(tmp_path / "second", bounded, losses(0.5))
    found = document(first, second)
    assert (found["sides"][0]["score"], found["differences"], found["compared"]) == (None, [], ["second"])
    assert "no feasible trial in first" in compare(first, second).stdout


def test_what_cannot_be_compared_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    first, empty = make(tmp_path / "first", ONE, losses(3.0)), make(tmp_path / "empty", ONE, [])
    assert "at least two studies" in compare(first, code=2).stderr
    assert "is named twice" in compare(first, "first", code=2).stderr
    assert "has no completed trial yet" in compare(first, empty, code=2).stderr
    assert "there is no study 'nowhere'" in compare(first, "nowhere", code=7).stderr
    assert "-f must be one of table, json, md" in compare(first, first, "-f", "csv", code=2).stderr


def test_which_regions_each_wins(tmp_path: Path) -> None:
    first = make(tmp_path / "first", TWO, ab((1, 8), (4, 4), (6, 3)))
    second = make(tmp_path / "second", TWO, ab((2, 6), (4, 5), (8, 1)))
    found = document(first, second)
    told = [(r["winner"], r["best"], r["worst"], r["advantage"]) for r in found["regions"]]
    # a <= 1: only first gets there; from 2 on second has 6 against 8, from 4 on first 4 against 5 and 3 against 5
    assert told == [
        ("first", 1.0, 2.0, None),
        ("second", 2.0, 4.0, 2.0),
        ("first", 4.0, 8.0, pytest.approx((1 * 2 + 2 * 2) / 4)),
        ("second", 8.0, 8.0, 2.0),
    ]
    assert [side["points"][0] for side in found["sides"]] == [[1.0, 8.0], [2.0, 6.0]]
    assert "nobody else gets there" in compare(first, second).stdout
    assert "### which regions each wins" in compare(first, second, "-f", "md").stdout


def test_ties_inside_a_region_are_part_of_it(tmp_path: Path) -> None:
    first = make(tmp_path / "first", TWO, ab((1, 8), (2, 6), (4, 2)))
    second = make(tmp_path / "second", TWO, ab((1, 9), (2, 6), (4, 3)))
    (region,) = document(first, second)["regions"]
    assert (region["winner"], region["best"], region["worst"]) == ("first", 1.0, 4.0)
    (same,) = document(first, make(tmp_path / "copy", TWO, ab((1, 8), (2, 6), (4, 2))))["regions"]
    assert (same["winner"], same["advantage"]) == (None, None)
    assert document(*(make(tmp_path / n, ONE, losses(1, 2)) for n in "xy"))["regions"] == []


def test_ways_to_weigh_three_metrics(tmp_path: Path) -> None:
    three = {name: {"goal": "minimize"} for name in "uvw"}
    good_at_u = make(tmp_path / "first", three, [{"u": 0.0, "v": 1.0, "w": 1.0}, {"u": 0.1, "v": 0.9, "w": 0.9}])
    middling = make(tmp_path / "second", three, [{"u": 0.4, "v": 0.4, "w": 0.4}])
    shares = document(good_at_u, middling)["weightings"]
    assert shares.keys() == set("uvw")
    for metric in "uvw":
        assert sum(shares[metric].values()) == pytest.approx(1.0)
    assert shares["u"]["first"] > 0.2
    assert shares["v"]["second"] > 0.8  # all but those in which u weighs as much
    assert "what weighs most" in compare(good_at_u, middling).stdout


def test_pictures_of_fronts_over_one_another(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    names = [make(tmp_path / n, TWO, ab((1, 8), (4, 4 + k))) for k, n in enumerate(("<b>$one$", "two"))]
    for suffix in ("png", "svg"):
        compare(*names, "-o", str(tmp_path / f"fronts.{suffix}"))
    assert (tmp_path / "fronts.png").read_bytes().startswith(b"\x89PNG")
    drawn = (tmp_path / "fronts.svg").read_text()
    assert "&lt;b&gt;$one$" in drawn
    assert "hollow: another study has better" in drawn
    compare(*(make(tmp_path / n, ONE, losses(1, 2)) for n in "xy"), "-o", str(tmp_path / "one.svg"))
    assert "best loss so far" in (tmp_path / "one.svg").read_text()
    assert "must end in .png or .svg" in compare(*names, "-o", str(tmp_path / "fronts.gif"), code=2).stderr


def test_fronts_over_one_another_in_a_terminal(tmp_path: Path) -> None:
    plots = pytest.importorskip("tuner.reporting.front_plot")
    if not plots.available():
        pytest.skip("plotext 6 is not installed")
    from tuner.views.comparison import comparison

    folders = [make(tmp_path / n, TWO, ab((1, 8), (4, 4 - k))) for k, n in enumerate(("one", "two"))]
    studies = [Study.open(folder, read_only=True) for folder in folders]
    text = plots.fronts_plot(comparison(studies, ["one", "two"]), width=60, height=16, color=False)
    for study in studies:
        study.close()
    assert "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].split() == ["b", "↓", "against", "a", "↓"]
    assert lines[-1].split() == ["●", "one", "▲", "two"]
    assert text.count("▲") == 3  # two points and the legend
    assert max(map(len, lines)) <= 60
