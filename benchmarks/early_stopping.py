"""Real early stopping: how many epochs it takes to reach what full-length random search reaches, and what audits say.

    python benchmarks/early_stopping.py race 5 50 random+asha,asha,hyperband,bohb
    python benchmarks/early_stopping.py audit 3 100
    python benchmarks/early_stopping.py front 3 60 1 true
    python benchmarks/early_stopping.py race SEEDS TRIALS METHODS
    python benchmarks/early_stopping.py audit SEEDS TRIALS
    python benchmarks/early_stopping.py front SEEDS TRIALS MIN_STEPS FEASIBLE_FIRST

Small networks on scikit-learn's digits, 27 epochs each; the score is the log loss on digits held out. `race`: random
search spends TRIALS times 27 epochs, and its best loss is the target; each method gets as many epochs and is done when
a trial with all of its 27 epochs has that loss. A line a seed and method: the epochs it took as a share of random
search's. `audit`: random search under the stopping form of asha, a fifth of the stopped trials running on as controls;
afterwards all that was stopped is trained to the end, and what the controls say is set against that. `front`: loss
against weights (in thousands), with an accuracy of 0.9 at least; the hypervolume after half of the epochs of a full run
with and without early stopping, its gap to the best that is known, and which members of the full run's front were lost.
"""

from __future__ import annotations

import itertools
import math
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from sklearn.datasets import load_digits
from sklearn.metrics import log_loss
from sklearn.neural_network import MLPClassifier

from tuner.bench.simulation import Cluster, Played, simulate
from tuner.study import Study
from tuner.views.stopping import stopping_view

EPOCHS, WORST = 27, 10.0
PARAMETERS = {
    "rate": {"min": 1e-5, "max": 0.3, "log": True},
    "decay": {"min": 1e-7, "max": 1.0, "log": True},
    "momentum": {"min": 0.5, "max": 0.99},
    "batch": {"type": "int", "min": 8, "max": 256, "log": True},
    "width": {"type": "int", "min": 8, "max": 96, "log": True},
    "depth": {"type": "int", "min": 1, "max": 3},
    "activation": {"values": ["relu", "tanh", "logistic"]},
    "epochs": EPOCHS,
}


class Digits:
    """Networks that are trained as far as somebody asks, and no further.

    Attributes:
        epochs: That were trained.
    """

    def __init__(self, seed: int) -> None:
        X, y = load_digits(return_X_y=True)
        order = np.random.default_rng(seed).permutation(len(X))
        self._train, self._judge = order[:600], order[1200:]
        self._X, self._y, self._seed = X / 16, y, seed
        self._models: dict[str, MLPClassifier] = {}
        self._losses: dict[str, list[tuple[float, float]]] = {}
        self.epochs = 0

    def __call__(self, config: dict[str, Any], epoch: int) -> dict[str, float]:
        """The loss after so many epochs; 10 at most, and from where training diverges."""
        key = repr(sorted(config.items()))
        losses = self._losses.setdefault(key, [])
        if key not in self._models:
            self._models[key] = MLPClassifier(
                (config["width"],) * config["depth"], activation=config["activation"], alpha=config["decay"],
                batch_size=config["batch"], learning_rate_init=config["rate"], beta_1=config["momentum"],
                random_state=self._seed,
            )  # fmt: skip
        while len(losses) < epoch:
            losses.append(self._epoch(self._models[key], diverged=bool(losses) and losses[-1][0] == WORST))
        return {"loss": losses[epoch - 1][0], "accuracy": losses[epoch - 1][1], "kparams": _kparams(config)}

    def _epoch(self, model: MLPClassifier, *, diverged: bool) -> tuple[float, float]:
        """Loss and accuracy after one more epoch."""
        self.epochs += 1
        if diverged:
            return WORST, 0.0
        with warnings.catch_warnings(), np.errstate(all="ignore"):
            warnings.simplefilter("ignore")
            try:
                model.partial_fit(self._X[self._train], self._y[self._train], classes=np.arange(10))
                chances, truth = model.predict_proba(self._X[self._judge]), self._y[self._judge]
                loss = float(log_loss(truth, chances))
            except ValueError:  # its weights are not finite
                return WORST, 0.0
        right = float((chances.argmax(axis=1) == truth).mean())
        return (min(loss, WORST), right) if math.isfinite(loss) else (WORST, 0.0)


def _kparams(config: dict[str, Any]) -> float:
    """Weights of a network, in thousands."""
    sizes = [64, *[config["width"]] * config["depth"], 10]
    return sum(n * m + m for n, m in itertools.pairwise(sizes)) / 1000


def sweep(method: str, seed: int, trials: int, **early_stop: Any) -> dict[str, Any]:
    """`random+RULE` is random search under a stopping rule; `bohb-gp` is bohb over a Gaussian process."""
    name, _, rule = method.partition("+")
    found: dict[str, Any] = {
        "name": "digits", "metrics": {"loss": "minimize"}, "parameters": PARAMETERS, "seed": seed,
        "search": {"method": "bohb", "model": "gp"} if name == "bohb-gp" else name,
        "budget": {"trials": trials},
    }  # fmt: skip
    if rule:
        found["early_stop"] = {"rule": rule, **early_stop}
    if name not in ("random", "sobol"):
        found["fidelity"] = {"parameter": "epochs", "min": 1, "max": EPOCHS}
    return found


def reached(study: Study, played: Played, target: float) -> float:
    """Epochs until a trial that had all of them had the target's loss; infinity when none had."""
    for _, epochs, trial in played.path:
        record = study.read(trial)
        if played.ends[trial][1] == EPOCHS and record.metrics["loss"] <= target:
            return float(epochs)
    return math.inf


def race(seeds: int, trials: int, methods: list[str]) -> None:
    shares: dict[str, list[float]] = {method: [] for method in methods}
    for seed in range(seeds):
        digits, one = Digits(seed), Cluster(workers=1, stragglers=0.0)
        full = Study.create(sweep("random", seed + 1000, trials))
        simulate(full, digits, one, steps=EPOCHS)
        best = full.best()
        assert best is not None
        target, limit = best.metrics["loss"], trials * EPOCHS
        for method in methods:
            definition = sweep(method, seed, 100 * trials)
            definition["budget"]["target"] = {"loss": target}
            study = Study.create(definition)
            played = simulate(study, digits, one, steps=EPOCHS, limit=limit)
            shares[method].append(reached(study, played, target) / limit)
            print(f"seed {seed} target {target:.4f} {method:12} {shares[method][-1]:.3f}", flush=True)
    print(f"median share of the {trials * EPOCHS} epochs of random search:")
    for method, found in shares.items():
        within = sum(share <= 1 / 3 for share in found)
        print(f"{method:12} {np.median(found):.3f}   a third or less in {within} of {len(found)}")


def audit(seeds: int, trials: int) -> None:
    for seed in range(seeds):
        digits = Digits(seed)
        study = Study.create(sweep("random+asha", seed, trials, audit=0.2))
        simulate(study, digits, Cluster(workers=1, stragglers=0.0), steps=EPOCHS)
        view, spent = stopping_view(study), digits.epochs
        assert view is not None
        stopped = list(study.records(states=("pruned",)))
        completed = sorted(r.metrics["loss"] for r in study.records(states=("completed",)))
        bar = completed[max(math.ceil(0.1 * len(completed)) - 1, 0)]
        ends = [digits(record.config, EPOCHS)["loss"] for record in stopped]
        lost, good = np.mean([end < completed[0] for end in ends]), np.mean([end <= bar for end in ends])
        print(f"seed {seed}: {view.stopped} stopped, {view.judged} controls; {spent} epochs of {trials * EPOCHS}")
        for what, said, true in (
            ("would have been best", view.false_stops, lost),
            ("in the best tenth", view.good_stops, good),
            ("epochs saved", view.saved_steps, digits.epochs - spent),
        ):
            if said is not None:
                print(f"  {what:20} said {said.value:.3g} ({said.low:.3g} to {said.high:.3g}), true {true:.3g}")


GOALS: dict[str, Any] = {
    "loss": {"goal": "minimize", "reference": 1.0},
    "kparams": {"goal": "minimize", "reference": 30.0},
    "accuracy": {"min": 0.9},
}


def front(seeds: int, trials: int, **early_stop: Any) -> None:
    lost = members = 0
    for seed in range(seeds):
        digits, one, half = Digits(seed), Cluster(workers=1, stragglers=0.0), trials * EPOCHS // 2
        full = Study.create({**sweep("random", seed, trials), "metrics": GOALS})
        simulate(full, digits, one, steps=EPOCHS)
        volumes = {}
        for method in ("random", "random+asha"):
            study = Study.create({**sweep(method, seed, 100 * trials, **early_stop), "metrics": GOALS})
            simulate(study, digits, one, steps=EPOCHS, limit=half)
            volumes[method] = study.hypervolume()[0]
        stopped = Study.create({**sweep("random+asha", seed, trials, **early_stop), "metrics": GOALS})
        played = simulate(stopped, digits, one, steps=EPOCHS)
        best = {record.trial for record in full.pareto()}
        gone = {trial for trial in best if stopped.read(trial).state == "pruned"}
        lost, members = lost + len(gone), members + len(best)
        print(
            f"seed {seed}: hypervolume at half {volumes['random']:.3f}, with asha {volumes['random+asha']:.3f}, "
            f"full run {full.hypervolume()[0]:.3f}; the same {trials} trials took {played.steps} of {trials * EPOCHS} "
            f"epochs with asha and lost {len(gone)} of {len(best)} members of the front",
            flush=True,
        )
    print(f"lost {lost} of {members}")


if __name__ == "__main__":
    if sys.argv[1] == "race":
        race(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4].split(","))
    elif sys.argv[1] == "front":
        front(int(sys.argv[2]), int(sys.argv[3]), min_steps=int(sys.argv[4]), feasible_first=sys.argv[5] == "true")
    else:
        audit(int(sys.argv[2]), int(sys.argv[3]))
