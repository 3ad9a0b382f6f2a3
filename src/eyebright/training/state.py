"""All that training is at one step, as it goes into a checkpoint and comes back from one."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from typing import Any, final

import torch
from torch import Tensor, nn

from eyebright.training.checkpoint import Snapshot
from eyebright.training.diverged import Failure
from eyebright.training.history import EpochRecord
from eyebright.training.optim import WeightAverage, load_optimizer_tensors, optimizer_tensors

PHASE = "epochs"
_LOSSES = ("lowest_loss", "best_trained_loss")


@dataclass(kw_only=True)
class LoopState:
    """Where the loop is. Plain numbers: this is kept as JSON."""

    epoch: int = 0
    """The one that is being trained, from 1; 0 before the first validation."""
    batch: int = 0
    """How many of its batches are done."""
    step: int = 0
    """How many steps were taken in all."""
    loss_sum: float = 0.0
    """Over this epoch's samples so far."""
    lowest_epoch: int = 0
    """The one of the lowest validation loss."""
    lowest_loss: float = math.inf
    best_trained: int = 0
    """The one of the lowest validation loss among those that were trained."""
    best_trained_loss: float = math.inf
    kept_epoch: int = 0
    """The one whose weights are kept: that one, or a later one that is no worse as far as can be told."""
    micro_batch: int = 0
    """What is left of the plan's after memory ran out."""
    rollbacks: int = 0
    failures: list[Failure] = field(default_factory=list)
    """What was rolled back from."""
    last_milestone: int = 0
    """The step of the last place that can be come back to."""
    seconds: float = 0.0
    """Spent training, over all starts."""
    records: list[EpochRecord] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values; infinity is None."""
        losses = {name: getattr(self, name) for name in _LOSSES}
        return {**asdict(self), **{name: loss if math.isfinite(loss) else None for name, loss in losses.items()}}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> LoopState:
        """What `to_json` wrote."""
        known = {field.name for field in fields(cls)}
        plain = {name: value for name, value in values.items() if name in known}
        plain |= {name: math.inf if plain.get(name) is None else plain[name] for name in _LOSSES}
        if "best_trained" not in plain:  # written before that was kept
            trained = [record for record in plain["records"] if record["number"] > 0]
            best = min(trained, key=lambda record: record["val_loss"], default={"number": 0, "val_loss": math.inf})
            plain |= {"best_trained": int(best["number"]), "best_trained_loss": best["val_loss"]}
        plain["failures"] = [Failure(**failure) for failure in plain.get("failures", [])]
        plain["records"] = [EpochRecord(**record) for record in plain["records"]]
        return cls(**plain)


@final
class Everything:
    """A network in training with all that belongs to it.

    Args:
        model: the network.
        optimizer: of its parameters.
        average: of its weights, if it is kept.
    """

    def __init__(self, model: nn.Module, optimizer: torch.optim.Optimizer, average: WeightAverage | None) -> None:
        self.model = model
        self.optimizer = optimizer
        self.average = average
        self.kept = copy_weights(model)
        self.lowest_losses: Tensor | None = None
        """(N,) the loss of each validation sample in the epoch of the lowest loss; None before the first."""

    def capture(self, state: LoopState, beside: Mapping[str, Any]) -> Snapshot:
        """All of it, with some values of the caller's beside; the tensors are not copied."""
        parts: dict[str, Mapping[str, Tensor]] = {
            "weights": self.model.state_dict(),
            "optimizer": optimizer_tensors(self.optimizer),
            "kept": self.kept,
        }
        if self.lowest_losses is not None:
            parts["lowest"] = {"losses": self.lowest_losses}
        if self.average is not None:
            parts["average"] = self.average.weights
        return Snapshot(phase=PHASE, state={**beside, **state.to_json()}, parts=parts)

    def restore(self, snapshot: Snapshot) -> LoopState:
        """Put everything back as `capture` found it."""
        self.model.load_state_dict(snapshot.parts["weights"])
        load_optimizer_tensors(self.optimizer, snapshot.parts["optimizer"])
        device = next(self.model.parameters()).device
        self.kept = {name: tensor.to(device) for name, tensor in snapshot.parts["kept"].items()}
        lowest = snapshot.parts.get("lowest")
        self.lowest_losses = None if lowest is None else lowest["losses"].clone()
        if self.average is not None:
            for name, tensor in self.average.weights.items():
                tensor.copy_(snapshot.parts["average"][name])
        return LoopState.from_json(snapshot.state)


def copy_weights(model: nn.Module) -> dict[str, Tensor]:
    """All weights and running statistics, apart from the model."""
    return {name: tensor.detach().clone() for name, tensor in model.state_dict().items()}
