"""The phases of training, each of which leaves snapshots that the next start goes on from.

    embedding   the backbone looks at every image once
    head        a linear head is fitted on what it saw
    epochs      the whole network is trained
    done        what is left when all are over: the weights

Shapes: N samples, R side of the cached square, C channels, D embedding width, K classes.
"""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from eyebright.data.loader import Batches
from eyebright.distributed.ranks import Ranks
from eyebright.embedding.embed import EmbeddingsSoFar, embed, put_together
from eyebright.embedding.linear import HeadSearch, TriedStrength, fit_linear_head
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress
from eyebright.training.checkpoint import Keeper, Snapshot
from eyebright.training.history import EpochRecord
from eyebright.training.loop import LoopPlan, LoopResult, Stepper, run_loop
from eyebright.training.memory import with_fewer
from eyebright.training.objective import CrossEntropy, Distillation, Objective, weigh_classes
from eyebright.training.optim import WeightAverage, build_optimizer
from eyebright.training.rates import TriedRate, try_rates
from eyebright.training.recipes import list_sides
from eyebright.training.settings import Settings

VALIDATION_BATCH = 64
HOTTEST = 2.0  # the logarithm of the highest temperature; its inverse is the lowest
TEMPERATURES_TRIED = 20
BALANCE_POWER = 0.5
"""A rare class is helped by its size to this power: 1 would let every class count the same."""


@dataclass(frozen=True, kw_only=True)
class Watch:
    """Who wants to know how training goes."""

    settings: Callable[[Settings], object] = lambda _: None
    """Told the settings with what was chosen, before training begins."""
    history: Callable[[Sequence[EpochRecord]], object] = lambda _: None
    """Told all records so far, whenever there is a new one."""


@final
class Clock:
    """Seconds spent on a training, over all starts.

    Args:
        before: those of earlier starts.
    """

    def __init__(self, before: float = 0.0) -> None:
        self._zero = time.monotonic() - before

    @property
    def seconds(self) -> float:
        return time.monotonic() - self._zero


@dataclass(frozen=True, kw_only=True)
class Work:
    """What a network is trained and chosen on, and who helps."""

    model: nn.Module
    squares: NDArray[np.uint8]
    """(N, R, R, C)"""
    labels: NDArray[np.int64]
    """(N,)"""
    train_rows: NDArray[np.int64]
    """Row numbers of the readable training samples."""
    val_rows: NDArray[np.int64]
    preprocessing: Preprocessing
    settings: Settings
    """Resolved."""
    pretrained: bool
    frozen_statistics: bool
    """Whether BatchNorm keeps the mean and variance that it came with."""
    device: str
    keeper: Keeper
    ranks: Ranks
    clock: Clock
    watch: Watch
    progress: Progress

    @property
    def class_weights(self) -> Tensor | None:
        """(K,) how much each class counts; None if all count alike."""
        return self._balance() if self.settings.training.balance == "weights" else None

    @property
    def chances(self) -> NDArray[np.float64] | None:
        """(len(train_rows),) how likely each is drawn; None if every one comes once an epoch."""
        if self.settings.training.balance != "sampling":
            return None
        chances: NDArray[np.float64] = self._balance().double().numpy()[self.labels[self.train_rows]]
        return chances

    def _balance(self) -> Tensor:
        counts = np.bincount(self.labels[self.train_rows], minlength=self.num_classes)
        return weigh_classes(torch.from_numpy(counts), BALANCE_POWER)

    @property
    def num_classes(self) -> int:
        """K"""
        assert isinstance(self.model, Network)
        return self.model.num_classes

    def keep(self, phase: str, state: dict[str, Any], parts: dict[str, dict[str, Tensor]]) -> None:
        """A snapshot, if this rank is the one that writes."""
        if self.ranks.leads:
            snapshot = Snapshot(phase=phase, state={**state, "seconds": self.clock.seconds}, parts=parts)
            self.keeper.save(snapshot)


def run_phases(
    work: Work, snapshot: Snapshot | None, head_wanted: bool, taught: NDArray[np.float32] | None
) -> tuple[tuple[EpochRecord, ...], bool]:
    """Do what is still to be done of all phases; the model is left with the best weights.

    Args:
        work: what to train on.
        snapshot: where an earlier start was; its phase is gone on with, and those before it are over.
        head_wanted: whether a new head is fitted first.
        taught: (2, N, K) what a teacher says, if there is one.

    Returns:
        The history of all phases, and whether a stop was requested; then everything is kept to go on from.

    Raises:
        KeyboardInterrupt: stopped before there was anything to use; what there is, is kept too.
    """
    phase = "" if snapshot is None else snapshot.phase
    history: list[EpochRecord] = []
    if snapshot is not None and "head_records" in snapshot.state:
        history = [EpochRecord(**record) for record in snapshot.state["head_records"]]
    if snapshot is not None and phase == "done":
        work.model.load_state_dict(snapshot.parts["weights"])
        history += [EpochRecord(**record) for record in snapshot.state["records"]]
        work.watch.history(history)
        return tuple(history), False
    if head_wanted and phase != "epochs":
        history = _fit_head(work, snapshot)
        work.watch.history(history)
        if any(work.ranks.any(work.progress.stop_requested)):
            return tuple(history), True
    records: tuple[EpochRecord, ...] = ()
    if work.settings.training.epochs:
        result = _train_epochs(work, snapshot if phase == "epochs" else None, history, taught)
        records = result.records
        if result.interrupted:
            return (*history, *records), True
    weights = dict(work.model.state_dict())
    state = {"head_records": _plain(history), "records": _plain(records)}
    work.keep("done", state, {"weights": weights})
    return (*history, *records), False


def _plain(records: Sequence[EpochRecord]) -> list[dict[str, Any]]:
    return [asdict(record) for record in records]


def _fit_head(work: Work, snapshot: Snapshot | None) -> list[EpochRecord]:
    """Put the best linear head on the frozen backbone into the model."""
    embeddings = _look(work, snapshot)
    count = len(work.train_rows)
    search: HeadSearch | None = None
    seconds: list[float] = []
    if snapshot is not None and snapshot.phase == "head":
        search = HeadSearch(
            **{name: tensor.clone() for name, tensor in snapshot.parts["head"].items()},
            tried=[TriedStrength(**tried) for tried in snapshot.state["tried"]],
        )
        seconds = list(snapshot.state["tried_seconds"])

    def keep(search: HeadSearch) -> None:
        seconds.append(work.clock.seconds)
        work.watch.history(_head_records(search.tried, seconds))
        if work.ranks.leads and (work.keeper.due or work.progress.stop_requested):
            save(search)

    def save(search: HeadSearch) -> None:
        state = {"tried": [asdict(tried) for tried in search.tried], "tried_seconds": seconds}
        tensors = {name: getattr(search, name).clone() for name in ("weight", "bias", "best_weight", "best_bias")}
        parts = {"embeddings": {"embeddings": torch.from_numpy(embeddings)}, "head": tensors}
        work.keep("head", state, parts)

    head = fit_linear_head(
        embeddings[:count],
        work.labels[work.train_rows],
        embeddings[count:],
        work.labels[work.val_rows],
        work.num_classes,
        class_weights=work.class_weights,
        search=search,
        keep=keep,
        progress=work.progress,
    )
    with torch.no_grad():
        assert isinstance(work.model, Network)
        work.model.head.weight.copy_(torch.from_numpy(head.weight))
        work.model.head.bias.copy_(torch.from_numpy(head.bias))
    return _head_records(head.tried, seconds)


def _head_records(tried: Sequence[TriedStrength], seconds: Sequence[float]) -> list[EpochRecord]:
    return [
        EpochRecord(
            phase="head",
            number=one.strength,
            train_loss=one.train_loss,
            val_loss=one.val_loss,
            val_accuracy=one.val_accuracy,
            seconds=when,
        )
        for one, when in zip(tried, seconds, strict=True)
    ]


def _look(work: Work, snapshot: Snapshot | None) -> NDArray[np.float32]:
    """(M, D) embeddings of the training samples, then of the validation samples."""
    if snapshot is not None and snapshot.phase == "head":
        return snapshot.parts["embeddings"]["embeddings"].numpy()
    so_far = None
    if snapshot is not None and snapshot.phase == "embedding":
        found = snapshot.parts["embeddings"]["embeddings"].numpy()
        if not work.ranks.leads:
            found = np.zeros_like(found)  # they are put together again in the end
        so_far = EmbeddingsSoFar(embeddings=found, done=int(snapshot.state["done"]))

    def keep(so_far: EmbeddingsSoFar, stop: bool) -> None:
        (due,) = work.ranks.any(work.ranks.leads and work.keeper.due)
        if stop or due:
            whole = put_together(so_far.embeddings, work.ranks)
            work.keep("embedding", {"done": so_far.done}, {"embeddings": {"embeddings": torch.from_numpy(whole)}})

    return embed(
        work.model,
        work.squares,
        np.concatenate([work.train_rows, work.val_rows]),
        work.preprocessing,
        device=work.device,
        bfloat16=work.settings.training.precision == "bfloat16",
        ranks=work.ranks,
        so_far=so_far,
        keep=keep,
        progress=work.progress,
    )


def _train_epochs(
    work: Work, snapshot: Snapshot | None, earlier: Sequence[EpochRecord], taught: NDArray[np.float32] | None
) -> LoopResult:
    """Train the network on augmented images."""
    model, optimizer = _start_epochs(work)
    batches = _list_batches(work, taught)
    steering = work.settings.training
    window = steering.average * batches.per_epoch
    result = run_loop(
        model,
        batches.epoch,
        _choose_objective(work, taught is not None),
        optimizer,
        lambda network: validate(network, work),
        _plan(work, batches),
        start=snapshot,
        beside={"head_records": _plain(earlier)},
        keeper=work.keeper,
        clock=work.clock,
        progress=work.progress,
        ranks=work.ranks,
        average=WeightAverage(model, 1 - 1 / window) if window > 1 else None,
        set_train_mode=_train_mode(work),
        record=lambda records: work.watch.history([*earlier, *records]),
    )
    model.requires_grad_(True)
    return result


def try_learning_rates(work: Work, head_wanted: bool) -> tuple[TriedRate, ...]:
    """Fit the head first, if one is wanted, then take a few steps at rising rates."""
    if head_wanted:
        _fit_head(work, None)
    model, optimizer = _start_epochs(work)
    batches = _list_batches(work, None)
    forever = (batch for epoch in itertools.count(1) for batch in batches.epoch(epoch))
    _train_mode(work)(model)
    stepper = Stepper(model, _choose_objective(work, False), optimizer, _plan(work, batches), work.ranks, work.progress)

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
    steering = work.settings.training
    model = work.model.to(work.device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    scales = _set_depths(model, steering.freeze_stages, steering.layer_decay)
    optimizer = build_optimizer(
        model, kind=steering.optimiser, lr=steering.lr, weight_decay=steering.weight_decay, scales=scales
    )
    return model, optimizer


def _list_batches(work: Work, taught: NDArray[np.float32] | None) -> Batches:
    steering = work.settings.training
    return Batches(
        squares=work.squares,
        targets=np.eye(work.num_classes, dtype=np.float32)[work.labels],
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
        share=lambda places: np.asarray(work.ranks.share_of(places)),  # type: ignore[arg-type]
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


def _set_depths(model: nn.Module, frozen: int, decay: float) -> dict[str, float]:
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
    labels = CrossEntropy(steering.label_smoothing, work.class_weights)
    return Distillation(labels, steering.teacher_share, steering.temperature) if taught else labels


def train_with_frozen_statistics(model: nn.Module) -> None:
    """Training mode, but BatchNorm keeps the pretrained mean and variance: small batches would only blur them."""
    model.train()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()


def validate(model: nn.Module, work: Work) -> tuple[float, float] | None:
    """Cross-entropy at the best temperature and accuracy over validation samples; None if a stop was requested.

    Every rank takes whole batches, so the numbers are those of one process alone, bit for bit.
    """
    model.eval()
    rows, ranks = work.val_rows, work.ranks
    logits = torch.zeros(len(rows), work.num_classes)
    kind, bfloat16 = work.device.split(":")[0], work.settings.training.precision == "bfloat16"

    def run(some: NDArray[np.int64], size: int) -> Tensor:
        found = []
        for start in range(0, len(some), size):
            squares = work.preprocessing.crop(work.squares[some[start : start + size]])
            images = torch.from_numpy(work.preprocessing.normalise(squares))
            found.append(model(images.to(device=work.device, memory_format=torch.channels_last)).float().cpu())
        return torch.cat(found)

    with torch.inference_mode(), torch.autocast(kind, torch.bfloat16, enabled=bfloat16):
        for first in range(0, len(rows), VALIDATION_BATCH * ranks.size):
            (stop,) = ranks.any(work.progress.stop_requested)
            if stop:
                return None
            start = first + ranks.rank * VALIDATION_BATCH
            some = rows[start : start + VALIDATION_BATCH]
            if len(some):
                found, _ = with_fewer(partial(run, some), VALIDATION_BATCH, lambda _: None)
                logits[start : start + len(some)] = found
    ranks.add([logits])
    labels = torch.from_numpy(work.labels[rows])
    return calibrated_loss(logits, labels), float((logits.argmax(dim=1) == labels).double().mean())


def calibrated_loss(logits: Tensor, labels: Tensor) -> float:
    """Mean cross-entropy with the logits divided by the one temperature that makes it lowest.

    Mixed images and smoothed labels teach a network modesty, for which plain cross-entropy would prefer the head that
    it started from, though it is wrong more often. How sure a network is can be put right afterwards; what it confuses
    can't.

    Args:
        logits: (N, K)
        labels: (N,)

    Source: Guo et al., "On Calibration of Modern Neural Networks", 2017, arXiv:1706.04599, section 4.2.
    """

    def loss(log_temperature: float) -> float:
        return float(nn.functional.cross_entropy(logits.double() / math.exp(log_temperature), labels))

    # By golden section: cross-entropy has one minimum in the temperature.
    low, high, ratio = -HOTTEST, HOTTEST, (math.sqrt(5) - 1) / 2
    first, second = high - ratio * (high - low), low + ratio * (high - low)
    losses = loss(first), loss(second)
    for _ in range(TEMPERATURES_TRIED):
        if losses[0] <= losses[1]:
            high, second = second, first
            first = high - ratio * (high - low)
            losses = loss(first), losses[0]
        else:
            low, first = first, second
            second = low + ratio * (high - low)
            losses = losses[1], loss(second)
    return min(losses)
