"""wandb: an offline run a trial below `<study>/wandb`, grouped by study. Upload them, if at all: `wandb sync`."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

from tuner.sinks.entry import Entry


class Wandb:
    """See the module."""

    def __init__(self, folder: Path) -> None:
        import wandb

        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._library: Any = wandb

    def write(self, entry: Entry) -> None:
        """A run with the trial's own id; the files of an older one of that id are removed."""
        library = self._library
        for old in self._folder.glob(f"wandb/offline-run-*-{entry.run}"):
            shutil.rmtree(old, ignore_errors=True)
        settings = library.Settings(
            silent=True, console="off", x_disable_stats=True, x_disable_meta=True, save_code=False
        )
        run = library.init(
            mode="offline", dir=str(self._folder), id=entry.run, project=entry.study, group=entry.study,
            name=f"trial {entry.trial}", config=dict(entry.params), tags=[entry.state], notes=entry.notes.get("reason"),
            settings=settings,
        )  # fmt: skip
        try:
            for step, metrics in entry.reports.items():
                run.log(dict(metrics), step=step)
            run.summary.update({**entry.metrics, "state": entry.state})
        finally:
            run.finish(exit_code=1 if entry.state == "failed" else 0)

    def close(self) -> None:
        """Nothing is buffered."""


def open_sink(folder: Path, study: str) -> Wandb:
    """The sink that writes below `folder`."""
    del study
    return Wandb(folder)
