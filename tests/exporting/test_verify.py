from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.bundle.engines import VerifiedEngine
from eyebright.errors import DataError, ExportError
from eyebright.exporting.verify import Batch, require_same_answers, verify
from eyebright.progress import SilentProgress


class Spelled:
    """Says of an image whose first pixel is n the n-th row of logits."""

    def __init__(self, name: str, logits: list[list[float]], embeddings: list[list[float]] | None = None) -> None:
        self.name = name
        self._logits = np.array(logits, dtype=np.float32)
        self._embeddings = np.array(embeddings or EMBEDDINGS, dtype=np.float32)

    def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
        return self._logits[images[:, 0, 0, 0]]

    def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        return self.run(images), self._embeddings[images[:, 0, 0, 0]]


def numbered(start: int, labels: list[int]) -> Batch:
    pixels = np.zeros((len(labels), 1, 2, 2), dtype=np.uint8)
    pixels[:, 0, 0, 0] = range(start, start + len(labels))
    return pixels, np.array(labels)


TORCH = [[3.0, 0.0], [3.0, 0.0], [0.0, 3.0], [0.0, -4.0]]
EMBEDDINGS = [[1.0, 0.0], [0.0, 2.0], [3.0, 4.0], [0.0, 0.0]]


def compare(
    logits: list[list[float]], name: str = "onnx-int8", *, embeddings: list[list[float]] | None = None
) -> VerifiedEngine:
    return verify(
        Spelled(name, logits, embeddings),
        Spelled("torch", TORCH),
        [numbered(0, [0, 1]), numbered(2, [1, 0])],
        total=4,
        weights_sha256="f" * 64,
        how="",
        machine="",
        created="",
        progress=SilentProgress(),
    )


def test_answers_are_counted_image_by_image() -> None:
    found = compare([[3.0, 0.5], [0.0, 1.0], [2.0, 0.0], [0.0, -4.0]])
    assert (found.num_images, found.num_agree, found.num_correct, found.torch_correct) == (4, 2, 3, 3)
    assert (found.largest_difference, found.largest_logit) == (3.0, 4.0)
    assert (found.agreement, found.drop, found.lowest_cosine) == (0.5, 0.0, 1.0)
    assert min(found.latency_seconds, found.images_per_second, found.torch_images_per_second) > 0


def test_where_an_image_may_have_several_labels_all_of_them_count() -> None:
    pixels, _ = numbered(0, [0, 0, 0, 0])
    labels = np.array([[True, False], [True, True], [False, True], [False, False]])
    found = verify(
        Spelled("onnx-int8", [[3.0, -3.0], [3.0, -3.0], [3.0, 3.0], [-1.0, -4.0]]),
        Spelled("torch", [[3.0, -3.0], [3.0, 3.0], [-3.0, 3.0], [0.0, -4.0]]),
        [(pixels, labels)],
        thresholds=(0.5, 0.5),
        total=4,
        weights_sha256="f" * 64,
        how="",
        machine="",
        created="",
        progress=SilentProgress(),
    )
    assert (found.num_images, found.num_agree, found.num_correct, found.torch_correct) == (4, 1, 2, 3)
    with pytest.raises(ExportError, match=r"25\.0 points of images with all labels right on 4 test images"):
        require_same_answers(found, max_drop=0.5)


def test_more_than_the_allowed_drop_is_refused() -> None:
    worse = compare([[0.0, 3.0], [3.0, 0.0], [0.0, 3.0], [0.0, -4.0]])
    assert worse.drop == 25
    with pytest.raises(ExportError, match=r"loses 25\.0 points of accuracy on 4 test images, and at most 0\.5"):
        require_same_answers(worse, max_drop=0.5)
    require_same_answers(worse, max_drop=25)
    require_same_answers(replace(worse, num_correct=4), max_drop=0)


@pytest.mark.parametrize("name", ["onnx", "executorch"])
def test_a_float_graph_may_be_off_by_rounding_only(name: str) -> None:
    require_same_answers(compare([[3.0003, 0.0], *TORCH[1:]], name=name), max_drop=0)  # of 4, a ten-thousandth
    with pytest.raises(ExportError, match="answers differently"):
        require_same_answers(compare([[3.0005, 0.0], *TORCH[1:]], name=name), max_drop=100)
    require_same_answers(compare([[3.1, 0.0], *TORCH[1:]], name="onnx-int8"), max_drop=0)


@pytest.mark.parametrize("name", ["onnx", "onnx-int8", "torch-bf16"])
def test_what_is_no_number_is_refused(name: str) -> None:
    with pytest.raises(ExportError, match="no numbers"):
        require_same_answers(compare([[float("nan"), 0.0], *TORCH[1:]], name=name), max_drop=100)


def test_nothing_to_compare_on_is_an_error() -> None:
    with pytest.raises(DataError, match="no test images"):
        verify(
            Spelled("onnx", TORCH),
            Spelled("torch", TORCH),
            [],
            total=0,
            weights_sha256="",
            how="",
            machine="",
            created="",
            progress=SilentProgress(),
        )


@pytest.mark.parametrize(
    ("name", "bound"), [("onnx", 0.999), ("executorch", 0.999), ("onnx-int8", 0.95), ("torch-bf16", 0.95)]
)
def test_embeddings_that_point_another_way_are_refused(name: str, bound: float) -> None:
    def turned(cosine: float) -> VerifiedEngine:
        aside = [5 * cosine, 5 * math.sqrt(1 - cosine**2)]  # from (5, 0), and longer than it is there
        return compare(TORCH, name, embeddings=[aside, *EMBEDDINGS[1:]])

    near = turned(bound + 2e-4)
    assert near.lowest_cosine == pytest.approx(bound + 2e-4, abs=1e-6)
    require_same_answers(near, max_drop=0)
    require_same_answers(replace(near, lowest_cosine=None), max_drop=0)  # as records had it before
    for embeddings in (turned(bound - 2e-4), compare(TORCH, name, embeddings=[*EMBEDDINGS[:3], [0.0, 1.0]])):
        with pytest.raises(ExportError, match=f"sees images differently: .* and {bound} is the least"):
            require_same_answers(embeddings, max_drop=100)
    with pytest.raises(ExportError, match="no numbers"):
        require_same_answers(compare(TORCH, name, embeddings=[[math.nan, 0.0], *EMBEDDINGS[1:]]), max_drop=100)


def test_nothing_is_timed_while_images_are_still_decoded() -> None:
    decoding = [True]
    timed: list[tuple[str, bool, int]] = []

    class Timed(Spelled):
        def run(self, images: NDArray[np.uint8]) -> NDArray[np.float32]:
            timed.append((self.name, decoding[0], len(images)))
            return super().run(images)

        def run_and_embed(self, images: NDArray[np.uint8]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
            return Spelled.run(self, images), self._embeddings[images[:, 0, 0, 0]]

    def stream() -> Iterator[Batch]:
        pixels, labels = numbered(0, [0, 1, 1, 1])
        for _ in range(9):
            yield pixels, labels
        decoding[0] = False

    verify(
        Timed("onnx", TORCH),
        Timed("torch", TORCH),
        stream(),
        total=36,
        weights_sha256="",
        how="",
        machine="",
        created="",
        progress=SilentProgress(),
    )
    assert not any(early for _, early, _ in timed)
    batches = [name for name, _, count in timed if count == 4]
    assert batches.count("onnx") == batches.count("torch") == 1 + 4 * 3
    assert [name for name, _, count in timed if count == 1].count("onnx") == 9
