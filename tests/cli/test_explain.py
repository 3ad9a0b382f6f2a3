from __future__ import annotations

import csv
import io
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from eyebright.cli.explain import METHODS

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_an_image_is_explained_and_a_second_page_overwrites_nothing(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    done = eyebright("explain", run_folder, photos / "dark" / "00.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    assert "Page:        00-explained.html" in done.stdout
    assert "Drawn from:  features" in done.stdout
    assert "Layer-CAM" in done.stdout  # the plain CNN keeps positions apart
    assert "Why <bdi>dark</bdi>?" in (tmp_path / "00-explained.html").read_text(encoding="utf-8")
    again = eyebright("explain", run_folder, photos / "dark" / "00.png", cwd=tmp_path)
    assert again.returncode == 7
    assert "00-explained.html exists already" in again.stderr


def test_a_folder_becomes_one_page_with_similar_images(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    done = eyebright(
        "explain", run_folder, photos / "dark", "empty.jpg", "--method", "layer-cam", "--method", "occlusion",
        "--similar", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 3
    assert "1 of 13 images could not be read" in done.stderr
    page = (tmp_path / "explained.html").read_text(encoding="utf-8")
    assert page.count("The most similar training images") == 12
    assert page.count('class="tint"') == 12 * 3


def test_predict_adds_the_maps(eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path) -> None:
    plain = eyebright("predict", run_folder, photos / "dark")
    with_maps = eyebright("predict", run_folder, photos / "dark", "--explain", tmp_path / "maps.html")
    assert with_maps.returncode == 0
    assert with_maps.stdout == plain.stdout
    assert len(list(csv.DictReader(io.StringIO(with_maps.stdout)))) == 12
    assert (tmp_path / "maps.html").read_text(encoding="utf-8").count('class="tint"') == 12 * 2
    refused = eyebright("predict", run_folder, photos / "dark", "--explain", tmp_path / "maps.html")
    assert (refused.returncode, refused.stdout) == (7, "")


def test_an_image_that_cannot_be_read_ends_predict_alike_with_maps_or_without(
    eyebright: Command, run_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "empty.jpg").touch()
    plain = eyebright("predict", run_folder, "empty.jpg", cwd=tmp_path)
    with_maps = eyebright("predict", run_folder, "empty.jpg", "--explain", "maps.html", cwd=tmp_path)
    assert plain.returncode == with_maps.returncode == 3
    assert with_maps.stdout == plain.stdout
    assert with_maps.stderr == plain.stderr
    assert not (tmp_path / "maps.html").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--method", "gradcam"], 2, "is not one of"),
        (["--label", "drak"], 2, 'did you mean "dark"'),
        (["--layer", "layer4"], 5, 'no layer "layer4" answers with maps here'),
        (["--out", "a.svg"], 7, "written as .html or .png"),
        (["--out", "nowhere/a.html"], 7, "nowhere/a.html can't be written"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    done = eyebright("explain", run_folder, photos / "dark" / "00.png", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == ""
    assert list(tmp_path.iterdir()) == []


def test_the_methods_are_those_of_the_room() -> None:
    from eyebright.explanation.attribution import Method

    assert ("auto", *get_args(Method), "all") == METHODS


def test_features_are_a_page_named_after_the_run(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    asked = ("features", run_folder, photos / "dark" / "00.png", "--channel", "stage2:3", "--steps", "2")
    done = eyebright(*asked, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    name = f"{run_folder.name}-features.html"
    assert done.stdout == f"Page:        {name}\n"
    assert "channel 3" in (tmp_path / name).read_text(encoding="utf-8")
    again = eyebright(*asked, cwd=tmp_path)
    assert again.returncode == 7
    assert "exists already" in again.stderr
    wrong = eyebright("features", run_folder, "--channel", "stag2:3", "--out", "b.html", cwd=tmp_path)
    assert wrong.returncode == 2
    assert 'no stage "stag2"; did you mean "stage2"?' in wrong.stderr
