"""Other tools' sweep files in our own terms: a native sweep, and one line for each thing that differs.

| dialect | module | told by |
|---|---|---|
| W&B sweep | `wandb` | `program`, `method`, `metric` or a `distribution`; `tuner run` reads it directly |
| Katib Experiment v1beta1 | `katib` | `kind: Experiment` |
| Hydra sweeper | `hydra` | `hydra.sweeper` |
| NNI experiment or search space | `nni` | `_type` |
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tuner.errors import Problem, SweepError

Translation = tuple[dict[str, Any], list[str]]


def translate_file(path: Path | str) -> tuple[dict[str, Any], list[str], str]:
    """Return a foreign file as a native sweep, the notes, and the dialect's name.

    Raises:
        SweepError: The file is none of the dialects, or says something that has no native form.
    """
    from tuner.sweep import Sweep
    from tuner.sweeps.checks import plain
    from tuner.sweeps.findings import split
    from tuner.sweeps.yaml_source import read_text

    path = Path(path)
    source = str(path)
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise SweepError([Problem("$", f"cannot be read ({error}); check the path")], source) from None
    document = read_text(text, source)
    dialect, translate = _dialect(document.data, source, path)
    try:
        native, notes = translate(plain(document.data, source))
    except SweepError as error:
        problems = [Problem(p.path, p.message, document.line(split(p.path))) for p in error.problems]
        raise SweepError(problems, source) from None
    order = {key: place for place, key in enumerate(Sweep.model_fields)}
    return dict(sorted(native.items(), key=lambda item: order.get(item[0], len(order)))), notes, dialect


def _dialect(data: Any, source: str, path: Path) -> tuple[str, Callable[[Mapping[str, Any]], Translation]]:
    from tuner.importers import hydra, katib, nni, wandb

    if isinstance(data, Mapping):
        if katib.is_katib(data):
            return "katib", katib.translate
        if hydra.is_hydra(data):
            return "hydra", lambda config: hydra.translate(config, folder=path.parent)
        if nni.is_nni(data):
            return "nni", lambda config: nni.translate(config, folder=path.parent)
        if wandb.is_wandb(data):
            return "wandb", wandb.translate
        if data.get("objective") is not None or data.get("command") is not None:
            return "native", lambda native: (dict(native), ["already a native sweep"])
    message = "must be a W&B sweep, a Katib Experiment, a Hydra sweeper or an NNI file, but is none that is known"
    raise SweepError([Problem("$", f"{message}; write the sweep by hand, `tuner init` starts one")], source)
