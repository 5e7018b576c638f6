"""Wording: the sentences and figures that all forms of a report share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from tuner.reporting.streams import stream_lines
from tuner.reporting.tables import cell

if TYPE_CHECKING:
    from tuner.views.report import Report
    from tuner.views.verdict import Standing


_ROLES = {"best": "the best", "knee": "the knee of the front", "preferred": "the member of the front that is preferred"}


def headline(report: Report) -> str:
    """The verdict in one sentence."""
    verdict = report.verdict
    finished = sum(n for state, n in verdict.counts.items() if state not in ("waiting", "running"))
    if report.stream is not None:
        return ". ".join(stream_lines(report.stream[0])) + "."
    if verdict.chosen is None:
        return f"No feasible trial in {finished}."
    what = _ROLES[verdict.role]
    values = " and ".join(
        f"{one.metric} {amount(one.value, one.unit)}{f' ({change_text(one)})' if one.baseline is not None else ''}"
        for one in verdict.standings
    )
    sentence = f"Trial {verdict.chosen} is {what}: {values}."
    found = report.recommended
    if found is not None and found.trial != verdict.chosen:
        means = ", ".join(f"{name} {cell(one.mean)}" for name, one in found.metrics.items())
        sentence += f" Measurements are noisy: trial {found.trial} is recommended ({means})."
    return sentence


def amount(value: float, unit: str) -> str:
    """A metric's value with its unit."""
    return f"{cell(value)} {unit}" if unit else cell(value)


def change_text(one: Standing) -> str:
    """The change against the baseline: relative, or the two values where the baseline is zero."""
    if one.baseline is None:
        return one.goal
    if one.value == one.baseline:
        return "as the baseline"
    if one.change is None:
        return f"baseline {cell(one.baseline)}"
    return f"{one.change:+.1%} against {cell(one.baseline)}"


def change_word(one: Standing) -> str:
    """better, worse or even."""
    return "even" if one.better is None else "better" if one.better else "worse"


def duration(seconds: float) -> str:
    """Seconds as people say them: 0.8 s, 42 s, 3 min 20 s, 5 h 12 min."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    minutes, s = divmod(round(seconds), 60)
    if minutes < 1:
        return f"{s} s"
    hours, m = divmod(minutes, 60)
    return f"{m} min {s} s" if hours < 1 else f"{hours} h {m} min"


def git_text(state: Mapping[str, Any] | None) -> str:
    """A commit, its branch, and whether files were changed."""
    if not state:
        return "not a repository"
    changed = state.get("changed_files")
    files = (
        ""
        if changed is None
        else f", {changed} {'file' if changed == 1 else 'files'} changed"
        if changed
        else ", nothing changed"
    )
    return f"{state.get('commit')} on {state.get('branch')}{files}"


def shortened(words: Sequence[str], most: int) -> str:
    """The first of a list, and how many more there are."""
    rest = len(words) - most
    return ", ".join(words[:most]) + (f" and {rest} more" if rest > 0 else "")
