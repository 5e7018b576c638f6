"""`tuner compare`: open the studies, compare them, render."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack

from tuner.errors import UsageError
from tuner.reporting.comparing import to_json, to_text
from tuner.sessions import find_study
from tuner.study import Study
from tuner.views.comparison import comparison


def compare_studies(names: Sequence[str], format: str, *, width: int | None = None) -> str:
    """Studies over one another.

    Raises:
        UsageError: Another format than table, json or md, or studies that cannot be compared.
        StoreError: There is no such study.
    """
    if format not in ("table", "json", "md"):
        raise UsageError(f"-f must be one of table, json, md, but got {format!r}")
    with ExitStack() as stack:
        studies = [stack.enter_context(Study.open(find_study(name), read_only=True)) for name in names]
        found = comparison(studies, names)
    if format == "json":
        return to_json(found)
    return to_text(found, "md" if format == "md" else "table", width=width)
