"""Small drawn photos, and runs that were trained on them once for all tests here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from eyebright.jobs.train import Run, train
from eyebright.models.catalog import build_model
from eyebright.progress import SilentProgress

CLASSES = ("blue", "green", "red")


def draw_folder(root: Path, per_class: int = 16) -> Path:
    """A folder of class folders: each class is one colour channel, brighter, under noise."""
    for label, name in enumerate(CLASSES):
        (root / name).mkdir(parents=True)
        for number in range(per_class):
            pixels = np.random.default_rng([label, number]).integers(0, 120, (24, 28, 3), dtype=np.uint8)
            pixels[:, :, 2 - label] += 110
            Image.fromarray(pixels).save(root / name / f"{number:02}.png")
    return root


class StopIn(SilentProgress):
    """Asks to stop while the given training is under way."""

    def __init__(self, number: int) -> None:
        self.trainings = 0
        self._number = number
        self.stop_requested = False

    def start(self, stage: str, total: int) -> None:
        self.trainings += stage == "training"
        self.stop_requested = self.trainings == self._number


@pytest.fixture(scope="session")
def stop_in() -> type[StopIn]:
    """Makes a progress that asks to stop in a comparison's n-th training."""
    return StopIn


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return draw_folder(tmp_path_factory.mktemp("photos") / "colours")


@pytest.fixture(scope="session")
def resnet_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A ResNet-18 of random weights, standing in for pretrained ones."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        path = tmp_path_factory.mktemp("weights") / "resnet18.safetensors"
        save_file(build_model("resnet18").state_dict(), path)
        return path


@pytest.fixture(scope="session")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The plain CNN, trained for a few epochs."""
    folder = tmp_path_factory.mktemp("runs") / "cnn"
    return train(photos, model="cnn", out=folder, overrides=["training.epochs=8", "network.width=small"])
