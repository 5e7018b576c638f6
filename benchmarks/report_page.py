"""The report of a large study: seconds to write it, its size, and how fast its page answers in Chromium.

    python benchmarks/report_page.py [TRIALS] [FILE]

Prints one JSON document. The study has ten parameters, two goals and a bound; a twentieth of its trials fail, a tenth
are stopped early with a curve. Interaction is timed inside the page, from the event to the frame after it was drawn.
Without Chromium and its driver, only the file is measured.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from tuner.study import Study
from tuner.trial import Failure, Outcome
from tuner.verbs.report import write_report

SWEEP: dict[str, Any] = {
    "name": "large",
    "metrics": {"accuracy": "maximize", "params_m": "minimize", "memory_gb": {"max": 40}},
    "parameters": {
        "lr": {"min": 1e-5, "max": 1e-1, "log": True},
        "decay": {"min": 0.0, "max": 0.3},
        "dropout": {"min": 0.0, "max": 0.5},
        "layers": {"min": 2, "max": 32},
        "width": {"values": [128, 256, 512, 1024, 2048], "ordered": True},
        "rank": {"values": [4, 8, 16, 32, 64], "ordered": True},
        "warmup": {"min": 0.0, "max": 0.2},
        "batch": {"values": [16, 32, 64, 128], "ordered": True},
        "optim": {"values": ["adamw", "lion", "sgd"]},
        "beta2": {"min": 0.9, "max": 0.999, "when": "optim == 'adamw'"},
    },
    "baseline": {"lr": 1e-3, "decay": 0.1, "dropout": 0.1, "layers": 12, "width": 512, "rank": 16, "warmup": 0.1,
                 "batch": 32, "optim": "sgd"},
    "search": "random",
    "parallel": 8,
}  # fmt: skip
SLOTS = 8


def outcome(config: dict[str, Any], number: int) -> Outcome:
    """Made up, but with a trade-off, failures and early stops."""
    if number % 20 == 7:
        return Outcome(state="failed", failure=Failure(kind="crash", message=f"ValueError: loss is nan at {number}"))
    params = config["layers"] * config["width"] ** 2 * 12 / 1e6
    fit = 1 - abs(len(str(config["lr"])) % 7 - 3) / 40 - abs(config["dropout"] - 0.1) / 3
    accuracy = fit * (1 - 0.4 / (1 + params / 40)) - 0.02 * (config["optim"] == "sgd")
    metrics = {"accuracy": accuracy, "params_m": params, "memory_gb": 4 + params / 20}
    return Outcome(state="pruned" if number % 10 == 3 else "completed", metrics=metrics)


def build(folder: Path, trials: int) -> None:
    """The study, through the door that runners use."""
    began = time.time()
    with Study.create({**SWEEP, "budget": {"trials": trials}}, folder) as study:
        clock = [began] * SLOTS
        while proposals := study.ask(200):
            for proposal in proposals:
                result = outcome(proposal.config, proposal.trial)
                slot = proposal.trial % SLOTS
                start = clock[slot] + (30.0 if proposal.trial % 97 == 0 else 0.2)
                clock[slot] = start + 5 + config_seconds(proposal.config)
                if result.state == "pruned":
                    for step in range(1, 11):
                        study.report(proposal.trial, step, {"accuracy": result.metrics["accuracy"] * step / 10})
                study.finish(proposal.trial, result, slot=f"gpu{slot}", ran=(start, clock[slot]))


def config_seconds(config: dict[str, Any]) -> float:
    """How long a trial is said to take."""
    return 0.3 * float(config["layers"])


TIMED = """
const done = arguments[arguments.length - 1];
const work = { brush: () => setBrush(0, 0.2, 0.6), rebrush: () => setBrush(0, 0.3, 0.7), clear: () => clearFilters(),
  pin: () => pin(D.front[0]), sort: () => document.querySelector('#rows th:nth-child(3) button').click(),
  scroll: () => { document.getElementById('rows').scrollTop = 150000; fillTable(); },
  theme: () => document.getElementById('theme').click() };
(async () => {
  const found = {};
  for (const [name, act] of Object.entries(work)) {
    await new Promise((resume) => setTimeout(resume, 1200));
    const began = performance.now();
    act();
    await new Promise((resume) => requestAnimationFrame(() => requestAnimationFrame(resume)));
    found[name] = Math.round(performance.now() - began);
  }
  done(found);
})();
"""


def interaction(file: Path) -> dict[str, Any]:
    """Seconds until the first plot and all of them, milliseconds from an act to the frame that shows it."""
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    options = webdriver.ChromeOptions()
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "window-size=1400,1000"):
        options.add_argument(f"--{flag}")
    options.binary_location = "/usr/bin/chromium"
    with webdriver.Chrome(options=options, service=Service("/usr/bin/chromedriver")) as browser:
        browser.set_script_timeout(120)
        began = time.perf_counter()
        browser.get(file.absolute().as_uri())
        while not browser.execute_script("return document.querySelector('#front-plot .main-svg')"):
            time.sleep(0.02)
        first = time.perf_counter() - began
        while not browser.execute_script("return document.documentElement.dataset.ready"):
            time.sleep(0.02)
        every = time.perf_counter() - began
        return {
            "first_plot_s": round(first, 2),
            "all_plots_s": round(every, 2),
            "act_to_frame_ms": browser.execute_async_script(TIMED),
        }


def main() -> None:
    """Build, write, measure."""
    trials = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder) / "large", trials)
        file = Path(sys.argv[2]) if len(sys.argv) > 2 else Path(folder) / "report.html"
        began = time.perf_counter()
        with Study.open(Path(folder) / "large", read_only=True) as study:
            write_report(study, file, "html")
        found: dict[str, Any] = {"trials": trials, "write_s": round(time.perf_counter() - began, 2)}
        found["size_mb"] = round(file.stat().st_size / 1e6, 2)
        if Path("/usr/bin/chromium").exists() and Path("/usr/bin/chromedriver").exists():
            found |= interaction(file)
    found["cpus"] = os.cpu_count()
    print(json.dumps(found, indent=2))


if __name__ == "__main__":
    main()
