from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import get_args

import pytest

from eyebright.cli.draw import VIEWS
from eyebright.lessons.words import PAGES
from eyebright.models.published import is_starter_installed

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_name_is_enough_and_a_second_drawing_overwrites_nothing(eyebright: Command, tmp_path: Path) -> None:
    done = eyebright("draw", "vgg16", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Drawing:     vgg16.svg\n", "")
    assert (tmp_path / "vgg16.svg").stat().st_size < 60_000
    again = eyebright("draw", "vgg16", cwd=tmp_path)
    assert again.returncode == 7
    assert "vgg16.svg exists already and nothing is ever overwritten" in again.stderr
    assert eyebright("draw", "resnet18", "--view", "flow", cwd=tmp_path).stdout == "Drawing:     resnet18-flow.svg\n"


def test_the_atlas_is_a_folder_of_pages_that_is_never_overwritten(eyebright: Command, tmp_path: Path) -> None:
    if not is_starter_installed():
        pytest.skip("needs the starter weights: pip install ./weights")
    done = eyebright("atlas", cwd=tmp_path)
    assert (done.returncode, done.stdout, done.stderr) == (0, "Atlas:       atlas/index.html\n", "")
    assert {path.name for path in (tmp_path / "atlas").iterdir()} == set(PAGES)
    again = eyebright("atlas", cwd=tmp_path)
    assert again.returncode == 7
    assert "atlas exists already and nothing is ever overwritten" in again.stderr


def test_text_is_printed_whole_into_a_pipe_and_writes_nothing(eyebright: Command, tmp_path: Path) -> None:
    done = eyebright("draw", "vgg16", "--text", cwd=tmp_path, variables={"COLUMNS": "60"})
    assert done.returncode == 0
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("features.28 ")]
    assert line.split()[-4:] == ["462,422,016", "401", "kB", "196"]
    assert list(tmp_path.iterdir()) == []


def test_a_run_is_drawn_and_an_image_flows_through_it(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    done = eyebright("draw", run_folder, "--image", photos / "dark" / "00.png", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    page = (tmp_path / f"{run_folder.name}.html").read_text(encoding="utf-8")
    assert "Plain CNN of light" in page
    assert "An image on its way through" in page
    assert "bright" in page


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["resnet5"], 5, 'did you mean "resnet50"'),
        (["./nowhere"], 6, "no folder"),
        (["vgg16", "--view", "flow"], 2, "has no shortcuts"),
        (["vgg16", "--view", "cubes"], 2, "is not one of"),
        (["vgg16", "--size", "0"], 2, "--size is between 1 and 8192"),
        (["vgg16", "--out", "a.jpg"], 7, "a.jpg: drawings are written as .svg, .png, .pdf or .html"),
        (["resnet50", "--image", "missing.jpg"], 4, "missing.jpg"),
        (["resnet50", "--image", "empty.jpg"], 4, "empty.jpg"),
        (["vgg16", "--image", "empty.jpg", "--out", "a.png"], 2, "--out FILE.html"),
    ],
)
def test_mistakes_get_one_line_and_leave_nothing(
    eyebright: Command, tmp_path: Path, arguments: list[str], code: int, words: str
) -> None:
    (tmp_path / "empty.jpg").touch()
    done = eyebright("draw", *arguments, cwd=tmp_path)
    assert done.returncode == code
    assert words in done.stderr
    assert done.stdout == ""
    assert [path.name for path in tmp_path.iterdir()] == ["empty.jpg"]


def test_the_views_are_those_of_the_job() -> None:
    from eyebright.jobs.draw import Look

    assert get_args(Look) == VIEWS


def test_vgg16_is_drawn_in_three_seconds(eyebright: Command, tmp_path: Path) -> None:
    """Of a processor's time, which others on the machine do not lengthen; importing torch is most of it."""
    resource = pytest.importorskip("resource")
    times = []
    for number in range(3):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        assert eyebright("draw", "vgg16", "--out", tmp_path / f"{number}.svg").returncode == 0
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        times.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    assert min(times) < 3
