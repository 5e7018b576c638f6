from __future__ import annotations

import subprocess
import sys


def test_importing_the_space_loads_numpy_alone() -> None:
    code = "import sys, tuner.space; print({'torch', 'scipy', 'pandas', 'pydantic', 'optuna'} & set(sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "set()\n"
