from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any

import pytest

from eyebright.bundle import engines
from eyebright.bundle.engines import VerifiedEngine, add_engine, read_engines
from eyebright.bundle.manifest import WEIGHTS, read_manifest, write_manifest
from eyebright.bundle.sealed import MANIFEST
from eyebright.errors import BundleError, ExportError, OutputError


def record(bundle: Path, engine: str = "onnx", **values: object) -> VerifiedEngine:
    made = VerifiedEngine(
        engine=engine,
        file=None,
        weights_sha256=read_manifest(bundle).files[WEIGHTS],
        num_images=200,
        num_agree=199,
        num_correct=180,
        torch_correct=181,
        largest_difference=0.1,
        largest_logit=9.0,
        size_bytes=0,
        latency_seconds=0.01,
        images_per_second=300.0,
        torch_latency_seconds=0.02,
        torch_images_per_second=100.0,
        how="float32",
        machine="a machine",
        created="2026-11-25 03:00",
    )
    return replace(made, **values)  # type: ignore[arg-type]


def test_what_was_added_is_read_again_and_guarded(bundle: Path) -> None:
    assert read_engines(bundle, read_manifest(bundle)) == ()
    kept = add_engine(bundle, record(bundle), b"a graph")
    assert kept.file is not None
    assert (kept.size_bytes, (bundle / kept.file).read_bytes()) == (7, b"a graph")
    assert (kept.agreement, kept.drop, kept.speedup) == (0.995, 0.5, 3.0)
    manifest = read_manifest(bundle)
    assert manifest.files[kept.file] == hashlib.sha256(b"a graph").hexdigest()
    assert read_engines(bundle, manifest) == (kept,)
    assert manifest.provenance["note"] == "test"
    (bundle / kept.file).write_bytes(b"a graqh")
    with pytest.raises(BundleError, match=kept.file):
        read_manifest(bundle)


def test_a_second_export_takes_the_place_of_the_first_and_leaves_other_engines(bundle: Path) -> None:
    for engine, content in (("onnx", b"1"), ("onnx-int8", b"2"), ("onnx", b"3")):
        add_engine(bundle, record(bundle, engine), content)
    add_engine(bundle, record(bundle, "torch-bf16"), None)
    found = read_engines(bundle, read_manifest(bundle))
    assert [engine.engine for engine in found] == ["onnx-int8", "onnx", "torch-bf16"]
    assert [(bundle / engine.file).read_bytes() for engine in found if engine.file] == [b"2", b"3"]
    assert len(list(bundle.iterdir())) == 4
    assert found[2].size_bytes == (bundle / WEIGHTS).stat().st_size


def test_a_file_that_two_engines_share_stays_until_both_are_gone(bundle: Path) -> None:
    for engine, content in (("onnx", b"1"), ("openvino", b"1"), ("onnx", b"2")):
        add_engine(bundle, record(bundle, engine), content)
    openvino, onnx = read_engines(bundle, read_manifest(bundle))
    assert [(bundle / str(engine.file)).read_bytes() for engine in (openvino, onnx)] == [b"1", b"2"]
    add_engine(bundle, record(bundle, "openvino"), b"2")
    assert len(list(bundle.glob("*.onnx"))) == 1


def test_the_same_export_again_changes_nothing(bundle: Path) -> None:
    first = add_engine(bundle, record(bundle), b"a graph")
    assert add_engine(bundle, record(bundle), b"a graph") == first
    assert first.file is not None
    assert (bundle / first.file).is_file()


def test_a_failure_while_writing_leaves_the_bundle_as_it_was(bundle: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = add_engine(bundle, record(bundle), b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    move = os.replace

    def fail_at_the_manifest(source: Path, target: Path) -> None:
        if target.name == MANIFEST:
            fail()
        move(source, target)

    monkeypatch.setattr(os, "replace", fail_at_the_manifest)
    for content in (b"new", b"old"):  # what the manifest lists already stays
        with pytest.raises(OutputError, match="No space left on device; free some room"):
            add_engine(bundle, record(bundle), content)
        assert read_engines(bundle, read_manifest(bundle)) == (before,)
        assert sorted(path.name for path in bundle.iterdir()) == sorted([MANIFEST, str(before.file), WEIGHTS])
    monkeypatch.undo()
    monkeypatch.setattr("os.fsync", fail)
    with pytest.raises(OutputError, match="No space left"):
        add_engine(bundle, record(bundle), b"newer")
    assert read_engines(bundle, read_manifest(bundle)) == (before,)
    assert len(list(bundle.iterdir())) == 3


def test_exports_that_end_at_the_same_time_are_all_kept(bundle: Path) -> None:
    names = ["onnx", "onnx-int8", "openvino", "openvino-int8", "torch-bf16"]
    made = {name: record(bundle, name) for name in names}
    with ThreadPoolExecutor(len(names)) as pool:
        list(pool.map(lambda name: add_engine(bundle, made[name], name.encode()), names))
    assert {engine.engine for engine in read_engines(bundle, read_manifest(bundle))} == set(names)
    assert len(list(bundle.iterdir())) == 2 + len(names)


def test_what_was_exported_from_weights_that_are_gone_is_not_added(bundle: Path, save: Callable[..., object]) -> None:
    stale = record(bundle)
    save(bundle, classes=("p", "q", "r"), width="small")
    with pytest.raises(ExportError, match="was replaced by another network while it was exported"):
        add_engine(bundle, stale, b"a graph")
    assert len(list(bundle.iterdir())) == 2


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"weights_sha256": "0" * 64}, "is of other weights"),
        ({"file": "elsewhere.onnx"}, "does not guard elsewhere.onnx"),
        ({"file": "../elsewhere.onnx"}, "does not guard"),
        ({"file": 3}, "whose file is no sound value"),
        ({"engine": ["onnx"]}, "whose engine is no sound value"),
        ({"how": None}, "whose how is no sound value"),
        ({"num_images": 0}, "whose num_images is no sound value"),
        ({"num_images": True}, "whose num_images is no sound value"),
        ({"num_images": 10**400}, "whose num_images is no sound value"),
        ({"latency_seconds": 10**400}, "whose latency_seconds is no sound value"),
        ({"largest_logit": float("inf")}, "whose largest_logit is no sound value"),
        ({"num_agree": -1}, "whose num_agree is no sound value"),
        ({"images_per_second": "fast"}, "whose images_per_second is no sound value"),
        ({"torch_images_per_second": 0}, "whose torch_images_per_second is no sound value"),
        ({"latency_seconds": [1]}, "whose latency_seconds is no sound value"),
        ({"lowest_cosine": "1"}, "whose lowest_cosine is no sound value"),
        ({"several_labels": "no"}, "whose several_labels is no sound value"),
        ({"largest_difference": float("nan")}, "whose largest_difference is no sound value"),
    ],
)
def test_what_belongs_to_another_bundle_is_refused(bundle: Path, values: dict[str, Any], message: str) -> None:
    manifest = read_manifest(bundle)
    listed = {"engines": [asdict(record(bundle, **values))]}
    write_manifest(bundle, replace(manifest, provenance=listed))
    with pytest.raises(BundleError, match=message):
        read_engines(bundle, read_manifest(bundle))


def test_a_list_that_is_none_is_refused(bundle: Path) -> None:
    for listed in ({"engines": 3}, {"engines": ["onnx"]}, {"engines": [{"engine": "onnx"}]}):
        manifest = replace(read_manifest(bundle), provenance=listed)
        with pytest.raises(BundleError, match="can't be read"):
            read_engines(bundle, manifest)


def test_an_export_repairs_a_list_that_is_broken(bundle: Path) -> None:
    orphan = add_engine(bundle, record(bundle, "onnx-int8"), b"old").file
    assert orphan is not None
    write_manifest(bundle, replace(read_manifest(bundle), provenance={"note": "test", "engines": 3}))
    kept = add_engine(bundle, record(bundle), b"new")
    manifest = read_manifest(bundle)
    assert read_engines(bundle, manifest) == (kept,)
    assert manifest.provenance["note"] == "test"
    assert not (bundle / orphan).exists()
    assert set(manifest.files) == {WEIGHTS, kept.file}


def test_every_field_of_a_record_is_looked_at() -> None:
    assert set(engines._FITS) == {field.name for field in fields(VerifiedEngine)}


def test_a_record_from_before_embeddings_were_compared_is_read(bundle: Path) -> None:
    older = {key: value for key, value in asdict(record(bundle)).items() if key != "lowest_cosine"}
    (found,) = read_engines(bundle, replace(read_manifest(bundle), provenance={"engines": [older]}))
    assert found.lowest_cosine is None
