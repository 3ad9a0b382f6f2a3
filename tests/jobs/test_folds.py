"""Cross-validation: each sample is tested once by a training without it, and all answers count together."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from eyebright.errors import DataError, SettingsError
from eyebright.evaluation.compare import Comparison
from eyebright.inference.load import load
from eyebright.jobs import runs
from eyebright.jobs.compare import ComparedRuns, compare, resume_comparison
from eyebright.jobs.folds import prepare_folds, whole_of
from eyebright.progress import Progress, SilentProgress
from eyebright.training.settings import Settings

StopIn = Callable[[int], Progress]
SETTINGS = ["training.epochs=2", "network.width=small"]


@pytest.fixture(scope="module")
def folded(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> ComparedRuns:
    return compare(
        photos, models=["cnn"], out=tmp_path_factory.mktemp("folds") / "out", overrides=SETTINGS, folds=3, seed=1
    )


def test_every_image_is_tested_once_by_a_training_without_it(photos: Path, folded: ComparedRuns) -> None:
    tested: list[str] = []
    for fold in (1, 2, 3):
        records = runs.read_sample_records(folded.folder / f"cnn-fold{fold}" / runs.SAMPLES)
        test = [record for record in records if record.split == "test"]
        assert len(records) == 48
        assert {label: sum(record.labels == (label,) for record in test) for label in ("blue", "green", "red")} == {
            "blue": pytest.approx(5.5, abs=0.5),
            "green": pytest.approx(5.5, abs=0.5),
            "red": pytest.approx(5.5, abs=0.5),
        }
        assert {record.split for record in records} == {"train", "val", "test"}
        tested += [record.name for record in test]
    assert sorted(tested) == sorted(str(path.relative_to(photos)) for path in photos.glob("*/*.png"))


def test_the_answers_of_all_folds_are_those_of_their_classifiers(photos: Path, folded: ComparedRuns) -> None:
    assert isinstance(folded.comparison, Comparison)
    network, baseline = folded.comparison.contestants
    report = network.report
    assert report.num_samples == 48
    assert folded.comparison.folds == 3
    answers = []
    names = sorted(str(path.relative_to(photos)) for path in photos.glob("*/*.png"))
    for fold in (1, 2, 3):
        records = runs.read_sample_records(folded.folder / f"cnn-fold{fold}" / runs.SAMPLES)
        for record in records:
            if record.split == "test":
                answer = load(folded.folder / f"cnn-fold{fold}").predict(photos / record.name)
                answers.append((names.index(record.name), report.class_names.index(answer.label)))
    assert [said for _, said in sorted(answers)] == [int(said) for said in report.predicted.split()]
    assert network.repeats is not None
    right = sum(training.accuracy * training.num_samples for training in network.repeats.trainings)
    assert report.num_correct == round(right)
    assert report.trust is None
    assert baseline.report.num_samples == 48
    assert baseline.repeats is not None
    assert len(baseline.repeats.trainings) == 3
    kept = json.loads((folded.folder / "report.json").read_text())
    assert Comparison.from_dict(kept) == folded.comparison
    page = (folded.folder / "report.html").read_text()
    assert "by a training on the other 2 of 3 folds" in page
    assert "1, for the 3 folds and all training" in page


def test_a_stopped_cross_validation_ends_as_if_it_had_not_been(
    photos: Path, folded: ComparedRuns, tmp_path: Path, stop_in: StopIn
) -> None:
    stopped = compare(
        photos, models=["cnn"], out=tmp_path / "c", overrides=SETTINGS, folds=3, seed=1, progress=stop_in(2)
    )
    assert stopped.interrupted
    assert stopped.comparison is None  # a fold alone says nothing of all images
    found = resume_comparison(tmp_path / "c")
    assert isinstance(found.comparison, Comparison)
    assert isinstance(folded.comparison, Comparison)
    for one, other in zip(found.comparison.contestants, folded.comparison.contestants, strict=True):
        assert one.report.predicted == other.report.predicted
        assert one.report.confidences == other.report.confidences


def test_groups_and_copies_stay_in_one_fold_and_the_datas_splits_do_not_count(photos: Path, tmp_path: Path) -> None:
    copies = tmp_path / "copies"
    copies.mkdir()
    lines = ["path,label,split,group"]
    for number, image in enumerate(sorted(photos.glob("*/*.png"))):
        lines.append(f"{image},{image.parent.name},{('train', 'test')[number % 2]},g{number // 4}")
        if number % 8 == 0:
            shutil.copy(image, copies / f"{number}.png")
            lines.append(f"copies/{number}.png,{image.parent.name},train,")
    path = tmp_path / "list.csv"
    path.write_text("\n".join(lines))
    parts = prepare_folds(path, Settings(), 4, SilentProgress())
    fold_of = np.full(len(parts[0].table), -1)
    for fold, part in enumerate(parts):
        rows = part.table.rows("test")
        assert (fold_of[rows] == -1).all()
        fold_of[rows] = fold
        assert any("own splits were not used" in note for note in part.table.notes)
    assert (fold_of >= 0).all()
    table = parts[0].table
    assert table.groups is not None
    together: dict[str, set[int]] = {}
    for row in range(len(table)):
        together.setdefault(table.groups[row], set()).add(int(fold_of[row]))
        together.setdefault(parts[0].digests[row], set()).add(int(fold_of[row]))
    assert all(len(folds) == 1 for folds in together.values())
    assert len(whole_of(parts).rows("test")) == len(table)


def test_what_can_not_be_divided_is_told_before_anything_is_trained(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="number of folds is 1; it must be at least 2"):
        compare(photos, models=["cnn"], out=tmp_path / "c", folds=1)
    with pytest.raises(DataError, match="can't be divided into 60 folds; ask for fewer folds"):
        compare(photos, models=["cnn"], out=tmp_path / "c", folds=60)
    several = tmp_path / "list.csv"
    several.write_text("path,labels\n" + "\n".join(f"{p},{p.parent.name}|any" for p in photos.glob("*/*.png")))
    with pytest.raises(DataError, match="cross-validation is for images of one label each"):
        compare(several, models=["cnn"], out=tmp_path / "c", folds=2)
    with pytest.raises(DataError, match="several seeds are compared for images of one label each"):
        compare(several, models=["cnn"], out=tmp_path / "c", seeds=2)
    lone = tmp_path / "lone.csv"
    images = sorted(photos.glob("*/*.png"))
    lone.write_text("path,label\n" + "\n".join(f"{p},{p.parent.name}" for p in images[:20]) + f"\n{images[-1]},red\n")
    with pytest.raises(DataError, match='the class "red"'):
        compare(lone, models=["cnn"], out=tmp_path / "c", folds=3)
    assert not (tmp_path / "c").exists()


def test_that_rare_classes_count_more_is_said_of_folds_too() -> None:
    labels = np.array([0] * 120 + [1] * 8)
    images = np.random.default_rng(0).integers(0, 255, (128, 16, 16, 3), dtype=np.uint8)
    parts = prepare_folds((images, labels), Settings(), 2, SilentProgress())
    for part in parts:
        (note,) = [text for text in part.table.notes if "rare classes" in text]
        assert note.startswith("0 has ")
