"""The atlas as HTML pages that link to each other and to nothing else. No torch here.

The first two pages are here; those about networks are in `networks.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from importlib import resources

import numpy as np
from numpy.typing import NDArray

from eyebright.drawing.activations import Activation, picture_activation
from eyebright.lessons.parts import bars, claims, number_grid, spell, unit_table
from eyebright.lessons.tensors import PART, Answered, Lessons
from eyebright.lessons.words import CLAIMS, HEADINGS, PAGES
from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.page.thumbnail import thumbnail


def build_pages(bodies: Mapping[str, str]) -> dict[str, str]:
    """File -> what stands below its heading and first words, as HTML -> file -> the whole page."""
    style = resources.files("eyebright.lessons").joinpath("atlas.css").read_text(encoding="utf-8")
    pages = {}
    names = list(PAGES)
    for number, name in enumerate(names):
        heading, lead = HEADINGS[name]
        links = "".join(
            f'<a href="{other}"{" aria-current=page" if other == name else ""}>{markup.text(title)}</a>'
            for other, title in PAGES.items()
        )
        onward = ""
        if number + 1 < len(names):
            onward = (
                f'<p class="onward"><a href="{names[number + 1]}">Next: {markup.text(PAGES[names[number + 1]])}</a></p>'
            )
        body = (
            f'<main><header><p class="kicker">The Eyebright atlas</p><h1>{markup.text(heading)}</h1>'
            f'<p class="lead">{markup.text(lead)}</p><nav aria-label="Pages">{links}</nav></header>'
            f"{bodies[name]}{claims(CLAIMS[name])}{onward}</main>"
        )
        pages[name] = build_page(f"{heading} – the Eyebright atlas", body, style=style)
    return pages


def picture(found: Activation | None) -> str:
    """A layer's answer with what it is below it."""
    assert found is not None
    return (
        f'<figure><img class="maps" src="{found.picture}" width="{found.width}" height="{found.height}" '
        f'alt="{markup.text(found.caption)}"><figcaption '
        f'class="quiet">{markup.text(found.caption)}</figcaption></figure>'
    )


def introduction(lessons: Lessons, strange: Answered, strange_name: str, strange_image: NDArray[np.uint8]) -> str:
    """What image classification is."""
    row, column = lessons.corner
    part = lessons.original[row : row + PART, column : column + PART]
    height, width = lessons.original.shape
    seen = lessons.image.shape[0]
    answered = lessons.answered
    grid = markup.scroll_box("Pixels as numbers", number_grid(part, "pixels as numbers", digits=0))
    return (
        "<section><h2>An image is a table of numbers</h2>"
        f"<p>This is one of the images that come with Eyebright, labelled {markup.name(lessons.name)}: "
        f"{height} x {width} pixels, each a number from 0 (black) to 255 (white). On the right are {PART} x {PART} of "
        f"them, rows {row} to {row + PART - 1}, columns {column} to {column + PART - 1}. A colour image has three such "
        'tables: red, green and blue.</p><div class="pair">'
        f"{_pixels(lessons.original, lessons.name)}{grid}</div></section>"
        "<section><h2>A classifier is a function from these numbers to one number for each class</h2>"
        f"<p>The image is enlarged to {seen} x {seen} pixels, scaled, and given to ResNet-50, which learned 1,000 "
        "classes from 1.28 million photos (ImageNet). Its five likeliest answers, computed just now by the starter "
        "weights:</p>"
        f'<div class="card narrow">{bars(answered.labels, answered.probabilities.tolist())}'
        f'<p class="quiet">All other classes together: {markup.text(f"{100 * answered.others:.1f} %")}.</p></div>'
        "<p>ImageNet has no class with the label that this image carries. The network answers with the nearest that it "
        "knows: a classifier can only ever say the names that it was given.</p></section>"
        "<section><h2>It learns from examples</h2><p>Nobody writes down what a boot looks like. The network starts "
        "with random numbers (its parameters); it is shown images with their labels, a loss measures how far its "
        "answer is from the label, and every parameter is moved a little in the direction that makes the loss smaller: "
        "the gradient. What it has learned is measured on other images, which it has never seen.</p></section>"
        "<section><h2>Right, right among five, and sure</h2><p><b>Top-1 accuracy</b> is the share of images whose "
        "likeliest answer is the label; <b>top-5 accuracy</b> the share whose label is among the five likeliest. Top-5 "
        "is always the higher figure, and the two are often confused.</p><p><b>Confidence</b> is another thing than "
        f"being right. Here is another of the images, labelled {markup.name(strange_name)}, and what the same network "
        "answers:</p>"
        f'<div class="pair">{_pixels(strange_image, strange_name)}<div class="card narrow">'
        f"{bars(strange.labels, strange.probabilities.tolist())}</div></div>"
        f"<p>It says {markup.name(strange.labels[0])} with "
        f"{markup.text(f'{100 * float(strange.probabilities[0]):.1f} %')}. "
        "Small grey pictures on black are not what it learned from.</p></section>"
    )


def layers(lessons: Lessons) -> str:
    """What each layer does, on real tensors."""
    return "".join(
        f'<section id="{key}"><h2>{markup.text(title)}</h2>{body}</section>'
        for key, title, body in (
            ("convolution", "Convolution", _convolution(lessons)),
            ("relu", "ReLU", _relu(lessons)),
            ("pooling", "Max pooling", _pooling(lessons)),
            ("fully-connected", "Fully connected", _fully_connected(lessons)),
            ("dropout", "Dropout", _dropout(lessons)),
            ("softmax", "Softmax and loss", _softmax(lessons)),
        )
    )


def _pixels(image: NDArray[np.uint8], name: str) -> str:
    """A small grey image, enlarged pixel by pixel."""
    return f'<div class="picture">{thumbnail(image[..., None].repeat(3, axis=2), name, side=224)}</div>'


def _convolution(lessons: Lessons) -> str:
    found = lessons.convolved
    products = found.seen.astype(np.float64) * found.weights
    colours = "".join(
        f'<div class="card"><h3>{colour}</h3><div class="grids">'
        f"{number_grid(found.seen[number], 'under the filter')}{number_grid(found.weights[number], 'the filter')}</div>"
        f'<p class="quiet">Products, summed: {spell(float(products[number].sum()), 3)}</p></div>'
        for number, colour in enumerate(("red", "green", "blue"))
    )
    sums = " + ".join(spell(float(products[number].sum()), 3) for number in range(3))
    return (
        "<p>A small table of weights, the filter, is laid over every place of the image. What lies under it is "
        "multiplied by it, number by number, and summed; a bias is added. The sum is large where the image looks like "
        f"the filter. This is channel {found.channel} of VGG-16’s first convolution at row {found.row}, column "
        f"{found.column} of the enlarged image: of the filters whose weights nearly cancel out, so that they answer to "
        "edges, the one that answers most strongly. Violet is above zero, orange below.</p>"
        f'<div class="cards">{colours}</div><p>{sums} + bias {spell(found.bias, 3)} = <b>{spell(found.value, 3)}</b>, '
        "which is what the layer itself answers there (what comes in was scaled with ImageNet’s mean and deviation "
        "first). The same filter at every place gives a map; 64 filters give 64 maps.</p>"
        f"{picture(picture_activation(found.layer, found.maps))}"
    )


def _relu(lessons: Lessons) -> str:
    found = lessons.rectified
    return (
        "<p>ReLU sets every negative number to zero and leaves the others as they are. Without such a bend between "
        "them, two layers of sums would be no more than one. A part of the answer of VGG-16’s first convolution:</p>"
        f'<div class="grids">{number_grid(found.before, "before")}{number_grid(found.after, "after ReLU")}</div>'
        f"<p>Of all values of this layer, ReLU sets {markup.text(f'{100 * found.zeroed:.0f} %')} to zero for this "
        "image.</p>"
    )


def _pooling(lessons: Lessons) -> str:
    found = lessons.pooled
    before, after = (" x ".join(f"{side}" for side in shape) for shape in (found.shape_before, found.shape_after))
    return (
        "<p>Of each 2 x 2 values only the largest is kept. The map becomes half as high and half as wide, and the "
        f"filters that follow see twice as far. VGG-16’s first pool makes {before} into {after}; a part of one "
        "channel:</p>"
        f'<div class="grids">{number_grid(found.before, "before")}{number_grid(found.after, "after max pooling")}</div>'
    )


def _fully_connected(lessons: Lessons) -> str:
    found = lessons.weighed
    rows = [
        (f"unit {unit}", spell(float(x), 3), spell(float(w), 3), spell(float(x) * float(w), 3))
        for unit, x, w in zip(found.units, found.inputs, found.weights, strict=True)
    ]
    rows.append((f"the other {found.width - len(found.units):,} units", "", "", spell(found.others, 3)))
    rows.append(("bias", "", "", spell(found.bias, 3)))
    rows.append((f"logit of {found.label}", "", "", spell(found.value, 3)))
    return (
        f"<p>Every unit that comes in is multiplied by a weight of its own, and all are summed. ResNet-50’s last layer "
        f"weighs {found.width:,} units for each of 1,000 classes. For {markup.name(found.label)} and this image, the "
        "five units that speak for it most:</p>"
        f"{unit_table(('what', 'unit', 'weight', 'product'), rows)}"
    )


def _dropout(lessons: Lessons) -> str:
    found = lessons.dropped
    columns = (found.inputs, *found.trained, found.used)
    rows = [
        (f"no. {number + 1}", *(spell(float(column[number]), 3) for column in columns))
        for number in range(len(found.inputs))
    ]
    headings = ("", "comes in", "in training", "in training, again", "in use")
    return (
        f"<p>While training, each unit is set to zero with a probability of {found.probability:g}, anew for every "
        "image, so that no unit is relied on alone; those that stay are multiplied by "
        f"{1 / (1 - found.probability):g}. In use, nothing happens. The eight largest units that "
        f"ResNet-50 makes of this image, through a dropout layer as VGG-16 has two:</p>{unit_table(headings, rows)}"
    )


def _softmax(lessons: Lessons) -> str:
    found = lessons.answered
    rows = [
        (label, spell(float(logit), 3), f"{100 * float(share):.2f} %", spell(float(loss), 3))
        for label, logit, share, loss in zip(found.labels, found.logits, found.probabilities, found.losses, strict=True)
    ]
    return (
        "<p>Softmax raises e to each logit and divides by the sum over all classes, so that the results are between 0 "
        "and 1 and sum to 1. The loss that is trained with, cross-entropy, is minus the logarithm of the probability "
        "of the right class: near 0 if it got nearly all, large if it got little. The last column says what the loss "
        "would be if that class were the right one.</p>"
        f"{unit_table(('class', 'logit', 'softmax', 'loss if right'), rows)}"
        f'<p class="quiet">The other classes share '
        f"{markup.text(f'{100 * found.others:.2f} %')}.</p>"
    )
