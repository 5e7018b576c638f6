"""tensorboard: a run a trial below `<study>/tensorboard`, with its parameters in the HParams tab.

Reports become scalars over their steps, the final metrics `final/<name>`. Look at them with `tensorboard --logdir
<study>/tensorboard`.
"""

from __future__ import annotations

import shutil
from pathlib import Path

from tuner.sinks.entry import Entry


class TensorBoard:
    """See the module."""

    def __init__(self, folder: Path) -> None:
        import tensorboardX

        self._folder = folder
        self._library = tensorboardX

    def write(self, entry: Entry) -> None:
        """A folder `<trial>` with one event file."""
        from tensorboardX.summary import hparams

        folder = self._folder / f"{entry.trial:05d}"
        shutil.rmtree(folder, ignore_errors=True)
        final = {f"final/{name}": value for name, value in entry.metrics.items()}
        writer = self._library.SummaryWriter(str(folder), write_to_disk=True)
        try:
            params = {**entry.flat, "state": entry.state}
            for summary in hparams(params, final):
                writer.file_writer.add_summary(summary)
            for step, metrics in entry.reports.items():
                for name, value in metrics.items():
                    writer.add_scalar(name, value, step)
            for name, value in final.items():
                writer.add_scalar(name, value, 0, walltime=entry.ended)
            for name, text in entry.notes.items():
                writer.add_text(name, text)
        finally:
            writer.close()

    def close(self) -> None:
        """Nothing is buffered."""


def open_sink(folder: Path, study: str) -> TensorBoard:
    """The sink that writes below `folder`."""
    del study
    return TensorBoard(folder)
