"""Random search spaces for Hypothesis: every kind, conditions to depth three, sometimes a restriction."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tuner.parameters import from_dict
from tuner.space import SearchSpace

_SPECS: list[dict[str, Any]] = [
    {"min": -1.0, "max": 2.5},
    {"min": 1e-6, "max": 10.0, "log": True},
    {"min": 0.1, "max": 0.9, "step": 0.2},
    {"min": -4, "max": 7},
    {"min": 1, "max": 300, "log": True},
    {"values": ["a", "b", 3]},
    {"values": [1, 2, 4], "ordered": True},
    {"type": "bool"},
    {"subset": ["q", "k", "v"], "min_size": 1},
    {"vector": 3, "min": 0.0, "max": 1.0, "monotone": "decreasing"},
    {"vector": 2, "min": 1, "max": 4},
    {"simplex": ["web", "code"]},
    {"simplex": ["x", "y", "z"], "total": 5},
    {"permutation": ["s", "t", "u"]},
    {"value": 8},
]

_TESTS = {
    "min": "{} > 0.5",
    "values": "{} in ['a', 1, 2]",
    "type": "{}",
    "subset": "'q' in {0} or count({0}) > 1",
    "vector": "{}[0] > 0.5",
    "simplex": "max({0}) > 0.6 * sum({0})",
    "permutation": "{}[0] == 's'",
    "value": "{} == 8",
}


def _test_of(name: str, spec: dict[str, Any]) -> str:
    return next(test for key, test in _TESTS.items() if key in spec and not (key == "min" and "vector" in spec)).format(
        name
    )


@st.composite
def spaces(draw: st.DrawFn, *, restricted: bool = True) -> SearchSpace:
    """A space of one to seven parameters."""
    chosen = draw(st.lists(st.sampled_from(_SPECS), min_size=1, max_size=7))
    parameters, depth = [], [0] * len(chosen)
    for i, spec in enumerate(chosen):
        parents = [j for j in range(i) if depth[j] < 3]
        when = None
        if parents and "value" not in spec and draw(st.booleans()):
            j = draw(st.sampled_from(parents))
            when, depth[i] = _test_of(f"p{j}", chosen[j]), depth[j] + 1
            if draw(st.booleans()):
                when = f"not ({when})"
        parameters.append(from_dict(f"p{i}", {**spec, "when": when}))
    if draw(st.booleans()):
        parameters.reverse()
    restrictions = []
    if restricted and draw(st.booleans()):
        i = draw(st.integers(0, len(chosen) - 1))
        test = _test_of(f"p{i}", chosen[i])
        restrictions = [test if "value" in chosen[i] or draw(st.booleans()) else f"not ({test})"]
    return SearchSpace(parameters, restrictions)
