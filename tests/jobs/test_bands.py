"""Arrays of other channels than grey or colour: trained on, measured, exported and answered for."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

import eyebright as eb
from eyebright.errors import ExportError, ImageError, SettingsError
from eyebright.evaluation.report import EvaluationReport
from eyebright.jobs.bench import bench
from eyebright.jobs.check import check
from eyebright.jobs.evaluate import evaluate
from eyebright.jobs.export import export
from eyebright.jobs.train import Run, train

QUICK = ["training.epochs=6", "network.width=small", "data.image_size=16"]


def draw_bands(count: int, channels: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Noise with a square that is bright in the first or in the last band alone, by class."""
    random = np.random.default_rng(0)
    labels = np.arange(count) % 2
    images = random.integers(60, 120, (count, 20, 24, channels)).astype(np.uint8)
    for row, label in enumerate(labels.tolist()):
        images[row, 5:15, 5:15, -1 if label else 0] += 100
    return images, labels


@pytest.fixture(scope="module")
def bands(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("bands") / "bands.npz"
    images, labels = draw_bands(120, 6)
    np.savez(path, images=images, labels=labels, classes=np.array(["first", "last"]))
    return path


@pytest.fixture(scope="module")
def trained(bands: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("runs") / "bands"
    return train(bands, model="cnn", out=folder, overrides=[*QUICK, "augmentation.colour=0.2"])


def test_a_network_for_them_learns_what_only_single_channels_tell(bands: Path, trained: Run) -> None:
    assert isinstance(trained.report, EvaluationReport)
    assert trained.report.accuracy == 1
    again = evaluate(trained.folder, bands)
    assert isinstance(again, EvaluationReport)
    assert again.accuracy == 1
    images, labels = draw_bands(120, 6)
    found = eb.load(trained.folder).predict(images[:6])
    assert [one.label for one in found] == [["first", "last"][label] for label in labels[:6].tolist()]


def test_an_export_for_them_answers_the_same(trained: Run) -> None:
    made = export(trained.folder, max_drop=0)
    assert made.verified.num_agree == made.verified.num_images
    image = draw_bands(1, 6)[0][0]
    torch, onnx = (eb.load(trained.folder, engine=engine).predict(image) for engine in ("torch", "onnx"))
    assert onnx.probabilities == pytest.approx(torch.probabilities, abs=1e-5)
    with pytest.raises(ExportError, match="takes arrays of 6 channels"):
        export(trained.folder, to="web")


def test_images_of_another_kind_are_refused_by_name(trained: Run, photos: Path) -> None:
    predictor = eb.load(trained.folder)
    photo = next(photos.rglob("*.png"))
    with pytest.raises(ImageError, match="is an image in colour; the network takes arrays of 6 channels"):
        predictor.predict(photo)
    with pytest.raises(ImageError, match=r"has shape \(9, 9, 5\); the network takes \(height, width, 6\)"):
        predictor.predict(np.zeros((9, 9, 5), dtype=np.uint8))
    with pytest.raises(SettingsError, match="takes arrays of 6 channels"):
        bench(trained.folder)


def test_a_check_looks_at_the_first_three(bands: Path, tmp_path: Path) -> None:
    report = check(bands, out=tmp_path / "check").report
    assert report.num_readable == 120
    assert any("knows only pictures" in note for note in report.notes)


@pytest.mark.parametrize("channels", [1, 4])
def test_pictures_may_be_seen_in_grey_and_four_channels_as_four(channels: int, tmp_path: Path) -> None:
    images, labels = draw_bands(60, 4)
    overrides = [*QUICK, f"data.channels={channels}"]
    run = train((images, labels), model="cnn", out=tmp_path / "run", overrides=overrides)
    assert isinstance(run.report, EvaluationReport)
    assert eb.load(run.folder).preprocessing.channels == channels
    if channels == 4:  # seen as colour with opacity, the last would be lost
        assert run.report.accuracy == 1
