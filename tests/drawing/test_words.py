from __future__ import annotations

from collections.abc import Callable
from typing import get_args

from eyebright.drawing.blocks import find_blocks
from eyebright.drawing.graph import Graph, Kind
from eyebright.drawing.layers import find_layers
from eyebright.drawing.words import _SENTENCES, block_sentence, facts_in_words, numbers, sentence, short

GraphOf = Callable[..., Graph]


def test_every_kind_has_a_sentence() -> None:
    assert set(_SENTENCES) == set(get_args(Kind))


def test_a_sentence_says_what_a_layer_does(graph_of: GraphOf) -> None:
    layers = find_layers(graph_of("vgg16")).by_name
    assert sentence(layers["features.0"]) == (
        "Slides 64 filters of 3x3 over the map, each asking at every place how much of its own pattern is there; "
        "ReLU then sets every negative value to zero."
    )
    assert "does nothing when the network is used" in sentence(layers["classifier.2"])
    assert short(layers["features.4"]) == "max pool 2x2, stride 2"


def test_numbers_are_those_of_the_layer(graph_of: GraphOf) -> None:
    layer = find_layers(graph_of("vgg16")).by_name["features.0"]
    assert numbers(layer, 3) == (
        "224 x 224 x 64; 1,792 parameters; 86,704,128 multiply-adds; each value sees 3 x 3 pixels"
    )


def test_blocks_are_told_with_their_shortcut(graph_of: GraphOf) -> None:
    blocks = find_blocks(find_layers(graph_of("resnet50")))
    assert block_sentence(blocks[:1]).endswith("to a projection of what came in, so that the shapes agree.")
    assert block_sentence(blocks[1:2]) == (
        "A residual block, which computes a correction (conv 1x1, 64; conv 3x3, 64; conv 1x1, 256) and adds it to "
        "what came in."
    )
    assert block_sentence(blocks[:3]).startswith("3 blocks in a row, each of which")


def test_the_facts_name_depth_size_and_input(graph_of: GraphOf) -> None:
    assert facts_in_words(graph_of("vgg16")) == (
        "16 weighted layers, 138.4 million parameters, 15.5 billion multiply-adds for an input of 224 x 224 x 3"
    )
