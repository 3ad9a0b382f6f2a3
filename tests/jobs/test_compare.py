from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from eyebright.errors import DataError, ModelError, SettingsError
from eyebright.evaluation.compare import Comparison, compare_in_words, networks_of, pairs_of
from eyebright.evaluation.report import EvaluationReport
from eyebright.jobs import runs
from eyebright.jobs.compare import ComparedRuns, compare
from eyebright.progress import SilentProgress

SETTINGS = ["training.epochs=2", "network.width=small", "network.weights=none"]


@pytest.fixture(scope="module")
def compared(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> ComparedRuns:
    folder = tmp_path_factory.mktemp("compare") / "out"
    return compare(photos, models=["cnn", "ResNet-18"], out=folder, overrides=SETTINGS)


def test_every_network_meets_the_same_split(compared: ComparedRuns) -> None:
    assert isinstance(compared.comparison, Comparison)
    tables = []
    for contestant in networks_of(compared.comparison.contestants):
        records = runs.read_sample_records(compared.folder / contestant.model / runs.SAMPLES)
        tables.append([(record.name, record.labels, record.split) for record in records])
    assert len(tables) == 2
    assert tables[0] == tables[1]


def test_the_report_is_one_file_that_names_both(compared: ComparedRuns) -> None:
    page = (compared.folder / "report.html").read_text()
    assert "ResNet-18" in page
    assert "Plain CNN" in page
    assert Comparison.from_dict(json.loads((compared.folder / "report.json").read_text())) == compared.comparison


def test_the_best_network_answers_by_default(compared: ComparedRuns) -> None:
    accuracies = [report.accuracy for report in compared.reports.values() if isinstance(report, EvaluationReport)]
    assert len(accuracies) == len(compared.reports)
    assert accuracies == sorted(accuracies, reverse=True)
    assert compared.predictor().manifest.architecture.model == next(iter(compared.reports))
    assert compared.predictor("resnet-18").manifest.architecture.model == "resnet18"


def test_a_classifier_without_a_network_stands_beside_them(compared: ComparedRuns) -> None:
    assert isinstance(compared.comparison, Comparison)
    baseline = compared.comparison.contestants[-1]
    assert not baseline.is_network
    # Each class is one colour, brighter: nothing has to be learned to see that.
    assert baseline.report.accuracy == 1
    assert baseline.report.trust is not None
    assert baseline.latency_ms is not None
    assert len(pairs_of(compared.comparison)) == 3
    assert "a classifier without a network" in compare_in_words(compared.comparison).lower()
    assert "baseline" not in compared.reports  # those can be loaded
    assert not (compared.folder / "baseline").exists()


def test_it_can_be_left_out_and_is_the_same_twice(photos: Path, compared: ComparedRuns, tmp_path: Path) -> None:
    alone = compare(photos, models=["cnn"], out=tmp_path / "c", overrides=SETTINGS, baseline=False)
    assert alone.comparison is not None
    assert [c.model for c in alone.comparison.contestants] == ["cnn"]
    again = compare(photos, models=["cnn"], out=tmp_path / "d", overrides=SETTINGS)
    reports = []
    for found in (compared, again):
        assert isinstance(found.comparison, Comparison)
        reports.append(replace(found.comparison.contestants[-1].report, images_per_second=1))
    assert reports[0] == reports[1]


def test_the_networks_are_reported_where_nothing_can_be_fitted_without_one(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise DataError("no readable training image is left of b")

    monkeypatch.setattr("eyebright.jobs.baseline.fit_baseline", refuse)
    heard = Hearing()
    found = compare(photos, models=["cnn"], out=tmp_path / "c", overrides=SETTINGS, progress=heard)
    assert found.comparison is not None
    assert [c.model for c in found.comparison.contestants] == ["cnn"]
    assert (tmp_path / "c" / "report.html").is_file()
    assert heard.warned == ["nothing without a network is compared: no readable training image is left of b"]


class Hearing(SilentProgress):
    def __init__(self) -> None:
        self.warned: list[str] = []

    def warn(self, text: str) -> None:
        self.warned.append(text)


class StopInSecond(SilentProgress):
    """A progress that asks to stop while the second network trains."""

    def __init__(self) -> None:
        self.trainings = 0
        self.stop_requested = False

    def start(self, stage: str, total: int) -> None:
        self.trainings += stage == "training"

    def advance(self, done: int, note: str = "") -> None:
        self.stop_requested = self.trainings == 2


def test_an_interrupted_comparison_reports_the_networks_that_were_ready(photos: Path, tmp_path: Path) -> None:
    folder = tmp_path / "c"
    result = compare(photos, models=["cnn", "resnet18"], out=folder, overrides=SETTINGS, progress=StopInSecond())
    assert result.interrupted
    assert list(result.reports) == ["cnn"]
    assert (tmp_path / "c" / "report.html").exists()
    assert (tmp_path / "c" / "resnet18" / "bundle" / "manifest.json").exists()


def test_each_network_is_named_once_and_known(photos: Path, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="each network once"):
        compare(photos, models=["cnn", "CNN"], out=tmp_path / "c")
    with pytest.raises(SettingsError, match="each network once, not none"):
        compare(photos, models=[], out=tmp_path / "c")
    with pytest.raises(ModelError, match='did you mean "vgg16"'):
        compare(photos, models=["vgg16x"], out=tmp_path / "c")
    assert not (tmp_path / "c").exists()
