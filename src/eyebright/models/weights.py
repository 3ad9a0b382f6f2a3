"""Pretrained weights into a network: by name, from a file, or from a saved classifier.

Every way ends in the same checks: all tensors there, none foreign, shapes equal, every number finite. And a ResNet
with bottlenecks is only ever built in the layout (`stride_in`) its weights were trained in: published and starter
weights know theirs, a file may say it or be recognised by its hash, and otherwise the caller must say it.

Shapes: N images, C channels, D embedding width, K classes.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from eyebright.errors import DataError, WeightsError, printable
from eyebright.models.catalog import build_model, find_model
from eyebright.models.download import download, hash_file
from eyebright.models.protocol import Network
from eyebright.models.published import (
    STARTER_PACKAGE,
    WEIGHTS,
    WeightsEntry,
    cache_path,
    default_weights,
    find_published,
    find_weights,
    is_starter_installed,
    known_stride_in,
    list_weights,
    locate,
    read_imagenet_classes,
    read_imagenet_wnids,
)
from eyebright.models.resnet import DEPTHS
from eyebright.models.tensors import SUFFIXES, StoredTensors, read_tensors
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress

__all__ = [
    "LoadedWeights",
    "WeightsEntry",
    "default_weights",
    "find_weights",
    "is_starter_installed",
    "list_weights",
    "load_pretrained",
    "locate",
    "read_imagenet_classes",
    "read_imagenet_wnids",
]

IMAGENET_CLASSES = 1000
IMAGENET_PREPROCESSING = Preprocessing(image_size=224, resize=256)
BUNDLE_FORMAT = 1
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
# Where a state dict in torchvision's layout has its last layer: ResNets and the plain CNN; VGGs by the kind of head.
LAST_LAYER = "fc"
LAST_LAYER_OF_VGG = {"classic": "classifier.6", "pooled": "classifier"}
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


@dataclass(frozen=True, kw_only=True)
class _Source:
    """Tensors with what is known about them, whichever way they came."""

    name: str
    """How messages and reports call it."""
    tensors: dict[str, Tensor]
    preprocessing: Preprocessing
    stride_in: str | None
    """Known layout, or None."""
    head: str | None = None
    """VGG: the kind of head that is known ("classic", "pooled", "none"), or None: look at the tensors."""
    width: str | None = None
    """CNN: its width."""
    embed_stages: int | None = None
    """How many stages its head looks at, where it has a head that is more than one stage wide."""
    class_names: tuple[str, ...] | None
    """What its head tells apart, or None."""
    is_bundle: bool = False
    """A saved classifier: its head is only kept for a caller who names the same classes, its kind of head always."""


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
        in_channels: 3, or 1: then the first convolution's weights are summed over the colours, so that a grey image
            gives what it would have given as three equal channels.
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
    source = _find_source(model_name, weights, progress or SilentProgress(), offline)
    layout = _agreed_stride_in(model_name, source, stride_in)
    same_task = _is_same_task(source, num_classes, class_names)
    last_layer = LAST_LAYER
    if find_model(model_name).family == "vgg":
        head = _chosen_head(source, head, same_task)
        last_layer = LAST_LAYER_OF_VGG.get(head, LAST_LAYER)
    keep = same_task and f"{last_layer}.weight" in source.tensors
    model = build_model(
        model_name,
        num_classes=num_classes,
        in_channels=in_channels,
        stride_in=layout,
        head=head,
        width=source.width,
        embed_stages=source.embed_stages if keep or embed_stages is None else embed_stages,
    )
    _fill(model, model_name, source, keep)
    return LoadedWeights(
        model=model,
        preprocessing=_with_channels(source.preprocessing, in_channels),
        description=source.name,
        class_names=source.class_names if keep else None,
        head_loaded=keep,
        stride_in=layout,
    )


def _chosen_head(source: _Source, asked: str | None, same_task: bool) -> str:
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


def _find_source(model_name: str, weights: str | Path, progress: Progress, offline: bool) -> _Source:
    """What `weights` means: a name, else a folder, else a file."""
    text = str(weights)
    if text == "starter":
        text = f"{model_name}.starter"
        if text not in WEIGHTS:
            raise WeightsError(f"{model_name} has no starter weights; its weights are: {_fitting(model_name)}")
    if isinstance(weights, str) and (text in WEIGHTS or not _looks_like_path(text)):
        return _read_entry(model_name, find_weights(text), progress, offline)
    path = Path(weights).expanduser()
    return _read_bundle(model_name, path) if path.is_dir() else _read_file(model_name, path)


def _looks_like_path(text: str) -> bool:
    return "/" in text or "\\" in text or Path(text).suffix in SUFFIXES or Path(text).exists()


def _fitting(model_name: str) -> str:
    return ", ".join(entry.name for entry in list_weights(model_name)) or "none, it is trained from nothing"


def _read_entry(model_name: str, entry: WeightsEntry, progress: Progress, offline: bool) -> _Source:
    if entry.model != model_name:
        raise WeightsError(
            f"{entry.name} belongs to {entry.model}, not to {model_name}, whose weights are: {_fitting(model_name)}"
        )
    if entry.url is None:
        stored = _read_starter(entry)
        origin = "eyebright-weights"
    else:
        path = download(
            entry.url,
            cache_path(entry),
            sha256_prefix=entry.sha256_prefix,
            size_bytes=entry.size_bytes,
            progress=progress,
            offline=offline,
        )
        stored = read_tensors(path)
        origin = entry.url
    return _Source(
        name=f"{entry.name} ({origin})",
        tensors=stored.tensors,
        preprocessing=entry.preprocessing,
        stride_in=entry.stride_in,
        head=entry.head,
        class_names=read_imagenet_classes() if entry.num_classes == IMAGENET_CLASSES else None,
    )


def _read_starter(entry: WeightsEntry) -> StoredTensors:
    """The file inside the package eyebright-weights, verified and checked to be what the entry says."""
    if not is_starter_installed():
        raise WeightsError(
            f"{entry.name} needs the package with the starter weights; install it with: pip install eyebright-weights "
            "(from a checkout: pip install ./weights)"
        )
    package = importlib.import_module(STARTER_PACKAGE)
    again = "install eyebright-weights again"
    try:
        path, recorded = Path(package.path(entry.model)), package.sha256(entry.model)
        found = hash_file(path)
    except (OSError, KeyError, ValueError) as error:
        raise WeightsError(f"the package eyebright-weights lacks {entry.name} ({error}); {again}") from error
    if found != recorded:
        raise WeightsError(f"{printable(str(path))} is damaged (its sha256 is not as recorded); {again}")
    stored = read_tensors(path)
    says = {"model": stored.metadata.get("model"), "stride_in": stored.metadata.get("stride_in") or None}
    if says != {"model": entry.model, "stride_in": entry.stride_in}:
        raise WeightsError(f"{printable(str(path))} says of itself {says}, which is not {entry.name}; {again}")
    return stored


def _read_file(model_name: str, path: Path) -> _Source:
    stored = read_tensors(path)
    shown = printable(str(path))
    digest = hash_file(path)
    entry = find_published(digest)
    for other in WEIGHTS.values():
        if other.url is not None and other.filename == path.name and other is not entry:
            raise WeightsError(
                f"{shown} has the name of {other.name}, but its sha256 begins with {digest[:8]}: it is damaged, cut "
                "short or changed. Fetch it again, or give it another name if it is meant to differ"
            )
    if entry is not None and entry.model != model_name:
        raise WeightsError(f"{shown} is {entry.name}, which belongs to {entry.model}, not to {model_name}")
    said_model = stored.metadata.get("model")
    if said_model and said_model != model_name:
        raise WeightsError(f"{shown} says that it belongs to {printable(said_model)}, not to {model_name}")
    said, known = stored.metadata.get("stride_in") or None, known_stride_in(digest)
    if said and known and said != known:
        raise WeightsError(f"{shown} says stride_in={printable(said)}, but the published file is {known}; don't use it")
    outputs = _count_outputs(stored.tensors)
    return _Source(
        name=f"the file {shown}" + (f" ({entry.name})" if entry else ""),
        tensors=stored.tensors,
        preprocessing=entry.preprocessing if entry else IMAGENET_PREPROCESSING,
        stride_in=said or known,
        head=entry.head if entry else None,
        class_names=read_imagenet_classes() if outputs == IMAGENET_CLASSES else None,
    )


def _read_bundle(model_name: str, folder: Path) -> _Source:
    """A saved classifier: manifest.json beside weights.safetensors, or a run folder with them in bundle/."""
    if not (folder / "manifest.json").is_file() and (folder / "bundle" / "manifest.json").is_file():
        folder = folder / "bundle"
    shown = printable(str(folder))
    manifest = _read_manifest(folder)
    path = folder / "weights.safetensors"
    try:
        architecture, recorded = manifest["architecture"], manifest["files"][path.name]
        names = [str(name) for name in manifest["class_names"]]
        preprocessing = Preprocessing.from_dict(manifest["preprocessing"])
        stated = {option: architecture.get(option) for option in ("stride_in", "head", "width")}
        embed_stages = architecture.get("embed_stages")
        found = architecture["model"]
        if not all(isinstance(value, str | None) for value in (found, *stated.values())) or (
            type(embed_stages) not in (int, type(None))
        ):
            raise TypeError("a value of its architecture has the wrong type")
    except (DataError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(
            f"the manifest of {shown} lacks what a classifier's needs ({error}); copy the whole folder again"
        ) from error
    if found != model_name:
        raise WeightsError(f"{shown} holds a {printable(found)}, not a {model_name}")
    if not path.is_file() or hash_file(path) != recorded:
        raise WeightsError(
            f"{printable(str(path))} is absent, or not the file that the manifest beside it was written for; "
            "copy the whole folder again"
        )
    return _Source(
        name=f"the classifier {shown}",
        tensors=read_tensors(path).tensors,
        preprocessing=preprocessing,
        stride_in=stated["stride_in"],
        head=stated["head"],
        width=stated["width"],
        embed_stages=embed_stages,
        class_names=tuple(names),
        is_bundle=True,
    )


def _read_manifest(folder: Path) -> dict[str, Any]:
    """The manifest of a saved classifier, as unaltered as its own `manifest_sha256` tells."""
    path = folder / "manifest.json"
    shown = printable(str(path))
    try:
        manifest: Any = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise WeightsError(f"{printable(str(folder))} is no saved classifier: it has no manifest.json") from error
    except (OSError, ValueError, RecursionError) as error:
        raise WeightsError(f"{shown} can't be read ({error}); it may be damaged") from error
    if not isinstance(manifest, dict) or not isinstance(version := manifest.get("format_version"), int):
        raise WeightsError(f"{shown} is no manifest of a saved classifier: it names no format version")
    if version > BUNDLE_FORMAT:
        raise WeightsError(
            f"{shown} was written by a newer Eyebright (format {version}; this one reads up to {BUNDLE_FORMAT}); "
            "update with: pip install --upgrade eyebright"
        )
    recorded = manifest.pop("manifest_sha256", None)
    plain = json.dumps(manifest, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    if recorded is not None and recorded != hashlib.sha256(plain.encode("ascii")).hexdigest():
        raise WeightsError(f"{shown} was altered or damaged since it was written; copy the whole folder again")
    return manifest


def _count_outputs(tensors: Mapping[str, Tensor]) -> int | None:
    """How many classes a state dict in torchvision's layout tells apart: the rows of its last layer's matrix."""
    for layer in (LAST_LAYER, *LAST_LAYER_OF_VGG.values()):
        weight = tensors.get(f"{layer}.weight")
        if weight is not None and weight.dim() == 2:
            return weight.shape[0]
    return None


def _agreed_stride_in(model_name: str, source: _Source, stated: str | None) -> str | None:
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


def _is_same_task(source: _Source, num_classes: int, class_names: Sequence[str] | None) -> bool:
    """Whether the head that comes with the weights tells the caller's classes apart."""
    if source.class_names is None or len(source.class_names) != num_classes:
        return False
    if class_names is None:
        return not source.is_bundle
    return tuple(class_names) == source.class_names


def _with_channels(preprocessing: Preprocessing, channels: int) -> Preprocessing:
    """The same for grey or colour: one mean and deviation for all, or the one repeated."""
    if preprocessing.channels == channels:
        return preprocessing
    mean = sum(preprocessing.mean) / preprocessing.channels
    std = sum(preprocessing.std) / preprocessing.channels
    return replace(preprocessing, mean=(mean,) * channels, std=(std,) * channels)


def _fill(model: nn.Module, model_name: str, source: _Source, keep_head: bool) -> None:
    """Copy the tensors in, the head's among them or not.

    Raises:
        WeightsError: absent, foreign, misshapen or not-finite tensors; the first three are named.
    """
    assert isinstance(model, Network)
    head = next(name for name, module in model.named_modules() if module is model.head)
    # A head that will not be used is left aside, unread; for a pooled VGG that is all of a classic one.
    left_out = () if keep_head else (f"{head}.",)
    expected = {name: tensor for name, tensor in model.state_dict().items() if not name.startswith(left_out)}
    tensors = {name: tensor for name, tensor in source.tensors.items() if not name.startswith(left_out)}
    _adapt_stem(tensors, expected)
    # BatchNorm's counters are absent in old files, and nothing here needs them.
    counters = [name for name in expected if name.endswith("num_batches_tracked")]
    faults = [f"{name} is absent" for name in expected if name not in tensors and name not in counters]
    faults += [f"{printable(name[:80])} is foreign" for name in tensors if name not in expected]
    for name in [name for name in expected if name in tensors]:
        if tensors[name].shape != expected[name].shape:
            faults.append(f"{name} is {tuple(tensors[name].shape)} there and {tuple(expected[name].shape)} here")
    if not faults:  # only now are the shapes true, and the values safe to look at
        for name in [name for name in expected if name in tensors and name not in counters]:
            if tensors[name].dtype not in FLOATS:
                faults.append(f"{name} holds {tensors[name].dtype}, not floating point numbers")
            elif not _is_finite(tensors[name]):
                faults.append(f"{name} holds values that are no numbers (NaN or infinite)")
    if faults:
        more = f"; and {len(faults) - 3} more" if len(faults) > 3 else ""
        raise WeightsError(
            f"{source.name} does not fit {model_name}: {'; '.join(faults[:3])}{more}. "
            "Weights must be of the same network, with torchvision's parameter names"
        )
    model.load_state_dict(tensors, strict=False)


def _is_finite(tensor: Tensor) -> bool:
    """Whether every value is a number; by the extremes, which NaN takes over, in a tenth of `torch.isfinite`'s time."""
    return tensor.numel() == 0 or bool(torch.isfinite(torch.stack(tensor.aminmax())).all())


def _adapt_stem(tensors: dict[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """Colour to grey or grey to colour in the first convolution, so that a grey image gives the same either way."""
    first = next(iter(expected))
    stored = tensors.get(first)
    wanted = expected[first].shape
    if stored is None or stored.dim() != 4 or stored.shape == wanted:
        return
    if stored.shape[0] != wanted[0] or stored.shape[2:] != wanted[2:]:
        return
    if (stored.shape[1], wanted[1]) == (3, 1):
        tensors[first] = stored.float().sum(dim=1, keepdim=True)
    elif (stored.shape[1], wanted[1]) == (1, 3):
        tensors[first] = stored.float().expand(-1, 3, -1, -1) / 3
