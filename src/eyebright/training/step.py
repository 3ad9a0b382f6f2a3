"""One step's gradient, added up from parts of a batch and from the processes that train together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
import torch
from torch import nn

from eyebright.distributed.ranks import Ranks
from eyebright.progress import Progress
from eyebright.training.memory import with_fewer
from eyebright.training.objective import LabelledBatch, Objective
from eyebright.training.plan import LoopPlan

CLIP = 1.0  # the longest gradient that a step may follow


class Part(LabelledBatch, Protocol):
    """Some samples of a batch."""

    def __len__(self) -> int: ...


class SplittableBatch(Part, Protocol):
    """A batch whose gradient can be added up from parts."""

    def split(self, parts: int) -> Sequence[Part]: ...


@final
class Stepper:
    """Adds up the gradient of a batch, part by part and rank by rank; the step itself is the caller's.

    Args:
        model, objective, optimizer, plan: see `run_loop`.
        ranks: the processes that train together.
        progress: told when memory has run out.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        optimizer: torch.optim.Optimizer,
        plan: LoopPlan,
        ranks: Ranks,
        progress: Progress,
    ) -> None:
        self._model = model
        self._forward: nn.Module = torch.compile(model) if plan.compiled else model  # type: ignore[assignment]
        self._objective = objective
        self._optimizer = optimizer
        self._plan = plan
        self._ranks = ranks
        self._progress = progress
        self.step = 0
        """Which step this is; dropout depends on it."""
        self.micro_batch = plan.micro_batch
        """How many samples go through the network at once."""

    def add_gradients(self, batch: SplittableBatch, size: int) -> tuple[float, float]:
        """The gradient of a whole batch into the model, no longer than `CLIP`.

        Args:
            batch: this process's share.
            size: of the whole batch.

        Returns:
            What this process's share adds to the batch's mean loss, and how long the gradient was.
        """

        def add(micro_batch: int) -> torch.Tensor:
            self._optimizer.zero_grad(set_to_none=True)
            losses: list[torch.Tensor] = []
            for number, part in enumerate(batch.split(max(1, round(len(batch) / micro_batch)))):
                torch.manual_seed(_seed(self._plan.seed, self.step, self._ranks.rank, number))
                with torch.autocast(self._plan.device.split(":")[0], torch.bfloat16, enabled=self._plan.bfloat16):
                    share = self._objective(self._forward, part) * (len(part) / size)
                torch.autograd.backward(share)
                losses.append(share.detach())
            return torch.stack(losses).double().sum()

        loss = torch.zeros((), dtype=torch.float64)
        if len(batch):
            loss, self.micro_batch = with_fewer(add, self.micro_batch, self._say_fewer)
        else:
            self._optimizer.zero_grad(set_to_none=True)
        if self._ranks.size > 1:
            trained = [parameter for parameter in self._model.parameters() if parameter.requires_grad]
            for parameter in trained:
                if parameter.grad is None:  # no sample of this batch fell to this process
                    parameter.grad = torch.zeros_like(parameter)
            self._ranks.add([parameter.grad for parameter in trained if parameter.grad is not None])
        length = nn.utils.clip_grad_norm_(self._model.parameters(), CLIP)
        # Asked for once, when all is under way: each time, a GPU's queue runs empty.
        added, how_long = torch.stack([loss.to(length.device), length.double()]).tolist()
        return added, how_long

    def _say_fewer(self, micro_batch: int) -> None:
        self._progress.warn(
            f"out of memory: on with {micro_batch} images at once instead of {2 * micro_batch}; "
            "a step still follows the gradient of the whole batch"
        )


def _seed(*parts: int) -> int:
    """One seed made of several numbers, unlike that of any other numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
