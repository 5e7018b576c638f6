"""Marked tests run only where what they need is there; elsewhere they are skipped with the reason."""

from __future__ import annotations

import functools
import os
from typing import Any

import pytest
import typer.testing
from hypothesis import settings

from tuner.runners.devices import discover_gpus

# CliRunner makes the command anew for each call, in five times what most of its calls take otherwise.
testing: Any = typer.testing
testing._get_command = functools.cache(testing._get_command)

settings.register_profile("ci", derandomize=True)
if "CI" in os.environ:  # a red run must be one that everybody can repeat
    settings.load_profile("ci")


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("numprocesses", None):  # what runs side by side (pytest -n) shares the cores
        os.environ.setdefault("OMP_NUM_THREADS", "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {}
    if not discover_gpus():
        reasons["gpu"] = "needs an NVIDIA GPU"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
