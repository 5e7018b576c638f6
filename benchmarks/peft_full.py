"""From a cheap search to layouts that hold in full: a second stage, finalists, and then the test split, once.

    python benchmarks/peft_full.py OUT --low STUDIES/auto-0          # a GPU: five minutes
    python benchmarks/peft_full.py OUT                               # the tables again

Processes side by side, each of which writes to OUT what it found:

1. `autopeft`: the layouts of the cheap study (`benchmarks/peft_search.py`) that come nearest to its front, four in each
   of six ranges of size, are the first trials (`initial`) of a study in which every trial is trained in full, 2,000
   sentences of review polarity and 3 epochs; it learns from the cheap study besides (`warm_start`). `survey`: a study
   in full of the space that has LoRA, BitFit and IA3 too; three of the standard layouts are its first trials. Both:
   `search: auto`, one score a trial, passes of 32.
2. `members`: of both studies the best four in each range, trained with two fresh seeds; then of each study the best
   three with no more parameters than each standard layout, with four seeds more. The best of these by the mean is the
   standard layout's rival. Layouts equal to a standard one are left out.
3. `standard` and `full`: the standard layouts' learning rates, each with two seeds; the grid is carried on while its
   end is best.
4. Five fresh seeds on the test split, and on the other tasks, unchanged. Intervals: Student's t at 95%, of differences
   between the same seeds.

Layouts and learning rates are chosen by accuracy on the validation split and on all training sentences that are not
trained on, 6,041 sentences together; the test split chooses nothing.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tuner.objectives.peft import models, peft, texts
from tuner.objectives.peft.batches import Bank, corpus
from tuner.objectives.peft.layouts import Layout, Shape, count, layout_of
from tuner.objectives.peft.training import Run

import tuner
from benchmarks.peft_front import (
    FULL,
    FULL_RATES,
    RATES,
    STANDARD,
    TRANSFER,
    Task,
    full,
    interval,
    markdown,
    packed,
    task_of,
    verdict,
)
from benchmarks.peft_search import carry_on

GRID = (*RATES, 3e-2)
CHOOSING, FINAL = 40_000, 50_000
"""First seeds."""
TRIALS = {"autopeft": 96, "survey": 160}
PER_RANGE, KEPT = 4, 3
ROUNDS = (2, 4)
"""Seeds of the two rounds of `members`."""
EVERY_LAYER = list(range(6))
KNOWN: tuple[dict[str, Any], ...] = (
    {"method": "bitfit", "layers": EVERY_LAYER, "learning_rate": 1e-2},
    {"method": "serial", "size": 48, "layers": EVERY_LAYER, "bitfit": False, "learning_rate": 3e-3},
    {
        "method": "lora",
        "rank": 8,
        "alpha": 16.0,
        "targets": ["query", "value"],
        "layers": EVERY_LAYER,
        "bitfit": False,
        "learning_rate": 3e-3,
    },
)
"""BitFit, Pfeiffer 48 and LoRA as `survey` says them."""


# --- what is trained ---


def standard(shape: Shape) -> dict[str, Layout]:
    return {name: layout_of({"learning_rate": 1e-3, **config}, shape) for name, config in STANDARD.items()}


def sizes(shape: Shape) -> dict[str, int]:
    """Standard layout -> trained parameters, full fine-tuning's among them; without the head alone."""
    found = {name: count(layout, shape, 2) for name, layout in standard(shape).items()}
    head = found.pop("head alone")
    return dict(sorted((found | {FULL: shape.n_params + head}).items(), key=lambda one: one[1]))


def same(first: Layout, second: Layout) -> bool:
    """Whether two layouts differ in nothing but the learning rate."""
    return dataclasses.replace(first, learning_rate=second.learning_rate) == second


def near_front(folder: Path, shape: Shape, each: int) -> list[dict[str, Any]]:
    """Of a study's trials the best `each` by score between the sizes of one standard layout and the next."""
    edges = sorted(sizes(shape).values())
    ranges: dict[int, list[tuple[float, float, int, dict[str, Any]]]] = {}
    with tuner.Study.open(folder, read_only=True) as study:
        for one in study.records(states=("completed",)):
            layout, config = layout_of(one.config, shape), dict(one.config)
            params = count(layout, shape, 2)
            if params <= edges[-1] and not any(same(layout, other) for other in standard(shape).values()):
                place = int(np.searchsorted(edges, params))
                ranges.setdefault(place, []).append((one.metrics["score"], -params, one.trial, config))
    return [
        {"study": folder.name, "trial": trial, "config": config, "params": -params, "score": score}
        for place in sorted(ranges)
        for score, params, trial, config in sorted(ranges[place], key=lambda one: one[:3], reverse=True)[:each]
    ]


def search(args: argparse.Namespace, space: str) -> None:
    """A study in full of one space."""
    given = {name: getattr(args, name) for name in ("model", "examples", "validation", "epochs", "archive")}
    options = given | {"task": "polarity", "space": space}
    objective = peft.build(**options)
    sweep: dict[str, Any] = {
        "name": space,
        "objective": {"name": "peft", **options},
        "metrics": {
            "score": {"goal": "maximize", "reference": 0.5},
            "log10_params": {"goal": "minimize"},
            "params_k": {},
        },
        "search": "auto",
        "budget": {"trials": min(TRIALS[space], args.trials)},
        "runner": {"batch": args.batch},
        "seed": 0,
    }
    if space == "autopeft":
        near = near_front(args.low, objective.shape, PER_RANGE)
        sweep |= {"initial": [one["config"] for one in near], "warm_start": [str(args.low.absolute())]}
    else:
        sweep["initial"] = list(KNOWN)
    carry_on(tuner.Study.create(sweep, args.out / space), objective, batch=args.batch, seed=7, name=space)


def polarity(args: argparse.Namespace) -> Task:
    """Review polarity, and in `choice` the validation split with the training sentences that are not trained on."""
    task = tasks(args, "polarity")
    found = texts.load_task("polarity", Path(args.archive) if args.archive else None).splits
    split = models.tokenizer(models.find(args.model))
    validation, training = found["validation"], found["train"]
    part = slice(args.examples, args.examples + args.spare)
    sentences = [*validation.sentences[: args.validation], *training.sentences[part]]
    labels = [*validation.labels[: args.validation], *training.labels[part]]
    bank = Bank(task.encoder, corpus(split(sentences, 64), torch.tensor(labels, dtype=torch.int64)))
    return dataclasses.replace(task, banks={**task.banks, "choice": bank})


def tasks(args: argparse.Namespace, name: str) -> Task:
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.backends.cuda.matmul.allow_tf32 = True
    whole = models.load(models.find(args.model)).to(device, torch.float32)
    encoder = whole.to(device, torch.bfloat16 if device.type == "cuda" else torch.float32)
    return task_of(name, args, encoder, whole)


def with_rate(layout: Layout, rate: float) -> Layout:
    return dataclasses.replace(layout, learning_rate=rate)


# --- choosing ---


def members(args: argparse.Namespace) -> None:
    """The finalists of both studies, in two rounds; each standard layout's rivals among them."""
    task = polarity(args)
    shape = task.encoder.shape
    found = [one for space in TRIALS for one in near_front(args.out / space, shape, PER_RANGE)]
    for k, one in enumerate(found):
        one |= {"name": f"{one['study']} {one['trial']}", "place": k, "choice": []}
    began = 0
    left = found
    for n in ROUNDS:
        seeds = [CHOOSING + began + k for k in range(n)]
        runs = [Run(layout_of(one["config"], shape), seed) for one in left for seed in seeds]
        values = iter(packed(task, runs, "choice"))
        for one in left:
            one["choice"] += [next(values) for _ in seeds]
        began += n
        chosen = {
            one["place"]
            for space in TRIALS
            for most in sizes(shape).values()
            for one in best([one for one in left if one["study"] == space], most)[:KEPT]
        }
        left = [one for one in left if one["place"] in chosen]
        print(f"{len(left)} are left", flush=True)
    write(args.out / "members.json", {"found": found, "left": [one["place"] for one in left]})


def best(found: Sequence[dict[str, Any]], most: int) -> list[dict[str, Any]]:
    """Those with at most so many parameters, best first."""
    return sorted((one for one in found if one["params"] <= most), key=lambda one: -fmean(one["choice"]))


def rivals(told: Mapping[str, Any], most: Mapping[str, int], studies: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Standard layout -> the finalist with no more parameters that was best on the sentences for choosing."""
    left = [told["found"][place] for place in told["left"]]
    able = {name: best([one for one in left if one["study"] in studies], size) for name, size in most.items()}
    return {name: found[0] for name, found in able.items() if found}


def rate_of(grid: Sequence[float], score: Callable[[Sequence[float]], list[float]]) -> tuple[float, dict[str, float]]:
    """The best learning rate, and the scores; the grid is carried on, by a factor of three, while its end is best."""
    found = dict(zip(grid, score(grid), strict=True))
    while len(found) < 10:
        best_rate = max(found, key=lambda rate: found[rate])
        ends = {max(found): 3.0, min(found): 1 / 3}
        if best_rate not in ends:
            break
        new = float(f"{best_rate * ends[best_rate]:.1e}")
        found[new] = score([new])[0]
    best_rate = max(found, key=lambda rate: found[rate])
    return best_rate, {repr(rate): found[rate] for rate in sorted(found)}


def standards(args: argparse.Namespace) -> None:
    """Learning rates of the standard layouts, and then their scores on all tasks."""
    task = polarity(args)
    layouts = standard(task.encoder.shape)
    seeds = [CHOOSING + k for k in range(ROUNDS[0])]
    plan = [(name, rate) for name in layouts for rate in GRID]
    runs = [Run(with_rate(layouts[name], rate), seed) for name, rate in plan for seed in seeds]
    values = np.array(packed(task, runs, "choice")).reshape(len(plan), -1).mean(1)
    first = dict(zip(plan, values.tolist(), strict=True))
    rates, tables = {}, {}
    for name, layout in layouts.items():

        def score(grid: Sequence[float], name: str = name, layout: Layout = layout) -> list[float]:
            if all((name, rate) in first for rate in grid):
                return [first[name, rate] for rate in grid]
            own = [Run(with_rate(layout, rate), seed) for rate in grid for seed in seeds]
            return [float(one) for one in np.array(packed(task, own, "choice")).reshape(len(grid), -1).mean(1)]

        rates[name], tables[name] = rate_of(GRID, score)
    print(f"rates {rates}", flush=True)
    told: dict[str, Any] = {"rates": rates, "tables": tables, "test": {}}
    chosen = {name: with_rate(layout, rates[name]) for name, layout in layouts.items()}
    for name in ("polarity", *TRANSFER):
        told["test"][name] = measured(args, task if name == "polarity" else tasks(args, name), chosen)
        write(args.out / "standard.json", told)


def wholly(args: argparse.Namespace) -> None:
    """Full fine-tuning: its learning rate, and its scores on all tasks."""
    task = polarity(args)
    plain = standard(task.encoder.shape)["head alone"]
    seeds = [CHOOSING + k for k in range(ROUNDS[0])]

    def score(grid: Sequence[float]) -> list[float]:
        return [fmean(full(task, plain, rate, seed, "choice") for seed in seeds) for rate in grid]

    rate, table = rate_of(FULL_RATES, score)
    print(f"rate {rate}", flush=True)
    told: dict[str, Any] = {"rates": {FULL: rate}, "tables": {FULL: table}, "test": {}}
    for name in ("polarity", *TRANSFER):
        own = task if name == "polarity" else tasks(args, name)
        told["test"][name] = {FULL: [full(own, plain, rate, FINAL + k, "test") for k in range(args.seeds)]}
        write(args.out / "full.json", told)


def measured(args: argparse.Namespace, task: Task, layouts: Mapping[str, Layout]) -> dict[str, list[float]]:
    """Name -> score on the test split by seed."""
    runs = [Run(layout, FINAL + k) for layout in layouts.values() for k in range(args.seeds)]
    values = iter(packed(task, runs, "test"))
    return {name: [next(values) for _ in range(args.seeds)] for name in layouts}


def finals(args: argparse.Namespace, name: str) -> None:
    """All rivals on the test split of one task."""
    task = tasks(args, name)
    shape = task.encoder.shape
    told = json.loads((args.out / "members.json").read_text(encoding="utf-8"))
    able = {
        one["name"]: layout_of(one["config"], shape)
        for studies in ((*TRIALS,), ("autopeft",))
        for one in rivals(told, sizes(shape), studies).values()
    }
    write(args.out / f"final-{name}.json", measured(args, task, able))


def write(file: Path, told: Mapping[str, Any]) -> None:
    file.write_text(json.dumps(told), encoding="utf-8")


# --- processes ---

PARTS: dict[str, tuple[tuple[str, ...], Callable[[argparse.Namespace], None]]] = {
    "autopeft": ((), lambda args: search(args, "autopeft")),
    "survey": ((), lambda args: search(args, "survey")),
    "members": (("autopeft", "survey"), members),
    **{
        f"final-{name}": (("members",), lambda args, name=name: finals(args, name))  # type: ignore[misc]
        for name in ("polarity", *TRANSFER)
    },
    "standard": ((), standards),
    "full": ((), wholly),
}
"""Part -> the parts that come before, and what is done."""


def run(args: argparse.Namespace) -> bool:
    """Every part that is not done, in a process of its own, as soon as those before it are; whether all are."""
    args.out.mkdir(parents=True, exist_ok=True)
    began, ends = time.monotonic(), time.monotonic() + args.limit
    names = ("low", "examples", "validation", "spare", "epochs", "seeds", "batch", "trials", "most", "model", "archive")
    words = [f"--{name}={getattr(args, name)}" for name in names if getattr(args, name) is not None]
    environment = {"OMP_NUM_THREADS": "2", "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True", **os.environ}
    running: dict[str, subprocess.Popen[bytes]] = {}
    codes = {part: 0 for part in PARTS if (args.out / f"{part}.done").exists()}
    try:
        while len(codes) < len(PARTS) and time.monotonic() < ends:
            for part, (before, _) in PARTS.items():
                new = part not in codes and part not in running and len(running) < args.jobs
                if new and all(codes.get(one) == 0 for one in before):
                    with (args.out / f"{part}.txt").open("wb") as log:
                        command = [sys.executable, __file__, str(args.out), *words, f"--part={part}"]
                        running[part] = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
            if not running:
                break
            for part, process in [*running.items()]:
                if (code := process.poll()) is not None:
                    codes[part] = code
                    del running[part]
                    if code == 0:
                        (args.out / f"{part}.done").touch()
                    print(
                        f"{time.monotonic() - began:.0f} s: {part} {'is done' if code == 0 else 'failed'}", flush=True
                    )
            time.sleep(0.2)
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()
    return len(codes) == len(PARTS) and not any(codes.values())


# --- tables ---


def tables(out: Path, shape: Shape, low: Path | None) -> None:
    """What was found, as far as it was."""
    told = {file.stem: json.loads(file.read_text(encoding="utf-8")) for file in sorted(out.glob("*.json"))}
    most = sizes(shape)
    for part in ("standard", "full"):
        for name, table in told.get(part, {}).get("tables", {}).items():
            found = ", ".join(f"{float(rate):.0e}: {100 * score:.2f}" for rate, score in table.items())
            print(f"{name}: learning rate {told[part]['rates'][name]:.0e} of {found}")
    if "members" in told:
        finalists(told["members"])
    if low is not None and (out / "autopeft").exists():
        fidelity(low, out / "autopeft", shape)
    if not {"members", "standard", "full", "final-polarity"} <= told.keys():
        return
    scores = {
        task: told["standard"]["test"].get(task, {}) | told["full"]["test"].get(task, {}) | told[f"final-{task}"]
        for task in ("polarity", *TRANSFER)
        if f"final-{task}" in told and task in told["full"]["test"] and task in told["standard"]["test"]
    }
    for studies in (("autopeft",), (*TRIALS,)):
        print(f"\nRivals out of {' and '.join(studies)}: difference in points on the test split (95%)\n")
        against(rivals(told["members"], most, studies), most, scores)
    print("\nScores on test splits, %, mean of seeds\n")
    params = (
        most | {"head alone": 2 * (shape.hidden + 1)} | {one["name"]: one["params"] for one in told["members"]["found"]}
    )
    order = sorted(scores["polarity"], key=lambda name: params[name])
    rows = [
        [name, f"{params[name]:,}", *(interval(scores[task][name]) if task == "polarity" else
         f"{100 * fmean(scores[task][name]):.2f}" for task in scores)]
        for name in order
    ]  # fmt: skip
    print(markdown(["layout", "parameters", *scores], rows))


def finalists(told: Mapping[str, Any]) -> None:
    print("\nFinalists: accuracy on the sentences for choosing, mean of fresh seeds\n")
    left = [told["found"][place] for place in told["left"]]
    rows = [
        [
            one["name"],
            f"{one['params']:,}",
            f"{100 * one['score']:.2f}",
            f"{100 * fmean(one['choice']):.2f}",
            described(one["config"]),
        ]
        for one in sorted(left, key=lambda one: one["params"])
    ]
    print(markdown(["", "parameters", "score in the study", "fresh", "layout"], rows))
    spread = [stdev(one["choice"]) for one in left if len(one["choice"]) > 2]
    if spread:
        print(f"\nStandard deviation between seeds: {100 * float(np.sqrt(np.mean(np.square(spread)))):.2f} points")


def fidelity(low: Path, folder: Path, shape: Shape) -> None:
    """How the cheap scores of the layouts that were tried first agree with their scores in full."""
    with tuner.Study.open(folder, read_only=True) as study:
        own = {
            json.dumps(dict(one.config), sort_keys=True): one.metrics["score"]
            for one in study.records(states=("completed",))
        }
    near = near_front(low, shape, PER_RANGE)
    pairs = [
        (o["params"], o["score"], own[key]) for o in near if (key := json.dumps(o["config"], sort_keys=True)) in own
    ]
    for name, part in (
        ("all", pairs),
        ("up to 30,000 parameters", [one for one in pairs if one[0] <= 30_000]),
        ("more", [one for one in pairs if one[0] > 30_000]),
    ):
        if len(part) > 3:
            _, cheap, dear = np.array(part).T
            ranks = [np.argsort(np.argsort(values)) for values in (cheap, dear)]
            print(f"\nRank correlation of cheap and full scores, {name} ({len(part)}): {np.corrcoef(*ranks)[0, 1]:.2f}")


def against(
    found: Mapping[str, Mapping[str, Any]], most: Mapping[str, int], scores: Mapping[str, Mapping[str, list[float]]]
) -> None:
    rows, every = [], []
    others = [task for task in scores if task != "polarity"]
    for name, one in found.items():
        by_task = {
            task: [a - b for a, b in zip(own[one["name"]], own[name], strict=True)] for task, own in scores.items()
        }
        here = by_task.pop("polarity")
        over = [fmean(values) for values in zip(*by_task.values(), strict=True)]
        every.append(over)
        sizes_ = f"{one['params']:,} / {most[name]:,}"
        ahead = [interval(by_task[task]) for task in others] + [interval(over)] if others else []
        rows.append([name, one["name"], sizes_, interval(here), verdict(here), *ahead])
    head = ["standard layout", "rival", "parameters", "polarity", "the rival is", *others, "mean of the others"]
    if not rows:
        return
    if others:
        over = [fmean(values) for values in zip(*every, strict=True)]
        rows.append(["mean", *[""] * (4 + len(others)), interval(over)])
    print(markdown(head[: len(rows[0])], rows))


def described(config: Mapping[str, Any]) -> str:
    plain = {name: value for name, value in config.items() if value not in (0, False, None)}
    return ", ".join(
        f"{name} {value:.3g}" if isinstance(value, float) else f"{name} {value}" for name, value in plain.items()
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("out", type=Path, help="where studies and measurements go")
    parser.add_argument("--low", type=Path, default=None, help="the cheap study; none: print the tables")
    parser.add_argument("--part", choices=tuple(PARTS), default=None, help="this part alone, in this process")
    parser.add_argument("--jobs", type=int, default=7, help="processes at a time")
    parser.add_argument("--limit", type=float, default=1e9, help="seconds after which what runs is ended")
    parser.add_argument("--trials", type=int, default=10**6, help="of each study, at most")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--examples", type=int, default=2_000)
    parser.add_argument("--validation", type=int, default=2_000, help="sentences of the validation and the test split")
    parser.add_argument("--spare", type=int, default=10_000, help="training sentences that choose, at most")
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--most", type=int, default=60, help="layouts in one pack")
    parser.add_argument("--model", default=models.MINILM)
    parser.add_argument("--archive", default=None, help="a folder that holds the archive of sentences")
    args = parser.parse_args()
    if args.part is not None:
        PARTS[args.part][1](args)
        return
    whole = run(args) if args.low is not None else True
    tables(args.out, models.shape_of(models.find(args.model)), args.low)
    sys.exit(0 if whole else 1)


if __name__ == "__main__":
    main()
