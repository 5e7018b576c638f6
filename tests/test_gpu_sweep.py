"""A whole sweep on a leased NVIDIA GPU: slots by UUID, free metrics, out of memory as infeasible."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

import tuner
from tuner.trial import Trial


def train(config: Mapping[str, Any], trial: Trial) -> dict[str, float]:
    """Fit a line with noise on the GPU; a `gib` of ballast decides how much memory it takes."""
    import torch

    assert trial.device == "cuda"
    assert os.environ["CUDA_VISIBLE_DEVICES"].startswith(("GPU-", "MIG-"))
    ballast = torch.empty(int(config["gib"] * 2**30), dtype=torch.uint8, device="cuda")
    x = torch.linspace(0, 1, 4096, device="cuda")
    weight = torch.zeros(1, device="cuda", requires_grad=True)
    optimiser = torch.optim.SGD([weight], lr=config["lr"])
    for _ in range(200):
        loss = ((weight * x - 3 * x) ** 2).mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    del ballast
    return {"loss": loss.item()}


@pytest.mark.gpu
@pytest.mark.parametrize("search", ["random", "gp"])
def test_a_sweep_on_a_gpu(tmp_path: Path, search: str) -> None:
    gib = {"values": [0, 1, 100_000], "ordered": True}
    sweep = {
        "name": "line",
        "objective": train,
        "metrics": {"loss": "minimize"},
        "parameters": {
            "lr": {"min": 1e-3, "max": 1.0, "log": True},
            "gib": gib,
        },
        "initial": [{"lr": 0.1, "gib": 100_000}, {"lr": 0.1, "gib": 1}],
        "search": search,
        "budget": {"trials": 10},
        "runner": {"gpus": 1},
        "parallel": "auto",
    }
    with tuner.run(sweep, tmp_path / "s") as study:
        records = list(study.records())
        assert {record.slot for record in records} == {"gpu0"}
        assert records[0].state == "infeasible"
        assert records[0].failure is not None
        assert records[0].failure.kind == "oom_gpu"
        assert records[1].state == "completed"
        assert records[1].measures["gpu_mem_peak_bytes"] > 2**30
        best = study.best()
        assert best is not None
        assert best.metrics["loss"] < 0.1
