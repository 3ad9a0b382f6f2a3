"""A classifier as one HTML page: drop an image on it, and the network inside answers. No torch here.

Everything is in the file: ONNX Runtime Web, the network, what its confidences are worth, and Eyebright's preprocessing
written again in JavaScript, pixel for pixel. The page's policy forbids the browser to load or to send anything.
Shapes: H x W pixels, R side after resizing, S side that the network sees, C channels, M training images, D embedding
width, K classes.
"""

from __future__ import annotations

import base64
import gzip
import json
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from eyebright.bundle.engines import ONNX, VerifiedEngine
from eyebright.calibration.calibration import LOW_CONFIDENCE, UNLIKE, Calibration
from eyebright.errors import ExportError, printable
from eyebright.exporting.web_runtime import WebRuntime
from eyebright.inference.predictor import Predictor
from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.preprocess import IN_COLOUR, Preprocessing

MOST_BYTES = 300_000_000
"""Of a network in a page; browsers hold little more in one piece."""
_ALLOWED = {True: 0.001, False: 0.05}
"""By which share of the largest logit a browser's may be off, in float32 and in int8, before the page warns."""
_PIECE = 3 << 20  # bytes; a multiple of three, so that each piece is base64 of its own
_LEVEL = 6


@dataclass(frozen=True, kw_only=True)
class WebSubject:
    """What the page says of the classifier."""

    title: str
    """Such as "ResNet-50 for photos"; text that a user may have chosen."""
    facts: tuple[str, ...]
    """Short phrases, as text."""


def render_web(
    subject: WebSubject, predictor: Predictor, network: bytes, verified: VerifiedEngine, runtime: WebRuntime
) -> str:
    """The page as HTML, to be written as UTF-8.

    Args:
        subject: what it says of itself.
        predictor: runs the network; asked for the test picture that every browser computes again.
        network: the ONNX file.
        verified: how the network's answers compared.
        runtime: what runs it in a browser.

    Raises:
        ExportError: the network is too large for a page.
    """
    if len(network) > MOST_BYTES:
        raise ExportError(
            f"the network has {markup.size(len(network))}, and a page can hold {markup.size(MOST_BYTES)}; "
            "a quarter of it is enough with --int8"
        )
    if predictor.preprocessing.channels not in IN_COLOUR:
        raise ExportError(
            f"a page shows pictures, and this classifier takes arrays of {predictor.preprocessing.channels} channels; "
            "export it with --to onnx"
        )
    style, script, worker = (_read(name) for name in ("web.css", "web.js", "web_worker.js"))
    calibration = predictor.calibration
    references = b""
    if calibration is not None and calibration.references is not None:
        references = calibration.references.astype("<f2").tobytes()
    about = describe(predictor, is_float=verified.engine == ONNX)
    parts = [
        f'<script type="application/json" id="about">{_inert_json(about)}</script>',
        f'<script type="text/plain" id="worker">{worker}</script>',
        f'<script type="text/plain" id="runtime">{runtime.script}</script>',
        f'<script type="text/plain" id="third-party">{_base64(runtime.notices)}</script>',
        *_pieces("wasm", runtime.wasm),
        *_pieces("network", _compress(network)),
        *(_pieces("references", _compress(references)) if references else ()),
    ]
    body = (
        f'<main><header><p class="kicker">Eyebright classifier</p><h1>{markup.name(subject.title)}</h1>'
        f'<p class="lead">Says which of {markup.plural(len(predictor.class_names), "class")} an image '
        f"{'has' if about['thresholds'] is not None else 'is'}, in this browser: no image leaves this computer.</p>"
        f'<ul class="facts">{"".join(f"<li>{markup.text(fact)}</li>" for fact in subject.facts)}</ul></header>'
        f"{_DESK}{_meaning(calibration, about['thresholds'] is not None)}{_classes(predictor.class_names)}"
        f"{_about(verified, runtime)}</main>{''.join(parts)}"
    )
    return build_page(subject.title, body, style=style, script=script, starts="blob: 'wasm-unsafe-eval'")


def describe(predictor: Predictor, *, is_float: bool) -> dict[str, Any]:
    """What the page's script needs to know, as plain values."""
    preprocessing, calibration = predictor.preprocessing, predictor.calibration
    thresholds = predictor.manifest.thresholds
    return {
        "classes": list(predictor.class_names),
        "shown": [printable(name) for name in predictor.class_names],
        "preprocessing": preprocessing.to_dict(),
        "tallFirst": resizes_tall_first(),
        "channels": preprocessing.channels,
        "size": preprocessing.image_size,
        # As the float32 that probabilities are compared with in Python.
        "thresholds": None if thresholds is None else [float(np.float32(value)) for value in thresholds],
        "temperature": 1.0 if calibration is None else calibration.temperature,
        "promise": None if calibration is None else _promise(calibration),
        "pattern": _test_pattern(predictor, preprocessing, _ALLOWED[is_float]),
    }


def draw_pattern(width: int, height: int) -> NDArray[np.uint8]:
    """(H, W, 3): a picture of whole numbers only, which every language computes alike; smooth with some noise."""
    y, x, channel = np.ogrid[:height, :width, :3]
    pixels: NDArray[np.uint8] = ((5 * x + 3 * y + 80 * channel + (x * y) % 61) & 255).astype(np.uint8)
    return pixels


@cache
def resizes_tall_first() -> bool:
    """Whether this Pillow resizes columns before rows where a tall image shrinks, as it does from version 13 on.

    Pixels are rounded between the two, so a page must go about it as training did.
    """
    image = Image.fromarray(draw_pattern(40, 90))
    bicubic = Image.Resampling.BICUBIC
    columns_first = image.resize((40, 16), bicubic).resize((16, 16), bicubic)
    return image.resize((16, 16), bicubic).tobytes() == columns_first.tobytes()


def _test_pattern(predictor: Predictor, preprocessing: Preprocessing, allowed: float) -> dict[str, Any]:
    """What Python finds for the test picture, oblong so that resizing and cropping are tested, too."""
    width, height = 2 * preprocessing.resize + 7, preprocessing.resize + preprocessing.resize // 2 + 3
    square = preprocessing.square(draw_pattern(width, height))[None]
    pixels = np.ascontiguousarray(np.moveaxis(preprocessing.crop(square), 3, 1))
    return {
        "width": width,
        "height": height,
        "adler32": zlib.adler32(pixels.tobytes()),
        "logits": [float(value) for value in predictor.logits(square)[0]],
        "allowed": allowed,
    }


def _promise(calibration: Calibration) -> dict[str, Any]:
    """Thresholds, as `Calibration.judge` applies them; an infinite one is None."""
    told = calibration.describe()
    assert told["sets"] == "lac", "the page makes its sets in one way"
    return {
        "threshold": told["threshold"],
        "quantile": told["quantiles"]["lac"],
        "novelty": told["novelty_threshold"],
    }


def _read(name: str) -> str:
    return resources.files("eyebright.exporting").joinpath(name).read_text(encoding="utf-8")


def _inert_json(values: Mapping[str, Any]) -> str:
    """JSON that can't end the element it stands in."""
    return json.dumps(values).replace("<", "\\u003c")


def _compress(content: bytes) -> bytes:
    return gzip.compress(content, _LEVEL, mtime=0)


def _base64(content: bytes) -> str:
    return base64.b64encode(content).decode("ascii")


def _pieces(part: str, content: bytes) -> Iterator[str]:
    """Elements that hold compressed bytes and that no browser runs."""
    for start in range(0, len(content), _PIECE):
        yield f'<script type="text/plain" data-part="{part}">{_base64(content[start : start + _PIECE])}</script>'


_DESK = (
    '<label class="drop"><svg viewBox="0 0 24 24" aria-hidden="true"><path d="M12 16V5m0 0L7.5 9.5M12 5l4.5 4.5"/>'
    '<path d="M4 15v3.5A1.5 1.5 0 0 0 5.5 20h13a1.5 1.5 0 0 0 1.5-1.5V15"/></svg>'
    "<strong>Drop images here, or <u>choose them</u></strong>"
    '<span class="quiet">A folder can be dropped and a picture pasted, too</span>'
    '<input class="away" id="files" type="file" accept="image/*" multiple></label>'
    '<div class="line"><p id="status" role="status" data-state="busy">The network is being unpacked …</p>'
    '<div id="tools" hidden><button type="button" id="save">Save as CSV</button>'
    '<button type="button" id="clear">Clear</button></div></div>'
    '<noscript><p class="notes">This page runs the network in your browser, and needs JavaScript for it.</p></noscript>'
    '<aside class="notes" id="doubt" hidden><h2>Answers may differ in this browser</h2>'
    "<p>A test picture came out otherwise than in Python; see below.</p></aside>"
    '<ol id="answers" aria-label="Answers"></ol>'
)


def _meaning(calibration: Calibration | None, several: bool) -> str:
    """What the numbers are worth, in sentences."""
    if several:
        items = [
            "Every class is a question of its own: an image has those whose probability reaches the class's threshold, "
            "which was chosen on the validation images. It may be several, or none."
        ]
    elif calibration is None:
        items = ["The confidence is what the network says; what that is worth was not measured."]
    else:
        promises = calibration.promises
        images = markup.plural(calibration.num_samples, "validation image")
        wrong = f"at most {100 * promises.error_rate:g} % are to be wrong"
        items = [
            f"<b>Confidence</b> is how probable the class is, calibrated on {images}.",
            f"<b>Unsure: {LOW_CONFIDENCE}</b> marks answers not to rely on: of all others, {wrong}"
            + (" (proven on these images)." if calibration.abstention.certain else ", as far as so few images tell."),
            f"<b>Can't be ruled out</b> names the classes that hold the true one {100 * promises.coverage:g} % of "
            "the time.",
        ]
        if calibration.references is not None and np.isfinite(calibration.novelty_threshold):
            items.insert(
                2,
                f"<b>Unsure: {UNLIKE}</b> marks images of something else; whatever such an image shows, the answer "
                "would be one of the classes.",
            )
        items.append(
            "All this holds on average, for images like those it was trained on: the same kind of things, camera and "
            "light."
        )
    told = "".join(f"<li>{item}</li>" for item in items)
    return f'<section><h2>What the answers mean</h2><ul class="plain-list">{told}</ul></section>'


def _classes(names: tuple[str, ...]) -> str:
    listed = ", ".join(markup.name(name) for name in names)
    return f"<section><details><summary>The {markup.plural(len(names), 'class')}</summary><p>{listed}</p></details>"


def _about(verified: VerifiedEngine, runtime: WebRuntime) -> str:
    """How the answers were checked, and whose work is inside."""
    form = "float32" if verified.engine == ONNX else "int8"
    same = "exactly the same classes" if verified.several_labels else "the same class"
    return (
        "<details><summary>How these answers were checked</summary>"
        f"<p>The network, in {form}, was compared with the one that was trained on "
        f"{markup.plural(verified.num_images, 'test image')}: {same} for {verified.num_agree:,} of them, "
        f"{verified.num_correct:,} right ({verified.torch_correct:,} before the export).</p>"
        '<p id="proof">When this page is opened it computes a test picture and compares it with what Python found.</p>'
        "<p>Images are resized and cropped as in training, pixel for pixel. They are decoded by the browser, whose "
        "pixels may differ a little from Eyebright's where an image has a colour profile, is transparent, or is a JPEG "
        "of at least four times the needed size.</p></details>"
        "<details><summary>Licences</summary>"
        f"<p>The network is run by ONNX Runtime Web {markup.text(runtime.version)}, which is compiled from other "
        'projects as well: <button type="button" class="plain-button" id="notices">save their notices</button>.</p>'
        f'<pre class="licence">{markup.text_block(runtime.licence)}</pre></details></section>'
    )
