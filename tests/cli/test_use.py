from __future__ import annotations

import csv
import io
import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_answers_into_a_pipe_are_csv(eyebright: Command, run_folder: Path, photos: Path) -> None:
    done = eyebright("predict", run_folder, photos / "dark")
    assert done.returncode == 0
    rows = list(csv.DictReader(io.StringIO(done.stdout)))
    assert len(rows) == 12
    assert sum(row["label"] == "dark" for row in rows) >= 10


def test_an_unreadable_image_gets_a_row_and_exit_code_3(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    good = photos / "dark" / "00.png"
    done = eyebright("predict", run_folder, tmp_path / "empty.jpg", good, "--out", tmp_path / "r.jsonl")
    assert done.returncode == 3
    assert "1 of 2 images could not be read" in done.stderr
    rows = [json.loads(line) for line in (tmp_path / "r.jsonl").read_text().splitlines()]
    assert "empty" in rows[0]["error"]
    assert rows[1]["label"] == "dark"


def test_paths_and_an_image_come_through_standard_input(eyebright: Command, run_folder: Path, photos: Path) -> None:
    path = photos / "bright" / "00.png"
    paths = eyebright("predict", run_folder, "-", stdin=f"{path}\n".encode())
    image = eyebright("predict", run_folder, "-", stdin=path.read_bytes())
    first, second = (next(csv.DictReader(io.StringIO(done.stdout))) for done in (paths, image))
    assert second["path"] == "-"
    assert first["confidence"] == second["confidence"]


def test_an_evaluation_prints_classes_and_writes_numbers(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    done = eyebright("evaluate", run_folder, photos, "--out", tmp_path / "numbers.json")
    assert done.returncode == 0
    assert "were used in training and are left out" in done.stderr
    assert "dark" in done.stdout
    with (run_folder / "samples.csv").open(newline="") as file:
        tested = sum(row["split"] == "test" for row in csv.DictReader(file))
    assert json.loads((tmp_path / "numbers.json").read_text())["num_samples"] == tested > 0


def test_a_damaged_bundle_is_refused_by_file_name(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    import shutil

    shutil.copytree(run_folder, tmp_path / "r")
    weights = tmp_path / "r" / "bundle" / "weights.safetensors"
    content = bytearray(weights.read_bytes())
    content[len(content) // 2] ^= 1
    weights.write_bytes(content)
    done = eyebright("predict", tmp_path / "r", photos / "dark" / "00.png")
    assert done.returncode == 6
    assert "weights.safetensors was altered" in done.stderr
