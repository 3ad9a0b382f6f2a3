"""Training, wired: a table of samples with splits in, a trained network out.

What it does in between stands in `phases`.

Shapes: N samples, R side of the cached square, C channels, D embedding width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyebright.bundle.manifest import Architecture
from eyebright.bundle.store import describe_architecture
from eyebright.data.cache import read_squares
from eyebright.data.disk_cache import FOLDER, SquareCache
from eyebright.data.samples import SPLITS, SampleTable
from eyebright.distributed.ranks import Ranks
from eyebright.embedding.embed import computes_bfloat16
from eyebright.errors import ImageError
from eyebright.models.catalog import find_model
from eyebright.models.download import cache_folder
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress
from eyebright.training.checkpoint import InMemory, Keeper, share_snapshot
from eyebright.training.history import EpochRecord
from eyebright.training.phases import Clock, Watch, Work, run_phases
from eyebright.training.recipes import resolve
from eyebright.training.settings import Settings
from eyebright.training.start import (
    build_network,
    choose_device,
    choose_weights,
    count_classes,
    fast_matmul,
    measure_colours,
    median_short_side,
    usable_rows,
)


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
    """Over all starts, where training was gone on with."""
    interrupted: bool


Teach = Callable[[SampleTable], NDArray[np.float32]]
"""A table -> (2, N, K) a teacher's logits for each image and its mirror image, classes in the table's order."""


def train(
    table: SampleTable,
    settings: Settings,
    *,
    keeper: Keeper | None = None,
    ranks: Ranks | None = None,
    teach: Teach | None = None,
    watch: Watch | None = None,
    digests: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> TrainedNetwork:
    """Train one network on the table's training samples, choosing by its validation samples.

    The test samples are not looked at. The same table, settings and seed give the same network, whether or not training
    was stopped and gone on with on the way.

    Args:
        table: with every sample in a split.
        settings: see `Settings`; zeros are chosen here.
        keeper: where snapshots go, and are found to go on from.
        ranks: the processes that train together; all call this with the same arguments but for the keeper and watch.
        teach: asked what a teacher says of the training samples, if there is a teacher.
        watch: told how it goes.
        digests: (N,) the sha256 of each sample's content, if known: spares reading all once more for the cache.
        progress: shown throughout. If a stop is requested while there is something to keep, it is kept.

    Raises:
        DataError: too little to learn from.
        ModelError, WeightsError, SettingsError: what was asked for does not exist or does not fit.
        KeyboardInterrupt: stopped before there was anything to keep.
    """
    progress, watch = progress or SilentProgress(), watch or Watch()
    keeper, ranks = keeper or InMemory(), ranks or Ranks()
    device = choose_device(settings.training.device)
    if device.startswith("cuda") and ranks.size > 1:
        device = ranks.device
    with torch.random.fork_rng(devices=[]), fast_matmul(device):
        torch.manual_seed(settings.seed % 2**63)
        snapshot = share_snapshot(ranks, keeper.load() if ranks.leads else None)
        clock = Clock(0.0 if snapshot is None else float(snapshot.state["seconds"]))
        settings = replace(settings, model=find_model(settings.model).name)
        source = choose_weights(settings)
        rows = np.flatnonzero(table.splits != SPLITS.index("test"))
        table = table.take(rows)
        # Going on with a plain CNN is training it: there are no pretrained ones.
        pretrained = source is not None and settings.model != "cnn"
        settings = resolve(
            settings,
            pretrained=pretrained,
            short_side=median_short_side(table) if settings.data.image_size == 0 else 0,
            num_train=len(table.rows("train")),
            class_counts=count_classes(table).tolist(),
        )
        if not settings.training.precision:
            fast = "bfloat16" if computes_bfloat16(device) else "float32"
            settings = replace(settings, training=replace(settings.training, precision=fast))
        start = build_network(table, settings, source, progress)
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
        train_rows, val_rows = usable_rows(table, squares)
        if source is None:
            preprocessing = measure_colours(squares.images, train_rows, preprocessing)
        watch.settings(settings)
        work = Work(
            model=model,
            squares=squares.images,
            labels=table.labels,
            train_rows=train_rows,
            val_rows=val_rows,
            preprocessing=preprocessing,
            settings=settings,
            pretrained=pretrained,
            frozen_statistics=source is not None,
            device=device,
            keeper=keeper,
            ranks=ranks,
            clock=clock,
            watch=watch,
            progress=progress,
        )
        head_wanted = source is not None and not (start.head_loaded and settings.training.epochs)
        history, interrupted = run_phases(work, snapshot, head_wanted, None if teach is None else teach(table))
    return TrainedNetwork(
        model=model.cpu().eval(),
        architecture=describe_architecture(model, settings.model),
        preprocessing=preprocessing,
        class_names=table.classes,
        settings=settings,
        history=history,
        weights=start.description,
        fingerprint=squares.fingerprint,
        digests=dict(zip(table.names, squares.digests, strict=True)),
        unreadable={table.names[row]: error for row, error in squares.errors.items()},
        seconds=clock.seconds,
        interrupted=interrupted,
    )
