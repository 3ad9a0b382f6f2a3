"""A run that was stopped anywhere and gone on with ends as if it never had been."""

from __future__ import annotations

import json
import math
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from eyebright.errors import BundleError, CheckpointError, DataError, OutputError
from eyebright.inference.load import load
from eyebright.jobs import runs
from eyebright.jobs.state import LOCK, STATE, open_run, read_state
from eyebright.jobs.train import Run, resume, train
from eyebright.progress import SilentProgress
from eyebright.training.diverged import DivergedError
from eyebright.training.history import read_history
from eyebright.training.step import Part, Stepper

CNN = ["training.epochs=4", "network.width=small", "training.checkpoint_seconds=0", "training.average=1"]
TUNED = ["training.epochs=2", "data.image_size=32", "training.checkpoint_seconds=0"]


class StopAt(SilentProgress):
    """Asks to stop after some steps of a stage, and remembers what it was told."""

    def __init__(self, stage: str, done: int) -> None:
        self.stop_requested = False
        self.stage, self.done = stage, done
        self.current = ""
        self.said: list[str] = []

    def start(self, stage: str, total: int) -> None:
        self.current = stage
        self.stop_requested = self.stop_requested or (stage == self.stage and self.done == 0)

    def advance(self, done: int, note: str = "") -> None:
        self.stop_requested = self.stop_requested or (self.current == self.stage and done >= self.done)

    def warn(self, text: str) -> None:
        self.said.append(text)

    say = warn


def weights_of(folder: Path) -> bytes:
    return (folder / "bundle" / "weights.safetensors").read_bytes()


def stop_and_go_on(start: Callable[[SilentProgress], Run], folder: Path, *stops: StopAt) -> Run:
    """Start a run, stop it at each place in turn, and let it end."""
    for number, stop in enumerate(stops):
        try:
            result = start(stop) if number == 0 else resume(folder, progress=stop)
            assert result.interrupted, stop.stage
        except KeyboardInterrupt:
            pass
        state = read_state(folder)
        assert state is not None
        assert state.state == "interrupted"
        assert not list(folder.glob("**/.*"))
    result = resume(folder)
    assert not result.interrupted
    return result


@pytest.fixture(scope="module")
def tuned(photos: Path, resnet_weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A ResNet-18 whose head was fitted and which was then fine-tuned, never stopped."""
    folder = tmp_path_factory.mktemp("tuned") / "run"
    weights = f"network.weights={json.dumps(str(resnet_weights))}"
    settings = [*TUNED, weights, "network.stride_in=3x3"]
    return train(photos, model="resnet18", effort="standard", out=folder, overrides=settings)


@pytest.mark.parametrize(
    "stops",
    [
        [("looking at the images", 0)],
        [("looking at the images", 32)],
        [("fitting the head", 0)],
        [("fitting the head", 2)],
        [("training", 0)],
        [("training", 1)],
        [("classifying", 0)],
        [("looking at the images", 32), ("fitting the head", 3), ("training", 2), ("classifying", 0)],
    ],
)
def test_a_stop_in_any_phase_changes_nothing(
    tuned: Run, photos: Path, resnet_weights: Path, tmp_path: Path, stops: list[tuple[str, int]]
) -> None:
    folder = tmp_path / "run"
    settings = [*TUNED, f"network.weights={json.dumps(str(resnet_weights))}", "network.stride_in=3x3"]

    def start(progress: SilentProgress) -> Run:
        return train(photos, model="resnet18", effort="standard", out=folder, overrides=settings, progress=progress)

    result = stop_and_go_on(start, folder, *(StopAt(*stop) for stop in stops))
    assert weights_of(folder) == weights_of(tuned.folder)
    assert result.report is not None
    assert tuned.report is not None
    assert replace(result.report, images_per_second=0) == replace(tuned.report, images_per_second=0)
    histories = [read_history(path / runs.HISTORY) for path in (folder, tuned.folder)]
    assert [replace(r, seconds=0.0) for r in histories[0]] == [replace(r, seconds=0.0) for r in histories[1]]
    assert not (folder / runs.CHECKPOINTS).exists()
    assert sorted(path.name for path in folder.iterdir()) == sorted(path.name for path in tuned.folder.iterdir())


@pytest.mark.parametrize("workers", [0, 2, 4])
def test_a_stop_changes_nothing_on_any_number_of_workers(photos: Path, tmp_path: Path, workers: int) -> None:
    common = [*CNN, "augmentation.mixup=0.4", "augmentation.cutmix=1.0"]
    never = train(photos, model="cnn", out=tmp_path / "never", overrides=common)
    folder = tmp_path / "run"

    def start(progress: SilentProgress) -> Run:
        settings = [*common, f"training.workers={workers}"]
        return train(photos, model="cnn", out=folder, overrides=settings, progress=progress)

    stop_and_go_on(start, folder, StopAt("training", 1), StopAt("training", 3))
    assert weights_of(folder) == weights_of(never.folder)


def test_an_interrupted_run_already_has_a_classifier(photos: Path, tmp_path: Path) -> None:
    result = train(photos, model="cnn", out=tmp_path / "r", overrides=CNN, progress=StopAt("training", 2))
    assert result.interrupted
    assert result.report is None
    assert result.predictor.predict(photos / "red" / "00.png").label in ("red", "green", "blue")


def stopped_run(photos: Path, tmp_path: Path) -> Path:
    train(photos, model="cnn", out=tmp_path / "r", overrides=CNN, progress=StopAt("training", 2))
    return tmp_path / "r"


def test_images_may_have_moved(photos: Path, tmp_path: Path) -> None:
    here = Path(shutil.copytree(photos, tmp_path / "here"))
    folder = stopped_run(here, tmp_path)
    there = here.rename(tmp_path / "there")
    with pytest.raises(DataError, match="here"):
        resume(folder)
    assert not resume(folder, data=there).interrupted


def test_images_that_changed_or_went_are_named_and_new_ones_left_out(photos: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(photos, tmp_path / "data"))
    folder = stopped_run(data, tmp_path)
    Image.fromarray(np.zeros((24, 28, 3), dtype=np.uint8)).save(data / "red" / "new.png")
    one = data / "red" / "03.png"
    before = one.read_bytes()
    Image.fromarray(np.zeros((24, 28, 3), dtype=np.uint8)).save(one)
    with pytest.raises(DataError, match=r"red/03\.png has changed since training began"):
        resume(folder)
    one.unlink()
    with pytest.raises(DataError, match=r"red/03\.png was there when training began and is gone \(1 of 48"):
        resume(folder)
    one.write_bytes(before)
    result = resume(folder)
    assert not result.interrupted
    assert len(runs.read_sample_records(folder / runs.SAMPLES)) == 48


def test_what_can_not_be_gone_on_with_says_why(run: Run, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"is finished; there is nothing to go on with.*--weights"):
        resume(run.folder)
    with pytest.raises(CheckpointError, match=r"holds no training to go on with: there is no readable run\.json"):
        resume(tmp_path)
    folder = stopped_run(photos, tmp_path)
    state = read_state(folder)
    assert state is not None
    with open_run(folder, state), pytest.raises(CheckpointError, match="another process is training in"):
        resume(folder)
    before = (run.folder / STATE).read_bytes()
    with pytest.raises(CheckpointError, match="was finished meanwhile"), open_run(run.folder, state):
        pass
    assert (run.folder / STATE).read_bytes() == before


def test_damaged_checkpoints_are_passed_over_and_the_end_is_the_same(photos: Path, tmp_path: Path) -> None:
    never = train(photos, model="cnn", out=tmp_path / "never", overrides=CNN)
    folder = stopped_run(photos, tmp_path)
    newest = max((folder / runs.CHECKPOINTS).iterdir())
    (newest / "optimizer.safetensors").write_bytes(b"")
    progress = StopAt("", 0)
    resume(folder, progress=progress)
    assert any("a checkpoint is damaged and is passed over" in text for text in progress.said)
    assert weights_of(folder) == weights_of(never.folder)


def test_arrays_must_be_given_again(tmp_path: Path) -> None:
    chance = np.random.default_rng(0)
    labels = np.arange(60) % 3
    images = chance.integers(0, 99, (60, 16, 16, 3), dtype=np.uint8)
    images[np.arange(60), :, :, labels] += 130
    train((images, labels), model="cnn", out=tmp_path / "r", overrides=CNN, progress=StopAt("training", 2))
    with pytest.raises(CheckpointError, match="was trained on arrays; give them again"):
        resume(tmp_path / "r")
    assert not resume(tmp_path / "r", data=(images, labels)).interrupted


def test_decisions_hold_when_a_run_is_gone_on_with(photos: Path, tmp_path: Path) -> None:
    from eyebright.data.cache import hash_content

    one = photos / "blue" / "02.png"
    decisions = tmp_path / "decisions.csv"
    digest = hash_content(one.read_bytes()).hex()
    decisions.write_text(f"sample,digest,action,label,reason\nblue/02.png,{digest},exclude,,\n")
    progress = StopAt("training", 2)
    train(photos, model="cnn", out=tmp_path / "r", overrides=CNN, decisions=decisions, progress=progress)
    result = resume(tmp_path / "r")
    assert len(runs.read_sample_records(tmp_path / "r" / runs.SAMPLES)) == 47
    provenance = result.predictor.manifest.provenance
    assert provenance["data"]["decided"]["excluded"] == 1
    assert provenance["starts"] == 2


def test_what_a_kill_left_of_a_bundle_is_removed_when_the_run_goes_on(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    train(photos, model="cnn", out=folder, overrides=CNN, progress=StopAt("training", 2))
    for name in (".bundle-abc", ".bundle-old-abc"):
        (folder / name).mkdir()
        (folder / name / "weights.safetensors").write_bytes(b"half")
    assert not resume(folder).interrupted
    assert not list(folder.glob("**/.*"))


def test_a_finished_run_that_was_killed_before_it_could_tidy_up_is_tidied(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    train(photos, model="cnn", out=folder, overrides=CNN)
    (folder / runs.CHECKPOINTS / "00000002").mkdir(parents=True)
    (folder / LOCK).touch()
    with pytest.raises(CheckpointError, match="is finished; there is nothing to go on with"):
        resume(folder)
    assert not (folder / runs.CHECKPOINTS).exists()
    assert not list(folder.glob(".*"))


def test_what_fails_before_anything_was_made_leaves_no_folder(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(OutputError):
        train(photos, model="cnn", out=tmp_path / "r", overrides=[*CNN, "training.workers=0"], progress=_FullDisk())
    assert not (tmp_path / "r").exists()
    with pytest.raises(KeyboardInterrupt):
        train(photos, model="cnn", out=tmp_path / "r", overrides=CNN, progress=StopAt("reading images", 1))
    assert not (tmp_path / "r").exists()


class _FullDisk(SilentProgress):
    def start(self, stage: str, total: int) -> None:
        if stage == "training":
            raise OutputError("no room")


def test_a_run_whose_process_is_gone_was_interrupted(run: Run, tmp_path: Path) -> None:
    folder = tmp_path / "r"
    folder.mkdir()
    values = json.loads((run.folder / STATE).read_text())
    (folder / STATE).write_text(json.dumps({**values, "state": "running"}))
    state = read_state(folder)
    assert state is not None
    assert state.state == "interrupted"
    with open_run(folder, state):
        now = read_state(folder)
        assert now is not None
        assert now.state == "running"
    (folder / STATE).write_text("{")
    assert read_state(folder) is None


def test_what_a_run_goes_by_may_not_change_while_it_rests(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(photos, model="cnn", out=folder, overrides=CNN, progress=StopAt("training", 3))
    for name, old, new in (
        (runs.SETTINGS, "epochs = 4", "epochs = 5"),
        (runs.SAMPLES, "sha256\r\n", "sha256\r\ngarbage\r\n"),
    ):
        content = (folder / name).read_bytes()
        assert old.encode() in content
        (folder / name).write_bytes(content.replace(old.encode(), new.encode()))
        with pytest.raises(CheckpointError, match=rf"{name} was changed since training began"):
            resume(folder)
        (folder / name).write_bytes(content)
    assert not resume(folder).interrupted


def test_a_training_that_diverges_leaves_a_page_of_where_and_the_best_network_so_far(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_gradients = Stepper.add_gradients

    def fail_at_step_9(stepper: Stepper, batch: Part, size: int) -> tuple[float, float]:
        loss, length = add_gradients(stepper, batch, size)
        return (math.nan, math.nan) if stepper.step == 9 else (loss, length)

    monkeypatch.setattr(Stepper, "add_gradients", fail_at_step_9)
    folder = tmp_path / "run"
    settings = [*CNN, "training.batch_size=10"]
    with pytest.raises(
        DivergedError, match=r"at 3 lower learning rates.*with which images: .*diverged\.html"
    ) as raised:
        train(photos, model="cnn", out=folder, overrides=settings)
    assert raised.value.exit_code == 5
    state = read_state(folder)
    assert state is not None
    assert state.state == "failed"
    assert state.error is not None
    values = json.loads((folder / "diverged.json").read_text())
    assert [failure["step"] for failure in values["failures"]] == [9] * 4
    losses = [one["loss"] for one in values["suspects"]]
    assert losses == sorted(losses, reverse=True)
    assert 8 <= len(losses) <= 12
    page = (folder / "diverged.html").read_text()
    assert page.count("<figure") == len(losses)
    assert "Always at the same batch" in page
    assert load(folder).predict(photos / "red" / "00.png").label in ("red", "green", "blue")
    monkeypatch.undo()
    assert resume(folder).report is not None  # from where all was well, at the lowest rate
    assert not (folder / "diverged.html").exists()


def test_going_on_with_other_threads_is_told(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "run"
    train(photos, model="cnn", out=folder, overrides=CNN, progress=StopAt("training", 3))
    threads = torch.get_num_threads()
    listening, again = StopAt("training", 4), StopAt("", 0)
    torch.set_num_threads(threads + 1)
    try:
        assert resume(folder, progress=listening).interrupted
    finally:
        torch.set_num_threads(threads)
    (told,) = [text for text in listening.said if "rounded otherwise" in text]
    assert f"begun with {threads} thread" in told
    assert f"now {threads + 1} threads a process: sums" in told
    resume(folder, progress=again)
    assert not any("rounded otherwise" in text for text in again.said)


@pytest.mark.parametrize("role", ["network.weights", "training.teacher"])
def test_a_classifier_that_was_replaced_while_a_run_rested_is_refused(photos: Path, tmp_path: Path, role: str) -> None:
    given, other = tmp_path / "given", tmp_path / "other"
    for folder, seed in ((given, 1), (other, 2)):
        train(photos, model="cnn", out=folder, seed=seed, overrides=[*CNN, "training.epochs=1"])
    folder = tmp_path / "run"
    settings = [*CNN, f"{role}={json.dumps(str(given))}"]
    train(photos, model="cnn", out=folder, overrides=settings, progress=StopAt("training", 3))
    given.rename(tmp_path / "put aside")
    other.rename(given)
    with pytest.raises(CheckpointError, match=r"given, which it (starts|learns) from, is another classifier"):
        resume(folder)
    given.rename(other)
    (tmp_path / "put aside").rename(given)
    assert not resume(folder).interrupted


def test_a_teacher_that_is_gone_is_missed_only_while_something_is_left_to_learn(photos: Path, tmp_path: Path) -> None:
    teacher = tmp_path / "teacher"
    train(photos, model="cnn", out=teacher, overrides=[*CNN, "training.epochs=1"])
    settings = [*CNN, f"training.teacher={json.dumps(str(teacher))}"]
    early, late = tmp_path / "early", tmp_path / "late"
    train(photos, model="cnn", out=early, overrides=settings, progress=StopAt("training", 3))
    with pytest.raises(KeyboardInterrupt):
        train(photos, model="cnn", out=late, overrides=settings, progress=StopAt("classifying", 0))
    shutil.rmtree(teacher)
    assert resume(late).report is not None
    with pytest.raises(BundleError, match=r"there is no folder .*teacher"):
        resume(early)


def test_test_images_that_vanished_are_no_result(photos: Path, tmp_path: Path) -> None:
    data, folder = tmp_path / "data", tmp_path / "run"
    shutil.copytree(photos, data)

    class Hides(SilentProgress):
        def start(self, stage: str, total: int) -> None:
            if stage == "classifying":
                data.rename(tmp_path / "hidden")

    with pytest.raises(DataError, match=r"none of the \d+ test images could be read any more.*bring them back"):
        train(data, model="cnn", out=folder, overrides=CNN, progress=Hides())
    state = read_state(folder)
    assert state is not None
    assert state.state == "failed"
    (tmp_path / "hidden").rename(data)
    assert resume(folder).report is not None


def test_a_classifier_that_knows_the_test_images_is_told(photos: Path, tmp_path: Path) -> None:
    first = train(photos, model="cnn", out=tmp_path / "first", overrides=CNN)
    for seed, role in ((0, ""), (1, "network.weights"), (1, "training.teacher")):
        told = StopAt("", 0)
        given = f"{role or 'network.weights'}={json.dumps(str(first.folder))}"
        out = tmp_path / f"{seed}{role}"
        run = train(photos, model="cnn", seed=seed, out=out, overrides=[*CNN, given], progress=told)
        found = [text for text in told.said if "test images from its training" in text]
        assert len(found) == (seed == 1)
        page = (run.folder / "report.html").read_text()
        assert ("test images from its training" in page) == (seed == 1)


def test_what_the_effort_leaves_unused_is_told(photos: Path, resnet_weights: Path, tmp_path: Path) -> None:
    told = StopAt("", 0)
    weights = f"network.weights={json.dumps(str(resnet_weights))}"
    asked = [weights, "network.stride_in=3x3", "training.lr=0.5", "augmentation.mixup=0.9", "data.image_size=32"]
    train(photos, model="resnet18", out=tmp_path / "run", overrides=asked, progress=told)
    (found,) = (text for text in told.said if "only a head is fitted" in text)
    assert "stays as it is: augmentation.mixup, training.lr; with --effort standard" in found


def test_a_list_that_named_images_by_full_paths_is_gone_on_with(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    rows = [f"{path},{path.parent.name}" for path in sorted(data.rglob("*.png"))]
    (data / "list.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    folder = tmp_path / "run"
    train(data / "list.csv", model="cnn", out=folder, overrides=CNN, progress=StopAt("training", 3))
    samples = folder / runs.SAMPLES
    older = samples.read_bytes().replace(b"\r\n", b"\r\n" + f"{data}/".encode()).removesuffix(f"{data}/".encode())
    samples.write_bytes(older)  # as they were called before
    state = json.loads((folder / STATE).read_text())
    (folder / STATE).write_text(json.dumps(state | {"files": {}}))
    assert resume(folder).report is not None


def test_a_list_of_the_users_own_beside_is_no_record_of_a_run(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(runs.SAMPLES).write_text("path,label\nx.png,cat\n")
    first = train(photos, model="cnn", out="first", overrides=CNN)
    shutil.copytree(first.folder / "bundle", tmp_path / "alone")
    assert train(photos, model="cnn", out="second", overrides=[*CNN, 'network.weights="alone"']).report is not None
