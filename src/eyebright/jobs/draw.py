"""Draw a network: of the catalogue, of a run, or any module; and write the drawing to a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Literal, get_args

import torch
from torch import nn

from eyebright.bundle.manifest import find_bundle, read_manifest
from eyebright.data.decode import decode_anything
from eyebright.drawing.activations import answers_to_show, picture_activation
from eyebright.drawing.blocks import find_blocks
from eyebright.drawing.boxes import find_boxes
from eyebright.drawing.family import draw_family
from eyebright.drawing.flow import draw_flow
from eyebright.drawing.graph import Graph, add_softmax
from eyebright.drawing.layers import find_layers
from eyebright.drawing.page import Flowing, View, render_drawing
from eyebright.drawing.pdf import write_pdf
from eyebright.drawing.png import write_png
from eyebright.drawing.scene import Scene
from eyebright.drawing.summary import Summary, draw_summary, summarise
from eyebright.drawing.svg import write_svg
from eyebright.drawing.trace import capture, trace
from eyebright.drawing.volumes import draw_volumes
from eyebright.errors import ModelError, SettingsError, nearest, printable
from eyebright.inference.predictor import softmax
from eyebright.jobs.network import find_network, list_starters
from eyebright.models.catalog import MODELS, ModelEntry, build_model, find_model
from eyebright.models.filling import shapes_only
from eyebright.models.published import STARTER_PACKAGE
from eyebright.models.weights import load_pretrained
from eyebright.preprocess import Preprocessing, in_colour
from eyebright.writing import check_new, write_new

Look = Literal["volumes", "flow", "table"]
VIEWS: tuple[Look, ...] = get_args(Look)
FORMATS = (".svg", ".png", ".pdf", ".html")
SIZE = 224
"""Of an image in pixels, where nothing else is said; the plain CNN, made for small images, is drawn with 64."""
_CNN_SIZE, _CNN_CLASSES = 64, 10
_MAX_SIZE = 8192
_FAMILIES = {
    "vgg": ("VGG", ("vgg11", "vgg13", "vgg16", "vgg19")),
    "vgg_bn": ("VGG with BatchNorm", ("vgg11_bn", "vgg13_bn", "vgg16_bn", "vgg19_bn")),
    "resnet": ("ResNet", ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")),
}
_ANSWERS = 5


@dataclass(frozen=True, kw_only=True)
class Drawing:
    """A network as pictures and numbers; shows itself in a notebook."""

    graph: Graph
    scene: Scene
    build_page: Callable[[], str]
    is_dark: bool = False

    @cached_property
    def svg(self) -> str:
        """The picture; follows the reader's light or dark mode unless the dark one was asked for."""
        return write_svg(self.scene, theme="dark" if self.is_dark else "auto")

    @cached_property
    def html(self) -> str:
        """The whole page: every view, every layer to point at."""
        return self.build_page()

    @cached_property
    def summary(self) -> Summary:
        """Every layer in numbers; `print` it."""
        return summarise(self.graph)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the picture, or the page, in the format that the name ends in. No file is ever overwritten.

        Args:
            path: ends in .svg, .png, .pdf or .html.

        Raises:
            OutputError: another ending, a file that exists, or one that can't be written.
            MissingExtraError: .png without the extra `draw`.
        """
        target = Path(path)
        suffix = check_target(target)
        if suffix == ".png":
            content = write_png(self.scene, is_dark=self.is_dark)
        elif suffix == ".pdf":
            content = write_pdf(self.scene, is_dark=self.is_dark)
        else:
            content = (self.svg if suffix == ".svg" else self.html).encode()
        write_new(target, content)
        return target

    def _repr_svg_(self) -> str:
        return self.svg


@dataclass(frozen=True)
class _Subject:
    """What is to be drawn, and what is known of it."""

    graph: Graph
    entry: ModelEntry | None = None
    preprocessing: Preprocessing | None = None
    run: Path | None = None


def draw(
    network: str | os.PathLike[str] | nn.Module,
    *,
    inputs: Sequence[tuple[int, ...]] | None = None,
    size: int | None = None,
    view: Look = "volumes",
    unfold: bool = False,
    image: Any = None,
    out: str | os.PathLike[str] | None = None,
    dark: bool = False,
) -> Drawing:
    """A picture of a network, made from a trace of the network itself. No weights are loaded but for `image`.

    Args:
        network: a name of the catalogue ("vgg16"), the folder of a run or bundle, or any module.
        inputs: for a module, the shape of each argument of its `forward` for one sample, as (C, H, W); one colour image
            of 224 x 224 by default.
        size: for a name or run, the side of the image in pixels; by default what the run was trained with, else 224
            (the plain CNN: 64).
        view: "volumes", boxes in perspective; "flow", the blocks and shortcuts of a residual network; "table", the
            network's family side by side, or its layers if it has none.
        unfold: in volumes, every layer of residual blocks for itself.
        image: a path, bytes, a Pillow image or an array, to flow through a run's weights or starter weights; seen in
            `html` only.
        out: also write it to this .svg, .png, .pdf or .html file.
        dark: light on dark, where the file can't follow its reader.

    Raises:
        ModelError: an unknown network, or one that can't be traced with such an input.
        BundleError: the run is damaged or absent.
        SettingsError: a view that the network does not have, or options that exclude each other.
        ImageError: the image can't be read.
        OutputError: the file exists, or can't be written.
    """
    if out is not None:
        suffix = check_target(Path(out))
        if image is not None and suffix != ".html":
            raise SettingsError("an image on its way through the network is shown on a page; give an --out FILE.html")
    if view not in VIEWS:
        raise SettingsError(f'there is no view "{printable(str(view))}"; {nearest(str(view), VIEWS)}')
    if size is not None and not 1 <= size <= _MAX_SIZE:
        raise SettingsError(f"an image of {size} x {size} pixels can't be drawn; --size is between 1 and {_MAX_SIZE}")
    if size is not None and image is not None:
        raise SettingsError("--size and --image exclude each other: the weights decide how large they want an image")
    subject = _find(network, inputs, size)
    scene = _scene(subject, view, unfold, size)
    flowing = _flow_through(subject, image) if image is not None else None
    drawing = Drawing(
        graph=subject.graph,
        scene=scene,
        build_page=partial(_page, subject, scene, view, flowing, size),
        is_dark=dark,
    )
    if out is not None:
        drawing.save(out)
    return drawing


def check_target(path: Path) -> str:
    """The ending of a file to be written, in small letters.

    Raises:
        OutputError: no such format is written, or there is such a file.
    """
    return check_new(path, FORMATS, "drawings are written")


def _find(
    network: str | os.PathLike[str] | nn.Module, inputs: Sequence[tuple[int, ...]] | None, size: int | None
) -> _Subject:
    if isinstance(network, nn.Module):
        if size is not None:
            raise SettingsError("a module's image size is part of its inputs; give inputs=[(3, size, size)]")
        return _Subject(trace(network, inputs if inputs is not None else [(3, SIZE, SIZE)]))
    if inputs is not None:
        raise SettingsError("inputs are for modules; a network given by name or folder takes one image, of this --size")
    entry = find_network(network)
    if entry is None:
        return _find_run(Path(network), size)
    is_cnn = entry.family == "cnn"
    side = size or (_CNN_SIZE if is_cnn else SIZE)
    return _Subject(_trace(entry, side, 3, num_classes=_CNN_CLASSES if is_cnn else 1000), entry)


def _find_run(path: Path, size: int | None) -> _Subject:
    folder = find_bundle(path)
    manifest = read_manifest(folder, files=False)  # a drawing shows shapes; a damaged file does not matter to it
    architecture = manifest.architecture
    entry = find_model(architecture.model)
    side = size or manifest.preprocessing.image_size
    graph = _trace(
        entry, side, architecture.in_channels, num_classes=architecture.num_classes, options=architecture.options()
    )
    name = path.resolve().name
    return _Subject(replace(graph, title=f"{entry.title} of {printable(name)}"), entry, manifest.preprocessing, folder)


def _trace(
    entry: ModelEntry, side: int, in_channels: int, *, num_classes: int = 1000, options: dict[str, Any] | None = None
) -> Graph:
    """A network of the catalogue with its softmax, from shapes alone."""
    with shapes_only():
        model = build_model(entry.name, num_classes=num_classes, in_channels=in_channels, **(options or {}))
    return add_softmax(trace(model, [(in_channels, side, side)], title=entry.title))


def _scene(subject: _Subject, view: Look, unfold: bool, size: int | None) -> Scene:
    if view == "volumes":
        return draw_volumes(subject.graph, unfold=unfold)
    if unfold:
        raise SettingsError("--unfold is for the view volumes; the others fold nothing that could be opened")
    if view == "flow":
        return draw_flow(subject.graph)
    family = _family(subject)
    return draw_summary(subject.graph) if family is None else _family_table(subject, family, size)


def _family(subject: _Subject) -> tuple[str, tuple[str, ...]] | None:
    """The family that a network of the catalogue is shown in; None for a run, whose head is its own, and the CNN."""
    if subject.entry is None or subject.run is not None:
        return None
    key = "vgg_bn" if subject.entry.name.endswith("_bn") else subject.entry.family
    return _FAMILIES.get(key)


def _family_table(subject: _Subject, family: tuple[str, tuple[str, ...]], size: int | None) -> Scene:
    title, names = family
    assert subject.entry is not None
    graphs = [subject.graph if name == subject.entry.name else _trace(MODELS[name], size or SIZE, 3) for name in names]
    return draw_family(title, graphs, marked=names.index(subject.entry.name))


def _page(subject: _Subject, scene: Scene, view: Look, flowing: Flowing | None, size: int | None) -> str:
    graph = subject.graph
    drawn = {view: scene}
    if "volumes" not in drawn:
        drawn["volumes"] = draw_volumes(graph)
    if "flow" not in drawn and find_blocks(find_layers(graph)):
        drawn["flow"] = draw_flow(graph)
    family = _family(subject)
    if "table" not in drawn and family is not None:
        drawn["table"] = _family_table(subject, family, size)
    titles = {
        "volumes": ("Volumes", "Each box is the result of a layer. Point at one, tap it or step through with Tab."),
        "flow": ("Flow", "From stage to stage; each block adds a correction to what comes in. Point at one."),
        "table": ("Family", "The network beside its relatives, as in the paper.") if family else ("Table", ""),
    }
    views = [View(title=titles[key][0], about=titles[key][1], scene=found) for key, found in drawn.items()]
    return render_drawing(
        summarise(graph),
        views,
        sentence=subject.entry.sentence if subject.entry else "",
        flowing=flowing,
        stages=[box.key for box in find_boxes(graph)],
    )


def _flow_through(subject: _Subject, image: Any) -> Flowing:
    """An image's way through real weights: those of the run, else starter weights."""
    model, preprocessing, class_names, weights, note = _with_weights(subject)
    pixels = preprocessing.square(
        decode_anything(image, short_side=preprocessing.short_side, channels=preprocessing.channels)
    )
    seen = preprocessing.crop(pixels[None])
    wanted = answers_to_show(subject.graph)
    if class_names is None:  # no head came with the weights: what it and all after it say would be chance
        first = next(n for n, node in enumerate(subject.graph.nodes) if node.kind == "fully connected")
        known = {node.name for node in subject.graph.nodes[:first]}
        wanted = {key: found for key, found in wanted.items() if found.node in known}
    batch = torch.from_numpy(preprocessing.normalise(seen))
    kept = capture(model, batch, [found.node for found in wanted.values()])
    activations = {}
    for key, found in wanted.items():
        if found.node in kept:
            picture = picture_activation(found.title, kept[found.node][0].numpy())
            if picture is not None:
                activations[key] = picture
    answers: tuple[tuple[str, float], ...] = ()
    if class_names is not None:
        logits = kept[next(n.name for n in reversed(subject.graph.nodes) if n.kind == "fully connected")].numpy()
        shares = softmax(logits)[0]
        answers = tuple((class_names[i], float(shares[i])) for i in (-shares).argsort(kind="stable")[:_ANSWERS])
    name = os.path.basename(os.fsdecode(image)) if isinstance(image, str | os.PathLike) else "the image"
    shown = in_colour(seen[0])
    return Flowing(name=name, image=shown, activations=activations, answers=answers, weights=weights, note=note)


def _with_weights(subject: _Subject) -> tuple[nn.Module, Preprocessing, tuple[str, ...] | None, str, str]:
    """A network with real weights, its preprocessing, its classes if its head is real, and where all that is from."""
    if subject.run is not None:
        from eyebright.bundle.store import load_bundle

        bundle = load_bundle(subject.run)
        return bundle.model, bundle.manifest.preprocessing, bundle.manifest.class_names, "the run's own weights", ""
    entry = subject.entry
    starters = list_starters()
    if entry is None or entry.name not in starters:
        what = "a module of your own is drawn without one" if entry is None else f"{entry.name} has no starter weights"
        raise ModelError(f"no image can flow through: {what}; give the folder of a run, or {' or '.join(starters)}")
    loaded = load_pretrained(entry.name, "starter", num_classes=1000)
    note = "" if loaded.head_loaded else "These weights come without a head, so there are no classes to answer with."
    source = f"the starter weights ({STARTER_PACKAGE.replace('_', '-')})"
    return loaded.model.eval(), loaded.preprocessing, loaded.class_names, source, note
