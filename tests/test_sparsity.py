"""The objective `sparsity` on its real data: counts, criteria, splits, cache, and what pruning does to accuracy."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tuner.objectives.compression import checkpoints, criteria, digits, networks, pretrained
from tuner.objectives.compression.architectures import ARCHITECTURES, Architecture
from tuner.objectives.compression.sparsity import Sparsity, build
from tuner.objectives.compression.training import RECIPES, one_thread
from tuner.search_spaces.sparsity import spaces

from tuner import catalog
from tuner.errors import ObjectiveError, UsageError
from tuner.trial import Trial

ROOT = Path(__file__).resolve().parent.parent
SHORT = {"vit": 2, "mlp": 10}  # epochs: a network that computes something, in about a second


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A cache folder of this module's own."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TUNER_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="module", params=["vit", "vit-matrices", "mlp", "mlp-uniform"])
def objective(request: pytest.FixtureRequest, cache: Path) -> Sparsity:
    model, _, variant = request.param.partition("-")
    return build(model=model, variant=variant or None, epochs=SHORT[model])


def uniform(objective: Sparsity, keep: float, criterion: str = "magnitude") -> dict[str, Any]:
    return {"keep": [keep] * len(objective.baseline()["keep"]), "criterion": criterion}


def brute_force(architecture: Architecture, masks: dict[str, np.ndarray]) -> dict[str, float]:
    """Nonzero parameters and the multiply-adds they cost, counted one matrix product at a time."""
    params = sum(int(np.prod(shape)) for name, shape in architecture.shapes.items() if name not in masks)
    params += sum(int(mask.sum()) for mask in masks.values())
    if architecture.name == "vit":
        tokens, width = 16, 64
        multiply_adds = tokens * 4 * width + 4 * 2 * tokens * tokens * width + width * 10
        multiply_adds += sum(tokens * int(mask.sum()) for mask in masks.values())
    else:
        multiply_adds = 64 * 10 + sum(int(mask.sum()) for mask in masks.values())
    return {"kept_kparams": params / 1e3, "mflops": 2 * multiply_adds / 1e6}


@settings(max_examples=40, deadline=None)
@given(data=st.data(), criterion=st.sampled_from(criteria.CRITERIA))
def test_known_metrics_count_what_the_masks_keep(objective: Sparsity, data: st.DataObject, criterion: str) -> None:
    n = len(objective.baseline()["keep"])
    keep = data.draw(st.lists(st.floats(0.0, 1.0), min_size=n, max_size=n))
    config = {"keep": keep, "criterion": criterion}
    assert objective.known(config) == brute_force(objective.architecture, objective.masks(config, seed=3))


def test_evaluate_returns_the_known_metrics_and_every_declared_one(objective: Sparsity) -> None:
    config = uniform(objective, 0.37, "wanda")
    measured = objective.evaluate(config, Trial())
    assert set(measured) == set(objective.metrics)
    assert objective.known(config).items() <= measured.items()


def test_dense_flops_agree_with_the_counter_of_torch(objective: Sparsity) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    weights = networks.initial_weights(objective.architecture, torch.Generator().manual_seed(0))
    with torch.inference_mode(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        networks.logits(objective.architecture, weights, torch.zeros(1, 8, 8))
    assert objective.known(objective.baseline())["mflops"] * 1e6 == counter.get_total_flops()


def test_masks_keep_the_best_scores_and_wanda_the_same_number_in_every_row(cache: Path) -> None:
    objective = build(model="mlp", epochs=SHORT["mlp"])
    network = pretrained.load(objective.recipe)
    for name, mask in objective.masks(uniform(objective, 0.25)).items():
        kept = np.abs(network.weights[name])[mask]
        assert kept.min() >= np.abs(network.weights[name])[~mask].max()
    for name, mask in objective.masks(uniform(objective, 0.25, "wanda")).items():
        assert (mask.sum(axis=1) == mask.shape[1] // 4).all()
        scores = np.abs(network.weights[name]) * network.input_norms[name]
        assert (np.where(mask, scores, np.inf).min(axis=1) >= np.where(mask, -np.inf, scores).max(axis=1)).all()


def test_wanda_on_a_small_matrix() -> None:
    W = np.array([[4.0, -1.0, 2.0, 0.5], [-3.0, 0.1, 1.0, 2.0]], dtype=np.float32)
    x = np.array([[1.0, 3.0, 0.0, 8.0], [0.0, 4.0, 1.0, 6.0]], dtype=np.float32)  # two tokens, four inputs
    norms = np.sqrt((x**2).sum(axis=0))
    assert norms.tolist() == [1.0, 5.0, 1.0, 10.0]
    scores = criteria.wanda_scores(W, norms)
    assert scores.tolist() == [[4.0, 5.0, 2.0, 5.0], [3.0, 0.5, 1.0, 20.0]]
    assert criteria.ranks(scores, per_output=True).tolist() == [[2, 0, 3, 1], [1, 3, 2, 0]]  # the tie: earlier first
    assert criteria.ranks(np.abs(W), per_output=False).tolist() == [[0, 4, 2, 6], [1, 7, 5, 3]]


def test_input_norms_are_those_of_the_training_split(cache: Path) -> None:
    network = pretrained.load(build(model="mlp", epochs=SHORT["mlp"]).recipe)
    x = digits.load()["train"].images.reshape(-1, 64)
    np.testing.assert_allclose(network.input_norms["layer0.weight"], np.linalg.norm(x, axis=0), rtol=1e-5)
    hidden = np.maximum(x @ network.weights["layer0.weight"].T + network.weights["layer0.bias"], 0.0)
    np.testing.assert_allclose(network.input_norms["layer1.weight"], np.linalg.norm(hidden, axis=0), rtol=1e-4)


@pytest.mark.parametrize("criterion", criteria.CRITERIA)
def test_keeping_all_is_the_dense_network(objective: Sparsity, criterion: str) -> None:
    config = uniform(objective, 1.0, criterion)
    assert all(mask.all() for mask in objective.masks(config).values())
    network, validation = pretrained.load(objective.recipe), digits.load()["validation"]
    weights = {name: torch.from_numpy(array) for name, array in network.weights.items()}
    with one_thread(), torch.inference_mode():
        predicted = networks.logits(network.architecture, weights, torch.from_numpy(validation.images)).argmax(1)
    accuracy = float((predicted.numpy() == validation.labels).mean())
    assert objective.evaluate(config, Trial())["accuracy"] == accuracy
    assert objective.known(config) == objective.known(objective.baseline())
    assert objective.known(config)["kept_kparams"] == network.architecture.n_params / 1e3


def test_magnitude_and_wanda_beat_random_at_keep_0_3(cache: Path) -> None:
    objective = build(model="mlp")
    at = {name: objective.evaluate(uniform(objective, 0.3, name), Trial())["accuracy"] for name in criteria.CRITERIA}
    assert min(at["magnitude"], at["wanda"]) > at["random"] + 0.3


def test_evaluation_repeats_for_a_configuration_and_a_seed(objective: Sparsity) -> None:
    again = Sparsity(objective.recipe, objective.space)
    for criterion in criteria.CRITERIA:
        config = uniform(objective, 0.7, criterion)
        assert objective.evaluate(config, Trial(seed=5)) == again.evaluate(config, Trial(seed=5))
    drawn = uniform(objective, 0.7, "random")
    first, second = objective.masks(drawn, seed=5), objective.masks(drawn, seed=6)
    assert any((first[name] != second[name]).any() for name in first)
    assert objective.test(drawn, seed=5) == again.test(drawn, seed=5)


def test_splits_are_disjoint_whole_and_stratified() -> None:
    splits = digits.load()
    assert {name: len(split.rows) for name, split in splits.items()} == {"train": 1078, "validation": 359, "test": 360}
    assert sorted(np.concatenate([split.rows for split in splits.values()]).tolist()) == list(range(1797))
    shares = [np.bincount(split.labels, minlength=10) / len(split.labels) for split in splits.values()]
    assert np.ptp(np.array(shares), axis=0).max() < 0.005


def test_accuracy_is_measured_on_validation_and_test_apart(cache: Path) -> None:
    objective = build(model="mlp", epochs=SHORT["mlp"])
    config = uniform(objective, 0.2)
    validation, test = objective.evaluate(config, Trial())["accuracy"], objective.test(config)["accuracy"]
    assert round(validation * 359, 6).is_integer()
    assert round(test * 360, 6).is_integer()


@pytest.mark.parametrize("model", ["vit", "mlp"])
def test_dense_networks_read_digits(cache: Path, model: str) -> None:
    objective = build(model=model)
    assert objective.evaluate(objective.baseline(), Trial())["accuracy"] > 0.96
    assert objective.test(objective.baseline())["accuracy"] > 0.94


@pytest.mark.parametrize(
    ("model", "variant", "length"),
    [("vit", None, 8), ("vit", "monotone", 8), ("vit", "matrices", 16), ("vit", "uniform", 1), ("mlp", None, 4)],
)
def test_the_baseline_and_samples_lie_in_the_space(cache: Path, model: str, variant: str | None, length: int) -> None:
    objective = build(model=model, variant=variant, epochs=SHORT[model])
    assert objective.space.contains(objective.baseline())
    assert objective.known(objective.baseline())["kept_kparams"] == objective.architecture.n_params / 1e3
    for config in objective.space.sample(20, np.random.default_rng(0)):
        assert len(config["keep"]) == length
        assert variant != "monotone" or config["keep"] == sorted(config["keep"], reverse=True)
        assert objective.known(config)["kept_kparams"] < objective.architecture.n_params / 1e3
    assert 0.0 <= objective.evaluate(config, Trial())["accuracy"] <= 1.0


def test_the_catalog_finds_objective_and_spaces() -> None:
    made = catalog.entry("objectives", "sparsity")(model="mlp")
    assert isinstance(made, Sparsity)
    assert catalog.entry("search_spaces", "sparsity")() == spaces()


@pytest.mark.parametrize(
    ("options", "rule"),
    [
        ({"model": "cnn"}, "model must be one of vit, mlp"),
        ({"variant": "wide"}, "variant of 'vit' must be one of monotone, matrices, uniform, but got 'wide'"),
        ({"model": "mlp", "variant": "monotone"}, "variant of 'mlp' must be one of uniform, but got 'monotone'"),
        ({"epochs": 0}, "epochs must be at least 1"),
    ],
)
def test_wrong_options_are_refused(options: dict[str, Any], rule: str) -> None:
    with pytest.raises(UsageError, match=rule):
        build(**options)


def test_importing_for_the_space_loads_no_torch() -> None:
    code = (
        "import sys; from tuner.objectives.compression.sparsity import build; o = build(); o.known(o.baseline());"
        "print([m for m in ('torch', 'sklearn', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def counted(arrays: dict[str, np.ndarray], calls: list[int]) -> Any:
    def make() -> dict[str, np.ndarray]:
        calls.append(1)
        return arrays

    return make


def test_a_damaged_checkpoint_is_made_again(tmp_path: Path) -> None:
    arrays, calls = {"w": np.arange(60, dtype=np.float32).reshape(3, 20)}, list[int]()
    path = tmp_path / "new" / "x.ckpt"
    for _ in range(3):
        assert (checkpoints.fetch(path, counted(arrays, calls))["w"] == arrays["w"]).all()
    assert len(calls) == 1
    whole = path.read_bytes()
    damages = [b"", whole[:10], whole[:-1], whole[:100] + b"\x00" * 50 + whole[150:], whole[:-1] + b"!"]
    for n, damage in enumerate(damages, start=2):
        path.write_bytes(damage)
        assert (checkpoints.fetch(path, counted(arrays, calls))["w"] == arrays["w"]).all()
        assert len(calls) == n
        assert path.read_bytes()[32:] == whole[32:] or path.stat().st_size == len(whole)
    assert sorted(file.name for file in path.parent.iterdir()) == ["x.ckpt", "x.lock"]


def test_a_failed_training_leaves_no_checkpoint(tmp_path: Path) -> None:
    def broken() -> dict[str, np.ndarray]:
        raise RuntimeError("no")

    with pytest.raises(RuntimeError, match="no"):
        checkpoints.fetch(tmp_path / "x.ckpt", broken)
    assert not (tmp_path / "x.ckpt").exists()
    assert checkpoints.fetch(tmp_path / "x.ckpt", counted({"w": np.ones(1, np.float32)}, [])).keys() == {"w"}


def test_a_cache_that_cannot_be_written_names_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(ObjectiveError, match="set TUNER_CACHE"):
        checkpoints.fetch(tmp_path / "file" / "x.ckpt", counted({}, []))


def test_the_cache_folder_follows_the_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("TUNER_CACHE", str(tmp_path))
    assert checkpoints.cache_dir() == tmp_path
    monkeypatch.delenv("TUNER_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "xdg"))
    monkeypatch.setattr(sys, "platform", "linux")
    assert checkpoints.cache_dir() == tmp_path / "xdg" / "tuner"


def test_another_recipe_is_another_checkpoint(cache: Path) -> None:
    paths = {pretrained.checkpoint_path(build(model="mlp", epochs=n).recipe) for n in (1, 2, 3)}
    assert len(paths | {pretrained.checkpoint_path(RECIPES["mlp"]), pretrained.checkpoint_path(RECIPES["vit"])}) == 5


PREPARE = """
import sys
from tuner.objectives.compression import pretrained
from tuner.objectives.compression.sparsity import build
from tuner.trial import Trial
train = pretrained.train
def spoken(*args):
    print("trained")
    return train(*args)
pretrained.train = spoken
objective = build(model="mlp", epochs=2)
objective.prepare()
print(objective.evaluate({"keep": [0.5] * 4, "criterion": "wanda"}, Trial()))
"""


def test_processes_that_prepare_at_once_train_once(tmp_path: Path) -> None:
    env = {**os.environ, "TUNER_CACHE": str(tmp_path), "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", PREPARE], cwd=ROOT, env=env, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    outputs = [process.communicate(timeout=120)[0] for process in started]
    assert [process.returncode for process in started] == [0, 0]
    assert sum(output.count("trained") for output in outputs) == 1
    measured = {re.sub(r"trained\n", "", output) for output in outputs}
    assert len(measured) == 1
    assert len(list((tmp_path / "compression").glob("*.ckpt"))) == 1


def test_architectures_name_each_prunable_matrix_once() -> None:
    for architecture in ARCHITECTURES.values():
        assert len(set(architecture.prunable)) == len(architecture.prunable)
        assert all(len(architecture.shapes[name]) == 2 for name in architecture.prunable)
        assert set(architecture.prunable) <= set(architecture.shapes)
