from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch
from torch import Tensor, nn

from eyebright.progress import SilentProgress
from eyebright.training.loop import DivergedError, LoopResult, run_loop
from eyebright.training.objective import CrossEntropy
from eyebright.training.optim import learning_rate


class Pixelwise(nn.Module):
    """The smallest classifier: a linear layer over four pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.linear = nn.Linear(4, 2)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(x.flatten(1))  # type: ignore[no-any-return]


def batches(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(epoch)
    for _ in range(5):
        labels = torch.randint(0, 2, (8,), generator=generator)
        images = torch.randn(8, 1, 2, 2, generator=generator) + labels[:, None, None, None]
        yield images, labels


def run(
    model: nn.Module, scores: list[tuple[float, float]], progress: object = None, lr: float = 0.1
) -> tuple[LoopResult, list[Tensor]]:
    """Train with made-up validation results; also returns the weights at each validation."""
    seen: list[Tensor] = []

    def validate(network: nn.Module) -> tuple[float, float]:
        seen.append(next(network.parameters()).detach().clone())
        return scores[len(seen) - 1]

    result = run_loop(
        model,
        batches,
        CrossEntropy(),
        torch.optim.SGD(model.parameters(), lr=lr),
        validate,
        epochs=len(scores) - 1,
        batches_per_epoch=5,
        highest_lr=lr,
        warmup=0.2,
        micro_batch=8,
        device="cpu",
        progress=progress or SilentProgress(),  # type: ignore[arg-type]
    )
    return result, seen


@pytest.mark.parametrize(
    ("scores", "best"),
    [
        ([(1, 0.5), (0.8, 0.7), (0.6, 0.9), (0.7, 0.8)], 2),
        ([(0.5, 0.9), (0.6, 0.7), (0.7, 0.8)], 0),  # how it came in counts too
        ([(1, 0.5), (0.7, 0.9), (0.6, 0.8)], 2),  # by the loss, whatever the accuracy
        ([(1, 0.5), (0.7, 0.9), (0.7, 0.9)], 1),  # among equals the first
        ([(1, 0.5), (float("nan"), 0.9), (0.9, 0.6), (float("-inf"), 1.0)], 2),  # never one without a loss
        ([(float("nan"), 0.5), (2, 0.3)], 1),
    ],
)
def test_the_best_epoch_is_kept(scores: list[tuple[float, float]], best: int) -> None:
    model = Pixelwise()
    result, seen = run(model, scores)
    assert result.best_epoch == best
    assert torch.equal(model.linear.weight, seen[best])
    assert [record.number for record in result.records] == list(range(len(scores)))
    assert [record.val_accuracy for record in result.records] == [accuracy for _, accuracy in scores]
    assert result.records[0].train_loss is None


def test_it_learns() -> None:
    model = Pixelwise()
    result, _ = run(model, [(1, 0.1 * epoch) for epoch in range(10)], lr=0.5)
    losses = [record.train_loss for record in result.records[1:]]
    assert losses[-1] is not None
    assert losses[0] is not None
    assert losses[-1] < 0.8 * losses[0]


def test_a_request_to_stop_keeps_the_best_so_far() -> None:
    class StopAfter(SilentProgress):  # type: ignore[misc]
        def advance(self, done: int, note: str = "") -> None:
            self.stop_requested = done >= 12

    model = Pixelwise()
    result, seen = run(model, [(1, 0.5), (0.7, 0.8), (0.8, 0.7), (0.6, 0.9)], StopAfter())
    assert result.interrupted
    assert [record.number for record in result.records] == [0, 1, 2]
    assert torch.equal(model.linear.weight, seen[1])


def test_a_loss_that_is_no_number_ends_with_advice_and_finite_weights() -> None:
    model = Pixelwise()

    def poisoned(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for number, (images, labels) in enumerate(batches(epoch)):
            yield (images * float("nan") if epoch == 2 and number == 3 else images), labels

    with pytest.raises(DivergedError, match=r"failed in epoch 2.*--set training\.lr=0\.02"):
        run_loop(
            model,
            poisoned,
            CrossEntropy(),
            torch.optim.SGD(model.parameters(), lr=0.1),
            lambda _: (1.0, 0.5),
            epochs=3,
            batches_per_epoch=5,
            highest_lr=0.1,
            warmup=0.0,
            micro_batch=8,
            device="cpu",
            progress=SilentProgress(),
        )
    assert torch.equal(model.linear.weight, torch.zeros(2, 4))  # how it came in: no epoch was better


def test_a_stop_before_the_first_step_keeps_what_came_in() -> None:
    class Stopped(SilentProgress):  # type: ignore[misc]
        stop_requested = True

    model = Pixelwise()
    result, seen = run(model, [(1, 0.5), (1, 0.8)], Stopped())
    assert result.interrupted
    assert result.best_epoch == 0
    assert torch.equal(model.linear.weight, seen[0])


def test_each_step_uses_its_own_learning_rate_and_each_epoch_sets_the_mode() -> None:
    model = Pixelwise()
    optimizer = torch.optim.SGD(model.parameters(), lr=123.0)
    rates: list[float] = []
    modes: list[bool] = []

    def objective(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
        rates.append(optimizer.param_groups[0]["lr"])
        modes.append(model.training)
        return CrossEntropy()(model, images, labels)

    def validate(network: nn.Module) -> tuple[float, float]:
        network.eval()
        return 1.0, 0.5

    run_loop(
        model,
        batches,
        objective,
        optimizer,
        validate,
        epochs=2,
        batches_per_epoch=5,
        highest_lr=0.4,
        warmup=0.2,
        micro_batch=8,
        device="cpu",
        progress=SilentProgress(),
    )
    assert rates == [learning_rate(step, 10, highest=0.4, warmup=0.2) for step in range(10)]
    assert modes == [True] * 10


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 5, 100])
def test_parts_of_a_batch_add_up_to_the_same_step(micro_batch: int) -> None:
    def train(micro_batch: int) -> tuple[Tensor, list[int], float | None]:
        model = Pixelwise()
        sizes: list[int] = []

        def objective(model: nn.Module, images: Tensor, labels: Tensor) -> Tensor:
            sizes.append(len(labels))
            return CrossEntropy(0.1)(model, images, labels)

        result = run_loop(
            model,
            batches,
            objective,
            torch.optim.SGD(model.parameters(), lr=0.3),
            lambda _: (1.0 / (1.0 + len(sizes)), 0.5),
            epochs=2,
            batches_per_epoch=5,
            highest_lr=0.3,
            warmup=0.0,
            micro_batch=micro_batch,
            device="cpu",
            progress=SilentProgress(),
        )
        return model.linear.weight.detach(), sizes, result.records[-1].train_loss

    whole, _, whole_loss = train(8)
    parts, sizes, loss = train(micro_batch)
    assert sum(sizes) == 80
    assert max(sizes) < 1.5 * micro_batch
    torch.testing.assert_close(parts, whole)
    assert loss == pytest.approx(whole_loss)


def test_a_step_follows_no_gradient_longer_than_one() -> None:
    model = Pixelwise()

    def steep(epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        yield 1e4 * torch.ones(2, 1, 2, 2), torch.tensor([0, 0])

    weights: list[Tensor] = []

    def validate(network: nn.Module) -> tuple[float, float]:
        weights.append(torch.cat([p.detach().flatten().clone() for p in network.parameters()]))
        return 1.0, 0.1 * len(weights)

    run_loop(
        model,
        steep,
        CrossEntropy(),
        torch.optim.SGD(model.parameters(), lr=0.5),
        validate,
        epochs=1,
        batches_per_epoch=1,
        highest_lr=0.5,
        warmup=0.9,
        micro_batch=8,
        device="cpu",
        progress=SilentProgress(),
    )
    rate = learning_rate(0, 1, highest=0.5, warmup=0.9)
    assert float((weights[1] - weights[0]).norm()) == pytest.approx(rate, rel=1e-3)
