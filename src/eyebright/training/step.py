"""One step's gradient, added up from parts of a batch.

Which samples make a part depends on the batch and the plan alone, and on CPUs the parts are added up by halves, halves
of halves and eighths. So two, four or eight processes, each of which computes some of the parts, come to what one
process alone comes to: with as many threads each, bit for bit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, final

import numpy as np
import torch
from torch import Tensor, nn

from eyebright.distributed.ranks import Ranks
from eyebright.memory import with_fewer
from eyebright.progress import Progress
from eyebright.training.objective import LabelledBatch, Objective
from eyebright.training.plan import LoopPlan

CLIP = 1.0  # the longest gradient that a step may follow
HALVINGS = 3
"""How often the parts of a batch are halved to be added up; each costs a copy of the gradient, if there are so many."""


class Part(LabelledBatch, Protocol):
    """Some samples of a batch."""

    def __len__(self) -> int: ...

    def split(self, sizes: Sequence[int]) -> Sequence[Part]:
        """In runs of neighbours of these sizes."""
        ...


def list_part_sizes(size: int, micro_batch: int) -> list[int]:
    """Of the parts of a batch of `size` samples, in order: about `micro_batch` each, and alike but for the last."""
    length = -(-size // max(1, round(size / micro_batch)))
    return [min(length, size - start) for start in range(0, size, length)]


def list_own_samples(size: int, micro_batch: int, ranks: Ranks) -> range:
    """Which of a batch's samples this rank computes: whole parts, and none if there are too few parts."""
    sizes = list_part_sizes(size, micro_batch)
    own = ranks.share_of(len(sizes))
    return range(sum(sizes[: own.start]), sum(sizes[: own.stop]))


@final
class Stepper:
    """Adds up the gradient of a batch, part by part and rank by rank; the step itself is the caller's.

    Args:
        model, objective, plan: see `run_loop`.
        ranks: the processes that train together.
        progress: told when memory has run out.
    """

    def __init__(
        self,
        model: nn.Module,
        objective: Objective,
        plan: LoopPlan,
        ranks: Ranks,
        progress: Progress,
    ) -> None:
        self._model = model
        self._forward: nn.Module = torch.compile(model) if plan.compiled else model  # type: ignore[assignment]
        self._objective = objective
        self._plan = plan
        self._ranks = ranks
        self._progress = progress
        self.step = 0
        """Which step this is; dropout depends on it."""
        self.micro_batch = plan.micro_batch
        """How many samples go through the network at once: fewer than the plan's where memory has run out."""

    def add_gradients(self, batch: Part, size: int) -> tuple[float, float]:
        """The gradient of a whole batch into the model, no longer than `CLIP`, and what BatchNorm learns of it.

        Args:
            batch: this process's share, by `list_own_samples`.
            size: of the whole batch.

        Returns:
            The mean loss of the whole batch, and how long the gradient was.
        """
        sizes = list_part_sizes(size, self._plan.micro_batch)
        own = self._ranks.share_of(len(sizes))
        parts = dict(zip(own, batch.split([sizes[number] for number in own]), strict=True))
        total = _Total(self._model)

        def add_part(number: int, micro_batch: int) -> None:
            part = parts[number]
            for place, some in enumerate(part.split(list_part_sizes(len(part), min(micro_batch, len(part))))):
                torch.manual_seed(_seed(self._plan.seed, self.step, number, place))
                with torch.autocast(self._plan.device.split(":")[0], torch.bfloat16, enabled=self._plan.bfloat16):
                    share = self._objective(self._forward, some) * (len(some) / size)
                torch.autograd.backward(share)
                total.add(share.detach(), len(some) / size)

        def add_all(numbers: range, halvings: int, micro_batch: int) -> None:
            if halvings <= 0 or len(numbers) <= 2:
                for number in numbers:
                    add_part(number, micro_batch)
                return
            middle = len(numbers) // 2
            add_all(numbers[:middle], halvings - 1, micro_batch)
            total.put_aside()
            add_all(numbers[middle:], halvings - 1, micro_batch)
            total.take_back()

        def begin(micro_batch: int) -> None:
            total.reset()
            # Several processes are halves, quarters or eighths already; a GPU does not add the same way twice.
            halvings = HALVINGS + 1 - self._ranks.size.bit_length() if self._plan.device == "cpu" else 0
            add_all(own, halvings, micro_batch)

        if own:
            _, self.micro_batch = with_fewer(begin, self.micro_batch, self._say_fewer)
        else:
            total.reset()
        if self._ranks.size > 1:
            self._ranks.add(total.tensors())
        loss = total.finish()
        length = nn.utils.clip_grad_norm_(self._model.parameters(), CLIP)
        # Asked for once, when all is under way: each time, a GPU's queue runs empty.
        mean_loss, how_long = torch.stack([loss.to(length.device), length.to(loss.dtype)]).tolist()
        return mean_loss, how_long

    def _say_fewer(self, micro_batch: int) -> None:
        self._progress.warn(
            f"out of memory: on with {micro_batch} image{'s' * (micro_batch > 1)} at once; "
            "a step still follows the gradient of the whole batch"
        )


@final
class _Total:
    """What parts of one batch add up to: gradients, which lie in the model, the loss, and BatchNorm's statistics.

    Every part moves the statistics from where they were before the step; the mean of where they come to, each part
    weighing as much as it has samples, is where they go.
    """

    def __init__(self, model: nn.Module) -> None:
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        learning = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d) and module.training]
        self._counters = [norm.num_batches_tracked for norm in learning if norm.num_batches_tracked is not None]
        found = [(norm.running_mean, norm.running_var) for norm in learning]
        self._statistics = [tensor for pair in found for tensor in pair if tensor is not None]
        self._before, self._counted = _copies(self._statistics), _copies(self._counters)
        self._beside: list[Tensor] = []
        """The loss, then the statistics; empty before the first part."""
        self._aside: list[tuple[list[Tensor | None], list[Tensor]]] = []

    def reset(self) -> None:
        """Nothing is added yet."""
        for parameter in self._trained:
            parameter.grad = None
        self._beside, self._aside = [], []
        self._rewind()

    def add(self, loss: Tensor, weight: float) -> None:
        """A part's loss and the statistics that it came to; its gradients were added by `backward`."""
        wide = loss.to(_widest(loss.device))
        found = [wide, *torch._foreach_mul(self._statistics, weight)] if self._statistics else [wide]
        self._beside = _sum(self._beside, found) if self._beside else found
        self._rewind()

    def put_aside(self) -> None:
        """The total begins anew, and what it was waits."""
        self._aside.append(([parameter.grad for parameter in self._trained], self._beside))
        for parameter in self._trained:
            parameter.grad = None
        self._beside = []

    def take_back(self) -> None:
        """Add what was put aside last."""
        grads, beside = self._aside.pop()
        for parameter, grad in zip(self._trained, grads, strict=True):
            if parameter.grad is None:
                parameter.grad = grad
            elif grad is not None:
                parameter.grad.add_(grad)
        self._beside = _sum(beside, self._beside)

    def tensors(self) -> list[Tensor]:
        """All of it, to be added up over ranks; zeros where no part fell to this one."""
        for parameter in self._trained:
            if parameter.grad is None:
                parameter.grad = torch.zeros_like(parameter)
        if not self._beside:
            device = self._trained[0].device
            zero = torch.zeros((), dtype=_widest(device), device=device)
            self._beside = [zero, *(torch.zeros_like(tensor) for tensor in self._statistics)]
        return [*(parameter.grad for parameter in self._trained if parameter.grad is not None), *self._beside]

    def finish(self) -> Tensor:
        """Move the statistics to where they go; returns the loss."""
        loss, *statistics = self._beside
        _copy(self._statistics, statistics)
        if self._counters:
            _copy(self._counters, list(torch._foreach_add(self._counted, 1)))
        return loss

    def _rewind(self) -> None:
        _copy(self._statistics, self._before)


def _copy(to: list[Tensor], values: list[Tensor]) -> None:
    """Each value into its tensor: on a GPU one errand, not one for each of a hundred."""
    if to:
        torch._foreach_copy_(to, values)


def _copies(of: list[Tensor]) -> list[Tensor]:
    made = [torch.empty_like(tensor) for tensor in of]
    _copy(made, of)
    return made


def _sum(some: list[Tensor], others: list[Tensor]) -> list[Tensor]:
    """Each with its other; the loss, which comes first, is of another type than the statistics."""
    rest = torch._foreach_add(some[1:], others[1:]) if len(some) > 1 else []
    return [some[0] + others[0], *rest]


def _widest(device: torch.device) -> torch.dtype:
    """float64, which Apple's GPUs do not have."""
    return torch.float32 if device.type == "mps" else torch.float64


def _seed(*parts: int) -> int:
    """One seed made of several numbers, unlike that of any other numbers."""
    return int(np.random.SeedSequence(parts).generate_state(1, np.uint64)[0] >> np.uint64(1))
