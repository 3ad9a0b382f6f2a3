"""Several processes with a GPU each: real ones where tests may see them, else pretended ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

SEVERAL = Path(__file__).with_name("several.py")


def run_on(gpus: int, *arguments: str | Path, cwd: Path) -> None:
    """Eyebright's command line with so many processes, one GPU each; it must succeed."""
    many = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc-per-node={gpus}"]
    done = subprocess.run(
        [*many, str(SEVERAL), *map(str, arguments)],
        cwd=cwd,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def results_of(run: Path) -> dict[str, Any]:
    report = json.loads((run / "report.json").read_text())["contestants"][0]["report"]
    return {"count": report["num_samples"], "accuracy": report["accuracy"]}


@pytest.mark.parametrize("kind", ["from scratch", "head", "fine-tuned", "taught"])
def test_two_train_what_one_trains_but_for_rounding(
    bright_and_dark: Path, tmp_path: Path, begun: Path, gpu: str, kind: str
) -> None:
    if gpu == "real" and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")
    few: list[str | Path] = ["--set", "training.micro_batch=5", "--set", "training.epochs=3"]
    resnet: list[str | Path] = ["--model", "resnet18", "--weights", begun, "--set", "data.image_size=32"]
    asked: list[str | Path] = {
        "from scratch": ["--model", "cnn", *few],
        "head": resnet,
        "fine-tuned": [*resnet, "--effort", "standard", *few],
        "taught": ["--model", "cnn", "--teacher", begun, *few],
    }[kind]
    exact = ["--set", "training.precision=float32"]
    for gpus in (1, 2):
        run_on(gpus, "train", bright_and_dark, *asked, *exact, "--out", f"{gpus}", cwd=tmp_path)
    one, two = tmp_path / "1", tmp_path / "2"
    assert results_of(one) == results_of(two)
    first, second = (load_file(run / "bundle" / "weights.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    for name, weights in first.items():
        np.testing.assert_allclose(second[name], weights, atol=1e-3, err_msg=name)
