"""Marked tests run only where what they need is there; elsewhere they are skipped with the reason."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

from tuner.runners.devices import discover_gpus

settings.register_profile("ci", derandomize=True)
if "CI" in os.environ:  # a red run must be one that everybody can repeat
    settings.load_profile("ci")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    reasons = {}
    if not discover_gpus():
        reasons["gpu"] = "needs an NVIDIA GPU"
    for item in items:
        for marker, reason in reasons.items():
            if item.get_closest_marker(marker):
                item.add_marker(pytest.mark.skip(reason=reason))
