from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps

from eyebright.bundle.store import describe_architecture, save_bundle
from eyebright.data.sources import read_unlabelled
from eyebright.errors import ImageError
from eyebright.inference.load import load
from eyebright.inference.predictor import Prediction, Predictor, softmax
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing
from eyebright.progress import SilentProgress

CLASSES = ("ant", "bee", "cat", "dog", "eel", "fox")


@pytest.fixture(scope="module")
def predictor(tmp_path_factory: pytest.TempPathFactory) -> Predictor:
    """A ResNet-18 with random weights, and a head that is anything but undecided."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("resnet18", num_classes=len(CLASSES))
        torch.nn.init.normal_(model.get_submodule("fc").weight, std=0.5)  # type: ignore[arg-type]
    folder = tmp_path_factory.mktemp("run") / "bundle"
    save_bundle(
        folder,
        model,
        describe_architecture(model, "resnet18"),
        class_names=CLASSES,
        preprocessing=Preprocessing(image_size=32, resize=40, fit="crop"),
        provenance={},
    )
    return load(folder.parent)


def picture(seed: int = 0, height: int = 50, width: int = 70) -> NDArray[np.uint8]:
    small = np.random.default_rng(seed).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    return np.asarray(Image.fromarray(small).resize((width, height), Image.Resampling.BICUBIC))


def encoded(image: Image.Image, kind: str, **options: Any) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "BMP"])
def test_the_same_image_gets_the_same_answer_in_every_form(predictor: Predictor, tmp_path: Path, kind: str) -> None:
    content = encoded(Image.fromarray(picture()), kind)
    path = tmp_path / f"image.{kind.lower()}"
    path.write_bytes(content)
    opened = Image.open(io.BytesIO(content))
    array = np.asarray(opened)
    forms = [path, str(path), content, opened, array]
    singles = [predictor.predict(form) for form in forms]
    assert len({tuple(answer.probabilities.items()) for answer in singles}) == 1
    listed = predictor.predict(forms)
    for answer in listed:
        assert answer.label == singles[0].label
        assert answer.probabilities == pytest.approx(singles[0].probabilities, abs=1e-5)
    stacked = predictor.predict(np.stack([array, array]))
    assert stacked[1].probabilities == pytest.approx(singles[0].probabilities, abs=1e-5)


def test_grey_and_turned_photos_too(predictor: Predictor, tmp_path: Path) -> None:
    grey = Image.fromarray(picture()).convert("L")
    answers = [predictor.predict(form) for form in (encoded(grey, "PNG"), grey, np.asarray(grey))]
    assert len({tuple(answer.probabilities.items()) for answer in answers}) == 1
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned a quarter clockwise
    turned = encoded(Image.fromarray(picture()), "PNG", exif=exif)
    upright = encoded(Image.fromarray(np.rot90(picture(), -1).copy()), "PNG")
    assert predictor.predict(turned).probabilities == predictor.predict(upright).probabilities
    assert predictor.predict(Image.open(io.BytesIO(turned))).probabilities == predictor.predict(upright).probabilities


def test_an_answer_says_what_and_how_sure(predictor: Predictor) -> None:
    answer = predictor.predict(picture())
    assert isinstance(answer, Prediction)
    assert set(answer.probabilities) == set(CLASSES)
    shares = list(answer.probabilities.values())
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1, abs=1e-5)
    assert answer.top(2)[0] == (answer.label, answer.confidence)
    assert answer.error is None


def test_one_bad_image_raises_and_in_a_list_gets_a_row_of_its_own(predictor: Predictor) -> None:
    good = picture()
    with pytest.raises(ImageError):
        predictor.predict(b"no image")
    with pytest.raises(ImageError, match=r"nowhere\.jpg"):
        predictor.predict("nowhere.jpg")
    answers = predictor.predict([good, b"no image", "nowhere.jpg", good])
    assert [answer.error is None for answer in answers] == [True, False, False, True]
    assert [answer.name for answer in answers] == ["array 0", "bytes 1", "nowhere.jpg", "array 3"]
    assert answers[1].probabilities == {}
    assert answers[0].label == answers[3].label
    assert predictor.predict([]) == []


def test_samples_of_a_store_keep_their_order_and_errors_are_nan(predictor: Predictor, tmp_path: Path) -> None:
    for number in range(70):  # more than two batches
        Image.fromarray(picture(number)).save(tmp_path / f"{number:02}.png")
    (tmp_path / "33.png").write_bytes(b"")
    store, names = read_unlabelled([tmp_path])
    found = predictor.predict_samples(store, names, progress=SilentProgress())
    assert found.probabilities.shape == (70, 6)
    assert list(found.errors) == [33]
    assert np.isnan(found.probabilities[33]).all()
    assert np.isfinite(np.delete(found.probabilities, 33, axis=0)).all()
    assert found.images_per_second > 0
    answers = list(predictor.predict_files(store, names))
    assert [answer.name for answer in answers] == list(names)
    for row in (0, 31, 32, 64, 69):
        single = predictor.predict(tmp_path / f"{row:02}.png")
        assert answers[row].label == single.label
        assert answers[row].confidence == pytest.approx(single.confidence, abs=1e-5)
        assert found.probabilities[row].max() == pytest.approx(single.confidence, abs=1e-5)


def test_a_request_to_stop_is_heard(predictor: Predictor, tmp_path: Path) -> None:
    class Stopping(SilentProgress):
        stop_requested = True

    Image.fromarray(picture()).save(tmp_path / "a.png")
    store, names = read_unlabelled([tmp_path])
    with pytest.raises(KeyboardInterrupt):
        predictor.predict_samples(store, names, progress=Stopping())


def test_softmax_survives_extremes() -> None:
    found = softmax(np.array([[1e4, -1e4, 0], [0, 0, 0], [-1e30, -1e30, -1e30]], dtype=np.float32))
    expected = np.array([[1, 0, 0], [1 / 3] * 3, [1 / 3] * 3])
    np.testing.assert_allclose(found.astype(np.float64), expected, atol=1e-7)


def test_a_list_longer_than_a_batch_is_answered_in_order(predictor: Predictor) -> None:
    images: list[Any] = [picture(seed) for seed in range(70)]
    images[40] = b"no image"
    answers = predictor.predict(tuple(images))
    assert [answer.name for answer in answers] == [f"{'bytes' if i == 40 else 'array'} {i}" for i in range(70)]
    assert [row for row, answer in enumerate(answers) if answer.error] == [40]
    for row in (0, 31, 32, 63, 64, 69):
        assert answers[row].probabilities == pytest.approx(predictor.predict(images[row]).probabilities, abs=1e-5)


def test_different_images_get_different_answers(predictor: Predictor) -> None:
    answers = predictor.predict([picture(seed) for seed in range(10)])
    assert len({answer.confidence for answer in answers}) == 10


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_exif_orientation_is_honoured(predictor: Predictor, orientation: int) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    content = encoded(Image.fromarray(picture()), "JPEG", exif=exif, quality=95)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    expected = predictor.predict(np.asarray(upright)).probabilities
    assert predictor.predict(content).probabilities == expected
    assert predictor.predict(Image.open(io.BytesIO(content))).probabilities == expected


def test_a_large_jpeg_gets_one_answer_as_path_bytes_and_pillow_image_and_nearly_that_as_array(
    predictor: Predictor, tmp_path: Path
) -> None:
    content = encoded(Image.fromarray(picture(3, 500, 700)), "JPEG", quality=90)
    path = tmp_path / "large.jpg"
    path.write_bytes(content)
    expected = predictor.predict(path)
    for same in (content, Image.open(io.BytesIO(content))):
        assert predictor.predict(same).probabilities == expected.probabilities
    store, names = read_unlabelled([path])
    (stored,) = predictor.predict_files(store, names)
    assert stored.probabilities == pytest.approx(expected.probabilities, abs=1e-5)
    loaded = Image.open(io.BytesIO(content))
    loaded.load()
    for form in (loaded, np.asarray(loaded)):  # decoded at full size, and resized by four times as much
        assert predictor.predict(form).probabilities == pytest.approx(expected.probabilities, abs=0.05)
