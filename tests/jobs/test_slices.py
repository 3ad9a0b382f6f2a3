"""From a column of a list of images to the report: train, compare, evaluate and a run that is gone on with."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from eyebright.errors import DataError
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.report import EvaluationReport
from eyebright.jobs.compare import compare
from eyebright.jobs.evaluate import evaluate
from eyebright.jobs.train import resume, train
from eyebright.progress import SilentProgress
from eyebright.settings import load_settings
from eyebright.training.settings import Settings

SETTINGS = ["training.epochs=1", "network.width=small"]
HOSTILE = "<img src=x onerror=alert(1)>\x1b[31m"


@pytest.fixture(scope="module")
def listed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The photos as a list with a camera and a site for each; half of them to be tested."""
    path = tmp_path_factory.mktemp("listed") / "list.csv"
    lines = [f"path,label,split,Camera,{HOSTILE}"]
    for number, image in enumerate(sorted(photos.glob("*/*.png"))):
        split = "test" if number % 2 else "val" if number % 8 == 0 else "train"
        camera = "=old()" if number % 4 == 1 else "new"
        lines.append(f"{image},{image.parent.name},{split},{camera},{HOSTILE if number % 3 else 'plain'}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", newline="")
    return path


def test_every_column_of_few_values_is_in_report_page_and_runs_to_come(listed: Path, tmp_path: Path) -> None:
    run = train(listed, model="cnn", out=tmp_path / "r", overrides=SETTINGS)
    assert isinstance(run.report, EvaluationReport)
    parts = [part for part in run.report.slices if part.column is not None]
    assert {(part.column, part.name) for part in parts} == {
        ("Camera", "=old()"),
        ("Camera", "new"),
        (HOSTILE, HOSTILE),
        (HOSTILE, "plain"),
    }
    assert sum(part.num_samples for part in parts) == 2 * run.report.num_samples
    page = (tmp_path / "r" / "report.html").read_text()
    assert "<img src=x" not in page
    assert "\x1b" not in page
    assert "<bdi>Camera</bdi> <bdi>=old()</bdi>" in page
    assert "By <bdi>Camera</bdi>: 2 values" in page
    kept = json.loads((tmp_path / "r" / "report.json").read_text())
    assert Comparison.from_dict(kept).contestants[0].report.slices == run.report.slices
    again = evaluate(tmp_path / "r", listed, slices=["camera"])
    assert isinstance(again, EvaluationReport)
    assert {part.column for part in again.slices} == {None, "Camera"}
    with pytest.raises(DataError, match='no column "camra" to slice by; did you mean "Camera"'):
        evaluate(tmp_path / "r", listed, slices=["camra"])


def test_a_comparison_tells_the_same_parts_of_every_contestant(listed: Path, tmp_path: Path) -> None:
    found = compare(listed, models=["cnn"], out=tmp_path / "c", overrides=SETTINGS, slices=["camera"])
    assert isinstance(found.comparison, Comparison)
    assert len(found.comparison.contestants) == 2  # the one without a network, too
    assert 'aria-label="Accuracy by Camera"' in (tmp_path / "c" / "report.html").read_text()
    for contestant in found.comparison.contestants:
        parts = [part for part in contestant.report.slices if part.column is not None]
        assert sorted((part.column, part.name, part.num_samples) for part in parts) == [
            ("Camera", "=old()", 12),
            ("Camera", "new", 12),
        ]


def test_a_column_that_is_not_there_stops_before_anything_is_trained(
    listed: Path, photos: Path, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match='did you mean "Camera"'):
        train(listed, model="cnn", out=tmp_path / "r", slices=["cam"], overrides=SETTINGS)
    with pytest.raises(DataError, match="the data have no columns of their own"):
        compare(photos, models=["cnn"], out=tmp_path / "r", slices=["camera"], overrides=SETTINGS)
    assert not (tmp_path / "r").exists()


class StopInTraining(SilentProgress):
    """A progress that asks to stop once the training has begun."""

    stop_requested = False

    def start(self, stage: str, total: int) -> None:
        self.stop_requested = stage == "training"


def test_a_run_that_is_gone_on_with_remembers_the_columns(listed: Path, tmp_path: Path) -> None:
    stopped = train(
        listed, model="cnn", out=tmp_path / "r", slices=["CAMERA"], overrides=SETTINGS, progress=StopInTraining()
    )
    assert stopped.interrupted
    assert load_settings(Settings, file=tmp_path / "r" / "settings.toml").data.slices == ("CAMERA",)
    report = resume(tmp_path / "r").report
    assert isinstance(report, EvaluationReport)
    assert {part.column for part in report.slices} == {None, "Camera"}
