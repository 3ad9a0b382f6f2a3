from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from eyebright.cli.listings import print_runs
from eyebright.errors import DataError
from eyebright.evaluation.report import EvaluationReport
from eyebright.jobs.compare import compare
from eyebright.jobs.list_runs import list_runs
from eyebright.jobs.state import STATE
from eyebright.jobs.train import Run, train
from eyebright.progress import SilentProgress


class StopLater(SilentProgress):
    def __init__(self) -> None:
        self.stop_requested = False
        self.stage = ""

    def start(self, stage: str, total: int) -> None:
        self.stage = stage

    def advance(self, done: int, note: str = "") -> None:
        self.stop_requested = self.stage == "training" and done == 2


def test_runs_are_found_with_their_state_and_result(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.copytree(run.folder, tmp_path / "compared" / "cnn")
    settings = ["training.epochs=3", "network.width=small"]
    train(photos, model="cnn", out=tmp_path / "stopped", overrides=settings, progress=StopLater())
    (tmp_path / "damaged").mkdir()
    (tmp_path / "damaged" / STATE).write_text("[]")
    (tmp_path / "a file").write_text("")
    found = {str(one.folder.relative_to(tmp_path)): one for one in list_runs(tmp_path)}
    assert set(found) == {"compared/cnn", "stopped", "damaged"}
    assert found["damaged"].state.state == "unreadable"
    assert found["damaged"].state.error == "run.json can't be read; it may be damaged"
    finished, stopped = found["compared/cnn"], found["stopped"]
    assert finished.state.state == "finished"
    assert run.report is not None
    assert isinstance(run.report, EvaluationReport)
    assert finished.state.accuracy == run.report.accuracy
    assert stopped.state.state == "interrupted"
    assert stopped.epochs == 3
    assert stopped.last is not None
    assert stopped.last.number == 1  # the second was stopped while it was measured


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"there is no folder .*/nowhere"):
        list_runs(tmp_path / "nowhere")
    assert list_runs(tmp_path) == ()


def test_a_run_of_an_unfinished_comparison_says_so(
    photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = ["training.epochs=3", "network.width=small"]
    out = tmp_path / "compared"
    compare(photos, models=["cnn"], seeds=2, out=out, overrides=settings, baseline=False, progress=StopLater())
    (one,) = list_runs(tmp_path)
    assert one.comparison == out
    print_runs([one])
    assert f"eyebright compare --resume {out}" in capsys.readouterr().out.replace("\n", "")
