from __future__ import annotations

import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from eyebright.bundle.manifest import read_manifest, write_manifest
from eyebright.bundle.sealed import hash_file
from eyebright.bundle.store import describe_architecture, load_bundle, save_bundle
from eyebright.calibration.calibrate import calibrate
from eyebright.calibration.calibration import Calibration
from eyebright.errors import BundleError, MissingExtraError, SettingsError
from eyebright.inference import torch_engine
from eyebright.inference.executorch_engine import import_runtime
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


def test_a_gpu_is_taken_where_there_is_one_and_missed_where_it_was_asked_for(
    run: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch_engine, "count_gpus", lambda: 0)
    assert load(run).engine == "torch"
    with pytest.raises(SettingsError, match="no cuda here, which torch-cuda needs: torch finds 0 GPUs"):
        load(run, engine="torch-cuda")
    monkeypatch.setattr(torch_engine, "count_gpus", lambda: 2)
    devices: list[str] = []
    plain = torch_engine.TorchEngine

    def build(*given: Any, device: str, **named: Any) -> torch_engine.TorchEngine:
        devices.append(device)
        return plain(*given, device="cpu", **named)

    monkeypatch.setattr(torch_engine, "TorchEngine", build)
    for engine in (None, "torch-cuda", "torch"):
        load(run, engine=engine)
    for device in ("cpu", "cuda:1"):
        load(run, device=device)
    assert devices == ["cuda", "cuda", "cpu", "cpu", "cuda:1"]
    for device, message in (("cuda:2", "no cuda:2 here"), ("gpu", "not 'gpu'"), ("cuda:-1", "not 'cuda:-1'")):
        with pytest.raises(SettingsError, match=message):
            load(run, device=device)
    with pytest.raises(SettingsError, match="an engine or a device"):
        load(run, engine="onnx", device="cpu")


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


def calibrated(folder: Path) -> Calibration:
    """Give the tiny CNN's bundle a calibration of 40 validation samples; its references are far from every image."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 40)
    loaded = load_bundle(folder)
    width = loaded.model.embedding_width
    assert isinstance(width, int)
    calibration = calibrate(
        np.eye(2)[labels] * 3 + rng.normal(size=(40, 2)),
        labels,
        embeddings=-rng.random((40, width)),
        references=-rng.random((50, width)),
    )
    save_bundle(
        folder,
        loaded.model,
        loaded.manifest.architecture,
        class_names=("a", "b"),
        preprocessing=loaded.manifest.preprocessing,
        provenance={},
        calibration=calibration,
    )
    return calibration


def test_a_calibration_comes_along_and_is_applied(run: Path) -> None:
    image = np.random.default_rng(0).integers(0, 256, (20, 20, 3), dtype=np.uint8)
    plain = load(run).predict(image)
    assert (plain.set, plain.unsure) == ((), None)
    calibration = calibrated(run / "bundle")
    predictor = load(run)
    assert predictor.calibration is not None
    assert predictor.calibration.describe() == calibration.describe()
    answer = predictor.predict(image)
    assert answer.label == plain.label
    assert answer.unsure == "unlike the training images"  # embeddings of an image are not negative
    odds = plain.probabilities["a"] / plain.probabilities["b"]
    cooled = answer.probabilities["a"] / answer.probabilities["b"]
    assert np.log(cooled) == pytest.approx(np.log(odds) / calibration.temperature, abs=1e-5)
    assert load(run, coverage=0.99).predict(image).set == tuple(answer.probabilities)
    assert load(run, coverage=0.01).predict(image).set == (answer.label,)
    with pytest.raises(SettingsError, match="coverage is a fraction"):
        load(run, coverage=95)


def test_a_damaged_or_foreign_calibration_is_named(run: Path) -> None:
    calibrated(run / "bundle")
    path = run / "bundle" / "calibration.safetensors"
    good = path.read_bytes()
    path.write_bytes(good[:-1])
    with pytest.raises(BundleError, match=r"calibration\.safetensors was altered or cut short"):
        load(run)
    path.write_bytes(good)
    manifest = read_manifest(run / "bundle")
    assert manifest.calibration is not None
    write_manifest(run / "bundle", replace(manifest, calibration={**manifest.calibration, "temperature": "warm"}))
    with pytest.raises(BundleError, match=r"calibration\.safetensors does not fit its manifest"):
        load(run)


def test_an_engine_outside_the_bundle_is_not_opened(run: Path) -> None:
    bundle = run / "bundle"
    (run / "outside.onnx").write_bytes(b"a graph from elsewhere")
    manifest = read_manifest(bundle)
    hostile = {
        **dict.fromkeys(("num_images", "num_agree", "num_correct", "torch_correct", "size_bytes"), 1),
        **dict.fromkeys(("largest_difference", "largest_logit", "latency_seconds", "torch_latency_seconds"), 1.0),
        **dict.fromkeys(("how", "machine", "created"), ""),
        "images_per_second": 9.0,
        "torch_images_per_second": 1.0,
        "engine": "onnx",
        "file": "../outside.onnx",
        "weights_sha256": manifest.files["weights.safetensors"],
    }
    files = {**manifest.files, "../outside.onnx": hash_file(run / "outside.onnx")}
    write_manifest(bundle, replace(manifest, files=files, provenance={"engines": [hostile]}))
    for engine in (None, "onnx", "torch"):
        with pytest.raises(BundleError, match=r"lists \.\./outside\.onnx, which is no plain file name; don't trust it"):
            load(run, engine=engine)


def test_an_executorch_that_does_not_fit_is_not_called_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "executorch", ModuleType("executorch"))
    monkeypatch.setitem(sys.modules, "executorch.runtime", ModuleType("executorch.runtime"))
    with pytest.raises(MissingExtraError, match=r"ExecuTorch needs other packages than are installed \(cannot import"):
        import_runtime()
