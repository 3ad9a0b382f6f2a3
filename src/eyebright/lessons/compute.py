"""One image through two real networks -> the numbers of the atlas. All in float32.

Shapes: N images, C channels, H x W positions, D units, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.lessons.tensors import PART, Answered, Convolved, Dropped, Lessons, Pooled, Rectified, Weighed
from eyebright.models.protocol import Network
from eyebright.models.vgg import VGG
from eyebright.preprocess import Preprocessing

_SHOWN = 5
_LEAN = 0.2
_UNITS = 8


def compute_lessons(
    vgg: VGG,
    resnet: Network,
    class_names: Sequence[str],
    preprocessing: Preprocessing,
    original: NDArray[np.uint8],
    name: str,
) -> Lessons:
    """Every live example, from real layers.

    Args:
        vgg: with real convolutions, two of them before its first pool; in evaluation mode, as `resnet`.
        resnet: with a real head of K classes.
        class_names: K names.
        preprocessing: what both were trained to see.
        original: (h, w) uint8, grey.
        name: what it is.
    """
    colour = original[..., None].repeat(3, axis=2)
    seen = preprocessing.crop(preprocessing.square(colour)[None])
    batch = torch.from_numpy(np.ascontiguousarray(preprocessing.normalise(seen)))
    with torch.inference_mode():
        maps = vgg.features[0](batch)
        second = F.relu(vgg.features[2](F.relu(maps)))
        embedding = resnet.embed(batch)[0]
        logits = resnet.head(embedding)
        vgg_stages, resnet_stages = (
            {stage: found[0].numpy() for stage, found in network.forward_features(batch).items()}
            for network in (vgg, resnet)
        )
        first = vgg.features[0]
        assert isinstance(first, nn.Conv2d)
        return Lessons(
            name=name,
            original=original,
            image=seen[0],
            corner=_liveliest(original),
            convolved=_convolve(first, batch[0], maps[0]),
            rectified=_rectify(maps[0]),
            pooled=_pool(second[0], vgg_stages["stage1"].shape),
            weighed=_weigh(resnet.head, embedding, logits, class_names),
            dropped=_drop(embedding),
            answered=answer(logits, class_names),
            vgg_stages=vgg_stages,
            resnet_stages=resnet_stages,
        )


def answer(logits: Tensor, class_names: Sequence[str]) -> Answered:
    """(K,) -> the likeliest classes."""
    probabilities = logits.softmax(dim=0)
    order = probabilities.argsort(descending=True, stable=True)[:_SHOWN]
    losses = [float(F.cross_entropy(logits[None], label[None])) for label in order]
    return Answered(
        labels=tuple(class_names[int(label)] for label in order),
        logits=logits[order].numpy(),
        probabilities=probabilities[order].numpy(),
        losses=np.array(losses, dtype=np.float32),
        others=float(1 - probabilities[order].double().sum()),
    )


def _liveliest(original: NDArray[np.uint8]) -> tuple[int, int]:
    """The part with the most contrast, by its upper left corner; of equal ones the first."""
    windows = np.lib.stride_tricks.sliding_window_view(original.astype(np.float64), (PART, PART))
    row, column = divmod(int(windows.std(axis=(2, 3)).argmax()), windows.shape[1])
    return row, column


def _convolve(layer: nn.Conv2d, image: Tensor, maps: Tensor) -> Convolved:
    """The edge filter that answers most strongly, where it does; away from the border, which is padded."""
    weights = layer.weight.flatten(1)
    lean = weights.sum(dim=1).abs() / weights.abs().sum(dim=1)
    # Only filters whose weights nearly cancel out see edges; the others answer to any bright place.
    inner = torch.where((lean <= max(_LEAN, float(lean.min())))[:, None, None], maps[:, 1:-1, 1:-1], -torch.inf)
    channel, rest = divmod(int(inner.argmax()), inner[0].numel())
    row, column = (place + 1 for place in divmod(rest, inner.shape[2]))
    assert layer.bias is not None
    return Convolved(
        layer="features.0",
        channel=channel,
        row=row,
        column=column,
        seen=image[:, row - 1 : row + 2, column - 1 : column + 2].numpy(),
        weights=layer.weight[channel].numpy(),
        bias=float(layer.bias[channel]),
        value=float(maps[channel, row, column]),
        maps=maps.numpy(),
    )


def _rectify(maps: Tensor) -> Rectified:
    """The part in which both signs are strongest."""
    windows = maps.unfold(1, 4, 4).unfold(2, 4, 4)  # (C, H / 4, W / 4, 4, 4)
    both = torch.minimum(windows.amax(dim=(3, 4)), -windows.amin(dim=(3, 4)))
    before = windows.flatten(0, 2)[int(both.argmax())]
    return Rectified(before=before.numpy(), after=F.relu(before).numpy(), zeroed=float((maps <= 0).double().mean()))


def _pool(maps: Tensor, after: tuple[int, ...]) -> Pooled:
    """The part of the strongest channel whose values differ most."""
    channel = maps[int(maps.mean(dim=(1, 2)).argmax())]
    windows = channel.unfold(0, 4, 4).unfold(1, 4, 4).flatten(0, 1)
    before = windows[int(windows.std(dim=(1, 2)).argmax())]
    pooled = F.max_pool2d(before[None], 2, stride=2)[0]
    channels, height, width = maps.shape
    return Pooled(
        before=before.numpy(),
        after=pooled.numpy(),
        shape_before=(height, width, channels),
        shape_after=(after[1], after[2], after[0]),
    )


def _weigh(head: nn.Linear, embedding: Tensor, logits: Tensor, class_names: Sequence[str]) -> Weighed:
    label = int(logits.argmax())
    products = head.weight[label] * embedding
    units = products.argsort(descending=True, stable=True)[:_SHOWN]
    return Weighed(
        label=class_names[label],
        units=tuple(int(unit) for unit in units),
        inputs=embedding[units].numpy(),
        weights=head.weight[label, units].numpy(),
        others=float(products.double().sum() - products[units].double().sum()),
        bias=float(head.bias[label]),
        value=float(logits[label]),
        width=head.in_features,
    )


def _drop(embedding: Tensor) -> Dropped:
    """VGG's dropout on some units of the embedding, twice as in training and once as in use."""
    units = embedding.topk(_UNITS).values
    layer = nn.Dropout(0.5)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        trained = tuple(layer.train()(units).numpy() for _ in range(2))
    return Dropped(inputs=units.numpy(), trained=trained, used=layer.eval()(units).numpy(), probability=layer.p)
