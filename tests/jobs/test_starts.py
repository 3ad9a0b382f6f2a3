"""Training that starts from a run's classifier, or learns from one: what it keeps, and what is refused."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyebright.errors import CheckpointError, SettingsError
from eyebright.jobs.runs import SETTINGS
from eyebright.jobs.train import Run, resume, train
from eyebright.progress import SilentProgress
from eyebright.settings import load_settings
from eyebright.training.checkpoint import Checkpoints
from eyebright.training.settings import Settings


@pytest.fixture(scope="module")
def large(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same photos at twice the size."""
    root = tmp_path_factory.mktemp("large") / "colours"
    for path in photos.glob("*/*.png"):
        target = root / path.relative_to(photos)
        target.parent.mkdir(parents=True, exist_ok=True)
        with Image.open(path) as image:
            image.resize((56, 48)).save(target)
    return root


def start_from(run: Run, *more: str) -> list[str]:
    return [f'network.weights="{run.folder}"', "training.epochs=1", *more]


@pytest.mark.parametrize(("asked", "size"), [((), 24), (("data.image_size=32", "data.fit=crop"), 32)])
def test_it_sees_images_as_before_or_as_asked_for(
    run: Run, large: Path, tmp_path: Path, asked: tuple[str, ...], size: int
) -> None:
    again = train(large, model="cnn", out=tmp_path / "run", overrides=start_from(run, *asked))
    settings = load_settings(Settings, file=again.folder / SETTINGS)
    assert settings.data.image_size == settings.training.first_size == settings.training.last_size == size
    assert settings.network.width == "small"
    assert settings.data.fit == ("crop" if asked else "squash")
    assert again.predictor.preprocessing.image_size == size
    assert again.predictor.preprocessing.fit == settings.data.fit


def test_a_plain_cnn_learns_other_classes(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos, tmp_path / "photos")
    (tmp_path / "photos" / "red").rename(tmp_path / "photos" / "rot")
    again = train(tmp_path / "photos", model="cnn", out=tmp_path / "run", overrides=start_from(run))
    assert again.predictor.class_names == ("blue", "green", "rot")
    assert load_settings(Settings, file=again.folder / SETTINGS).network.width == "small"


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ("network.width=deep", 'has network.width="small"'),
        ("training.freeze_stages=4", "training.freeze_stages=4 leaves nothing to train: cnn has 3 stages"),
    ],
)
def test_what_can_not_be_is_refused(run: Run, photos: Path, tmp_path: Path, asked: str, named: str) -> None:
    with pytest.raises(SettingsError, match=named):
        train(photos, model="cnn", out=tmp_path / "run", overrides=start_from(run, asked))


def test_a_teacher_that_can_not_read_the_images_is_refused(run: Run, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (48, 24, 24, 5), dtype=np.uint8)
    labels = np.array(["blue", "green", "red"] * 16)
    with pytest.raises(SettingsError, match="can't read an image that is trained on"):
        train((images, labels), model="cnn", out=tmp_path / "run", overrides=[f'training.teacher="{run.folder}"'])


def test_a_start_that_is_gone_is_named(run: Run, photos: Path, tmp_path: Path) -> None:
    class Stop(SilentProgress):
        def start(self, stage: str, total: int) -> None:
            self.stop_requested = stage == "training"

    shutil.copytree(run.folder, tmp_path / "begun")
    overrides = [f'network.weights="{tmp_path / "begun"}"', "training.epochs=2"]
    assert train(photos, model="cnn", out=tmp_path / "run", overrides=overrides, progress=Stop()).interrupted
    (tmp_path / "begun").rename(tmp_path / "elsewhere")
    with pytest.raises(CheckpointError, match="begun, which it starts from, is gone"):
        resume(tmp_path / "run")
    (tmp_path / "elsewhere").rename(tmp_path / "begun")
    assert not resume(tmp_path / "run").interrupted


def test_a_stop_while_the_head_is_fitted_keeps_what_was_seen(
    resnet_weights: Path, photos: Path, tmp_path: Path
) -> None:
    class Stop(SilentProgress):
        def start(self, stage: str, total: int) -> None:
            self.stop_requested = stage == "fitting the head"

    overrides = [f'network.weights="{resnet_weights}"', "data.image_size=32", 'network.stride_in="3x3"']
    with pytest.raises(KeyboardInterrupt):
        train(photos, model="resnet18", out=tmp_path / "run", overrides=overrides, progress=Stop())
    kept = Checkpoints(tmp_path / "run" / "checkpoints", interval=60, progress=SilentProgress()).load()
    assert kept is not None
    assert (kept.phase, kept.state["done"]) == ("embedding", len(kept.parts["embeddings"]["embeddings"]))
    resumed = resume(tmp_path / "run")
    whole = train(photos, model="resnet18", out=tmp_path / "whole", overrides=overrides)
    weights = [(one.folder / "bundle" / "weights.safetensors").read_bytes() for one in (resumed, whole)]
    assert weights[0] == weights[1]
