"""The covariances of `kernels/` against counting, closed forms and each other."""

from __future__ import annotations

import itertools
import math
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch import Tensor

from tuner import catalog
from tuner.gp.fit import fit
from tuner.parameters import Choice, Float, Int, Parameter, Permutation, Simplex, Subset, Vector

if TYPE_CHECKING:
    from gpytorch.kernels import Kernel

EXACT = {"rtol": 0.0, "atol": 1e-12}
ITEMS = ("a", "b", "c", "d", "e", "f")


def build(name: str, *parameters: Parameter, learn: bool = False) -> Kernel:
    kernel: Kernel = catalog.load("kernels", name).build([c for p in parameters for c in p.columns()]).double()
    return kernel.requires_grad_(learn)


def encoded(parameter: Parameter, *values: object) -> Tensor:
    return torch.tensor([parameter.encode(value) for value in values], dtype=torch.float64)


def uniform(n: int, d: int, seed: int = 0) -> Tensor:
    return torch.rand(n, d, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def matern(r: float) -> float:
    """Matern-5/2 at distance r in units of the lengthscale (Rasmussen and Williams 2006, eq. 4.17)."""
    s = math.sqrt(5.0) * r
    return (1.0 + s + s * s / 3.0) * math.exp(-s)


def floats(d: int) -> list[Float]:
    return [Float(f"x{j}", low=0.0, high=1.0) for j in range(d)]


def same_lengthscales(kernel: Kernel, value: float = 0.4) -> Kernel:
    for module in kernel.modules():
        if getattr(module, "has_lengthscale", False):
            module.lengthscale = torch.tensor(value, dtype=torch.float64)
    return kernel


# permutation


def test_the_mallows_kernel_counts_discordant_pairs() -> None:
    order = Permutation("order", items=ITEMS)
    kernel = build("permutation", order)
    kernel.lengthscale = torch.tensor([0.7, 1e12], dtype=torch.float64)  # neighbours do not count
    rng = np.random.default_rng(0)
    orders = [order.sample(rng) for _ in range(12)]
    K = kernel.forward(encoded(order, *orders), encoded(order, *orders))
    for (i, p), (j, q) in itertools.product(enumerate(orders), repeat=2):
        pairs = list(itertools.combinations(ITEMS, 2))
        opposite = sum((p.index(a) < p.index(b)) != (q.index(a) < q.index(b)) for a, b in pairs)
        assert float(K[i, j]) == pytest.approx(math.exp(-opposite / len(pairs) / 0.7), rel=1e-11)


def test_the_kernel_of_neighbours_counts_the_edges_of_tours() -> None:
    order = Permutation("order", items=ITEMS)
    kernel = build("permutation", order)
    kernel.lengthscale = torch.tensor([1e12, 0.7], dtype=torch.float64)  # the order does not count
    rng = np.random.default_rng(1)
    tours = [order.sample(rng) for _ in range(12)]
    K = kernel.forward(encoded(order, *tours), encoded(order, *tours))

    def edges(tour: list[str]) -> set[frozenset[str]]:
        return {frozenset(edge) for edge in zip(tour, tour[1:] + tour[:1])}

    for (i, p), (j, q) in itertools.product(enumerate(tours), repeat=2):
        share = len(edges(p) & edges(q)) / len(ITEMS)
        assert float(K[i, j]) == pytest.approx(math.exp(-(1.0 - share) / 0.7), rel=1e-11)
    turned = [tour[2:] + tour[:2] for tour in tours]
    backwards = [tour[::-1] for tour in turned]
    assert torch.allclose(kernel.forward(encoded(order, *turned), encoded(order, *backwards)), K, **EXACT)


def test_only_the_order_of_positions_counts() -> None:
    order = Permutation("order", items=ITEMS)
    kernel, X = build("permutation", order), uniform(10, 6)
    decoded = encoded(order, *[order.decode(row) for row in X.tolist()])
    assert torch.allclose(kernel.forward(X, X), kernel.forward(decoded, decoded), **EXACT)
    tied = torch.full((1, 6), 0.5, dtype=torch.float64)
    assert float(kernel.forward(tied, encoded(order, order.decode(tied[0].tolist())))) == pytest.approx(1.0)


def test_two_items_can_only_be_exchanged() -> None:
    order = Permutation("order", items=("a", "b"))
    kernel = build("permutation", order)
    kernel.lengthscale = 1.0
    K = kernel.forward(encoded(order, ["a", "b"]), encoded(order, ["a", "b"], ["b", "a"]))
    assert K.flatten().tolist() == pytest.approx([1.0, math.exp(-1.0)])


# effects


def test_effects_are_bells_of_each_column_and_a_matern_of_all() -> None:
    kernel = same_lengthscales(build("effects", *floats(2)), 0.5)
    kernel.raw_alone.data[:] = math.log(3.0)  # s = 3/4
    K = kernel.forward(torch.tensor([[0.1, 0.2], [0.4, 0.6]], dtype=torch.float64), uniform(1, 2) * 0 + 0.1)
    bell = [math.exp(-0.5 * (step / 0.5) ** 2) for step in (0.0, 0.1, 0.3, 0.5)]
    assert float(K[0, 0]) == pytest.approx(0.75 * (bell[0] + bell[1]) / 2 + 0.25 * matern(0.1 / 0.5), rel=1e-9)
    assert float(K[1, 0]) == pytest.approx(0.75 * (bell[2] + bell[3]) / 2 + 0.25 * matern(math.hypot(0.3, 0.5) / 0.5))


def test_a_sum_of_effects_is_known_where_no_trial_was() -> None:
    """Trials on a cross alone, through its centre; a sum of two functions is known in the corners then."""
    kernel = same_lengthscales(build("effects", *floats(2)), 0.3)
    kernel.raw_alone.data[:] = 20.0  # nothing but effects
    t = torch.linspace(0.0, 1.0, 9, dtype=torch.float64)
    middle = torch.full_like(t, 0.5)
    X = torch.cat([torch.stack([t, middle], dim=1), torch.stack([middle, t], dim=1)])
    corners = torch.tensor([[0.0, 0.0], [1.0, 0.0], [0.9, 0.9]], dtype=torch.float64)

    def value(x: Tensor) -> Tensor:
        return torch.sin(3.0 * x[:, 0]) + x[:, 1] ** 2

    K = kernel.forward(X, X) + 1e-8 * torch.eye(len(X), dtype=torch.float64)
    found = kernel.forward(corners, X) @ torch.linalg.solve(K, value(X))
    # nine points a column leave an interpolation error of about 1e-3 of a function of range 1
    assert torch.allclose(found, value(corners), atol=0.02)


def test_the_gradient_of_effects_is_that_of_differences() -> None:
    kernel = build("effects", *floats(3))  # a lengthscale only scales the columns
    X, Z = uniform(5, 3).requires_grad_(), uniform(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(kernel.forward, (X, Z))
    batch = uniform(10, 3).view(2, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(kernel.forward, (batch, Z))


def test_effects_are_the_same_without_a_gradient() -> None:
    kernel, X, Z = build("effects", *floats(4)), uniform(12, 4).view(2, 6, 4), uniform(5, 4, seed=1)
    with torch.no_grad():
        found = kernel.forward(X, Z)
    assert found.shape == (2, 6, 5)
    assert torch.allclose(found, kernel.forward(X, Z), **EXACT)


def test_one_column_and_too_many_have_no_effects_apart() -> None:
    assert type(build("effects", *floats(1))).__name__ == "Matern"
    assert type(build("effects", *floats(41))).__name__ == "Matern"


# ordered


def test_even_gaps_are_the_spacing_of_the_levels() -> None:
    width, rate = Choice("width", values=(1, 2, 4, 8, 16), ordered=True), Int("rate", low=1, high=9, log=True)
    ordered, plain = build("ordered", width, rate), build("matern", width, rate)
    rng = np.random.default_rng(0)
    X = torch.cat([encoded(p, *[p.sample(rng) for _ in range(15)]) for p in (width, rate)], dim=-1)
    assert torch.allclose(ordered.forward(X, X), plain.forward(X, X), **EXACT)


def test_gaps_place_the_levels_and_keep_the_ends() -> None:
    kernel = build("ordered", Choice("width", values=(1, 2, 3, 4), ordered=True), *floats(1))
    with torch.no_grad():
        kernel.log_gaps.copy_(torch.tensor([[1.0, 3.0, 2.0]]).log())
    X = torch.tensor([[0.125, 0.1], [0.375, 0.2], [0.625, 0.3], [0.875, 0.4], [0.5, 0.5]], dtype=torch.float64)
    placed = kernel.positions(X).detach()
    assert placed[:, 0].tolist() == pytest.approx([0.125, 0.25, 0.625, 0.875, 0.4375])  # steps of 1/6, 3/6, 2/6
    assert torch.equal(placed[:, 1], X[:, 1])


def test_the_slope_at_a_level_is_the_mean_of_both_sides() -> None:
    kernel = build("ordered", Choice("width", values=(1, 2, 3, 4), ordered=True))
    with torch.no_grad():
        kernel.log_gaps.copy_(torch.tensor([[1.0, 3.0, 2.0]]).log())
    X = torch.tensor([[0.25], [0.375], [0.5]], dtype=torch.float64, requires_grad=True)
    (slope,) = torch.autograd.grad(kernel.positions(X).sum(), X)
    assert slope.flatten().tolist() == pytest.approx([0.5, 1.0, 1.5])  # steps of 1/2, 3/2, 2/2 of the even one


def test_the_gap_at_a_jump_is_learned() -> None:
    width = Choice("width", values=(1, 2, 3, 4, 5), ordered=True)
    X = encoded(width, *([1, 2, 3, 4, 5] * 4))
    z = torch.tensor([1.0, 1.02, 1.04, -1.5, -1.52] * 4, dtype=torch.float64)
    fitted = fit(X, z, lambda: build("ordered", width, learn=True)).kernel
    steps = fitted.positions(encoded(width, 1, 2, 3, 4, 5)).diff(dim=0).flatten().tolist()
    assert max(steps) == steps[2]
    assert steps[2] > 2.0 * max(steps[0], steps[1], steps[3])


@pytest.mark.parametrize(
    "parameter", [*floats(1), Choice("two", values=(1, 2), ordered=True), Int("n", low=1, high=99)]
)
def test_columns_without_gaps_to_learn_keep_their_spacing(parameter: Parameter) -> None:
    X = uniform(6, 1)
    assert torch.allclose(build("ordered", parameter).positions(X), X, **EXACT)


# transformed-overlap


def columns_of_levels(d: int) -> list[Choice]:
    return [Choice(f"c{j}", values=("p", "q", "r", "s"), ordered=False) for j in range(d)]


def test_the_transformed_overlap_by_hand() -> None:
    kernel = build("transformed-overlap", *columns_of_levels(3))
    kernel.lengthscale = torch.tensor([1.0, 0.5, 0.25], dtype=torch.float64)  # weights 1, 2, 4: a third of each counts
    a = torch.tensor([[0.125, 0.375, 0.625]], dtype=torch.float64)
    b = torch.tensor([[0.125, 0.875, 0.625]], dtype=torch.float64)
    expected = (math.exp((1.0 + 4.0) / 3.0) - 1.0) / (math.exp(7.0 / 3.0) - 1.0)
    assert float(kernel.forward(a, b)) == pytest.approx(expected, rel=1e-12)
    assert float(kernel.forward(a, 1.0 - a)) == pytest.approx(0.0, abs=1e-12)  # nothing in common


def test_its_limits_are_the_plain_and_the_exponential_overlap() -> None:
    X = torch.floor(uniform(10, 4) * 4.0) / 4.0 + 0.125
    agree = (X.unsqueeze(1) == X.unsqueeze(0)).double().mean(dim=-1)
    kernel = build("transformed-overlap", *columns_of_levels(4))
    kernel.lengthscale = 1e4
    # (exp(s) - 1) / (exp(S) - 1) = s / S (1 + O(S)), and S = 1e-4.
    assert torch.allclose(kernel.forward(X, X), agree, rtol=0, atol=1e-4)
    kernel.lengthscale = 0.05
    exponential = torch.exp(20.0 * (agree - 1.0))
    assert torch.allclose(kernel.forward(X, X), exponential, rtol=0, atol=1e-8)  # what is taken out is exp(-20) = 2e-9


# subset


def test_a_subset_is_an_overlap_times_a_matern_of_sizes() -> None:
    modules = Subset("modules", items=("q", "k", "v", "o"))
    kernel = build("subset", modules)
    kernel.lengthscale = torch.tensor([1.0, 2.0, 4.0, 8.0], dtype=torch.float64)
    kernel.in_size.lengthscale = 0.5
    X = encoded(modules, ["q", "k"], ["v"], ["q", "o"], [], ["q", "k", "v", "o"])
    K = kernel.forward(X, X)
    assert float(K[0, 1]) == pytest.approx(math.exp(-(1.0 + 0.5 + 0.25)) * matern((2 - 1) / 2 / 0.5), rel=1e-10)
    assert float(K[0, 2]) == pytest.approx(math.exp(-(0.5 + 0.125)), rel=1e-10)  # equal sizes
    assert float(K[3, 4]) == pytest.approx(math.exp(-1.875) * matern(4 / 2 / 0.5), rel=1e-10)


# layered


def test_alternating_changes_are_nearer_than_even_ones() -> None:
    """The response sees local totals: what one layer adds and the next takes away hardly counts."""
    kernel = same_lengthscales(build("layered", Vector("keep", length=8, low=0.0, high=1.0)))
    base = torch.full((1, 8), 0.5, dtype=torch.float64)
    even, jagged = base + 0.1, base + 0.1 * torch.tensor([1.0, -1.0] * 4)
    with torch.no_grad():
        kernel.log_reach.fill_(0.0)
    assert float(kernel.forward(base, jagged)) > float(kernel.forward(base, even)) + 1e-3
    # An even change is as far as without averages, whatever their reach.
    distance = 0.1 * math.sqrt(8.0) / 0.4
    assert float(kernel.forward(base, even)) == pytest.approx(matern(distance), rel=1e-10)


def test_without_reach_it_is_the_matern() -> None:
    vector = Vector("keep", length=5, low=0.0, high=1.0)
    kernel, plain = same_lengthscales(build("layered", vector)), same_lengthscales(build("matern", vector))
    with torch.no_grad():
        kernel.log_reach.fill_(-8.0)
    X = uniform(10, 5)
    assert torch.allclose(kernel.forward(X, X), plain.forward(X, X), **EXACT)


def test_the_distance_is_mahalanobis() -> None:
    kernel = build("layered", Vector("keep", length=4, low=0.0, high=1.0))
    lengthscale = torch.tensor([0.3, 0.5, 0.9, 2.0], dtype=torch.float64)
    kernel.lengthscale = lengthscale
    a, b = uniform(1, 4, 1), uniform(1, 4, 2)
    with torch.no_grad():
        kernel.log_reach.fill_(math.log(0.7))
    weights = [[math.exp(-((i - j) ** 2) / (2 * 0.7**2)) for j in range(4)] for i in range(4)]
    W = torch.tensor(weights, dtype=torch.float64)
    W = W / W.sum(dim=1, keepdim=True)
    r = float(((a - b) @ W.T @ torch.diag(lengthscale**-2) @ W @ (a - b).T).sqrt())
    assert float(kernel.forward(a, b)) == pytest.approx(matern(r), rel=1e-10)


# simplex


def test_the_corners_of_a_simplex_are_at_finite_distance() -> None:
    mix = Simplex("mix", items=("web", "code", "books"))
    kernel = same_lengthscales(build("simplex", mix), 0.5)
    X = torch.eye(3, dtype=torch.float64).requires_grad_(True)
    K = kernel.forward(X, X)
    # Two corners are sqrt(2) apart; the share that every item is granted moves that by its root, 1e-3, at most.
    assert float(K[0, 1].detach()) == pytest.approx(matern(math.sqrt(2.0) / 0.5), rel=2e-2)
    (slope,) = torch.autograd.grad(K.sum(), X)
    assert bool(torch.isfinite(slope).all())


def test_inside_it_is_a_matern_of_the_hellinger_distance() -> None:
    mix = Simplex("mix", items=("web", "code", "books"))
    kernel = same_lengthscales(build("simplex", mix), 0.5)
    a, b = (0.2, 0.3, 0.5), (0.6, 0.1, 0.3)
    hellinger = math.sqrt(0.5 * sum((math.sqrt(p) - math.sqrt(q)) ** 2 for p, q in zip(a, b)))
    K = kernel.forward(torch.tensor([a]).double(), torch.tensor([b]).double())
    assert float(K) == pytest.approx(matern(math.sqrt(2.0) * hellinger / 0.5), rel=1e-4)  # shares moved by 1e-6
    scaled = kernel.forward(0.5 * torch.tensor([a]).double(), torch.tensor([b]).double())
    assert float(scaled) == pytest.approx(float(K), rel=1e-4)  # only the shares count


def test_the_power_of_shares_is_learned() -> None:
    """Of a sum of logarithms a low one, of a quadratic function a high one."""
    mix, rng = Simplex("mix", items=("web", "code", "books")), np.random.default_rng(0)
    X = encoded(mix, *[mix.sample(rng) for _ in range(40)])
    powers = []
    for z in (torch.log(X + 0.01).sum(dim=-1), -(X - 0.4).square().sum(dim=-1)):
        fitted = fit(X, (z - z.mean()) / z.std(), lambda: build("simplex", mix, learn=True)).kernel
        powers.append(float(fitted.log_power.detach().exp()))
    assert powers[0] < 0.5 < powers[1]


# learning-curve


def test_the_correlation_of_a_learning_curve_in_closed_form() -> None:
    kernel = build("learning-curve", Float("step", low=0.0, high=1.0))
    a, b = 1.7, 0.3
    with torch.no_grad():
        kernel.log_a.fill_(math.log(a))
        kernel.log_b.fill_(math.log(b))

    def decay(s: float, t: float) -> float:
        """Swersky, Snoek and Adams 2014."""
        return b**a / (s + t + b) ** a

    T = [0.0, 0.1, 0.5, 1.0]
    x = torch.tensor(T, dtype=torch.float64).unsqueeze(-1)
    K = kernel.forward(x, x)
    for (i, s), (j, t) in itertools.product(enumerate(T), repeat=2):
        assert float(K[i, j]) == pytest.approx(decay(s, t) / math.sqrt(decay(s, s) * decay(t, t)), rel=1e-6)


def test_late_steps_are_more_alike_than_early_ones() -> None:
    kernel = build("learning-curve", Float("step", low=0.0, high=1.0))
    x = torch.tensor([[0.0], [0.2], [0.8], [1.0]], dtype=torch.float64)
    K = kernel.forward(x, x).detach()
    assert float(K[2, 3]) > float(K[0, 1]) + 0.05


# warped


def test_without_a_warp_it_is_the_matern() -> None:
    X = uniform(10, 3)
    # The edge of 1e-6 that columns are kept from moves positions by as much.
    warped, plain = build("warped", *floats(3)), build("matern", *floats(3))
    assert torch.allclose(warped.forward(X, X), plain.forward(X, X), rtol=0, atol=1e-5)


def test_the_warp_is_kumaraswamys_distribution_function() -> None:
    kernel = build("warped", *floats(2))
    with torch.no_grad():
        kernel.log_a.copy_(torch.tensor([[2.0, 0.5]]).log())
        kernel.log_b.copy_(torch.tensor([[3.0, 1.5]]).log())
    w = kernel.warp(torch.tensor([[0.0, 0.0], [0.3, 0.3], [1.0, 1.0]], dtype=torch.float64)).detach()
    assert w[0].tolist() == pytest.approx([0.0, 0.0], abs=2e-3)  # 1.5 sqrt(1e-6), and less for the first
    assert w[1].tolist() == pytest.approx([1 - (1 - 0.3**2) ** 3, 1 - (1 - 0.3**0.5) ** 1.5], rel=1e-5)
    assert w[2].tolist() == pytest.approx([1.0, 1.0], abs=1e-6)


def test_a_logarithm_is_learned() -> None:
    """log(x) changes fast near 0: the learned map spreads that end."""
    X = torch.linspace(0.0, 1.0, 25, dtype=torch.float64).unsqueeze(-1)
    z = torch.log(X.squeeze(-1) + 0.01)
    fitted = fit(X, (z - z.mean()) / z.std(), lambda: build("warped", *floats(1), learn=True)).kernel
    w = fitted.warp(torch.tensor([[0.1], [0.9], [1.0]], dtype=torch.float64)).flatten().tolist()
    assert w[0] > 2.0 * (w[2] - w[1])


def test_effects_know_their_slopes_in_the_hyperparameters() -> None:
    kernel, X = build("effects", *floats(3), learn=True), uniform(9, 3)
    given = uniform(9, 9, seed=1)
    given = given + given.T
    K, pull = kernel.learned_from(X)
    expected = kernel.forward(X, X)
    assert torch.allclose(K, expected, **EXACT)
    found = pull(given)
    parameters = list(kernel.parameters())
    assert set(found) == set(parameters)
    for parameter, slope in zip(parameters, torch.autograd.grad(expected, parameters, given), strict=True):
        assert torch.allclose(found[parameter], slope, rtol=1e-9, atol=1e-12)
