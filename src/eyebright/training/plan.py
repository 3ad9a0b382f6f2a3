"""What a training loop is to do."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class LoopPlan:
    """What is to be done."""

    epochs: int
    """How many at the most."""
    batches_per_epoch: int
    samples_per_epoch: int
    """In all batches of an epoch, over all processes."""
    highest_lr: float
    """See `optim.learning_rate`."""
    warmup: float
    """See `optim.learning_rate`."""
    micro_batch: int
    """How many samples go through the network at once; the gradients of a batch are added up."""
    seed: int = 0
    """Dropout depends on it, the step and the place in the batch, and on nothing else."""
    patience: int = 0
    """After so many epochs whose validation loss was no lower than an earlier epoch's training ends; 0: never."""
    bfloat16: bool = False
    """Whether the forward pass computes in bfloat16; weights, gradients and steps stay float32."""
    compiled: bool = False
    """Whether `torch.compile` makes the network's forward and backward pass."""
    device: str = "cpu"
