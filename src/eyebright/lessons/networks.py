"""The atlas's pages about networks: how they are built, what they look for, what is passed on. No torch here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.drawing.activations import picture_activation
from eyebright.drawing.graph import Graph
from eyebright.drawing.layers import find_layers
from eyebright.drawing.scene import Scene
from eyebright.drawing.words import facts_in_words
from eyebright.lessons.measured import Residuals, Transfer, TransferTask
from eyebright.lessons.parts import Line, chart, chart_keys, drawing, spell, unit_table
from eyebright.lessons.render import picture
from eyebright.lessons.tensors import Lessons
from eyebright.lessons.words import PAPER_DEPTHS, STAGES
from eyebright.page import markup
from eyebright.page.thumbnail import thumbnail


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """A network's drawings."""

    graph: Graph
    scenes: Mapping[str, Scene]
    """By view: "volumes", "flow", "table"."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HeatMap:
    """Where in the image ResNet-50's answer comes from."""

    picture: NDArray[np.uint8]
    """(S, S, 3), the map over the image."""
    label: str
    layer: str
    score: float
    random_score: float
    """Area under the insertion curve less that under the deletion curve."""


def vgg(drawn: Drawn) -> str:
    """How VGG-16 is built."""
    found = find_layers(drawn.graph).layers
    dense = [layer for layer in found if layer.kind == "fully connected"]
    parameters = sum(layer.parameters for layer in dense) / drawn.graph.parameters
    work = sum(layer.multiply_adds for layer in dense) / drawn.graph.multiply_adds
    return (
        "<section><h2>All of it at a glance</h2><p>Each box is the result of a layer: as high and wide as its map, as "
        "deep as it has channels. Five times the maps are halved and, up to 512, the channels doubled: less where, "
        f"more what.</p>{drawing(drawn.scenes['volumes'])}<p class='quiet'>{markup.text(facts_in_words(drawn.graph))}, "
        "counted in the network itself.</p></section>"
        "<section><h2>Where its parameters are</h2><p>The three fully connected layers hold "
        f"{markup.text(f'{100 * parameters:.1f} %')} of the parameters and do {markup.text(f'{100 * work:.1f} %')} of "
        "the multiply-adds; the thirteen convolutions have the rest of both. For transfer learning the fully connected "
        "layers are usually left away.</p></section>"
        "<section><h2>The family</h2><p>The paper’s configurations, made from the real networks.</p>"
        f"{drawing(drawn.scenes['table'])}</section>"
    )


def resnet(drawn: Drawn, residuals: Residuals) -> str:
    """How ResNet-50 is built, and why residuals help."""
    return (
        "<section><h2>A block adds a correction to what came in</h2><p>A plain stack computes y = F(x), layer upon "
        "layer. A residual block computes y = F(x) + x: what came in goes past the convolutions and is added to what "
        "they answer (the arcs). Where the shapes differ, a 1 x 1 convolution, the projection, fits it in.</p>"
        f"{drawing(drawn.scenes['flow'])}<p class='quiet'>{markup.text(facts_in_words(drawn.graph))}, counted in the "
        f"network itself.</p></section>{_experiment(residuals)}"
        "<section><h2>As volumes</h2>"
        f"{drawing(drawn.scenes['volumes'])}</section>"
        f"<section><h2>The family</h2>{drawing(drawn.scenes['table'])}</section>"
    )


def _experiment(residuals: Residuals) -> str:
    depths = sorted({course.depth for course in residuals.courses})
    styles = {
        (depth, is_residual): f"{'residual' if is_residual else 'plain'}-{'deep' if depth == depths[-1] else 'shallow'}"
        for depth in depths
        for is_residual in (False, True)
    }
    losses, accuracies = (
        [
            Line(name=course.name, style=styles[course.depth, course.is_residual], values=values)
            for course in residuals.courses
            for values in (course.train_loss if kind == "loss" else course.test_accuracy,)
        ]
        for kind in ("loss", "accuracy")
    )
    rows = [
        (
            course.name,
            f"{course.parameters:,}",
            spell(course.train_loss[-1], 3),
            f"{100 * course.test_accuracy[-1]:.1f} %",
        )
        for course in residuals.courses
    ]
    return (
        "<section><h2>Why residuals help: measured</h2><p>Small networks after section 4.2 of the paper, trained on "
        f"{residuals.train_images:,} of the images that come with Eyebright and tested on {residuals.test_images:,} "
        "others. A plain network and the residual one of its depth have the same layers, the same number of "
        "parameters, the same BatchNorm, the same start and the same batches; they differ in the shortcuts alone.</p>"
        f'{chart_keys(losses)}<div class="charts"><div><h3>Loss on the training images</h3>'
        f"{chart('Training loss by epoch', losses, top=2.5, ticks=(0, 0.5, 1, 1.5, 2, 2.5))}</div>"
        "<div><h3>Accuracy on the test images</h3>"
        f"{chart('Test accuracy by epoch', accuracies, top=1, ticks=(0, 0.25, 0.5, 0.75, 1), is_percent=True)}"
        "</div></div>"
        f"{unit_table(('network', 'parameters', 'training loss, last', 'test accuracy, last'), rows)}"
        f"<p>{markup.text(_verdict(residuals))}</p>"
        f"<p>{markup.text(PAPER_DEPTHS)}</p>"
        f'<p class="quiet">One run of each, so the last points of accuracy mean little. Losses above 2.5 are drawn at '
        f"2.5. Made by <code>{markup.text(residuals.command)}</code></p></section>"
    )


def _verdict(residuals: Residuals) -> str:
    """What the figures say, in words that follow them."""
    last = {(course.depth, course.is_residual): course.train_loss[-1] for course in residuals.courses}
    shallow, deep = min(last)[0], max(last)[0]
    said = [
        f"the {kind} network’s training loss goes from {last[shallow, is_residual]:.3f} "
        f"to {last[deep, is_residual]:.3f}"
        for kind, is_residual in (("plain", False), ("residual", True))
    ]
    return (
        f"From {shallow} to {deep} layers, {said[0]}; {said[1]}. At {deep} layers the plain network’s loss is "
        f"{last[deep, False] / last[deep, True]:.1f} times the residual one’s."
    )


def learned(lessons: Lessons, filters: Sequence[NDArray[np.uint8]], heat: HeatMap) -> str:
    """What the networks look for."""
    tiles = "".join(thumbnail(found, f"filter {number}", side=48) for number, found in enumerate(filters))
    return (
        "<section><h2>The first filters</h2><p>ResNet-50’s first convolution, 64 filters of 7 x 7: edges in all "
        "directions "
        f'and patches of colour. Grey is zero.</p><div class="filters">{tiles}</div></section>'
        "<section><h2>One image, stage by stage</h2><p>Where each channel answers to the image, dark for little and "
        "light for much; the eight strongest channels of every stage. The maps become coarser, and what they answer to "
        'larger.</p><div class="pair"><div class="picture">'
        f"{thumbnail(lessons.image, lessons.name, side=224)}</div></div>"
        f"<h3>ResNet-50</h3>{_stages(lessons.resnet_stages)}<h3>VGG-16</h3>{_stages(lessons.vgg_stages)}"
        '<p class="quiet">What a stage mostly answers to is a rule of thumb, after Zeiler and Fergus, Visualizing and '
        "Understanding Convolutional Networks, arXiv:1311.2901, section 4. <code>eyebright features</code> shows "
        "it for a network and images of your own.</p></section>"
        f"<section><h2>Where the answer comes from</h2><p>Grad-CAM of {markup.text(heat.layer)} for "
        f"{markup.name(heat.label)}: bright parts speak for it.</p>"
        f'<div class="picture">{thumbnail(heat.picture, "the heat map over the image", side=224)}</div>'
        f"<p>How faithful is it? Insertion less deletion: {spell(heat.score)}; maps drawn by chance: "
        f"{spell(heat.random_score)}. {_faithful(heat)} <code>eyebright explain</code> measures this for every map.</p>"
        "</section>"
    )


def _faithful(heat: HeatMap) -> str:
    if heat.score > heat.random_score:
        return "Higher is better, so of this image it says more than random maps do on average."
    return "Higher is better, so of this image it says no more than random maps do on average."


def _stages(stages: Mapping[str, NDArray[np.float32]]) -> str:
    cards = "".join(
        f'<div class="card"><h3>{markup.text(stage)}: {markup.text(STAGES[stage])}</h3>'
        f"{picture(picture_activation(stage, values))}</div>"
        for stage, values in stages.items()
    )
    return f'<div class="stages">{cards}</div>'


def transfer(measured: Transfer) -> str:
    """What transfer learning is, and what it saves."""
    tables = "".join(_task(task) for task in measured.tasks)
    rows = (
        ("quick: only a new head", "87.2 % (83.6 to 90.1)", "31 s"),
        ("standard: then all layers", "90.6 % (87.4 to 93.1)", "9 min"),
        ("best: longer and larger", "93.6 % (90.8 to 95.6)", "29 min"),
    )
    return (
        "<section><h2>What is passed on</h2><p>A network that has learned from a million photos has filters for edges, "
        "textures and parts that other photos have as well. Transfer learning keeps them: the last layer, which names "
        "ImageNet’s classes, is replaced by one for yours, and only that, or all layers a little, is trained on your "
        "images.</p></section>"
        "<section><h2>What it saves: measured</h2><p>The same kind of linear head, fitted once on raw pixels and once "
        "on what the starter ResNet-50 makes of the images. Mean accuracy, and the least and most of three draws.</p>"
        f"{tables}<p>{markup.text(_gains(measured))}</p>"
        f'<p class="quiet">Made by <code>{markup.text(measured.command)}</code></p></section>'
        "<section><h2>How far it goes</h2><p>ResNet-50 from the starter weights on TrashNet (2,024 photos of 6 "
        "classes), a fifth kept for the test, with each --effort; accuracy with its 95 % interval, and the time of the "
        "whole command on "
        f"two cores:</p>{unit_table(('what is trained', 'accuracy', 'time'), rows)}"
        '<p class="quiet">One split each, from docs/bench.md, “Training”.</p></section>'
    )


def _gains(measured: Transfer) -> str:
    """What the embeddings bring where images are fewest, in words that follow the figures."""
    said = []
    for task in measured.tasks:
        row = task.rows[0]
        gain = 100 * (sum(row.embeddings) / len(row.embeddings) - sum(row.pixels) / len(row.pixels))
        word = "gain" if gain >= 0 else "lose"
        said.append(
            f"With {row.per_class} images of each class the embeddings {word} {abs(gain):.0f} points on {task.title}."
        )
    return " ".join(said) + " The nearer the images are to what the network learned from, the more it can pass on."


def _task(task: TransferTask) -> str:
    rows = [(f"{row.per_class} of each class", _spread(row.pixels), _spread(row.embeddings)) for row in task.rows]
    return (
        f"<h3>{markup.text(task.title)}</h3>{unit_table(('images to learn from', 'raw pixels', 'embeddings'), rows)}"
        f'<p class="quiet">Tested on {task.test_images} images; the network sees {task.side} x {task.side} pixels.</p>'
    )


def _spread(values: Sequence[float]) -> str:
    mean = sum(values) / len(values)
    return f"{100 * mean:.1f} % ({100 * min(values):.1f} to {100 * max(values):.1f})"
