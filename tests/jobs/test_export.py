from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import asdict, replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import eyebright as eb
from eyebright.bundle.engines import read_engines
from eyebright.bundle.manifest import find_bundle, read_manifest, write_manifest
from eyebright.bundle.sealed import hash_file
from eyebright.errors import BundleError, DataError, ExportError, MissingExtraError, SettingsError
from eyebright.evaluation.report import EvaluationReport
from eyebright.jobs import runs
from eyebright.jobs.explain import explain
from eyebright.jobs.export import Export, export
from eyebright.jobs.train import Run
from eyebright.processor import has_bfloat16


@pytest.fixture(scope="module")
def exported(run: Run, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Export]]:
    """A copy of the run with every engine in it."""
    folder = tmp_path_factory.mktemp("exported") / "run"
    shutil.copytree(run.folder, folder)
    made = {
        "onnx": export(folder),
        "onnx-int8": export(folder, int8=True, max_drop=20),
    }
    return folder, made


@pytest.fixture
def folder(run: Run, tmp_path: Path) -> Path:
    shutil.copytree(run.folder, tmp_path / "run")
    return tmp_path / "run"


def test_an_export_is_verified_on_the_test_images_and_kept(exported: tuple[Path, dict[str, Export]], run: Run) -> None:
    folder, made = exported
    assert isinstance(run.report, EvaluationReport)
    for name, found in made.items():
        verified = found.verified
        assert verified.engine == name
        assert verified.num_images == run.report.num_samples
        assert verified.torch_correct == run.report.num_correct
        assert verified.num_agree >= verified.num_images - 1
        assert found.path.parent == find_bundle(folder)
        assert found.path.stat().st_size == verified.size_bytes
    assert made["onnx"].verified.largest_difference < 1e-4
    for name, least, most in (("onnx", 0.99999, 1.00001), ("onnx-int8", 0.95, 0.99999)):
        cosine = made[name].verified.lowest_cosine
        assert cosine is not None
        assert least < cosine < most
    assert made["onnx-int8"].verified.size_bytes < 0.4 * made["onnx"].verified.size_bytes
    bundle = find_bundle(folder)
    assert [engine.engine for engine in read_engines(bundle, read_manifest(bundle))] == ["onnx", "onnx-int8"]


def test_an_explanation_says_that_another_engine_answers(
    exported: tuple[Path, dict[str, Export]], run: Run, photos: Path
) -> None:
    folder, _ = exported
    path = photos / "red" / "03.png"
    (note,) = explain(folder, path).subject.notes
    assert f"{eb.load(folder).engine}, which predict uses here, may differ" in note
    assert note in explain(folder, path).html
    assert explain(folder, path, engine="torch").subject.notes == ()
    assert explain(run.folder, path).subject.notes == ()


def test_load_takes_the_fastest_and_needs_no_torch(
    exported: tuple[Path, dict[str, Export]], photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, made = exported
    fastest = max(made, key=lambda name: made[name].verified.speedup)
    monkeypatch.setattr("eyebright.inference.load.has_exact_int8", lambda: True)
    assert eb.load(folder).engine == fastest
    monkeypatch.setattr("eyebright.inference.load.has_exact_int8", lambda: False)
    assert eb.load(folder).engine == "onnx"
    code = (
        "import sys\n"
        "sys.modules['torch'] = None  # makes every import of it fail\n"
        "import eyebright as eb\n"
        "from eyebright.cli.main import main\n"
        "print(eb.load(sys.argv[1]).predict(sys.argv[2]).label)\n"
        "print(eb.evaluate(sys.argv[1], sys.argv[3]).num_samples)\n"
        "main(['predict', sys.argv[1], sys.argv[2]])\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, folder, photos / "red" / "03.png", photos],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split()[:2] == ["red", "7"]


def test_a_slower_bfloat16_is_not_taken(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyebright.exporting.export.computes_bfloat16", lambda _: True)
    monkeypatch.setattr("eyebright.inference.load.has_bfloat16", lambda: True)
    made = export(folder, to="torch", max_drop=20)
    assert made.path.name == "weights.safetensors"
    bundle = find_bundle(folder)
    manifest = read_manifest(bundle)
    for speed, wanted in ((0.5, "torch"), (2.0, "torch-bf16")):
        engine = replace(made.verified, images_per_second=speed, torch_images_per_second=1.0)
        write_manifest(bundle, replace(manifest, provenance={"engines": [asdict(engine)]}))
        assert eb.load(folder).engine == wanted
    assert eb.load(folder, engine="torch-bf16").engine == "torch-bf16"


def test_openvino_reads_the_same_file(exported: tuple[Path, dict[str, Export]], photos: Path, tmp_path: Path) -> None:
    pytest.importorskip("openvino", reason="needs openvino: pip install 'eyebright[openvino]'")
    shutil.copytree(exported[0], tmp_path / "run")
    made = export(tmp_path / "run", to="openvino", max_drop=20)
    assert made.verified.num_agree >= made.verified.num_images - 1
    assert made.path.name == exported[1]["onnx"].path.name
    images = sorted(photos.rglob("*.png"))[::5]
    wanted = eb.load(tmp_path / "run", engine="torch").predict(images)
    found = eb.load(tmp_path / "run", engine="openvino").predict(images)
    for one, other in zip(found, wanted, strict=True):
        assert one.label == other.label
        assert one.probabilities == pytest.approx(other.probabilities, abs=0.02)
    int8 = export(tmp_path / "run", to="openvino", int8=True, max_drop=20)
    assert made.path.is_file()
    assert eb.load(tmp_path / "run", engine="openvino-int8").engine == "openvino-int8"
    floats = "bfloat16" if has_bfloat16() else "float32"
    assert made.verified.how == floats
    assert int8.verified.how.startswith("int8 by ")
    assert int8.verified.how.endswith(f", floats in {floats}")
    path = made.path
    path.write_bytes(path.read_bytes()[:-9])
    with pytest.raises(BundleError, match="was altered"):
        eb.load(tmp_path / "run", engine="openvino")


def test_a_program_for_phones_answers_as_torch_does_and_runs_here_only_where_it_is_asked_for(
    folder: Path, photos: Path
) -> None:
    if find_spec("executorch") is None:
        pytest.skip("needs executorch: pip install 'eyebright[executorch]'")
    made = export(folder, to="executorch", max_drop=0)
    assert made.path.suffix == ".pte"
    assert made.verified.num_agree == made.verified.num_images
    assert made.verified.largest_difference <= 1e-5 * max(made.verified.largest_logit, 1)
    images = sorted(photos.rglob("*.png"))[::5]
    wanted = eb.load(folder).predict(images)
    assert eb.load(folder).engine == "torch"
    for one, other in zip(eb.load(folder, engine="executorch").predict(images), wanted, strict=True):
        assert one.label == other.label
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-4)
    again = export(folder, to="executorch", max_drop=0)
    assert again.path.is_file()
    assert len(list(again.path.parent.glob("*.pte"))) == 1
    with pytest.raises(ExportError, match="int8 is there for onnx and openvino"):
        export(folder, to="executorch", int8=True)


@pytest.mark.parametrize("engine", ["openvino", "openvino-int8"])
def test_openvino_runs_in_what_it_was_verified_in(
    exported: tuple[Path, dict[str, Export]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: str
) -> None:
    pytest.importorskip("openvino", reason="needs openvino: pip install 'eyebright[openvino]'")
    from eyebright.inference.openvino_engine import OpenvinoEngine

    shutil.copytree(exported[0], tmp_path / "run")
    bundle = find_bundle(tmp_path / "run")
    manifest = read_manifest(bundle)
    monkeypatch.setattr("eyebright.inference.load.has_exact_int8", lambda: True)
    onnx = exported[1]["onnx"].verified
    for how, hardware, taken, precision in (
        ("float32", True, engine, "f32"),
        ("bfloat16", False, "onnx", "f32"),
        ("int8 by entropy, floats in bfloat16", False, "onnx", "f32"),
        *((("bfloat16", True, engine, "bf16"),) if has_bfloat16() else ()),
    ):
        fast = replace(onnx, engine=engine, how=how, images_per_second=1e6)
        write_manifest(bundle, replace(manifest, provenance={"engines": [asdict(onnx), asdict(fast)]}))
        monkeypatch.setattr("eyebright.inference.load.has_bfloat16", lambda hardware=hardware: hardware)
        assert eb.load(bundle).engine == taken, how
        opened = eb.load(bundle, engine=engine)._engine
        assert isinstance(opened, OpenvinoEngine)
        assert opened.precision == precision, how


def test_a_damaged_export_is_refused_by_name_costs_no_other_engine_and_is_repaired_by_another(
    exported: tuple[Path, dict[str, Export]], tmp_path: Path
) -> None:
    folder, made = exported
    shutil.copytree(folder, tmp_path / "run")
    path = find_bundle(tmp_path / "run") / made["onnx"].path.name
    whole = path.read_bytes()
    content = bytearray(whole)
    content[len(content) // 2] ^= 1
    for damage, message in (
        (lambda: path.write_bytes(content), "was altered or cut"),
        (lambda: path.write_bytes(whole[:-1000]), "was altered or cut"),  # not that it is no graph, which it is not
        (path.unlink, "can't be read"),
    ):
        damage()
        with pytest.raises(BundleError, match=rf"{path.name} {message}.*export again"):
            eb.load(tmp_path / "run", engine="onnx")
        for engine in ("torch", "onnx-int8"):
            assert eb.load(tmp_path / "run", engine=engine).engine == engine
        assert export(tmp_path / "run").path.read_bytes() == whole
        for engine in ("onnx", "onnx-int8"):
            assert eb.load(tmp_path / "run", engine=engine).engine == engine


def test_an_export_that_changes_while_it_is_opened_is_refused(
    exported: tuple[Path, dict[str, Export]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from eyebright.inference import load

    shutil.copytree(exported[0], tmp_path / "run")
    path = find_bundle(tmp_path / "run") / exported[1]["onnx"].path.name

    def hash_and_change(path: Path) -> str:
        found = hash_file(path)
        path.write_bytes(path.read_bytes()[:-1] + b"!")
        os.utime(path, ns=(1, 1))
        return found

    monkeypatch.setattr(load, "hash_file", hash_and_change)
    with pytest.raises(BundleError, match=rf"{path.name} was altered"):
        eb.load(tmp_path / "run", engine="onnx")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has such names")
def test_a_folder_whose_name_is_no_unicode_is_opened(exported: tuple[Path, dict[str, Export]], tmp_path: Path) -> None:
    odd = tmp_path / os.fsdecode(b"caf\xe9")
    shutil.copytree(exported[0], odd)
    assert eb.load(odd, engine="onnx").engine == "onnx"


def test_an_engine_that_was_not_exported_says_how_to_make_it(folder: Path) -> None:
    with pytest.raises(BundleError, match="eyebright export RUN --to onnx --int8"):
        eb.load(folder, engine="onnx-int8")
    with pytest.raises(BundleError, match=r"eyebright export RUN --to torch$"):
        eb.load(folder, engine="torch-bf16")
    with pytest.raises(SettingsError, match='did you mean "onnx"'):
        eb.load(folder, engine="onxn")


def test_a_bundle_alone_needs_images_and_images_of_its_own_classes(folder: Path, photos: Path, tmp_path: Path) -> None:
    bundle = find_bundle(folder)
    with pytest.raises(DataError, match="eyebright export RUN DATA"):
        export(bundle)
    assert export(bundle, data=photos).verified.num_images == 48
    with pytest.raises(DataError, match="validation images"):
        export(bundle, data=photos, int8=True)
    for split, name, number in (("train", "red", "00"), ("train", "blue", "00"), ("val", "red", "01")):
        target = tmp_path / "split" / split / name / f"{number}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(photos / name / f"{number}.png", target)
    for int8 in (False, True):
        with pytest.raises(DataError, match="no test images to compare the export on"):
            export(bundle, data=tmp_path / "split", int8=int8)
    (tmp_path / "other" / "violet").mkdir(parents=True)
    shutil.copy(photos / "red" / "00.png", tmp_path / "other" / "violet")
    with pytest.raises(DataError, match="violet"):
        export(bundle, data=tmp_path / "other")


def test_images_that_have_moved_are_found_where_the_user_says_and_changed_ones_refused(
    folder: Path, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, tmp_path / "moved")
    assert export(folder, data=tmp_path / "moved").verified.num_images == 7
    record = next(r for r in runs.read_sample_records(folder / runs.SAMPLES) if r.split == "test")
    Image.new("RGB", (20, 20)).save(tmp_path / "moved" / record.name)
    with pytest.raises(DataError, match="has changed"):
        export(folder, data=tmp_path / "moved")


def test_an_export_that_answers_differently_is_not_kept(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from eyebright.exporting import onnx_graph

    constant = onnx_graph._Writer.constant

    def spoil(self: onnx_graph._Writer, name: str, values: np.ndarray) -> str:
        return constant(self, name, values * 0.9 if name == "scale" else values)

    monkeypatch.setattr(onnx_graph._Writer, "constant", spoil)
    before = sorted(path.name for path in find_bundle(folder).iterdir())
    with pytest.raises(ExportError, match="not kept"):
        export(folder)
    assert sorted(path.name for path in find_bundle(folder).iterdir()) == before
    assert eb.load(folder).engine == "torch"


def test_what_can_not_be_asked_for(folder: Path) -> None:
    with pytest.raises(SettingsError, match='no export to "tflite"'):
        export(folder, to="tflite")
    with pytest.raises(ExportError, match="int8 is there for onnx and openvino"):
        export(folder, to="torch", int8=True)


def test_what_is_missing_here_is_said_before_anything_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("eyebright.exporting.export.computes_bfloat16", lambda _: False)
    with pytest.raises(ExportError, match="does not compute in bfloat16"):
        export(tmp_path / "nowhere", to="torch")
    monkeypatch.setitem(sys.modules, "openvino", None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[openvino\]"):
        export(tmp_path / "nowhere", to="openvino")
    for module in ("executorch", "executorch.runtime"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[executorch\]"):
        export(tmp_path / "nowhere", to="executorch")
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(MissingExtraError, match=r"eyebright\[export\]"):
        export(tmp_path / "nowhere")
