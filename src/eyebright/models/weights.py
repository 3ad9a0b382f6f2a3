"""Pretrained weights into a network: by name, from a file, or from a saved classifier.

Every way ends in the same checks: all tensors there, none foreign, shapes equal, every number finite. And a ResNet
with bottlenecks is only ever built in the layout (`stride_in`) its weights were trained in: published and starter
weights know theirs, a file may say it or be recognised by its hash, and otherwise the caller must say it.

Shapes: N images, C channels, D embedding width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import nn

from eyebright.errors import WeightsError, printable
from eyebright.models.catalog import build_model, find_model
from eyebright.models.filling import fill, unfilled
from eyebright.models.origins import LAST_LAYER, LAST_LAYER_OF_VGG, Origin, find_origin
from eyebright.models.resnet import DEPTHS
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress

BOTTLENECKS = tuple(f"resnet{depth}" for depth, (_, is_bottleneck) in DEPTHS.items() if is_bottleneck)


@dataclass(frozen=True, kw_only=True)
class LoadedWeights:
    """A network with pretrained weights in it, and what must travel with them."""

    model: nn.Module
    """Keeps the contract of `models/protocol.py`; in training mode, on the CPU, float32."""
    preprocessing: Preprocessing
    """What the weights were trained to see, for as many channels as asked."""
    description: str
    """Where they come from, for reports: "resnet50.tv_v2 (torchvision, ...)", "the file mine.pth"."""
    class_names: tuple[str, ...] | None
    """What the head's K outputs mean; None when the head is fresh."""
    head_loaded: bool
    """False: the head is new and knows nothing yet."""
    stride_in: str | None
    """The layout of a ResNet with bottlenecks."""


def load_pretrained(
    model_name: str,
    weights: str | Path,
    *,
    num_classes: int,
    in_channels: int = 3,
    class_names: Sequence[str] | None = None,
    stride_in: str | None = None,
    head: str | None = None,
    embed_stages: int | None = None,
    progress: Progress | None = None,
    offline: bool = False,
) -> LoadedWeights:
    """A network with pretrained weights and a head for the caller's classes.

    The head that comes with the weights is kept only where it tells the very classes apart that are asked for: as many,
    and by the same names where `class_names` are given (a saved classifier's is kept for no other caller). In all
    other cases it is fresh, drawn from torch's random generator, which the caller seeds.

    Args:
        model_name: a network of the catalogue.
        weights: a name ("resnet50.tv_v2"), "starter", a `.safetensors` or `.pth` file with torchvision's parameter
            names, or the folder of a saved classifier (or a run that holds one).
        num_classes: K.
        in_channels: C. Where the weights were learned for another number of channels, the first convolution's are
            averaged over them and shared out, so that equal channels give what equal channels would have given there.
        class_names: K names, in the order of the outputs.
        stride_in: the layout of a local ResNet file that does not say it itself, "3x3" or "1x1".
        head: VGG only, "classic" or "pooled". By default "classic" where a classic head is kept, else "pooled"; a
            saved classifier keeps its own kind.
        embed_stages: VGGs (pooled head) and ResNets: how many of the last stages a fresh head looks at. A head that
            is kept decides for itself.
        progress: shows the download.
        offline: fetch nothing.

    Raises:
        ModelError: an unknown network, or options that it does not have.
        WeightsError: weights that are unknown, absent, damaged, of another network, or of an unknown layout.
        DownloadError: they could not be fetched.
    """
    model_name = find_model(model_name).name
    if class_names is not None and len(class_names) != num_classes:
        raise WeightsError(f"{len(class_names)} class names were given for {num_classes} classes; they must agree")
    source = find_origin(model_name, weights, progress or SilentProgress(), offline)
    layout = _agreed_stride_in(model_name, source, stride_in)
    same_task = _is_same_task(source, num_classes, class_names)
    last_layer = LAST_LAYER
    if find_model(model_name).family == "vgg":
        head = _chosen_head(source, head, same_task)
        last_layer = LAST_LAYER_OF_VGG.get(head, LAST_LAYER)
    keep = same_task and f"{last_layer}.weight" in source.tensors
    with unfilled():
        model = build_model(
            model_name,
            num_classes=num_classes,
            in_channels=in_channels,
            stride_in=layout,
            head=head,
            width=source.width,
            embed_stages=source.embed_stages if keep or embed_stages is None else embed_stages,
        )
    fill(model, source.tensors, keep_head=keep, names=(source.name, model_name))
    return LoadedWeights(
        model=model,
        preprocessing=source.preprocessing.with_channels(in_channels),
        description=source.name,
        class_names=source.class_names if keep else None,
        head_loaded=keep,
        stride_in=layout,
    )


def _chosen_head(source: Origin, asked: str | None, same_task: bool) -> str:
    """The kind of head that a VGG is built with: the one asked for, the bundle's own, or what fits the task."""
    has_classic = source.head != "none" and "classifier.0.weight" in source.tensors
    if asked == "classic" and not has_classic:
        raise WeightsError(
            f'{source.name} has no fully connected layers of the classic head; leave it out or ask for head="pooled"'
        )
    if asked is not None:
        return asked
    if source.is_bundle and source.head is not None:
        return source.head
    return "classic" if same_task and has_classic else "pooled"


def _agreed_stride_in(model_name: str, source: Origin, stated: str | None) -> str | None:
    """The one layout that these weights were trained in; None for networks that have no choice."""
    if stated not in (None, "3x3", "1x1"):
        raise WeightsError(f'stride_in is "3x3" or "1x1", not {printable(str(stated))!r}')
    if model_name not in BOTTLENECKS:
        return None
    known = source.stride_in
    if known is not None and known not in ("3x3", "1x1"):
        raise WeightsError(f"{source.name} names an unknown layout, stride_in={printable(str(known))!r}")
    if known is not None and stated is not None and known != stated:
        raise WeightsError(
            f'{source.name} was trained with stride_in="{known}", and stride_in="{stated}" was asked for: it would '
            "load without a complaint and lose about ten points of accuracy. Leave stride_in out"
        )
    if known is None and stated is None:
        raise WeightsError(
            f"{source.name} does not say in which of two layouts it was trained, and nothing in its tensors shows it: "
            'stride_in="3x3" (torchvision, most files of today) or stride_in="1x1" (the paper\'s original: Caffe, '
            "Keras, MSRA). In the wrong one it loses about ten points of accuracy without an error. Say which one it is"
        )
    return known or stated


def _is_same_task(source: Origin, num_classes: int, class_names: Sequence[str] | None) -> bool:
    """Whether the head that comes with the weights tells the caller's classes apart."""
    if source.class_names is None or len(source.class_names) != num_classes:
        return False
    if class_names is None:
        return not source.is_bundle
    return tuple(class_names) == source.class_names
