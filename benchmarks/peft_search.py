"""Search for layouts of parameter-efficient fine-tuning: `auto` against random search, Optuna's TPE and its NSGA-II.

    python benchmarks/peft_search.py run OUT --trials 16 --examples 64 --epochs 1   # two cores: does it work?
    python benchmarks/peft_search.py run OUT --jobs 16 --limit 540                  # a GPU; again: goes on
    python benchmarks/peft_search.py table OUT --json OUT/search.json

`peft/autopeft` on review polarity: accuracy against log10 of the trained parameters. Every method gets the same trials,
the same batch and the same first trial, and trains its layouts with the same seeds. Fidelity is low: a part of the
sentences, fewer epochs. Each run is a study under OUT, which `tuner pareto` and `tuner report` read, in a process of
its own. `tpe` and `nsga2` are Optuna's samplers with Optuna's own defaults.

The table: hypervolume after so many trials from (accuracy 0.5, all parameters of the encoder), which is what a coin and
full fine-tuning have, mean over seeds and its ratio to each rival's; the same from AutoPEFT's corner, a share of 26% of
the parameters and an accuracy of 0.70; seconds that suggestions took. The ceiling is what all trials of all studies
have together; the noise of a score is the standard deviation that pairs of trials show which have the same layout and
learning rates at most 12% apart.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from tuner.objectives.peft import models, peft

import tuner
from tuner.bench.methods import parse_method
from tuner.pareto import hypervolume, non_dominated
from tuner.trial import Failure, Outcome, Trial

OPTIONS = {"tpe": {"multivariate": False}}
"""Optuna's own defaults where those of our door to it are others."""

SHARE, SCORE = 0.26, 0.70
AT = (50, 100, 150, 200)


def objective_of(args: argparse.Namespace) -> dict[str, Any]:
    """The objective's section of a sweep, with paths that do not depend on where the benchmark is started."""
    found = {name: getattr(args, name) for name in ("model", "examples", "validation", "epochs")}
    return found | {"task": "polarity", "space": "autopeft", "archive": args.archive}


def sweep_of(args: argparse.Namespace, method: str, seed: int) -> dict[str, Any]:
    name, options = parse_method(method)
    return {
        "name": f"{name}-{seed}",
        "objective": {"name": "peft", **objective_of(args)},
        "metrics": {
            "score": {"goal": "maximize", "reference": 0.5},
            "log10_params": {"goal": "minimize"},
            "params_k": {},
            "train_s": {},
        },
        "search": {"method": name, **OPTIONS.get(name, {}), **options},
        "budget": {"trials": args.trials},
        "runner": {"batch": args.batch},
        "seed": seed,
    }


def folder_of(out: Path, method: str, seed: int) -> Path:
    return out / f"{method.replace(':', '-').replace('=', '-')}-{seed}"


def search(args: argparse.Namespace, method: str, seed: int) -> None:
    """One study to its end, batch by batch; from where it was when it has begun."""
    folder = folder_of(args.out, method, seed)
    objective = peft.build(**objective_of(args))
    if (folder / "sweep.yaml").exists():
        study = tuner.Study.open(folder)
        for record in list(study.records(states=("running",))):  # of a process that was ended
            study.requeue(record.trial, "its process ended")
    else:
        study = tuner.Study.create(sweep_of(args, method, seed), folder)
    carry_on(study, objective, batch=args.batch, seed=seed, name=f"{method} {seed}")


def carry_on(study: tuner.Study, objective: peft.Peft, *, batch: int, seed: int, name: str) -> None:
    """Ask, train and tell until the budget is spent."""
    with study:
        while proposals := study.ask(batch):
            trials = [Trial(number=one.trial, seed=training_seed(seed, one.trial)) for one in proposals]
            began = time.time()
            results = trained(objective, [one.config for one in proposals], trials)
            ran = (began, time.time())
            for one, result in zip(proposals, results, strict=True):
                study.finish(one.trial, outcome(study, result), ran=ran)
            print(f"{name}: {one.trial + 1} trials, {ran[1] - ran[0]:.1f} s a batch", flush=True)


def trained(objective: peft.Peft, configs: Sequence[Mapping[str, Any]], trials: Sequence[Trial]) -> list[peft.Result]:
    """What came of the trials of a pass; in two halves where memory does not suffice."""
    try:
        return objective.evaluate_batch(configs, trials)
    except torch.cuda.OutOfMemoryError:
        if len(configs) == 1:
            raise
    torch.cuda.empty_cache()
    half = len(configs) // 2
    return trained(objective, configs[:half], trials[:half]) + trained(objective, configs[half:], trials[half:])


def training_seed(seed: int, trial: int) -> int:
    """The same for every method: what differs between methods is the layouts."""
    return 1_000_003 * (seed + 1) + trial


def outcome(study: tuner.Study, result: Mapping[str, float] | Exception | None) -> Outcome:
    if isinstance(result, Exception) or result is None or not math.isfinite(result["score"]):
        return Outcome(state="failed", failure=Failure(kind="bad_metric", message=str(result)[:200]))
    return Outcome(state="completed", metrics={name: result[name] for name in study.sweep.metrics})


def run(args: argparse.Namespace) -> None:
    """Every method and seed, each in a process; those that run when the time is over are ended, and go on next time."""
    ends = time.monotonic() + args.limit
    models.find(args.model)
    waiting = [(method, seed) for seed in args.seeds for method in args.methods]
    running: list[subprocess.Popen[bytes]] = []
    words = [
        f"--{name}={getattr(args, name)}" for name in ("trials", "batch", "model", "examples", "validation", "epochs")
    ]
    words += [f"--archive={args.archive}"] if args.archive else []
    args.out.mkdir(parents=True, exist_ok=True)
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    try:
        while (waiting or running) and time.monotonic() < ends:
            while waiting and len(running) < args.jobs:
                method, seed = waiting.pop(0)
                one = [
                    sys.executable,
                    __file__,
                    "one",
                    str(args.out),
                    *words,
                    "--methods",
                    method,
                    "--seeds",
                    str(seed),
                ]
                running.append(subprocess.Popen(one, env=environment, stdin=subprocess.DEVNULL))
            running = [process for process in running if process.poll() is None]
            time.sleep(0.2)
    finally:
        for process in running:
            process.terminate()
        for process in running:
            process.wait()


# --- what came of it ---


def tried(folder: Path) -> dict[str, Any]:
    """Score and log10 of the parameters of every trial in the order of numbers, and seconds of suggestions."""
    with tuner.Study.open(folder, read_only=True) as study:
        records = [record for record in study.records() if record.state == "completed"]
        finished = [record for record in study.records() if record.finished_at is not None]
    return {
        "score": [record.metrics["score"] for record in records],
        "log10_params": [record.metrics["log10_params"] for record in records],
        "number": [record.trial for record in records],
        "config": [record.config for record in records],
        "engine": [record.provenance.engine for record in records],
        "suggest_s": sum(record.provenance.seconds for record in records),
        "trials": len(finished),
        "wall_s": max((r.finished_at or 0.0 for r in finished), default=0.0)
        - min((r.started_at or 0.0 for r in finished), default=0.0),
    }


def volume(found: Mapping[str, Any], n: int, corner: tuple[float, float]) -> float:
    """Hypervolume of the first n trials; `corner` is (score, log10 of the parameters)."""
    known = [k for k, number in enumerate(found["number"]) if number < n]
    Y = np.array([[found["score"][k], -found["log10_params"][k]] for k in known])
    own = np.array([corner[0], -corner[1]])
    Y = Y[(own < Y).all(axis=1)] if len(Y) else Y
    return float(hypervolume(Y[non_dominated(Y)], own)) if len(Y) else 0.0


def limits(runs: Sequence[Mapping[str, Any]], corners: Mapping[str, tuple[float, float]]) -> list[str]:
    """What all trials reach together, and how much of a score is chance."""
    n = sum(len(run["score"]) for run in runs)
    every = {name: [one for run in runs for one in run[name]] for name in ("score", "log10_params", "config")}
    lines = [
        f"\nThe front of all {n} trials, from {name}: {volume({**every, 'number': range(n)}, n, corner):.4f}"
        for name, corner in corners.items()
    ]
    alike: dict[str, list[tuple[float, float]]] = {}
    for config, score in zip(every["config"], every["score"], strict=True):
        if config["learning_rate"] > 2e-3:
            layout = repr([config[name] for name in ("serial", "parallel", "prefix", "layers")])
            alike.setdefault(layout, []).append((math.log10(config["learning_rate"]), score))
    apart = [
        first[1] - second[1]
        for group in alike.values()
        for first, second in itertools.combinations(group, 2)
        if abs(first[0] - second[0]) < 0.05
    ]
    if apart:
        noise = float(np.sqrt(np.mean(np.square(apart)) / 2))
        lines.append(f"\nNoise of a score: {noise:.4f}, from {len(apart)} pairs with a rate above 2e-3")
    return lines


def table(args: argparse.Namespace) -> None:
    n_params = models.shape_of(models.find(args.model)).n_params
    corners = {
        "a coin and all parameters": (0.5, math.log10(n_params)),
        f"accuracy {SCORE:g} and {SHARE:.0%} of the parameters": (SCORE, math.log10(SHARE * n_params)),
    }
    found = {
        (method, seed): tried(folder_of(args.out, method, seed))
        for method in args.methods
        for seed in args.seeds
        if (folder_of(args.out, method, seed) / "sweep.yaml").exists()
    }
    found = {key: run for key, run in found.items() if run["trials"]}
    methods = [method for method in args.methods if any(one == method for one, _ in found)]
    told: dict[str, Any] = {"corners": {}, "runs": {f"{m}-{s}": run for (m, s), run in found.items()}}
    counts = [n for n in AT if n <= args.trials] or [args.trials]
    for name, corner in corners.items():
        volumes = {
            method: {n: [volume(run, n, corner) for (own, _), run in found.items() if own == method] for n in counts}
            for method in methods
        }
        told["corners"][name] = {"corner": corner, "volumes": volumes}
        print(f"\nHypervolume from {name} ({corner[0]:g}, {corner[1]:.3f}): means, then each seed's\n")
        rows = [
            [method, *(f"{fmean(each[n]):.4f}" for n in counts), " ".join(f"{v:.4f}" for v in each[counts[-1]])]
            for method, each in volumes.items()
        ]
        print(markdown(["method", *(f"{n} trials" for n in counts), "seeds"], rows))
        if "auto" in volumes:
            print("\n`auto`'s as a multiple\n")
            rows = [
                [f"of {method}'s", *(f"{fmean(volumes['auto'][n]) / max(fmean(each[n]), 1e-12):.3f}" for n in counts)]
                for method, each in volumes.items()
                if method != "auto"
            ]
            print(markdown(["", *(f"{n} trials" for n in counts)], rows))
    for line in limits(list(found.values()), corners):
        print(line)
    print("\nSeconds of a run\n")
    rows = [
        [f"{m} {s}", str(r["trials"]), f"{r['wall_s']:.0f}", f"{r['suggest_s']:.1f}", f"{max(r['score']):.4f}"]
        for (m, s), r in found.items()
    ]
    print(markdown(["study", "trials", "wall", "suggestions", "best score"], rows))
    if args.json:
        args.json.write_text(json.dumps(told), encoding="utf-8")


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("what", choices=("run", "one", "table"))
    parser.add_argument("out", type=Path, help="the folder of the studies")
    parser.add_argument("--methods", default="auto,random,tpe,nsga2")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--trials", type=int, default=200)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--examples", type=int, default=800, help="sentences to train on")
    parser.add_argument("--validation", type=int, default=2_000, help="sentences to score on")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--jobs", type=int, default=1, help="studies at a time")
    parser.add_argument("--limit", type=float, default=math.inf, help="seconds after which what runs is ended")
    parser.add_argument("--model", default=models.MINILM)
    parser.add_argument("--archive", default=None, help="a folder that holds the archive of sentences")
    parser.add_argument("--json", type=Path, default=None)
    args = parser.parse_args()
    args.methods, args.seeds = args.methods.split(","), [int(seed) for seed in args.seeds.split(",")]
    match args.what:
        case "run":
            run(args)
            table(args)
        case "one":
            search(args, args.methods[0], args.seeds[0])
        case _:
            table(args)


if __name__ == "__main__":
    main()
