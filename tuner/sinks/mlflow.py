"""mlflow: an experiment a study with a run a trial, in files below `<study>/mlflow`, or where MLFLOW_TRACKING_URI says.

Look: `mlflow ui --backend-store-uri <study>/mlflow`.
"""

from __future__ import annotations

import os
import time
import warnings
from pathlib import Path
from typing import Any

from tuner.sinks.entry import Entry

_TAG = "tuner.run"
_STATUS = {"completed": "FINISHED", "pruned": "KILLED", "failed": "FAILED", "infeasible": "FINISHED"}
_LONGEST = 5000
"""Characters that MLflow keeps of a parameter or a tag."""


class MLflow:
    """See the module."""

    def __init__(self, folder: Path, study: str) -> None:
        os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # newer versions want to be told that files are meant
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            from mlflow import MlflowClient
            from mlflow.entities import Metric, Param, RunTag

        self._entities: Any = (Metric, Param, RunTag)
        where = os.environ.get("MLFLOW_TRACKING_URI") or folder.absolute().as_uri()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self._client: Any = MlflowClient(tracking_uri=where)
            found = self._client.get_experiment_by_name(study)
            self._experiment = self._client.create_experiment(study) if found is None else found.experiment_id

    def write(self, entry: Entry) -> None:
        """A run; an older one of the same trial is removed."""
        metric, param, tag = self._entities
        client = self._client
        for old in client.search_runs([self._experiment], f"tags.`{_TAG}` = '{entry.run}'"):
            client.delete_run(old.info.run_id)
        tags = {_TAG: entry.run, "tuner.trial": str(entry.trial), "tuner.state": entry.state, **entry.notes}
        run = client.create_run(
            self._experiment, start_time=_ms(entry.began), run_name=f"trial {entry.trial}"
        ).info.run_id
        last = max(entry.reports, default=-1)
        metrics = [
            metric(name, value, _ms(entry.ended), step)
            for step, values in [*entry.reports.items(), (last + 1, entry.metrics)]
            for name, value in values.items()
        ]
        client.log_batch(
            run,
            params=[param(name, str(value)[:_LONGEST]) for name, value in entry.flat.items()],
            tags=[tag(name, text[:_LONGEST]) for name, text in tags.items()],
        )
        for start in range(0, len(metrics), 1000):  # as many as MLflow takes at a time
            client.log_batch(run, metrics=metrics[start : start + 1000])
        client.set_terminated(run, _STATUS[entry.state], _ms(entry.ended))

    def close(self) -> None:
        """Nothing is buffered."""


def _ms(seconds: float) -> int:
    return int(1000 * (seconds or time.time()))


def open_sink(folder: Path, study: str) -> MLflow:
    """The sink that writes below `folder`."""
    return MLflow(folder, study)
