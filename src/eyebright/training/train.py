"""Training, wired: a table of samples with splits in, a trained network out.

What it does in between stands in `phases`.

Shapes: N samples, R side of the cached square, C channels, D embedding width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyebright.bundle.manifest import Architecture
from eyebright.bundle.store import describe_architecture
from eyebright.data.arrays import find_channels
from eyebright.data.cache import Squares, read_squares
from eyebright.data.disk_cache import FOLDER, SquareCache
from eyebright.data.samples import SPLITS, SampleTable
from eyebright.data.sending import float32_as
from eyebright.distributed.ranks import Ranks
from eyebright.errors import ImageError, SettingsError
from eyebright.models.catalog import find_model
from eyebright.models.download import cache_folder
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress
from eyebright.training.checkpoint import InMemory, Keeper, Snapshot, share_snapshot
from eyebright.training.diverged import DivergedError
from eyebright.training.epochs import require_something_to_train, try_learning_rates
from eyebright.training.held_out import HeldOut, look_back
from eyebright.training.history import EpochRecord
from eyebright.training.phases import run_phases
from eyebright.training.rates import TriedRate
from eyebright.training.recipes import list_sides, list_unused, resolve
from eyebright.training.settings import Settings
from eyebright.training.start import (
    build_network,
    choose_micro_batch,
    choose_precision,
    choose_weights,
    find_device,
    keep_own_view,
    measure_colours,
    median_short_side,
    set_dropout,
    usable_rows,
)
from eyebright.training.work import Clock, Watch, Work


@dataclass(frozen=True, kw_only=True)
class TrainedNetwork:
    """What training made, and what a bundle and a report need to know of it."""

    model: nn.Module
    """In evaluation mode, on the CPU, with the weights of the epoch that was kept."""
    architecture: Architecture
    preprocessing: Preprocessing
    class_names: tuple[str, ...]
    several_labels: bool
    """Whether an image may have several classes; else it has exactly one."""
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
    diverged: DivergedError | None = None
    """Why it could not go on, if so; the model is then the best so far."""
    held_out: HeldOut | None = None
    """What it says of the validation samples; None if it was interrupted, or if an image may have several classes."""


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

    The test samples are not looked at. On a CPU the same table, settings and seed give the same network, bit for bit,
    whether or not training was stopped and gone on with on the way; on a GPU but for rounding.

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
    progress, ranks = progress or SilentProgress(), ranks or Ranks()
    with _working(settings, ranks) as device:
        ready = _set_up(table, settings, device, keeper or InMemory(), ranks, watch or Watch(), digests, progress)
        work = ready.work
        is_over = ready.snapshot is not None and ready.snapshot.phase == "done"
        taught = None if teach is None or is_over else _ask(teach, ready)
        held_out = diverged = None
        ranks.meet()  # each has read the images
        try:
            history, interrupted = run_phases(work, ready.snapshot, ready.head_wanted, taught)
        except DivergedError as error:
            history, interrupted, diverged = error.history, True, error
        if not interrupted and not work.several_labels:
            try:
                held_out = look_back(work)
            except KeyboardInterrupt:
                interrupted = True
    return TrainedNetwork(
        model=work.model.cpu().eval(),
        architecture=describe_architecture(work.model, work.settings.model),
        preprocessing=work.preprocessing,
        class_names=ready.table.classes,
        several_labels=work.several_labels,
        settings=work.settings,
        history=history,
        weights=ready.weights,
        fingerprint=ready.squares.fingerprint,
        digests=dict(zip(ready.table.names, ready.squares.digests, strict=True)),
        unreadable={ready.table.names[row]: error for row, error in ready.squares.errors.items()},
        seconds=work.clock.seconds,
        interrupted=interrupted,
        diverged=diverged,
        held_out=held_out,
    )


def find_learning_rate(
    table: SampleTable,
    settings: Settings,
    *,
    teach: Teach | None = None,
    digests: Sequence[str] | None = None,
    progress: Progress | None = None,
) -> tuple[TriedRate, ...]:
    """What a few steps at rising learning rates do to the loss of the network that `train` would train.

    Args:
        table, settings, teach, digests, progress: see `train`.

    Raises:
        SettingsError: these settings train nothing but a head, which has no learning rate.
        KeyboardInterrupt: a stop was requested.
    """
    progress, ranks = progress or SilentProgress(), Ranks()
    with _working(settings, ranks) as device:
        ready = _set_up(table, settings, device, InMemory(), ranks, Watch(), digests, progress)
        if not ready.work.settings.training.epochs:
            raise SettingsError(
                f"--effort {settings.effort} fits only a head on the pretrained network, which has no learning rate; "
                "look for one with --effort standard or best"
            )
        taught = None if teach is None else _ask(teach, ready)
        return try_learning_rates(ready.work, ready.head_wanted, taught)


@contextmanager
def _working(settings: Settings, ranks: Ranks) -> Iterator[str]:
    """The device to work on, with everything random seeded and nothing of that left behind."""
    device = find_device(settings, ranks)
    on_gpu = device.startswith("cuda")
    with ExitStack() as stack:
        if on_gpu:
            stack.enter_context(torch.cuda.device(device))
            # Beside bfloat16, a GPU's shorter float32 costs no accuracy that matters.
            stack.enter_context(float32_as("ieee" if settings.training.precision == "float32" else "tf32"))
        stack.enter_context(torch.random.fork_rng(devices=[device] if on_gpu else []))
        torch.manual_seed(settings.seed % 2**63)
        yield device


@dataclass(frozen=True, kw_only=True)
class _Ready:
    """All that is needed to begin."""

    work: Work
    table: SampleTable
    """Without the test samples."""
    squares: Squares
    weights: str
    """Where the network starts, in words."""
    snapshot: Snapshot | None
    head_wanted: bool


def _ask(teach: Teach, ready: _Ready) -> NDArray[np.float32]:
    """(2, N, K) what the teacher says of the images that are trained on; zeros for all others."""
    rows = ready.work.train_rows
    taught = np.zeros((2, len(ready.table), len(ready.table.classes)), dtype=np.float32)
    taught[:, rows] = teach(ready.table.take(rows))
    return taught


def _set_up(
    table: SampleTable,
    settings: Settings,
    device: str,
    keeper: Keeper,
    ranks: Ranks,
    watch: Watch,
    digests: Sequence[str] | None,
    progress: Progress,
) -> _Ready:
    """Choose what is to be chosen, build the network and read the images."""
    snapshot = share_snapshot(ranks, keeper.load() if ranks.leads else None)
    clock = Clock(0.0 if snapshot is None else float(snapshot.state["seconds"]))
    settings = replace(settings, model=find_model(settings.model).name)
    given, source = settings, choose_weights(settings)
    rows = np.flatnonzero(table.splits != SPLITS.index("test"))
    table = table.take(rows)
    # Going on with a plain CNN is training it: there are no pretrained ones.
    pretrained = source is not None and settings.model != "cnn"
    choose = partial(
        resolve,
        pretrained=pretrained,
        short_side=median_short_side(table) if settings.data.image_size == 0 else 0,
        num_train=len(table.rows("train")),
        class_counts=list(table.split("train").counts().values()),
        channels=find_channels(table),
    )
    settings = choose(settings)
    if unused := list_unused(given, settings):
        progress.warn(
            f"not used, because only a head is fitted on a network that stays as it is: {', '.join(unused)}; with "
            "--effort standard, or training.epochs, the network is trained"
        )
    start = build_network(table, settings, source, progress)
    if source is not None:
        start, settings = keep_own_view(start, given)
        settings = choose(settings)
    require_something_to_train(start.model, settings)
    precision = choose_precision(settings, device, list_sides(settings, pretrained=pretrained))
    micro_batch = choose_micro_batch(settings, device, pretrained=pretrained, processes=ranks.size)
    settings = replace(settings, training=replace(settings.training, precision=precision, micro_batch=micro_batch))
    set_dropout(start.model, settings.network.dropout)
    preprocessing = start.preprocessing
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
        model=start.model,
        squares=squares.images,
        table=table,
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
    return _Ready(
        work=work,
        table=table,
        squares=squares,
        weights=start.description,
        snapshot=snapshot,
        head_wanted=source is not None and not (start.head_loaded and settings.training.epochs),
    )
