"""Interval arithmetic over restrictions: never wrong when it refutes, and able to refute the usual mistakes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tuner.parameters import Bool, Choice, Constant, Float, Int, Parameter, Simplex, Subset, Vector
from tuner.space import SearchSpace
from tuner.sweeps.refutation import refuted

PARAMETERS: dict[str, Parameter] = {
    parameter.name: parameter
    for parameter in (
        Float("lr", 1e-5, 1e-2, log=True),
        Int("rank", -3, 40),
        Choice("width", (16, 32, 64)),
        Choice("optim", ("adam", "sgd")),
        Bool("flag"),
        Constant("epochs", 3),
        Vector("keep", 5, 0.1, 1.0),
        Simplex("mix", ("web", "code"), total=10),
        Subset("targets", ("q", "k", "v"), min_size=1),
        Float("beta", 0.9, 0.99, when="optim == 'adam'"),
    )
}

atoms = st.sampled_from(
    ["lr", "rank", "width", "epochs", "flag", "keep[0]", "mix['web']", "sum(keep)", "sum(mix)", "count(targets)"]
    + ["len(keep)", "min(keep)", "max(keep)", "beta", "-rank", "abs(rank)", "min(rank, 3)", "max(lr, width)"]
) | st.integers(-60, 60).map(str)
terms = st.recursive(
    atoms, lambda t: st.tuples(t, st.sampled_from("+-*/"), t).map(lambda p: f"({' '.join(p)})"), max_leaves=4
)
comparisons = st.tuples(terms, st.sampled_from(["<", "<=", ">", ">=", "==", "!="]), terms).map(" ".join)
restrictions = st.recursive(
    comparisons,
    lambda r: (
        st.tuples(r, st.sampled_from([" and ", " or "]), r).map(lambda p: f"({''.join(p)})") | r.map("not {}".format)
    ),
    max_leaves=3,
)


@settings(max_examples=400)
@given(st.lists(restrictions, min_size=1, max_size=3), st.integers(0, 2**32))
def test_what_is_refuted_holds_for_no_configuration(texts: list[str], seed: int) -> None:
    if refuted(texts, PARAMETERS) is None:
        return
    space = SearchSpace(list(PARAMETERS.values()), texts)
    free = SearchSpace(list(PARAMETERS.values()))
    assert not any(space.feasible(config) for config in free.sample(60, np.random.default_rng(seed)))


@pytest.mark.parametrize(
    ("texts", "index"),
    [
        (["lr > 1"], 0),
        (["lr < 1", "1 < lr"], 1),
        (["lr < 1e-4", "lr > 1e-3"], 1),
        (["rank >= 10 and width < 64", "rank * width < 160"], 1),
        (["sum(keep) > 5.01"], 0),
        (["sum(mix) != 10 or sum(mix) > 10"], None),
        (["sum(mix) == 9"], 0),
        (["count(targets) > 3"], 0),
        (["keep[2] < 0.05"], 0),
        (["1 <= width <= 8"], 0),
        (["False"], 0),
        (["abs(rank) > 40 or max(rank, width) < 16"], 0),
        (["rank / width > 3"], 0),
        (["optim == 'lion'"], None),
        (["beta > 2"], None),
        (["lr > 1e-3", "rank > 39"], None),
        (["rank < 3", "rank > 2"], None),
        (["`lr` > 1"], None),
    ],
)
def test_known_cases(texts: list[str], index: int | None) -> None:
    assert refuted(texts, PARAMETERS) == index
