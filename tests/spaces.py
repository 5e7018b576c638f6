"""Random search spaces for Hypothesis: every kind, conditions to depth three, sometimes a restriction."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st

from tuner.parameters import from_dict
from tuner.space import SearchSpace

# Each declaration, and a test that holds for some of its values and not for others (but for the constant).
_KINDS: list[tuple[dict[str, Any], str]] = [
    ({"min": -1.0, "max": 2.5}, "{} > 0.5"),
    ({"min": 1e-6, "max": 10.0, "log": True}, "{} > 1e-3"),
    ({"min": 0.1, "max": 0.9, "step": 0.2}, "{} >= 0.5"),
    ({"min": -4, "max": 7}, "0 <= {} < 5"),
    ({"min": 1, "max": 300, "log": True}, "{} > 17"),
    ({"values": ["a", "b", 3]}, "{} in ['a', 3]"),
    ({"values": [1, 2, 4], "ordered": True}, "{} != 2"),
    ({"type": "bool"}, "{}"),
    ({"subset": ["q", "k", "v"], "min_size": 1}, "'q' in {0} or count({0}) > 1"),
    ({"vector": 3, "min": 0.0, "max": 1.0, "monotone": "decreasing"}, "{}[0] > 0.5"),
    ({"vector": 2, "min": 1, "max": 4}, "{}[0] < 3"),
    ({"simplex": ["web", "code"]}, "{}['web'] > 0.4"),
    ({"simplex": ["x", "y", "z"], "total": 5}, "max({}) > 2"),
    ({"permutation": ["s", "t", "u"]}, "{}[0] == 's'"),
    ({"value": 8}, "{} == 8"),
]


@st.composite
def spaces(draw: st.DrawFn, *, restricted: bool = True) -> SearchSpace:
    """A space of one to seven parameters."""
    chosen = draw(st.lists(st.sampled_from(_KINDS), min_size=1, max_size=7))
    parameters, depth = [], [0] * len(chosen)
    for i, (spec, _) in enumerate(chosen):
        parents = [j for j in range(i) if depth[j] < 3]
        when = None
        if parents and "value" not in spec and draw(st.booleans()):
            j = draw(st.sampled_from(parents))
            when, depth[i] = chosen[j][1].format(f"p{j}"), depth[j] + 1
            if draw(st.booleans()):
                when = f"not ({when})"
        parameters.append(from_dict(f"p{i}", {**spec, "when": when}))
    if draw(st.booleans()):
        parameters.reverse()
    restrictions = []
    if restricted and draw(st.booleans()):
        i = draw(st.integers(0, len(chosen) - 1))
        spec, test = chosen[i][0], chosen[i][1].format(f"p{i}")
        restrictions = [test if "value" in spec or draw(st.booleans()) else f"not ({test})"]
    return SearchSpace(parameters, restrictions)
