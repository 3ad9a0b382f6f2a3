from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from eyebright.bundle.store import describe_architecture, save_bundle
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing

PREPROCESSING = Preprocessing(image_size=16, resize=16)


def save_random(
    folder: Path, name: str = "cnn", classes: tuple[str, ...] = ("a", "b"), **options: object
) -> torch.nn.Module:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model(name, num_classes=len(classes), **options)  # type: ignore[arg-type]
    save_bundle(
        folder,
        model,
        describe_architecture(model, name),
        class_names=classes,
        preprocessing=PREPROCESSING,
        provenance={"note": "test"},
    )
    return model


@pytest.fixture
def save() -> Callable[..., torch.nn.Module]:
    return save_random


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    """A tiny CNN's bundle."""
    save_random(tmp_path / "bundle", width="small")
    return tmp_path / "bundle"
