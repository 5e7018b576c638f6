"""Refreshes what the README shows of real runs: the output of the main job, and pictures of the live view.

python docs/refresh.py                  runs examples/sparsity.yaml twice and forest.yaml, three minutes; needs tmux
python docs/refresh.py tests.txt        takes the last line of pytest's output from a file, too

The pictures (`docs/run.svg`, `docs/live.svg`) are a terminal's: tmux shows the run, and what it shows when a share of
the trials has finished is drawn as it was.
"""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.text import Text

ROOT = Path(__file__).resolve().parent.parent
COLUMNS, ROWS = 112, 24
FRONT_ROWS = 3
PICTURES = {"run.svg": ("examples/sparsity.yaml", 0.75, ""), "live.svg": ("examples/forest.yaml", 0.6, r"cpu1.*iB.*%")}
"""Name -> the example, the share of its trials that have finished, and a pattern that must be in sight."""


def live_view(example: str, share: float, pattern: str) -> str:
    """What a person sees in the course of a run, with its escape sequences."""
    with tempfile.TemporaryDirectory(prefix="tmux-") as folder:
        tmux = ["tmux", "-S", f"{folder}/socket", "-f", os.devnull]
        words = [sys.executable, "-m", "tuner", "run", example, "--dir", f"{folder}/s"]
        around = {name: value for name, value in os.environ.items() if name not in ("CI", "NO_COLOR", "TMUX")}
        window = ["new-session", "-d", "-x", str(COLUMNS), "-y", str(ROWS), shlex.join(words)]
        subprocess.run([*tmux, *window], cwd=ROOT, env=around, check=True)
        try:
            while True:
                seen = subprocess.run([*tmux, "capture-pane", "-p", "-e"], capture_output=True, text=True, check=True)
                done = re.search(r"(\d+)/(\d+) trials", seen.stdout)
                if done and int(done[1]) >= share * int(done[2]) and re.search(pattern, seen.stdout):
                    return seen.stdout.rstrip("\n")
                time.sleep(0.1)
        finally:
            subprocess.run([*tmux, "kill-server"], check=False)


def draw(name: str) -> None:
    """Write a picture."""
    example, share, pattern = PICTURES[name]
    seen = live_view(example, share, pattern)
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text(f"$ tuner run {example}", style="bold green"))
    console.print(Text.from_ansi(seen))
    svg = re.sub(r"@font-face \{.*?\}\s*", "", console.export_svg(title="tuner"), flags=re.DOTALL)  # no remote fonts
    (ROOT / "docs" / name).write_text(svg, encoding="utf-8")


def put(readme: str, index: int, text: str) -> str:
    """The README with its `index`-th block of output replaced."""
    found = list(re.finditer(r"```text\n.*?```", readme, flags=re.DOTALL))[index]
    return f"{readme[: found.start()]}```text\n{text}\n```{readme[found.end() :]}"


def shortened(result: list[str]) -> list[str]:
    """The first rows of the front, the baseline, and the line on the whole front; the rest as an ellipsis."""
    rule = next(i for i, line in enumerate(result) if line.startswith(" ─"))
    baseline = next(i for i, line in enumerate(result) if " baseline " in line)
    whole = next(i for i, line in enumerate(result) if line.startswith("front of "))
    return [*result[: rule + 1 + FRONT_ROWS], " ...", *result[baseline : whole + 1]]


def main(tests: Path | None) -> None:
    """Run the main job and rewrite README.md and the picture."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", "tuner", "run", "examples/sparsity.yaml", "--plain", "--dir", f"{folder}/s"]
        run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    result = run.stdout.strip("\n").splitlines()
    for name in PICTURES:
        draw(name)
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    readme = put(readme, 0, "\n".join(line.rstrip() for line in shortened(result)))
    if tests is not None:
        readme = put(readme, 1, tests.read_text(encoding="utf-8").rstrip().splitlines()[-1].strip("= "))
    (ROOT / "README.md").write_text(readme, encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]) if len(sys.argv) > 1 else None)
