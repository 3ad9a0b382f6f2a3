"""The one training loop, read from top to bottom. It is given everything and knows no data, network or metric."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from eyebright.errors import EyebrightError
from eyebright.progress import Progress
from eyebright.training.history import EpochRecord
from eyebright.training.objective import Objective
from eyebright.training.optim import learning_rate

EpochOfBatches = Callable[[int], Iterator[tuple[Tensor, Tensor]]]
Validate = Callable[[nn.Module], tuple[float, float]]
SetMode = Callable[[nn.Module], object]
CLIP = 1.0  # the longest gradient that a step may follow


class DivergedError(EyebrightError):
    """The loss became no number; training can't go on with these settings."""


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """How a loop went; the model holds the weights of the best epoch."""

    records: tuple[EpochRecord, ...]
    best_epoch: int
    interrupted: bool


def run_loop(
    model: nn.Module,
    batches: EpochOfBatches,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    validate: Validate,
    *,
    epochs: int,
    batches_per_epoch: int,
    highest_lr: float,
    warmup: float,
    micro_batch: int,
    device: str,
    progress: Progress,
    set_train_mode: SetMode = nn.Module.train,
) -> LoopResult:
    """Train, measure after every epoch, and leave the model with the weights of the best one.

    The best has the lowest validation loss: accuracy on few validation samples jumps about too much to choose by. How
    the model came in counts as epoch 0. If a stop is requested, the best epoch so far is kept.

    Args:
        model: on `device` already.
        batches: epoch number (from 1) -> images (B, C, S, S) and labels (B,).
        objective: the loss.
        optimizer: of the model's parameters; its learning rate is set here at each step.
        validate: model -> (loss, accuracy); it may change the model's mode.
        epochs: how many at the most.
        batches_per_epoch: as many as `batches` yields.
        highest_lr: see `learning_rate`.
        warmup: see `learning_rate`.
        micro_batch: how many samples go through the network at once; the gradients of a batch are added up.
        device: where batches go.
        progress: shown in steps.
        set_train_mode: called before each epoch; the plain one unfreezes everything.
    """
    began = time.monotonic()
    total = epochs * batches_per_epoch
    step = 0
    val_loss, val_accuracy = validate(model)
    records = [
        EpochRecord(
            phase="epochs",
            number=0,
            train_loss=None,
            val_loss=val_loss,
            val_accuracy=val_accuracy,
            seconds=time.monotonic() - began,
        )
    ]
    best_loss = val_loss if math.isfinite(val_loss) else math.inf
    best_epoch = 0
    best_weights = copy_weights(model)
    interrupted = False
    progress.start("training", total)
    for epoch in range(1, epochs + 1):
        set_train_mode(model)
        loss_sum = torch.zeros(())
        seen = 0
        for images, labels in batches(epoch):
            if progress.stop_requested:
                interrupted = True
                break
            rate = learning_rate(step, total, highest=highest_lr, warmup=warmup)
            for group in optimizer.param_groups:
                group["lr"] = rate
            images = images.to(device=device, memory_format=torch.channels_last)
            labels = labels.to(device)
            optimizer.zero_grad(set_to_none=True)
            parts = max(1, round(len(labels) / micro_batch))
            for some_images, some_labels in zip(images.chunk(parts), labels.chunk(parts), strict=True):
                loss = objective(model, some_images, some_labels) * (len(some_labels) / len(labels))
                loss.backward()  # type: ignore[no-untyped-call]
                loss_sum += loss.detach().cpu() * len(labels)
            length = nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            if not torch.isfinite(length):
                load_weights(model, best_weights)
                raise DivergedError(
                    f"training failed in epoch {epoch}: the loss is no number any more. Try a lower learning rate "
                    f"(now {highest_lr:g}): --set training.lr={highest_lr / 5:g}"
                )
            optimizer.step()
            seen += len(labels)
            step += 1
            progress.advance(step, f"epoch {epoch} of {epochs}, validation accuracy {val_accuracy:.1%}")
        if interrupted:
            break
        val_loss, val_accuracy = validate(model)
        records.append(
            EpochRecord(
                phase="epochs",
                number=epoch,
                train_loss=float(loss_sum) / seen,
                val_loss=val_loss,
                val_accuracy=val_accuracy,
                seconds=time.monotonic() - began,
            )
        )
        if math.isfinite(val_loss) and val_loss < best_loss:
            best_loss = val_loss
            best_epoch = epoch
            best_weights = copy_weights(model)
    progress.finish()
    load_weights(model, best_weights)
    return LoopResult(records=tuple(records), best_epoch=best_epoch, interrupted=interrupted)


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """All weights and running statistics, apart from the model."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}


def load_weights(model: nn.Module, weights: dict[str, Tensor]) -> None:
    """Put copied weights back."""
    model.load_state_dict(weights)
