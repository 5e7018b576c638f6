"""`tuner init`: a first sweep and the script it runs, small enough to be read in a minute."""

from __future__ import annotations

from pathlib import Path

from tuner.errors import UsageError

SWEEP = """\
# A first sweep. Run it with: tuner run sweep.yaml
name: first
command: [python, train.py, "${args}"]
metrics:
  loss: {goal: minimize}
parameters:
  lr: {min: 1e-4, max: 1.0, log: true}
  optimizer: {values: [sgd, adam]}
  momentum: {min: 0.0, max: 0.99, when: "optimizer == 'sgd'"}
budget: {trials: 20}
"""

TRAIN = '''\
"""Pretends to train: a bowl with its minimum at lr=0.1, better with adam. Put your own training here."""

import argparse
import math

import tuner

parser = argparse.ArgumentParser()
parser.add_argument("--lr", type=float, required=True)
parser.add_argument("--optimizer", required=True)
parser.add_argument("--momentum", type=float, default=0.0)
args = parser.parse_args()

loss = (math.log10(args.lr) + 1.0) ** 2 + (0.2 if args.optimizer == "sgd" else 0.0) + 0.1 * (args.momentum - 0.9) ** 2
print(f"loss {loss:.4f}")
tuner.report(loss=loss)
'''


def write_first_sweep(directory: Path, *, force: bool = False) -> list[Path]:
    """Write `sweep.yaml` and `train.py`; returns the files.

    Raises:
        UsageError: One of them exists and `force` is not set.
    """
    files = {directory / "sweep.yaml": SWEEP, directory / "train.py": TRAIN}
    for file in files:
        if file.exists() and not force:
            raise UsageError(f"{file} exists already; choose another folder, or overwrite it with --force")
    directory.mkdir(parents=True, exist_ok=True)
    for file, text in files.items():
        file.write_text(text, encoding="utf-8")
    return list(files)
