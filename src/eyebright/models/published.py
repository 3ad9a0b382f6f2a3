"""Which pretrained weights there are: a written-out table. No torch here.

Names, addresses, hashes, sizes and accuracies of the `tv_` entries are those that torchvision publishes
(torchvision/models/vgg.py and resnet.py); its sizes are given to a thousandth of 2**20 bytes, so `size_bytes` is
right to about 500 bytes. The hash is the eight digits in each file's own name. The `starter` entries come from the
package eyebright-weights and need no network.
"""

from __future__ import annotations

import importlib.util
import json
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from typing import Literal

from eyebright.errors import WeightsError, nearest, printable
from eyebright.models.download import cache_folder
from eyebright.preprocess import Preprocessing

STARTER_PACKAGE = "eyebright_weights"
Place = Literal["starter", "cache", "download"]


@dataclass(frozen=True, kw_only=True)
class WeightsEntry:
    """One set of pretrained weights and everything that must travel with it."""

    name: str
    """Such as "resnet50.tv_v2": the network, a dot, the set."""
    model: str
    """The network it belongs to, a name of the catalogue."""
    url: str | None
    """Where it is published; None for starter weights."""
    sha256_prefix: str
    """The first eight hexadecimal digits of the file's sha256; empty for starter weights, whose package knows it."""
    size_bytes: int
    """About how large the file is."""
    preprocessing: Preprocessing
    """What it was trained to see."""
    num_classes: int | None
    """How many classes its head tells apart, always ImageNet's 1000; None without a head."""
    head: Literal["classic", "none"] | None
    """VGG only: whether the three fully connected layers are in the file; None for a ResNet, whose one layer is."""
    stride_in: Literal["3x3", "1x1"] | None
    """The layout it was trained in; None where a network has only one."""
    licence: str
    top1: float | None
    """Published ImageNet accuracy in per cent, single centre crop; None where there is none."""
    top5: float | None
    source: str
    """The page that it is documented on."""
    note: str = ""
    """What to know about it, in one sentence."""

    @property
    def filename(self) -> str:
        """The file's name in the cache, which is its published name."""
        return self.url.rsplit("/", 1)[1] if self.url else f"{self.model}.safetensors"


_TORCHVISION = "BSD-3-Clause (torchvision); trained on ImageNet, whose terms may apply"
_CROP_256 = Preprocessing(image_size=224, resize=256)
_CROP_232 = Preprocessing(image_size=224, resize=232)

# name -> (eight digits of sha256, size in 2**20 bytes, top-1, top-5)
_VGG_V1: dict[str, tuple[str, float, float, float]] = {
    "vgg11": ("8a719046", 506.840, 69.020, 88.628),
    "vgg13": ("19584684", 507.545, 69.928, 89.246),
    "vgg16": ("397923af", 527.796, 71.592, 90.382),
    "vgg19": ("dcbb9e9d", 548.051, 72.376, 90.876),
    "vgg11_bn": ("6002323d", 506.881, 70.370, 89.810),
    "vgg13_bn": ("abd245e5", 507.590, 71.586, 90.374),
    "vgg16_bn": ("6c64b313", 527.866, 73.360, 91.516),
    "vgg19_bn": ("c79401a0", 548.143, 74.218, 91.842),
}
_RESNET_V1: dict[str, tuple[str, float, float, float]] = {
    "resnet18": ("f37072fd", 44.661, 69.758, 89.078),
    "resnet34": ("b627a593", 83.275, 73.314, 91.420),
    "resnet50": ("0676ba61", 97.781, 76.130, 92.862),
    "resnet101": ("63fe2227", 170.511, 77.374, 93.546),
    "resnet152": ("394f9c45", 230.434, 78.312, 94.046),
}
_RESNET_V2: dict[str, tuple[str, float, float, float]] = {
    "resnet50": ("11ad3fa6", 97.790, 80.858, 95.434),
    "resnet101": ("cd907fc2", 170.530, 81.886, 95.780),
    "resnet152": ("f82ba261", 230.474, 82.284, 96.002),
}
# Earlier releases of the same networks, no longer listed but still on many disks: all of them "3x3".
_WITHDRAWN = {"19c8e357": "resnet50", "5d3b4d8f": "resnet101", "b121ed2d": "resnet152"}
_BASIC_BLOCKS = ("resnet18", "resnet34")


def _torchvision(model: str, version: str, figures: tuple[str, float, float, float]) -> WeightsEntry:
    digits, size, top1, top5 = figures
    is_vgg = model.startswith("vgg")
    return WeightsEntry(
        name=f"{model}.tv_{version}",
        model=model,
        url=f"https://download.pytorch.org/models/{model}-{digits}.pth",
        sha256_prefix=digits,
        size_bytes=round(size * 2**20),
        preprocessing=_CROP_232 if version == "v2" else _CROP_256,
        num_classes=1000,
        head="classic" if is_vgg else None,
        stride_in=None if is_vgg or model in _BASIC_BLOCKS else "3x3",
        licence=_TORCHVISION,
        top1=top1,
        top5=top5,
        source=f"https://pytorch.org/vision/stable/models/generated/torchvision.models.{model}.html",
    )


_STARTER = (
    WeightsEntry(
        name="resnet50.starter",
        model="resnet50",
        url=None,
        sha256_prefix="",
        size_bytes=25_900_000,
        preprocessing=_CROP_256,
        num_classes=1000,
        head=None,
        stride_in="1x1",
        licence="MIT (Keras applications, ported from Kaiming He's release)",
        top1=74.9,
        top5=92.1,
        source="https://keras.io/api/applications/",
        note="int8 per output channel; the accuracy is what Keras publishes for the float32 original.",
    ),
    WeightsEntry(
        name="vgg16.starter",
        model="vgg16",
        url=None,
        sha256_prefix="",
        size_bytes=14_700_000,
        preprocessing=_CROP_256,
        num_classes=None,
        head="none",
        stride_in=None,
        licence="CC BY 4.0 (Visual Geometry Group, Oxford)",
        top1=None,
        top5=None,
        source="https://www.robots.ox.ac.uk/~vgg/research/very_deep/",
        note="int8 per output channel; the 13 convolutions only.",
    ),
)
_VGG16_FEATURES = WeightsEntry(
    name="vgg16.tv_features",
    model="vgg16",
    url="https://download.pytorch.org/models/vgg16_features-amdegroot-88682ab5.pth",
    sha256_prefix="88682ab5",
    size_bytes=round(527.802 * 2**20),
    preprocessing=Preprocessing(
        image_size=224, resize=256, mean=(0.48235, 0.45882, 0.40784), std=(1 / 255, 1 / 255, 1 / 255)
    ),
    num_classes=None,
    head="none",  # the file has fully connected layers, but their values are not numbers
    stride_in=None,
    licence="BSD-3-Clause (torchvision); ported from ssd.pytorch, MIT",
    top1=None,
    top5=None,
    source="https://pytorch.org/vision/stable/models/generated/torchvision.models.vgg16.html",
    note="The paper's convolutions with the paper's own preprocessing; no usable head.",
)

WEIGHTS: dict[str, WeightsEntry] = {
    entry.name: entry
    for entry in (
        *_STARTER,
        *(_torchvision(model, "v1", figures) for model, figures in _VGG_V1.items()),
        _VGG16_FEATURES,
        *(_torchvision(model, "v1", figures) for model, figures in _RESNET_V1.items()),
        *(_torchvision(model, "v2", figures) for model, figures in _RESNET_V2.items()),
    )
}


def list_weights(model: str | None = None) -> tuple[WeightsEntry, ...]:
    """All weights, or those of one network (its exact name)."""
    return tuple(entry for entry in WEIGHTS.values() if model is None or entry.model == model)


def find_weights(text: str) -> WeightsEntry:
    """The weights of a name such as "resnet50.tv_v1"; case and hyphens do not matter.

    Raises:
        WeightsError: there are none of that name; the nearest is given.
    """
    plain = text.strip().lower().replace("-", "_")
    if plain in WEIGHTS:
        return WEIGHTS[plain]
    raise WeightsError(f'there are no weights named "{printable(text)}"; {nearest(plain, WEIGHTS)}')


def default_weights(model: str) -> WeightsEntry | None:
    """What to start from: starter weights where they are installed, else the most accurate published, else None."""
    entries = list_weights(model)
    for entry in entries:
        if entry.url is None and is_starter_installed():
            return entry
    published = [entry for entry in entries if entry.top1 is not None and entry.url is not None]
    return max(published, key=lambda entry: entry.top1 or 0.0, default=None)


def is_starter_installed() -> bool:
    """Whether the package eyebright-weights is there."""
    return importlib.util.find_spec(STARTER_PACKAGE) is not None


def cache_path(entry: WeightsEntry) -> Path:
    """Where a published file is kept once it was downloaded."""
    assert entry.url is not None
    return cache_folder() / "weights" / entry.filename


def locate(entry: WeightsEntry) -> Place:
    """Where weights would come from now. Looks only whether a file is there, not whether it is whole."""
    if entry.url is None:
        return "starter"
    return "cache" if cache_path(entry).exists() else "download"


def find_published(sha256: str) -> WeightsEntry | None:
    """The published weights that a file with this sha256 is."""
    for entry in WEIGHTS.values():
        if entry.sha256_prefix and sha256.startswith(entry.sha256_prefix):
            return entry
    return None


def known_stride_in(sha256: str) -> str | None:
    """The layout of a file with this sha256, as far as it is a published ResNet with bottlenecks."""
    entry = find_published(sha256)
    if entry is not None:
        return entry.stride_in
    return "3x3" if sha256[:8] in _WITHDRAWN else None


def read_imagenet_classes() -> tuple[str, ...]:
    """The 1000 names, in the order of every ImageNet head. No two are equal: see crane and maillot."""
    return tuple(name for _, name in _read_imagenet())


def read_imagenet_wnids() -> tuple[str, ...]:
    """The WordNet ids in the same order, such as "n01440764"; ImageNet's folders are named by them."""
    return tuple(wnid for wnid, _ in _read_imagenet())


def _read_imagenet() -> list[tuple[str, str]]:
    text = resources.files("eyebright.models").joinpath("imagenet_classes.json").read_text(encoding="utf-8")
    return [(wnid, name) for wnid, name in json.loads(text)]
