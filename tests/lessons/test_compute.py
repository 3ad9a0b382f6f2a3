from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.lessons.compute import compute_lessons
from eyebright.lessons.tensors import Lessons
from eyebright.models.protocol import Network
from eyebright.models.resnet import ResNet
from eyebright.models.vgg import VGG
from eyebright.preprocess import Preprocessing

NAMES = tuple(f"class {number}" for number in range(12))
PREPROCESSING = Preprocessing(image_size=64, resize=72)


@pytest.fixture(scope="module")
def networks() -> tuple[VGG, ResNet]:
    torch.manual_seed(3)
    vgg, resnet = VGG(13, num_classes=12, head="pooled"), ResNet(18, num_classes=12)
    nn.init.normal_(vgg.get_parameter("features.0.bias"))
    nn.init.normal_(resnet.fc.bias)
    return vgg.eval(), resnet.eval()


@pytest.fixture(scope="module")
def original() -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(0, 256, (28, 28), dtype=np.uint8)


@pytest.fixture(scope="module")
def lessons(networks: tuple[VGG, ResNet], original: NDArray[np.uint8]) -> Lessons:
    vgg, resnet = networks
    assert isinstance(resnet, Network)
    return compute_lessons(vgg, resnet, NAMES, PREPROCESSING, original, "noise")


@pytest.fixture(scope="module")
def batch(original: NDArray[np.uint8]) -> Tensor:
    return torch.from_numpy(PREPROCESSING(original[..., None].repeat(3, axis=2)).copy())[None]


def test_the_products_of_a_convolution_sum_to_what_torch_answers(
    lessons: Lessons, networks: tuple[VGG, ResNet], batch: Tensor
) -> None:
    found = lessons.convolved
    with torch.inference_mode():
        maps = networks[0].features[0](batch)[0]
    assert found.value == pytest.approx(float(maps[found.channel, found.row, found.column]), rel=1e-5)
    by_hand = float((found.seen.astype(np.float64) * found.weights).sum()) + found.bias
    assert by_hand == pytest.approx(found.value, rel=1e-4)
    lean = np.abs(found.weights.sum()) / np.abs(found.weights).sum()
    assert lean <= 0.2


def test_relu_and_pooling_equal_torchs_own(lessons: Lessons) -> None:
    rectified, pooled = lessons.rectified, lessons.pooled
    assert rectified.before.min() < 0 < rectified.before.max()
    assert np.array_equal(rectified.after, F.relu(torch.from_numpy(rectified.before)).numpy())
    assert 0 < rectified.zeroed < 1
    assert pooled.before.std() > 0
    by_hand = [[pooled.before[r : r + 2, c : c + 2].max() for c in (0, 2)] for r in (0, 2)]
    assert np.array_equal(pooled.after, np.array(by_hand, dtype=np.float32))
    assert (pooled.shape_before, pooled.shape_after) == ((64, 64, 64), (32, 32, 64))


def test_the_logit_is_the_sum_of_its_products(lessons: Lessons, networks: tuple[VGG, ResNet], batch: Tensor) -> None:
    found = lessons.weighed
    with torch.inference_mode():
        logits = networks[1](batch)[0]
    assert found.label == NAMES[int(logits.argmax())]
    assert found.value == pytest.approx(float(logits.max()), rel=1e-5)
    assert float((found.inputs * found.weights).sum()) + found.others + found.bias == pytest.approx(
        found.value, rel=1e-4
    )


def test_dropout_is_random_in_training_only_and_leaves_the_callers_randomness_alone(
    lessons: Lessons, networks: tuple[VGG, ResNet], original: NDArray[np.uint8]
) -> None:
    found = lessons.dropped
    first, second = found.trained
    assert not np.array_equal(first, second)
    for values in (first, second):
        assert all(v == 0 or v == pytest.approx(2 * x) for v, x in zip(values, found.inputs, strict=True))
    assert np.array_equal(found.used, found.inputs)
    torch.manual_seed(8)
    expected = torch.rand(1)
    torch.manual_seed(8)
    assert isinstance(networks[1], Network)
    compute_lessons(*networks, NAMES, PREPROCESSING, original, "noise")
    assert torch.equal(torch.rand(1), expected)


def test_softmax_and_losses_equal_torchs(lessons: Lessons, networks: tuple[VGG, ResNet], batch: Tensor) -> None:
    found = lessons.answered
    with torch.inference_mode():
        logits = networks[1](batch)
    probabilities, order = logits.softmax(dim=1)[0].sort(descending=True)
    assert found.labels == tuple(NAMES[int(label)] for label in order[:5])
    assert found.probabilities == pytest.approx(probabilities[:5].numpy(), rel=1e-5)
    losses = [float(F.cross_entropy(logits, label[None])) for label in order[:5]]
    assert found.losses == pytest.approx(losses, rel=1e-5)
    assert found.others + float(found.probabilities.sum()) == pytest.approx(1)


def test_the_part_in_numbers_is_the_one_with_the_most_contrast(lessons: Lessons) -> None:
    row, column = lessons.corner
    best = lessons.original[row : row + 6, column : column + 6].astype(float).std()
    others = [lessons.original[r : r + 6, c : c + 6].astype(float).std() for r in range(23) for c in range(23)]
    assert best == max(others)
