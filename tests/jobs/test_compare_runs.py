from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import pytest

from eyebright.errors import DataError
from eyebright.evaluation.report import EvaluationReport
from eyebright.jobs import runs
from eyebright.jobs.compare import compare
from eyebright.jobs.compare_runs import compare_runs
from eyebright.jobs.train import Run, train

SETTINGS = ["training.epochs=2", "network.width=small"]
WITHOUT = "network.weights=none"


@pytest.fixture(scope="module")
def short(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """The same network, trained for less long."""
    return train(photos, model="cnn", out=tmp_path_factory.mktemp("runs") / "short", overrides=SETTINGS)


def test_earlier_runs_are_compared_without_training(run: Run, short: Run, tmp_path: Path) -> None:
    found = compare_runs([run.folder, short.folder], out=tmp_path / "c")
    assert [c.title for c in found.comparison.contestants] == ["Plain CNN (cnn)", "Plain CNN (short)"]
    assert [c.report for c in found.comparison.contestants] == [run.report, short.report]
    page = (tmp_path / "c" / "report.html").read_text()
    assert "Plain CNN (short)" in page
    assert sorted(path.name for path in (tmp_path / "c").iterdir()) == ["report.html", "report.json"]


def test_runs_of_a_comparison_are_runs_too_and_its_folder_stands_for_them(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    before = compare(photos, models=["cnn", "resnet18"], out=tmp_path / "both", overrides=[*SETTINGS, WITHOUT])
    assert before.comparison is not None
    found = compare_runs([tmp_path / "both", run.folder], out=tmp_path / "c")
    reports = [c.report for c in found.comparison.contestants]
    *networks, baseline = (c.report for c in before.comparison.contestants)
    assert reports == [*networks, run.report, baseline]
    assert len({c.title for c in found.comparison.contestants}) == 4
    one = compare_runs([tmp_path / "both" / "resnet18", run.folder], out=tmp_path / "d")
    assert [c.title for c in one.comparison.contestants] == ["ResNet-18", "Plain CNN", "Without a network"]


def test_images_are_recognised_in_another_order_and_under_other_names(run: Run, short: Run, tmp_path: Path) -> None:
    assert short.report is not None
    shutil.copytree(short.folder, tmp_path / "turned")
    path = tmp_path / "turned" / runs.SAMPLES
    with path.open(newline="") as file:
        rows = list(csv.reader(file))
    tested = [row for row in rows[1:] if row[2] == "test"]
    rest = [row for row in rows[1:] if row[2] != "test"]
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([rows[0], *rest, *([f"other/{row[0]}", *row[1:]] for row in reversed(tested))])
    report = json.loads((tmp_path / "turned" / runs.REPORT_JSON).read_text())
    measured = report["contestants"][0]["report"]
    measured["correctness"] = measured["correctness"][::-1]
    for name in ("labels", "predicted", "confidences"):
        measured[name] = " ".join(reversed(measured[name].split()))
    examples = [example for kind in ("mistakes", "least_sure", "most_unlike") for example in measured[kind]]
    assert examples
    for example in examples:
        example["name"] = f"other/{example['name']}"
    (tmp_path / "turned" / runs.REPORT_JSON).write_text(json.dumps(report))
    found = compare_runs([run.folder, tmp_path / "turned"], out=tmp_path / "c")
    assert found.comparison.contestants[1].report == short.report


def test_runs_that_were_tested_on_different_images_are_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    other = train(photos, model="cnn", out=tmp_path / "other", seed=5, overrides=SETTINGS)
    with pytest.raises(DataError, match=r"tested on different images \(\d of 7 are not shared\)"):
        compare_runs([run.folder, other.folder], out=tmp_path / "c")
    assert not (tmp_path / "c").exists()


def test_what_can_not_be_compared_is_named(run: Run, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least two runs"):
        compare_runs([run.folder])
    with pytest.raises(DataError, match=r"holds no report\.json"):
        compare_runs([run.folder, tmp_path])
    shutil.copytree(run.folder, tmp_path / "r")
    (tmp_path / "r" / runs.SAMPLES).unlink()
    with pytest.raises(DataError, match=r"holds no samples\.csv"):
        compare_runs([run.folder, tmp_path / "r"])


def test_a_report_of_an_older_version_is_compared_as_far_as_it_goes(run: Run, short: Run, tmp_path: Path) -> None:
    shutil.copytree(short.folder, tmp_path / "older")
    path = tmp_path / "older" / runs.REPORT_JSON
    values = json.loads(path.read_text())
    (contestant,) = values["contestants"]
    for name in [name for name in contestant if "latency" in name or "memory" in name]:
        del contestant[name]
    for name in (
        "measures",
        "reliability",
        "coverage",
        "trust",
        "slices",
        "least_sure",
        "most_unlike",
        "labels",
        "predicted",
        "remarks",
    ):
        del contestant["report"][name]
    path.write_text(json.dumps(values))
    found = compare_runs([run.folder, tmp_path / "older"], out=tmp_path / "c")
    assert any("older version" in note for note in found.comparison.notes)
    again = found.comparison.contestants[1].report
    assert isinstance(again, EvaluationReport)
    assert isinstance(short.report, EvaluationReport)
    assert again.accuracy == short.report.accuracy
