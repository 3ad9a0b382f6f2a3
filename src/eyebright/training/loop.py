"""The one training loop, read from top to bottom. It is given everything and knows no data, network or metric.

On a CPU, going on from any of its checkpoints gives the same weights, bit for bit, as never having stopped.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, final

import torch
from torch import nn

from eyebright.distributed.ranks import Ranks
from eyebright.progress import Progress
from eyebright.training.checkpoint import Keeper, NotFiniteError, Snapshot, share_snapshot
from eyebright.training.choice import Validation
from eyebright.training.diverged import DivergedError, Failure
from eyebright.training.history import EpochRecord
from eyebright.training.objective import Objective
from eyebright.training.optim import WeightAverage, learning_rate, set_learning_rate
from eyebright.training.plan import LoopPlan
from eyebright.training.state import PHASE, Everything, LoopState, copy_weights
from eyebright.training.step import Part, Stepper

MILESTONE_STEPS = 40  # at least so many steps lie between two places that training can be rolled back to
ROLLBACKS = 3
SLOWER = 0.1  # what a rollback multiplies the learning rate by


EpochOfBatches = Callable[[int, int], Iterator[tuple[Part, int]]]
"""Epoch (from 1) and the number of its first batch -> this process's share of each batch, and the size of the whole."""
Validate = Callable[[nn.Module], Validation | None]
"""Model -> how good it is; None if it was asked to stop."""
SetMode = Callable[[nn.Module], object]
Record = Callable[[Sequence[EpochRecord]], object]


class Timer(Protocol):
    """Tells how long training has taken."""

    @property
    def seconds(self) -> float: ...


@dataclass(frozen=True, kw_only=True)
class LoopResult:
    """How a loop went; the model holds the weights of the epoch that was kept."""

    records: tuple[EpochRecord, ...]
    kept_epoch: int
    interrupted: bool


def run_loop(
    model: nn.Module,
    batches: EpochOfBatches,
    objective: Objective,
    optimizer: torch.optim.Optimizer,
    validate: Validate,
    plan: LoopPlan,
    *,
    keeper: Keeper,
    progress: Progress,
    start: Snapshot | None = None,
    beside: Mapping[str, Any] | None = None,
    clock: Timer | None = None,
    ranks: Ranks | None = None,
    average: WeightAverage | None = None,
    set_train_mode: SetMode = nn.Module.train,
    record: Record = lambda _: None,
) -> LoopResult:
    """Train, measure after every epoch, and leave the model with the weights of one of them.

    That is the one of the lowest validation loss, or a later one whose loss is higher by no more than a standard error:
    few validation samples can't tell such two apart, and what was trained longer is better more often than not. Not by
    accuracy, which jumps about too much. How the model came in counts as epoch 0. If a stop is requested, everything is
    saved within a step and the choice among the epochs so far is kept.

    Args:
        model: on the plan's device already.
        batches: see `EpochOfBatches`.
        objective: the loss.
        optimizer: of the model's parameters; its learning rate is set here at each step.
        validate: see `Validate`; it may change the model's mode.
        plan: how long and how fast.
        keeper: where snapshots go.
        progress: shown in steps.
        start: a snapshot of this loop to go on from; None begins anew.
        beside: plain values that every snapshot holds too, for whoever called.
        clock: how long training has taken, over all starts.
        ranks: the processes that train together; each has the same model and takes its share of every batch.
        average: if there is one, it is what is measured and kept.
        set_train_mode: called before each epoch; the plain one unfreezes everything.
        record: told all results so far after each epoch.

    Raises:
        DivergedError: the loss was no number, and was so again after each of three new starts at a lower rate.
        OutputError: a snapshot can't be written; the last one stays.
    """
    run = _Run(Everything(model, optimizer, average), plan, keeper, ranks or Ranks(), progress, clock, beside or {})
    state = run.begin(start)
    stepper = Stepper(model, objective, plan, run.ranks, progress)
    total = plan.epochs * plan.batches_per_epoch
    progress.start("training", total)
    interrupted = state.epoch == 0 and not run.measure(validate, record)
    while not interrupted and state.epoch <= plan.epochs and not run.out_of_patience:
        if run.reached_milestone and not run.save(milestone=True):
            state = run.roll_back(None)
        set_train_mode(model)
        for batch, size in batches(state.epoch, state.batch):
            stop, due = run.ranks.any(progress.stop_requested, run.ranks.leads and keeper.due)
            if (stop or due) and not run.save():
                state = run.roll_back(None)
                break
            if stop:
                interrupted = True
                break
            rate = learning_rate(state.step, total, highest=plan.highest_lr, warmup=plan.warmup)
            set_learning_rate(optimizer, rate * SLOWER**state.rollbacks)
            stepper.step, stepper.micro_batch = state.step, state.micro_batch
            loss, length = stepper.add_gradients(batch, size)
            state.micro_batch = stepper.micro_batch
            if not math.isfinite(length):
                state = run.roll_back(state.batch)
                break
            optimizer.step()
            state.step += 1
            state.batch += 1
            state.loss_sum += loss * size
            if average is not None:
                average.update(model, state.step)
            progress.advance(state.step, run.note(loss, size))
        else:
            interrupted = not run.measure(validate, record)
    progress.finish()
    if run.out_of_patience and state.epoch <= plan.epochs:
        progress.say(
            f"training ended after {state.epoch - 1} of {plan.epochs} epochs, the last {plan.patience} of them without "
            "a lower validation loss"
        )
    model.load_state_dict(run.everything.kept)
    return LoopResult(records=tuple(state.records), kept_epoch=state.kept_epoch, interrupted=interrupted)


@final
class _Run:
    """What the loop does beside its steps."""

    def __init__(
        self,
        everything: Everything,
        plan: LoopPlan,
        keeper: Keeper,
        ranks: Ranks,
        progress: Progress,
        clock: Timer | None,
        beside: Mapping[str, Any],
    ) -> None:
        self.everything = everything
        self.plan = plan
        self.ranks = ranks
        self.state = LoopState(micro_batch=plan.micro_batch)
        self._keeper = keeper
        self._progress = progress
        self._clock = clock
        self._beside = beside
        self._began = self._stepped = time.monotonic()
        self._pace = 0.0

    @property
    def seconds(self) -> float:
        """Spent training so far."""
        return time.monotonic() - self._began if self._clock is None else self._clock.seconds

    @property
    def out_of_patience(self) -> bool:
        """Whether too many epochs in a row were no better than the best trained one before them."""
        return 0 < self.plan.patience <= self.state.epoch - 1 - self.state.best_trained

    @property
    def reached_milestone(self) -> bool:
        """Whether here, between two epochs, is a place to be able to come back to."""
        since = self.state.step - self.state.last_milestone
        return self.state.batch == 0 and (since >= MILESTONE_STEPS or self.state.step == 0)

    def begin(self, start: Snapshot | None) -> LoopState:
        """Go on from a snapshot, or begin with the same weights on every rank."""
        if start is None:
            self.ranks.spread(list(self.everything.model.state_dict().values()))
            return self.state
        self.state = self.everything.restore(start)
        return self.state

    def save(self, *, milestone: bool = False) -> bool:
        """Keep everything; False if something in it is no number."""
        self.state.micro_batch = self.ranks.lowest(self.state.micro_batch)
        now = LoopState(**vars(self.state))
        now.seconds = self.seconds
        if milestone:
            now.last_milestone = self.state.last_milestone = now.step
        broken = False
        if self.ranks.leads:
            try:
                self._keeper.save(self.everything.capture(now, self._beside), milestone=milestone)
            except NotFiniteError:
                broken = True
        (broken,) = self.ranks.any(broken)
        self._stepped = time.monotonic()
        return not broken

    def roll_back(self, batch: int | None) -> LoopState:
        """Everything as it was at the last milestone, to be gone on from at a lower learning rate.

        Args:
            batch: that failed; None where the weights did.

        Raises:
            DivergedError: once too often; the model is left with the weights of the epoch that was kept.
        """
        state, highest = self.state, self.plan.highest_lr
        failure = Failure(epoch=state.epoch, batch=batch, step=state.step, highest_lr=highest * SLOWER**state.rollbacks)
        failures, rollbacks = [*state.failures, failure], state.rollbacks
        snapshot = share_snapshot(self.ranks, self._keeper.load(milestone=True) if self.ranks.leads else None)
        if rollbacks == ROLLBACKS or snapshot is None or snapshot.phase != PHASE:
            self.everything.model.load_state_dict(self.everything.kept)
            raise DivergedError(_advise(failure, rollbacks, self.plan), failures, tuple(self.state.records))
        self.state = self.everything.restore(snapshot)
        self.state.rollbacks, self.state.failures = rollbacks + 1, failures
        rate = highest * SLOWER**self.state.rollbacks
        self._progress.warn(
            f"the loss was no number at step {failure.step}, in epoch {failure.epoch}: back to step {self.state.step}, "
            f"and on with a tenth of the learning rate ({rate:g} at most)"
        )
        self.save(milestone=True)  # or the newest snapshot would be one from after it
        return self.state

    def measure(self, validate: Validate, record: Record) -> bool:
        """Validate, note the results, and turn to the next epoch; False if a stop was requested on the way."""
        state, model, average = self.state, self.everything.model, self.everything.average
        current = None
        if average is not None and state.epoch > 0:
            current = copy_weights(model)
            model.load_state_dict(average.weights)
        measured = validate(model)
        is_kept = measured is not None and self._is_worth_keeping(measured)
        if is_kept:
            state.kept_epoch = state.epoch
            self.everything.kept = copy_weights(model)
            state.records = [replace(record, kept=False) for record in state.records]
        if current is not None:
            model.load_state_dict(current)
        if measured is None:
            self.save()
            return False
        state.records.append(
            EpochRecord(
                phase="epochs",
                number=state.epoch,
                train_loss=None if state.epoch == 0 else state.loss_sum / self.plan.samples_per_epoch,
                val_loss=measured.loss,
                val_accuracy=measured.accuracy,
                seconds=self.seconds,
                kept=is_kept,
            )
        )
        record(state.records)
        state.epoch, state.batch, state.loss_sum = state.epoch + 1, 0, 0.0
        return True

    def _is_worth_keeping(self, measured: Validation) -> bool:
        """Whether the epoch just measured has the lowest loss, or is no worse than that as far as can be told."""
        state, everything = self.state, self.everything
        if not math.isfinite(measured.loss):
            return False
        # How it came in is no measure of patience: its head was chosen on the same validation samples.
        if state.epoch > 0 and measured.loss < state.best_trained_loss:
            state.best_trained, state.best_trained_loss = state.epoch, measured.loss
        if everything.lowest_losses is None or measured.loss < state.lowest_loss:
            state.lowest_loss, state.lowest_epoch = measured.loss, state.epoch
            everything.lowest_losses = measured.losses
            return True
        return not measured.is_worse_than(everything.lowest_losses)

    def note(self, loss: float, size: int) -> str:
        """What is shown beside the bar."""
        now = time.monotonic()
        pace, self._stepped = size / max(now - self._stepped, 1e-9), now
        self._pace = pace if self._pace == 0 else 0.9 * self._pace + 0.1 * pace
        accuracy = self.state.records[-1].val_accuracy if self.state.records else math.nan
        return (
            f"epoch {self.state.epoch} of {self.plan.epochs}, loss {loss:.3f}, validation accuracy "
            f"{accuracy:.1%}, {self._pace:.0f} images/s"
        )


def _advise(failure: Failure, rollbacks: int, plan: LoopPlan) -> str:
    """What to say when nothing helped."""
    where = f"training failed in epoch {failure.epoch}, at step {failure.step}: the loss is no number any more"
    lower = f"a lower learning rate: --set training.lr={plan.highest_lr / 10 ** (rollbacks + 1):g}"
    if not rollbacks:
        return f"{where}. Try {lower}"
    tried = f"{where}, as it was at {rollbacks} lower learning rates, down to {failure.highest_lr:g}."
    exact = "more exact numbers: --set training.precision=float32; or " if plan.bfloat16 else ""
    return f"{tried} Try {exact}{lower}; and look for odd images with: eyebright check"
