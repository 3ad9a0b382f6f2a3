"""The catalogue: every network by name, how to build it, and what it is in one sentence.

A written-out table; a new network is a new line here. Names are spelled generously on input
("ResNet-50", "resnet_50", "vgg-16") and exactly as here on output.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from eyebright.errors import ModelError, nearest, printable
from eyebright.models.cnn import CNN
from eyebright.models.resnet import ResNet
from eyebright.models.vgg import VGG
from eyebright.preprocess import MOST_CHANNELS


@dataclass(frozen=True, kw_only=True)
class ModelEntry:
    """One network of the catalogue."""

    name: str
    """How every command and file spells it, such as "resnet50"."""
    title: str
    """How a reader would write it, such as "ResNet-50"."""
    family: str
    """"cnn", "vgg" or "resnet": the file it is built from."""
    sentence: str
    """What it is, in one plain sentence for a report."""
    build: Callable[..., nn.Module]
    """Called with num_classes, in_channels and those of `options` that were asked for."""
    options: tuple[str, ...]
    """Which architecture options it has beyond classes and channels."""


def _vgg(depth: int, batch_norm: bool) -> ModelEntry:
    convolutions = depth - 3
    return ModelEntry(
        name=f"vgg{depth}_bn" if batch_norm else f"vgg{depth}",
        title=f"VGG-{depth} with BatchNorm" if batch_norm else f"VGG-{depth}",
        family="vgg",
        sentence=(
            f"A straight stack of {convolutions} small 3x3 convolutions in five stages (Oxford, 2014)"
            + (", each followed by batch normalisation" if batch_norm else "")
            + "; simple to follow, and heavy for its accuracy."
        ),
        build=partial(VGG, depth, batch_norm=batch_norm),
        options=("head", "embed_stages"),
    )


def _resnet(depth: int, blocks: str) -> ModelEntry:
    return ModelEntry(
        name=f"resnet{depth}",
        title=f"ResNet-{depth}",
        family="resnet",
        sentence=(
            f"A residual network of {depth} weighted layers in {blocks} (Microsoft Research, 2015): each block adds "
            "a correction to what came in, so that depth helps rather than hurts."
        ),
        build=partial(ResNet, depth),
        options=("stride_in", "embed_stages"),
    )


_ENTRIES = (
    ModelEntry(
        name="cnn",
        title="Plain CNN",
        family="cnn",
        sentence=(
            "A small network of convolution, ReLU and pooling under fully connected layers with dropout, "
            "trained from nothing on these images alone."
        ),
        build=CNN,
        options=("width",),
    ),
    _vgg(11, False),
    _vgg(13, False),
    _vgg(16, False),
    _vgg(19, False),
    _vgg(11, True),
    _vgg(13, True),
    _vgg(16, True),
    _vgg(19, True),
    _resnet(18, "8 blocks of two 3x3 convolutions"),
    _resnet(34, "16 blocks of two 3x3 convolutions"),
    _resnet(50, "16 bottleneck blocks"),
    _resnet(101, "33 bottleneck blocks"),
    _resnet(152, "50 bottleneck blocks"),
)

MODELS: dict[str, ModelEntry] = {entry.name: entry for entry in _ENTRIES}


def _plain(name: str) -> str:
    """A name without case and separators: "ResNet-50" -> "resnet50", "vgg16_bn" -> "vgg16bn"."""
    return re.sub(r"[\s_\-]+", "", name).lower()


def find_model(name: str) -> ModelEntry:
    """The entry of a network; case, hyphens, underscores and blanks in its name do not matter.

    Raises:
        ModelError: there is no such network; the nearest name is given.
    """
    wanted = _plain(name)
    for entry in MODELS.values():
        if _plain(entry.name) == wanted:
            return entry
    raise ModelError(f'there is no network named "{printable(name)}"; {nearest(wanted, MODELS)}')


def build_model(
    name: str,
    *,
    num_classes: int = 1000,
    in_channels: int = 3,
    stride_in: str | None = None,
    head: str | None = None,
    width: str | None = None,
    embed_stages: int | None = None,
) -> nn.Module:
    """A network with fresh weights, drawn from torch's random generator.

    Args:
        name: a name of `MODELS`, generously spelled.
        num_classes: K, at least 2.
        in_channels: C, 1 (grey), 3 (colour), or any other number up to 256 for arrays taken in as many bands.
        stride_in: ResNets only, "3x3" (the default) or "1x1"; see `models/resnet.py`.
        head: VGGs only, "classic" (the default) or "pooled"; see `models/vgg.py`.
        width: the plain CNN only, a name of its width table.
        embed_stages: VGGs (pooled head) and ResNets, how many of the last stages the embedding averages; 1 by default.

    Returns:
        A module that keeps the contract of `models/protocol.py`.

    Raises:
        ModelError: an unknown network, an option that it does not have, or a value out of range.
    """
    entry = find_model(name)
    if num_classes < 2:
        raise ModelError(f"a classifier needs at least 2 classes, not {num_classes}")
    if not 1 <= in_channels <= MOST_CHANNELS:
        raise ModelError(
            f"networks take 1 channel (grey), 3 (colour), or up to {MOST_CHANNELS} of arrays, not {in_channels}"
        )
    asked = {"stride_in": stride_in, "head": head, "width": width, "embed_stages": embed_stages}
    options = {option: value for option, value in asked.items() if value is not None}
    for option in options:
        if option not in entry.options:
            raise ModelError(f"{entry.name} has no option {option}; leave it out, it means nothing here")
    try:
        return entry.build(num_classes=num_classes, in_channels=in_channels, **options)
    except ValueError as error:
        raise ModelError(f"{entry.name} can't be built: {error}") from error


def count_parameters(model: nn.Module) -> int:
    """How many numbers a network learns; BatchNorm's running statistics are not among them."""
    return sum(parameter.numel() for parameter in model.parameters())


def count_multiply_adds(model: nn.Module, image_size: int) -> int:
    """Multiply-adds of all convolutions and linear layers for one image.

    Measured by running the network's modules on torch's meta device: shapes are computed, numbers are not.
    The model itself, wherever it lives, is not touched.

    Args:
        model: a network of the catalogue, on any device, in any mode.
        image_size: H = W in pixels.
    """
    in_channels = model.in_channels
    assert isinstance(in_channels, int)
    total = 0

    def add(module: nn.Module, _inputs: tuple[Any, ...], output: Tensor) -> None:
        nonlocal total
        if isinstance(module, nn.Conv2d):
            # Each output value sums over the kernel's window in the input channels of its group.
            height, width = module.kernel_size
            total += output.numel() * height * width * module.in_channels // module.groups
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features

    tensors = dict(model.named_parameters()) | dict(model.named_buffers())
    stand_ins = {name: torch.empty_like(tensor, device="meta") for name, tensor in tensors.items()}
    modes = [(module, module.training) for module in model.modules()]
    hooks = [module.register_forward_hook(add) for module in model.modules()]
    try:
        model.eval()
        image = torch.empty(1, in_channels, image_size, image_size, device="meta")
        with torch.no_grad():
            torch.func.functional_call(model, stand_ins, (image,))
    finally:
        for hook in hooks:
            hook.remove()
        for module, was_training in modes:
            module.training = was_training
    return total
