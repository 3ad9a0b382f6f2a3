from __future__ import annotations

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from eyebright.bundle.manifest import read_manifest, write_manifest
from eyebright.bundle.store import describe_architecture, load_bundle, save_bundle
from eyebright.errors import BundleError, ModelError, OutputError
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing

PREPROCESSING = Preprocessing(image_size=16, resize=16)
Save = Callable[..., torch.nn.Module]


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("cnn", {"width": "small", "in_channels": 1}),
        ("resnet18", {"embed_stages": 2}),
        ("resnet50", {"stride_in": "1x1"}),
        ("vgg11_bn", {"head": "pooled", "embed_stages": 2}),
    ],
)
def test_a_network_comes_back_bit_for_bit(save: Save, tmp_path: Path, name: str, options: dict[str, Any]) -> None:
    model = save(tmp_path / "b", name, classes=("x", "y", "z"), **options)
    loaded = load_bundle(tmp_path / "b")
    assert not loaded.model.training
    assert describe_architecture(loaded.model, name) == loaded.manifest.architecture
    for key, tensor in model.state_dict().items():
        assert torch.equal(loaded.model.state_dict()[key], tensor), key
    for option, value in options.items():
        assert getattr(loaded.manifest.architecture, option) == value


def test_the_folder_holds_two_plain_files(bundle: Path) -> None:
    names = sorted(path.name for path in bundle.iterdir())
    assert names == ["manifest.json", "weights.safetensors"]
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]  # nothing was left beside it
    assert all(b"pickle" not in (bundle / name).read_bytes() for name in names)
    assert (bundle / "weights.safetensors").stat().st_mode & 0o777 == 0o644


def test_the_same_network_gives_the_same_bytes(save: Save, bundle: Path, tmp_path: Path) -> None:
    save(tmp_path / "again", width="small")
    for name in ("manifest.json", "weights.safetensors"):
        assert (bundle / name).read_bytes() == (tmp_path / "again" / name).read_bytes()


def test_a_newer_bundle_takes_the_place_of_the_older(save: Save, bundle: Path) -> None:
    save(bundle, classes=("p", "q", "r"), width="small")
    assert read_manifest(bundle).class_names == ("p", "q", "r")
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


@pytest.mark.parametrize(
    "broken", ["eyebright.bundle.store.safetensors.torch.save_file", "eyebright.bundle.sealed.os.replace"]
)
def test_a_full_disk_leaves_what_was_there(
    save: Save, bundle: Path, monkeypatch: pytest.MonkeyPatch, broken: str
) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}

    def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(broken, fail)
    with pytest.raises(OutputError, match="No space left on device"):
        save(bundle, classes=("p", "q", "r"), width="small")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_failure_between_the_two_moves_puts_the_older_bundle_back(
    save: Save, bundle: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    rename = os.replace

    def fail_into_place(source: Path, target: Path) -> None:
        if target == bundle and source.name != bundle.name:
            raise OSError(errno.ENOSPC, "No space left on device")
        rename(source, target)

    monkeypatch.setattr("eyebright.bundle.sealed.os.replace", fail_into_place)
    with pytest.raises(OutputError, match="No space left on device"):
        save(bundle, classes=("p", "q", "r"), width="small")
    monkeypatch.undo()
    assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
    assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_a_disk_that_is_really_too_small_leaves_what_was_there(bundle: Path) -> None:
    resource = pytest.importorskip("resource")
    before = {path.name: path.read_bytes() for path in bundle.iterdir()}
    code = (
        "import resource, sys\n"
        "from pathlib import Path\n"
        "from eyebright.bundle.store import describe_architecture, save_bundle\n"
        "from eyebright.errors import OutputError\n"
        "from eyebright.models.catalog import build_model\n"
        "from eyebright.preprocess import Preprocessing\n"
        "model = build_model('cnn', num_classes=3, width='small')\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), resource.RLIM_INFINITY))\n"
        "try:\n"
        "    save_bundle(Path(sys.argv[1]), model, describe_architecture(model, 'cnn'), class_names=('p', 'q', 'r'),\n"
        "                preprocessing=Preprocessing(image_size=16, resize=16), provenance={})\n"
        "except OutputError as error:\n"
        "    sys.exit(f'refused: {error}')\n"
    )
    assert resource
    for limit in (100, 100_000):
        arguments = [sys.executable, "-c", code, str(bundle), str(limit)]
        done = subprocess.run(arguments, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 1, done.stderr
        assert done.stderr.startswith(f"refused: the classifier can't be written to {bundle}")
        assert {path.name: path.read_bytes() for path in bundle.iterdir()} == before
        assert [path.name for path in bundle.parent.iterdir()] == ["bundle"]


def test_numbers_that_are_none_are_not_saved(tmp_path: Path) -> None:
    model = build_model("cnn", num_classes=2, width="small")
    with torch.no_grad():
        next(model.parameters()).fill_(float("nan"))
    architecture = describe_architecture(model, "cnn")
    with pytest.raises(ModelError, match=r"features\.0\.weight holds values that are no numbers"):
        save_bundle(
            tmp_path / "b",
            model,
            architecture,
            class_names=("a", "b"),
            preprocessing=PREPROCESSING,
            provenance={},
        )
    assert list(tmp_path.iterdir()) == []


def test_weights_of_another_network_are_refused(save: Save, bundle: Path) -> None:
    manifest = read_manifest(bundle)
    other = replace(manifest.architecture, width="base")
    write_manifest(bundle, replace(manifest, architecture=other))
    with pytest.raises(BundleError, match="does not fit its manifest"):
        load_bundle(bundle)
    write_manifest(bundle, replace(manifest, architecture=replace(manifest.architecture, model="cnn2")))
    with pytest.raises(BundleError, match="can't build"):
        load_bundle(bundle)
    write_manifest(bundle, replace(manifest, architecture=replace(manifest.architecture, stride_in="3x3")))
    with pytest.raises(BundleError, match="can't build"):
        load_bundle(bundle)


def test_too_little_memory_is_no_damage(save: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    save(tmp_path / "b", "cnn", classes=("x", "y"), width="small")
    monkeypatch.setattr("safetensors.torch.load_file", refuse)
    with pytest.raises(OSError, match="Cannot allocate memory"):
        load_bundle(tmp_path / "b")
