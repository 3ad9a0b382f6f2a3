"""On a GPU the same as on a CPU, but for rounding: on a real one where tests may see it, else on a pretended one.

TESTS_SEE_GPU=1 python -m pytest -n 0 -m gpu
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eyebright.data.augment import FINE_TUNING, LIGHT, AugmentationSettings, augment
from eyebright.data.loader import Batches
from eyebright.data.sending import float32_as, send, send_normalised
from eyebright.embedding.embed import embed
from eyebright.embedding.linear import HeadSearch, LinearHead, fit_linear_head
from eyebright.evaluation.report import EvaluationReport
from eyebright.inference.load import load
from eyebright.jobs.evaluate import evaluate
from eyebright.jobs.explain import explain
from eyebright.jobs.features import features
from eyebright.jobs.find_rate import find_rate
from eyebright.jobs.train import resume, train
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing
from eyebright.progress import SilentProgress
from eyebright.training.recipes import STRONG

pytestmark = pytest.mark.gpu

PREPROCESSING = Preprocessing(image_size=32, resize=36)


@pytest.fixture
def squares() -> np.ndarray[tuple[int, ...], np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (12, 36, 36, 3), dtype=np.uint8)


class StopInTraining(SilentProgress):
    """Asks to stop after two steps of training."""

    stage = ""

    def start(self, stage: str, total: int) -> None:
        self.stage = stage

    def advance(self, done: int, note: str = "") -> None:
        self.stop_requested = self.stage == "training" and done == 2


def test_pixels_arrive_as_they_are_normalised_here(squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    images = PREPROCESSING.crop(squares)
    there = send_normalised(images, PREPROCESSING, "cuda")
    assert there.is_contiguous(memory_format=torch.channels_last)
    np.testing.assert_allclose(there.cpu().numpy(), PREPROCESSING.normalise(images), atol=1e-6)
    np.testing.assert_array_equal(send(squares, "cuda").cpu().numpy(), squares)


@pytest.mark.parametrize("side", [32, 16])
@pytest.mark.parametrize("settings", [FINE_TUNING, STRONG, LIGHT], ids=["fine-tuning", "strong", "light"])
def test_images_are_changed_alike(
    squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]], settings: AugmentationSettings, side: int
) -> None:
    rows = np.arange(len(squares))
    with float32_as("tf32"):  # as while training
        here, there = (
            augment(squares, rows, PREPROCESSING, settings, seed=3, epoch=2, side=side, device=device)
            for device in ("cpu", "cuda")
        )
    difference = (there.cpu() - here).abs()
    assert float(difference.mean()) < 0.01  # bytes are rounded after they shrink on a CPU
    assert float(difference.max()) < 0.1


def test_batches_are_alike(squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    found = {}
    for device, workers in (("cpu", 0), ("cuda", 2)):
        batches = Batches(
            squares=squares,
            targets=np.eye(3, dtype=np.float32)[np.arange(len(squares)) % 3],
            rows=np.arange(len(squares)),
            preprocessing=PREPROCESSING,
            augmentation=STRONG,
            batch_size=5,
            seed=1,
            workers=workers,
            device=device,
        )
        found[device] = [batch for batch, _ in batches.epoch(1)]
    for one, other in zip(found["cpu"], found["cuda"], strict=True):
        assert other.images.is_cuda
        assert float((other.images.cpu() - one.images).abs().mean()) < 0.01
        assert torch.allclose(other.targets.cpu(), one.targets, atol=1e-6)


@pytest.mark.parametrize("name", ["resnet18", "vgg11_bn", "cnn"])
def test_embeddings_are_alike(name: str, squares: np.ndarray[tuple[int, ...], np.dtype[np.uint8]]) -> None:
    torch.manual_seed(0)
    model = build_model(name, num_classes=2)
    rows = np.arange(len(squares))
    here, there = (
        embed(model, squares, rows, PREPROCESSING, device=device, bfloat16=False) for device in ("cpu", "cuda")
    )
    cosines = (here * there).sum(axis=1) / (np.linalg.norm(here, axis=1) * np.linalg.norm(there, axis=1))
    assert cosines.min() > 0.9999


def test_a_head_is_fitted_alike() -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(90) % 3
    x = (chance.normal(size=(90, 8)) + np.eye(3, 8)[labels]).astype(np.float32)
    here, there = (fit_linear_head(x, labels, x, labels, 3, device=device) for device in ("cpu", "cuda"))
    assert here.best == there.best
    np.testing.assert_allclose(there.weight, here.weight, rtol=1e-2, atol=1e-3)
    resumed: list[HeadSearch] = []
    fit_linear_head(x, labels, x, labels, 3, device="cuda", strengths=[10, 1], keep=resumed.append)
    assert resumed[-1].weight.is_cuda
    again = fit_linear_head(x, labels, x, labels, 3, device="cpu", search=resumed[-1])
    np.testing.assert_allclose(again.weight, here.weight, rtol=1e-2, atol=1e-3)


@pytest.mark.slow
def test_a_head_that_does_not_fit_there_is_fitted_here(
    bright_and_dark: Path, begun: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    tried: list[str] = []

    def fit(*given: Any, device: str, **named: Any) -> LinearHead:
        tried.append(device.split(":")[0])
        if device != "cpu":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.")
        return fit_linear_head(*given, device=device, **named)

    monkeypatch.setattr("eyebright.training.head.fit_linear_head", fit)
    progress = SilentProgress()
    monkeypatch.setattr(progress, "warn", told.append)
    overrides = [f'network.weights="{begun}"', "data.image_size=32"]
    run = train(bright_and_dark, model="resnet18", out=tmp_path / "run", overrides=overrides, progress=progress)
    assert run.report is not None
    assert tried == ["cuda", "cpu"]
    assert any("no room to fit the head on" in one for one in told)


@pytest.mark.slow
@pytest.mark.parametrize(("precision", "expected"), [("float32", "ieee"), ("bfloat16", "tf32")])
def test_float32_is_exact_where_it_is_asked_for(
    bright_and_dark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, precision: str, expected: str
) -> None:
    found: set[str] = set()
    progress = SilentProgress()
    backends: Any = torch.backends
    monkeypatch.setattr(progress, "advance", lambda *_: found.add(backends.cuda.matmul.fp32_precision))
    overrides = ["training.epochs=1", "network.width=small", f"training.precision={precision}"]
    train(bright_and_dark, model="cnn", out=tmp_path / "run", overrides=overrides, progress=progress)
    assert expected in found
    assert not {"ieee", "tf32"} - {expected} & found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # torch's own, where it compiles
@pytest.mark.parametrize("compiled", [False, True])
def test_what_is_trained_there_answers_alike_everywhere(
    bright_and_dark: Path, tmp_path: Path, compiled: bool, gpu: str
) -> None:
    if compiled and gpu == "pretended":
        pytest.skip("what torch.compile makes needs a real GPU")
    run = train(
        bright_and_dark,
        model="resnet18",
        out=tmp_path / "run",
        overrides=[
            'network.weights="none"',
            "training.epochs=8",
            "data.image_size=32",
            f"training.compile={str(compiled).lower()}",
        ],
    )
    assert run.report is not None
    images = sorted(bright_and_dark.glob("*/*.png"))
    assert load(run.folder).engine == "torch-cuda"
    here, there = (load(run.folder, engine=engine).predict(images) for engine in ("torch", "torch-cuda"))
    for one, other in zip(here, there, strict=True):
        assert one.label == other.label
        assert other.confidence == pytest.approx(one.confidence, abs=1e-3)


@pytest.mark.slow
def test_rare_classes_are_helped_and_the_cpu_can_be_insisted_on(bright_and_dark: Path, tmp_path: Path) -> None:
    overrides = ["training.epochs=2", "network.width=small", 'training.balance="weights"', 'training.optimiser="sgd"']
    assert train(bright_and_dark, model="cnn", out=tmp_path / "there", overrides=overrides).report is not None
    overrides.append('training.device="cpu"')
    here = train(bright_and_dark, model="cnn", out=tmp_path / "here", overrides=overrides)
    assert here.report is not None
    assert load(here.folder, device="cpu").engine == "torch"


@pytest.mark.slow
def test_a_training_that_was_stopped_there_goes_on(bright_and_dark: Path, tmp_path: Path) -> None:
    overrides = ["training.epochs=4", "network.width=small"]
    stopped = train(bright_and_dark, model="cnn", out=tmp_path / "run", overrides=overrides, progress=StopInTraining())
    assert stopped.interrupted
    finished = resume(tmp_path / "run")
    assert not finished.interrupted
    assert finished.report is not None
    assert (tmp_path / "run" / "report.html").is_file()


@pytest.mark.slow
@pytest.mark.parametrize("effort", ["quick", "standard", "best"])
def test_every_effort_starts_from_a_trained_network_there(
    bright_and_dark: Path, begun: Path, tmp_path: Path, effort: str
) -> None:
    # A processor that pretends computes bfloat16 rightly from 32 pixels on: see `start.SMALLEST_BFLOAT16`.
    overrides = [f'network.weights="{begun}"', "data.image_size=48", "training.first_size=32"]
    if effort != "quick":
        overrides += ["training.epochs=2", "augmentation.erase=0.5", "training.micro_batch=5"]
    run = train(bright_and_dark, model="resnet18", effort=effort, out=tmp_path / "run", overrides=overrides)
    assert isinstance(run.report, EvaluationReport)
    assert run.report.accuracy >= 0.5


@pytest.mark.slow
def test_a_network_learns_from_another_there(bright_and_dark: Path, begun: Path, tmp_path: Path) -> None:
    overrides = [f'training.teacher="{begun}"', "training.epochs=2", 'training.balance="sampling"']
    assert train(bright_and_dark, model="cnn", out=tmp_path / "run", overrides=overrides).report is not None


@pytest.mark.slow
def test_a_learning_rate_is_looked_for_there(bright_and_dark: Path, tmp_path: Path) -> None:
    overrides = ["training.epochs=2", "network.width=small"]
    assert find_rate(bright_and_dark, model="cnn", out=tmp_path / "rates", overrides=overrides).tried


@pytest.mark.slow
def test_several_labels_are_learned_there(bright_and_dark: Path, tmp_path: Path) -> None:
    rows = ["path,labels"]
    for number, image in enumerate(sorted(bright_and_dark.glob("*/*.png"))):
        rows.append(f"{image},{image.parent.name}{'|even' * (number % 2 == 0)}")
    (tmp_path / "list.csv").write_text("\n".join(rows))
    run = train(tmp_path / "list.csv", model="cnn", out=tmp_path / "run", overrides=["training.epochs=2"])
    assert run.report is not None


@pytest.mark.slow
def test_what_was_trained_is_measured_and_explained_there(bright_and_dark: Path, begun: Path, tmp_path: Path) -> None:
    report = evaluate(begun, bright_and_dark)
    assert isinstance(report, EvaluationReport)
    assert report.accuracy >= 0.5
    image = next(bright_and_dark.glob("*/*.png"))
    assert len(explain(begun, [image], similar=True, out=tmp_path / "explained.html").explanations) == 1
    features(begun, data=bright_and_dark, steps=2, out=tmp_path / "features.html")


@pytest.mark.slow
@pytest.mark.usefixtures("little_memory")
def test_too_little_memory_there_means_fewer_at_once(
    bright_and_dark: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[str] = []
    progress = SilentProgress()
    monkeypatch.setattr(progress, "warn", told.append)
    run = train(bright_and_dark, model="cnn", out=tmp_path / "run", overrides=["training.epochs=2"], progress=progress)
    assert run.report is not None
    assert any("memory" in one for one in told)


def test_mixing_devices_is_refused() -> None:
    there = torch.ones(3, device="cuda")
    with pytest.raises(RuntimeError, match="same device"):
        there + torch.ones(3)
    with pytest.raises(TypeError, match="numpy"):
        there.numpy()
    assert (there + torch.tensor(1.0)).tolist() == [2, 2, 2]
    assert there[torch.tensor([0, 2])].is_cuda
    assert not there.cpu().is_cuda


def test_gradients_come_back_from_there() -> None:
    here = torch.ones(2, requires_grad=True)
    torch.autograd.backward((here.to("cuda") * torch.arange(2.0, device="cuda")).sum())
    assert here.grad is not None
    assert not here.grad.is_cuda
    assert here.grad.tolist() == [0, 1]
