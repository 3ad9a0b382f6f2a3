from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from eyebright.data.loader import Batch
from eyebright.memory import TooLittleMemoryError
from eyebright.progress import SilentProgress
from eyebright.training.checkpoint import InMemory, Snapshot
from eyebright.training.choice import Validation
from eyebright.training.diverged import DivergedError, Failure
from eyebright.training.history import EpochRecord
from eyebright.training.loop import LoopResult, run_loop
from eyebright.training.objective import CrossEntropy, LabelledBatch
from eyebright.training.optim import WeightAverage, build_optimizer, learning_rate
from eyebright.training.plan import LoopPlan

PLAN = LoopPlan(epochs=3, batches_per_epoch=5, samples_per_epoch=40, highest_lr=0.1, warmup=0.2, micro_batch=8, seed=3)


class Pixelwise(nn.Module):
    """The smallest classifier: a linear layer over four pixels; with dropout, if wanted."""

    def __init__(self, dropout: float = 0.0) -> None:
        super().__init__()
        self.dropout = nn.Dropout(dropout)
        self.linear = nn.Linear(4, 2)
        nn.init.zeros_(self.linear.weight)
        nn.init.zeros_(self.linear.bias)

    def forward(self, x: Tensor) -> Tensor:
        return self.linear(self.dropout(x.flatten(1)))  # type: ignore[no-any-return]


def batches(epoch: int, start: int = 0) -> Iterator[tuple[Batch, int]]:
    generator = torch.Generator().manual_seed(epoch)
    for number in range(5):
        labels = torch.randint(0, 2, (8,), generator=generator)
        images = torch.randn(8, 1, 2, 2, generator=generator) + labels[:, None, None, None]
        if number >= start:
            yield Batch(images=images, targets=nn.functional.one_hot(labels, 2).float()), 8


class Stopping(SilentProgress):
    """Asks to stop after some steps, and remembers what it was told."""

    def __init__(self, steps: int | None = None) -> None:
        self.stop_requested = steps == 0
        self.steps = steps
        self.warnings: list[str] = []
        self.said: list[str] = []
        self.notes: list[str] = []

    def advance(self, done: int, note: str = "") -> None:
        self.notes.append(note)
        self.stop_requested = self.stop_requested or done == self.steps

    def warn(self, text: str) -> None:
        self.warnings.append(text)

    def say(self, text: str) -> None:
        self.said.append(text)


def true_loss(network: nn.Module) -> Validation:
    network.eval()
    with torch.no_grad():
        (batch, _), *_ = batches(99)
        logits = network(batch.images)
        right = (logits.argmax(dim=1) == batch.targets.argmax(dim=1)).double().mean()
        losses = nn.functional.cross_entropy(logits.double(), batch.targets.double(), reduction="none")
        return Validation(losses=losses, accuracy=float(right))


def scored(loss: float, accuracy: float) -> Validation:
    """Of a single sample, so that nothing about its loss is uncertain."""
    return Validation(losses=torch.tensor([loss], dtype=torch.float64), accuracy=accuracy)


def run(
    model: nn.Module,
    *,
    plan: LoopPlan = PLAN,
    scores: Sequence[tuple[float, float]] | None = None,
    progress: SilentProgress | None = None,
    kind: str = "sgd",
    average: float = 0.0,
    **options: Any,
) -> tuple[LoopResult, list[Tensor]]:
    """Train, with made-up validation results if given; also returns the weights at each validation."""
    seen: list[Tensor] = []

    def validate(network: nn.Module) -> Validation:
        seen.append(next(network.parameters()).detach().clone())
        return true_loss(network) if scores is None else scored(*scores[len(seen) - 1])

    settings: dict[str, Any] = {
        "batches": batches,
        "objective": CrossEntropy(),
        "optimizer": build_optimizer(model, kind=kind, lr=1.0, weight_decay=0.01),
        "validate": validate,
        "keeper": InMemory(),
        "average": WeightAverage(model, average) if average else None,
        **options,
    }
    if scores is not None:
        plan = replace(plan, epochs=len(scores) - 1)
    return run_loop(model, plan=plan, progress=progress or SilentProgress(), **settings), seen


@pytest.mark.parametrize(
    ("scores", "kept"),
    [
        ([(1, 0.5), (0.8, 0.7), (0.6, 0.9), (0.7, 0.8)], 2),
        ([(0.5, 0.9), (0.6, 0.7), (0.7, 0.8)], 0),  # how it came in counts too
        ([(1, 0.5), (0.7, 0.9), (0.6, 0.8)], 2),  # by the loss, whatever the accuracy
        ([(1, 0.5), (0.7, 0.9), (0.7, 0.9)], 2),  # among equals the last: it was trained longer
        ([(1, 0.5), (math.nan, 0.9), (0.9, 0.6), (-math.inf, 1.0)], 2),  # never one without a loss
        ([(math.nan, 0.5), (2, 0.3)], 1),
    ],
)
def test_the_epoch_of_the_lowest_loss_is_kept(scores: list[tuple[float, float]], kept: int) -> None:
    model = Pixelwise()
    result, seen = run(model, scores=scores)
    assert result.kept_epoch == kept
    assert [record.number for record in result.records if record.kept] == [kept]
    assert torch.equal(model.linear.weight, seen[kept])
    assert [record.number for record in result.records] == list(range(len(scores)))
    assert [record.val_accuracy for record in result.records] == [accuracy for _, accuracy in scores]
    assert result.records[0].train_loss is None


def test_a_later_epoch_is_kept_if_it_is_no_worse_as_far_as_can_be_told() -> None:
    noise = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    noise = (noise - noise.mean()) / noise.std()
    lowest = torch.full((50,), 0.5, dtype=torch.float64)

    def behind(errors: float) -> Tensor:
        return lowest + noise + errors / math.sqrt(50)

    losses = iter([lowest + 0.3, lowest, behind(1.5), behind(0.5), behind(1.5)])

    def validate(network: nn.Module) -> Validation:
        return Validation(losses=next(losses), accuracy=0.5)

    plan, keeper = replace(PLAN, epochs=4), InMemory()
    result, _ = run(Pixelwise(), plan=plan, validate=validate, keeper=keeper, progress=Stopping(12))
    assert [record.kept for record in result.records] == [False, True, False]
    result, _ = run(Pixelwise(), plan=plan, validate=validate, keeper=keeper, start=keeper.load())
    assert [record.kept for record in result.records] == [False, False, False, True, False]
    assert result.kept_epoch == 3


def test_it_learns_and_tells_each_epoch_as_it_comes() -> None:
    told: list[list[EpochRecord]] = []
    plan = replace(PLAN, epochs=9, highest_lr=0.5)
    result, _ = run(Pixelwise(), plan=plan, record=lambda records: told.append(list(records)))
    losses = [record.train_loss for record in result.records[1:]]
    assert losses[0] is not None
    assert losses[-1] is not None
    assert losses[-1] < 0.8 * losses[0]
    assert [len(records) for records in told] == list(range(1, 11))
    assert told[-1] == list(result.records)


def test_a_request_to_stop_keeps_the_best_so_far() -> None:
    model = Pixelwise()
    scores = [(1, 0.5), (0.7, 0.8), (0.8, 0.7), (0.6, 0.9)]
    result, seen = run(model, scores=scores, progress=Stopping(12))
    assert result.interrupted
    assert [record.number for record in result.records] == [0, 1, 2]
    assert torch.equal(model.linear.weight, seen[1])


def test_a_stop_before_the_first_step_keeps_what_came_in() -> None:
    model = Pixelwise()
    result, seen = run(model, scores=[(1, 0.5), (1, 0.8)], progress=Stopping(0))
    assert result.interrupted
    assert result.kept_epoch == 0
    assert torch.equal(model.linear.weight, seen[0])


FORMS: list[dict[str, Any]] = [
    {"kind": "sgd"},
    {"kind": "adamw", "average": 0.9},
    {"kind": "adamw", "plan": replace(PLAN, micro_batch=3)},
]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("stops", [(0,), (1,), (5,), (7, 8), (10,), (3, 6, 9, 12, 14), (15,)])
def test_going_on_after_any_stop_gives_the_same_bits(form: dict[str, Any], stops: tuple[int, ...]) -> None:
    whole = Pixelwise(dropout=0.4)
    expected, _ = run(whole, **form)
    keeper, snapshot = InMemory(), None
    for stop in stops:
        result, _ = run(Pixelwise(dropout=0.4), progress=Stopping(stop), keeper=keeper, start=snapshot, **form)
        snapshot = keeper.load()
        assert result.interrupted == (stop < 15)
    torch.manual_seed(12345)  # whatever was drawn before
    torch.randn(3)
    model = Pixelwise(dropout=0.4)
    nn.init.ones_(model.linear.weight)  # nothing of a fresh model may be left
    result, _ = run(model, keeper=keeper, start=snapshot, **form)
    assert not result.interrupted
    assert torch.equal(model.linear.weight, whole.linear.weight)
    assert torch.equal(model.linear.bias, whole.linear.bias)
    unlike = [replace(record, seconds=0.0) for record in result.records]
    assert unlike == [replace(record, seconds=0.0) for record in expected.records]
    assert result.kept_epoch == expected.kept_epoch


def test_a_stop_while_measuring_measures_again() -> None:
    whole = Pixelwise()
    expected, _ = run(whole)
    keeper = InMemory()
    times = 0

    def validate(network: nn.Module) -> Validation | None:
        nonlocal times
        times += 1
        return None if times == 3 else true_loss(network)

    model = Pixelwise()
    result, _ = run(model, validate=validate, keeper=keeper)
    assert result.interrupted
    assert [record.number for record in result.records] == [0, 1]
    result, _ = run(model, validate=validate, keeper=keeper, start=keeper.load())
    assert torch.equal(model.linear.weight, whole.linear.weight)
    assert [r.train_loss for r in result.records] == [r.train_loss for r in expected.records]


def test_a_stop_saves_within_a_step_and_says_so_through_the_keeper() -> None:
    keeper = InMemory()
    run(Pixelwise(), progress=Stopping(7), keeper=keeper)
    snapshot = keeper.load()
    assert snapshot is not None
    assert (snapshot.state["step"], snapshot.state["epoch"], snapshot.state["batch"]) == (7, 2, 2)


class Due(InMemory):  # type: ignore[misc]
    """Wants a snapshot at every step."""

    due = True

    def __init__(self) -> None:
        super().__init__()
        self.steps: list[int] = []

    def save(self, snapshot: Snapshot, *, milestone: bool = False) -> None:
        super().save(snapshot, milestone=milestone)
        self.steps.append(snapshot.state["step"])


def test_snapshots_are_taken_when_they_are_due_and_change_nothing() -> None:
    plain, watched, keeper = Pixelwise(dropout=0.4), Pixelwise(dropout=0.4), Due()
    run(plain)
    run(watched, keeper=keeper)
    assert torch.equal(plain.linear.weight, watched.linear.weight)
    assert keeper.steps == [0, *range(15)]  # the first is the milestone


def poison(steps: Sequence[tuple[int, int]]) -> Callable[[int, int], Iterator[tuple[Batch, int]]]:
    """Batches that hold no numbers, each (epoch, batch) so often as it is named."""
    left = list(steps)

    def poisoned(epoch: int, start: int) -> Iterator[tuple[Batch, int]]:
        for number, (batch, size) in enumerate(batches(epoch, start), start=start):
            if (epoch, number) in left:
                left.remove((epoch, number))
                yield replace(batch, images=batch.images * math.nan), size
            else:
                yield batch, size

    return poisoned


def test_a_loss_that_is_no_number_goes_back_to_the_last_milestone_at_a_tenth_of_the_rate() -> None:
    rates: list[float] = []
    model = Pixelwise()
    optimizer = build_optimizer(model, kind="sgd", lr=1.0, weight_decay=0.0)

    def objective(network: nn.Module, batch: LabelledBatch) -> Tensor:
        rates.append(optimizer.param_groups[0]["lr"])
        return CrossEntropy()(network, batch)

    progress, keeper = Stopping(), InMemory()
    result, _ = run(
        model, batches=poison([(2, 3)]), objective=objective, optimizer=optimizer, progress=progress, keeper=keeper
    )
    expected = [learning_rate(step, 15, highest=0.1, warmup=0.2) for step in range(15)]
    assert rates[:9] == expected[:9]
    assert rates[9:] == pytest.approx([0.1 * rate for rate in expected])
    assert [record.number for record in result.records] == [0, 1, 2, 3]
    assert progress.warnings == [
        "the loss was no number at step 8, in epoch 2: back to step 0, and on with a tenth of the learning rate "
        "(0.01 at most)"
    ]
    assert torch.isfinite(model.linear.weight).all()


FAILED = Failure(epoch=2, batch=3, step=8, highest_lr=0)


def test_the_fourth_time_it_ends_with_advice_and_the_weights_that_are_kept() -> None:
    model = Pixelwise()
    seen: list[float] = []

    def validate(network: nn.Module) -> Validation:
        seen.append(float(network.linear.weight.detach().sum()))  # type: ignore[union-attr, operator]
        return scored(1.0 / len(seen), 0.5)

    words = r"epoch 2, at step 8: .* 3 lower learning rates, down to 0\.0001\. Try a lower.*--set training\.lr=1e-05;"
    with pytest.raises(DivergedError, match=words) as raised:
        run(model, batches=poison([(2, 3)] * 4), validate=validate)
    rates = [0.1, 0.01, 0.001, 0.0001]
    assert [failure.highest_lr for failure in raised.value.failures] == pytest.approx(rates)
    assert all(replace(one, highest_lr=0) == FAILED for one in raised.value.failures)
    assert [record.number for record in raised.value.history] == [0, 1]
    assert len(seen) == 5  # how it came in, and the first epoch four times
    assert float(model.linear.weight.detach().sum()) == seen[-1]


def test_a_stop_after_a_rollback_goes_on_at_the_lower_rate() -> None:
    whole = Pixelwise()
    run(whole, batches=poison([(2, 3)]))
    keeper = InMemory()
    model = Pixelwise()
    run(model, batches=poison([(2, 3)]), progress=Stopping(9), keeper=keeper)  # step 9 comes after the rollback
    run(model, keeper=keeper, start=keeper.load())
    assert torch.equal(model.linear.weight, whole.linear.weight)


def test_weights_that_are_no_numbers_are_never_saved() -> None:
    keeper = Due()
    model = Pixelwise()
    times = 0

    def objective(network: nn.Module, batch: LabelledBatch) -> Tensor:
        nonlocal times
        times += 1
        if times == 7:
            with torch.no_grad():
                model.linear.bias.fill_(math.inf)  # after this forward pass, so that the step's gradient is fine
            return network(batch.images).detach().nan_to_num(0).sum() * 0 + network.linear.weight.sum() * 0.01  # type: ignore[union-attr, operator, no-any-return]
        return CrossEntropy()(network, batch)

    progress = Stopping()
    run(model, keeper=keeper, objective=objective, progress=progress)
    assert len(progress.warnings) == 1
    assert torch.isfinite(model.linear.bias).all()


def test_each_step_uses_its_own_learning_rate_and_each_epoch_sets_the_mode() -> None:
    model = Pixelwise()
    optimizer = torch.optim.SGD(model.parameters(), lr=123.0)
    rates: list[float] = []
    modes: list[bool] = []

    def objective(network: nn.Module, batch: LabelledBatch) -> Tensor:
        rates.append(optimizer.param_groups[0]["lr"])
        modes.append(network.training)
        return CrossEntropy()(network, batch)

    run(model, plan=replace(PLAN, epochs=2), objective=objective, optimizer=optimizer)
    assert rates == [learning_rate(step, 10, highest=0.1, warmup=0.2) for step in range(10)]
    assert modes == [True] * 10


@pytest.mark.parametrize("micro_batch", [1, 3, 4, 5, 100])
def test_parts_of_a_batch_add_up_to_the_same_step(micro_batch: int) -> None:
    def train(micro_batch: int) -> tuple[Tensor, list[int], float | None]:
        model = Pixelwise()
        sizes: list[int] = []

        def objective(network: nn.Module, batch: LabelledBatch) -> Tensor:
            sizes.append(len(batch.targets))
            return CrossEntropy(0.1)(network, batch)

        plan = replace(PLAN, epochs=2, micro_batch=micro_batch, highest_lr=0.3, warmup=0.0)
        result, _ = run(model, plan=plan, objective=objective)
        return model.linear.weight.detach(), sizes, result.records[-1].train_loss

    whole, _, whole_loss = train(8)
    parts, sizes, loss = train(micro_batch)
    assert sum(sizes) == 80
    assert max(sizes) < 1.5 * micro_batch
    torch.testing.assert_close(parts, whole)
    assert loss == pytest.approx(whole_loss)


def test_a_step_follows_no_gradient_longer_than_one() -> None:
    model = Pixelwise()

    def steep(epoch: int, start: int) -> Iterator[tuple[Batch, int]]:
        yield Batch(images=1e4 * torch.ones(2, 1, 2, 2), targets=torch.tensor([[1.0, 0.0]] * 2)), 2

    weights: list[Tensor] = []

    def validate(network: nn.Module) -> Validation:
        weights.append(torch.cat([p.detach().flatten().clone() for p in network.parameters()]))
        return scored(1.0, 0.1 * len(weights))

    plan = replace(PLAN, epochs=1, batches_per_epoch=1, samples_per_epoch=2, highest_lr=0.5, warmup=0.9)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.5)
    run(model, plan=plan, batches=steep, validate=validate, optimizer=optimizer)
    rate = learning_rate(0, 1, highest=0.5, warmup=0.9)
    assert float((weights[1] - weights[0]).norm()) == pytest.approx(rate, rel=1e-3)


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("DefaultCPUAllocator: can't allocate memory: 9 bytes")])
def test_when_memory_runs_out_fewer_images_run_at_once_and_the_step_is_the_same(error: Exception) -> None:
    def train(fits: int) -> tuple[Tensor, list[str], LoopResult]:
        model, progress = Pixelwise(), Stopping()

        def objective(network: nn.Module, batch: LabelledBatch) -> Tensor:
            if len(batch.targets) > fits:
                raise error
            return CrossEntropy()(network, batch)

        result, _ = run(model, objective=objective, progress=progress)
        return model.linear.weight.detach(), progress.warnings, result

    plenty, none, _ = train(8)
    little, warnings, result = train(2)
    assert none == []
    assert len(warnings) == 2  # from 8 to 4 to 2, once
    assert "on with 2 images at once" in warnings[1]
    torch.testing.assert_close(little, plenty)
    assert not result.interrupted
    with pytest.raises(TooLittleMemoryError, match="out of memory with a single image"):
        train(0)


def test_other_errors_pass() -> None:
    def objective(network: nn.Module, batch: LabelledBatch) -> Tensor:
        raise RuntimeError("shapes do not agree")

    with pytest.raises(RuntimeError, match="shapes do not agree"):
        run(Pixelwise(), objective=objective)


def test_the_average_of_the_weights_is_measured_and_kept_and_training_goes_on_from_the_weights() -> None:
    plain, averaged = Pixelwise(), Pixelwise()
    _, weights = run(plain)
    _, averages = run(averaged, average=0.9)
    assert torch.equal(weights[0], averages[0])
    assert not torch.equal(weights[1], averages[1])
    reference, follower = Pixelwise(), WeightAverage(Pixelwise(), 0.9)
    optimizer = build_optimizer(reference, kind="sgd", lr=1.0, weight_decay=0.01)

    class Followed(Stopping):
        def advance(self, done: int, note: str = "") -> None:
            follower.update(reference, done)

    run(reference, optimizer=optimizer, progress=Followed(), plan=replace(PLAN, epochs=3))
    torch.testing.assert_close(averages[3], follower.weights["linear.weight"])


def test_without_progress_training_ends_early() -> None:
    scores = [(0.3, 0.5), (0.8, 0.7), (0.7, 0.7), (0.9, 0.7), (0.9, 0.7), (0.6, 0.9)]
    progress = Stopping()
    result, _ = run(Pixelwise(), scores=scores, plan=replace(PLAN, patience=2), progress=progress)
    assert [record.number for record in result.records] == [0, 1, 2, 3, 4]  # how it came in counts for nothing
    assert result.kept_epoch == 0
    assert not result.interrupted
    assert progress.said == ["training ended after 4 of 5 epochs, the last 2 of them without a lower validation loss"]
    never, _ = run(Pixelwise(), scores=scores)
    assert len(never.records) == 6


def test_patience_is_kept_where_a_run_is_gone_on_with() -> None:
    scores = [(0.9, 0.5), (0.5, 0.7), (0.7, 0.7), (0.9, 0.7), (0.4, 0.7), (0.3, 0.9)]
    keeper, plan = InMemory(), replace(PLAN, patience=2)
    run(Pixelwise(), scores=scores, plan=plan, keeper=keeper, progress=Stopping(12))  # in epoch 3
    result, _ = run(Pixelwise(), scores=[*scores[3:], *scores[:3]], plan=plan, keeper=keeper, start=keeper.load())
    assert [record.number for record in result.records] == [0, 1, 2, 3]


def test_a_snapshot_from_before_patience_was_kept_knows_its_best_epoch() -> None:
    scores = [(0.9, 0.5), (0.5, 0.7), (0.4, 0.7), (0.3, 0.7), (0.2, 0.7), (0.1, 0.9)]
    keeper, plan = InMemory(), replace(PLAN, patience=2)
    run(Pixelwise(), scores=scores, plan=plan, keeper=keeper, progress=Stopping(17))  # in epoch 4
    start = keeper.load()
    assert start is not None
    older = {name: value for name, value in start.state.items() if not name.startswith("best_trained")}
    del older["failures"]
    old = replace(start, state=older)
    result, _ = run(Pixelwise(), scores=[*scores[4:], *scores[:4]], plan=plan, start=old)
    assert [record.number for record in result.records] == [0, 1, 2, 3, 4, 5]


def test_dropout_depends_on_the_seed_and_not_on_what_was_drawn_before() -> None:
    models = [Pixelwise(dropout=0.5) for _ in range(3)]
    run(models[0])
    torch.randn(100)
    run(models[1])
    run(models[2], plan=replace(PLAN, seed=4))
    assert torch.equal(models[0].linear.weight, models[1].linear.weight)
    assert not torch.equal(models[0].linear.weight, models[2].linear.weight)


def test_beside_the_bar_stand_epoch_loss_accuracy_and_pace() -> None:
    progress = Stopping()
    run(Pixelwise(), progress=progress)
    assert progress.notes[0].startswith("epoch 1 of 3, loss 0.693, validation accuracy ")
    assert progress.notes[0].endswith(" images/s")


def test_a_compiled_network_learns_the_same_as_a_plain_one(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled: list[nn.Module] = []

    def compile_it(model: nn.Module) -> nn.Module:
        compiled.append(model)
        return model

    monkeypatch.setattr(torch, "compile", compile_it)
    plain, other = Pixelwise(), Pixelwise()
    run(plain)
    run(other, plan=replace(PLAN, compiled=True))
    assert compiled == [other]
    assert torch.equal(plain.linear.weight, other.linear.weight)


def test_what_a_snapshot_holds_beside_comes_with_it() -> None:
    keeper = InMemory()
    run(Pixelwise(), progress=Stopping(3), keeper=keeper, beside={"head_records": [1, 2]})
    snapshot = keeper.load()
    assert snapshot is not None
    assert snapshot.state["head_records"] == [1, 2]
    assert copy.deepcopy(snapshot.state) == snapshot.state
