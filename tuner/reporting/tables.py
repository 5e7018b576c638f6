"""Tables of trials in every format of `-f`: table, json, jsonl, csv, md, value. Text out; nothing is printed here."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from tuner import recommendation
from tuner.errors import UsageError
from tuner.parameters import Constant

if TYPE_CHECKING:
    import pandas as pd

    from tuner.problem import Problem
    from tuner.records import TrialRecord
    from tuner.study import Study

Format = Literal["table", "json", "jsonl", "csv", "md", "value"]
FORMATS: tuple[Format, ...] = ("table", "json", "jsonl", "csv", "md", "value")

_LATER = ("final.", "test.")
"""Measures that join a finished trial: the fresh measurements of a finalist, its score on the test split."""

_MARKUP = (("\\", "\\\\"), ("&", "&amp;"), ("<", "&lt;"), ("|", "\\|"), ("`", "\\`"), ("[", "\\["), ("*", "\\*"))
"""What Markdown would act on, and how it is written instead; the backslash first."""

_CELL_LIMITS = (32, 16)
"""Characters that a cell of a too wide table is cut to; whole values are in `tuner show` and the other formats."""


def cell(value: Any) -> str:
    """A value as people read it: numbers to 5 significant digits, lists and mappings as compact JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.5g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(cell(item) for item in value) + "]"
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{cell(name)}: {cell(item)}" for name, item in value.items()) + "}"
    return legible(str(value))


def legible(text: str) -> str:
    """Text of a user or a trial on one line, without what a terminal would act on: controls and escapes."""
    return text if text.isprintable() else "".join(c if c.isprintable() else " " for c in text)


def markdown(text: str) -> str:
    """A text as a Markdown document may hold it: legible, and neither HTML, a table's border nor any markup."""
    for character, meant in _MARKUP:
        text = text.replace(character, meant)
    return legible(text)


def trial_columns(problem: Problem, records: Sequence[TrialRecord]) -> list[str]:
    """Column names: the trial, the metrics (and what was measured of it later), the parameters, how it went."""
    later = sorted({name for record in records for name in record.measures if name.startswith(_LATER)})
    parameters = [parameter.name for parameter in problem.space.parameters if not isinstance(parameter, Constant)]
    metrics = [metric.name for metric in problem.metrics]
    return ["trial", "state", *metrics, *later, *parameters, "feasible", "seconds", "failure"]


def trial_row(record: TrialRecord, problem: Problem) -> dict[str, Any]:
    """One trial by column name; a parameter and a metric of the same name would be told apart by their column."""
    failure = record.failure.kind if record.failure is not None else None
    head = {"trial": record.trial, "state": record.state, "feasible": record.feasible}
    later = {name: value for name, value in record.measures.items() if name.startswith(_LATER)}
    return {**record.config, **record.metrics, **later, **head, "seconds": record.seconds, "failure": failure}


def render_trials(
    records: Sequence[TrialRecord],
    study: Study,
    format: Format,
    *,
    thing: str,
    names: Sequence[str] = (),
    width: int | None = None,
) -> str:
    """Trials in one of the formats.

    Args:
        records: What to show.
        study: Whose they are.
        format: One of `FORMATS`.
        thing: "trials", "pareto" or "best": the schema of the JSON document, `tuner.<thing>/1`.
        names: Parameters or metrics to show; with `value` a trial is one line of them. Empty: all.
        width: Terminal width; None never truncates.

    Raises:
        UsageError: A name is neither a parameter nor a metric, or `value` was asked for without names.
    """
    problem = study.problem
    if format in ("json", "jsonl"):
        return _json(records, study, format, thing)
    columns = trial_columns(problem, records)
    rows = [trial_row(record, problem) for record in records]
    if format == "table" and not rows:
        return "no trials"
    first = ["trial", "state", *(metric.name for metric in problem.metrics)]
    return render_rows(columns, rows, format, names, width=width, first=first)


def render_rows(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    format: Format,
    names: Sequence[str] = (),
    *,
    width: int | None = None,
    first: Sequence[str] = (),
) -> str:
    """Rows in any of the formats but `json`, all columns or those asked for.

    Args:
        columns: Every column there is.
        rows: By column name.
        format: How.
        names: The columns to show, empty for all; `value` needs them and makes a row one line.
        width: Terminal width; None never truncates.
        first: Columns that tables show even when they are empty, and that stay longest where width is short; when
            given, other columns without any value are left out.

    Raises:
        UsageError: A name is not a column, or `value` was asked for without names.
    """
    for name in names:
        if name not in columns:
            raise UsageError(f"there is nothing called {name!r} (there are: {', '.join(columns)})")
    if format == "value" and not names:
        raise UsageError("-f value needs to know which value: add --name NAME, as in `tuner best -f value --name lr`")
    chosen = list(names) or list(columns)
    if format == "value":
        return "\n".join("\t".join(plain(row.get(name)) for name in chosen) for row in rows)
    if format == "jsonl":
        return "\n".join(json.dumps({name: row.get(name) for name in chosen}) for row in rows)
    if format != "csv" and first and not names:
        chosen = [name for name in chosen if name in first or any(row.get(name) is not None for row in rows)]
    return render(chosen, rows, format, width=width, first=first)


def render_document(document: Mapping[str, Any], format: Format, names: Sequence[str] = ()) -> str:
    """One document: as JSON, or as a row of its keys. Raises `UsageError` as `render_rows` does."""
    if format == "json":
        return json.dumps(document, indent=2)
    if format == "jsonl" and not names:
        return json.dumps(document)
    return render_rows(list(document), [document], format, names)


def plain(value: Any) -> str:
    """A value for scripts: numbers in full, structures as JSON."""
    return value if isinstance(value, str) else json.dumps(value)


def _json(records: Sequence[TrialRecord], study: Study, format: Format, thing: str) -> str:
    trials = [record.to_json() for record in records]
    if format == "jsonl":
        return "\n".join(json.dumps(trial) for trial in trials)
    document: dict[str, Any] = {"schema": f"tuner.{thing}/1", "study": study.sweep.name}
    if thing == "best":
        found = recommendation.known(study)
        document["trial"] = trials[0] if trials else None
        document["recommended"] = None if found is None else found.to_json()
    else:
        document["trials"] = trials
    if thing == "pareto":
        volume, corner = study.hypervolume()
        names = [metric.name for metric in study.problem.objectives]
        document |= {"hypervolume": volume, "reference": dict(zip(names, corner, strict=True))}
    return json.dumps(document, indent=2)


def to_csv(columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> str:
    """Comma-separated text; structures as JSON, absent values empty."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    for row in rows:
        writer.writerow(["" if row.get(name) is None else plain(row[name]) for name in columns])
    return out.getvalue()


def render(
    columns: Sequence[str],
    rows: Sequence[Mapping[str, Any]],
    format: Format,
    *,
    width: int | None = None,
    first: Sequence[str] = (),
) -> str:
    """Rows as a table for the terminal, as Markdown, or as CSV; where width is short, `first` columns stay longest."""
    if format == "csv":
        return to_csv(columns, rows).rstrip("\n")
    cells = [[cell(row.get(name)) for name in columns] for row in rows]
    if format == "md":
        escaped = [[markdown(text) for text in line] for line in cells]
        lines = [[markdown(name) for name in columns], ["---"] * len(columns), *escaped]
        return "\n".join("| " + " | ".join(line) + " |" for line in lines)
    return _table(columns, cells, width, first)


def _table(columns: Sequence[str], cells: Sequence[Sequence[str]], width: int | None, first: Sequence[str]) -> str:
    columns, cells, hidden = (columns, cells, []) if width is None else _fitted(columns, cells, width, first)
    cells = [[" ".join(text.splitlines()) for text in line] for line in cells]
    sizes = _sizes(columns, cells)
    numeric = [all(_is_number(line[i]) for line in cells) for i in range(len(columns))]

    def aligned(line: Sequence[str]) -> str:
        padded = []
        for text, size, right in zip(line, sizes, numeric, strict=True):
            space = " " * (size - _cells(text))
            padded.append(space + text if right else text + space)
        return f" {'   '.join(padded)}".rstrip()

    rule = " " + "─" * (_table_width(sizes) - 2)
    lines = ["", aligned(columns), rule, *map(aligned, cells), ""]
    if hidden:
        lines.append(f"no room for {', '.join(hidden)}: --name NAME shows one, -f csv all")
    return "\n".join(lines)


def _cells(text: str) -> int:
    """How many columns of a terminal a text takes."""
    if text.isascii():
        return len(text)
    from rich.cells import cell_len

    return cell_len(text)


def _sizes(columns: Sequence[str], cells: Sequence[Sequence[str]]) -> list[int]:
    return [max(map(_cells, (name, *(line[i] for line in cells)))) for i, name in enumerate(columns)]


def _fitted(
    columns: Sequence[str], cells: Sequence[Sequence[str]], width: int, first: Sequence[str]
) -> tuple[Sequence[str], Sequence[Sequence[str]], list[str]]:
    """The table made to fit: long cells cut to the first limit that is enough, then columns left out, `first` last."""

    for limit in (10_000, *_CELL_LIMITS):
        cut = [[text if len(text) <= limit else text[: limit - 1] + "…" for text in line] for line in cells]
        sizes = _sizes(columns, cut)
        if _table_width(sizes) <= width:
            break
    shown: list[int] = []
    for i in sorted(range(len(columns)), key=lambda i: (columns[i] not in first, i)):
        if not shown or _table_width([sizes[j] for j in (*shown, i)]) <= width:
            shown.append(i)
    shown.sort()
    hidden = [name for i, name in enumerate(columns) if i not in shown]
    return [columns[i] for i in shown], [[line[i] for i in shown] for line in cut], hidden


def _table_width(sizes: Sequence[int]) -> int:
    return sum(sizes) + 3 * (len(sizes) - 1) + 2


def _is_number(text: str) -> bool:
    try:
        float(text or "0")
    except ValueError:
        return False
    return True


def trials_frame(study: Study) -> pd.DataFrame:
    """Every trial as a row of a data frame."""
    import pandas as pd

    records = list(study.records())
    columns = trial_columns(study.problem, records)
    return pd.DataFrame([trial_row(record, study.problem) for record in records], columns=columns)
