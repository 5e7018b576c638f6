"""A report put into a document, between two comments that mark its place:

<!-- tuner bench: begin -->
<!-- tuner bench: end -->
"""

from __future__ import annotations

from pathlib import Path

from tuner.errors import UsageError


def write_block(file: Path, name: str, text: str) -> None:
    """Replace what is between the marks `name: begin` and `name: end`.

    Raises:
        UsageError: The file is not there, or has not exactly one pair of these marks, in this order.
    """
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    if not file.is_file():
        raise UsageError(f"there is no file {file}; make it, with the lines {begin} and {end} in it")
    content = file.read_text(encoding="utf-8")
    before, found, rest = content.partition(begin)
    _, closed, after = rest.partition(end)
    if not found or not closed or begin in rest or end in before + after:
        raise UsageError(f"{file} must have the lines {begin} and {end} once each, in this order; add them")
    file.write_text(f"{before}{begin}\n\n{text}\n\n{end}{after}", encoding="utf-8")
