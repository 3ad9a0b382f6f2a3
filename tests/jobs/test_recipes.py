"""What the settings of a recipe do to a whole run."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from eyebright.distributed.ranks import Ranks
from eyebright.errors import BundleError, MissingExtraError, SettingsError
from eyebright.jobs import runs
from eyebright.jobs.teach import teacher_of
from eyebright.jobs.train import Run, resume, train
from eyebright.progress import SilentProgress
from eyebright.settings import load_settings
from eyebright.training.settings import Settings

CNN = ["training.epochs=2", "network.width=small"]


def weights_of(run: Run) -> dict[str, torch.Tensor]:
    return load_file(run.folder / "bundle" / "weights.safetensors")


def test_a_teacher_is_learned_from(run: Run, photos: Path, tmp_path: Path) -> None:
    teacher = f"training.teacher={json.dumps(str(run.folder))}"
    plain = train(photos, model="cnn", out=tmp_path / "plain", overrides=CNN)
    taught = train(photos, model="cnn", out=tmp_path / "taught", overrides=[*CNN, teacher])
    again = train(photos, model="cnn", out=tmp_path / "again", overrides=[*CNN, teacher])
    deaf = train(photos, model="cnn", out=tmp_path / "deaf", overrides=[*CNN, teacher, "training.teacher_share=0.0"])
    assert not torch.equal(weights_of(plain)["fc.weight"], weights_of(taught)["fc.weight"])
    assert torch.equal(weights_of(again)["fc.weight"], weights_of(taught)["fc.weight"])
    assert torch.equal(weights_of(plain)["fc.weight"], weights_of(deaf)["fc.weight"])


def test_a_teacher_says_of_each_image_and_its_mirror_what_it_would_predict(run: Run, photos: Path) -> None:
    from eyebright.data.sources import read_samples

    settings = load_settings(Settings, overrides=[f"training.teacher={json.dumps(str(run.folder))}"])
    teach = teacher_of(settings, Ranks(), SilentProgress())
    assert teach is not None
    table = read_samples(photos).take([0, 20, 40])
    taught = teach(table)
    assert taught.shape == (2, 3, 3)
    for row, name in enumerate(table.names):
        image = np.asarray(run.predictor.preprocessing.square(_pixels(photos / name)))
        for side, view in enumerate((image, image[:, ::-1].copy())):
            expected = run.predictor.predict(view).probabilities
            assert run.predictor.calibration is not None
            logits = taught[side, row] / run.predictor.calibration.temperature
            shares = np.exp(logits - logits.max())
            found = dict(zip(table.classes, shares / shares.sum(), strict=True))
            assert {name: pytest.approx(share, abs=1e-4) for name, share in expected.items()} == found


def _pixels(path: Path) -> Any:
    from eyebright.data.decode import decode

    return decode(path.read_bytes(), str(path))


def test_a_teacher_that_knows_other_classes_or_is_not_there_is_refused(run: Run, tmp_path: Path) -> None:
    labels = np.arange(40) % 2
    images = np.random.default_rng(0).integers(0, 255, (40, 16, 16, 3), dtype=np.uint8)
    with pytest.raises(SettingsError, match="knows no class 0; it knows blue, green, red"):
        train(
            (images, labels),
            model="cnn",
            out=tmp_path / "r",
            overrides=[*CNN, f"training.teacher={json.dumps(str(run.folder))}"],
        )
    with pytest.raises(BundleError, match="there is no folder nowhere"):
        train((images, labels), model="cnn", out=tmp_path / "r", overrides=[*CNN, "training.teacher=nowhere"])
    assert not (tmp_path / "r").exists()


@pytest.mark.parametrize("balance", ["weights", "sampling"])
def test_rare_classes_can_be_helped(tmp_path: Path, balance: str) -> None:
    chance = np.random.default_rng(0)
    labels = np.array([0] * 150 + [1] * 30)
    images = chance.integers(0, 200, (180, 16, 16, 3), dtype=np.uint8)
    images[labels == 1, :, :, 0] += 12  # hard to tell: a classifier leans towards the larger class
    found = []
    for number, how in enumerate(("none", balance)):
        settings = ["training.epochs=10", "network.width=small", f"training.balance={how}"]
        run = train((images, labels), model="cnn", out=tmp_path / str(number), overrides=settings)
        found.append(np.mean([answer.probabilities["1"] for answer in run.predictor.predict(images)]))
    assert found[1] > found[0] + 0.005


class Heard(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_imbalance_is_noticed_told_and_written_down(tmp_path: Path) -> None:
    labels = np.array([0] * 200 + [1] * 12)
    images = np.random.default_rng(0).integers(0, 255, (212, 16, 16, 3), dtype=np.uint8)
    heard = Heard()
    run = train((images, labels), model="cnn", out=tmp_path / "r", overrides=CNN, progress=heard)
    assert load_settings(Settings, file=tmp_path / "r" / runs.SETTINGS).training.balance == "weights"
    (told,) = heard.warnings
    assert told.startswith("0 has 144 training images and 1 only 9, so images of rare classes count more")
    assert "count more while it learns" in (run.folder / "report.html").read_text()
    asked = Heard()
    train((images, labels), model="cnn", out=tmp_path / "s", overrides=[*CNN, "training.balance=none"], progress=asked)
    assert asked.warnings == []


def test_what_is_chosen_is_written_down_and_gives_the_same_again(photos: Path, tmp_path: Path) -> None:
    first = train(photos, model="cnn", effort="best", out=tmp_path / "a", overrides=CNN)
    second = train(photos, settings=tmp_path / "a" / runs.SETTINGS, out=tmp_path / "b")
    assert (first.folder / runs.SETTINGS).read_text() == (second.folder / runs.SETTINGS).read_text()
    assert all(torch.equal(tensor, weights_of(second)[name]) for name, tensor in weights_of(first).items())


class Told:
    """Stands in for TensorBoard's writer or for MLflow."""

    def __init__(self, *_: object, **__: object) -> None:
        self.lines: list[tuple[str, float, int]] = []
        self.ended = False
        BOARDS.append(self)

    def add_scalar(self, name: str, value: float, step: int) -> None:
        self.lines.append((name, value, step))

    def flush(self) -> None:
        pass

    def close(self) -> None:
        self.ended = True


BOARDS: list[Told] = []


def test_results_go_to_tensorboard_and_mlflow_if_wanted(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logged: list[tuple[str, float, int]] = []
    ended: list[bool] = []
    begun: list[dict[str, str]] = []

    def start_run(**given: str) -> SimpleNamespace:
        begun.append(given)
        return SimpleNamespace(info=SimpleNamespace(run_id="seven"))

    mlflow = SimpleNamespace(
        set_tracking_uri=lambda uri: uri,
        start_run=start_run,
        log_metric=lambda name, value, step: logged.append((name, value, step)),
        end_run=lambda: ended.append(True),
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", SimpleNamespace(SummaryWriter=Told))
    settings = [*CNN, "training.tensorboard=true", "training.mlflow=true"]
    train(photos, model="cnn", out=tmp_path / "r", overrides=settings)
    (board,) = BOARDS
    assert board.ended
    assert ended == [True]
    assert [(name, step) for name, _, step in board.lines] == [
        ("epochs/val_loss", 0),
        ("epochs/val_accuracy", 0),
        *((f"epochs/{name}", epoch) for epoch in (1, 2) for name in ("train_loss", "val_loss", "val_accuracy")),
    ]
    assert logged == board.lines
    assert begun == [{"run_name": "r"}]


def test_a_run_of_mlflow_is_gone_on_with(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    logged: list[tuple[str, int]] = []
    begun: list[dict[str, str]] = []

    def start_run(**given: str) -> SimpleNamespace:
        begun.append(given)
        if given.get("run_id") == "gone":
            raise KeyError("there is no such run")
        return SimpleNamespace(info=SimpleNamespace(run_id="seven"))

    mlflow = SimpleNamespace(
        set_tracking_uri=str,
        start_run=start_run,
        log_metric=lambda name, value, step: logged.append((name, step)),
        end_run=lambda: None,
    )
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)

    class Stopping(SilentProgress):
        stop_requested = False

        def advance(self, done: int, note: str = "") -> None:
            self.stop_requested = "epoch 2" in note

    settings = [*CNN, "training.mlflow=true"]
    assert train(photos, model="cnn", out=tmp_path / "r", overrides=settings, progress=Stopping()).interrupted
    shutil.copytree(tmp_path / "r", tmp_path / "s")
    before = list(logged)
    assert before
    resume(tmp_path / "r")
    assert begun == [{"run_name": "r"}, {"run_id": "seven"}]
    assert len(set(logged)) == len(logged)
    assert [step for name, step in logged if name == "epochs/val_loss"] == [0, 1, 2]
    scratch = ["network.weights=none", "data.image_size=32", "training.batch_size=1", "training.mlflow=true"]
    with pytest.raises(SettingsError, match="learns BatchNorm's statistics"):
        train(photos, model="resnet18", out=tmp_path / "t", overrides=scratch)
    assert not (tmp_path / "t").exists()
    begun.pop()
    (tmp_path / "s" / "mlflow.txt").write_text("gone\n")
    logged.clear()
    resume(tmp_path / "s")
    assert begun[2:] == [{"run_id": "gone"}, {"run_name": "s"}]
    assert [step for name, step in logged if name == "epochs/val_loss"] == [0, 1, 2]


@pytest.mark.parametrize("name", ["tensorboard", "mlflow"])
def test_what_is_not_installed_says_what_to_install(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for module in ("mlflow", "torch.utils.tensorboard"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=rf"training\.{name}=true .*eyebright\[{name}\]"):
        train(photos, model="cnn", out=tmp_path / "r", overrides=[*CNN, f"training.{name}=true"])
    assert not (tmp_path / "r").exists()


def test_a_server_that_goes_away_ends_no_training_and_one_that_is_not_there_none_begins(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ConnectionError("the server is gone\nand more")

    progress, settings = Heard(), [*CNN, "training.mlflow=true"]
    begun = SimpleNamespace(info=SimpleNamespace(run_id="seven"))
    mlflow = SimpleNamespace(set_tracking_uri=str, start_run=lambda **_: begun, log_metric=fail, end_run=str)
    monkeypatch.setitem(sys.modules, "mlflow", mlflow)
    train(photos, model="cnn", out=tmp_path / "r", overrides=settings, progress=progress)
    assert progress.warnings == ["MLflow is told nothing more: the server is gone"]
    monkeypatch.setitem(sys.modules, "mlflow", SimpleNamespace(set_tracking_uri=str, start_run=fail))
    with pytest.raises(SettingsError, match="MLflow can't begin a run: the server is gone"):
        train(photos, model="cnn", out=tmp_path / "s", overrides=settings)
    assert not (tmp_path / "s").exists()
