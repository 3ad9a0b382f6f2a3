from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from eyebright.bundle.manifest import read_manifest
from eyebright.errors import BundleError, DataError, ModelError, OutputError, SettingsError, WeightsError
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.report import EvaluationReport
from eyebright.inference.load import load
from eyebright.jobs import runs
from eyebright.jobs.compare import compare
from eyebright.jobs.prepare import prepare
from eyebright.jobs.train import Run, choose_settings, train
from eyebright.progress import SilentProgress
from eyebright.settings import load_settings
from eyebright.training.history import find_kept, read_history
from eyebright.training.settings import Settings

SMALL = ["network.width=small"]


class Recorder(SilentProgress):
    """A progress that keeps what it was told, and asks to stop once a stage has come so far."""

    def __init__(self, stop_in: str = "", after: int = 0) -> None:
        self.stop_in, self.after = stop_in, after
        self.stop_requested = False
        self.stages: list[str] = []
        self.lines: list[str] = []

    def start(self, stage: str, total: int) -> None:
        self.stages.append(stage)

    def advance(self, done: int, note: str = "") -> None:
        if self.stages[-1] == self.stop_in and done >= self.after:
            self.stop_requested = True

    def say(self, text: str) -> None:
        self.lines.append(text)

    def warn(self, text: str) -> None:
        self.lines.append(text)


def digests(folder: Path) -> dict[str, str]:
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_run_folder_holds_all_that_it_promises(run: Run) -> None:
    assert sorted(path.name for path in run.folder.iterdir()) == [
        "bundle",
        "history.jsonl",
        "report.html",
        "report.json",
        "run.json",
        "samples.csv",
        "settings.toml",
    ]
    assert sorted(path.name for path in (run.folder / "bundle").iterdir()) == [
        "README.md",
        "calibration.safetensors",
        "manifest.json",
        "weights.safetensors",
    ]
    comparison = Comparison.from_dict(json.loads((run.folder / "report.json").read_text()))
    assert comparison.contestants == (run.contestant,)
    settings = load_settings(Settings, file=run.folder / runs.SETTINGS)
    assert settings.training.epochs == 8
    assert settings.data.image_size == 24  # chosen, and written down
    records = read_history(run.folder / runs.HISTORY)
    assert [record.number for record in records] == list(range(9))
    samples = runs.read_sample_records(run.folder / runs.SAMPLES)
    assert len(samples) == 48
    assert {sample.split for sample in samples} == {"train", "val", "test"}
    assert all(len(sample.sha256) == 64 for sample in samples)


def test_a_notebook_shows_the_report_and_where_the_page_lies(run: Run) -> None:
    shown = run._repr_html_()
    assert run.report is not None
    assert run.report._repr_html_() in shown
    assert f"<code>{run.folder / 'report.html'}</code>" in shown


def test_it_learns_what_is_easy(run: Run) -> None:
    assert run.report is not None
    assert run.report.num_samples == 7
    assert isinstance(run.report, EvaluationReport)
    assert run.report.accuracy >= 0.8


def test_the_manifest_says_what_was_measured(run: Run) -> None:
    provenance = read_manifest(run.folder / "bundle").provenance
    assert run.report is not None
    assert isinstance(run.report, EvaluationReport)
    assert provenance["results"]["accuracy"] == run.report.accuracy
    assert provenance["data"]["splits"] == {"train": 38, "val": 3, "test": 7}
    assert provenance["settings"]["model"] == "cnn"
    assert len(provenance["data"]["fingerprint"]) == 64


def test_the_bundle_has_a_model_card_that_may_be_edited(run: Run, tmp_path: Path) -> None:
    assert isinstance(run.report, EvaluationReport)
    bundle = tmp_path / "bundle"
    shutil.copytree(run.folder / "bundle", bundle)
    card = (bundle / "README.md").read_text()
    assert card.startswith("---\nlibrary_name: eyebright\n")
    assert f"| accuracy | {run.report.accuracy:.3f} ({run.report.accuracy_low:.3f} to " in card
    assert read_manifest(bundle).provenance["data"]["fingerprint"] in card
    (bundle / "README.md").write_text("---\nlicense: mit\n---\n" + card)
    assert load(bundle).class_names == run.report.class_names


def test_the_same_seed_gives_the_same_weights_and_numbers_on_any_number_of_threads(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    again = train(
        photos,
        model="cnn",
        out=tmp_path / "again",
        overrides=["training.epochs=8", "training.threads=3", *SMALL],
    )
    assert again.report is not None
    assert run.report is not None
    weights = [(folder / "bundle" / "weights.safetensors").read_bytes() for folder in (run.folder, again.folder)]
    assert weights[0] == weights[1]
    assert isinstance(again.report, EvaluationReport)
    assert isinstance(run.report, EvaluationReport)
    assert again.report.correctness == run.report.correctness
    assert again.report.log_loss == run.report.log_loss


def test_another_seed_gives_another_split(run: Run, photos: Path, tmp_path: Path) -> None:
    other = train(photos, model="cnn", seed=1, out=tmp_path / "r", overrides=["training.epochs=1", *SMALL])
    tested = [
        {sample.name for sample in runs.read_sample_records(folder / runs.SAMPLES) if sample.split == "test"}
        for folder in (run.folder, other.folder)
    ]
    assert tested[0] != tested[1]


def test_arrays_give_the_same_classifier_as_the_files_they_came_from(photos: Path, tmp_path: Path) -> None:
    files = sorted(photos.rglob("*.png"))
    images = np.stack([np.asarray(Image.open(path)) for path in files])
    labels = np.array([path.parent.name for path in files])
    result = train((images, labels), model="cnn", out=tmp_path / "r", overrides=["training.epochs=8", *SMALL])
    assert result.report is not None
    assert result.report.class_names == ("blue", "green", "red")
    assert isinstance(result.report, EvaluationReport)
    assert result.report.accuracy >= 0.8


def test_a_quick_head_on_a_backbone_and_then_standard_training_from_it(
    photos: Path, resnet_weights: Path, tmp_path: Path
) -> None:
    weights = f'network.weights="{resnet_weights}"'
    quick = train(photos, model="resnet18", out=tmp_path / "quick", overrides=[weights])
    assert quick.contestant is not None
    assert quick.contestant.curve_kind == "regularisation"
    assert len(quick.contestant.curve) >= 4
    assert isinstance(quick.contestant.report, EvaluationReport)
    assert quick.contestant.report.accuracy >= 0.7
    standard = train(
        photos,
        model="resnet18",
        effort="standard",
        out=tmp_path / "standard",
        overrides=[weights, "training.epochs=1"],
    )
    refitted = train(photos, model="resnet18", out=tmp_path / "again", overrides=[f'network.weights="{quick.folder}"'])
    assert refitted.contestant is not None
    assert isinstance(refitted.contestant.report, EvaluationReport)
    assert isinstance(quick.contestant.report, EvaluationReport)
    assert refitted.contestant.report.correctness == quick.contestant.report.correctness
    phases = [record.phase for record in read_history(standard.folder / runs.HISTORY)]
    assert phases[0] == "head"
    assert phases[-2:] == ["epochs", "epochs"]
    manifest = read_manifest(standard.folder / "bundle")
    assert manifest.architecture.embed_stages == 2
    assert manifest.preprocessing.mean == (0.485, 0.456, 0.406)


def test_an_interrupted_training_keeps_the_best_so_far_and_can_go_on(photos: Path, tmp_path: Path) -> None:
    settings = ["training.epochs=50", *SMALL]
    progress = Recorder("training", after=12)
    stopped = train(photos, model="cnn", out=tmp_path / "r", overrides=settings, progress=progress)
    assert stopped.interrupted
    assert stopped.report is None
    records = read_history(stopped.folder / runs.HISTORY)
    assert 1 <= records[-1].number < 50
    assert load(stopped.folder).class_names == ("blue", "green", "red")
    assert read_manifest(stopped.folder / "bundle").provenance["interrupted"] is True
    further = train(
        photos,
        model="cnn",
        out=tmp_path / "further",
        overrides=[f'network.weights="{stopped.folder}"'],
    )
    first = read_history(further.folder / runs.HISTORY)[0]
    kept = find_kept(records)
    assert kept is not None
    assert first.val_loss == pytest.approx(kept.val_loss, rel=1e-4)  # it began where the other had ended


def test_stopping_before_anything_was_learned_is_an_interruption(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(photos, model="cnn", out=tmp_path / "r", progress=Recorder("reading images", after=1))


def test_unreadable_images_are_named_left_out_and_counted_as_errors(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for path in sorted(photos.rglob("*.png")):
        (data / path.parent.name).mkdir(parents=True, exist_ok=True)
        (data / path.parent.name / path.name).write_bytes(path.read_bytes())
    files = sorted(data.rglob("*.png"))
    for path in files[::4]:
        path.write_bytes(path.read_bytes()[:200])
    before = digests(data)
    progress = Recorder()
    result = train(data, model="cnn", out=tmp_path / "r", overrides=["training.epochs=2", *SMALL], progress=progress)
    assert digests(data) == before  # no source file is ever changed
    records = runs.read_sample_records(result.folder / runs.SAMPLES)
    broken = {str(path.relative_to(data)) for path in files[::4]}
    tested = [record for record in records if record.split == "test" and record.name in broken]
    assert result.report is not None
    assert len(result.report.unreadable) == len(tested) > 0
    assert result.report.num_samples == sum(record.split == "test" for record in records)
    left_out = [line for line in progress.lines if line.startswith("left out:")]
    assert len(left_out) == len(broken) - len(tested)


def test_a_class_of_which_nothing_can_be_read_is_named(photos: Path, tmp_path: Path) -> None:
    data = tmp_path / "data"
    for path in sorted(photos.rglob("*.png")):
        (data / path.parent.name).mkdir(parents=True, exist_ok=True)
        content = path.read_bytes()
        (data / path.parent.name / path.name).write_bytes(b"" if path.parent.name == "red" else content)
    with pytest.raises(DataError, match="no readable training image is left of red"):
        train(data, model="cnn", out=tmp_path / "r", overrides=SMALL)


def test_the_output_folder_must_be_new_or_empty(run: Run, photos: Path, tmp_path: Path) -> None:
    before = digests(run.folder)
    with pytest.raises(OutputError, match="exists already and nothing is ever overwritten"):
        train(photos, model="cnn", out=run.folder)
    assert digests(run.folder) == before
    file = tmp_path / "file"
    file.touch()
    with pytest.raises(OutputError, match="exists already"):
        train(photos, model="cnn", out=file)
    with pytest.raises(OutputError, match="can't be made"):
        train(photos, model="cnn", out=file / "below")


def test_without_a_folder_runs_are_numbered(photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    folders = [train(photos, model="cnn", overrides=["training.epochs=1", *SMALL]).folder.as_posix() for _ in range(2)]
    assert folders == ["runs/colours-cnn", "runs/colours-cnn-2"]


def test_a_full_disk_is_said_and_leaves_no_half_bundle(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("eyebright.bundle.store.safetensors.torch.save_file", fail)
    with pytest.raises(OutputError, match="No space left on device"):
        train(photos, model="cnn", out=tmp_path / "r", overrides=["training.epochs=1", *SMALL])
    assert not (tmp_path / "r" / "bundle").exists()
    assert not [path for path in (tmp_path / "r").iterdir() if path.name.startswith(".")]


@pytest.mark.parametrize(
    ("arguments", "kind", "message"),
    [
        ({"model": "resnet5"}, ModelError, 'no network named "resnet5"; did you mean "resnet50"'),
        ({"effort": "standrad"}, SettingsError, 'did you mean "standard"'),
        ({"seed": -1}, SettingsError, "at least 0"),
        ({"overrides": ["training.epoch=3"]}, SettingsError, 'did you mean "epochs"'),
        ({"overrides": ["training.epochs=many"]}, SettingsError, "must be a whole number"),
        ({"overrides": ["data.test_fraction=2.0"]}, SettingsError, "must be above 0 and below 1"),
        ({"overrides": ["training.device=tpu"]}, SettingsError, 'not "tpu"'),
        ({"overrides": ["network.weights=resnet50.tv_v9"]}, WeightsError, "no weights named"),
        ({"model": "cnn", "overrides": ["network.width=huge"]}, ModelError, "no width 'huge'"),
        ({"settings": "absent.toml"}, SettingsError, "absent.toml can't be read"),
    ],
)
def test_what_can_not_be_is_refused_before_anything_is_written(
    photos: Path, tmp_path: Path, arguments: dict[str, object], kind: type[Exception], message: str
) -> None:
    with pytest.raises(kind, match=message):
        train(photos, out=tmp_path / "r", **arguments)  # type: ignore[arg-type]
    assert not (tmp_path / "r").exists()


def test_data_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="nowhere"):
        train(tmp_path / "nowhere", out=tmp_path / "r")
    assert not (tmp_path / "r").exists()


def test_the_silent_progress_is_enough(photos: Path, tmp_path: Path) -> None:
    result = train(
        photos,
        model="cnn",
        out=tmp_path / "r",
        progress=SilentProgress(),
        settings=Settings(model="vgg11"),
        overrides=["training.epochs=1", *SMALL],
    )
    assert result.predictor.manifest.architecture.model == "cnn"  # the argument counts more than the settings
    with pytest.raises(BundleError):
        load(tmp_path)


def test_near_duplicates_share_a_split_unless_that_was_declined(tmp_path: Path) -> None:
    root = tmp_path / "twins"
    for number in range(24):
        random = np.random.default_rng(number)
        coarse = Image.fromarray(random.integers(60, 196, (6, 8, 3), dtype=np.uint8)).resize((160, 120))
        grain = random.integers(-30, 30, (120, 160, 1))
        image = Image.fromarray((np.asarray(coarse) + grain).clip(0, 255).astype(np.uint8))
        folder = root / ("even" if number % 2 == 0 else "odd")
        folder.mkdir(parents=True, exist_ok=True)
        image.save(folder / f"{number:02}.png")
        image.save(folder / f"{number:02}-copy.jpg", quality=80)

    def parted(*overrides: str) -> int:
        table = prepare(root, choose_settings(None, overrides), SilentProgress()).table
        splits = dict(zip(table.names, table.splits.tolist(), strict=True))
        assert len(set(splits.values())) == 3
        return sum(splits[name] != splits[f"{name.removesuffix('.png')}-copy.jpg"] for name in splits if ".png" in name)

    assert parted() == 0
    assert parted("data.keep_duplicates_together=false") > 0


class Unasked(SilentProgress):
    def start(self, stage: str, total: int) -> None:
        raise AssertionError(f"{stage} came before the refusal")


def test_what_can_be_refused_at_once_is(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "taken").mkdir()
    (tmp_path / "taken" / "thesis.doc").touch()
    for call in (train, compare):
        with pytest.raises(OutputError, match="taken exists already and nothing is ever overwritten"):
            call(photos, out=tmp_path / "taken", progress=Unasked())
        with pytest.raises(BundleError, match="there is no folder nowhere"):
            call(photos, overrides=["training.teacher=nowhere"], progress=Unasked())


def test_a_folder_that_can_not_be_looked_into_is_no_bug(photos: Path) -> None:
    with pytest.raises(OutputError, match="can't be made: File name too long; choose another --out"):
        train(photos, out="a" * 300, progress=Unasked())


@pytest.mark.parametrize(
    ("model", "sizes"),
    [("resnet18", "training.batch_size=40"), ("vgg11_bn", "training.batch_size=1")],
)
def test_batchnorm_learns_of_pairs_or_of_several_pixels(photos: Path, tmp_path: Path, model: str, sizes: str) -> None:
    scratch = ["network.weights=none", "training.epochs=1", "data.image_size=32", sizes, "training.micro_batch=2"]
    assert train(photos, model=model, out=tmp_path / "r", overrides=scratch).report is not None


def test_batchnorm_can_not_learn_of_one_image_of_one_pixel(photos: Path, tmp_path: Path) -> None:
    scratch = ["network.weights=none", "training.epochs=1", "data.image_size=32", "training.batch_size=1"]
    with pytest.raises(
        SettingsError, match=r"resnet18 learns BatchNorm's statistics.*32 pixels it can't.*batch_size=1"
    ):
        train(photos, model="resnet18", out=tmp_path / "r", overrides=scratch)
