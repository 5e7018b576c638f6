"""Writes docs/verbs/NAME.md, a page a verb: what it takes, from the program itself, and a worked example, really run.

python docs/verb_pages.py              every page, about two minutes
python docs/verb_pages.py show pick    only these
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
PAGES = ROOT / "docs" / "verbs"
AGAIN = "python docs/verb_pages.py"
EXAMPLE = "## Example"
LINES = 36
WIDTH = 110

TRAIN = '''\
import math
import tuner


def fit(config, trial):
    """Pretends to train: better at lr=1e-3, with more and wider layers, up to a point."""
    if config["lr"] > 0.05:
        raise FloatingPointError("loss is NaN in step 3; lower the learning rate")
    size = config["layers"] * config["width"] ** 2 / 1e6
    best = 0.97 - 0.02 * (math.log10(config["lr"]) + 3) ** 2 - 0.08 * math.exp(-4 * size)
    best -= 0.02 if config["optim"] == "sgd" else 0.0
    for step in range(1, 5):
        trial.report(step, accuracy=best * (1 - 0.5**step))
    print(f"trained {size:.3f} million parameters")
    return {"accuracy": best, "params_m": size}
'''
SWEEP = """\
name: digits
objective: train:fit
metrics:
  accuracy: {goal: maximize}
  params_m: {goal: minimize}
parameters:
  lr: {min: 1e-5, max: 1e-1, log: true}
  layers: {min: 1, max: 8}
  width: {values: [64, 128, 256], ordered: true}
  optim: {values: [adamw, sgd]}
baseline: {lr: 1e-4, layers: 4, width: 128, optim: adamw}
search: {method: random}
budget: {trials: 24}
"""
TIMED = """\
name: sorting
command: [python, sort.py, "${args}"]
metrics:
  ms: {goal: minimize}
parameters:
  run: {values: [16, 64, 256]}
baseline: {run: 64}
budget: {trials: 3}
"""
SORT = """\
import argparse, random, time, tuner
parser = argparse.ArgumentParser()
parser.add_argument("--run", type=int)
n = parser.parse_args().run
values = random.Random(0).sample(range(100_000), 20_000)
began = time.perf_counter()
parts = [sorted(values[i : i + n]) for i in range(0, len(values), n)]
while len(parts) > 1:
    parts = [sorted(sum(parts[i : i + 2], [])) for i in range(0, len(parts), 2)]
tuner.report(ms=1e3 * (time.perf_counter() - began))
"""
KATIB = """\
apiVersion: kubeflow.org/v1beta1
kind: Experiment
metadata: {name: mnist}
spec:
  objective: {type: maximize, objectiveMetricName: accuracy}
  algorithm: {algorithmName: random}
  parallelTrialCount: 2
  maxTrialCount: 12
  parameters:
    - {name: lr, parameterType: double, feasibleSpace: {min: "0.001", max: "0.1"}}
  trialTemplate:
    trialParameters: [{name: learningRate, reference: lr}]
    trialSpec:
      spec:
        template:
          spec:
            containers: [{command: [python, train.py, "--lr=${trialParameters.learningRate}"]}]
"""

EXAMPLES: dict[str, Sequence[str]] = {
    "init": ("tuner init mine --command 'python train.py' -m accuracy:maximize -p lr=1e-5..1e-1:log -p layers=1..8",
             "cat mine/sweep.yaml"),
    "validate": ("tuner validate sweep.yaml",),
    "run": ("tuner run sweep.yaml -S name=again -S budget.trials=8 --plain",),
    "status": ("tuner status digits", "tuner status digits -f value -n spent_s"),
    "watch": ("tuner watch digits --once",),
    "best": ("tuner best digits", "tuner best digits -f value -n lr"),
    "pareto": ("tuner pareto digits",),
    "pick": ("tuner pick digits --max params_m=0.1",),
    "report": ("tuner report digits -o digits.html",),
    "trials": ("tuner trials digits --state failed -f md",),
    "show": ("tuner show 3 digits",),
    "explain": ("tuner explain 3 digits",),
    "logs": ("tuner logs 1 digits",),
    "plot": ("tuner plot front digits -o front.svg",),
    "compare": ("tuner compare digits narrow",),
    "list": ("tuner list", "tuner list stopping"),
    "stop": ("tuner stop digits",),
    "retry": ("tuner retry narrow --failed",),
    "enqueue": ("tuner enqueue narrow lr=3e-4 layers=2",),
    "ask": ("tuner ask elsewhere.yaml --n 2",),
    "tell": (
        "tuner ask elsewhere.yaml",
        "tuner tell elsewhere 0 accuracy=0.93 params_m=0.2",
        "tuner best elsewhere",
    ),
    "prefer": ("tuner prefer digits --answer '17>11'", "tuner best digits -f value -n accuracy -n params_m"),
    "gate": ("tuner gate --candidate sorting --save-baseline main.json -q",
             "tuner gate --baseline main.json --candidate 'run=256' --max-regress 20% --max-measurements 8 -q"),
    "bench": ("tuner bench --problems branin-in-6 --methods random,sobol --trials 20 --seeds 2",),
    "export": ("tuner export digits -o trials.csv", "head -n 3 trials.csv"),
    "import": ("tuner import katib.yaml",),
    "schema": ("tuner schema | head -n 12",),
    "doctor": ("tuner doctor | grep -v ' storage ' | head -n 8",),
}  # fmt: skip
"""What is run for each verb; a verb that is missing shows the example of its help alone."""


def commands() -> dict[str, Any]:
    """The verbs of the program by name."""
    import typer
    from tuner.cli import app

    group: Any = typer.main.get_command(app)
    return dict(group.commands)


def reference(name: str, command: Any) -> str:
    """What a verb does and takes: the part of its page that does not depend on a run."""
    what, _, example = (command.help or "").partition("Example: ")
    arguments = [p for p in command.params if p.param_type_name == "argument"]
    options = [p for p in command.params if p.param_type_name == "option" and not p.hidden]
    words = [p.name.upper() if p.required else f"[{p.name.upper()}]" for p in arguments]
    usage = " ".join(["tuner", name, *words, *(["[OPTIONS]"] if options else [])])
    lines = [f"# tuner {name}", "", what.strip(), "", "```text", usage, "```", ""]
    if example:
        lines += [f"For example: `{example.strip()}`", ""]
    if arguments:
        rows = [(f"`{p.name.upper()}`", _cell(p.help), _default(p)) for p in arguments]
        lines += _table("argument", rows)
    if options:
        rows = [
            (", ".join(f"`{o}`" for o in (*p.opts, *p.secondary_opts)), _cell(p.help), _default(p)) for p in options
        ]
        lines += _table("option", rows)
    return "\n".join(lines)


def _table(kind: str, rows: Sequence[tuple[str, str, str]]) -> list[str]:
    return [f"| {kind} | what it is | default |", "|---|---|---|", *(f"| {' | '.join(row)} |" for row in rows), ""]


def _cell(text: str | None) -> str:
    return " ".join((text or "").split()).replace("|", "\\|").replace("<", "&lt;")


def _default(parameter: Any) -> str:
    if parameter.required:
        return "required"
    value = parameter.default
    if callable(value) or value in (None, False, "", ()):
        return ""
    return f"`{value}`"


def prepared(folder: Path) -> dict[str, str]:
    """A folder with studies to look at; returns the environment of its commands."""
    for name, text in (("train.py", TRAIN), ("sweep.yaml", SWEEP), ("sorting.yaml", TIMED), ("sort.py", SORT)):
        (folder / name).write_text(text)
    (folder / "katib.yaml").write_text(KATIB)
    asked = [line for line in SWEEP.splitlines() if not line.startswith("objective")]
    (folder / "elsewhere.yaml").write_text("\n".join(asked).replace("name: digits", "name: elsewhere"))
    programs = folder / ".bin"
    programs.mkdir()
    (programs / "tuner").write_text(f'#!/bin/sh\nexec "{sys.executable}" -m tuner "$@"\n')
    (programs / "tuner").chmod(0o755)
    (programs / "python").write_text(f'#!/bin/sh\nexec "{sys.executable}" "$@"\n')
    (programs / "python").chmod(0o755)
    path = os.pathsep.join([str(programs), os.environ.get("PATH", "")])
    environment = {
        **os.environ, "PATH": path, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "COLUMNS": str(WIDTH), "CI": "1",
        "NO_COLOR": "1", "TERM": "dumb", "LANG": "C.UTF-8",
    }  # fmt: skip
    narrow = "-S name=narrow -S parameters.layers.max=4 -S budget.trials=25"
    for line in ("run sweep.yaml -q", f"run sweep.yaml -q {narrow}", "run sorting.yaml -q"):
        subprocess.run(f"tuner {line}", shell=True, cwd=folder, env=environment, capture_output=True, check=True)
    return environment


def produced(lines: Sequence[str], folder: Path, environment: dict[str, str]) -> str:
    """The commands with what they print, run one after the other in a copy of the folder."""
    shown: list[str] = []
    with tempfile.TemporaryDirectory() as other:
        copy = Path(other) / "work"
        shutil.copytree(folder, copy, symlinks=True)
        for line in lines:
            done = subprocess.run(
                line, shell=True, cwd=copy, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                text=True, check=False, executable="/bin/bash",
            )  # fmt: skip
            printed = done.stdout.replace(f"{copy}/", "").replace(str(copy), ".").strip("\n").splitlines()
            if len(printed) > LINES:
                printed = [*printed[: LINES - 1], "..."]
            shown += [f"$ {line}", *(text.rstrip()[:160] for text in printed)]
            if done.returncode:
                shown.append(f"(exit code {done.returncode})")
            shown.append("")
    return "\n".join(["```text", *shown[:-1], "```", ""])


def main(wanted: Sequence[str]) -> None:
    """Write the pages, and remove those of verbs that are gone."""
    known = commands()
    PAGES.mkdir(exist_ok=True)
    for page in PAGES.glob("*.md"):
        if page.stem not in known:
            page.unlink()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "work"
        folder.mkdir()
        environment = prepared(folder)
        for verb in wanted or known:
            text = reference(verb, known[verb])
            if verb in EXAMPLES:
                files = "" if verb in ("doctor", "schema", "bench", "import") else f" {WHERE}"
                text += f"\n{EXAMPLE}\n\nWhat the following printed when this page was made.{files}\n\n"
                text += produced(EXAMPLES[verb], folder, environment)
            (PAGES / f"{verb}.md").write_text(re.sub(r"\n{3,}", "\n\n", text), encoding="utf-8")
            print(f"docs/verbs/{verb}.md")


WHERE = "The studies are small ones on two processors; `digits` has two goals."

if __name__ == "__main__":
    sys.path.insert(0, str(ROOT))
    main(sys.argv[1:])
