from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from eyebright.bundle.manifest import FORMAT_VERSION, find_bundle, read_manifest, write_manifest
from eyebright.errors import BundleError


def rewrite(bundle: Path, **changes: Any) -> None:
    """Change a manifest and sign it again, as another version of the program would have written it."""
    path = bundle / "manifest.json"
    values = json.loads(path.read_text()) | changes
    del values["manifest_sha256"]
    text = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    values["manifest_sha256"] = hashlib.sha256(text.encode()).hexdigest()
    path.write_text(json.dumps(values, indent=2) + "\n")


def test_what_is_written_is_read_back(bundle: Path) -> None:
    manifest = read_manifest(bundle)
    assert manifest.class_names == ("a", "b")
    assert manifest.architecture.model == "cnn"
    assert manifest.provenance == {"note": "test"}
    write_manifest(bundle, manifest)
    assert read_manifest(bundle) == manifest
    assert sorted(path.name for path in bundle.iterdir()) == ["manifest.json", "weights.safetensors"]


def test_every_single_flipped_bit_and_every_cut_is_refused_by_file_name(bundle: Path) -> None:
    random = np.random.default_rng(0)
    for name in ("manifest.json", "weights.safetensors"):
        path = bundle / name
        content = path.read_bytes()
        bits = random.choice(len(content) * 8, size=150, replace=False)
        cuts = random.choice(len(content), size=40, replace=False)
        for bit in bits:
            damaged = bytearray(content)
            damaged[bit // 8] ^= 1 << (bit % 8)
            path.write_bytes(damaged)
            check_refused(bundle, name)
        for cut in cuts:
            path.write_bytes(content[:cut])
            check_refused(bundle, name)
        path.write_bytes(content)
    read_manifest(bundle)


def check_refused(bundle: Path, name: str) -> None:
    with pytest.raises(BundleError) as caught:
        read_manifest(bundle)
    # A flipped bit in the manifest may turn a listed name or the version into another; then that is what is named.
    message = str(caught.value)
    assert name in message or (name == "manifest.json" and str(bundle) in message)


def test_a_change_that_means_the_same_is_refused_too(bundle: Path) -> None:
    path = bundle / "manifest.json"
    manifest = read_manifest(bundle)
    write_manifest(bundle, replace(manifest, provenance={"lr": 1e-05, "note": "é"}))
    text = path.read_text()
    for other in (text[:-1], text.replace("1e-05", "1E-05"), text.replace("00e9", "00E9"), text + " "):
        assert other != text
        assert json.loads(other) == json.loads(text)
        path.write_text(other)
        with pytest.raises(BundleError, match=r"manifest\.json was altered"):
            read_manifest(bundle)


def test_a_file_that_cannot_be_opened_is_named(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(path: Path) -> str:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("eyebright.bundle.sealed.hash_file", fail)
    with pytest.raises(BundleError, match=r"weights\.safetensors can't be read: Permission denied"):
        read_manifest(bundle)


def test_an_absent_file_is_named(bundle: Path) -> None:
    (bundle / "weights.safetensors").unlink()
    with pytest.raises(BundleError, match=r"weights\.safetensors is missing"):
        read_manifest(bundle)


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/b", "a\\b", "..", "", ".", "x\0y", "n" * 300])
def test_a_listed_name_never_leads_elsewhere(bundle: Path, name: str) -> None:
    weights = json.loads((bundle / "manifest.json").read_text())["files"]
    rewrite(bundle, files={**weights, name: "0" * 64})
    with pytest.raises(BundleError, match=r"no plain file name|is missing|can't be read"):
        read_manifest(bundle)


def test_a_newer_format_is_refused_as_such(bundle: Path) -> None:
    rewrite(bundle, format_version=FORMAT_VERSION + 1)
    with pytest.raises(BundleError, match="written by a newer Eyebright"):
        read_manifest(bundle)


@pytest.mark.parametrize("version", [0, -1, "1", None, True, 1.0])
def test_a_version_that_is_none_is_refused(bundle: Path, version: object) -> None:
    rewrite(bundle, format_version=version)
    with pytest.raises(BundleError, match="no format version"):
        read_manifest(bundle)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"architecture": None}, "lacks what it needs"),
        ({"class_names": ["a", "b", "c"]}, "of another number"),
        ({"class_names": None}, "lacks what it needs"),
        ({"preprocessing": {"image_size": 3}}, "lacks what it needs"),
        ({"files": {}}, "lists no weights.safetensors"),
        ({"files": {"weights.safetensors": "0" * 64}}, "altered or cut short"),
        ({"files": {"../outside": "0" * 64, "weights.safetensors": ""}}, "no plain file name"),
        ({"files": {"absent": "0" * 64, "weights.safetensors": ""}}, "absent is missing|altered"),
        ({"files": 3}, "lacks what it needs"),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(bundle: Path, change: dict[str, Any], message: str) -> None:
    rewrite(bundle, **change)
    with pytest.raises(BundleError, match=message):
        read_manifest(bundle)


@pytest.mark.parametrize("name", ["../outside.onnx", "/etc/passwd", "in/side.onnx", "..", "", "a\\\\b"])
def test_a_name_that_leads_out_of_the_folder_is_refused_even_where_files_are_left_to_others(
    bundle: Path, name: str
) -> None:
    rewrite(bundle, files={**read_manifest(bundle).files, name: "0" * 64})
    with pytest.raises(BundleError, match="no plain file name"):
        read_manifest(bundle, files=False)


@pytest.mark.parametrize("content", [b"", b"[]", b"{", b"\xff", b"[" * 100_000, b"null"])
def test_what_is_no_manifest_is_refused(bundle: Path, content: bytes) -> None:
    (bundle / "manifest.json").write_bytes(content)
    with pytest.raises(BundleError, match=r"manifest\.json"):
        read_manifest(bundle)


def test_a_bundle_is_found_in_a_run_and_nowhere_else(bundle: Path, tmp_path: Path) -> None:
    assert find_bundle(bundle) == bundle
    assert find_bundle(tmp_path) == bundle
    with pytest.raises(BundleError, match="there is no folder"):
        find_bundle(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BundleError, match="no saved classifier"):
        find_bundle(tmp_path / "empty")
    runs = tmp_path / "runs"
    for name in ("one", "two"):
        (runs / name / "bundle").mkdir(parents=True)
        (runs / name / "bundle" / "manifest.json").touch()
    with pytest.raises(BundleError, match="several runs \\(one, two\\)"):
        find_bundle(runs)
