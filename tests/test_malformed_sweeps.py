"""No sweep file, however wrong or hostile, gets past `load_sweep` with anything but a `SweepError` that says where."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.malformed_sweeps import MARKER, VALID, malformed_sweeps, mutate
from tuner.errors import SweepError
from tuner.sweep import check_feasible, dump_yaml, load_sweep

MALFORMED = malformed_sweeps()


def load(text: str, folder: Path) -> None:
    file = folder / "sweep.yaml"
    file.write_text(text, encoding="utf-8", newline="")
    check_feasible(load_sweep(file))


def test_the_valid_sweep_is_valid(tmp_path: Path) -> None:
    load(dump_yaml(VALID), tmp_path)


def test_there_are_enough_of_them_under_different_names() -> None:
    assert len(MALFORMED) >= 300
    assert len(dict(MALFORMED)) == len(MALFORMED)


@pytest.mark.parametrize(("name", "text"), MALFORMED, ids=[name for name, _ in MALFORMED])
def test_each_is_refused_with_its_place(name: str, text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SweepError) as caught:
        load(text, tmp_path)
    for problem in caught.value.problems:
        assert problem.path.startswith("$")
        assert "infeasible" not in name or problem.path.startswith("$.restrictions")
        assert "\n" not in problem.message
        assert len(problem.message) < 1500
    assert str(tmp_path / "sweep.yaml") in str(caught.value)
    assert not (tmp_path / MARKER).exists()


@settings(max_examples=150, derandomize=True)
@given(st.integers(0, 2**32))
def test_drawn_mutations_are_refused(seed: int) -> None:
    with pytest.raises(SweepError):
        load_sweep(mutate(VALID, random.Random(seed)))


keys = st.sampled_from(sorted(VALID)) | st.text(max_size=5)
junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | st.sampled_from(sorted(VALID)),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(sorted(VALID)) | st.text(max_size=5), inner)
    ),
    max_leaves=8,
)


@settings(max_examples=300, derandomize=True)
@given(st.lists(st.tuples(st.sampled_from(sorted(VALID)), junk), min_size=1, max_size=3))
def test_junk_in_any_section_is_loaded_or_refused(changes: list[tuple[str, Any]]) -> None:
    try:
        sweep = load_sweep({**VALID, **dict(changes)})
    except SweepError:
        return
    assert load_sweep(sweep.to_dict()) == sweep


@settings(max_examples=200, derandomize=True)
@given(
    st.dictionaries(
        st.sampled_from(["min", "max", "log", "step", "values", "subset", "vector", "simplex", "when"]), junk
    )
)
def test_junk_in_a_parameter_is_loaded_or_refused(entry: dict[str, Any]) -> None:
    try:
        load_sweep({**VALID, "parameters": {**VALID["parameters"], "p": entry}})
    except SweepError as error:
        found = str(error)
        assert "$.parameters.p" in found
