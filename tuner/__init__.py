"""A tuner for commands, functions and models: sweeps in, Pareto fronts out.

The names below load on first use (PEP 562), so that `import tuner` stays cheap.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tuner.errors import Stopped, TunerError
    from tuner.loop import run
    from tuner.space import SearchSpace
    from tuner.study import Study
    from tuner.sweep import Sweep
    from tuner.trial import Metric, Outcome, Proposal, Trial
    from tuner.trial_client import report, should_stop

__version__ = "0.1.0"

_EXPORTS = {
    "Metric": "tuner.trial",
    "Outcome": "tuner.trial",
    "Proposal": "tuner.trial",
    "SearchSpace": "tuner.space",
    "Stopped": "tuner.errors",
    "Study": "tuner.study",
    "Sweep": "tuner.sweep",
    "Trial": "tuner.trial",
    "TunerError": "tuner.errors",
    "report": "tuner.trial_client",
    "report_items": "tuner.trial_client",
    "run": "tuner.loop",
    "should_stop": "tuner.trial_client",
}
__all__ = [
    "Metric",
    "Outcome",
    "Proposal",
    "SearchSpace",
    "Stopped",
    "Study",
    "Sweep",
    "Trial",
    "TunerError",
    "report",
    "report_items",
    "run",
    "should_stop",
]

# In a checkout `kernels/`, `objectives/`, `search_spaces/` and `cli.py` lie at the root, beside this package. They are
# part of it all the same (`tuner.kernels`, `tuner.cli`): a top-level package named `kernels` would break transformers.
_ROOT = Path(__file__).resolve().parent.parent
if (_ROOT / "pyproject.toml").is_file() and (_ROOT / "cli.py").is_file():
    __path__.append(str(_ROOT))


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(importlib.import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module 'tuner' has no attribute {name!r}")
