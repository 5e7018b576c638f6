"""The layout of design section 2: which way the arrows point, and what the wheel holds."""

from __future__ import annotations

import ast
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
CONTENT = ("kernels", "objectives", "search_spaces")


def imports_of(file: Path) -> set[str]:
    """Absolute names of the modules that a file imports anywhere, type-checking blocks included."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module} | {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def machinery() -> list[Path]:
    return sorted((ROOT / "tuner").rglob("*.py"))


@pytest.mark.parametrize("folder", CONTENT)
def test_content_folders_are_namespace_packages(folder: str) -> None:
    assert not (ROOT / folder / "__init__.py").exists()


def test_machinery_knows_no_content_and_no_skin() -> None:
    forbidden = tuple(f"tuner.{name}" for name in (*CONTENT, "cli"))
    for file in machinery():
        bad = {name for name in imports_of(file) if name.startswith(forbidden)}
        assert not bad, f"{file.name} imports {bad}"


@pytest.mark.parametrize("folder", CONTENT)
def test_content_imports_only_the_machinery(folder: str) -> None:
    for file in (ROOT / folder).rglob("*.py"):
        bad = {name for name in imports_of(file) if name.split(".")[0] in (*CONTENT, "cli", "tests")}
        assert not bad, f"{file} imports {bad}"


ENDS = {"study", "store", "loop", "reporting", "runners", "sessions", "verbs", "cli", "commands", "ledger", "proposer"}
BARRED = {
    "gp": ENDS | {"strategies", "sweep", "history", "problem"},
    "strategies": ENDS,
    "runners": ENDS - {"runners"} | {"strategies"} - {"study"},
    "reporting": {"loop", "runners", "cli", "commands", "strategies"},
    "importers": ENDS | {"strategies", "gp"},
}


@pytest.mark.parametrize("folder", sorted(BARRED))
def test_arrows_point_one_way(folder: str) -> None:
    for file in (ROOT / "tuner" / folder).rglob("*.py"):
        if file.name == "factory.py":  # builds the runner of a study: the one place where both are known
            continue
        bad = {name for name in imports_of(file) if name.split(".")[0] == "tuner" and name.split(".")[1:2] != []}
        bad = {name for name in bad if name.split(".")[1] in BARRED[folder]}
        assert not bad, f"{file} imports {bad}"


def test_the_space_knows_nothing_above_it() -> None:
    family = {"errors", "expressions", "operators", "parameters", "encoding", "sampling", "space", "trial"}
    files = [ROOT / "tuner" / f"{name}.py" for name in ("expressions", "operators", "encoding", "space")]
    for file in [*files, *(ROOT / "tuner/parameters").glob("*.py"), *(ROOT / "tuner/sampling").glob("*.py")]:
        used = {m.split(".")[1] for m in imports_of(file) if m.startswith("tuner.")}
        assert used <= family, f"{file.name} imports {used - family}"


def test_help_and_reading_verbs_import_nothing_heavy() -> None:
    heavy = {"torch", "pandas", "optuna", "botorch", "sklearn", "scipy"}
    for modules in (
        ["tuner.cli"],
        ["tuner.cli", "tuner.sessions", "tuner.reporting.texts", "tuner.ranking", "tuner.verbs.explaining"],
    ):
        code = f"import importlib, sys; [importlib.import_module(m) for m in {modules}]; print(*sys.modules)"
        run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
        assert not heavy & set(run.stdout.split())


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built from a copy of the tracked tree by the installed setuptools."""
    pytest.importorskip("setuptools", minversion="77", reason="building a wheel here needs setuptools >= 77")
    source = tmp_path_factory.mktemp("source")
    files = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split("\n")
    for name in filter(None, files):
        if (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            (source / name).write_bytes((ROOT / name).read_bytes())
    out = tmp_path_factory.mktemp("wheel")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "-q",
        "-w",
        str(out),
        str(source),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return next(out.glob("*.whl"))


def test_the_wheel_holds_only_the_package(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert tops == {"tuner"}
    assert "tuner/cli.py" in names
    assert "tuner/objectives/compression/sparsity.py" in names
    assert "tuner/strategies/bayesian/gp.py" in names
    assert {f"tuner/pages/static/{name}" for name in ("report.html", "report.css", "main.js")} <= set(names)


def test_a_normal_install_imports_and_runs(wheel: Path, tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--target", str(tmp_path / "site"), str(wheel)],
        check=True,
        capture_output=True,
    )
    code = (
        "import tuner, tuner.cli, tuner.objectives.compression.sparsity as s; from tuner import catalog; "
        "print(tuner.__file__, s.__file__, catalog.names('strategies'))"
    )
    environment = {"PYTHONPATH": str(tmp_path / "site"), "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert run.stdout.count(str(tmp_path)) == 2
    assert "random" in run.stdout


def test_a_checkout_imports_without_being_installed(tmp_path: Path) -> None:
    code = "import tuner.kernels, tuner.cli, tuner.objectives.compression.sparsity; print(tuner.cli.__file__)"
    environment = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"}
    run = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=tmp_path, env=environment
    )
    assert run.stdout.strip() == str(ROOT / "cli.py")
