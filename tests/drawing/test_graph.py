from __future__ import annotations

from collections.abc import Callable

import pytest
from torch import nn

from eyebright.drawing.graph import Graph, across, add_softmax
from eyebright.drawing.trace import trace


@pytest.mark.parametrize(
    ("shape", "words"),
    [((64, 224, 112), "224 x 112 x 64"), ((4096,), "1 x 1 x 4096"), ((10, 16), "10 x 16"), ((), "1")],
)
def test_shapes_are_written_with_the_channels_last(shape: tuple[int, ...], words: str) -> None:
    assert across(shape) == words


@pytest.mark.parametrize(
    ("name", "depth"), [("cnn", 5), ("vgg16", 16), ("vgg19_bn", 19), ("resnet34", 34), ("resnet50", 50)]
)
def test_the_depth_is_the_one_in_the_name(name: str, depth: int, graph_of: Callable[..., Graph]) -> None:
    assert graph_of(name).depth == depth


def test_a_softmax_is_added_once_and_said_to_be(graph_of: Callable[..., Graph]) -> None:
    graph = graph_of("vgg16")
    assert [node.is_added for node in graph.nodes if node.kind == "softmax"] == [True]
    assert add_softmax(graph) is graph
    assert graph.by_name["softmax"].inputs == ("classifier.6",)


def test_no_softmax_is_added_to_a_map() -> None:
    graph = trace(nn.Conv2d(3, 2, 1), [(3, 4, 4)])
    assert add_softmax(graph) is graph


def test_the_memory_of_a_result_is_its_values_times_their_bytes(graph_of: Callable[..., Graph]) -> None:
    assert graph_of("vgg16").by_name["features.0"].size_bytes == 64 * 224 * 224 * 4
