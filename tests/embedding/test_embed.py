from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from eyebright.data import sending
from eyebright.embedding import embed as room
from eyebright.embedding.embed import computes_bfloat16, embed
from eyebright.memory import TooLittleMemoryError
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing
from eyebright.progress import SilentProgress

PREPROCESSING = Preprocessing(image_size=32, resize=36)


@pytest.fixture(scope="module")
def squares() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (11, 36, 36, 3), dtype=np.uint8)


def test_it_is_what_the_network_says_of_each_image(squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("resnet18", num_classes=2, embed_stages=2)
    rows = np.array([7, 0, 3, 10, 9])
    model.train()
    found = embed(model, squares, rows, PREPROCESSING, batch_size=2)
    assert model.training  # it is left as it was
    assert found.shape == (5, 768)
    model.eval()
    images = torch.from_numpy(PREPROCESSING.normalise(squares[rows, 2:34, 2:34]))
    with torch.inference_mode():
        expected = model.embed(images).numpy()  # type: ignore[operator]
    tolerance = 0.05 if computes_bfloat16("cpu") else 1e-4
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)
    again = embed(model, squares, rows, PREPROCESSING, batch_size=5)
    np.testing.assert_allclose(found, again, rtol=tolerance, atol=tolerance)


def test_a_request_to_stop_is_heard(squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    class Stopping(SilentProgress):
        stop_requested = True

    model = build_model("cnn", num_classes=2, width="small")
    with pytest.raises(KeyboardInterrupt):
        embed(model, squares, np.arange(11), PREPROCESSING, progress=Stopping())


def test_where_memory_runs_out_fewer_images_are_looked_at_at_once_and_that_is_said(
    squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Heard(SilentProgress):
        def __init__(self) -> None:
            self.said: list[str] = []

        def warn(self, text: str) -> None:
            self.said.append(text)

    model = build_model("cnn", num_classes=2, width="small")
    expected = embed(model, squares, np.arange(11), PREPROCESSING, batch_size=2)
    normalised = sending.send_normalised

    def refuse(images: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], *others: Any) -> torch.Tensor:
        if len(images) > most:
            raise MemoryError
        return normalised(images, *others)

    monkeypatch.setattr(room, "send_normalised", refuse)
    heard, most = Heard(), 3
    found = embed(model, squares, np.arange(11), PREPROCESSING, batch_size=8, progress=heard)
    np.testing.assert_allclose(found, expected, rtol=1e-2, atol=1e-3)
    assert heard.said == [f"out of memory: on with {size} images at once" for size in (4, 2)]
    most = 0
    with pytest.raises(TooLittleMemoryError):
        embed(model, squares, np.arange(11), PREPROCESSING, batch_size=8)


def test_in_float32_it_is_exact_whatever_the_batch(
    squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(room, "computes_bfloat16", lambda device: False)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build_model("resnet18", num_classes=2)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    rows = np.arange(11)
    images = torch.from_numpy(PREPROCESSING.normalise(PREPROCESSING.crop(squares)))
    found = [embed(model, squares, rows, PREPROCESSING, batch_size=size) for size in (1, 4, 32)]
    with torch.inference_mode():
        expected = model.eval().embed(images).numpy()  # type: ignore[operator]
    for embeddings in found:
        np.testing.assert_allclose(embeddings, expected, rtol=1e-4, atol=1e-4)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_in_bfloat16_it_points_the_same_way(
    squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build_model("resnet18", num_classes=2)
    found = []
    for enabled in (False, True):
        monkeypatch.setattr(room, "computes_bfloat16", lambda device, enabled=enabled: enabled)
        found.append(embed(model, squares, np.arange(3), PREPROCESSING))
    exact, rounded = found
    assert rounded.dtype == np.float32
    assert not np.array_equal(exact, rounded)
    cosine = (exact * rounded).sum(axis=1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(rounded, axis=1)
    assert cosine.min() > 0.999


def test_a_device_may_have_a_number(squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    model = build_model("cnn", num_classes=2, width="small")
    plain, numbered = (embed(model, squares, np.arange(3), PREPROCESSING, device=name) for name in ("cpu", "cpu:0"))
    assert np.array_equal(plain, numbered)
