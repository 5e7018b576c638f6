"""Draws `docs/run.svg`, the picture in the README, from the output of a real run.

tuner run examples/sparsity.yaml 2> progress.txt > front.txt; python docs/picture.py progress.txt front.txt
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

from rich.console import Console
from rich.text import Text

PROGRESS_LINES = 4


def main(progress: Path, front: Path) -> None:
    """Write the picture from what a run printed on stderr and on stdout."""
    lines = progress.read_text(encoding="utf-8").splitlines()
    finished = [line for line in lines if line.startswith("[")]
    console = Console(record=True, width=124, file=io.StringIO())
    console.print(Text("$ tuner run examples/sparsity.yaml", style="bold green"))
    console.print(Text("..."))
    for line in finished[-PROGRESS_LINES:]:
        console.print(Text(line, style="dim"))
    for line in front.read_text(encoding="utf-8").splitlines():
        console.print(Text(line[:123], style="bold" if line.startswith((" trial", "front", "knee")) else ""))
    console.save_svg(str(Path(__file__).parent / "run.svg"), title="tuner")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
