"""Compact JSON: how configurations, metrics and provenance are stored and compared."""

from __future__ import annotations

import json
from typing import Any


def dumps(value: Any) -> str:
    """Compact JSON; floats round trip exactly."""
    return json.dumps(value, separators=(",", ":"), allow_nan=False)
