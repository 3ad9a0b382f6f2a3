from __future__ import annotations

from torch import nn

from eyebright.drawing.blocks import find_blocks
from eyebright.drawing.flow import draw_flow
from eyebright.drawing.layers import find_layers
from eyebright.drawing.opened import draw_opened, opened_size
from eyebright.drawing.scene import Outline, Text
from eyebright.drawing.svg import write_svg
from eyebright.drawing.trace import trace
from eyebright.models.catalog import build_model


def test_everything_lies_on_the_card() -> None:
    blocks = [
        (block, "8 x 8 x 64") for block in find_blocks(find_layers(trace(build_model("resnet18"), [(3, 32, 32)])))
    ]
    width, height = opened_size(blocks[1:3])
    parts = draw_opened(blocks[1:3], 100, 50)
    card, *rest = parts
    assert isinstance(card, Outline)
    assert card.paint == "card"
    for part in rest:
        if isinstance(part, Text):
            assert 100 < part.left < 100 + width - part.width, part
            assert 50 < part.y < 50 + height
        else:
            assert isinstance(part, Outline)
            places = [(float(step[-2]), float(step[-1])) for step in part.steps if len(step) > 1]
            assert all(100 < x < 100 + width and 50 < y < 50 + height for x, y in places)


def test_blocks_of_networks_that_are_not_ours_can_be_opened() -> None:
    """A transformer's residual blocks hold dropout, normalisation and matrix products."""
    layer = nn.TransformerEncoderLayer(16, 4, 32, batch_first=True)
    graph = trace(nn.TransformerEncoder(layer, 2, enable_nested_tensor=False), [(10, 16)])
    assert len(find_blocks(find_layers(graph))) >= 2
    assert write_svg(draw_flow(graph)).startswith("<svg ")
