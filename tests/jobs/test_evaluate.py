from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eyebright.errors import BundleError, DataError
from eyebright.evaluation.report import EvaluationReport
from eyebright.jobs import runs
from eyebright.jobs.evaluate import evaluate
from eyebright.jobs.train import Run


def test_images_it_was_trained_on_are_left_out_even_under_another_name(run: Run, photos: Path, tmp_path: Path) -> None:
    report = evaluate(run.folder, photos)
    assert run.report is not None
    assert report.num_samples == run.report.num_samples == 7
    assert isinstance(report, EvaluationReport)
    assert isinstance(run.report, EvaluationReport)
    assert report.accuracy == run.report.accuracy
    moved = tmp_path / "moved"
    for path in photos.rglob("*.png"):
        (moved / path.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(path, moved / path.parent.name / f"copy of {path.name}")
    assert evaluate(run.folder, moved).num_samples == 7


def test_nothing_unseen_is_an_error(run: Run, photos: Path, tmp_path: Path) -> None:
    for record in runs.read_sample_records(run.folder / runs.SAMPLES):
        if record.split == "train":
            target = tmp_path / "seen" / record.name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(photos / record.name, target)
    with pytest.raises(DataError, match="used in training"):
        evaluate(run.folder, tmp_path / "seen")


def test_a_class_missing_from_the_data_shifts_nothing(run: Run, photos: Path, tmp_path: Path) -> None:
    full = evaluate(run.folder, photos)
    shutil.copytree(photos / "red", tmp_path / "only" / "red")
    report = evaluate(run.folder, tmp_path / "only")
    assert report.class_names == ("blue", "green", "red")
    assert report.per_class[2].recall == full.per_class[2].recall
    assert report.per_class[0].support == 0


def test_a_class_it_does_not_know_is_named(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(photos / "red", tmp_path / "data" / "red")
    shutil.copytree(photos / "blue", tmp_path / "data" / "purple")
    with pytest.raises(DataError, match="purple"):
        evaluate(run.folder, tmp_path / "data")


def test_a_bundle_alone_says_that_it_can_not_know(run: Run, photos: Path) -> None:
    report = evaluate(run.folder / "bundle", photos)
    assert report.num_samples == 48


def test_a_folder_without_a_classifier_is_named(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no saved classifier"):
        evaluate(tmp_path, photos)


def test_samples_of_several_labels_are_refused_by_a_classifier_of_one(run: Run, photos: Path, tmp_path: Path) -> None:
    rows = "".join(f"{path},{path.parent.name}|blue\n" for path in sorted(photos.rglob("*.png")))
    (tmp_path / "several.csv").write_text(f"path,labels\n{rows}")
    with pytest.raises(DataError, match="several labels to a sample"):
        evaluate(run.folder, tmp_path / "several.csv")
