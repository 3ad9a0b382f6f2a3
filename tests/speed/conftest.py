"""A classifier that learned nothing, and a few pictures for it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eyebright.bundle.store import describe_architecture, save_bundle
from eyebright.data.samples import ImageStore
from eyebright.data.sources import read_unlabelled
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing


@pytest.fixture(scope="session")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("bundles") / "cnn"
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("cnn", num_classes=3, width="small")
    save_bundle(
        folder,
        model,
        describe_architecture(model, "cnn"),
        class_names=("a", "b", "c"),
        preprocessing=Preprocessing(image_size=32, resize=36),
        provenance={},
    )
    return folder


@pytest.fixture(scope="session")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pictures")
    for number in range(5):
        pixels = np.random.default_rng(number).integers(0, 256, (40, 50, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number}.jpg")
    return folder


@pytest.fixture
def images(pictures: Path) -> tuple[ImageStore, tuple[str, ...]]:
    return read_unlabelled([pictures])
