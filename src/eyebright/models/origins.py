"""Where pretrained weights come from: a name, a file, or a saved classifier, each with what is known about it.

Shapes: K classes.
"""

from __future__ import annotations

import hashlib
import importlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from eyebright.errors import DataError, WeightsError, printable
from eyebright.models.download import download, hash_file
from eyebright.models.published import (
    STARTER_PACKAGE,
    WEIGHTS,
    WeightsEntry,
    cache_path,
    find_published,
    find_weights,
    is_starter_installed,
    known_stride_in,
    list_weights,
    read_imagenet_classes,
)
from eyebright.models.tensors import SUFFIXES, StoredTensors, read_tensors
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress

IMAGENET_CLASSES = 1000
IMAGENET_PREPROCESSING = Preprocessing(image_size=224, resize=256)
BUNDLE_FORMAT = 2
"""The newest format of a saved classifier that is read here: 2 may hold thresholds, of no use to who trains it on."""
# Where a state dict in torchvision's layout has its last layer: ResNets and the plain CNN; VGGs by the kind of head.
LAST_LAYER = "fc"
LAST_LAYER_OF_VGG = {"classic": "classifier.6", "pooled": "classifier"}


@dataclass(frozen=True, kw_only=True)
class Origin:
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


def find_origin(model_name: str, weights: str | Path, progress: Progress, offline: bool) -> Origin:
    """What `weights` means: a name, else a folder, else a file.

    Args:
        model_name: the network that they are for.
        weights: see `load_pretrained`.
        progress: shows the download.
        offline: fetch nothing.

    Raises:
        WeightsError: they are unknown, absent, damaged, or of another network.
        DownloadError: they could not be fetched.
    """
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


def _read_entry(model_name: str, entry: WeightsEntry, progress: Progress, offline: bool) -> Origin:
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
    return Origin(
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


def _read_file(model_name: str, path: Path) -> Origin:
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
    return Origin(
        name=f"the file {shown}" + (f" ({entry.name})" if entry else ""),
        tensors=stored.tensors,
        preprocessing=entry.preprocessing if entry else IMAGENET_PREPROCESSING,
        stride_in=said or known,
        head=entry.head if entry else None,
        class_names=read_imagenet_classes() if outputs == IMAGENET_CLASSES else None,
    )


def _read_bundle(model_name: str, folder: Path) -> Origin:
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
    return Origin(
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
