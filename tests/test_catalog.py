"""Names find their modules: ours by file, third parties' by entry point; unknown names list the known ones."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.surroundings import environment
from tuner import catalog
from tuner.errors import UnknownNameError


def test_the_published_names_are_there() -> None:
    expected = {"auto", "random", "sobol", "grid", "gp", "tpe", "cmaes", "nsga2", "nsga3", "saas", "turbo"}
    assert expected <= set(catalog.names("strategies"))
    assert "sparsity" in catalog.names("objectives")
    assert "asha" in catalog.names("stopping")


def test_an_unknown_name_is_answered_with_the_nearest_and_all_known() -> None:
    with pytest.raises(UnknownNameError, match=r"did you mean 'random'\? \(known: .*sobol.*tpe.*\)"):
        catalog.load("strategies", "randm")


def test_listing_imports_nothing_of_the_content() -> None:
    code = "import sys; from tuner import catalog; catalog.names('strategies'); print(*sys.modules)"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=True)
    assert not {name for name in run.stdout.split() if name.startswith("tuner.strategies.")}


def test_third_parties_come_by_entry_points_through_the_same_door(tmp_path: Path) -> None:
    (tmp_path / "theirs.py").write_text(
        "from tuner.trial import Proposal, Provenance\n"
        "HERE = Provenance(engine='corner')\n"
        "class Corner:\n"
        "    def suggest(self, history, n, rng):\n"
        "        return [Proposal(config={'x': 1.0 / (history.next_trial + 1)}, provenance=HERE)]\n"
        "def build(problem):\n"
        "    return Corner()\n"
    )
    info = tmp_path / "theirs-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: theirs\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[tuner.strategies]\ncorner = theirs\nrandom = theirs\n")
    code = (
        "import tuner\n"
        "from tuner import catalog\n"
        "study = tuner.Study.create({'metrics': {'loss': 'minimize'}, 'parameters': {'x': {'min': 0.0, 'max': 1.0}},"
        " 'search': 'corner'})\n"
        "print(study.ask().config['x'], study.ask().config['x'], catalog.load('strategies', 'random').__name__)\n"
    )
    surroundings = environment()
    surroundings["PYTHONPATH"] += f":{tmp_path}"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=surroundings, check=True)
    assert run.stdout.split() == ["1.0", "0.5", "tuner.strategies.random"]
