"""What a network's layers respond to: filters, the answers of its stages, the channels worth showing.

Shapes: N images, C channels of a stage, S side that the network sees, h x w positions, O filters of k x k weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.embedding.embed import computes_bfloat16
from eyebright.errors import ModelError, SettingsError, nearest, printable
from eyebright.models.layers import fold_batch_norm, lay_channels_last
from eyebright.models.protocol import Network

BATCH = 16


def first_filters(model: nn.Module) -> tuple[str, NDArray[np.float32]]:
    """A network's first convolution: its name and weights, (O, C, k, k), as they were trained.

    Raises:
        ModelError: the network has no convolution.
    """
    for name, module in model.named_modules():
        if isinstance(module, nn.Conv2d):
            return name, module.weight.detach().float().numpy()
    raise ModelError("this network has no convolution, so there are no filters to show")


@final
class FeatureReader:
    """A network, ready to be looked into.

    Args:
        model: a network of the catalogue; it is not changed.
    """

    def __init__(self, model: nn.Module) -> None:
        network = lay_channels_last(fold_batch_norm(model)).requires_grad_(False)
        assert isinstance(network, Network)
        self.network = network
        self.stages = network.stages
        self._bfloat16 = computes_bfloat16("cpu")

    def read(self, images: NDArray[np.float32]) -> dict[str, NDArray[np.float32]]:
        """Normalised images (N, C, S, S) -> the answer of every stage by name, (N, C, h, w) each."""
        batch = torch.from_numpy(images)
        with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16, enabled=self._bfloat16):
            return {name: found.float().numpy() for name, found in self.network.forward_features(batch).items()}

    def respond(
        self, batches: Iterator[NDArray[np.float32]], tell: Callable[[int], None]
    ) -> dict[str, NDArray[np.float32]]:
        """How strongly many images excite every channel of every stage.

        Args:
            batches: normalised images, (N, C, S, S) each.
            tell: given how many are done, after each batch.

        Returns:
            Stage -> (N, C), each image's largest value in each channel; nothing where there are no images.
        """
        peaks: dict[str, list[NDArray[np.float32]]] = {stage: [] for stage in self.stages}
        done = 0
        for images in batches:
            for stage, found in self.read(images).items():
                peaks[stage].append(found.max(axis=(2, 3)))
            done += len(images)
            tell(done)
        return {stage: np.concatenate(found) for stage, found in peaks.items() if found}


def choose_channels(peaks: NDArray[np.float32] | None, own: NDArray[np.float32] | None, count: int) -> tuple[int, ...]:
    """Channels worth showing, the most telling first; dead ones are left out where that is known.

    Args:
        peaks: (N, C) of a data set, or None.
        own: (C,) of the chosen image, or None.
        count: how many at the most.

    Returns:
        With an image, the channels that it excites more than other images do; with a data set alone, those that a few
        images excite far more than the others. An image alone decides by its strongest channels.
    """
    assert peaks is not None or own is not None
    if peaks is None:
        assert own is not None
        score = own.astype(np.float64)
        alive = own > 0
    else:
        spread = peaks.std(axis=0, dtype=np.float64)
        alive = spread > 1e-6
        strongest = (
            np.sort(peaks, axis=0)[-9:].mean(axis=0, dtype=np.float64) if own is None else own.astype(np.float64)
        )
        score = np.divide(
            strongest - peaks.mean(axis=0, dtype=np.float64), spread, out=np.zeros_like(spread), where=alive
        )
    order = np.argsort(-score, kind="stable")
    return tuple(int(channel) for channel in order if alive[channel])[:count]


def outline(values: NDArray[np.float32], side: int, least: int) -> tuple[int, int, int, int]:
    """Where an image excites a channel: the part around the peak that answers at least half as strongly.

    Args:
        values: (h, w), one channel's map.
        side: S.
        least: pixels that the outline is wide at least, so that it can be seen.

    Returns:
        Left, top, right and bottom in pixels, inside the image.
    """
    height, width = values.shape
    top, left = divmod(int(values.argmax()), width)
    enough = values >= values.max() / 2
    reached, border = {(top, left)}, [(top, left)]
    while border:
        row, column = border.pop()
        for near in ((row - 1, column), (row + 1, column), (row, column - 1), (row, column + 1)):
            if 0 <= near[0] < height and 0 <= near[1] < width and enough[near] and near not in reached:
                reached.add(near)
                border.append(near)
    rows, columns = [row for row, _ in reached], [column for _, column in reached]
    ranges = []
    for low, high, positions in ((min(columns), max(columns), width), (min(rows), max(rows), height)):
        begin, end = low * side / positions, (high + 1) * side / positions
        lacking = max(0.0, min(least, side) - (end - begin)) / 2
        begin, end = begin - lacking, end + lacking
        shift = max(0.0, -begin) - max(0.0, end - side)
        ranges.append((max(0, round(begin + shift)), min(side, round(end + shift))))
    (left, right), (top, bottom) = ranges
    return left, top, right, bottom


def parse_channels(asked: tuple[str, ...], channels: Mapping[str, int]) -> dict[str, tuple[int, ...]]:
    """Channels as a user names them, "layer3:17", by stage, each once.

    Args:
        asked: the names.
        channels: how many channels each stage has.

    Raises:
        SettingsError: no such stage or channel; the nearest stage is named.
    """
    found: dict[str, tuple[int, ...]] = {}
    for text in asked:
        stage, colon, number = text.partition(":")
        if stage not in channels:
            raise SettingsError(f'there is no stage "{printable(stage)}"; {nearest(stage, channels)}')
        if not colon or not number.isdecimal() or int(number) >= channels[stage]:
            raise SettingsError(
                f'"{printable(text)}" is no channel; write {stage}: and a number from 0 to {channels[stage] - 1}'
            )
        if int(number) not in found.get(stage, ()):
            found[stage] = (*found.get(stage, ()), int(number))
    return found


def measure_stages(network: Network, side: int) -> dict[str, tuple[int, int, int]]:
    """(C, h, w) of each stage, for images of a side."""
    with torch.inference_mode():
        image: Tensor = torch.zeros(1, network.in_channels, side, side)
        found = network.forward_features(image)
    return {stage: (answer.shape[1], answer.shape[2], answer.shape[3]) for stage, answer in found.items()}
