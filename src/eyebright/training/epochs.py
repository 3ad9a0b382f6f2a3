"""The phase in which the whole network is trained: from settings to a loop that is given everything.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyebright.data.loader import Batches
from eyebright.errors import SettingsError
from eyebright.models.layers import lay_channels_last
from eyebright.models.protocol import Network
from eyebright.training.checkpoint import Snapshot
from eyebright.training.diverged import DivergedError
from eyebright.training.head import fit_head
from eyebright.training.history import EpochRecord
from eyebright.training.loop import LoopResult, run_loop
from eyebright.training.objective import BinaryCrossEntropy, CrossEntropy, Distillation, Objective
from eyebright.training.optim import WeightAverage, build_optimizer
from eyebright.training.plan import LoopPlan
from eyebright.training.rates import TriedRate, try_rates
from eyebright.training.recipes import list_sides
from eyebright.training.step import Stepper, list_own_samples, list_part_sizes
from eyebright.training.validation import rank_by_loss, validate
from eyebright.training.work import Work

HALVED_TO_ONE = 32
"""Pixels that are halved five times, as VGG and ResNet do, are one pixel."""


def train_epochs(
    work: Work, snapshot: Snapshot | None, earlier: Sequence[EpochRecord], taught: NDArray[np.float32] | None
) -> LoopResult:
    """Train the network on augmented images.

    Args:
        work: what to train on.
        snapshot: where an earlier start of this phase was; None begins anew.
        earlier: what earlier phases measured; it stays in every snapshot.
        taught: (2, N, K) what a teacher says of each image and its mirror image, if there is one.
    """
    steering = work.settings.training
    parts = len(list_part_sizes(steering.batch_size, steering.micro_batch))
    if parts < work.ranks.size:
        work.progress.warn(
            f"{work.ranks.size - parts} of {work.ranks.size} processes have nothing to do while the network is "
            f"trained: a step's {steering.batch_size} images are computed in {parts} parts of {steering.micro_batch} "
            "(training.micro_batch), as this run began"
        )
    model, optimizer = _start_epochs(work)
    batches = _list_batches(work, taught)
    _require_pairs(work, batches)
    window = steering.average * batches.per_epoch
    try:
        return run_loop(
            model,
            batches.epoch,
            _choose_objective(work, taught is not None),
            optimizer,
            lambda network: validate(network, work),
            _plan(work, batches),
            start=snapshot,
            beside={"head_records": [asdict(one) for one in earlier]},
            keeper=work.keeper,
            clock=work.clock,
            progress=work.progress,
            ranks=work.ranks,
            average=WeightAverage(model, 1 - 1 / window) if window > 1 else None,
            set_train_mode=_train_mode(work),
            record=lambda records: work.watch.history([*earlier, *records]),
        )
    except DivergedError as error:
        last = error.failures[-1]
        error.history = (*earlier, *error.history)
        error.suspects = rank_by_loss(model, work, batches.rows_of(last.epoch, last.batch))
        raise
    finally:
        model.requires_grad_(True)


def try_learning_rates(work: Work, head_wanted: bool, taught: NDArray[np.float32] | None) -> tuple[TriedRate, ...]:
    """Fit the head first, if one is wanted, then take a few steps at rising rates; `taught` as in `train_epochs`."""
    if head_wanted:
        fit_head(work, None)
    model, optimizer = _start_epochs(work)
    batches = _list_batches(work, taught)
    forever = (batch for epoch in itertools.count(1) for batch in batches.epoch(epoch))
    _train_mode(work)(model)
    stepper = Stepper(
        model, _choose_objective(work, taught is not None), optimizer, _plan(work, batches), work.ranks, work.progress
    )

    def step() -> float | None:
        batch, size = next(forever)
        loss, length = stepper.add_gradients(batch, size)
        if not math.isfinite(length):
            return None
        optimizer.step()
        stepper.step += 1
        return loss

    return try_rates(step, optimizer, progress=work.progress)


def _start_epochs(work: Work) -> tuple[nn.Module, torch.optim.Optimizer]:
    """The network in its place, and the optimiser of what is trained of it."""
    work.seen.embeddings = None  # the backbone is about to change
    steering = work.settings.training
    model = lay_channels_last(work.model.to(work.device))
    scales = set_depths(model, steering.freeze_stages, steering.layer_decay)
    optimizer = build_optimizer(
        model, kind=steering.optimiser, lr=steering.lr, weight_decay=steering.weight_decay, scales=scales
    )
    return model, optimizer


def _require_pairs(work: Work, batches: Batches) -> None:
    """BatchNorm learns what values have in common; a single image that is halved to a single pixel has one value.

    Raises:
        SettingsError: there would be some that are computed alone.
    """
    steering = work.settings.training
    learns = not work.frozen_statistics and any(isinstance(one, nn.BatchNorm2d) for one in work.model.modules())
    side = min(batches.sides, default=work.preprocessing.image_size)
    fewest = len(work.train_rows) // batches.per_epoch
    alone = min(min(list_part_sizes(size, steering.micro_batch)) for size in (fewest, fewest + 1)) < 2
    if learns and side <= HALVED_TO_ONE and alone:
        raise SettingsError(
            f"{work.settings.model} learns BatchNorm's statistics, and of a single image of {side} pixels it can't: "
            f"training.batch_size={steering.batch_size} and training.micro_batch={steering.micro_batch} leave some of "
            f"{len(work.train_rows):,} alone; take more at once, larger images or pretrained weights"
        )


def _list_batches(work: Work, taught: NDArray[np.float32] | None) -> Batches:
    steering = work.settings.training
    return Batches(
        squares=work.squares,
        targets=work.table.targets(),
        rows=work.train_rows,
        preprocessing=work.preprocessing,
        augmentation=work.settings.augmentation,
        batch_size=steering.batch_size,
        seed=work.settings.seed,
        taught=taught,
        sides=list_sides(work.settings, pretrained=work.pretrained),
        chances=work.chances,
        workers=_choose_workers(steering.workers, work.device),
        device=work.device,
        share=lambda size: list_own_samples(size, steering.micro_batch, work.ranks),
    )


def _plan(work: Work, batches: Batches) -> LoopPlan:
    steering = work.settings.training
    return LoopPlan(
        epochs=steering.epochs,
        batches_per_epoch=batches.per_epoch,
        samples_per_epoch=len(work.train_rows),
        highest_lr=steering.lr,
        warmup=steering.warmup,
        micro_batch=steering.micro_batch,
        seed=work.settings.seed,
        patience=steering.patience,
        bfloat16=steering.precision == "bfloat16",
        compiled=steering.compile,
        device=work.device,
    )


def _train_mode(work: Work) -> Callable[[nn.Module], object]:
    return train_with_frozen_statistics if work.frozen_statistics else nn.Module.train


def set_depths(model: nn.Module, frozen: int, decay: float) -> dict[str, float]:
    """Freeze the first stages; returns for each parameter what its learning rate is multiplied by."""
    assert isinstance(model, Network)
    stages = {name: model.stage_of(name) for name, _ in model.named_parameters()}
    for name, parameter in model.named_parameters():
        parameter.requires_grad_(stages[name] >= frozen)
    return {name: decay ** (len(model.stages) - stage) for name, stage in stages.items()}


def _choose_workers(wanted: int, device: str) -> int:
    """On a CPU a batch is prepared when it is its turn: the network needs all cores anyway."""
    if wanted >= 0:
        return wanted
    return 0 if device == "cpu" else 2


def _choose_objective(work: Work, taught: bool) -> Objective:
    steering = work.settings.training
    kind = BinaryCrossEntropy if work.several_labels else CrossEntropy
    weights = None if work.class_weights is None else work.class_weights.to(work.device)
    labels = kind(steering.label_smoothing, weights)
    return Distillation(labels, steering.teacher_share, steering.temperature) if taught else labels


def train_with_frozen_statistics(model: nn.Module) -> None:
    """Training mode, but BatchNorm keeps the pretrained mean and variance: small batches would only blur them."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
