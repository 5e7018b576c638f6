"""`tuner report`: its numbers, its three forms, the study in it, and the page in a browser without a network."""

from __future__ import annotations

import json
import math
import re
import shlex
import shutil
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tuner.cli import app
from typer.testing import CliRunner, Result

from tests.browser import chromium, console, mouse, requests, show, until
from tuner import surroundings
from tuner.runners.command import trial_environment
from tuner.runners.macros import expand_command
from tuner.runners.protocol import Job
from tuner.study import Study
from tuner.sweeps.yaml_source import read_value
from tuner.trial import Failure, Outcome

N = 36
HTML = "<img src=x onerror=hit()>"
SCRIPT = "</script><script>window.hit=1</script>"
SWEEP: dict[str, Any] = {
    "name": "digits",
    "metrics": {
        "accuracy": "maximize",
        "cost": {"goal": "minimize", "unit": HTML, "reference": 13.0},
        "memory": {"max": 0.9},
    },
    "parameters": {
        "lr": {"min": 1e-6, "max": 1e-1, "log": True},
        "layers": {"min": 1, "max": 12},
        "<b>optim</b>": {"values": ["adamw", SCRIPT, "it's %{x} $y$ ${z}\u202e é\n::error::\x1b[31m"]},
        "beta": {"min": 0.5, "max": 0.99, "when": "layers > 6"},
        "flag": {"type": "bool"},
        "keep": {"vector": 2, "min": 0.0, "max": 1.0},
        "epochs": 1.0,
    },
    "baseline": {"lr": 1e-3, "layers": 6, "<b>optim</b>": "adamw", "flag": True, "keep": [0.5, 0.5]},
    "search": "random",
    "runner": {"env": {"API_KEY": "sesame", "MODE": "fast"}},
    "budget": {"trials": N + 4},
}  # fmt: skip


def outcome(config: dict[str, Any]) -> dict[str, float]:
    """Accuracy follows from lr alone, cost from layers alone."""
    accuracy = 1.0 - abs(math.log10(config["lr"]) + 3) / 4
    return {"accuracy": accuracy, "cost": float(config["layers"]), "memory": config["keep"][0]}


@pytest.fixture(scope="module")
def studied(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Completed, stopped and failed trials on two slots, with whatever a page could stumble over."""
    folder = tmp_path_factory.mktemp("studied") / "digits"
    with Study.create(SWEEP, folder) as study:
        for k in range(N + 4):
            proposal = study.ask()
            metrics = outcome(proposal.config)
            for step in (1, 2):
                study.report(proposal.trial, step, {"accuracy": metrics["accuracy"] * step / 2})
            result = Outcome(state="pruned" if k == N else "completed", metrics=metrics)
            if k > N:
                message = f"{HTML} at {k}\nand {SCRIPT}" if k < N + 3 else "::error::no\x1b[31m memory"
                result = Outcome(state="failed", failure=Failure(kind="crash", message=message))
                (folder / "trials" / str(k)).mkdir(parents=True)
                (folder / "trials" / str(k) / "stderr.log").write_text(f"line\n\x1b[2J{SCRIPT}\nlast of {k}\n")
            study.finish(proposal.trial, result, slot=f"cpu{k % 2}", ran=(1000.0 + 2 * k, 1001.0 + 2 * k))
    return folder


def tuner(*args: object, code: int = 0) -> Result:
    result = CliRunner().invoke(app, [str(arg) for arg in args])
    assert result.exit_code == code, f"{result.exit_code}: {result.stderr}\n{result.stdout}\n{result.exception}"
    return result


@pytest.fixture(scope="module")
def page(studied: Path) -> Path:
    file = Path(tuner("report", studied).stdout.strip())
    assert file == studied / "report.html"
    return file


# --- the numbers, and the forms without a browser ---


def test_the_document_holds_what_the_study_says(studied: Path) -> None:
    found = json.loads(tuner("report", studied, "--json").stdout)
    assert found["schema"] == "tuner.report/1"
    with Study.open(studied, read_only=True) as study:
        best, volume = study.best(), study.hypervolume()[0]
        front = [record.trial for record in study.pareto()]
        assert len(found["trials"]) == len(list(study.records()))
    verdict = found["verdict"]
    assert best is not None
    assert (verdict["chosen"], verdict["role"], verdict["front"]) == (best.trial, "knee", front)
    assert verdict["hypervolume"] == pytest.approx(volume, rel=1e-12)
    assert verdict["counts"] == {"completed": N, "pruned": 1, "failed": 3}
    assert verdict["busy_s"] == pytest.approx(N + 4)
    standing = {one["metric"]: one for one in verdict["standings"]}
    assert standing["cost"]["baseline"] == 6.0
    assert standing["cost"]["change"] == pytest.approx((best.metrics["cost"] - 6) / 6)
    change = best.metrics["cost"] - 6
    assert standing["cost"]["better"] is (change < 0 if change else None)
    assert found["importance"]["shares"]["cost"]["layers"] > 0.5
    # trial k ran from 2k to 2k + 1 on slot k mod 2: three idle seconds between two trials of a slot
    assert {gap["seconds"] for gap in found["timeline"]["gaps"]} == {2.0, 3.0}
    assert found["reproduction"]["sweep"]["runner"]["env"] == {"API_KEY": "hidden", "MODE": "fast"}


def test_failures_with_the_same_message_but_for_numbers_are_one_cause(studied: Path) -> None:
    [kind] = json.loads(tuner("report", studied, "-f", "json").stdout)["failures"]
    assert (kind["kind"], kind["n"], kind["others"]) == ("crash", 3, 0)
    first, second = kind["causes"]
    assert (first["trials"], first["shown"], second["trials"]) == ([N + 1, N + 2], N + 2, [N + 3])
    assert first["log"] == ["line", f" [2J{SCRIPT}", f"last of {N + 2}"]
    assert second["message"] == "::error::no [31m memory"


def test_markdown_shows_it_and_acts_on_nothing(studied: Path, tmp_path: Path) -> None:
    file = tmp_path / "report.md"
    assert tuner("report", studied, "-f", "md", "-o", file).stdout.strip() == str(file)
    text = file.read_text()
    assert "is the knee of the front: accuracy" in text
    assert "| 0 baseline |" in text
    assert "\x1b" not in text
    outside = re.sub(r"^(`{3,}).*?^\1$", "", text, flags=re.MULTILINE | re.DOTALL)
    assert "<img" not in outside.replace("\\<", "")
    assert not re.search(r"(?<!\\)<(img|script|b)\b", outside)
    assert not any(line.startswith("::error::") for line in text.splitlines())
    assert tuner("report", studied, "-f", "md").stdout.split("\nWritten")[0] == text.split("\nWritten")[0]


def test_a_study_without_trials_and_one_with_a_single_metric_have_reports(tmp_path: Path) -> None:
    one = {"metrics": {"loss": "minimize"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}, "search": "random"}
    with Study.create({**one, "name": "empty"}, tmp_path / "empty"):
        pass
    with Study.create({**one, "name": "single"}, tmp_path / "single") as study:
        for loss in (3.0, 1.0, 2.0):
            study.tell(study.ask().trial, {"loss": loss})
    empty = json.loads(tuner("report", tmp_path / "empty", "--json").stdout)
    assert (empty["verdict"]["chosen"], empty["trials"]) == (None, [])
    assert "no completed trial" in empty["missing"]["progress"]
    assert "No feasible trial in 0." in tuner("report", tmp_path / "empty", "-f", "md").stdout
    single = json.loads(tuner("report", tmp_path / "single", "--json").stdout)
    assert (single["verdict"]["chosen"], single["verdict"]["role"]) == (1, "best")
    assert single["progress"]["loss"]["over_trials"]["best"] == [3.0, 1.0, 1.0, 1.0]
    for name in ("empty", "single"):
        assert (tmp_path / name / "report.html").samefile(tuner("report", tmp_path / name).stdout.strip())


def test_what_cannot_be_written_is_refused(studied: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "-f must be one of html, md, json" in tuner("report", studied, "-f", "pdf", code=2).stderr
    assert "is a folder; name the file" in tuner("report", studied, "-o", tmp_path, code=2).stderr
    assert "cannot be written" in tuner("report", studied, "-o", tmp_path / "no" / "r.html", code=7).stderr
    monkeypatch.setitem(__import__("sys").modules, "plotly.offline", None)
    assert "pip install tuner[report]" in tuner("report", studied, code=8).stderr


def git(folder: Path, *words: str) -> str:
    person = ["-c", "user.name=a", "-c", "user.email=a@example.org"]
    run = subprocess.run(["git", "-C", str(folder), *person, *words], capture_output=True, text=True, check=True)
    return run.stdout.strip()


def test_where_a_session_ran_is_written_down_once_until_it_changes(tmp_path: Path) -> None:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    code = tmp_path / "code"
    code.mkdir()
    (code / "train.py").write_text("1")
    (code / "sweep.yaml").write_text(
        "metrics: {loss: minimize}\nparameters: {x: {min: 0.0, max: 1.0}}\nsearch: random\n"
    )
    git(code, "init", "-q", "-b", "trunk")
    git(code, "add", ".")
    git(code, "commit", "-q", "-m", "first")
    with Study.create(code / "sweep.yaml", tmp_path / "s") as study:
        for _ in range(2):
            surroundings.write_down(study)
        (code / "train.py").write_text("2")
        surroundings.write_down(study)
    found = json.loads(tuner("report", tmp_path / "s", "--json").stdout)["reproduction"]["sessions"]
    commit = git(code, "rev-parse", "HEAD")
    assert [one["git"] for one in found] == [
        {"commit": commit, "branch": "trunk", "changed_files": changed} for changed in (0, 1)
    ]
    assert found[0]["packages"]["numpy"] and found[0]["python"] and found[0]["cpus"] >= 1
    text = tuner("report", tmp_path / "s", "-f", "md").stdout
    assert f"| git | {commit} on trunk, 1 file changed |" in text
    assert socket.gethostname() not in json.dumps(found)
    assert surroundings.git_state(tmp_path) is None


# --- the study in the page ---


def test_the_page_restores_the_study(
    studied: Path, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert f"with {N + 4} trials" in tuner("import", page).stdout
    restored = tmp_path / ".tuner" / "digits"
    for verb in ("best", "pareto", "trials"):
        assert tuner(verb, restored, "--json").stdout == tuner(verb, studied, "--json").stdout
    ours, theirs = (json.loads(tuner("status", folder, "--json").stdout) for folder in (restored, studied))
    assert {**ours, "dir": ""} == {**theirs, "dir": ""}
    with Study.open(restored, read_only=True) as a, Study.open(studied, read_only=True) as b:
        assert (a.reports(3), a.token) == (b.reports(3), b.token)
        assert {record.worker for record in a.records()} == {None}
    assert "sesame" not in (restored / "sweep.yaml").read_text()
    assert b"sesame" not in (restored / "study.db").read_bytes()
    assert "exists already; choose another folder with --output" in tuner("import", page, code=7).stderr
    assert tuner("import", page, "-o", tmp_path / "again").stdout.startswith(f"restored {tmp_path / 'again'}")
    with Study.open(restored) as study:  # and it goes on
        study.tell(study.retry([N + 1]) or study.ask().trial, {"accuracy": 1.0, "cost": 1.0, "memory": 0.1})


def test_a_file_that_holds_no_study_is_refused(page: Path, tmp_path: Path) -> None:
    file = tmp_path / "other.html"
    file.write_text("<p>hello</p>")
    assert "holds no study; `tuner report` writes" in tuner("import", file, code=2).stderr
    text = page.read_text()
    start = text.index('id="study">') + 11
    file.write_text(text[: start + 400] + text[text.index("</script>", start) :])
    assert "the study in the file is damaged" in tuner("import", file, code=2).stderr
    from tuner.pages.packing import packed

    for content, said in (("[]", "cannot"), ('{"schema": "tuner.study/9"}', "cannot"), ("{}", "cannot")):
        file.write_text(f'<script type="text/plain" id="study">{packed(content)}</script>')
        assert "study" in tuner("import", file, code=2).stderr, said
    assert not (tmp_path / ".tuner").exists()


def test_the_page_runs_only_what_its_policy_names(page: Path) -> None:
    text = page.read_text()
    [policy] = re.findall(r'http-equiv="Content-Security-Policy" content="([^"]*)"', text)
    assert policy.startswith("default-src 'none'; script-src 'sha256-")
    assert "unsafe" not in policy and "http" not in policy and "*" not in policy
    shown = re.sub(r'<script type="text/plain"[^>]*>[A-Za-z0-9+/=]*</script>', "", text)
    assert len(re.findall(r"<script", shown)) == 1
    assert not re.search(r"\b(src|href)=[\"'](?!#)", shown.split("<script>")[0])
    assert HTML not in shown and SCRIPT not in shown
    assert "sesame" not in text


# --- the page in a browser ---


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with chromium(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def shown(browser: Any, page: Path) -> Any:
    return show(browser, page)


@pytest.fixture(scope="module")
def records(studied: Path) -> dict[int, Any]:
    with Study.open(studied, read_only=True) as study:
        return {record.trial: record for record in study.records()}


def count(driver: Any) -> int:
    return int(re.match(r"([\d,]+) of", driver.find_element("id", "showing").text)[1].replace(",", ""))


def listed(driver: Any) -> list[int]:
    """The trials in the table, as far as it shows them."""
    script = (
        "return [...document.querySelectorAll('#rows tbody tr[data-row] td:first-child')].map((c) => c.textContent)"
    )
    return [int(text) for text in driver.execute_script(script)]


def pinned(driver: Any) -> list[int]:
    script = "return [...document.querySelectorAll('#pinned button.head')].map((b) => b.textContent)"
    return [int(re.search(r"\d+", text)[0]) for text in driver.execute_script(script)]


def place_on_front(driver: Any, trial: int) -> tuple[float, float]:
    return tuple(driver.execute_script("return placeOf(D.trial.indexOf(arguments[0]))", trial))


def test_nothing_is_fetched_nothing_is_violated_and_markup_stays_text(browser: Any, page: Path) -> None:
    requests(browser)  # what the browser's own first page asked for
    shown = show(browser, page)
    assert console(shown) == []
    asked = requests(shown)
    assert page.absolute().as_uri() in asked
    assert [address[:80] for address in asked if not address.startswith(("data:", "blob:", page.as_uri()))] == []
    assert shown.execute_script("return window.hit === undefined && document.querySelectorAll('img').length === 0")
    text = shown.execute_script("return document.body.textContent")
    for written in (HTML, SCRIPT, "<b>optim</b>"):
        assert written in text
    axes = shown.execute_script("return [...document.querySelectorAll('#parallel .name')].map((n) => n.textContent)")
    assert "<b>optim</b>" in axes
    # Plotly reads HTML in its labels: the axis shows the unit as it was written
    labels = shown.execute_script(
        "return [...document.querySelectorAll('#front-plot .xtitle')].map((n) => n.textContent)"
    )
    assert labels == [f"cost ({HTML}) ↓"]
    assert shown.execute_script("return document.querySelectorAll('.js-plotly-plot').length") == 7


def test_a_click_pins_a_trial_and_a_hover_says_what_it_is(shown: Any, records: dict[int, Any]) -> None:
    front = [t for t in shown.execute_script("return D.front.map((r) => D.trial[r])") if t not in pinned(shown)]
    before = pinned(shown)
    stack = shown.find_element("id", "front-stack")
    mouse(shown, stack, place_on_front(shown, front[0]))
    until(shown, f"return S.pinned.length === {len(before) + 1}")
    assert pinned(shown) == [*before, front[0]]
    tip = shown.find_element("id", "front-tip").text
    assert tip.startswith(f"trial {front[0]}, completed")
    assert f"layers = {records[front[0]].config['layers']}" in tip
    cells = shown.find_element("id", "pinned").text
    assert SCRIPT in cells or "adamw" in cells or "it's" in cells


def test_a_brush_filters_every_view(shown: Any, records: dict[int, Any]) -> None:
    axis = shown.find_elements("css selector", "#parallel .axis")[1]
    assert axis.find_element("class name", "name").text == "layers"
    height = axis.size["height"]
    top, room = 26, height - 52
    mouse(shown, axis, (32, top + room * 0.52), (32, top + room * 0.7), (32, top + room + 12))  # the lower half
    until(shown, "return S.brushes.size === 1 && document.querySelectorAll('#chips .chip').length === 1")
    low = {trial for trial, r in records.items() if r.config["layers"] <= 6}
    assert count(shown) == len(low)
    until(shown, f"return table.order.length === {len(low)}")
    assert set(listed(shown)) <= low
    marked = "return [...document.querySelectorAll('#slice-plot .points')].reduce((n, g) => n + g.children.length, 0)"
    compared = [t for t in low if records[t].state == "completed"]
    until(shown, f"return ({marked[7:]}) <= {len(compared) + 1}")  # the baseline is drawn twice
    shown.find_element("id", "clear").click()
    assert count(shown) == N + 4


def test_a_box_on_the_front_and_a_query_filter_too(shown: Any, records: dict[int, Any]) -> None:
    stack = shown.find_element("id", "front-stack")
    x, y = place_on_front(shown, 0)
    mouse(shown, stack, (x - 25, y + 25), (x, y), (x + 25, y - 25))
    until(shown, "return S.box !== null")
    assert 1 <= count(shown) < N
    assert 0 in listed(shown)
    shown.find_element("id", "clear").click()
    query = shown.find_element("id", "query")
    query.send_keys("layers<=4 state=completed")
    wanted = {t for t, r in records.items() if r.config["layers"] <= 4 and r.state == "completed"}
    until(shown, f"return S.count === {len(wanted)}")
    query.clear()
    query.send_keys("layrs<4")
    until(shown, "return !document.getElementById('query-error').hidden")
    assert "there is no column layrs; there are: trial, state, accuracy" in shown.find_element("id", "query-error").text


def test_what_is_copied_is_what_a_command_gets(shown: Any, records: dict[int, Any]) -> None:
    texts = shown.execute_script("return [...rows()].map((r) => [D.trial[r], asFlags(r), asYaml(r), asEnvironment(r)])")
    for trial, flags, yaml, variables in texts:
        config = records[trial].config
        assert flags == shlex.join(expand_command(["${args}"], config))
        assert read_value("{" + ", ".join(yaml.splitlines()) + "}") == config
        own = {
            n: v
            for n, v in trial_environment(Job(trial=trial, config=config, seed=0), Path()).items()
            if "_PARAM_" in n
        }
        own.pop("WANDB_SWEEP_PARAM_PATH", None)
        assert shlex.split(variables) == [f"{name}={value}" for name, value in own.items()]
    shown.execute_cdp_cmd(
        "Browser.grantPermissions", {"permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]}
    )
    shown.find_element("css selector", "input[value=env]").click()
    shown.find_element("id", "copy").click()
    until(shown, "return document.getElementById('copied').textContent === 'Copied'")
    read = "const done = arguments[0]; navigator.clipboard.readText().then(done, (e) => done(String(e)))"
    assert shown.execute_async_script(read) == shown.find_element("id", "form-text").text
    assert shown.find_element("id", "form-text").text.startswith("TUNER_PARAM_LR=")


def test_the_keyboard_does_what_the_mouse_does(shown: Any, records: dict[int, Any]) -> None:
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.keys import Keys

    stack = shown.find_element("id", "front-stack")
    before = pinned(shown)
    stack.send_keys(Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    walked = shown.execute_script("return D.trial[front.walking]")
    assert shown.find_element("id", "front-tip").text.startswith(f"trial {walked},")
    if walked not in before:
        stack.send_keys(Keys.ENTER)
        until(shown, f"return S.pinned.length === {len(before) + 1}")
        assert walked in pinned(shown)
    axis = shown.find_elements("css selector", "#parallel .axis")[1]
    axis.send_keys(*[Keys.ARROW_UP] * 10)  # the lower end at one half
    until(shown, "return S.brushes.size === 1")
    assert count(shown) == sum(r.config["layers"] > 6 for r in records.values())
    axis.send_keys(Keys.ESCAPE)
    assert count(shown) == N + 4
    shown.find_element("id", "rows").send_keys(Keys.ARROW_DOWN)
    until(shown, "return document.activeElement.dataset.row === '0'")
    for _ in range(20):  # beyond what is in sight: rows come and go, the focus stays
        ActionChains(shown).send_keys(Keys.ARROW_DOWN).perform()
    until(shown, "return document.activeElement.dataset.row === '20'")
    ActionChains(shown).send_keys(Keys.ENTER).perform()
    until(shown, "return S.pinned.includes(20)")


def test_it_is_dark_when_the_reader_s_screen_is_and_on_demand(browser: Any, page: Path) -> None:
    ink = "return getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number).reduce((a, b) => a + b)"
    media = {"features": [{"name": "prefers-color-scheme", "value": "dark"}]}
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", media)
    show(browser, page)
    assert browser.execute_script(ink) < 150
    browser.find_element("id", "theme").click()
    assert browser.execute_script(ink) > 600
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": []})
    assert console(browser) == []


def test_on_paper_it_is_light_and_the_table_is_whole(shown: Any) -> None:
    shown.execute_script("document.getElementById('theme').click(); window.dispatchEvent(new Event('beforeprint'))")
    assert shown.execute_script("return document.documentElement.dataset.theme") == "light"
    assert len(listed(shown)) == N + 4
    widths = shown.execute_script("return [...document.querySelectorAll('.main-svg')].map((s) => s.clientWidth)")
    assert max(widths) <= 700
    shown.execute_script("window.dispatchEvent(new Event('afterprint'))")
    assert shown.execute_script("return document.documentElement.dataset.theme") == "dark"
    fitting = "document.querySelector('#front-plot .main-svg').clientWidth === $('front-plot').clientWidth"
    shown.set_window_size(1100, 1000)
    until(shown, f"return window.innerWidth < 1200 && {fitting}")
    shown.set_window_size(1360, 1000)
    printed = shown.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True, "printBackground": True})
    assert printed["data"].startswith("JVBER")  # %PDF
    assert console(shown) == []


@pytest.mark.parametrize("name", ["empty", "single"])
def test_pages_of_little_studies_say_what_is_missing(browser: Any, tmp_path: Path, name: str) -> None:
    one = {"metrics": {"loss": "minimize"}, "parameters": {"x": {"min": 0.0, "max": 1.0}}, "search": "random"}
    with Study.create({**one, "name": name}, tmp_path / name) as study:
        for loss in (3.0, 1.0, 2.0) if name == "single" else ():
            study.tell(study.ask().trial, {"loss": loss})
    show(browser, Path(tuner("report", tmp_path / name).stdout.strip()))
    assert console(browser) == []
    assert "no intermediate reports" in browser.find_element("id", "curves-plot").text
    drawn = browser.execute_script("return document.querySelectorAll('#front-plot .points path').length")
    assert (drawn > 0) is (name == "single")
