from __future__ import annotations

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import weakref
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from PIL import Image

from eyebright.bundle.manifest import read_manifest, write_manifest
from eyebright.bundle.sealed import hash_file
from eyebright.errors import DataError, OutputError, SettingsError
from eyebright.inference.predictor import Prediction
from eyebright.jobs.export import export
from eyebright.jobs.predict import predict, predict_into, write_predictions
from eyebright.jobs.train import Run
from eyebright.progress import SilentProgress

ODD_NAMES = ("with space.png", 'quote"d.png', "new\nline.png", "größe ☂.png", "-dash.png")


@pytest.fixture(scope="module")
def odd(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("odd")
    for name in ODD_NAMES:
        shutil.copy(photos / "red" / "00.png", folder / name)
    (folder / "broken.png").write_bytes(b"\x89PNG broken")
    return folder


def test_answers_come_in_order_and_errors_have_rows_of_their_own(run: Run, photos: Path, odd: Path) -> None:
    paths = [str(photos / "red" / "00.png"), str(odd / "broken.png"), "nowhere.png", str(photos / "blue" / "01.png")]
    answers = list(predict(run.folder, paths).predictions)
    assert [answer.name for answer in answers] == paths
    assert [answer.error is None for answer in answers] == [True, False, False, True]
    assert answers[0].label == "red"
    assert answers[1].label is None
    assert (answers[1].set, answers[1].unsure) == ((), None)
    assert answers[0].set[0] == "red"  # calibrated by default
    assert sum(answers[0].probabilities.values()) == pytest.approx(1, abs=1e-5)


def test_noise_is_unsure_and_an_older_bundle_says_that_nothing_is_calibrated(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 28, 3), dtype=np.uint8)).save(tmp_path / "noise.png")
    images = [str(tmp_path / "noise.png"), str(photos / "red" / "00.png")]
    noise, red = predict(run.folder, images, error_rate=0.3).predictions
    assert noise.unsure == "low confidence"
    assert red.unsure is None
    shutil.copytree(run.folder / "bundle", tmp_path / "older")
    manifest = read_manifest(tmp_path / "older")
    write_manifest(tmp_path / "older", replace(manifest, calibration=None))

    class Listening(SilentProgress):
        said: ClassVar[list[str]] = []

        def warn(self, text: str) -> None:
            self.said.append(text)

    (answer,) = predict(tmp_path / "older", images[1:], progress=Listening()).predictions
    assert (answer.label, answer.set, answer.unsure) == ("red", (), None)
    assert "was not calibrated" in Listening.said[0]


def test_folders_patterns_and_zips_are_opened(run: Run, photos: Path, tmp_path: Path) -> None:
    shutil.make_archive(str(tmp_path / "reds"), "zip", photos / "red")
    folder = list(predict(run.folder, [str(photos / "red")]).predictions)
    pattern = list(predict(run.folder, [str(photos / "red" / "*.png")]).predictions)
    archive = list(predict(run.folder, [str(tmp_path / "reds.zip")]).predictions)
    assert len(folder) == 16
    assert [answer.probabilities for answer in pattern] == [answer.probabilities for answer in folder]
    assert [answer.probabilities for answer in archive] == [answer.probabilities for answer in folder]


def test_paths_or_an_image_can_be_piped(run: Run, photos: Path) -> None:
    path = photos / "red" / "00.png"
    named = next(predict(run.folder, [str(path)]).predictions)
    lines = list(predict(run.folder, ["-"], piped=f"{path}\n\n{path.parent / '01.png'}\n".encode()).predictions)
    zeros = list(predict(run.folder, ["-"], piped=f"{path}\0".encode()).predictions)
    image = list(predict(run.folder, ["-", str(path)], piped=path.read_bytes()).predictions)
    assert [answer.name for answer in lines] == [str(path), str(path.parent / "01.png")]
    assert zeros == [named]
    assert [answer.name for answer in image] == ["-", str(path)]
    # The same image by its path, in the same batch; beside another, some processors round a last digit differently.
    assert image[0].probabilities == image[1].probabilities == pytest.approx(named.probabilities, rel=1e-5)
    with pytest.raises(DataError, match="no images were given"):
        predict(run.folder, ["-"], piped=b"")


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_file_keeps_every_answer_and_every_odd_name(run: Run, odd: Path, tmp_path: Path, suffix: str) -> None:
    answers = predict(run.folder, [str(odd)])
    path = tmp_path / f"results{suffix}"
    assert write_predictions(path, answers.predictions, answers.class_names) == (6, 1)
    rows: list[dict[str, Any]]
    if suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            rows = list(csv.DictReader(file))
        shares = [float(row["p:red"]) for row in rows if not row["error"]]
        assert all(row["label"] in row["set"].split("|") for row in rows if not row["error"])
        assert list(rows[0])[:6] == ["path", "label", "confidence", "unsure", "set", "error"]
    elif suffix == ".parquet":
        parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'eyebright[parquet]'")
        rows = parquet.read_table(path).to_pylist()
        shares = [row["p:red"] for row in rows if row["error"] is None]
        assert all(isinstance(share, float) for share in shares)
        assert [row["label"] for row in rows if row["error"] is not None] == [None]
    else:
        rows = [json.loads(line) for line in path.read_text().splitlines()]
        shares = [float(row["probabilities"]["red"]) for row in rows if "error" not in row]
        assert all(row["label"] in row["set"] for row in rows if "error" not in row)
    assert {Path(row["path"]).name for row in rows} == {*ODD_NAMES, "broken.png"}
    assert len(set(shares)) == 1
    assert [row["path"] for row in rows if row.get("error")] == [str(odd / "broken.png")]
    assert [file.name for file in tmp_path.iterdir()] == [path.name]


def test_a_name_that_is_a_formula_is_none_in_a_spreadsheet_and_itself_elsewhere(tmp_path: Path) -> None:
    name = '=HYPERLINK("http://127.0.0.1:9")'
    answers = [
        Prediction(
            name=name,
            label="@sum",
            labels=("@sum",),
            confidence=0.5,
            probabilities={"@sum": 0.5, "b": 0.5},
            set=("@sum", "b"),
        ),
        Prediction(name="-1+2.png", label=None, confidence=None, probabilities={}, error="+gone"),
    ]
    write_predictions(tmp_path / "r.csv", answers, ("@sum", "b"))
    with (tmp_path / "r.csv").open(newline="") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert f"'{name}" in cells
    assert "'@sum|b" in cells
    assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@"))]
    write_predictions(tmp_path / "r.jsonl", answers, ("@sum", "b"))
    assert json.loads((tmp_path / "r.jsonl").read_text().splitlines()[0])["path"] == name
    parquet = pytest.importorskip("pyarrow.parquet", reason="needs pyarrow: pip install 'eyebright[parquet]'")
    write_predictions(tmp_path / "r.parquet", answers, ("@sum", "b"))
    first, second = parquet.read_table(tmp_path / "r.parquet").to_pylist()
    assert (first["path"], first["label"], first["set"]) == (name, "@sum", "@sum|b")
    assert (second["path"], second["error"]) == ("-1+2.png", "+gone")


def test_answers_are_written_as_they_come_and_none_is_held(tmp_path: Path) -> None:
    given: list[weakref.ref[Prediction]] = []
    held = []

    def answers() -> Iterator[Prediction]:
        for number in range(50):
            answer = Prediction(name=f"{number}.png", label=None, confidence=None, probabilities={}, error="gone")
            given.append(weakref.ref(answer))
            held.append(sum(one() is not None for one in given))
            yield answer

    assert write_predictions(tmp_path / "r.csv", answers(), ("a", "b")) == (50, 50)
    assert max(held) <= 3


def test_another_suffix_or_a_bad_place_is_refused(run: Run, odd: Path, tmp_path: Path) -> None:
    answers = predict(run.folder, [str(odd)])
    with pytest.raises(SettingsError, match=r"\.csv, \.jsonl or \.parquet"):
        write_predictions(tmp_path / "results.xls", answers.predictions, answers.class_names)
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="can't be written"):
        write_predictions(tmp_path / "file" / "r.csv", answers.predictions, answers.class_names)


class StopsAfter(SilentProgress):
    """Asks to stop once so many images are done."""

    def __init__(self, count: int) -> None:
        self._count = count
        self.said: list[str] = []

    def advance(self, done: int, note: str = "") -> None:
        if done >= self._count:
            self.stop_requested = True

    def say(self, text: str) -> None:
        self.said.append(text)


def read_rows(path: Path) -> list[dict[str, Any]]:
    """What a file of answers says, with a key `p:NAME` for each class."""
    if path.suffix == ".csv":
        with path.open(encoding="utf-8", newline="") as file:
            return list(csv.DictReader(file))
    if path.suffix == ".parquet":
        from pyarrow import parquet

        rows: list[dict[str, Any]] = parquet.read_table(path).to_pylist()
        return rows
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    return [{**row, **{f"p:{name}": share for name, share in row.pop("probabilities", {}).items()}} for row in rows]


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_a_stopped_job_goes_on_and_ends_as_if_it_never_had_been(
    run: Run, photos: Path, odd: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    if suffix == ".parquet":
        pytest.importorskip("pyarrow", reason="needs pyarrow: pip install 'eyebright[parquet]'")
    monkeypatch.setattr("eyebright.jobs.predict.SHARD_IMAGES", 7)
    monkeypatch.setattr("eyebright.inference.predictor.BATCH_SIZE", 4)
    images = [photos, odd]
    whole, cut = tmp_path / f"whole{suffix}", tmp_path / f"cut{suffix}"
    assert predict_into(whole, run.folder, images) == (54, 1)
    stops = StopsAfter(20)
    with pytest.raises(KeyboardInterrupt):
        predict_into(cut, run.folder, images, progress=stops)
    assert stops.said == ["14 images are done and kept; go on with --resume"]
    assert not cut.exists()
    with pytest.raises(SettingsError, match="another job"):
        predict_into(cut, run.folder, [photos], resume=True)
    again = StopsAfter(1000)
    assert predict_into(cut, run.folder, images, resume=True, progress=again) == (54, 1)
    assert again.said == ["14 of 54 images were done before"]
    found, wanted = read_rows(cut), read_rows(whole)
    assert len(found) == len(wanted) == 54
    for one, other in zip(found, wanted, strict=True):
        assert list(one) == list(other)
        for key, value in other.items():
            if key == "confidence" or key.startswith("p:"):
                # Images go in other batches after the break, which may change the last digit.
                assert one[key] == value or float(one[key]) == pytest.approx(float(value), abs=1e-5)
            else:
                assert one[key] == value, key
    assert sum(bool(row.get("error")) for row in found) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([cut.name, whole.name])


def test_a_job_that_is_stopped_before_its_first_part_leaves_nothing(run: Run, photos: Path, tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        predict_into(tmp_path / "out.csv", run.folder, [photos], progress=StopsAfter(1))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_killed_job_goes_on_with_every_image_exactly_once(run: Run, photos: Path, tmp_path: Path) -> None:
    many = tmp_path / "many"
    many.mkdir()
    for number in range(400):
        os.link(photos / "red" / f"{number % 16:02}.png", many / f"{number:03}.png")
    out = tmp_path / "out.csv"
    code = (
        "import sys, time\n"
        "from eyebright.jobs import predict\n"
        "predict.SHARD_IMAGES = 32\n"
        "write = predict.write_csv\n"
        "def slow(*arguments, **named):\n"
        "    time.sleep(0.1)\n"
        "    return write(*arguments, **named)\n"
        "predict.write_csv = slow\n"
        "predict.predict_into(sys.argv[1], sys.argv[2], [sys.argv[3]], resume=sys.argv[4] == 'resume')\n"
    )

    def start(how: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-c", code, out, run.folder, many, how])

    parts = tmp_path / ".out.csv.parts"
    for kill in range(3):
        job = start("resume" if kill else "anew")
        before = len(list(parts.glob("*.part"))) if kill else 0
        for _ in range(1200):
            if len(list(parts.glob("*.part"))) > before:
                break
            time.sleep(0.05)
        job.send_signal(signal.SIGKILL)
        job.wait()
        assert not out.exists()
    job = start("resume")
    assert job.wait() == 0
    with out.open(newline="") as file:
        named = [Path(row["path"]).name for row in csv.DictReader(file)]
    assert named == [f"{number:03}.png" for number in range(400)]
    assert not parts.exists()


def test_a_file_that_is_there_is_kept(run: Run, photos: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"
    out.write_text("precious")
    with pytest.raises(OutputError, match=r"out\.csv exists already"):
        predict_into(out, run.folder, [photos])
    with pytest.raises(SettingsError, match="there and whole; nothing is left to go on with"):
        predict_into(out, run.folder, [photos], resume=True)
    assert out.read_text() == "precious"


@pytest.mark.skipif(os.name == "nt", reason="needs flock")
def test_two_jobs_do_not_write_one_file(run: Run, photos: Path, odd: Path, tmp_path: Path) -> None:
    out = tmp_path / "out.csv"

    class Second(SilentProgress):
        def advance(self, done: int, note: str = "") -> None:
            for resume in (False, True):
                with pytest.raises(OutputError, match="is being written by another process"):
                    predict_into(out, run.folder, [odd], resume=resume)

    assert predict_into(out, run.folder, [photos], progress=Second()) == (48, 0)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.csv"]


def test_what_has_changed_since_the_break_is_answered_anew(
    run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("eyebright.jobs.predict.SHARD_IMAGES", 7)
    monkeypatch.setattr("eyebright.inference.predictor.BATCH_SIZE", 4)
    folder = tmp_path / "photos"
    shutil.copytree(photos, folder)
    out = tmp_path / "out.csv"
    with pytest.raises(KeyboardInterrupt):
        predict_into(out, run.folder, [folder], progress=StopsAfter(40))
    changed = sorted(folder.rglob("*.png"))[9]  # in the second part
    shutil.copy(folder / "red" / "00.png", changed)
    os.utime(changed, ns=(1, 1))
    again = StopsAfter(1000)
    predict_into(out, run.folder, [folder], resume=True, progress=again)
    assert again.said == ["7 of 48 images were done before"]
    assert read_rows(out)[9]["label"] == "red"


def test_another_export_is_another_job(run: Run, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyebright.jobs.predict.SHARD_IMAGES", 7)
    folder, out = tmp_path / "run", tmp_path / "out.csv"
    shutil.copytree(run.folder, folder)
    export(folder)
    with pytest.raises(KeyboardInterrupt):
        predict_into(out, folder, [photos], engine="onnx", progress=StopsAfter(20))
    bundle = folder / "bundle"
    manifest = read_manifest(bundle)
    (name,) = (name for name in manifest.files if name.endswith(".onnx"))
    (bundle / name).write_bytes((bundle / name).read_bytes() + b"\n\0")  # an unknown field, which changes nothing
    write_manifest(bundle, replace(manifest, files={**manifest.files, name: hash_file(bundle / name)}))
    with pytest.raises(SettingsError, match=r"another job \(export changed\)"):
        predict_into(out, folder, [photos], engine="onnx", resume=True)


def test_a_file_of_another_kind_that_is_piped_in_is_no_list_of_paths(run: Run, photos: Path, tmp_path: Path) -> None:
    for piped in (b"\0\0\0\x0cjP  \r\n\x87\n/\0/\0", b"%PDF-1.7\n\x01\x02/\n"):
        (answer,) = predict(run.folder, ["-"], piped=piped).predictions
        assert answer.error is not None
        assert "not an image in a known format" in answer.error
    lists = tmp_path / "list.csv"
    lists.write_text("path,label\n")
    with pytest.raises(DataError, match=r"list\.csv: is a list of images with labels"):
        predict(run.folder, [lists])


def test_a_list_among_images_costs_only_its_own_answer_and_a_new_folder_is_made(
    run: Run, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "labels.csv").write_text("path,label\n")
    shutil.copy(photos / "red" / "00.png", tmp_path)
    out = tmp_path / "new" / "folder" / "out.csv"
    assert predict_into(out, run.folder, [f"{tmp_path}/*.*"]) == (2, 1)
    assert [bool(row["error"]) for row in read_rows(out)] == [False, True]
