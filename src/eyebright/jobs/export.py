"""Export a run's classifier to another engine, and prove on its test images that it answers the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyebright.bundle.engines import ONNX, ONNX_INT8, VerifiedEngine, add_engine, read_engines
from eyebright.bundle.manifest import WEIGHTS, Manifest, find_bundle, read_manifest
from eyebright.bundle.store import load_bundle
from eyebright.data.cache import iter_squares
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.data.shards import has_pattern
from eyebright.data.sources import read_samples
from eyebright.errors import DataError, SettingsError, nearest, printable
from eyebright.exporting.export import FORMATS, require_export
from eyebright.exporting.export import export as export_network
from eyebright.exporting.verify import Batch, require_same_answers, verify
from eyebright.exporting.web_runtime import read_runtime
from eyebright.inference.torch_engine import TorchEngine
from eyebright.jobs import runs
from eyebright.jobs.given import Data
from eyebright.jobs.prepare import prepare_again
from eyebright.jobs.provenance import describe_machine, now
from eyebright.jobs.state import read_state
from eyebright.jobs.web_page import choose_target, write_web_page
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress

CALIBRATION_IMAGES = 128
WEB = "web"
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Export:
    """An engine that was verified and is now in the bundle."""

    path: Path
    """The exported file; the bundle's weights for torch; the page for the web."""
    verified: VerifiedEngine
    """How its answers on the test images compare with the network's own."""


def export(
    run: str | os.PathLike[str],
    *,
    to: str = "onnx",
    int8: bool = False,
    data: Data | None = None,
    max_drop: float = 0.5,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write a classifier for another engine, compare the two on the test images, and keep it only if they agree.

    `load`, `predict` and `evaluate` use it from then on, a program for phones only where it is asked for; an ONNX
    export needs no torch.

    Args:
        run: a run's folder, or a bundle (then `data` are needed).
        to: "onnx"; "openvino" (the same file; bfloat16 where the machine computes it); "executorch" (a .pte program for
            phones); "torch" (bfloat16); or "web", a page that answers in any browser: with what was exported to ONNX
            before, or is now.
        int8: for ONNX and OpenVINO: a quarter of the size and several times as fast, calibrated on validation images.
        data: where the run's images are now, by default where they were; for a bundle without its run, labelled images
            that it has not seen: its test split or, if none is marked as one, those that are in no split; for int8 its
            validation split too.
        max_drop: how many points of accuracy on the test images it may lose.
        out: where the page goes, by default "web.html" in the run's folder; for the web only.
        progress: told how far it is, and asked whether to stop.

    Raises:
        SettingsError: there is no such format.
        ExportError: the answers differ, and nothing is kept; or this machine can't compute what is asked for.
        DataError: the images are gone, have changed, or there are none to calibrate or to test on.
        BundleError: the classifier is damaged or absent.
        MissingExtraError: what writes the format is not installed.
        OutputError: the bundle can't be written, or the page is there already.
    """
    progress = progress or SilentProgress()
    if to not in (*FORMATS, WEB):
        raise SettingsError(f'there is no export to "{to}"; {nearest(to, (*FORMATS, WEB))}')
    if not max_drop >= 0:  # nor NaN, than which nothing is larger
        raise SettingsError(f"the accuracy that may be lost is at least 0 points, not {max_drop:g}")
    if to == WEB:
        target = choose_target(Path(run), None if out is None else Path(out))
        runtime = read_runtime()  # before anything that takes long
        # What was exported before is good enough, unless it is to be measured on other images.
        engine = (_verified_onnx(Path(run), int8) if data is None else None) or export(
            run, int8=int8, data=data, max_drop=max_drop, progress=progress
        ).verified
        require_same_answers(engine, max_drop=max_drop)
        write_web_page(Path(run), target, engine, runtime, progress=progress)
        return Export(path=target, verified=engine)
    if out is not None:
        raise SettingsError("only a page (--to web) is written with --out; other exports go into the bundle")
    require_export(to, int8=int8)
    folder = find_bundle(Path(run))
    loaded = load_bundle(folder)
    manifest = loaded.manifest
    calibrating, testing = _find_images(Path(run), manifest, data, int8, progress)
    calibration = None if calibrating is None else _read_all(calibrating, manifest.preprocessing)
    made = export_network(loaded, to=to, calibration=calibration, progress=progress)
    verified = verify(
        made.engine,
        TorchEngine(loaded.model, manifest.preprocessing),
        _batches(testing, manifest.preprocessing),
        thresholds=manifest.thresholds,
        total=len(testing),
        weights_sha256=manifest.files[WEIGHTS],
        how=made.how,
        machine=describe_machine(),
        created=now(),
        progress=progress,
    )
    require_same_answers(verified, max_drop=max_drop)
    kept = add_engine(folder, verified, made.content)
    return Export(path=folder / (kept.file or WEIGHTS), verified=kept)


def _verified_onnx(run: Path, int8: bool) -> VerifiedEngine | None:
    """What the classifier was exported to before."""
    folder = find_bundle(run)
    wanted = ONNX_INT8 if int8 else ONNX
    found = read_engines(folder, read_manifest(folder, files=False))
    return next((engine for engine in found if engine.engine == wanted), None)


def _find_images(
    run: Path, manifest: Manifest, data: Data | None, int8: bool, progress: Progress
) -> tuple[SampleTable | None, SampleTable]:
    """The samples to calibrate on, if int8 is asked for, and those to test on, labelled as the classifier numbers."""
    shown = printable(str(run))
    state = read_state(run)
    before = None if state is None else state.data
    if data is None and before is not None and not os.path.exists(before) and not has_pattern(before):
        raise DataError(
            f"an export is compared on the images of {shown}, which were in {printable(before)} and are there no "
            "more; say where they are now, as in: eyebright export RUN DATA"
        )
    data = data if data is not None else before
    if data is None:
        raise DataError(
            f"an export is compared on labelled images, and where those of {shown} are is not recorded; "
            "give them, as in: eyebright export RUN DATA"
        )
    if (run / runs.SAMPLES).is_file():
        records = [record for record in runs.read_sample_records(run / runs.SAMPLES) if record.split != "train"]
        table = prepare_again(data, records, progress).table
        testing = table.split("test")
    else:
        table = read_samples(data, min_classes=1)
        if not manifest.several_labels:
            table.require_single_labels()
        # Never those of train or val, in which the classifier, or its int8 form, may have seen these very images.
        marked = table.rows("test")
        testing = table.take(marked if len(marked) else np.flatnonzero(table.splits == UNASSIGNED))
    calibrating = None
    if int8:
        rows = table.rows("val")
        if not len(rows):
            raise DataError("int8 needs validation images to calibrate on, and these data have none")
        # Every n-th: samples stand in the order of their classes.
        calibrating = table.take(rows[:: max(1, -(-len(rows) // CALIBRATION_IMAGES))])
    if not len(testing):
        raise DataError("there are no test images to compare the export on; give labelled images that it has not seen")
    testing = testing.with_classes(manifest.class_names)
    if manifest.several_labels and testing.label_sets is None:
        testing = replace(testing, label_sets=testing.targets().astype(np.bool_))
    return calibrating, testing


def _batches(table: SampleTable, preprocessing: Preprocessing) -> Iterator[Batch]:
    """Pixels (B, C, S, S) and labels (B,) or (B, K), without the images that can't be read."""
    start = 0
    known = table.labels if table.label_sets is None else table.label_sets
    for squares, errors in iter_squares(table.store, table.names, preprocessing, batch_size=_BATCH):
        readable = [row for row in range(len(squares)) if row not in errors]
        labels = known[start : start + len(squares)]
        start += len(squares)
        if readable:
            yield np.moveaxis(preprocessing.crop(squares[readable]), 3, 1), labels[readable]


def _read_all(table: SampleTable, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """(N, C, S, S); a hundred images or so."""
    side, channels = preprocessing.image_size, preprocessing.channels
    none = np.zeros((0, channels, side, side), dtype=np.uint8)
    return np.ascontiguousarray(np.concatenate([none, *(pixels for pixels, _ in _batches(table, preprocessing))]))
