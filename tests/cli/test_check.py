from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_check_says_what_is_wrong_worst_first_and_what_to_type_next(
    eyebright: Command, photos: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "lights"
    shutil.copytree(photos, folder)
    (folder / "dark" / "cut off.png").write_bytes((photos / "dark" / "00.png").read_bytes()[:100])
    shutil.copy(photos / "dark" / "01.png", folder / "bright" / "twice.png")
    done = eyebright("check", folder, "--no-wrong-labels", cwd=tmp_path)
    assert done.returncode == 3, done.stderr  # as everywhere: some images could not be read
    assert "26 images of 2 classes, 25 of them readable" in done.stdout
    assert "cut off.png" in done.stdout
    assert "bright/twice.png" in done.stdout
    severities = [line.rsplit("(", 1)[1] for line in done.stdout.splitlines() if line.endswith("wrong)")]
    assert len(severities) == 2
    assert "Page:        runs/lights-check/check.html" in done.stdout
    assert f"eyebright train {folder} --decisions decisions.csv" in done.stdout
    assert "wrong labels were not looked for, as asked" in done.stdout
    plain = json.loads((tmp_path / "runs" / "lights-check" / "check.json").read_text())
    assert plain["num_readable"] == 25


def test_images_without_a_fault_are_checked_with_exit_code_0(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    done = eyebright("check", photos, "--no-wrong-labels", "--out", tmp_path / "c")
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "c" / "check.html").is_file()
    again = eyebright("check", photos, "--no-wrong-labels", "--out", tmp_path / "c")
    assert again.returncode == 7
    assert "exists already" in again.stderr


def test_decisions_are_taken_by_train_and_evaluate(
    eyebright: Command, photos: Path, run_folder: Path, tmp_path: Path
) -> None:
    file = tmp_path / "decisions.csv"
    file.write_text("sample,action,label\ndark/00.png,exclude,\nbright/01.png,relabel,dark\n")
    arguments = ("--model", "cnn", "--set", "training.epochs=1", "--set", "network.width=small")
    done = eyebright("train", photos, *arguments, "--decisions", file, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "1 image left out as decided: dark/00.png" in done.stderr
    assert "1 image relabelled as decided: bright/01.png to dark" in done.stderr
    samples = (tmp_path / "runs" / "light-cnn" / "samples.csv").read_text()
    assert "dark/00.png" not in samples
    assert "bright/01.png,dark," in samples
    measured = eyebright("evaluate", run_folder, photos, "--decisions", file)
    assert measured.returncode == 0, measured.stderr
    assert "left out as decided: dark/00.png" in measured.stderr


def test_a_decision_that_makes_no_sense_ends_with_its_line(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    file = tmp_path / "decisions.csv"
    file.write_text("sample,action\ndark/00.png,remove\n")
    done = eyebright("train", photos, "--decisions", file, cwd=tmp_path)
    assert done.returncode == 4
    assert 'decisions.csv: line 2 has the action "remove"' in done.stderr
    assert not (tmp_path / "runs").exists()
