"""Every malformed sweep through the command line: exit code 2, the key named, no traceback, nothing run."""

from __future__ import annotations

from pathlib import Path

import pytest
from tuner.cli import app
from typer.testing import CliRunner

from tests.malformed_sweeps import MARKER, malformed_sweeps

SWEEPS = malformed_sweeps()


def test_there_are_three_hundred_of_them() -> None:
    assert len({text for _, text in SWEEPS}) >= 300


@pytest.mark.parametrize("verb", ["validate", "run"])
def test_malformed_sweeps_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "sweep.yaml"
    chosen = SWEEPS if verb == "validate" else SWEEPS[::12]
    for name, text in chosen:
        file.write_bytes(text.encode("utf-8", errors="surrogatepass"))
        result = CliRunner().invoke(app, [verb, str(file)])
        assert result.exit_code == 2, f"{name}: {result.exit_code} {result.output}"
        assert result.stderr.startswith("error: "), f"{name}: {result.stderr}"
        assert "$" in result.stderr, f"{name} names no key: {result.stderr}"
        assert "Traceback" not in result.output, name
        assert not (tmp_path / ".tuner").exists(), f"{name} began a study"
        assert MARKER not in {path.name for path in tmp_path.iterdir()}, f"{name} ran something"
