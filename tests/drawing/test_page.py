from __future__ import annotations

from collections.abc import Callable

import numpy as np

from eyebright.drawing.activations import Activation
from eyebright.drawing.graph import Graph
from eyebright.drawing.page import Flowing, View, render_drawing
from eyebright.drawing.summary import summarise
from eyebright.drawing.volumes import draw_volumes

HOSTILE = '<img src=x onerror=alert(1)>"'


def render(graph: Graph, flowing: Flowing | None = None) -> str:
    view = View(title="Volumes", about="What it is", scene=draw_volumes(graph))
    return render_drawing(summarise(graph), [view], flowing=flowing, stages=["features.0", "hidden"])


def test_every_layer_is_in_the_picture_and_in_the_table(graph_of: Callable[..., Graph]) -> None:
    page = render(graph_of("cnn"))
    for name in ("features.0", "features.1", "hidden", "dropout", "fc", "softmax"):
        assert f'data-layer="{name}"' in page
        assert f'<th scope="row">{name}</th>' in page
    assert page.count('tabindex="0" role="button"') == 12
    assert 'id="flowing"' not in page


def test_an_image_is_shown_layer_by_layer_and_names_stay_text(graph_of: Callable[..., Graph]) -> None:
    flowing = Flowing(
        name=HOSTILE,
        image=np.zeros((8, 8, 3), dtype=np.uint8),
        activations={
            "features.0": Activation("features.0", "8 of 24", "data:image/png;base64,b25lb25l", 8, 8),
            "layer of a block": Activation("block", "8 of 24", "data:image/png;base64,dHdvdHdv", 8, 8),
        },
        answers=((HOSTILE, 0.25),),
        weights="a run",
    )
    page = render(graph_of("cnn"), flowing)
    assert "<img src=x" not in page
    assert "25.0&#160;%" in page
    # A card and a picture for the panel; what is no stage has the latter only.
    assert (page.count("b25lb25l"), page.count("dHdvdHdv")) == (2, 1)


def test_only_its_own_script_may_run(graph_of: Callable[..., Graph]) -> None:
    page = render(graph_of("cnn"))
    assert page.count("<script>") == 1
    assert "script-src 'sha256-" in page
    assert "default-src 'none'" in page
