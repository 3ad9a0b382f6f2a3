"""How a batch is cut into parts and added up: the same on any number of processes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial

import pytest
import torch
from torch import Tensor, nn

from eyebright.data.loader import Batch
from eyebright.distributed.ranks import Ranks
from eyebright.progress import SilentProgress
from eyebright.training.objective import CrossEntropy
from eyebright.training.plan import LoopPlan
from eyebright.training.step import Stepper, list_own_samples, list_part_sizes

PLAN = LoopPlan(epochs=1, batches_per_epoch=1, samples_per_epoch=1, highest_lr=0.1, warmup=0, micro_batch=4, seed=3)
SIZES = [1, 2, 3, 7, 8, 13, 16, 19, 31, 32, 44, 52, 71]  # of 1 to 18 parts


def network(*, norm: bool = True, dropout: float = 0.3) -> nn.Sequential:
    torch.manual_seed(0)
    layers = [nn.Conv2d(2, 5, 3), *([nn.BatchNorm2d(5)] if norm else []), nn.ReLU(), nn.Flatten()]
    return nn.Sequential(*layers, nn.Dropout(dropout), nn.Linear(5 * 4, 3))


def batch_of(size: int) -> Batch:
    generator = torch.Generator().manual_seed(size)
    images = torch.randn(size, 2, 4, 4, generator=generator)
    return Batch(images=images, targets=torch.eye(3)[torch.arange(size) % 3])


@dataclass(frozen=True, kw_only=True)
class Joined(Ranks):
    """One of several ranks that take turns in one process, their totals added as `Ranks.add` adds on CPUs."""

    totals: list[list[Tensor]]

    def add(self, tensors: Sequence[Tensor]) -> None:
        self.totals.append([tensor.detach().clone() for tensor in tensors])
        if len(self.totals) == self.size:
            level = self.totals
            while len(level) > 1:
                level = [
                    [a + b for a, b in zip(*pair, strict=True)] for pair in zip(level[::2], level[1::2], strict=True)
                ]
            for tensor, total in zip(tensors, level[0], strict=True):
                tensor.detach().copy_(total)


def results(
    size: int, ranks: int = 1, plan: LoopPlan = PLAN, *, norm: bool = True, dropout: float = 0.3
) -> tuple[float, float, list[Tensor], dict[str, Tensor]]:
    """Loss, length of the gradient, gradients and weights (BatchNorm's statistics among them) after one batch."""
    totals: list[list[Tensor]] = []
    for rank in range(ranks):
        model = network(norm=norm, dropout=dropout).train()
        mine = Joined(rank=rank, size=ranks, totals=totals)
        own = list_own_samples(size, plan.micro_batch, mine)
        whole = batch_of(size)
        share = Batch(images=whole.images[own.start : own.stop], targets=whole.targets[own.start : own.stop])
        stepper = Stepper(model, CrossEntropy(), plan, mine, SilentProgress())
        loss, length = stepper.add_gradients(share, size)
    grads = [parameter.grad for parameter in model.parameters() if parameter.grad is not None]
    return loss, length, grads, model.state_dict()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("ranks", [2, 4, 8])
def test_ranks_add_up_to_what_one_process_computes_bit_for_bit(size: int, ranks: int) -> None:
    alone, together = results(size), results(size, ranks)
    assert together[:2] == alone[:2]
    for ours, theirs in zip(together[2], alone[2], strict=True):
        assert torch.equal(ours, theirs)
    for name, tensor in together[3].items():
        assert torch.equal(tensor, alone[3][name]), name


@pytest.mark.parametrize("size", [7, 16])
def test_parts_add_up_to_the_gradient_of_the_whole_batch(size: int) -> None:
    whole = results(size, plan=replace(PLAN, micro_batch=size), norm=False, dropout=0.0)
    for micro_batch in (1, 2, 5):
        parts = results(size, plan=replace(PLAN, micro_batch=micro_batch), norm=False, dropout=0.0)
        assert parts[0] == pytest.approx(whole[0], rel=1e-5)
        for ours, theirs in zip(parts[2], whole[2], strict=True):
            torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-6)


def test_the_statistics_of_batchnorm_are_the_mean_of_where_the_parts_come_to() -> None:
    *_, after = results(10, plan=replace(PLAN, micro_batch=5))
    model, batch = network().train(), batch_of(10)
    with torch.no_grad():
        found = model[0](batch.images)
    means = torch.stack([part.mean(dim=(0, 2, 3)) for part in found.split(5)])
    torch.testing.assert_close(after["1.running_mean"], 0.1 * means.mean(dim=0))
    assert int(after["1.num_batches_tracked"]) == 1
    model(batch.images)
    *_, whole = results(10, plan=replace(PLAN, micro_batch=10))
    for name in ("1.running_mean", "1.running_var", "1.num_batches_tracked"):
        assert torch.equal(whole[name], model.state_dict()[name])  # of one part: as ever


def test_batchnorm_that_keeps_its_statistics_keeps_them() -> None:
    model = network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    stepper = Stepper(model.eval(), CrossEntropy(), PLAN, Ranks(), SilentProgress())
    stepper.add_gradients(batch_of(9), 9)
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("size", [16, 9])
def test_what_torch_compiles_adds_up_the_same_gradients(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    # With all that compiling does to a network but for the machine code, which takes a compiler and a minute.
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))
    found = []
    for compiled in (False, True):
        model = network(dropout=0.0).train()
        stepper = Stepper(model, CrossEntropy(), replace(PLAN, compiled=compiled), Ranks(), SilentProgress())
        for _ in range(2):
            stepper.add_gradients(batch_of(size), size)
        grads = {f"{name}.grad": parameter.grad for name, parameter in model.named_parameters()}
        found.append({**model.state_dict(), **grads})
    assert found[0].keys() == found[1].keys()
    for name, tensor in found[0].items():
        assert tensor is not None
        torch.testing.assert_close(found[1][name], tensor, rtol=1e-5, atol=1e-6)


def out_of_memory(model: nn.Sequential, most: int) -> Iterator[None]:
    """While it is gone on with, the model refuses more images at once."""

    def refuse(_: nn.Module, given: tuple[Tensor]) -> None:
        if len(given[0]) > most:
            model[1](model[0](given[0]))  # what ran before it did had moved BatchNorm's statistics
            raise MemoryError

    handle = model.register_forward_pre_hook(refuse)
    yield
    handle.remove()


def test_where_memory_runs_out_nothing_of_the_first_attempt_is_left() -> None:
    said: list[str] = []

    class Told(SilentProgress):
        def warn(self, text: str) -> None:
            said.append(text)

    found = []
    for most, micro_batch in ((2, 8), (99, 2)):
        model = network(dropout=0.0).train()
        plan = replace(PLAN, micro_batch=8)
        stepper = Stepper(model, CrossEntropy(), plan, Ranks(), Told())
        stepper.micro_batch = micro_batch
        for _ in out_of_memory(model, most):
            stepper.add_gradients(batch_of(16), 16)
        assert stepper.micro_batch == 2
        found.append((model.state_dict(), [parameter.grad for parameter in model.parameters()]))
    assert [text.split(":")[0] for text in said] == ["out of memory"] * 2
    for name, tensor in found[0][0].items():
        assert torch.equal(tensor, found[1][0][name]), name
    for one, other in zip(found[0][1], found[1][1], strict=True):
        assert one is not None
        assert other is not None
        assert torch.equal(one, other)


@pytest.mark.parametrize("size", range(1, 40))
def test_parts_are_the_whole_and_every_sample_is_one_ranks(size: int) -> None:
    for micro_batch in (1, 3, 8, 16, 64):
        sizes = list_part_sizes(size, micro_batch)
        assert sum(sizes) == size
        assert min(sizes) > 0
        assert max(sizes) <= max(1.5 * micro_batch, 1)
        for ranks in (1, 2, 3, 8):
            shares = [list_own_samples(size, micro_batch, Ranks(rank=rank, size=ranks)) for rank in range(ranks)]
            assert [sample for share in shares for sample in share] == list(range(size))
