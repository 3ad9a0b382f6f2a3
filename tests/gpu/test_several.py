"""Several processes with a GPU each: real ones where tests may see them, else pretended ones."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from eyebright.jobs.train import train

pytestmark = [pytest.mark.gpu, pytest.mark.slow]

SEVERAL = Path(__file__).with_name("several.py")


def on_two(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """The command line of two processes, a GPU each, as torchrun starts them."""
    several = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2", str(SEVERAL)]
    return subprocess.run(
        [*several, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
        env=os.environ | {"OMP_NUM_THREADS": "1"},
    )


def accuracy_of(run: Path) -> float:
    found = json.loads((run / "report.json").read_text())["contestants"][0]["report"]["accuracy"]
    assert isinstance(found, float)
    return found


@pytest.fixture(autouse=True)
def two_gpus(gpu: str) -> None:
    """Tests of several are skipped, saying so, where there is a real one alone."""
    if gpu == "real" and torch.cuda.device_count() < 2:
        pytest.skip("needs two GPUs")


@pytest.mark.parametrize("kind", ["from scratch", "head", "fine-tuned", "taught"])
def test_two_train_what_one_trains_but_for_rounding(
    bright_and_dark: Path, tmp_path: Path, begun: Path, kind: str
) -> None:
    few = ["training.micro_batch=5", "training.epochs=3"]
    start = [f'network.weights="{begun}"', "data.image_size=32"]
    model, effort, overrides = {
        "from scratch": ("cnn", "quick", few),
        "head": ("resnet18", "quick", start),
        "fine-tuned": ("resnet18", "standard", [*start, *few]),
        "taught": ("cnn", "quick", [f'training.teacher="{begun}"', *few]),
    }[kind]
    overrides.append("training.precision=float32")
    told = [part for override in overrides for part in ("--set", override)]
    done = on_two("train", bright_and_dark, "--model", model, "--effort", effort, *told, "--out", tmp_path / "two")
    assert done.returncode == 0, done.stderr
    train(bright_and_dark, model=model, effort=effort, overrides=overrides, out=tmp_path / "one")
    one, two = tmp_path / "one", tmp_path / "two"
    assert accuracy_of(one) == accuracy_of(two)
    first, second = (load_file(run / "bundle" / "weights.safetensors") for run in (one, two))
    assert first.keys() == second.keys()
    for name, weights in first.items():
        np.testing.assert_allclose(second[name], weights, atol=1e-3, err_msg=name)


def test_a_mistake_of_one_ends_both_and_is_told(tmp_path: Path) -> None:
    done = on_two("train", tmp_path / "nowhere")
    assert done.returncode != 0
    assert "nowhere: does not exist" in " ".join(done.stderr.split())
    assert "lost the others: one has died" in " ".join(done.stderr.split())
    assert "this is a bug" not in done.stderr
