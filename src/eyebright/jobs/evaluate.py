"""Measure a saved classifier on labelled images, leaving out those that it was trained on."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from eyebright.bundle.engines import TORCH
from eyebright.data.cache import digest_table
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.errors import DataError
from eyebright.evaluation.evaluate import evaluate as measure
from eyebright.evaluation.label_sets import AnyReport, evaluate_label_sets
from eyebright.inference.load import load
from eyebright.inference.predictor import Predictor
from eyebright.jobs import runs
from eyebright.jobs.decisions import decide
from eyebright.jobs.given import Data
from eyebright.progress import Progress, SilentProgress


def evaluate(
    run: str | os.PathLike[str],
    data: Data,
    *,
    decisions: str | os.PathLike[str] | None = None,
    slices: Sequence[str] = (),
    engine: str | None = None,
    progress: Progress | None = None,
) -> AnyReport:
    """What a saved classifier achieves on labelled images that it has not seen.

    Where the data bring a test split, that split is used, otherwise all images. Images whose content was trained or
    chosen on are recognised by their sha256, wherever they lie now, and left out. Classes are matched by name.

    Args:
        run: a run's folder, or a bundle (which does not know what it was trained on: then nothing is left out).
        data: see `eyebright.train`.
        decisions: a decisions.csv, as the page of a check saves it: samples to leave out or to relabel.
        slices: columns of the list of images (camera, site, day) for whose values to tell the accuracy; by default
            every column of 2 to 50 values.
        engine: see `eyebright.load`.
        progress: is told how far it is, and asked whether to stop.

    Raises:
        BundleError: the classifier is damaged or absent.
        DataError: the data have classes that it does not know, nothing that it has not seen, or no such column.
    """
    progress = progress or SilentProgress()
    predictor, table = open_evaluation(run, data, decisions=decisions, engine=engine, progress=progress)
    for column in slices:
        table.find_column(column)
    predictor.warm_up()
    thresholds = predictor.manifest.thresholds
    if thresholds is not None:
        return evaluate_label_sets(predictor, table, thresholds, progress=progress)
    return measure(predictor, table, slices=slices, progress=progress)


def open_evaluation(
    run: str | os.PathLike[str],
    data: Data,
    *,
    decisions: str | os.PathLike[str] | None,
    engine: str | None,
    progress: Progress,
) -> tuple[Predictor, SampleTable]:
    """A saved classifier, and the samples of some data that it has not seen; see `evaluate`."""
    folder = Path(run)
    predictor = load(folder, engine=engine)
    table = read_samples(data, min_classes=1)
    if not predictor.manifest.several_labels:
        table.require_single_labels()
    if decisions is not None:
        table = decide(table, decisions, progress, classes=predictor.class_names, min_classes=1).applied.table
    for note in table.notes:
        progress.warn(note)
    if len(table.rows("test")):
        table = table.split("test")
        progress.say(f"{len(table):,} images of the data's own test split")
    table = _without_known(table, folder, progress)
    if predictor.engine != TORCH:
        progress.say(f"classified by the engine {predictor.engine}")
    return predictor, table


def _without_known(table: SampleTable, folder: Path, progress: Progress) -> SampleTable:
    """The samples whose content was not used to train or to choose."""
    path = folder / runs.SAMPLES
    if not path.is_file():
        progress.warn(f"there is no {runs.SAMPLES} in {folder}: which images it was trained on can't be told")
        return table
    records = runs.read_sample_records(path)
    known = {record.sha256 for record in records if record.sha256 and record.split != "test"}
    # What can't be fetched has no digest; it counts as an error in the evaluation.
    unseen = [row for row, digest in enumerate(digest_table(table, progress=progress)) if digest not in known]
    left_out = len(table) - len(unseen)
    if not unseen:
        raise DataError(f"all {len(table):,} images were used in training; measure on images that it has not seen")
    if left_out:
        progress.say(f"{left_out:,} of {len(table):,} images were used in training and are left out")
    return table.take(np.array(unseen))
