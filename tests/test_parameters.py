from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from tuner.errors import SpaceError
from tuner.parameters import (
    Bool,
    Choice,
    Constant,
    Float,
    Int,
    Parameter,
    ParameterError,
    Permutation,
    Prior,
    Simplex,
    Subset,
    Vector,
    from_dict,
)

ALL: list[Parameter] = [
    Float("f", 0.0, 1.0),
    Float("flog", 1e-8, 1e3, log=True),
    Float("fstep", 0.1, 0.75, step=0.05),
    Float("fboth", 0.1, 10.0, step=0.1, log=True),
    Float("third", 1 / 3, 2 / 3),
    Float("far", 1e9, 1e9 + 1),
    Int("i", -3, 12),
    Int("istep", 8, 130, step=8),
    Int("ilog", 1, 100_000, log=True),
    Int("ihuge", 0, 2**40),
    Choice("c", ("a", 1, 1.0, True, None, [64, 64])),
    Choice("o", (4, 8, 16), ordered=True),
    Choice("one", ("only",)),
    Bool("b"),
    Subset("s", ("q", "k", "v", 3)),
    Subset("sb", tuple("qkvoud"), min_size=2, max_size=3),
    Vector("v", 3, 0.1, 1.0),
    Vector("vlog", 2, 1e-4, 1.0, log=True, monotone="increasing"),
    Vector("vi", 3, 1, 4, integer=True, monotone="decreasing"),
    Vector("vib", 2, 1, 3, integer=True),
    Simplex("m", ("web", "code", "books")),
    Simplex("t", ("x", "y", "z"), total=7),
    Permutation("p", ("a", "b", "c", 4)),
    Constant("k", 3),
    Constant("kl", {"a": [1, 2]}),
]
FINITE = [p for p in ALL if p.size() < 10_000]


def by_name(parameter: Parameter) -> str:
    return parameter.name


@pytest.mark.parametrize("parameter", ALL, ids=by_name)
def test_every_kind_keeps_its_promises(parameter: Parameter) -> None:
    rng = np.random.default_rng(1)
    values = [parameter.sample(rng) for _ in range(40)] + [parameter.centre()] + parameter.grid(4)
    points = rng.random((20, len(parameter.columns()))).tolist()
    values += [parameter.decode(u) for u in points] + [parameter.decode([e] * len(parameter.columns())) for e in (0, 1)]
    for value in values:
        assert parameter.contains(value)
        u = parameter.encode(value)
        assert len(u) == len(parameter.columns()) and all(0 <= position <= 1 for position in u)
        assert parameter.decode(u) == value
        assert parameter.normalise(value) == value
        near = parameter.neighbours(value, rng)
        assert all(parameter.contains(other) and repr(other) != repr(value) for other in near)
        assert parameter.contains(parameter.jump(value, rng))
        line = parameter.line(value, rng)
        if line is not None:
            assert line.low <= line.at <= line.high and line.value(line.at) == pytest.approx(value)
            assert all(
                parameter.contains(line.value(t)) for t in (line.low, line.high, 0.3 * line.low + 0.7 * line.high)
            )
    if parameter.size() > 1:
        assert any(parameter.neighbours(value, rng) for value in values)


@pytest.mark.parametrize("parameter", ALL, ids=by_name)
def test_declarations_round_trip(parameter: Parameter) -> None:
    again = from_dict(parameter.name, parameter.to_dict())
    assert again == parameter and again.to_dict() == parameter.to_dict()


@pytest.mark.parametrize("parameter", FINITE, ids=by_name)
def test_size_counts_the_members_and_masses_sum_to_one(parameter: Parameter) -> None:
    members = list(parameter.members())
    keys = {repr(parameter.canonical(member)) for member in members}
    assert len(members) == len(keys) == parameter.size()
    assert all(parameter.contains(member) for member in members)
    assert sum(math.exp(parameter.log_mass(member)) for member in members) == pytest.approx(1)


def chi_square(counts: Counter[str], expected: Mapping[str, float]) -> float:
    assert set(counts) <= set(expected)
    return sum((counts.get(key, 0) - value) ** 2 / value for key, value in expected.items())


def test_sampling_is_uniform_over_the_members_of_every_finite_kind() -> None:
    """Eleven chi-square tests with fewer than 400 degrees of freedom: false alarm below 1e-6 each, at 6 sigma."""
    rng = np.random.default_rng(2)
    tested = [p for p in FINITE if 2 <= p.size() <= 200]
    assert len(tested) >= 11
    for parameter in tested:
        expected: dict[str, float] = {}
        n = 4000
        for member in parameter.members():
            expected[repr(parameter.canonical(member))] = n * math.exp(parameter.log_mass(member))
        counts = Counter(repr(parameter.canonical(parameter.sample(rng))) for _ in range(n))
        dof = len(expected) - 1
        # Wilson-Hilferty: the cube root of chi-square / dof is nearly normal.
        z = ((chi_square(counts, expected) / dof) ** (1 / 3) - (1 - 2 / (9 * dof))) / math.sqrt(2 / (9 * dof))
        assert z < 6, parameter.name


def kolmogorov(values: list[float]) -> float:
    """sqrt(n) times the Kolmogorov-Smirnov distance from the uniform law; above 2.7 with probability 1e-6."""
    ordered = np.sort(np.array(values))
    n = len(ordered)
    steps = np.arange(n + 1) / n
    return float(math.sqrt(n) * max(np.abs(ordered - steps[:-1]).max(), np.abs(ordered - steps[1:]).max()))


def test_continuous_kinds_are_uniform() -> None:
    """Six Kolmogorov-Smirnov tests, false alarm 1e-6 each."""
    rng = np.random.default_rng(3)
    n = 3000
    linear, log = Float("x", -1, 3), Float("x", 1e-6, 1, log=True)
    assert kolmogorov([(linear.sample(rng) + 1) / 4 for _ in range(n)]) < 2.7
    assert kolmogorov([math.log10(log.sample(rng)) / 6 + 1 for _ in range(n)]) < 2.7
    # The largest of three sorted uniforms has the law t^3; the smallest 1 - (1 - t)^3.
    cone = Vector("v", 3, 0.0, 1.0, monotone="decreasing")
    vectors = [cone.sample(rng) for _ in range(n)]
    assert kolmogorov([v[0] ** 3 for v in vectors]) < 2.7
    assert kolmogorov([1 - (1 - v[2]) ** 3 for v in vectors]) < 2.7
    # One share of a uniform point of the 3-part simplex has the law 1 - (1 - t)^2.
    mixes = [Simplex("m", ("a", "b", "c")).sample(rng) for _ in range(n)]
    assert kolmogorov([1 - (1 - m["a"]) ** 2 for m in mixes]) < 2.7
    assert kolmogorov([1 - (1 - m["c"]) ** 2 for m in mixes]) < 2.7


@pytest.mark.parametrize(
    ("low", "high", "log", "value"),
    [
        (0.0, 1.0, False, 0.1),
        (0.0, 1.0, False, 0.123456789012),
        (-1e6, 1e-3, False, -123456.789),
        (1e9, 1e9 + 1, False, 1e9 + 0.123),
        (1e-300, 1e300, True, 3.1415926535e-200),
        (1e-5, 1e-1, True, 3e-4),
        (1e-5, 1e-1, True, 0.0123456789012),
        (1 / 3, 2 / 3, False, 1 / 3),
        (1 / 3, 2 / 3, True, 2 / 3),
        (0.0, 1e20, False, 12345678901200000000.0),
    ],
)
def test_floats_that_people_write_survive_the_cube(low: float, high: float, log: bool, value: float) -> None:
    parameter = Float("x", low, high, log=log)
    assert parameter.normalise(value) == value
    assert parameter.decode(parameter.encode(value)) == value


def test_steps_are_decimal() -> None:
    assert list(Float("x", 0.0, 0.3, step=0.1).members()) == [0.0, 0.1, 0.2, 0.3]
    assert list(Float("x", 0.1, 1.0, step=0.4).members()) == [0.1, 0.5, 0.9]
    assert Float("x", 0.1, 1.0, step=0.4).normalise(0.1 + 0.4) == 0.5


def test_logarithmic_integers_are_about_log_uniform() -> None:
    parameter = Int("x", 1, 1000, log=True)
    masses = [math.exp(parameter.log_mass(k)) for k in (1, 10, 100, 1000)]
    assert masses[1] / masses[2] == pytest.approx(10, rel=1e-2)
    columns = parameter.columns()
    assert columns[0].grid is not None and parameter.decode([columns[0].grid[9]]) == 10


@pytest.mark.parametrize(
    ("parameter", "given", "made"),
    [
        (Int("x", 1, 9), 8.0, 8),
        (Int("x", 1, 9), np.int64(3), 3),
        (Float("x", 0, 9), 8, 8.0),
        (Float("x", 0, 9), np.float32(0.5), 0.5),
        (Choice("x", (4, 8)), 8.0, 8),
        (Choice("x", ([1, 2], [3])), (1, 2), [1, 2]),
        (Bool("x"), np.bool_(True), True),
        (Subset("x", ("a", "b", "c")), ("c", "a"), ["a", "c"]),
        (Vector("x", 3, 0, 1), 0.5, [0.5, 0.5, 0.5]),
        (Vector("x", 2, 1, 5, integer=True), np.array([1.0, 2.0]), [1, 2]),
        (Simplex("x", ("a", "b")), {"b": 0.25, "a": 0.75}, {"a": 0.75, "b": 0.25}),
        (
            Simplex("x", ("a", "b", "c")),
            dict.fromkeys("abc", 1 / 3),
            {"a": 0.333333334, "b": 0.333333333, "c": 0.333333333},
        ),
        (Simplex("x", ("a", "b"), total=3), {"a": 1.0, "b": 2}, {"a": 1, "b": 2}),
        (Permutation("x", ("a", "b")), ("b", "a"), ["b", "a"]),
    ],
)
def test_normalise_coerces(parameter: Parameter, given: Any, made: Any) -> None:
    assert parameter.normalise(given) == made
    assert type(parameter.normalise(given)) is type(made)


@pytest.mark.parametrize(
    ("parameter", "given"),
    [
        (Int("x", 1, 9), 8.5),
        (Int("x", 1, 9), True),
        (Int("x", 1, 9, step=4), 2),
        (Float("x", 0, 9), "1"),
        (Float("x", 0, 9), math.nan),
        (Float("x", 0, 9), 9.1),
        (Float("x", 0, 1, step=0.1), 0.15),
        (Choice("x", (4, 8)), 5),
        (Choice("x", (4, 8)), {"a": {1}}),
        (Bool("x"), 1),
        (Subset("x", ("a", "b")), "a"),
        (Subset("x", ("a", "b")), ["a", "a"]),
        (Subset("x", ("a", "b"), min_size=1), []),
        (Vector("x", 2, 0, 1), [0.5]),
        (Vector("x", 2, 0, 1), [0.5, 2]),
        (Vector("x", 2, 0, 1, monotone="increasing"), [0.5, 0.1]),
        (Simplex("x", ("a", "b")), {"a": 0.5, "b": 0.4}),
        (Simplex("x", ("a", "b")), {"a": 1}),
        (Simplex("x", ("a", "b"), total=3), {"a": 1, "b": 1}),
        (Permutation("x", ("a", "b")), ["a"]),
        (Constant("x", 3), 4),
    ],
)
def test_normalise_refuses_naming_parameter_and_value(parameter: Parameter, given: Any) -> None:
    with pytest.raises(ParameterError, match='"x"'):
        parameter.normalise(given)
    assert not parameter.contains(given)


@pytest.mark.parametrize(
    ("spec", "key", "words"),
    [
        ({"min": 1.0, "max": 0.1}, "min", "low < high must hold"),
        ({"min": 1, "max": 1}, "min", "low < high must hold"),
        ({"min": 0, "max": 1, "log": True}, "min", "log needs low > 0"),
        ({"min": "1e-5", "max": 1}, "min", "remove the quotes"),
        ({"min": 0, "max": math.inf}, "max", "finite number"),
        ({"min": 0, "max": 10**400}, "max", "must"),
        ({"min": 0, "max": 2**60}, "step", "at most"),
        ({"min": 0, "max": 1, "step": 0}, "step", "must be"),
        ({"min": 0.0, "max": 1, "step": 1e-30}, "step", "at most"),
        ({"min": 0}, "max", "max is missing"),
        ({"min": 0, "max": 1, "lgo": True}, "lgo", 'did you mean "log"?'),
        ({"valeus": [1]}, "valeus", 'did you mean "values"?'),
        ({"values": []}, "values", "at least 1"),
        ({"values": [1, 1]}, "values", "listed twice"),
        ({"values": "abc"}, "values", "must be a list"),
        ({"values": [math.nan]}, "values", "JSON"),
        ({"values": [1], "min": 3}, "min", "unknown key"),
        ({"values": [1, 2], "subset": ["a"]}, "subset", "one kind"),
        ({"subset": ["a"], "min_size": 2}, "min_size", "0 to 1"),
        ({"subset": ["a", "b"], "min_size": 2, "max_size": 1}, "min_size", "min_size <= max_size"),
        ({"vector": 0, "min": 0, "max": 1}, "vector", "length"),
        ({"vector": 2, "min": 0, "max": 1, "monotone": "up"}, "monotone", "increasing or decreasing"),
        ({"simplex": ["a"]}, "simplex", "at least 2"),
        ({"simplex": ["a", "b"], "total": 0}, "total", "total"),
        ({"permutation": ["a", "a"]}, "permutation", "listed twice"),
        ({"type": "complex"}, "type", "int, float or bool"),
        ({"min": 0, "max": 1, "when": "a <"}, "when", "expression"),
        ({"min": 0, "max": 1, "when": 3}, "when", "expression"),
        ({"min": 0, "max": 1, "prior": 3}, "prior", "one of its values"),
        ({"min": 0, "max": 1, "prior": {"at": 0, "confidence": "sure"}}, "prior", "low, medium or high"),
        ([1, 2], None, "write {values: [1, 2]}"),
        ({}, None, "needs min and max"),
    ],
)
def test_bad_declarations_name_the_key(spec: Any, key: str | None, words: str) -> None:
    with pytest.raises(ParameterError) as caught:
        from_dict("lr", spec)
    assert caught.value.key == key and words in str(caught.value) and '"lr"' in str(caught.value)


@pytest.mark.parametrize("name", ["", " a", "a`b", "a\nb", "x" * 201])
def test_bad_names(name: str) -> None:
    with pytest.raises(SpaceError):
        Bool(name)


@pytest.mark.parametrize(
    ("spec", "parameter"),
    [
        ({"min": 1, "max": 8}, Int("x", 1, 8)),
        ({"min": 1, "max": 8, "type": "float"}, Float("x", 1, 8)),
        ({"min": 1.0, "max": 8}, Float("x", 1, 8)),
        ({"min": 1, "max": 8, "step": 0.5}, Float("x", 1, 8, step=0.5)),
        ({"value": 3}, Constant("x", 3)),
        ("adam", Constant("x", "adam")),
        ({"type": "bool"}, Bool("x")),
        ({"vector": 2, "min": 1, "max": 8}, Vector("x", 2, 1, 8, integer=True)),
        ({"vector": 2, "min": 1, "max": 8.0}, Vector("x", 2, 1, 8)),
        ({"min": 1, "max": 8, "prior": 3}, Int("x", 1, 8, prior=Prior(3))),
        (
            {"simplex": ["a", "b"], "prior": {"a": 0.5, "b": 0.5}},
            Simplex("x", ("a", "b"), prior=Prior({"a": 0.5, "b": 0.5})),
        ),
    ],
)
def test_sweep_file_declarations(spec: Any, parameter: Parameter) -> None:
    assert from_dict("x", spec) == parameter


def test_grids() -> None:
    assert Float("x", 0, 1).grid(3) == [0.0, 0.5, 1.0]
    assert Int("x", 1, 3).grid(5) == [1, 2, 3]
    assert Int("x", 0, 100).grid(3) == [0, 50, 100]
    assert Vector("x", 2, 0, 1).grid(2) == [[0.0, 0.0], [0.0, 1.0], [1.0, 0.0], [1.0, 1.0]]
    assert len(Vector("x", 100, 0, 1).grid(5)) == 5
    assert len(Simplex("x", ("a", "b", "c")).grid(3)) == 6
    assert len(Permutation("x", tuple(range(20))).grid(3)) == 20


def test_priors_draw_near_their_place() -> None:
    """Means of 2000 truncated normals at the end of the range: six standard errors, false alarm 2e-9 each."""
    rng = np.random.default_rng(4)
    for confidence, mean, sd in (("low", 0.3684, 0.2602), ("high", 0.0997, 0.0754)):
        believed = Float("x", 0, 1, prior=Prior(0.0, confidence))  # type: ignore[arg-type]
        values = [believed.sample_prior(rng) for _ in range(2000)]
        assert abs(np.mean(values) - mean) < 6 * sd / math.sqrt(2000)
    choice = Choice("c", ("a", "b", "c", "d"), prior=Prior("c", "medium"))
    counts = Counter(choice.sample_prior(rng) for _ in range(2000))
    expected: dict[str, float] = {"a": 250, "b": 250, "c": 1250, "d": 250}
    assert chi_square(counts, expected) < 30.7  # exceeded with probability 1e-6 at three degrees of freedom
    assert choice.centre() == "c"
    structured: list[Parameter] = [
        Subset("s", ("a", "b", "c"), min_size=1, prior=Prior(["a"])),
        Vector("v", 3, 0, 1, monotone="increasing", prior=Prior(0.5)),
        Simplex("m", ("a", "b"), prior=Prior({"a": 0.9, "b": 0.1})),
        Permutation("p", ("a", "b", "c"), prior=Prior(["c", "b", "a"])),
    ]
    for parameter in structured:
        assert all(parameter.contains(parameter.sample_prior(rng)) for _ in range(50))
