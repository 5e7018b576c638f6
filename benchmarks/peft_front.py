"""Do layouts that a cheap search found beat the standard ones when trained in full, and on other tasks?

    python benchmarks/peft_front.py OUT/front.json --studies OUT/auto-0                # a GPU: six minutes
    python benchmarks/peft_front.py OUT/front.json                                     # the tables again

Members: of the front of the study (`benchmarks/peft_search.py`) at most eight, spread over log10 of the parameters, in
each part of its range the one with the best score of the search. Standard layouts: LoRA of rank 8 on query and value,
Pfeiffer adapters of 48 and 64, BitFit, prefixes of 20, full fine-tuning, and the head alone.

In full: 2,000 sentences of review polarity, 3 epochs of 32 a step. Each layout's learning rate, a standard one's or a
member's, is the one of the same grid (a member's own is in its grid besides) with the best accuracy on the validation
split, mean over two seeds. For each standard layout that validation also names its rival: the best member with no more
parameters. Then all are trained on fresh seeds, and the test split is touched, once. Intervals: Student's t at 95%, of
differences between the same seeds.

Transfer: the same layouts, learning rates and rivals on Amazon and New York Times snippets, tweets, and ratings of
reviews (Pearson's correlation); nothing is chosen there. Full fine-tuning trains in float32 with TF32 products.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tuner.objectives.peft import models, texts
from tuner.objectives.peft.batches import Bank, chunks, corpus
from tuner.objectives.peft.encoder import Encoder, Layer
from tuner.objectives.peft.layouts import Layout, Shape, count, layout_of
from tuner.objectives.peft.network import layer, scores
from tuner.objectives.peft.packs import Pack
from tuner.objectives.peft.steps import schedule
from tuner.objectives.peft.training import Recipe, Run, begin, evaluate, train

import tuner
from tuner.intervals import mean

RATES = (3e-4, 1e-3, 3e-3, 1e-2)
FULL_RATES = (3e-5, 1e-4, 3e-4)
STANDARD: dict[str, dict[str, Any]] = {
    "head alone": {},
    "BitFit": {"bitfit": True},
    "LoRA r=8 on q, v": {"rank": 8, "alpha": 16.0, "targets": ["query", "value"]},
    "prefix 20": {"prefix": 20},
    "Pfeiffer 48": {"serial": 48},
    "Pfeiffer 64": {"serial": 64},
}
FULL = "full fine-tuning"
TRANSFER = ("amazon", "nyt", "tweets", "rating")
CHOOSING, FINAL = 10_000, 20_000
"""First seeds."""


@dataclasses.dataclass(frozen=True)
class Task:
    """One task, with the frozen encoder's banks of its splits, and the encoder in float32 for full fine-tuning."""

    name: str
    encoder: Encoder
    whole: Encoder
    banks: Mapping[str, Bank]
    recipe: Recipe
    most: int


def task_of(name: str, args: argparse.Namespace, encoder: Encoder, whole: Encoder) -> Task:
    found = texts.load_task(name, Path(args.archive) if args.archive else None)
    split = models.tokenizer(models.find(args.model))
    kind = torch.int64 if found.outputs > 1 else torch.float32
    banks = {}
    for part, own in found.splits.items():
        limit = args.examples if part == "train" else args.validation
        labels = torch.tensor(own.labels[:limit], dtype=kind)
        banks[part] = Bank(encoder, corpus(split(own.sentences[:limit], 64), labels))
    examples = min(args.examples, len(banks["train"].data))
    recipe = Recipe(epochs=args.epochs, examples=examples, outputs=found.outputs)
    return Task(name, encoder, whole, banks, recipe, args.most)


def packed(task: Task, runs: Sequence[Run], split: str) -> list[float]:
    """Scores on a split of layouts that are trained in packs, after the last epoch; in halves where memory ends."""
    found: list[float] = []
    n_packs = -(-len(runs) // task.most)
    for part in np.array_split(np.arange(len(runs)), n_packs):
        own = [runs[k] for k in part]
        try:
            found += _scores(task, own, split)
            continue
        except torch.cuda.OutOfMemoryError:
            if len(own) == 1:
                raise
        torch.cuda.empty_cache()
        found += packed(dataclasses.replace(task, most=-(-len(own) // 2)), own, split)
    return found


def _scores(task: Task, runs: Sequence[Run], split: str) -> list[float]:
    order = sorted(range(len(runs)), key=lambda k: runs[k].layout.first())
    own = [runs[k] for k in order]
    states = train(task.encoder, own, task.recipe, task.banks["train"], None, lambda place, epoch: False)
    pack = Pack([run.layout for run in own], states, task.encoder.device, (24, 96))
    by_place = dict(zip(order, evaluate(task.encoder, pack, task.banks[split]), strict=True))
    return [by_place[k] for k in range(len(runs))]


# --- full fine-tuning ---


def full(task: Task, plain: Layout, rate: float, seed: int, split: str) -> float:
    """Score of the whole encoder, trained with the same batches, schedule and head."""
    device, training = task.encoder.device, task.banks["train"]
    encoder = trainable(task.whole)
    run = Run(dataclasses.replace(plain, learning_rate=rate), seed)
    pack = Pack([run.layout], begin(encoder, [run], task.recipe, training), device, ())
    weights = [w for w in tensors_of(encoder) if w.requires_grad]
    optimizer = torch.optim.AdamW(weights + pack.leaves, lr=rate, weight_decay=0.0, fused=device.type == "cuda")
    shuffle = torch.Generator().manual_seed(seed % 2**63)
    recipe, labels = task.recipe, training.labels
    total, step = recipe.epochs * recipe.steps, 0
    for _ in range(recipe.epochs):
        order = torch.randperm(recipe.examples, generator=shuffle)
        for chosen in order.split(recipe.batch)[: recipe.steps]:
            for group in optimizer.param_groups:
                group["lr"] = rate * schedule(step, total, recipe.warmup)
            output, want = outputs(encoder, pack, training, chosen), labels[chosen.to(device)]
            one = recipe.outputs == 1
            loss = (output[:, 0] - want).square().mean() if one else torch.nn.functional.cross_entropy(output, want)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    return score_of(encoder, pack, task.banks[split])


def trainable(encoder: Encoder) -> Encoder:
    """The same encoder with weights that are trained."""
    layers = tuple(
        Layer(**{f.name: getattr(one, f.name).detach().clone().requires_grad_() for f in dataclasses.fields(Layer)})
        for one in encoder.layers
    )
    own = {
        name: getattr(encoder, name).detach().clone().requires_grad_()
        for name in ("words", "places", "norm_weight", "norm_bias")
    }
    return dataclasses.replace(encoder, layers=layers, **own)


def tensors_of(encoder: Encoder) -> list[torch.Tensor]:
    inside = [getattr(one, f.name) for one in encoder.layers for f in dataclasses.fields(Layer)]
    return [encoder.words, encoder.places, encoder.norm_weight, encoder.norm_bias, *inside]


def outputs(encoder: Encoder, pack: Pack, bank: Bank, chosen: torch.Tensor) -> torch.Tensor:
    """Outputs for sentences, shape (B, outputs), the encoder computed anew."""
    where, data = bank.at(chosen[None]), bank.data
    within = (torch.arange(len(data.tokens)) - data.starts.repeat_interleave(data.lengths)).to(encoder.device)
    tokens = data.tokens.to(encoder.device)

    def entry(index: int, rows: torch.Tensor) -> torch.Tensor:
        x = encoder.embed(tokens[rows], within[rows])[None]
        for k in range(index):
            x = layer(encoder, k, x, where, None)
        return x[0]

    return scores(encoder, pack, where, entry)[0]


@torch.no_grad()
def score_of(encoder: Encoder, pack: Pack, bank: Bank) -> float:
    parts = list(chunks(bank.data.lengths, 16_384))
    found = torch.cat([outputs(encoder, pack, bank, part) for part in parts]).double().cpu()
    labels = bank.data.labels[torch.cat(parts)]
    if found.shape[1] > 1:
        return float((found.argmax(1) == labels).double().mean())
    return float(torch.corrcoef(torch.stack([found[:, 0], labels.double()]))[0, 1])


# --- what is trained ---


def members_of(folders: Sequence[Path], most: int) -> list[dict[str, Any]]:
    """Members of the studies' front: of each of `most` equal parts of the range of log10_params the best score."""
    found = []
    for folder in folders:
        with tuner.Study.open(folder, read_only=True) as study:
            found += [(one.metrics["log10_params"], one.metrics["score"], one.trial, one) for one in study.pareto()]
    low, high = min(found)[0], max(found)[0]
    best: dict[int, Any] = {}
    for one in sorted(found, key=lambda one: (one[1], -one[0])):
        best[min(most - 1, int(most * (one[0] - low) / max(high - low, 1e-12)))] = one
    return [
        {"trial": trial, "config": record.config, "log10_params": size, "score": score}
        for size, score, trial, record in sorted(best.values(), key=lambda one: one[0])
    ]


def layouts_of(members: Sequence[Mapping[str, Any]], shape: Shape) -> dict[str, Layout]:
    """Name -> layout; the learning rate is that of the configuration."""
    found = {name: layout_of({"learning_rate": 1e-3, **config}, shape) for name, config in STANDARD.items()}
    return found | {f"member {k}": layout_of(one["config"], shape) for k, one in enumerate(members, start=1)}


def chosen_rates(task: Task, layouts: Mapping[str, Layout], seeds: Sequence[int]) -> dict[str, dict[str, float]]:
    """Name -> learning rate -> score on the validation split, mean over seeds."""
    plan = [
        (name, rate)
        for name, layout in layouts.items()
        for rate in sorted({*RATES, *([layout.learning_rate] if name.startswith("member") else [])})
    ]
    runs = [Run(dataclasses.replace(layouts[n], learning_rate=rate), seed) for n, rate in plan for seed in seeds]
    found = iter(packed(task, runs, "validation"))
    tables: dict[str, dict[str, float]] = {}
    for name, rate in plan:
        tables.setdefault(name, {})[repr(rate)] = fmean(next(found) for _ in seeds)
    head = layouts["head alone"]
    tables[FULL] = {repr(r): fmean(full(task, head, r, seed, "validation") for seed in seeds) for r in FULL_RATES}
    return tables


def measured(
    task: Task, layouts: Mapping[str, Layout], rates: Mapping[str, float], seeds: Sequence[int]
) -> dict[str, list[float]]:
    """Name -> score on the test split by seed."""
    runs = [Run(dataclasses.replace(one, learning_rate=rates[n]), seed) for n, one in layouts.items() for seed in seeds]
    found = packed(task, runs, "test")
    own = {name: found[k * len(seeds) : (k + 1) * len(seeds)] for k, name in enumerate(layouts)}
    return own | {FULL: [full(task, layouts["head alone"], rates[FULL], seed, "test") for seed in seeds]}


def measure(args: argparse.Namespace) -> dict[str, Any]:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    dtype = torch.bfloat16 if device.type == "cuda" else torch.float32
    whole = models.load(models.find(args.model)).to(device, torch.float32)
    encoder = whole.to(device, dtype)
    members = members_of(args.studies, args.members)
    layouts = layouts_of(members, encoder.shape)
    began = time.monotonic()

    def note(what: str) -> None:
        print(f"{time.monotonic() - began:.0f} s: {what}", flush=True)

    task = task_of("polarity", args, encoder, whole)
    tables = chosen_rates(task, layouts, [CHOOSING + k for k in range(2)])
    note(f"learning rates of {len(layouts)} layouts and of full fine-tuning")
    rates = {name: float(max(table, key=lambda rate: table[rate])) for name, table in tables.items()}
    params = {name: count(layout, encoder.shape, task.recipe.outputs) for name, layout in layouts.items()}
    params[FULL] = encoder.shape.n_params + params["head alone"]
    told: dict[str, Any] = {"members": members, "params": params, "rates": rates, "validation": tables, "test": {}}
    for name in ("polarity", *args.transfer):
        own = task if name == "polarity" else task_of(name, args, encoder, whole)
        seeds = [FINAL + k for k in range(args.seeds)]
        told["test"][name] = measured(own, layouts, rates, seeds)
        note(f"{name}, {len(seeds)} seeds, {own.recipe.examples} sentences")
        args.file.write_text(json.dumps(told), encoding="utf-8")
    return told


# --- tables ---


def rivals(told: Mapping[str, Any]) -> dict[str, str]:
    """Standard layout -> the member with no more parameters that validated best; none where there is no such."""
    best = {name: max(table.values()) for name, table in told["validation"].items()}
    found = {}
    for name in (*STANDARD, FULL):
        able = [m for m in best if m.startswith("member") and told["params"][m] <= told["params"][name]]
        if able:
            found[name] = max(able, key=lambda m: best[m])
    return found


def interval(values: Sequence[float]) -> str:
    if len(values) < 2:
        return f"{100 * values[0]:.2f}"
    found = mean(values)
    return f"{100 * found.value:.2f} ({100 * found.low:.2f} to {100 * found.high:.2f})"


def verdict(differences: Sequence[float]) -> str:
    if len(differences) < 2:
        return "?"
    found = mean(differences)
    return "better" if found.low > 0 else "worse" if found.high < 0 else "not told apart"


def differences(told: Mapping[str, Any], task: str, ours: str, theirs: str) -> list[float]:
    own = told["test"][task]
    return [a - b for a, b in zip(own[ours], own[theirs], strict=True)]


def tables(told: Mapping[str, Any]) -> None:
    own = told["test"]["polarity"]
    print("\nReview polarity in full: accuracy on the test split, %\n")
    rows = []
    for name in sorted(own, key=lambda name: told["params"][name]):
        best = f"{100 * max(told['validation'][name].values()):.2f}"
        rows.append([name, f"{told['params'][name]:,}", f"{told['rates'][name]:.1e}", best, interval(own[name])])
    print(markdown(["layout", "parameters", "learning rate", "validation", "test, mean of seeds (95%)"], rows))
    print("\nMembers\n")
    rows = [
        [f"member {k}", str(one["trial"]), f"{100 * one['score']:.2f}", describe(one["config"])]
        for k, one in enumerate(told["members"], start=1)
    ]
    print(markdown(["", "trial", "score in the search", "layout"], rows))
    print("\nAgainst the best member with no more parameters, by validation: difference on the test split, points\n")
    rows = []
    for name, member in rivals(told).items():
        found = differences(told, "polarity", member, name)
        sizes = f"{told['params'][member]:,} / {told['params'][name]:,}"
        rows.append([name, member, sizes, interval(found), verdict(found)])
    print(markdown(["standard layout", "member", "parameters", "difference (95%)", "the member is"], rows))
    tasks = [task for task in told["test"] if task != "polarity"]
    if tasks:
        transfer(told, tasks)


def transfer(told: Mapping[str, Any], tasks: Sequence[str]) -> None:
    print(
        "\nTransferred unchanged: difference on the other tasks' test splits, points; the last column over the tasks\n"
    )
    rows, every = [], []
    for name, member in rivals(told).items():
        by_task = [differences(told, task, member, name) for task in tasks]
        over = [fmean(values) for values in zip(*by_task, strict=True)]
        every.append(over)
        rows.append([name, member, *map(interval, by_task), interval(over)])
    rows.append(["mean", "", *[""] * len(tasks), interval([fmean(values) for values in zip(*every, strict=True)])])
    print(markdown(["standard layout", "member", *tasks, "mean"], rows))
    print("\nScores there, %, mean of seeds\n")
    order = sorted(told["params"], key=lambda name: told["params"][name])
    rows = [[name, *(f"{100 * fmean(told['test'][task][name]):.2f}" for task in tasks)] for name in order]
    print(markdown(["layout", *tasks], rows))


def describe(config: Mapping[str, Any]) -> str:
    sizes = ", ".join(f"{name} {config[name]}" for name in ("serial", "parallel", "prefix") if config.get(name))
    return f"{sizes} in layers {', '.join(str(k) for k in config['layers'])}, at {config['learning_rate']:.1e}"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("file", type=Path, help="where the measurements are, or go")
    parser.add_argument("--studies", type=Path, nargs="*", default=[], help="folders of studies; none: print tables")
    parser.add_argument("--members", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--transfer", default=",".join(TRANSFER), help="tasks; empty: none")
    parser.add_argument("--examples", type=int, default=2_000)
    parser.add_argument("--validation", type=int, default=2_000, help="sentences of the validation and the test split")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--most", type=int, default=80, help="layouts in one pack")
    parser.add_argument("--model", default=models.MINILM)
    parser.add_argument("--archive", default=None, help="a folder that holds the archive of sentences")
    args = parser.parse_args()
    args.transfer = [task for task in args.transfer.split(",") if task]
    tables(measure(args) if args.studies else json.loads(args.file.read_text(encoding="utf-8")))


if __name__ == "__main__":
    main()
