"""Folders: where studies live and how they are found again. Imports nothing heavy: shell completion asks, too."""

from __future__ import annotations

from pathlib import Path

from tuner.errors import StoreError

HOME = Path(".tuner")
"""Where studies live unless `--dir` says otherwise, relative to the working directory."""


def find_study(name: str | None) -> Path:
    """The folder of a study: a folder, a name under `.tuner/`, or with None the one last written to.

    Raises:
        StoreError: There is none; the message lists those there are.
    """
    studies = list_studies()
    if name is None:
        if not studies:
            raise StoreError(f"no study in {HOME}/; start one with `tuner run SWEEP`")
        return max(studies, key=_last_written)
    for folder in (Path(name), HOME / name):
        if has_study(folder):
            return folder
    known = ", ".join(folder.name for folder in studies) or "none"
    raise StoreError(f"there is no study {name!r} (in {HOME}/: {known}); a study is a folder or a name under {HOME}/")


def _last_written(folder: Path) -> float:
    """When a study was last written to, or opened for it: readers touch none of these files."""
    files = [folder / name for name in ("lock", "study.db")]
    return max((file.stat().st_mtime for file in files if file.is_file()), default=0.0)


def list_studies(home: Path = HOME) -> list[Path]:
    """The folders under `.tuner/` that hold a study, by name."""
    return sorted(file.parent for file in home.glob("*/sweep.yaml")) if home.is_dir() else []


def has_study(directory: Path) -> bool:
    """Whether a folder holds a study."""
    return (directory / "sweep.yaml").is_file()
