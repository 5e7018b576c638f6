"""Some of the nasty studies; `benchmarks/nasty.py` plays hundreds."""

from __future__ import annotations

import pytest

from tests.nasty import play


@pytest.mark.parametrize("seed", range(8))
def test_a_nasty_study_breaks_no_rule(seed: int) -> None:
    report = play(seed, most=8)
    assert not report.violations
    assert report.suggestions
