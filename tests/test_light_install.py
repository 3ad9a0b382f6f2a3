"""What `pip install eyebright` brings is light, has no torch, and is enough to use an exported classifier."""

from __future__ import annotations

import os
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from PIL import Image

from eyebright.jobs.export import export
from eyebright.jobs.train import train

ROOT = Path(__file__).resolve().parents[1]
LIMIT = 150e6
"""Bytes, in the versions of the lock. ONNX Runtime takes 54 of them and NumPy 57; ONNX Runtime 1.32 would take 76."""


def run(*arguments: str | Path, seconds: int = 300) -> subprocess.CompletedProcess[str]:
    variables = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    return subprocess.run(
        [*map(str, arguments)], capture_output=True, text=True, timeout=seconds, check=False, env=variables
    )


@pytest.fixture(scope="module")
def light(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs' folder of an environment with nothing but Eyebright's base, in the versions of the lock."""
    root = tmp_path_factory.mktemp("light")
    built = run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", "-w", root, ROOT)
    assert built.returncode == 0, built.stderr
    (wheel,) = root.glob("eyebright-*.whl")
    venv.create(root / "env", with_pip=True)
    programs = root / "env" / ("Scripts" if os.name == "nt" else "bin")
    install = ("-m", "pip", "install", "-q", "--retries", "0", "-c", ROOT / "requirements.lock", wheel)
    installed = run(programs / "python", *install)
    if "No matching distribution" in installed.stderr or "Temporary failure" in installed.stderr:
        pytest.skip("the package index can't be reached, from which the base is installed")
    assert installed.returncode == 0, installed.stderr
    return programs


@pytest.fixture(scope="module")
def exported(bright_and_dark: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two classes of small photos, exported."""
    folder = tmp_path_factory.mktemp("runs") / "run"
    train(bright_and_dark, model="cnn", out=folder, overrides=["training.epochs=3", "network.width=small"])
    export(folder)
    return folder


@pytest.mark.slow
def test_the_base_is_light_and_classifies_without_torch(light: Path, exported: Path) -> None:
    packages = next((light.parent / "lib").glob("python*/site-packages")) if os.name != "nt" else None
    assert packages is not None
    folders = {path.name for path in packages.iterdir()}
    assert "onnxruntime" in folders
    assert not folders & {"torch", "onnx", "pyarrow", "matplotlib"}
    # pip and setuptools came with the environment, and compiled files are made when they are first used.
    ours = [
        path
        for path in packages.rglob("*")
        if path.is_file() and path.relative_to(packages).parts[0].split("-")[0] not in ("pip", "setuptools")
    ]
    size = sum(path.stat().st_size for path in ours if path.suffix != ".pyc")
    assert 20e6 < size < LIMIT, f"{size / 1e6:.0f} MB"

    photos = exported.parent / "new"
    photos.mkdir()
    Image.new("RGB", (24, 20), (10, 10, 10)).save(photos / "night.png")
    done = run(light / "eyebright", "predict", exported, photos / "night.png")
    assert done.returncode == 0, done.stderr
    assert "night.png,dark" in done.stdout
    labelled = photos / "labelled" / "dark"
    labelled.mkdir(parents=True)
    Image.new("RGB", (24, 20), (20, 10, 10)).save(labelled / "night.png")
    done = run(light / "eyebright", "evaluate", exported, labelled.parent)
    assert done.returncode == 0, done.stderr
    assert "1 of 1 image right" in done.stdout
    refused = run(light / "eyebright", "predict", exported, photos / "night.png", "--engine", "torch")
    assert refused.returncode == 2
    assert "pip install 'eyebright[train]'" in refused.stderr
    assert "Traceback" not in refused.stderr
    help_text = run(light / "eyebright", "--help")
    assert help_text.returncode == 0
    assert "Exit codes" in help_text.stdout
