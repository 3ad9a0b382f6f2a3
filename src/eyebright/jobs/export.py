"""Export a run's classifier to another engine, and prove on its test images that it answers the same."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyebright.bundle.engines import VerifiedEngine, add_engine
from eyebright.bundle.manifest import WEIGHTS, Manifest, find_bundle
from eyebright.bundle.store import load_bundle
from eyebright.data.cache import iter_squares
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.data.sources import read_samples
from eyebright.errors import DataError, ExportError, printable
from eyebright.exporting.export import export as export_network
from eyebright.exporting.export import require_export
from eyebright.exporting.verify import Batch, require_same_answers, verify
from eyebright.inference.torch_engine import TorchEngine
from eyebright.jobs import runs
from eyebright.jobs.given import Data
from eyebright.jobs.prepare import prepare_again
from eyebright.jobs.provenance import describe_machine, now
from eyebright.jobs.state import read_state
from eyebright.preprocess import Preprocessing
from eyebright.progress import Progress, SilentProgress

CALIBRATION_IMAGES = 128
_BATCH = 16


@dataclass(frozen=True, kw_only=True)
class Export:
    """An engine that was verified and is now in the bundle."""

    path: Path
    """The exported file; the bundle's weights for torch."""
    verified: VerifiedEngine
    """How its answers on the test images compare with the network's own."""


def export(
    run: str | os.PathLike[str],
    *,
    to: str = "onnx",
    int8: bool = False,
    data: Data | None = None,
    max_drop: float = 0.5,
    progress: Progress | None = None,
) -> Export:
    """Write a classifier for another engine, compare the two on the test images, and keep it only if they agree.

    `load`, `predict` and `evaluate` use it from then on; an ONNX export needs no torch.

    Args:
        run: a run's folder, or a bundle (then `data` are needed).
        to: "onnx"; "openvino" (the same file; bfloat16 where the machine computes it); or "torch" (bfloat16).
        int8: not for torch: a quarter of the size and several times as fast, calibrated on validation images.
        data: where the run's images are now, by default where they were; for a bundle without its run, labelled images
            that it has not seen: its test split or, if none is marked as one, those that are in no split; for int8 its
            validation split too.
        max_drop: how many points of accuracy on the test images it may lose.
        progress: told how far it is, and asked whether to stop.

    Raises:
        SettingsError: there is no such format.
        ExportError: the answers differ, and nothing is kept; or this machine can't compute what is asked for.
        DataError: the images are gone, have changed, or there are none to calibrate or to test on.
        BundleError: the classifier is damaged or absent.
        MissingExtraError: what writes the format is not installed.
        OutputError: the bundle can't be written.
    """
    progress = progress or SilentProgress()
    require_export(to, int8=int8)
    folder = find_bundle(Path(run))
    loaded = load_bundle(folder)
    manifest = loaded.manifest
    if manifest.several_labels:
        raise ExportError(
            f"{printable(str(run))} learned several labels an image, and an export is proven by the one class that "
            "both engines name; such classifiers run in torch"
        )
    calibrating, testing = _find_images(Path(run), manifest, data, int8, progress)
    calibration = None if calibrating is None else _read_all(calibrating, manifest.preprocessing)
    made = export_network(loaded, to=to, calibration=calibration, progress=progress)
    verified = verify(
        made.engine,
        TorchEngine(loaded.model, manifest.preprocessing),
        _batches(testing, manifest.preprocessing),
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


def _find_images(
    run: Path, manifest: Manifest, data: Data | None, int8: bool, progress: Progress
) -> tuple[SampleTable | None, SampleTable]:
    """The samples to calibrate on, if int8 is asked for, and those to test on, labelled as the classifier numbers."""
    shown = printable(str(run))
    state = read_state(run)
    data = data if data is not None else None if state is None else state.data
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
    return calibrating, testing.with_classes(manifest.class_names)


def _batches(table: SampleTable, preprocessing: Preprocessing) -> Iterator[Batch]:
    """Pixels (B, C, S, S) and labels (B,), without the images that can't be read."""
    start = 0
    for squares, errors in iter_squares(table.store, table.names, preprocessing, batch_size=_BATCH):
        readable = [row for row in range(len(squares)) if row not in errors]
        labels = table.labels[start : start + len(squares)]
        start += len(squares)
        if readable:
            yield np.moveaxis(preprocessing.crop(squares[readable]), 3, 1), labels[readable]


def _read_all(table: SampleTable, preprocessing: Preprocessing) -> NDArray[np.uint8]:
    """(N, C, S, S); a hundred images or so."""
    side, channels = preprocessing.image_size, preprocessing.channels
    none = np.zeros((0, channels, side, side), dtype=np.uint8)
    return np.ascontiguousarray(np.concatenate([none, *(pixels for pixels, _ in _batches(table, preprocessing))]))
