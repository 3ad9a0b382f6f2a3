"""Which layer to draw a heat map from, and a network's way from there on.

Shapes: N images, C channels, S side that the network sees, h x w positions of a layer, K classes.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
from torch import Tensor, nn

from eyebright.errors import ModelError, nearest, printable
from eyebright.models.protocol import Network

ENOUGH = 6
"""Positions along the shorter side that make a map worth looking at; see `choose_layer`."""
_POOLS = (nn.MaxPool2d, nn.AvgPool2d, nn.AdaptiveAvgPool2d, nn.AdaptiveMaxPool2d)
_BARE = (nn.Conv2d, nn.BatchNorm2d, nn.Identity)  # not rectified yet: what they answer is below zero as often as above


@dataclass(frozen=True, kw_only=True)
class MapLayer:
    """A module whose result is a stack of maps."""

    name: str
    """As `named_modules` has it, such as "layer4" or "features.29"."""
    channels: int
    height: int
    width: int
    is_bare: bool
    """A convolution before its ReLU, or its normalisation."""
    folded: str | None = None
    """The BatchNorm that is folded into this convolution, by its name: the result is that one's."""


def list_map_layers(model: nn.Module, batch: Tensor) -> tuple[MapLayer, ...]:
    """Every module that answers with maps, in the order of computation.

    Modules that hand on the same result (a stage and its last block) count once, under the shortest name. A pool only
    picks from what another has computed, and is left out, as is a stage that ends with one. So is what computes
    nothing: the shortcut of a block, and what is left of a folded BatchNorm, which its convolution answers for.
    """
    found: list[tuple[Tensor, MapLayer]] = []
    pooled: Tensor | None = None
    names = {module: name for name, module in model.named_modules()}

    def note(module: nn.Module, _inputs: object, output: object) -> None:
        nonlocal pooled
        if not isinstance(output, Tensor) or output.ndim != 4 or not names[module]:
            return
        if isinstance(module, nn.Identity):
            if found and found[-1][0] is output and isinstance(model.get_submodule(found[-1][1].name), nn.Conv2d):
                found[-1] = (output, replace(found[-1][1], folded=names[module]))
            return
        if isinstance(module, _POOLS):
            pooled = output
            return
        holds_others = next(module.children(), None) is not None
        if output is pooled:
            if holds_others:
                return
            pooled = None  # a ReLU that worked in place
        if holds_others and found and found[-1][0] is output:  # else a ReLU wrote over what a convolution answered
            found.pop()
        channels, height, width = output.shape[1:]
        layer = MapLayer(
            name=names[module], channels=channels, height=height, width=width, is_bare=isinstance(_last(module), _BARE)
        )
        found.append((output, layer))

    hooks = [module.register_forward_hook(note) for module in names]
    try:
        with torch.inference_mode():
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    return tuple(layer for _, layer in found)


def _last(module: nn.Module) -> nn.Module:
    """What a sequence ends with; any other module itself."""
    while isinstance(module, nn.Sequential) and len(module):
        module = module[-1]
    return module


def choose_layer(layers: tuple[MapLayer, ...]) -> MapLayer:
    """The deepest rectified layer that still has `ENOUGH` positions along each side; the finest if none has.

    Deep layers know parts of objects, and Grad-CAM is most faithful there; but of an image of 64 pixels a ResNet's last
    stage keeps 2 x 2 positions, which show nothing. Measured in docs/log.md.

    Raises:
        ModelError: no layer answers with maps.
    """
    if not layers:
        raise ModelError("no layer of this network answers with maps, so there is none to draw a heat map from")
    layers = tuple(layer for layer in layers if not layer.is_bare) or layers
    fine = [layer for layer in layers if min(layer.height, layer.width) >= ENOUGH]
    if fine:
        return fine[-1]
    best = max(min(layer.height, layer.width) for layer in layers)
    return [layer for layer in layers if min(layer.height, layer.width) == best][-1]


def averages_positions(model: nn.Module, batch: Tensor) -> bool:
    """Whether the head sees averages over positions, and not every position for itself.

    Under a head that keeps positions apart (the plain CNN, the classic VGG) a channel has no single weight, and
    Grad-CAM gives it one nevertheless; see docs/log.md.
    """
    assert isinstance(model, Network)
    widths: list[int] = []
    hooks = [
        module.register_forward_hook(lambda linear, *_: widths.append(linear.in_features))
        for module in model.modules()
        if isinstance(module, nn.Linear)
    ]
    try:
        with torch.inference_mode():
            channels = sum(found.shape[1] for found in model.forward_features(batch).values())
            model(batch)
    finally:
        for hook in hooks:
            hook.remove()
    # Averages of some stages are at most as many numbers as the stages have channels.
    return not widths or widths[0] <= channels


def find_layer(layers: tuple[MapLayer, ...], name: str) -> MapLayer:
    """The layer of a name, or the convolution that the BatchNorm of this name is folded into.

    Raises:
        ModelError: there is none; the nearest is named.
    """
    for layer in layers:
        if name in (layer.name, layer.folded):
            return layer
    names = [layer.name for layer in layers]
    raise ModelError(f'no layer "{printable(name)}" answers with maps here; {nearest(name, names)}')


@contextmanager
def replaced_result(model: nn.Module, layer: str) -> Iterator[list[Tensor]]:
    """While it is open, a layer's result is kept and cut off from what came before, so that gradients end there.

    Yields:
        A list that each forward pass adds the layer's result to, (N, C, h, w), ready for gradients.
    """
    kept: list[Tensor] = []

    def cut(_module: nn.Module, _inputs: object, output: Tensor) -> Tensor:
        result = output.detach().clone().requires_grad_()
        kept.append(result)
        return result.clone()  # a ReLU that works in place may follow

    hook = model.get_submodule(layer).register_forward_hook(cut)
    try:
        yield kept
    finally:
        hook.remove()
