"""Streams in blocks: one event a block, the same decisions after an interruption, and what a person is told."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tuner
from tests.test_online import Stream, context, loss
from tuner import archive, blocks
from tuner.errors import ObjectiveError, UsageError
from tuner.parameters import Float
from tuner.reporting.texts import describe, exit_code, status_text, what_next
from tuner.space import SearchSpace
from tuner.study import Study
from tuner.trial import Trial
from tuner.verbs.report import write_report
from tuner.views.stream import chosen_now, stream_view


class Batched(Stream):
    """The stream of test_online, many instances at once."""

    space = SearchSpace([Float("x", 0.0, 1.0)])
    interrupt_at = -1

    def evaluate_batch(self, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[dict[str, float]]:
        if any(trial.number == self.interrupt_at for trial in trials):
            os.kill(os.getpid(), signal.SIGINT)  # Ctrl-C
        assert [trial.context for trial in trials] == [context(trial.number) for trial in trials]
        return [{"loss": loss(config["x"], trial.number)} for config, trial in zip(configs, trials, strict=True)]


class Failing(Batched):
    """Breaks at instance 50, or gives NaN from there on."""

    def __init__(self, nan: bool = False) -> None:
        self.nan = nan

    def evaluate_batch(self, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[dict[str, float]]:
        if trials[-1].number >= 50:
            if self.nan:
                return [{"loss": float("nan")} for _ in trials]
            raise RuntimeError("the pump\x1b[31m is off")
        return super().evaluate_batch(configs, trials)


def sweep(method: str = "thompson", n: int = 300, **more: Any) -> dict[str, Any]:
    search = {"method": method, "arms": 6, "block": 32, **more.pop("search", {})}
    return {
        "name": "stream",
        "objective": "tests.test_stream:Batched",
        "search": search,
        "budget": {"trials": n},
        **more,
    }


@pytest.mark.parametrize("method", ["thompson", "tsallis-inf", "chebcb", "ucb"])
def test_an_interrupted_stream_goes_on_as_one_that_was_not(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with tuner.run(sweep(method), tmp_path / "whole") as whole:
        expected = blocks.of(whole)
    with monkeypatch.context() as patch:
        patch.setattr(Batched, "interrupt_at", 90)
        with tuner.run(sweep(method), tmp_path / "half") as half:
            assert 90 < half.ledger.spent.instances < 300
            assert exit_code(half) == 130
    with tuner.run(sweep(method), tmp_path / "half") as rest:
        found = blocks.of(rest)
        assert rest.ledger.spent.instances == 300
    arms = [np.concatenate([block.arms for block in each]) for each in (expected, found)]
    assert (arms[0] == arms[1]).all()
    assert [block.first for block in found] == [block.first for block in expected]


def test_the_store_keeps_blocks_not_rows(tmp_path: Path) -> None:
    with tuner.run(sweep(), tmp_path / "s") as study:
        view = stream_view(study)
        told = describe(study, "table")
        assert exit_code(study) == 0
        assert "tuner status" in what_next(study, [])
    with Study.open(tmp_path / "s", read_only=True) as read:
        events = [event for event in read.events() if event["kind"] == blocks.EVENT]
        assert not list(read.records())
        assert read.ledger.spent.instances == 300
        document = json.loads(status_text(read, "json"))
    assert view is not None
    assert len(events) == view.blocks < 120
    assert document["stream"] == view.to_json()
    best = np.mean([min(loss(x, number) for x in np.linspace(0.0, 1.0, 6)) for number in range(240, 300)])
    assert view.last["loss"] < 1.3 * best
    assert sum(share for _, share in view.played) <= 1.0 + 1e-12
    assert "300/300 instances" in told and "played most" in told


def test_blocks_are_read_as_they_were_written_also_from_an_archive(tmp_path: Path) -> None:
    with tuner.run(sweep("tsallis-inf", 80, search={"bins": 3}), tmp_path / "s") as study:
        written, text = blocks.of(study), archive.pack(study)
    folder = archive.restore(text, tmp_path / "again")
    with Study.open(folder, read_only=True) as read:
        for one, other in zip(written, blocks.of(read), strict=True):
            assert (one.arms == other.arms).all()
            assert (one.chances == other.chances).all()
            assert (one.metrics["loss"] == other.metrics["loss"]).all()
            numbers = range(one.first, one.end)
            assert one.metrics["loss"] == pytest.approx(
                [loss(arm / 5, number) for arm, number in zip(one.arms, numbers, strict=True)]
            )


def test_a_conservative_stream_keeps_what_was_wanted(tmp_path: Path) -> None:
    posed = sweep("chebcb", 120, search={"conservative": 0.2}, baseline={"x": 0.4})
    with tuner.run(posed, tmp_path / "s") as study:
        found = blocks.of(study)
        assert not list(study.records())
    assert all(block.wanted is not None for block in found)
    assert found[0].arms[0] == 2  # the baseline, before anything is known
    paid = np.cumsum(np.concatenate([block.metrics["loss"] for block in found]))
    safe = np.cumsum([loss(0.4, number) for number in range(120)])
    assert paid[-1] <= 1.2 * safe[-1]


@pytest.mark.parametrize(
    ("nan", "said"), [(False, "evaluate_batch failed with RuntimeError"), (True, "a finite 'loss'")]
)
def test_a_broken_objective_is_named_and_the_blocks_before_are_kept(nan: bool, said: str, tmp_path: Path) -> None:
    posed = {**sweep(), "objective": {"name": "tests.test_stream:Failing", "nan": nan}}
    with pytest.raises(ObjectiveError, match=said):
        tuner.run(posed, tmp_path / "s")
    with Study.open(tmp_path / "s", read_only=True) as read:
        assert 0 < read.ledger.spent.instances <= 50


def test_blocks_need_a_batch_and_a_bandit(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="evaluate_batch"):
        tuner.run({**sweep(), "objective": "tests.test_online:Stream"}, tmp_path / "s")
    with pytest.raises(UsageError, match="block must be"):
        tuner.run(sweep(search={"block": 10**9}), tmp_path / "t")


def words(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tuner", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=surroundings())


def surroundings() -> dict[str, str]:
    root = str(Path(__file__).resolve().parent.parent)
    return {**os.environ, "PYTHONPATH": os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])}


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A stream of systems, whose contexts a reader knows since `sor` is in the catalog."""
    folder = tmp_path_factory.mktemp("stream")
    posed = {"name": "s", "objective": {"name": "sor", "side": 4}, "search": {"method": "ucb", "block": 16, "arms": 4}}
    with tuner.run({**posed, "budget": {"trials": 100}}, folder / "s") as study:
        assert study.ledger.spent.instances == 100
    return folder


def test_best_is_what_is_played_now_by_context(played: Path) -> None:
    with Study.open(played / "s", read_only=True) as read:
        solved, found = blocks.of(read), chosen_now(read)
    arms = np.concatenate([block.arms for block in solved])[-20:]
    whole, *ranges = found
    assert whole.instances == 20 and whole.context is None
    assert whole.share == pytest.approx(np.bincount(arms).max() / 20)
    iterations = np.concatenate([block.metrics["iterations"] for block in solved])[-20:]
    assert whole.mean == pytest.approx(iterations[arms == np.bincount(arms).argmax()].mean())
    assert [one.instances for one in ranges] == [4] * 5
    ends = [end for one in ranges for end in one.context or ()]
    assert ends == sorted(ends)
    told = words("best", "s", "--json", folder=played)
    assert told.returncode == 0 and json.loads(told.stdout)["stream"] == [one.to_json() for one in found]
    assert words("best", "s", "-f", "value", "--name", "omega", folder=played).stdout.strip() == str(
        whole.config["omega"]
    )
    assert "20 of 100 instances" in words("best", "s", folder=played).stdout


def test_a_report_tells_what_a_stream_came_to(played: Path) -> None:
    with Study.open(played / "s", read_only=True) as read:
        view, texts = stream_view(read), {form: write_report(read, None, form) for form in ("md", "json")}
        page = Path(write_report(read, played / "page.html", "html")).read_text(encoding="utf-8")
    assert view is not None
    assert json.loads(texts["json"])["stream"]["instances"] == 100
    for text in (texts["md"], page):
        assert f"100 instances in {view.blocks} blocks" in text and "Chosen in the last fifth" in text
    assert "No feasible trial" not in page + texts["md"]


def test_what_needs_trials_is_refused_with_a_word_on_what_to_do(played: Path) -> None:
    posed = "name: asked\nobjective: sor\nsearch: {method: ucb, block: 16}\nbudget: {trials: 9}\n"
    (played / "asked.yaml").write_text(posed, encoding="utf-8")
    for line in ("pareto s", "ask asked.yaml"):
        told = words(*line.split(), folder=played)
        assert told.returncode == 2, told.stderr
        assert "stream in blocks" in told.stderr and "tuner best" in told.stderr
    assert not (played / ".tuner" / "asked").exists()
    with Study.open(played / "s") as study:
        with pytest.raises(UsageError, match="stream in blocks"):
            study.ask()
        with pytest.raises(UsageError, match="stream in blocks"):
            study.enqueue({"omega": 1.5})
        with pytest.raises(UsageError, match="stream in blocks"):
            study.add({"omega": 1.5}, {"iterations": 3.0})
