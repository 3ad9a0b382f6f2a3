from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import click

from eyebright.bundle.engines import LIBRARIES
from eyebright.cli.use import ENGINES, export
from eyebright.exporting.export import FORMATS
from eyebright.jobs.export import WEB

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_an_export_prints_how_it_compares_and_is_used_from_then_on(
    eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(run_folder, tmp_path / "r")
    done = eyebright("export", tmp_path / "r", "--to", "onnx")
    assert done.returncode == 0, done.stderr
    for words in ("same class as torch", "accuracy (95 % interval)", "one image", "images a second", "Export: "):
        assert words in done.stdout
    found = eyebright("evaluate", tmp_path / "r", photos)
    assert "classified by the engine onnx" in found.stderr
    exact = eyebright("evaluate", tmp_path / "r", photos, "--engine", "torch")
    assert "engine" not in exact.stderr
    assert found.stdout == exact.stdout


def test_mistakes_get_one_line(eyebright: Command, run_folder: Path, photos: Path, tmp_path: Path) -> None:
    for arguments, code, message in (
        (["export", tmp_path / "nowhere"], 6, "no folder"),
        (["export", run_folder, "--to", "torch", "--int8"], 5, "int8 is there for onnx and openvino"),
        (["export", run_folder / "bundle"], 4, "eyebright export RUN DATA"),
        (["export", run_folder, "--to", "web", "--out", run_folder / "run.json"], 7, "exists already"),
        (["export", run_folder, "--out", "page.html"], 2, "only a page (--to web)"),
        (["predict", run_folder, photos, "--engine", "onnx-int8"], 6, "make it with: eyebright export RUN"),
        (["predict", run_folder, photos, "--engine", "caffe"], 2, "caffe"),
    ):
        done = eyebright(*arguments)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert done.stdout == ""


def test_what_can_be_chosen_is_what_there_is() -> None:
    # The command line spells both out, so that --help loads neither.
    assert set(ENGINES) == set(LIBRARIES)
    (formats,) = [option.type for option in export.params if option.name == "to"]
    assert isinstance(formats, click.Choice)
    assert set(formats.choices) == {*FORMATS, WEB}
