from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from eyebright.bundle.store import describe_architecture, save_bundle
from eyebright.errors import BundleError
from eyebright.inference.load import load
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing


def test_without_torch_it_says_what_to_install(tmp_path: Path) -> None:
    model = build_model("cnn", num_classes=2, width="small")
    save_bundle(
        tmp_path / "bundle",
        model,
        describe_architecture(model, "cnn"),
        class_names=("a", "b"),
        preprocessing=Preprocessing(image_size=16, resize=16),
        provenance={},
    )
    code = (
        "import sys\n"
        "class NoTorch:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        "        if name == 'torch' or name.startswith('torch.'):\n"
        "            raise ModuleNotFoundError(\"No module named 'torch'\", name='torch')\n"
        "sys.meta_path.insert(0, NoTorch())\n"
        "import eyebright\n"
        "try:\n"
        "    eyebright.load(sys.argv[1])\n"
        "except eyebright.EyebrightError as error:\n"
        "    print(type(error).__name__, error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.startswith("MissingExtraError")
    assert "pip install 'eyebright[train]'" in done.stdout


def test_what_is_no_classifier_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="no saved classifier"):
        load(tmp_path)
    with pytest.raises(BundleError, match="there is no folder"):
        load(str(tmp_path / "nowhere"))


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A run's folder with a tiny CNN in it."""
    model = build_model("cnn", num_classes=2, width="small")
    save_bundle(
        tmp_path / "run" / "bundle",
        model,
        describe_architecture(model, "cnn"),
        class_names=("a", "b"),
        preprocessing=Preprocessing(image_size=16, resize=16),
        provenance={},
    )
    return tmp_path / "run"


def test_a_run_and_the_bundle_in_it_are_the_same_classifier(run: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    answers = [load(path).predict(image) for path in (run, str(run), run / "bundle")]
    assert answers[0] == answers[1] == answers[2]
    assert load(run).class_names == ("a", "b")


@pytest.mark.parametrize("name", ["manifest.json", "weights.safetensors"])
def test_a_damaged_file_is_named(run: Path, name: str) -> None:
    path = run / "bundle" / name
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(BundleError, match=name):
        load(run)
