from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import nn

from eyebright.drawing.graph import Graph
from eyebright.drawing.receptive import receptive_fields
from eyebright.drawing.trace import trace
from eyebright.models.catalog import build_model
from eyebright.models.filling import shapes_only


def last_map(graph: Graph) -> int | None:
    fields = receptive_fields(graph)
    return [fields[node.name] for node in graph.nodes if len(node.shape) == 3][-1]


def test_vgg16_sees_212_pixels_as_published(graph_of: Callable[..., Graph]) -> None:
    assert receptive_fields(graph_of("vgg16"))["features.30"] == 212


@pytest.mark.parametrize(("name", "published"), [("resnet50", 483), ("resnet101", 1027), ("resnet152", 1507)])
def test_resnets_with_the_papers_stride_see_what_is_published(name: str, published: int) -> None:
    """Araujo et al., Distill, 2019, table 1: resnet_v1_50, _101 and _152."""
    with shapes_only():
        model = build_model(name, stride_in="1x1")
    assert last_map(trace(model, [(3, 224, 224)])) == published


@pytest.mark.parametrize(
    "model",
    [
        nn.Sequential(nn.Conv2d(1, 1, 3, padding=9), nn.Conv2d(1, 1, 3, 2), nn.Conv2d(1, 1, 5, dilation=2)),
        nn.Sequential(nn.Conv2d(1, 1, 5, 3, padding=9), nn.AvgPool2d(2), nn.Conv2d(1, 1, 3)),
        nn.Sequential(nn.Conv2d(1, 1, 4, 4), nn.ConvTranspose2d(1, 1, 4, 2), nn.Conv2d(1, 1, 3, 2)),
    ],
)
def test_the_field_is_the_span_of_pixels_that_have_a_gradient(model: nn.Module) -> None:
    for parameter in model.parameters():
        nn.init.ones_(parameter)
    image = torch.zeros(1, 1, 65, 65, requires_grad=True)
    result = model(image)
    rows = []
    for row in range(result.shape[2]):
        (slope,) = torch.autograd.grad(result[0, 0, row, result.shape[3] // 2], image, retain_graph=True)
        seen = slope[0, 0].abs().sum(1).nonzero()
        rows.append(int(seen.max() - seen.min()) + 1)
    assert last_map(trace(model, [(1, 65, 65)])) == max(rows)


def test_a_vector_sees_all_that_its_map_saw(graph_of: Callable[..., Graph]) -> None:
    fields = receptive_fields(graph_of("vgg16"))
    assert fields["classifier.0"] == 212 + 6 * 32


def test_what_is_no_picture_has_no_receptive_field() -> None:
    assert set(receptive_fields(trace(nn.Linear(3, 2), [(3,)])).values()) == {None}
