"""Refreshes what the README shows of a real run: its output and `docs/run.svg`, the picture of it.

python docs/refresh.py                  runs examples/sparsity.yaml, about a minute
python docs/refresh.py tests.txt        takes the last line of pytest's output from a file, too
"""

from __future__ import annotations

import io
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
WIDTH = 124
PROGRESS_LINES = 4
FRONT_ROWS = 6


def draw(progress: list[str], result: list[str]) -> None:
    """Write the picture: the last finished trials, then the front."""
    console = Console(record=True, width=WIDTH, file=io.StringIO())
    console.print(Text("$ tuner run examples/sparsity.yaml", style="bold green"))
    console.print(Text("..."))
    for line in progress[-PROGRESS_LINES:]:
        console.print(Text(line, style="dim"))
    for line in result:
        console.print(Text(line[: WIDTH - 1], style="bold" if line.startswith((" trial", "front", "knee")) else ""))
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="tuner"), flags=re.DOTALL)  # no remote fonts
    (ROOT / "docs/run.svg").write_text(svg, encoding="utf-8")


def put(readme: str, index: int, text: str) -> str:
    """The README with its `index`-th block of output replaced."""
    found = list(re.finditer(r"```text\n.*?```", readme, flags=re.DOTALL))[index]
    return f"{readme[: found.start()]}```text\n{text}\n```{readme[found.end() :]}"


def shortened(result: list[str]) -> list[str]:
    """The first rows of the front, the baseline, and what follows the table; the rest as an ellipsis."""
    rule = next(i for i, line in enumerate(result) if line.startswith(" ─"))
    baseline = next(i for i, line in enumerate(result) if " baseline " in line)
    return [*result[: rule + 1 + FRONT_ROWS], " ...", *result[baseline:]]


def main(tests: Path | None) -> None:
    """Run the main job and rewrite README.md and the picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tuner", "run", "examples/sparsity.yaml", "--plain", "--dir", f"{folder}/s"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result = run.stdout.strip("\n").splitlines()
    draw([line for line in run.stderr.splitlines() if line.startswith("[")], result)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = put(readme, 0, "\n".join(line.rstrip() for line in shortened(result)))
    if tests is not None:
        readme = put(readme, 1, tests.read_text(encoding="utf-8").rstrip().splitlines()[-1])
    (ROOT / "README.md").write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
