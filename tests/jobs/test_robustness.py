from __future__ import annotations

import json
from pathlib import Path

import pytest

from eyebright.errors import SettingsError
from eyebright.jobs.robustness import check_suffix, measure_robustness, write_robustness
from eyebright.jobs.train import Run, train


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    few = ["network.width=small", "training.epochs=8"]
    return train(photos, model="cnn", out=tmp_path_factory.mktemp("runs") / "run", overrides=few)


def test_a_saved_classifier_is_measured_on_what_it_has_not_seen(run: Run, photos: Path, tmp_path: Path) -> None:
    found = measure_robustness(run.folder, photos)
    assert found.corruptions is not None
    assert run.report is not None
    assert found.corruptions.num_samples == run.report.num_samples
    assert found.views[0].accuracy == found.corruptions.accuracy
    write_robustness(tmp_path / "found.json", found)
    stored = json.loads((tmp_path / "found.json").read_text())
    assert stored["corruptions"]["accuracy"] == found.corruptions.accuracy
    assert [view["views"] for view in stored["views"]] == [1, 2, 10]
    write_robustness(tmp_path / "found.html", found)
    assert "What cnn withstands" in (tmp_path / "found.html").read_text()


def test_a_file_that_can_not_be_written_is_refused(run: Run, photos: Path, tmp_path: Path) -> None:
    found = measure_robustness(run.folder, photos, corruptions=False)
    assert found.corruptions is None
    with pytest.raises(SettingsError, match="a page shows corruptions"):
        check_suffix(tmp_path / "found.html", corruptions=False)
    with pytest.raises(SettingsError, match="a page shows corruptions"):
        write_robustness(tmp_path / "found.html", found)
    with pytest.raises(SettingsError, match=r"should end in \.html or \.json"):
        write_robustness(tmp_path / "found.txt", found)
