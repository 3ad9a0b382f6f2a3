"""The command as a user runs it: another process, with exit code, standard output and standard error."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

Command = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(scope="session")
def eyebright() -> Command:
    def run(
        *arguments: str | Path, cwd: Path | None = None, stdin: bytes = b"", variables: dict[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, "-m", "eyebright", *map(str, arguments)],
            cwd=cwd,
            input=stdin,
            capture_output=True,
            timeout=300,
            check=False,
            env=os.environ | {"COLUMNS": "120"} | (variables or {}),
        )
        assert b"Traceback" not in done.stderr, done.stderr.decode()
        return subprocess.CompletedProcess(done.args, done.returncode, done.stdout.decode(), done.stderr.decode())

    return run


@pytest.fixture(scope="session")
def photos(bright_and_dark: Path) -> Path:
    """Two classes of small photos: bright and dark ones."""
    return bright_and_dark


@pytest.fixture(scope="session")
def run_folder(eyebright: Command, photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("runs") / "light"
    done = eyebright("train", photos, "--model", "cnn", "--out", folder, "--set", "training.epochs=3")
    assert done.returncode == 0, done.stderr
    return folder
