"""The phase in which the whole network is trained: from settings to a loop that is given everything.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from eyebright.data.loader import Batches
from eyebright.errors import SettingsError
from eyebright.memory import TooLittleMemoryError
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
from eyebright.training.settings import Settings
from eyebright.training.step import Stepper, list_own_samples, list_part_sizes
from eyebright.training.validation import rank_by_loss, validate
from eyebright.training.work import Work


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
    model, optimizer = _start_epochs(work)
    batches = _list_batches(work, taught)
    _require_pairs(work, batches)
    _say_who_idles(work, batches)
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
        if last.batch is not None and work.ranks.leads:
            with suppress(TooLittleMemoryError):  # they are not worth losing the rest for
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
    _require_pairs(work, batches)
    forever = (batch for epoch in itertools.count(1) for batch in batches.epoch(epoch))
    _train_mode(work)(model)
    stepper = Stepper(
        model, _choose_objective(work, taught is not None), _plan(work, batches), work.ranks, work.progress
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


def _say_who_idles(work: Work, batches: Batches) -> None:
    """Say so if a batch has fewer parts than there are processes."""
    most, micro_batch = -(-len(work.train_rows) // batches.per_epoch), work.settings.training.micro_batch
    parts = len(list_part_sizes(most, micro_batch))
    if idle := max(0, work.ranks.size - parts):
        work.progress.warn(
            f"{idle} of {work.ranks.size} processes have nothing to do while the network is trained: a batch of {most} "
            f"has {parts} part{'s' * (parts > 1)} (training.micro_batch={micro_batch}); a new run with a lower one "
            "employs all"
        )


def _require_pairs(work: Work, batches: Batches) -> None:
    """BatchNorm learns what values have in common; a single image that is shrunk to a single pixel has one value.

    Raises:
        SettingsError: there would be some that are computed alone.
    """
    steering, model = work.settings.training, work.settings.model
    if work.frozen_statistics or not any(isinstance(one, nn.BatchNorm2d) for one in work.model.modules()):
        return
    side = min(batches.sides, default=work.preprocessing.image_size)
    # ResNet's last BatchNorm follows five halvings, that of VGG four, and each of them drops a rest.
    deepest = side // 16 if model.startswith("vgg") else -(-side // 32)
    fewest, rest = divmod(len(work.train_rows), batches.per_epoch)
    sizes = (fewest, fewest + 1) if rest else (fewest,)
    if deepest == 1 and min(min(list_part_sizes(size, steering.micro_batch)) for size in sizes) == 1:
        raise SettingsError(
            f"{model} learns BatchNorm's statistics, and of a single image of {side} pixels it can't: "
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


def require_something_to_train(model: nn.Module, settings: Settings) -> None:
    """That not all stages are frozen, and the head with them.

    Raises:
        SettingsError: they are.
    """
    assert isinstance(model, Network)
    frozen, most = settings.training.freeze_stages, len(model.stages)
    if settings.training.epochs and frozen > most:
        raise SettingsError(
            f"training.freeze_stages={frozen} leaves nothing to train: {settings.model} has {most} stages, so {most} "
            "at most, which trains what comes after them"
        )


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
