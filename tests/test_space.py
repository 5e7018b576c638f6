from __future__ import annotations

import itertools
import json
import math
import os
import pickle
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.spaces import spaces
from tuner.errors import SpaceError
from tuner.expressions import ExpressionError
from tuner.parameters import (
    Bool,
    Choice,
    Constant,
    Float,
    Int,
    Permutation,
    Prior,
    Simplex,
    Subset,
    Vector,
)
from tuner.space import SearchSpace


def peft() -> SearchSpace:
    return SearchSpace(
        [
            Float("beta2", 0.9, 0.999, when="optim == 'adamw' and rank > 4"),
            Choice("method", ("lora", "full")),
            Int("rank", 1, 64, log=True, when="method == 'lora'"),
            Subset("targets", ("q", "k", "v"), min_size=1, when="method == 'lora'"),
            Bool("bias", when="'q' in targets"),
            Choice("optim", ("adamw", "lion")),
            Constant("epochs", 3),
        ],
        ["rank * count(targets) <= 96"],
    )


# -- membership --------------------------------------------------------------------------------------------------------


@settings(max_examples=60, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32 - 1))
def test_samples_and_their_neighbours_are_contained(space: SearchSpace, seed: int) -> None:
    rng = np.random.default_rng(seed)
    for config in [*space.sample(3, rng), *space.sample(1, rng, prior=True), space.centre()]:
        assert space.contains(config), space.violations(config)
        assert space.violations(config) == [] and space.active(config) == set(config)
        assert space.normalise(json.loads(json.dumps(config))) == config
        neighbours = space.neighbours(config, rng)
        keys = {space.key(other) for other in neighbours}
        assert len(keys) == len(neighbours) and space.key(config) not in keys
        assert all(space.contains(other) for other in neighbours)


def test_a_space_of_constants_has_one_configuration_and_no_neighbours() -> None:
    space = SearchSpace([Constant("p", 3)], ["p > 2"])
    rng = np.random.default_rng(0)
    assert space.sample(2, rng) == [{"p": 3}, {"p": 3}]
    assert space.neighbours({"p": 3}, rng) == []
    assert space.size() == 1


@settings(max_examples=60, deadline=None)
@given(space=spaces(), seed=st.integers(0, 2**32 - 1))
def test_serialisation_round_trips(space: SearchSpace, seed: int) -> None:
    again = SearchSpace.from_dict(json.loads(json.dumps(space.to_dict())))
    assert again == space and again.digest() == space.digest() and again.names == space.names
    assert pickle.loads(pickle.dumps(space)) == space
    assert space.sample(2, np.random.default_rng(seed)) == again.sample(2, np.random.default_rng(seed))


@settings(max_examples=40, deadline=None)
@given(space=spaces())
def test_size_counts_what_enumerate_lists(space: SearchSpace) -> None:
    free = SearchSpace(space.parameters)
    size = free.size()
    if size > 3000:
        return
    configs = list(free.enumerate())
    assert len(configs) == size == len({free.key(config) for config in configs})
    assert all(free.contains(config) for config in configs)
    assert list(space.enumerate()) == [config for config in configs if space.feasible(config)]


def test_conditions_decide_what_is_active() -> None:
    space = peft()
    assert space.names.index("method") < space.names.index("rank") < space.names.index("beta2")
    assert space.active({"method": "full", "optim": "adamw"}) == {"method", "optim", "epochs"}
    config = {"method": "lora", "rank": 8, "targets": ["q"], "bias": True, "optim": "adamw", "beta2": 0.95, "epochs": 3}
    assert space.contains(config)
    for broken, words in (
        ({**config, "rank": 4}, '"beta2" is inactive'),
        ({k: v for k, v in config.items() if k != "bias"}, '"bias" is active but has no value'),
        ({**config, "rank": 100}, '"rank" must lie in'),
        ({**config, "rank": 8.0}, "normalise"),
        ({**config, "rang": 3}, 'did you mean "rank"?'),
        ({**config, "epochs": 4}, "fixed to 3"),
        (
            {**config, "targets": ["q", "k", "v"], "rank": 64},
            '"rank * count(targets) <= 96" must hold, but got rank=64',
        ),
    ):
        assert not space.contains(broken)
        assert any(words in sentence for sentence in space.violations(broken)), space.violations(broken)


def test_restrictions_over_inactive_parameters_hold() -> None:
    assert peft().feasible({"method": "full", "optim": "lion", "epochs": 3})


def test_normalise_fills_coerces_and_lists_every_problem() -> None:
    space = peft()
    made = space.normalise({"method": "lora", "rank": 8.0, "targets": ("v", "k"), "optim": "lion"})
    assert made == {"method": "lora", "rank": 8, "targets": ["k", "v"], "optim": "lion", "epochs": 3}
    with pytest.raises(SpaceError) as caught:
        space.normalise({"method": "lora", "rank": 99, "targets": ["q", "z"], "beta": 1})
    for words in ('"rank" must lie in [1, 64]', "'z'", 'did you mean "beta2"?', '"optim" needs a value'):
        assert words in str(caught.value)
    with pytest.raises(SpaceError, match="must hold"):
        space.normalise({"method": "lora", "rank": 64, "targets": ["v", "k"], "optim": "lion"})


def test_partial_configurations_are_filled_feasibly() -> None:
    space = peft()
    assert space.normalise({"method": "full", "optim": "lion"}, partial=True) == {
        "method": "full",
        "optim": "lion",
        "epochs": 3,
    }
    filled = space.normalise({"method": "lora", "rank": 60}, partial=True)
    assert space.contains(filled) and filled["rank"] == 60 and len(filled["targets"]) == 1
    narrow = SearchSpace([Int(x, 0, 1000) for x in "abc"], ["a + b + c == 1234"])
    filled = narrow.normalise({"a": 7}, partial=True)
    assert filled["a"] == 7 and narrow.contains(filled)


@pytest.mark.parametrize(
    ("parameters", "restrictions", "words"),
    [
        ([], [], "at least one parameter"),
        ([Bool("a"), Bool("a")], [], "declared twice"),
        ([Bool("alpha"), Bool("b", when="alhpa")], [], 'did you mean "alpha"?'),
        ([Bool("a", when="b"), Bool("b", when="c"), Bool("c", when="a")], [], "cycle"),
        ([Bool("a", when="a")], [], "cycle, but got a -> a"),
        ([Bool("alpha")], ["alhpa"], 'did you mean "alpha"?'),
        ([Bool("a")], ["a <"], "column"),
    ],
)
def test_spaces_that_cannot_be(parameters: list[Any], restrictions: list[str], words: str) -> None:
    with pytest.raises(SpaceError, match=words.replace("?", r"\?")):
        SearchSpace(parameters, restrictions)


def test_a_type_error_in_a_restriction_is_told() -> None:
    with pytest.raises(ExpressionError, match="has no value"):
        SearchSpace([Choice("a", ("x", "y"))], ["a < 3"]).sample(1, np.random.default_rng(0))


def test_known_metrics_can_be_restricted() -> None:
    def known(config: Mapping[str, Any]) -> Mapping[str, float]:
        return {"params": config["layers"] * config["width"] ** 2}

    parameters = [Int("layers", 1, 10), Int("width", 1, 100)]
    space = SearchSpace(parameters, ["params <= 5000"], known)
    assert all(c["layers"] * c["width"] ** 2 <= 5000 for c in space.sample(50, np.random.default_rng(0)))
    assert "params=" in space.violations({"layers": 10, "width": 100})[0]
    assert all(c["layers"] * c["width"] ** 2 <= 5000 for c in space.enumerate())
    with pytest.raises(SpaceError, match='did you mean "params"'):
        SearchSpace(parameters, ["parms <= 5000"], known)


# -- size and identity -------------------------------------------------------------------------------------------------


def test_sizes() -> None:
    assert SearchSpace([Int("a", 1, 10), Bool("b")]).size() == 20
    # full: 2 optimisers; lora: 64 ranks x 7 target sets (4 with q, doubled by bias) x 2; beta2 is continuous.
    assert math.isinf(peft().size())
    finite = SearchSpace([p for p in peft().parameters if p.name != "beta2"])
    assert finite.size() == 2 * (1 + 64 * (4 * 2 + 3))
    assert SearchSpace([Permutation("p", tuple(range(300)))]).size() == sys.float_info.max
    assert SearchSpace([Int("a", 1, 10**6), Bool("b", when="a > 500000")]).size() == pytest.approx(1.5e6, rel=0.05)
    never = SearchSpace([Int("a", 1, 5), Float("x", 0, 1, when="a > 7")])
    assert never.size() == 5
    assert math.isinf(SearchSpace([Float("x", 0, 1), Bool("b", when="x > 0.5")]).size())


def test_enumeration_is_refused_where_it_cannot_end() -> None:
    with pytest.raises(SpaceError, match='"x" is continuous'):
        SearchSpace([Float("x", 0, 1)]).enumerate()
    with pytest.raises(SpaceError, match="at most 10"):
        SearchSpace([Int("a", 1, 11)]).enumerate(limit=10)


def test_digest_is_stable_and_sensitive() -> None:
    base = peft()
    code = (
        "import json, sys; from tuner.space import SearchSpace as S; print(S.from_dict(json.load(sys.stdin)).digest())"
    )
    for seed in ("0", "1"):
        done = subprocess.run(
            [sys.executable, "-c", code],
            input=json.dumps(base.to_dict()),
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.strip() == base.digest()
    shuffled = SearchSpace(reversed(base.parameters), base.restrictions)
    assert shuffled.digest() == base.digest()
    believed = SearchSpace([Int("a", 1, 9, prior=Prior(3)), Int("b", 1, 9)])
    plain = SearchSpace([Int("a", 1, 9), Int("b", 1, 9)])
    assert believed.digest() == plain.digest() and believed != plain
    others = [
        SearchSpace([Int("a", 1, 8), Int("b", 1, 9)]),
        SearchSpace([Int("a", 1, 9), Int("c", 1, 9)]),
        SearchSpace([Float("a", 1, 9), Int("b", 1, 9)]),
        SearchSpace([Int("a", 1, 9), Int("b", 1, 9, when="a > 3")]),
        SearchSpace([Int("a", 1, 9), Int("b", 1, 9)], ["a < b"]),
    ]
    assert len({space.digest() for space in [plain, *others]}) == 6


def test_keys_tell_configurations_apart() -> None:
    space = SearchSpace([Choice("c", (1, 1.0, True, "1", None, [1], {"a": 1})), Float("x", -1, 1)])
    keys = {space.key({"c": value, "x": 0.5}) for value in space["c"].members()}
    assert len(keys) == 7 and all(len(key) == 16 for key in keys)
    assert space.key({"c": 1, "x": 0.0}) == space.key({"x": -0.0, "c": 1}) == space.key({"c": 1, "x": 0})
    assert space.key({"c": 1, "x": 0.5}) != space.key({"c": 1})


# -- sampling ----------------------------------------------------------------------------------------------------------


def z_of_chi_square(counts: Mapping[Any, int], expected: Mapping[Any, float]) -> float:
    """Chi-square as a standard normal deviate (Wilson-Hilferty)."""
    assert set(counts) <= set(expected)
    dof = len(expected) - 1
    chi = sum((counts.get(key, 0) - value) ** 2 / value for key, value in expected.items())
    return float(((chi / dof) ** (1 / 3) - (1 - 2 / (9 * dof))) / math.sqrt(2 / (9 * dof)))


def kolmogorov(values: list[float]) -> float:
    """sqrt(n) times the distance from the uniform law; above 2.7 with probability 1e-6."""
    n = len(values)
    return float(math.sqrt(n) * np.abs(np.sort(values) - (np.arange(n) + 0.5) / n).max())


def test_conditions_do_not_bias_their_controller() -> None:
    """One chi-square test at six sigma: false alarm 1e-9."""
    space = SearchSpace([Bool("a"), Int("b", 0, 2, when="a"), Int("c", 0, 1, when="b == 2")])
    counts = Counter(tuple(sorted(c.items())) for c in space.sample(3000, np.random.default_rng(0)))
    expected = {(("a", False),): 1500.0, (("a", True), ("b", 0)): 500, (("a", True), ("b", 1)): 500}
    expected |= {(("a", True), ("b", 2), ("c", c)): 250 for c in (0, 1)}
    assert z_of_chi_square(counts, expected) < 6


def test_rejection_is_uniform_over_the_feasible_set() -> None:
    """One chi-square test at six sigma: false alarm 1e-9."""
    space = SearchSpace([Int("a", 0, 9), Int("b", 0, 9)], ["a + b <= 5"])
    counts = Counter((c["a"], c["b"]) for c in space.sample(3000, np.random.default_rng(0)))
    feasible = [(a, b) for a in range(10) for b in range(10) if a + b <= 5]
    assert z_of_chi_square(counts, dict.fromkeys(feasible, 3000 / len(feasible))) < 6
    assert space.feasible_fraction() == pytest.approx(0.21, abs=0.06)


def test_listed_feasible_sets_are_sampled_by_their_mass() -> None:
    """A fraction of 1e-4 of a small space, log-uniform: one chi-square test at six sigma, false alarm 1e-9."""
    space = SearchSpace([Int(x, 1, 50, log=True) for x in "abc"], ["a * b * c == 2401"])
    members = list(space.enumerate())
    mass = [math.exp(sum(space[n].log_mass(v) for n, v in c.items())) for c in members]
    counts = Counter(space.key(c) for c in space.sample(2000, np.random.default_rng(0)))
    expected = {space.key(c): 2000 * m / sum(mass) for c, m in zip(members, mass, strict=True)}
    assert len(members) == 6 and z_of_chi_square(counts, expected) < 6
    assert space.feasible_fraction() == pytest.approx(sum(mass), rel=1e-9)


def test_sums_of_integers_are_sampled_uniformly() -> None:
    """A fraction of 3e-5 by the chain: four chi-square tests at six sigma; the seed is fixed, so there is no alarm."""
    space = SearchSpace([Int(x, 0, 60) for x in "abcd"], ["a + b + c + d == 12"])
    configs = space.sample(600, np.random.default_rng(0))
    assert all(space.contains(config) for config in configs)
    expected = {k: 600 * math.comb(14 - k, 2) / 455 for k in range(13)}
    assert all(z_of_chi_square(Counter(c[x] for c in configs), expected) < 6 for x in "abcd")
    assert space.feasible_fraction() == pytest.approx(455 / 61**4, rel=1)


def test_products_among_log_integers_are_sampled_by_their_mass() -> None:
    """A fraction of 4e-5 by the chain: four chi-square tests at six sigma with a fixed seed."""
    space = SearchSpace([Int(x, 1, 256, log=True) for x in "abcd"], ["a * b * c * d == 1024"])
    mass: Counter[int] = Counter()
    for i, j, k in itertools.product(range(9), repeat=3):
        exponents = (i, j, k, 10 - i - j - k)
        if 0 <= exponents[3] <= 8:
            mass[2**i] += math.exp(sum(space["a"].log_mass(2**e) for e in exponents))  # type: ignore[assignment]
    expected = {k: 600 * m / sum(mass.values()) for k, m in mass.items()}
    configs = space.sample(600, np.random.default_rng(0))
    assert all(z_of_chi_square(Counter(c[x] for c in configs), expected) < 6 for x in "abcd")


def test_narrow_bands_on_floats_are_sampled_uniformly() -> None:
    """A fraction of 2e-5: three Kolmogorov-Smirnov tests with a fixed seed, at the level 1e-6."""
    space = SearchSpace([Float("x", 0, 1), Float("y", 0, 1), Int("z", 0, 999)], ["abs(x - y) <= 1e-5"])
    configs = space.sample(300, np.random.default_rng(0))
    assert all(space.contains(config) for config in configs)
    assert kolmogorov([c["x"] for c in configs]) < 2.7
    assert kolmogorov([(c["x"] - c["y"]) * 5e4 + 0.5 for c in configs]) < 2.7
    assert kolmogorov([(c["z"] + 0.5) / 1000 for c in configs]) < 2.7


def test_parts_of_a_feasible_set_get_their_share() -> None:
    """Two branches of mass 1 to 60: the rare one gets at most 8 % of 300 samples (expected 1.6 %)."""
    space = SearchSpace(
        [
            Choice("k", ("u", "v")),
            *(Int(x, 0, 200, when="k == 'u'") for x in "ab"),
            *(Int(x, 0, 400, when="k == 'v'") for x in "pq"),
            Float("x", 0, 1),
        ],
        ["a * b == 3600", "p + q == 13 and x < 0.1"],
    )
    configs = space.sample(300, np.random.default_rng(0))
    assert all(space.contains(config) for config in configs)
    assert Counter(c["k"] for c in configs)["v"] <= 24
    assert 1e-4 < space.feasible_fraction() < 1e-3


def test_equations_do_not_bias_the_estimated_fraction() -> None:
    """The estimate of 1.8e-4 with a fixed seed, to a factor of two; and the law of a factor at six sigma."""
    parameters = [Choice("a", tuple(range(50)), ordered=True), Int("b", 1, 50), Int("c", 0, 5000)]
    space = SearchSpace(parameters, ["a * b == c", "a > 2"])
    assert space.feasible_fraction() == pytest.approx(47 / 50 / 5001, rel=1)
    configs = space.sample(600, np.random.default_rng(0))
    counts = Counter((config["a"] - 3) * 4 // 47 for config in configs)
    assert z_of_chi_square(counts, {0: 600 * 12 / 47, 1: 600 * 12 / 47, 2: 600 * 12 / 47, 3: 600 * 11 / 47}) < 6


@pytest.mark.parametrize(
    ("parameters", "restrictions"),
    [
        ([Int(x, 1, 1000) for x in "abcd"], ["a * b * c * d <= 2000"]),
        ([Choice("a", tuple(range(50)), ordered=True), Int("b", 1, 50), Int("c", 0, 5000)], ["a * b == c", "a > 2"]),
        ([Vector("v", 8, 0, 1, monotone="decreasing")], ["abs(sum(v) - 1) <= 1e-4"]),
        ([Simplex("m", ("a", "b", "c", "d"), total=400)], ["m['a'] == 3 * m['b']", "m['c'] == m['d']"]),
        ([Subset("s", tuple("abcdefghijklmnopqrst")), Int("r", 1, 256)], ["count(s) * r == 96", "'a' in s"]),
        ([Permutation("p", tuple(range(10)))], ["p[0] == 3", "p[1] == 4", "p[2] == 5", "p[9] == 0"]),
        ([Float("x", 0, 1), Float("y", 1e-6, 1, log=True)], ["0.5 <= x * y <= 0.50001"]),
    ],
)
def test_rare_feasible_sets_are_found(parameters: list[Any], restrictions: list[str]) -> None:
    space = SearchSpace(parameters, restrictions)
    configs = space.sample(20, np.random.default_rng(0))
    assert all(space.contains(config) for config in configs)
    assert len({space.key(config) for config in configs}) > 5
    assert space.contains(space.centre())
    config = configs[0]
    near = space.neighbours(config, np.random.default_rng(1))
    assert near and all(space.contains(other) and space.key(other) != space.key(config) for other in near)


def test_sampling_depends_on_the_generator_alone() -> None:
    def fresh() -> SearchSpace:
        return SearchSpace([Int(x, 0, 60) for x in "abcd"], ["a + b + c + d == 12"])

    used = fresh()
    used.sample(5, np.random.default_rng(9))
    assert used.sample(3, np.random.default_rng(1)) == fresh().sample(3, np.random.default_rng(1))


@pytest.mark.parametrize(
    ("parameters", "restrictions", "words"),
    [
        (
            [Int(x, 0, 100) for x in "abcd"],
            ["a + b + c + d == -1", "a > 3"],
            '0 of 20,000 .* "a .* == -1" holds in 0.0%',
        ),
        ([Int(x, 0, 20) for x in "abc"], ["a * b * c == 23"], "none of all 9,261 configurations"),
        ([Float("x", 0, 1), Bool("b")], ["x == 0.123456"], "by chance only"),
    ],
)
def test_nothing_feasible_is_said_with_the_estimated_fraction(
    parameters: list[Any], restrictions: list[str], words: str
) -> None:
    space = SearchSpace(parameters, restrictions)
    with pytest.raises(SpaceError, match=words):
        space.sample(1, np.random.default_rng(0))
    assert space.feasible_fraction() == 0


def test_priors_pull_samples_even_under_rare_restrictions() -> None:
    """Means over 60 samples: free 0.5 +- 0.04, believed 0.15 +- 0.02."""
    parameters = [Float("x", 0, 1, prior=Prior(0.1, "high")), Int("a", 0, 1000), Int("b", 0, 1000)]
    for restrictions in ([], ["a < b"], ["a + b == 7"]):
        space = SearchSpace(parameters, restrictions)
        configs = space.sample(60, np.random.default_rng(0), prior=True)
        assert all(space.contains(config) for config in configs)
        assert np.mean([c["x"] for c in configs]) < 0.25
        assert np.mean([c["x"] for c in space.sample(60, np.random.default_rng(0))]) > 0.35


def test_importing_the_space_loads_numpy_alone() -> None:
    code = "import sys, tuner.space; print({'torch', 'scipy', 'pandas', 'pydantic', 'optuna'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
