from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

import eyebright as eb
from eyebright.errors import BundleError, DataError
from eyebright.jobs import bench as room
from eyebright.jobs.export import export
from eyebright.jobs.train import Run
from eyebright.speed.alone import Alone


@pytest.fixture(scope="module")
def folder(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the run with another engine in it."""
    pytest.importorskip("onnx", reason="needs onnx: pip install 'eyebright[export]'")
    folder = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(run.folder, folder)
    export(folder)
    return folder


@pytest.fixture
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """No processes of their own, which tests/speed/test_alone.py has."""
    monkeypatch.setattr(room, "run_alone", lambda *_: Alone(first_seconds=1.0, peak_bytes=None))


def test_every_engine_that_is_there_is_measured(folder: Path) -> None:
    report = eb.bench(folder, quick=True)
    assert [one.engine for one in report.engines] == ["torch", "onnx"]
    assert report.model == "cnn"
    assert report.images == "the run's own"
    assert report.num_images == room.QUICK_IMAGES
    for one in report.engines:
        assert one.first_seconds is not None
        assert one.first_seconds > 0.05
        assert one.one_image.count == room.QUICK_ROUNDS * room.QUICK_SINGLES
        assert one.share_of_peak is not None
        assert 0 < one.share_of_peak < 2
    assert report.engines[0].times == 1
    assert any("torch-bf16 (--to torch), onnx-int8 (--to onnx --int8)" in note for note in report.notes)
    plain = json.loads(json.dumps(report.to_dict()))
    assert plain["engines"][1]["engine"] == "onnx"
    assert plain["engines"][1]["from_files"]["median"] == report.engines[1].from_files.median
    assert "images a second from file to label with" in str(report)


def test_the_operations_are_those_of_the_run_s_own_network(run: Run, cheap: None) -> None:
    from eyebright.bundle.store import load_bundle
    from eyebright.models.catalog import count_multiply_adds

    report = eb.bench(run.folder, quick=True)
    model = load_bundle(run.folder / "bundle").model
    assert report.gigaflop == pytest.approx(2 * count_multiply_adds(model, report.image_size) / 1e9)


def test_images_may_be_given_and_unreadable_ones_are_left_out(
    run: Run, photos: Path, tmp_path: Path, cheap: None
) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    for number in range(3):
        shutil.copy(photos / "red" / f"{number:02}.png", tmp_path)
    report = eb.bench(run.folder, [tmp_path], quick=True)
    assert (report.images, report.num_images) == ("given", 3)
    with pytest.raises(DataError, match=r"none of 1 images can be read, .*bad.png"):
        eb.bench(run.folder, [tmp_path / "bad.png"], quick=True)


def test_a_bundle_alone_gets_generated_pictures(run: Run, cheap: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "QUICK_IMAGES", 2)
    report = eb.bench(run.folder / "bundle", quick=True)
    assert (report.images, report.num_images) == ("generated, 800 x 600", 2)


def test_arrays_are_written_as_images() -> None:
    assert room._spread_out(list("abcdefgh"), 3) == ["a", "e", "h"]
    assert room._spread_out(["a"], 3) == ["a"]


def test_an_array_of_a_store_becomes_a_file(tmp_path: Path) -> None:
    class Arrays:
        def read(self, name: str) -> np.ndarray:
            return np.full((4, 5), 7, dtype=np.uint8)

        def locate(self, name: str) -> str:
            return name

    assert room._copy(Arrays(), "row 0", tmp_path / "0000")
    assert (tmp_path / "0000.png").is_file()


def test_a_busy_machine_is_said_to_be_one(run: Run, cheap: None, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (3.2, 0.0, 0.0))
    busy = eb.bench(run.folder, quick=True)
    assert any("busy before anything was measured (load 3.2)" in note for note in busy.notes)
    monkeypatch.setattr(os, "getloadavg", lambda: (0.1, 0.0, 0.0))
    assert not any("busy" in note for note in eb.bench(run.folder, quick=True).notes)


def test_nothing_to_measure_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no folder"):
        eb.bench(tmp_path / "nowhere")


def test_training_records_what_one_image_takes(run: Run) -> None:
    assert run.contestant is not None
    assert run.contestant.latency_ms is not None
    assert run.contestant.latency_ms > 0
