"""What is learned: sentences and labels in three fixed splits, by the name of a task, a file, or a data set.

polarity             movie reviews, negative or positive       rating         the same, -4 to 4
amazon, nyt, tweets  likewise, from other sources              <any>-rating   likewise
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from tuner.objectives.peft import snippets

from tuner.errors import EnvironmentUnfitError, ObjectiveError, UnknownNameError

TASKS: Mapping[str, tuple[str, bool]] = {
    "polarity": ("movies", False),
    "rating": ("movies", True),
    **{source: (source, False) for source in snippets.SOURCES if source != "movies"},
    **{f"{source}-rating": (source, True) for source in snippets.SOURCES if source != "movies"},
}
"""Task -> its source of snippets, and whether ratings are learned."""

SPLITS = ("train", "validation", "test")
_MOST_CLASSES = 100


@dataclass(frozen=True, slots=True)
class Split:
    """Sentences and what is learned of them: class numbers, or ratings."""

    sentences: tuple[str, ...]
    labels: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Texts:
    """Three splits that share no text.

    Attributes:
        splits: train, validation and test.
        classes: Names by number; none for a regression.
    """

    splits: Mapping[str, Split]
    classes: tuple[str, ...]

    @property
    def outputs(self) -> int:
        """How many outputs a head has."""
        return len(self.classes) or 1


def load_task(task: str, folder: Path | None = None) -> Texts:
    """Return the sentences of a task; pip downloads them when the cache has none.

    Raises:
        UnknownNameError: There is no such task.
        EnvironmentUnfitError: The sentences cannot be had.
    """
    if task not in TASKS:
        raise UnknownNameError(f"task must be one of {', '.join(TASKS)}, but got {task!r}; name one of them")
    source, regression = TASKS[task]
    rated = snippets.read(source, folder)
    if not regression:
        rated = [one for one in rated if abs(one.rating) > snippets.NEUTRAL]
    splits = {
        name: Split(
            tuple(one.text for one in part),
            tuple(one.rating if regression else float(one.rating > 0) for one in part),
        )
        for name, part in snippets.split(rated).items()
    }
    return Texts(splits, () if regression else ("negative", "positive"))


def load_data(name: str, text: str, label: str) -> Texts:
    """Return the sentences of a CSV or JSONL file, or of a Hugging Face data set on disk or in its cache.

    Rows with a `split` column stay in their split; others are split 60, 20 and 20 in a hundred, each text in one.

    Args:
        name: A file that ends in .csv, .jsonl or .json, a folder, or a data set's name.
        text: The column with the sentences.
        label: The column with classes (any values, at most 100) or, when some are not whole, ratings.

    Raises:
        ObjectiveError: It cannot be read, or lacks a column.
        EnvironmentUnfitError: It is not on this machine.
    """
    path = Path(name)
    if path.suffix in (".csv", ".jsonl", ".json"):
        rows = _file_rows(path)
    else:
        rows = _hub_rows(name)
    return _texts(rows, name, text, label)


def _file_rows(path: Path) -> list[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8", newline="") as file:
            if path.suffix == ".csv":
                return list(csv.DictReader(file))
            return [json.loads(line) for line in file if line.strip()]
    except (OSError, ValueError, csv.Error) as error:
        raise ObjectiveError(f"data must be a CSV or JSONL file, but {path}: {error}") from None


def _hub_rows(name: str) -> list[dict[str, Any]]:
    try:
        import datasets  # type: ignore[import-not-found, unused-ignore]
    except ImportError:
        raise EnvironmentUnfitError(
            f"data {name!r} is no .csv or .jsonl file, and data sets of Hugging Face need a package; "
            "pip install datasets"
        ) from None
    try:
        found = datasets.load_from_disk(name) if Path(name).is_dir() else _from_cache(datasets, name)
    except Exception as error:  # the library's own errors
        said = str(error).partition("\n")[0]
        raise EnvironmentUnfitError(f"data {name!r} must be a file, a folder or in the cache, but {said}") from None
    if not isinstance(found, Mapping):
        return [dict(row) for row in found]
    return [{**row, "split": split} for split, part in found.items() for row in part]


def _from_cache(datasets: Any, name: str) -> Any:
    return datasets.load_dataset(name, download_config=datasets.DownloadConfig(local_files_only=True))


def _texts(rows: Iterable[Mapping[str, Any]], name: str, text: str, label: str) -> Texts:
    seen: dict[str, tuple[Any, str]] = {}
    for number, row in enumerate(rows, start=1):
        if row.get(text) is None or row.get(label) is None:
            columns = ", ".join(map(str, row))
            raise ObjectiveError(f"{name}: row {number} must have {text!r} and {label!r}, but has {columns}")
        seen.setdefault(str(row[text]).strip(), (row[label], str(row.get("split") or "")))
    if len(seen) < 10:
        raise ObjectiveError(f"{name} must hold at least 10 different sentences, but has {len(seen)}")
    numbers, classes = _labels([value for value, _ in seen.values()], name)
    given = [split for _, split in seen.values()]
    parts = _given(given) if set(given) & set(SPLITS) else _drawn(len(seen))
    sentences = list(seen)
    splits = {
        part: Split(tuple(sentences[i] for i in places), tuple(numbers[i] for i in places))
        for part, places in parts.items()
    }
    return Texts(splits, classes)


def _labels(values: Sequence[Any], name: str) -> tuple[list[float], tuple[str, ...]]:
    """Numbers to learn, and the names of the classes; none when the values are ratings."""
    numbers = [_number(value) for value in values]
    if all(number is not None for number in numbers) and any(number % 1 for number in numbers if number is not None):
        return [float(number) for number in numbers if number is not None], ()
    classes = tuple(sorted({str(value) for value in values}))
    if not 2 <= len(classes) <= _MOST_CLASSES:
        raise ObjectiveError(f"{name} must have 2 to {_MOST_CLASSES} classes, or ratings, but has {len(classes)}")
    return [float(classes.index(str(value))) for value in values], classes


def _number(value: Any) -> float | None:
    try:
        found = float(value)
    except (TypeError, ValueError):
        return None
    return found if math.isfinite(found) else None


def _given(splits: Sequence[str]) -> dict[str, list[int]]:
    """The rows' own splits; of a train split without the others, a fifth becomes each of these."""
    parts = {name: [i for i, split in enumerate(splits) if split == name] for name in SPLITS}
    rng = np.random.default_rng(snippets.SPLIT_SEED)
    for name in ("validation", "test"):
        if not parts[name]:
            order = [parts["train"][i] for i in rng.permutation(len(parts["train"]))]
            cut = max(1, round(snippets.SHARE * len(order)))
            parts[name], parts["train"] = order[:cut], order[cut:]
    return parts


def _drawn(n: int) -> dict[str, list[int]]:
    order = np.random.default_rng(snippets.SPLIT_SEED).permutation(n).tolist()
    cut = max(1, round(snippets.SHARE * n))
    return {"test": order[:cut], "validation": order[cut : 2 * cut], "train": order[2 * cut :]}
