"""Which studies are of the same sweep, and what to call studies that stand beside each other."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tuner.errors import UsageError

if TYPE_CHECKING:
    from tuner.study import Study
    from tuner.sweep import Sweep

_OWN = ("name", "seed", "storage", "base_dir", "notes", "source")
"""What may differ between two runs of one sweep."""


def groups(studies: Sequence[Study]) -> list[list[int]]:
    """Indices of the studies of the same sweep, seed and name apart, in the order of the first of each."""
    found: dict[str, list[int]] = {}
    for i, study in enumerate(studies):
        found.setdefault(_identity(study.sweep), []).append(i)
    return list(found.values())


def _identity(sweep: Sweep) -> str:
    data: dict[str, Any] = {key: value for key, value in sweep.to_dict().items() if key not in _OWN}
    return json.dumps(data, sort_keys=True, default=repr)


def labels(studies: Sequence[Study], names: Sequence[str]) -> list[str]:
    """The folders' names where they tell the studies apart, else what the user called them.

    Raises:
        UsageError: Fewer than two studies, or one of them twice.
    """
    if len(studies) < 2:
        raise UsageError("a comparison needs at least two studies; name them, as in `tuner compare before after`")
    for i, study in enumerate(studies):
        if any(study.token == other.token for other in studies[:i]):
            raise UsageError(f"every study may be named once, but {names[i]!r} is named twice")
    folders = [study.dir.name if study.dir is not None else study.sweep.name for study in studies]
    return folders if len(set(folders)) == len(folders) else [str(Path(name)) for name in names]
