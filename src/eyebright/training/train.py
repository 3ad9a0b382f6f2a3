"""Training, wired: a table of samples with splits in, a trained network out.

Shapes: N samples, R side of the cached square, C channels, D embedding width, K classes.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import nn

from eyebright.bundle.manifest import Architecture
from eyebright.bundle.store import describe_architecture
from eyebright.data.cache import Squares, read_squares
from eyebright.data.decode import decode, decode_array
from eyebright.data.disk_cache import FOLDER, SquareCache
from eyebright.data.loader import Batches
from eyebright.data.samples import SPLITS, SampleTable
from eyebright.embedding.embed import embed
from eyebright.embedding.linear import fit_linear_head
from eyebright.errors import DataError, ImageError, SettingsError, WeightsError, printable
from eyebright.models.catalog import build_model, find_model
from eyebright.models.download import cache_folder
from eyebright.models.protocol import Network
from eyebright.models.weights import LoadedWeights, default_weights, load_pretrained
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress
from eyebright.training.history import EpochRecord
from eyebright.training.loop import run_loop
from eyebright.training.objective import CrossEntropy
from eyebright.training.optim import build_optimizer
from eyebright.training.settings import Settings, resolve

SIZES_PROBED = 64
VALIDATION_BATCH = 64


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """What training made, and what a bundle and a report need to know of it."""

    model: nn.Module
    """In evaluation mode, on the CPU, with the weights of the best epoch."""
    architecture: Architecture
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    settings: Settings
    """With every "choose" replaced by what was chosen."""
    history: tuple[EpochRecord, ...]
    weights: str
    """Where it started, in words."""
    fingerprint: str
    """Of the training and validation images and labels."""
    digests: Mapping[str, str]
    """By sample name, the sha256 of the content of every training and validation image."""
    unreadable: Mapping[str, ImageError]
    """By sample name; they took no part."""
    seconds: float
    interrupted: bool


@dataclass(frozen=True, kw_only=True)
class _Material:
    """What a network is trained and chosen on."""

    squares: NDArray[np.uint8]
    """(N, R, R, C)"""
    labels: NDArray[np.int64]
    """(N,)"""
    train_rows: NDArray[np.int64]
    """Row numbers of the readable training samples."""
    val_rows: NDArray[np.int64]
    preprocessing: Preprocessing
    device: str


def train(
    table: SampleTable,
    settings: Settings,
    *,
    digests: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> TrainedNetwork:
    """Train one network on the table's training samples, choosing by its validation samples.

    The test samples are not looked at. The same table, settings and seed give the same network.

    Args:
        table: with every sample in a split.
        settings: see `Settings`; zeros are chosen here.
        digests: (N,) the sha256 of each sample's content, if known: spares reading all once more for the cache.
        progress: shown throughout. If a stop is requested while there is something to keep, it is kept.

    Raises:
        DataError: too little to learn from.
        ModelError, WeightsError, SettingsError: what was asked for does not exist or does not fit.
        KeyboardInterrupt: stopped before there was anything to keep.
    """
    progress = progress or SilentProgress()
    began = time.monotonic()
    device = choose_device(settings.training.device)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed % 2**63)
        entry = find_model(settings.model)
        settings = replace(settings, model=entry.name)
        source = _choose_weights(settings)
        rows = np.flatnonzero(table.splits != SPLITS.index("test"))
        table = table.take(rows)
        settings = resolve(
            settings,
            pretrained=source is not None and entry.name != "cnn",  # going on with a plain CNN is training it
            short_side=_median_short_side(table),
            num_train=len(table.rows("train")),
        )
        start = _build(table, settings, source, progress)
        model, preprocessing = start.model, start.preprocessing
        # A classifier that is trained on keeps its own: the settings say what is done, not what would have been.
        seen = replace(settings.data, image_size=preprocessing.image_size, fit=preprocessing.fit)
        settings = replace(settings, data=seen)
        squares = read_squares(
            table,
            preprocessing,
            progress=progress,
            threads=settings.training.threads or None,
            digests=None if digests is None else [digests[row] for row in rows.tolist()],
            cache=SquareCache(cache_folder() / FOLDER) if settings.data.cache else None,
        )
        train_rows, val_rows = _usable_rows(table, squares)
        if source is None:
            preprocessing = _measure_colours(squares.images, train_rows, preprocessing)
        material = _Material(
            squares=squares.images,
            labels=table.labels,
            train_rows=train_rows,
            val_rows=val_rows,
            preprocessing=preprocessing,
            device=device,
        )
        history: list[EpochRecord] = []
        interrupted = False
        if source is not None and not (start.head_loaded and settings.training.epochs):
            history += _fit_head(model, material, progress)
            interrupted = progress.stop_requested
        if settings.training.epochs and not interrupted:
            records, interrupted = _fine_tune(model, material, settings, progress, frozen_statistics=source is not None)
            history += records
    return TrainedNetwork(
        model=model.cpu().eval(),
        architecture=describe_architecture(model, entry.name),
        preprocessing=preprocessing,
        class_names=table.classes,
        settings=settings,
        history=tuple(history),
        weights=start.description,
        fingerprint=squares.fingerprint,
        digests=dict(zip(table.names, squares.digests, strict=True)),
        unreadable={table.names[row]: error for row, error in squares.errors.items()},
        seconds=time.monotonic() - began,
        interrupted=interrupted,
    )


def choose_device(wanted: str) -> str:
    """The device asked for, or the best there is.

    Raises:
        SettingsError: there is no such device here.
    """
    if not wanted:
        return "cuda" if torch.cuda.is_available() else "cpu"
    kind = wanted.split(":")[0]
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if kind not in there:
        raise SettingsError(f'training.device is "cpu", "cuda" or "mps", not "{printable(wanted)}"')
    if not there[kind]:
        raise SettingsError(f'there is no training.device="{wanted}" on this machine; leave it out to train on the CPU')
    return wanted


def _choose_weights(settings: Settings) -> str | None:
    """Which weights to start from; None is from scratch."""
    wanted = settings.network.weights
    if wanted == "none":
        return None
    if wanted:
        return wanted
    entry = default_weights(settings.model)
    if entry is not None:
        return entry.name
    if settings.model == "cnn":
        return None
    raise WeightsError(f"there are no pretrained weights of {settings.model}; ask for network.weights=none")


def _median_short_side(table: SampleTable) -> int:
    """The median shorter side in pixels of some samples spread evenly over the table."""
    sides = []
    for row in np.unique(np.linspace(0, len(table) - 1, num=min(SIZES_PROBED, len(table))).astype(np.int64)):
        name = table.names[row]
        try:
            content = table.store.read(name)
            image = decode(content, name) if isinstance(content, bytes) else decode_array(content, name)
        except ImageError:
            continue  # named when all are read
        sides.append(min(image.shape[:2]))
    if not sides:
        raise DataError("none of the first images looked at could be read; are these image files?")
    return int(np.median(sides))


def _build(table: SampleTable, settings: Settings, source: str | None, progress: Progress) -> LoadedWeights:
    """The network as it starts, with the preprocessing that it will always have."""
    size = settings.data.image_size
    fit: Literal["crop", "squash"] = "crop" if settings.data.fit == "crop" else "squash"
    if source is not None:
        loaded = load_pretrained(
            settings.model,
            source,
            num_classes=len(table.classes),
            class_names=table.classes,
            stride_in=settings.network.stride_in or None,
            embed_stages=settings.network.embed_stages,
            progress=progress,
        )
        if loaded.head_loaded:  # a classifier of these very classes: train it on, as it is
            return loaded
        return replace(loaded, preprocessing=replace(loaded.preprocessing, image_size=size, resize=size, fit=fit))
    options: dict[str, Any] = {}
    if settings.model == "cnn":
        options["width"] = settings.network.width
    else:
        options["embed_stages"] = settings.network.embed_stages
    if find_model(settings.model).family == "vgg":
        options["head"] = "pooled"  # the classic head's 120 million parameters would have to be learned from nothing
    if find_model(settings.model).family == "resnet":
        options["stride_in"] = settings.network.stride_in or "3x3"
    return LoadedWeights(
        model=build_model(settings.model, num_classes=len(table.classes), **options),
        preprocessing=Preprocessing(image_size=size, resize=size, fit=fit),
        description="from scratch",
        class_names=None,
        head_loaded=False,
        stride_in=options.get("stride_in"),
    )


def _usable_rows(table: SampleTable, squares: Squares) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Row numbers of the readable training and validation samples.

    Raises:
        DataError: nothing readable to train or to choose on, or a class of which nothing readable is left.
    """
    train_rows, val_rows = (rows[squares.readable[rows]] for rows in (table.rows("train"), table.rows("val")))
    present = set(table.labels[train_rows].tolist())
    absent = [name for index, name in enumerate(table.classes) if index not in present]
    if absent:
        first = next(iter(squares.errors.values()), None)
        raise DataError(
            f"no readable training image is left of {', '.join(map(printable, absent))}"
            + (f" (such as {first})" if first else "")
            + "; replace the damaged images, or take the class out"
        )
    if len(val_rows) == 0:
        raise DataError("no readable validation image is left to choose by; replace the damaged images")
    return train_rows, val_rows


def _measure_colours(
    squares: NDArray[np.uint8], rows: NDArray[np.int64], preprocessing: Preprocessing
) -> Preprocessing:
    """The preprocessing with mean and standard deviation of up to 5,000 training images."""
    chosen = rows[np.linspace(0, len(rows) - 1, num=min(5000, len(rows))).astype(np.int64)]
    pixels = squares[chosen].reshape(-1, squares.shape[-1])
    mean = pixels.mean(axis=0, dtype=np.float64) / 255
    std = pixels.std(axis=0, dtype=np.float64) / 255
    return replace(
        preprocessing,
        mean=tuple(round(float(value), 4) for value in mean),
        std=tuple(round(max(float(value), 0.02), 4) for value in std),
    )


def _fit_head(model: nn.Module, material: _Material, progress: Progress) -> list[EpochRecord]:
    """Put the best linear head on the frozen backbone into the model."""
    began = time.monotonic()
    rows = np.concatenate([material.train_rows, material.val_rows])
    embeddings = embed(model, material.squares, rows, material.preprocessing, device=material.device, progress=progress)
    count = len(material.train_rows)
    assert isinstance(model, Network)
    head = fit_linear_head(
        embeddings[:count],
        material.labels[material.train_rows],
        embeddings[count:],
        material.labels[material.val_rows],
        model.num_classes,
        progress=progress,
    )
    with torch.no_grad():
        model.head.weight.copy_(torch.from_numpy(head.weight))
        model.head.bias.copy_(torch.from_numpy(head.bias))
    seconds = time.monotonic() - began
    return [
        EpochRecord(
            phase="head",
            number=tried.strength,
            train_loss=tried.train_loss,
            val_loss=tried.val_loss,
            val_accuracy=tried.val_accuracy,
            seconds=seconds,
        )
        for tried in head.tried
    ]


def _fine_tune(
    model: nn.Module, material: _Material, settings: Settings, progress: Progress, *, frozen_statistics: bool
) -> tuple[list[EpochRecord], bool]:
    """Train all weights on augmented images; returns the history and whether it was interrupted."""
    steering = settings.training
    model.to(material.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    batches = Batches(
        squares=material.squares,
        labels=material.labels,
        rows=material.train_rows,
        preprocessing=material.preprocessing,
        augmentation=settings.augmentation,
        batch_size=steering.batch_size,
        seed=settings.seed,
    )
    result = run_loop(
        model,
        batches.epoch,
        CrossEntropy(steering.label_smoothing),
        build_optimizer(model, lr=steering.lr, weight_decay=steering.weight_decay),
        lambda network: _validate(network, material),
        epochs=steering.epochs,
        batches_per_epoch=batches.per_epoch,
        highest_lr=steering.lr,
        warmup=steering.warmup,
        micro_batch=steering.micro_batch,
        device=material.device,
        progress=progress,
        set_train_mode=train_with_frozen_statistics if frozen_statistics else nn.Module.train,
    )
    return list(result.records), result.interrupted


def train_with_frozen_statistics(model: nn.Module) -> None:
    """Training mode, but BatchNorm keeps the pretrained mean and variance: small batches would only blur them."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def _validate(model: nn.Module, material: _Material) -> tuple[float, float]:
    """Mean cross-entropy and accuracy over the validation samples, in float32."""
    model.eval()
    rows = material.val_rows
    loss, correct = 0.0, 0
    with torch.inference_mode():
        for start in range(0, len(rows), VALIDATION_BATCH):
            chosen = rows[start : start + VALIDATION_BATCH]
            squares = material.preprocessing.crop(material.squares[chosen])
            images = torch.from_numpy(material.preprocessing.normalise(squares))
            logits = model(images.to(device=material.device, memory_format=torch.channels_last)).float().cpu()
            targets = torch.from_numpy(material.labels[chosen])
            loss += float(F.cross_entropy(logits, targets, reduction="sum"))
            correct += int((logits.argmax(dim=1) == targets).sum())
    return loss / len(rows), correct / len(rows)
