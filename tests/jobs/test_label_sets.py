"""Images that may have several classes each: trained, stopped, measured, saved and asked, end to end."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
from PIL import Image

from eyebright.bundle.manifest import FORMAT_VERSION, read_manifest
from eyebright.errors import DataError, SettingsError
from eyebright.evaluation.label_sets import LabelSetsReport
from eyebright.evaluation.label_sets_compare import LabelSetsComparison
from eyebright.exporting.quantize import Quantized, quantize
from eyebright.inference.load import load
from eyebright.jobs.compare import compare
from eyebright.jobs.evaluate import evaluate
from eyebright.jobs.explain import explain
from eyebright.jobs.export import export
from eyebright.jobs.features import features
from eyebright.jobs.predict import predict, prediction_to_dict, write_predictions
from eyebright.jobs.train import Run, resume, train
from eyebright.models.origins import BUNDLE_FORMAT
from eyebright.progress import SilentProgress

COLOURS = ("blue", "green", "red")
FEW = (
    "network.width=small",
    "training.epochs=12",
    "training.batch_size=16",
    "data.image_size=16",
    "augmentation.erase=0",
)


def draw_scene(random: np.random.Generator) -> tuple[np.ndarray, list[str]]:
    """Grey noise with a spot of each of up to three colours."""
    pixels = random.integers(40, 180, (16, 16, 3), dtype=np.uint8)
    present = [name for name in COLOURS if random.random() < 0.5]
    for name in present:
        channel = 2 - COLOURS.index(name)
        y, x = random.integers(0, 10, 2)
        pixels[y : y + 5, x : x + 5, channel] = 230
        pixels[y : y + 5, x : x + 5, [c for c in range(3) if c != channel]] //= 2
    return pixels, present


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A list of images with several labels each; those without any are "nothing"."""
    root = tmp_path_factory.mktemp("scenes")
    random = np.random.default_rng(3)
    with (root / "scenes.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["path", "labels"])
        for number in range(240):
            pixels, present = draw_scene(random)
            Image.fromarray(pixels).save(root / f"{number:03}.png")
            writer.writerow([f"{number:03}.png", "|".join(present or ["nothing"])])
    (root / "007.png").write_bytes(b"not an image")
    return root / "scenes.csv"


@pytest.fixture(scope="module")
def run(scenes: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return train(scenes, model="cnn", out=tmp_path_factory.mktemp("runs") / "scenes", overrides=FEW)


def test_a_notebook_shows_the_classes(run: Run) -> None:
    assert run.report is not None
    shown = run._repr_html_()
    assert shown.count("<tr>") == 1 + len(run.report.class_names)
    assert "<th>average precision</th>" in shown


def test_a_run_learns_which_classes_an_image_has(run: Run) -> None:
    report = run.report
    assert isinstance(report, LabelSetsReport)
    assert report.class_names == ("blue", "green", "nothing", "red")
    assert report.mean_average_precision is not None
    assert report.mean_average_precision > 0.9
    state = json.loads((run.folder / "run.json").read_text())
    assert (state["state"], state["accuracy"]) == ("finished", None)
    assert state["mean_average_precision"] == report.mean_average_precision
    stored = json.loads((run.folder / "report.json").read_text())
    assert LabelSetsComparison.from_dict(stored).contestants[0].report == report
    page = (run.folder / "report.html").read_text()
    assert "mean average precision" in page
    assert all(f"<bdi>{name}</bdi>" in page for name in report.class_names)


def test_thresholds_are_chosen_and_kept_in_the_bundle(run: Run) -> None:
    manifest = read_manifest(run.folder / "bundle")
    assert isinstance(run.report, LabelSetsReport)
    assert manifest.thresholds == tuple(result.threshold for result in run.report.per_class)
    assert any(threshold != 0.5 for threshold in manifest.thresholds or ())
    assert json.loads((run.folder / "bundle" / "manifest.json").read_text())["format_version"] == 2


def test_an_answer_names_every_class_that_an_image_has(run: Run, tmp_path: Path) -> None:
    random = np.random.default_rng(11)
    scenes = [draw_scene(random) for _ in range(40)]
    answers = run.predictor.predict([pixels for pixels, _ in scenes])
    said = [sorted(answer.labels) for answer in answers]
    right = sum(labels == sorted(present or ["nothing"]) for labels, (_, present) in zip(said, scenes, strict=True))
    assert right >= 28
    assert {len(labels) for labels in said} >= {1, 2}
    assert all(sum(answer.probabilities.values()) != pytest.approx(1) for answer in answers if len(answer.labels) > 1)
    for number, (pixels, _) in enumerate(scenes):
        Image.fromarray(pixels).save(tmp_path / f"{number:02}.png")
    found = predict(run.folder, [tmp_path])
    assert write_predictions(tmp_path / "out.csv", found.predictions, found.class_names) == (40, 0)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [sorted(filter(None, row["label"].split("|"))) for row in rows] == said
    assert prediction_to_dict(answers[0])["labels"] == list(answers[0].labels)


def test_measuring_again_gives_the_same_and_leaves_out_what_was_trained_on(run: Run, scenes: Path) -> None:
    assert isinstance(run.report, LabelSetsReport)
    again = evaluate(run.folder, scenes)
    assert isinstance(again, LabelSetsReport)
    assert again.mean_average_precision == pytest.approx(run.report.mean_average_precision, abs=1e-9)
    assert again.per_class == run.report.per_class


class StopsIn(SilentProgress):
    """Asks to stop in the third epoch."""

    def start(self, stage: str, total: int) -> None:
        self.training = stage == "training"

    def advance(self, done: int, note: str = "") -> None:
        if self.training and done > 25:
            self.stop_requested = True


def test_a_stopped_run_goes_on_to_the_same_classifier(run: Run, scenes: Path, tmp_path: Path) -> None:
    stopped = train(scenes, model="cnn", out=tmp_path / "stopped", overrides=FEW, progress=StopsIn())
    assert stopped.interrupted
    assert read_manifest(stopped.folder / "bundle").thresholds == (0.5,) * 4
    resumed = resume(stopped.folder)
    assert isinstance(resumed.report, LabelSetsReport)
    assert isinstance(run.report, LabelSetsReport)
    assert resumed.report.per_class == run.report.per_class
    one, other = ((folder / "bundle" / "weights.safetensors").read_bytes() for folder in (run.folder, resumed.folder))
    assert one == other
    assert (run.folder / "samples.csv").read_bytes() == (resumed.folder / "samples.csv").read_bytes()


def test_an_answer_of_several_labels_is_explained(run: Run) -> None:
    pixels, _ = draw_scene(np.random.default_rng(12))
    found = explain(run.folder, pixels).explanations[0]
    assert found.label == next(iter(found.prediction.probabilities))
    red = explain(run.folder, pixels, label="red").explanations[0]
    covered = red.maps[0].faithfulness.deletion
    assert covered[0] == pytest.approx(red.prediction.probabilities["red"], abs=0.02)


def test_of_several_answers_none_is_weighed_against_another(run: Run) -> None:
    random = np.random.default_rng(13)
    scenes = [pixels for pixels, present in (draw_scene(random) for _ in range(20)) if len(present) == 2]
    several = 0
    for pixels in scenes:
        (found,) = explain(run.folder, pixels).explanations
        assert found.contrast is not None
        assert found.contrast.against not in found.prediction.labels
        several += len(found.prediction.labels) > 1
    assert several >= 2


def test_images_beside_an_explanation_name_all_their_classes(run: Run, scenes: Path) -> None:
    with scenes.open(newline="") as file:
        labels = {row["path"]: row["labels"].split("|") for row in csv.DictReader(file)}
    (found,) = explain(run.folder, scenes.parent / "001.png", similar=True).explanations
    assert all(other.label.split(", ") == sorted(labels[Path(other.name).name]) for other in found.similar)
    shown = features(run.folder, data=scenes, steps=0).features.stages
    exciting = [image for stage in shown for channel in stage.shown for image in channel.exciting]
    assert all(sorted(image.labels) == sorted(labels[Path(image.name).name]) for image in exciting)
    assert {len(image.labels) for image in exciting} >= {1, 2}


def test_an_export_is_compared_by_all_labels_and_answers_with_the_same(run: Run, scenes: Path, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "run")
    random = np.random.default_rng(13)
    images = [draw_scene(random)[0] for _ in range(40)]
    wanted = load(tmp_path / "run", engine="torch").predict(images)
    assert {len(answer.labels) for answer in wanted} >= {1, 2}
    assert isinstance(run.report, LabelSetsReport)
    for int8 in (False, True):
        verified = export(tmp_path / "run", int8=int8, max_drop=10).verified
        assert verified.several_labels
        assert verified.num_images == run.report.num_samples - len(run.report.unreadable)
        assert verified.num_agree >= (0.9 if int8 else 1) * verified.num_images
        assert 0.5 * verified.num_images < verified.torch_correct < verified.num_images
        predictor = load(tmp_path / "run", engine=verified.engine)
        assert predictor.engine == verified.engine
        answers = predictor.predict(images)
        same = sum(one.labels == other.labels for one, other in zip(answers, wanted, strict=True))
        assert same >= (36 if int8 else 40)
        again = evaluate(tmp_path / "run", scenes, engine=verified.engine)
        assert isinstance(again, LabelSetsReport)
        assert again.mean_average_precision == pytest.approx(run.report.mean_average_precision, abs=0.02)


def test_int8_is_chosen_at_the_thresholds_and_the_file_names_them(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = []

    def spy(*arguments: Any, **options: Any) -> Quantized:
        asked.append(options["thresholds"])
        return quantize(*arguments, **options)

    monkeypatch.setattr("eyebright.exporting.quantize.quantize", spy)
    shutil.copytree(run.folder, tmp_path / "run")
    made = export(tmp_path / "run", int8=True, max_drop=10)
    assert asked == [run.predictor.manifest.thresholds]
    graph = onnxruntime.InferenceSession(made.path, providers=["CPUExecutionProvider"])
    assert tuple(json.loads(graph.get_modelmeta().custom_metadata_map["thresholds"])) == asked[0]


def test_a_comparison_ranks_by_mean_average_precision(scenes: Path, tmp_path: Path) -> None:
    found = compare(scenes, models=["cnn"], out=tmp_path / "compared", overrides=(*FEW, "training.epochs=1"))
    assert isinstance(found.comparison, LabelSetsComparison)
    (report,) = found.reports.values()
    assert isinstance(report, LabelSetsReport)
    low, high = report.mean_average_precision_low, report.mean_average_precision_high
    assert low is not None
    assert high is not None
    assert low < (report.mean_average_precision or 0) < high
    assert "mean average precision" in (tmp_path / "compared" / "report.html").read_text()


def test_a_student_learns_from_a_teacher_of_the_same_kind_only(run: Run, scenes: Path, tmp_path: Path) -> None:
    few = (*FEW, "training.epochs=2")
    taught = train(scenes, model="cnn", out=tmp_path / "b", overrides=(*few, f'training.teacher="{run.folder}"'))
    assert isinstance(taught.report, LabelSetsReport)
    images = np.random.default_rng(0).integers(0, 255, (30, 16, 16, 3), dtype=np.uint8)
    names = [("blue", "red")[number % 2] for number in range(30)]
    with pytest.raises(SettingsError, match="learned several labels an image, and the data give one"):
        train((images, names), model="cnn", out=tmp_path / "c", overrides=(*few, f'training.teacher="{run.folder}"'))


def test_a_run_starts_from_another_with_several_labels(run: Run, scenes: Path, tmp_path: Path) -> None:
    overrides = [*FEW, "training.epochs=1", f"network.weights={json.dumps(str(run.folder))}"]
    further = train(scenes, model="cnn", out=tmp_path / "further", overrides=overrides)
    assert isinstance(further.report, LabelSetsReport)
    assert BUNDLE_FORMAT == FORMAT_VERSION  # or a newer one is refused by the program that wrote it


def test_a_classifier_of_one_label_is_not_measured_on_several(scenes: Path, tmp_path: Path) -> None:
    images = np.random.default_rng(0).integers(0, 255, (30, 16, 16, 3), dtype=np.uint8)
    single = train((images, [COLOURS[n % 3] for n in range(30)]), model="cnn", out=tmp_path / "single", overrides=FEW)
    with pytest.raises(DataError, match="but the classifier knows one label for each"):
        evaluate(single.folder, scenes)


def test_labels_that_could_not_be_told_apart_are_refused(scenes: Path, tmp_path: Path) -> None:
    from dataclasses import replace

    from eyebright.data.sources import read_samples
    from eyebright.jobs.prepare import _require_plain_names

    table = read_samples(scenes)
    with pytest.raises(DataError, match=r'the class "a\|b" has a \| in its name'):
        _require_plain_names(replace(table, classes=("a|b", *table.classes[1:])))
