"""The boxes are the layers, at the scale that is stated; labels keep clear of boxes and of each other."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from itertools import chain

import pytest
from torch import nn

from eyebright.drawing.boxes import BACK, TALLEST, THICK, find_boxes
from eyebright.drawing.graph import Graph
from eyebright.drawing.scene import RESERVE, Group, Outline, Scene, Text
from eyebright.drawing.trace import trace
from eyebright.drawing.volumes import draw_volumes
from eyebright.models.catalog import MODELS

GraphOf = Callable[..., Graph]
Point = tuple[float, float]


def texts(scene: Scene) -> list[Text]:
    return [part for part in scene.flat() if isinstance(part, Text)]


def rectangle(text: Text) -> list[Point]:
    """As wide as it gets in a wide typeface."""
    middle, half = text.left + text.width / 2, text.width / 2
    if text.anchor == "start":
        left, right = text.x, text.x + text.width * RESERVE
    else:
        left, right = middle - half * RESERVE, middle + half * RESERVE
    return [(left, text.y - 0.75 * text.size), (right, text.y - 0.75 * text.size), (right, text.y), (left, text.y)]


def meet(one: list[Point], other: list[Point]) -> bool:
    """Whether two convex shapes overlap: no line along an edge of either parts them."""
    for shape in (one, other):
        for (x1, y1), (x2, y2) in zip(shape, [*shape[1:], shape[0]], strict=True):
            normal = (y2 - y1, x1 - x2)
            spans = [[normal[0] * x + normal[1] * y for x, y in points] for points in (one, other)]
            if min(spans[0]) >= max(spans[1]) or min(spans[1]) >= max(spans[0]):
                return False
    return True


def faces(scene: Scene) -> Iterator[list[Point]]:
    for part in scene.parts:
        if isinstance(part, Group):
            for outline in part.parts:
                if isinstance(outline, Outline) and not any(step[0] == "C" for step in outline.steps):
                    yield [(float(step[1]), float(step[2])) for step in outline.steps if len(step) == 3]


def leaders(scene: Scene) -> Iterator[tuple[float, float, float]]:
    """The lines from boxes down to labels: x, and from where to where."""
    for part in scene.parts:
        if isinstance(part, Outline) and part.paint == "leader":
            (_, x, top), (_, _, bottom) = part.steps
            yield float(x), float(top), float(bottom)


def check_clear(scene: Scene) -> None:
    written = texts(scene)
    for number, text in enumerate(written):
        left, top = rectangle(text)[0]
        right, bottom = rectangle(text)[2]
        assert min(left, top, scene.width - right, scene.height - bottom) >= 0, text
        for other in written[number + 1 :]:
            assert not meet(rectangle(text), rectangle(other)), (text, other)
        for face in faces(scene):
            assert not meet(rectangle(text), face), text
        for x, top, bottom in leaders(scene):
            thin = [(x - 1, top), (x + 1, top), (x + 1, bottom), (x - 1, bottom)]
            assert not meet(rectangle(text), thin), text


@pytest.mark.parametrize("name", MODELS)
def test_labels_keep_clear_of_boxes_and_of_each_other(name: str, graph_of: GraphOf) -> None:
    check_clear(draw_volumes(graph_of(name)))
    check_clear(draw_volumes(graph_of(name), unfold=True))


@pytest.mark.parametrize("size", [32, 64, 100, 512])
def test_labels_keep_clear_at_any_size(size: int, graph_of: GraphOf) -> None:
    for name in ("cnn", "vgg16", "resnet50"):
        check_clear(draw_volumes(graph_of(name, size)))


def test_networks_that_branch_are_drawn_with_arcs_and_clear_labels(unet: nn.Module, two_inputs: nn.Module) -> None:
    joined = draw_volumes(trace(unet, [(3, 64, 64)]))
    check_clear(joined)
    assert sum(isinstance(part, Outline) and part.paint == "identity" for part in joined.parts) == 2
    check_clear(draw_volumes(trace(two_inputs, [(3, 64, 64), (5,)])))


def test_every_layer_of_vgg16_has_its_box_in_its_colour(graph_of: GraphOf) -> None:
    paints = [box.paint for box in find_boxes(graph_of("vgg16"))]
    stages = [["convolution"] * count + ["max"] for count in (2, 2, 3, 3, 3)]
    assert paints == ["input", *chain(*stages), "dense", "veil", "dense", "veil", "dense", "softmax"]


def test_shapes_and_the_legend_are_written_as_in_the_talk(graph_of: GraphOf) -> None:
    words = [text.words for text in texts(draw_volumes(graph_of("vgg16")))]
    for shape in ("224 x 224 x 64", "112 x 112 x 128", "56 x 56 x 256", "28 x 28 x 512", "14 x 14 x 512",
                  "7 x 7 x 512", "1 x 1 x 4096", "1 x 1 x 1000"):  # fmt: skip
        assert shape in words
    legend = ("convolution + ReLU", "max pooling", "fully connected + ReLU (the last one without)", "softmax",
              "dropout, at work while training only")  # fmt: skip
    assert set(legend) < set(words)


def test_the_cnn_says_that_its_relu_comes_after_the_pool(graph_of: GraphOf) -> None:
    words = [text.words for text in texts(draw_volumes(graph_of("cnn")))]
    assert {"convolution", "max pooling + ReLU", "dropout, at work while training only"} < set(words)
    assert "convolution + ReLU" not in words


def test_boxes_are_drawn_at_the_stated_scale(graph_of: GraphOf) -> None:
    for box in find_boxes(graph_of("vgg16")):
        side = box.shape[1] if len(box.shape) == 3 else 1
        assert box.height == pytest.approx(TALLEST * math.sqrt(side / 224))
        assert box.back == pytest.approx((box.height * BACK[0], box.height * BACK[1]))
        if not box.is_veil:
            assert box.thickness == pytest.approx(max(2.5, THICK * math.sqrt(box.shape[0])))


def test_stages_of_a_resnet_are_folded_and_open_on_request(graph_of: GraphOf) -> None:
    graph = graph_of("resnet50")
    folded, unfolded = find_boxes(graph), find_boxes(graph, unfold=True)
    assert [(box.key, box.slabs) for box in folded if box.paint == "block"] == [
        ("layer1", 3), ("layer2", 4), ("layer3", 6), ("layer4", 3),
    ]  # fmt: skip
    assert sum(box.paint == "convolution" for box in unfolded) == 53
    assert sum(box.paint == "join" for box in unfolded) == 16


def test_the_same_network_gives_the_same_drawing(graph_of: GraphOf) -> None:
    assert draw_volumes(graph_of("resnet18")) == draw_volumes(graph_of("resnet18"))
