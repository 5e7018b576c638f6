"""`tuner gate` from the command line: a command whose timings are drawn, so that answers are known; its outputs."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

from tests.surroundings import environment
from tuner.gate import Check, Design, Report, Side
from tuner.gate import Result as Found
from tuner.reporting.ci import SUMMARY_BYTES, inert, workflow_commands, write_output, write_summary
from tuner.reporting.gating import to_markdown
from tuner.reporting.junit import to_junit

JOB = """
import json, os, random
config = json.load(open(os.environ["TUNER_PARAMS"]))
draw = random.Random(f"{os.environ['TUNER_SEED']}/{config}").gauss
if config["n"] == 13:
    print("\\x1b[31mno luck\\x1b[0m\\n::error::boom")
    raise SystemExit(3)
time = SLOWER * config["n"] * (1 + NOISE * draw(0, 1)) + 10 * (draw(0, 1) > 1.6)
print(json.dumps({"latency_ms": abs(time), "rate": 1000 / config["n"]}))
"""
SWEEP = """
name: toy
command: [python, job.py]
metrics:
  latency_ms: {goal: minimize, unit: ms, stdout: json}
  rate: {goal: maximize, stdout: json}
  size: {goal: minimize, formula: "8 * n"}
parameters:
  n: {min: 10, max: 300}
  word: {values: [plain, "<script>alert(1)</script>|::error::x##[error]y"]}
baseline: {n: 100, word: plain}
search: random
budget: {trials: 3}
runner: {exclusive: false}
"""


def project(folder: Path, *, slower: float = 1.0, noise: float = 0.01, sweep: str = SWEEP) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "job.py").write_text(JOB.replace("SLOWER", str(slower)).replace("NOISE", str(noise)))
    (folder / "sweep.yaml").write_text(sweep)
    return folder / "sweep.yaml"


@pytest.fixture(scope="module")
def saved_baseline(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The baseline of n = 100."""
    folder = tmp_path_factory.mktemp("base")
    sweep = str(project(folder))
    gate("--candidate", "n=100 word=plain", "--save-baseline", str(folder / "base.json"), "-q", baseline=False,
         sweep=sweep)  # fmt: skip
    return (folder / "base.json").read_text()


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, saved_baseline: str) -> Path:
    """A folder with the sweep and the baseline `base.json`; the working directory."""
    project(tmp_path)
    (tmp_path / "base.json").write_text(saved_baseline)
    for name in [name for name in os.environ if name.startswith("GITHUB_")]:
        monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def gate(*args: str, code: int = 0, baseline: bool = True, sweep: str = "sweep.yaml") -> Result:
    words = ["gate", "--sweep", sweep, "--runs", "1", *(["--baseline", "base.json"] if baseline else []), *args]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


def document(*args: str, code: int = 0, **changes: Any) -> Any:
    found = json.loads(gate(*args, "--json", "-q", code=code, **changes).stdout)
    assert found["schema"] == "tuner.gate/1"
    return found


def verdicts(found: Any) -> dict[str, str]:
    return {check["name"]: check["verdict"] for check in found["checks"]}


def test_a_baseline_holds_what_is_needed_to_compare_later(toy: Path) -> None:
    saved = json.loads((toy / "base.json").read_text())
    assert saved["schema"] == "tuner.baseline/1"
    assert saved["configuration"] == {"n": 100, "word": "plain"}
    assert len(saved["measurements"]) == 5
    assert saved["metrics"]["latency_ms"] == {"median": pytest.approx(100, rel=0.02), "goal": "minimize", "unit": "ms"}
    assert saved["metrics"]["size"]["median"] == 800
    assert saved["front"] is None
    assert len(saved["sweep_digest"]) == 16
    assert saved["versions"]["python"] and saved["hardware"]["cpus"] >= 1
    assert "base_dir" not in saved["sweep"]  # it may go to another machine


def test_a_little_worse_passes_early(toy: Path) -> None:
    found = document("--candidate", "n=101")
    assert found["verdict"] == "pass"
    assert set(verdicts(found).values()) == {"pass"}
    assert 10 <= found["measurements"] < 30  # of 39
    latency, rate, size = found["checks"]
    assert latency["interval"]["low"] < latency["ratio"] < latency["interval"]["high"] < latency["bound"]
    assert (rate["deterministic"], rate["bound"], size["measurements"]) == (True, 0.97, found["measurements"])
    assert len(found["measured"]["candidate"]) == found["measurements"]


def test_a_regression_is_found_and_reported_everywhere(toy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = {name: toy / name.lower() for name in ("GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT")}
    for name, file in files.items():
        monkeypatch.setenv(name, str(file))
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    limits = ["--max-regress", "20%", "--max-regress", "latency_ms=3%"]
    result = gate("--candidate", "n=106", *limits, "--junit", "gate.xml", "--markdown", "gate.md", code=4)
    assert re.search(r"^ REGRESSION +latency_ms \(minimize\) .* \+3\.00% ", result.stdout, re.MULTILINE)
    assert re.search(r"^ pass +rate \(maximize\) .* -20\.00% ", result.stdout, re.MULTILINE)
    assert result.stdout.strip().splitlines()[-1].startswith("REGRESSION at confidence 0.95 after ")
    commands = [line for line in result.stderr.splitlines() if line.startswith("::")]
    assert len(commands) == 1
    assert commands[0].startswith("::error title=tuner gate%3A latency_ms::latency_ms: regression, +")
    summary = files["GITHUB_STEP_SUMMARY"].read_text()
    assert summary == (toy / "gate.md").read_text()
    assert "| REGRESSION | latency_ms (minimize) |" in summary
    outputs = files["GITHUB_OUTPUT"].read_text()
    assert re.match(r"verdict<<(tuner_[0-9a-f]{32})\nregression\n\1\n", outputs)
    report = re.search(r"report<<(tuner_\w+)\n(.*)\n\1\n", outputs)
    assert report is not None
    assert json.loads(report[2])["verdict"] == "regression"
    assert [case.get("name") for case in cases(toy / "gate.xml") if case.find("failure") is not None] == ["latency_ms"]


def cases(file: Path) -> list[ET.Element]:
    """The test cases of a document, once it has the shape of Jenkins' schema, which GitLab reads too."""
    root = ET.parse(file).getroot()
    assert root.tag == "testsuites"
    [suite] = root
    assert suite.tag == "testsuite"
    assert {child.tag for child in suite} <= {"properties", "testcase", "system-out"}
    assert [c.tag for c in suite] == sorted((c.tag for c in suite), key=["properties", "testcase", "system-out"].index)
    found = suite.findall("testcase")
    counts = {tag: sum(case.find(tag) is not None for case in found) for tag in ("failure", "error", "skipped")}
    assert suite.get("tests") == str(len(found))
    assert (suite.get("failures"), suite.get("errors"), suite.get("skipped")) == tuple(map(str, counts.values()))
    for case in found:
        assert case.keys() == ["name", "classname", "time"]
        assert {child.tag for child in case} <= {"failure", "error", "skipped", "system-out"}
    return found


def test_noise_leaves_it_open(toy: Path) -> None:
    project(toy, noise=0.5)
    few = ["--max-measurements", "8", "--candidate", "n=101", "-m", "latency_ms", "--junit", "gate.xml"]
    result = gate(*few, code=5)
    assert "inconclusive at confidence 0.95 after 8 measurements a side" in result.stdout
    assert "more --runs" in result.stdout
    assert [case.find("error") is not None for case in cases(toy / "gate.xml")] == [True]
    gate(*few, "--allow-inconclusive", code=0)
    assert [case.find("skipped") is not None for case in cases(toy / "gate.xml")] == [True]
    result = gate("--max-measurements", "4", "--candidate", "n=100", "-m", "latency_ms", code=5)
    assert "that takes at least 6" in result.stderr
    assert "--max-time ended it after 1 of 39" in gate("--max-time", "0.001s", "-m", "latency_ms", "--candidate",
                                                        "n=100", code=5).stdout  # fmt: skip


def test_every_check_is_settled_when_that_is_asked_for(toy: Path) -> None:
    quick = document("--candidate", "n=106", code=4)
    assert quick["measured"]["candidate"] == [{"size": 848.0}]  # 6% larger: nothing needs to run
    assert verdicts(quick)["latency_ms"] == "inconclusive"
    whole = document("--candidate", "n=106", "--every-check", code=4)
    assert set(verdicts(whole).values()) == {"regression"}


def test_what_follows_from_the_configuration_alone_is_not_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    known = SWEEP.replace("python, job.py", "nonexistent-program")
    known = re.sub(r"(?m)^  (latency_ms|rate): .*\n", "", known)
    project(tmp_path, sweep=known)
    gate("--candidate", "n=100", "--save-baseline", "base.json", baseline=False)
    assert document("--candidate", "n=103")["measurements"] == 1
    assert document("--candidate", "n=104", code=4)["verdict"] == "regression"
    found = document("--candidate", "n=103", "--max-regress", "size=2%", code=4)
    assert found["checks"][0]["ratio"] == pytest.approx(1.03)


def test_one_measurement_of_a_deterministic_metric_is_enough(toy: Path) -> None:
    found = document("--candidate", "n=101", "-m", "rate", "--deterministic", "rate")
    assert (found["measurements"], found["verdict"]) == (1, "pass")


def test_constraints_and_free_metrics_are_checks_of_their_own(toy: Path) -> None:
    text = SWEEP.replace("parameters:", 'constraints: ["rate >= baseline - 0.5", "latency_ms <= 200"]\nparameters:')
    project(toy, sweep=text)
    found = document("--candidate", "n=106", "--max-regress", "50%", "--max-regress", "wall_s=900%",
                     "--every-check", code=4)  # fmt: skip
    assert verdicts(found) == {
        "latency_ms": "pass",
        "rate": "pass",
        "size": "pass",
        "wall_s": "pass",
        "rate >= baseline - 0.5": "regression",
        "latency_ms <= 200": "pass",
    }
    bound = found["checks"][-1]
    assert bound["candidate"] == pytest.approx(94, rel=0.02)  # the margin
    assert any("the sweep changed since the baseline was saved" in note for note in found["notes"])


def test_a_candidate_that_fails_is_a_regression_and_a_baseline_that_fails_leaves_it_open(toy: Path) -> None:
    result = gate("--candidate", "n=13", "--junit", "gate.xml", code=4)
    assert "the candidate completes: no" in result.stdout
    assert "crash" in result.stdout and "no luck" in result.stdout
    assert "\x1b" not in result.stdout
    assert not any(line.lstrip().startswith("::") for line in result.stdout.splitlines())
    assert cases(toy / "gate.xml")[0].get("name") == "the candidate completes"
    saved = json.loads((toy / "base.json").read_text())
    (toy / "base.json").write_text(json.dumps({**saved, "configuration": {"n": 13, "word": "plain"}}))
    assert "the baseline completes: no" in gate("--candidate", "n=100", "-m", "rate", code=5).stdout


def test_the_baseline_can_be_measured_through_another_checkout(toy: Path) -> None:
    there = project(toy / "main")
    project(toy, slower=1.2)  # this branch made the same configuration slower
    assert document("--candidate", "n=100")["verdict"] == "pass"  # both run this branch's code
    found = document("--candidate", "n=100", "--baseline-sweep", str(there), code=4)
    assert found["checks"][0]["ratio"] == pytest.approx(1.2, rel=0.02)


def test_two_checkouts_of_a_python_objective_each_run_their_own_code(toy: Path) -> None:
    sweep = "name: twins\nobjective: work:evaluate\nmetrics: {cost: minimize}\nparameters: {n: {min: 1, max: 9}}\n"
    for folder, price in (("old", 10.0), ("new", 12.0)):
        (toy / folder).mkdir()
        (toy / folder / "sweep.yaml").write_text(sweep)
        (toy / folder / "prices.py").write_text(f"PRICE = {price}\n")
        (toy / folder / "work.py").write_text(
            "import prices\n\ndef evaluate(config):\n    return prices.PRICE * config['n']\n"
        )
    old, new = "old/sweep.yaml", "new/sweep.yaml"
    gate("--candidate", "n=3", "--save-baseline", "base.json", sweep=old, baseline=False)
    once = ["--candidate", "n=3", "--deterministic", "cost"]
    found = document(*once, "--baseline-sweep", old, sweep=new, code=4)
    assert (found["checks"][0]["baseline"], found["checks"][0]["candidate"]) == (30.0, 36.0)
    found = document(*once, "--baseline-sweep", new, sweep=old)
    assert (found["checks"][0]["baseline"], found["checks"][0]["candidate"]) == (36.0, 30.0)


def test_a_study_is_gated_by_its_best_trial_and_its_front(toy: Path) -> None:
    for name, seed in (("before", 0), ("after", 1)):
        run = CliRunner().invoke(app, ["run", "sweep.yaml", "-S", f"name={name}", "-S", f"seed={seed}", "-q"])
        assert run.exit_code == 0, run.stderr
    gate("--candidate", "before", "--save-baseline", "front.json", baseline=False)
    saved = json.loads((toy / "front.json").read_text())
    assert saved["from"].startswith("before trial ")
    assert saved["front"]["hypervolume"] > 0
    assert {"trial", "configuration", "metrics"} == set(saved["front"]["members"][0])
    args = ["--baseline", "front.json", "-m", "hypervolume"]
    same = json.loads(gate("--candidate", "before", *args, "--json", baseline=False).stdout)
    assert (same["checks"][0]["ratio"], same["measurements"]) == (1.0, 0)
    # half of the stored volume is gone when the corner's own front was twice as large
    saved["front"]["members"] = [
        {**one, "metrics": {**one["metrics"], "rate": 4 * one["metrics"]["rate"]}} for one in saved["front"]["members"]
    ]
    (toy / "front.json").write_text(json.dumps(saved))
    lost = json.loads(gate("--candidate", "before", *args, "--json", baseline=False, code=4).stdout)
    assert lost["checks"][0]["ratio"] < 0.5
    gate("--candidate", "after", "--trial", "0", "--save-baseline", "again.json", baseline=False)


def test_a_passing_candidate_becomes_the_next_baseline(toy: Path) -> None:
    gate("--candidate", "n=100 word=plain", "--save-baseline", "next.json", "-q")
    assert len(json.loads((toy / "next.json").read_text())["measurements"]) >= 10
    gate("--candidate", "n=200", "--save-baseline", "worse.json", "-q", code=4)
    assert not (toy / "worse.json").exists()


@pytest.mark.parametrize(("args", "said"), [
    (["--baseline", "none.json"], "none.json cannot be read"),
    (["--baseline", "job.py"], "job.py is not JSON"),
    (["--baseline", "empty.json"], "empty.json is not a baseline"),
    (["--baseline", "damaged.json"], "damaged.json is a damaged baseline"),
    ([], "--save-baseline FILE"),
    (["--baseline", "base.json", "--max-regress", "much"], "must be a share such as 3%"),
    (["--baseline", "base.json", "--max-regress", "speed=3%"], "there is no metric 'speed'"),
    (["--baseline", "base.json", "--max-regress", "rate=150%"], "cannot fall by more than 100%"),
    (["--baseline", "base.json", "--confidence", "95"], "between 0.5 and 0.999"),
    (["--baseline", "base.json", "--candidate", "m=3"], "does not fit the sweep toy"),
    (["--baseline", "base.json", "--max-time", "soon"], "--max-time"),
    (["--baseline", "base.json", "--junit", "no/where.xml"], "is no folder"),
    (["--baseline", "base.json", "-f", "yaml"], "-f must be one of"),
    (["--baseline", "base.json", "-m", "gpu_energy_j"], "gpu_energy_j is not measured here"),
])  # fmt: skip
def test_mistakes_are_told_in_a_line(toy: Path, args: list[str], said: str) -> None:
    (toy / "empty.json").write_text("{}")
    (toy / "damaged.json").write_text('{"schema": "tuner.baseline/1", "metrics": {"a": 1}}')
    candidate = [] if "--candidate" in args else ["--candidate", "n=100"]
    result = gate(*candidate, *args, baseline=False, code=2)
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_study_that_is_not_there_is_named(toy: Path) -> None:
    assert "there is no study 'nobody'" in gate("--candidate", "nobody", code=7).stderr


def test_candidates_come_as_files_too(toy: Path) -> None:
    (toy / "plain.yaml").write_text("n: 101\nword: plain\n")
    (toy / "best.json").write_text(json.dumps({"schema": "tuner.best/1", "trial": {"params": {"n": 101}}}))
    for file in ("plain.yaml", "best.json", "base.json"):
        found = document("--candidate", file, "-m", "size")
        assert found["candidate"]["params"]["n"] in (100, 101)
    (toy / "list.yaml").write_text("[1, 2]")
    assert "holds no configuration" in gate("--candidate", "list.yaml", code=2).stderr


def test_sigterm_ends_it_and_leaves_nothing_running(toy: Path) -> None:
    (toy / "job.py").write_text("import time; time.sleep(60)")
    command = [sys.executable, "-m", "tuner", "gate", "--sweep", "sweep.yaml", "--baseline", "base.json",
               "--candidate", "n=100"]  # fmt: skip
    process = subprocess.Popen(command, env=environment(), stderr=subprocess.PIPE, text=True)
    until = time.monotonic() + 20
    while not (pids := sleeping(process.pid)) and time.monotonic() < until:
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    _, told = process.communicate(timeout=20)
    assert process.returncode == 143, told
    assert "interrupted" in told
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)


def sleeping(parent: int) -> list[int]:
    """The processes that run job.py for a process of ours."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            words = (folder / "cmdline").read_bytes().split(b"\0")
            run = b"TUNER_PARAMS=" in (folder / "environ").read_bytes()
        except OSError:
            continue
        if run and words[-2:-1] == [b"job.py"] and os.path.realpath(folder / "cwd") == os.getcwd():
            found.append(int(folder.name))
    return found


# --- what others write into names and values ---

NASTY = "a,b:c%d\r\n::error::x\x1b[31m<img src=x onerror=alert(1)>|]]>\x00\x0b##[error]y"


def nasty(notes: tuple[str, ...] = (NASTY,)) -> Report:
    failed = Check(name=NASTY, kind="completes", goal=None, sure=True)
    results = (
        Found(check=Check(name=NASTY, unit=NASTY), verdict="regression", ratio=1.1, bound=1.03, baseline=1.0,
              candidate=1.1, low=1.05, high=1.2, level=0.95, pairs=9, decided_at=9),
        Found(check=failed, verdict="regression", why=NASTY),
        Found(check=Check(name="other"), verdict="inconclusive"),
    )  # fmt: skip
    sides = (Side(name=NASTY, config={NASTY: NASTY}, measurements=({NASTY: 1.0},)) for _ in range(2))
    baseline, candidate = sides
    return Report(study=NASTY, verdict="regression", results=results, baseline=baseline, candidate=candidate,
                  design=Design(), notes=notes)  # fmt: skip


def test_annotations_are_one_line_each_and_escaped() -> None:
    commands = workflow_commands(nasty())
    assert len(commands) == 2
    for command in commands:
        assert command.isprintable()
        head, _, _ = command.removeprefix("::error title=").partition("::")
        assert head.startswith("tuner gate%3A a%2Cb%3Ac%25d%0D%0A%3A%3Aerror%3A%3Ax")


def test_markdown_and_junit_hold_no_markup_of_others(tmp_path: Path) -> None:
    text = to_markdown(nasty())
    assert not re.search(r"^(?! {4}).*<img", text, re.MULTILINE)  # outside of a code block
    assert "\x1b" not in text and "\x00" not in text
    (tmp_path / "gate.xml").write_text(to_junit(nasty()), encoding="utf-8")
    found = cases(tmp_path / "gate.xml")
    assert len(found) == 3
    assert all(child.tag != "img" for case in found for child in case.iter())
    assert "<img src=x" in (found[0].get("name") or "")  # as text


def test_what_is_printed_commands_nothing() -> None:
    text = inert("  ::error::x\n::set-output name=a::b\nfine :: fine\n##[error]y")
    assert not any(line.lstrip().startswith("::") for line in text.splitlines())
    assert "##[" not in text
    assert "fine :: fine" in text


@pytest.mark.parametrize("format", ["table", "md", "json"])
def test_a_value_commands_nothing_wherever_it_is_printed(toy: Path, format: str) -> None:
    word = "<script>alert(1)</script>|::error::x##[error]y"
    (toy / "candidate.json").write_text(json.dumps({"n": 100, "word": word}))
    only = ["--candidate", "candidate.json", "-m", "rate", "--deterministic", "rate", "-q", "-f", format]
    printed = gate(*only).stdout
    assert "##[" not in printed
    assert not any(line.lstrip().startswith("::") for line in printed.splitlines())
    if format == "json":
        assert json.loads(printed)["candidate"]["params"]["word"] == word
    else:
        assert "<script>" not in printed


def test_the_summary_stays_below_a_mebibyte(tmp_path: Path) -> None:
    file = tmp_path / "summary.md"
    file.write_text("x" * 1000)
    write_summary(file, nasty(("ä" * 500,) * 4000))
    assert SUMMARY_BYTES - 2000 < file.stat().st_size < SUMMARY_BYTES
    assert file.read_text(encoding="utf-8").rstrip().endswith("(cut: GitHub takes 1 MiB a step)")
    write_summary(file, nasty())
    assert file.stat().st_size < SUMMARY_BYTES


def test_outputs_cannot_be_ended_by_their_values(tmp_path: Path) -> None:
    file = tmp_path / "output"
    write_output(file, nasty())
    lines = file.read_text(encoding="utf-8").split("\n")
    names = []
    while len(lines) > 1:
        name, _, delimiter = lines.pop(0).partition("<<")
        names.append(name)
        while lines.pop(0) != delimiter:
            pass
    assert names == ["verdict", "candidate", "report"]
