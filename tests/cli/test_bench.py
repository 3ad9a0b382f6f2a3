from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_a_benchmark_prints_its_engines_and_what_they_ran_on(eyebright: Command, run_folder: Path) -> None:
    done = eyebright("bench", run_folder, "--quick", variables={"COLUMNS": "160"})
    assert done.returncode == 0, done.stderr
    first = next(line for line in done.stdout.splitlines() if line.startswith("torch "))
    assert " MB" in first
    for words in ("file to label", "one image", "Peak, the fastest matrix product", "load ", "not exported yet"):
        assert words in done.stdout


def test_json_is_json(eyebright: Command, run_folder: Path, photos: Path) -> None:
    done = eyebright("bench", run_folder, photos / "dark", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["num_images"] == 12
    assert found["engines"][0]["engine"] == "torch"
    assert found["engines"][0]["peak_bytes"] is None or found["engines"][0]["peak_bytes"] > 10e6


def test_mistakes_get_one_line(eyebright: Command, run_folder: Path, tmp_path: Path) -> None:
    for arguments, code, message in (
        (["bench", tmp_path / "nowhere"], 6, "no folder"),
        (["bench", run_folder, tmp_path / "none.jpg", "--quick"], 4, "none of 1 images can be read"),
    ):
        done = eyebright(*arguments)
        assert done.returncode == code, done.stderr
        assert message in done.stderr
        assert done.stdout == ""
