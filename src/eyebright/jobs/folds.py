"""Cross-validation: the data divided into folds, and the answers of all folds counted together.

N samples, K classes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from eyebright.calibration.calibration import Calibration
from eyebright.data.folds import assign_folds
from eyebright.data.samples import SPLITS, UNASSIGNED, ImageStore, SampleTable
from eyebright.data.splits import assign_splits
from eyebright.errors import DataError, ImageError, SettingsError, printable
from eyebright.evaluation.evaluate import SamplePredictor, evaluate
from eyebright.evaluation.report import EvaluationReport
from eyebright.inference.predictor import SamplePredictions
from eyebright.jobs.given import Data
from eyebright.jobs.prepare import Prepared, group_near_duplicates, note_balance, read_decided
from eyebright.progress import Progress
from eyebright.training.settings import Settings

_TEST = SPLITS.index("test")


def prepare_folds(
    data: Data,
    settings: Settings,
    count: int,
    progress: Progress,
    *,
    decisions: str | os.PathLike[str] | None = None,
) -> tuple[Prepared, ...]:
    """The data once for each fold: that fold is the test split, and the rest is divided into train and val.

    Classes are spread evenly over the folds; groups, equal files and near-duplicates stay in one. The data's own splits
    are not looked at: every sample is to be tested once.

    Raises:
        SettingsError: there are fewer than two folds.
        DataError: samples may have several labels, there are too few of them, or a class is too small to be tested and
            trained on in turn.
    """
    if count < 2:
        raise SettingsError(f"the number of folds is {count}; it must be at least 2")
    read = read_decided(data, settings, progress, decisions=decisions)
    table = read.table
    if table.label_sets is not None:
        raise DataError("cross-validation is for images of one label each; compare on one split, without --kfold")
    notes = table.notes
    if (table.splits != UNASSIGNED).any():
        notes += ("The data's own splits were not used: in cross-validation every image is tested once.",)
    table = replace(table, splits=np.full(len(table), UNASSIGNED, dtype=np.int8), notes=())
    groups = group_near_duplicates(table, read.digests, settings, progress)
    fold_of = assign_folds(table, count, seed=settings.seed, digests=read.digests, together=groups)
    lone = [name for label, name in enumerate(table.classes) if len(np.unique(fold_of[table.labels == label])) == 1]
    if lone:
        raise DataError(
            f'the class "{printable(lone[0])}" can\'t be divided: its images are one, or belong together, so that they '
            "can't be tested and trained on in turn; add images of it, or leave it out"
        )
    parts = []
    for fold in range(count):
        splits = np.where(fold_of == fold, _TEST, UNASSIGNED).astype(np.int8)
        part = assign_splits(
            replace(table, splits=splits),
            seed=settings.seed,
            val_fraction=settings.data.val_fraction,
            test_fraction=settings.data.test_fraction,
            digests=read.digests,
            together=groups,
        )
        parts.append(replace(read, table=part))
    notes += tuple(note_balance(parts[0].table, settings))  # the folds are much alike
    parts = [replace(part, table=replace(part.table, notes=notes)) for part in parts]
    sizes = np.bincount(fold_of, minlength=count)
    progress.say(
        f"{len(table):,} images of {len(table.classes):,} classes in {count} folds of {sizes.min():,} to "
        f"{sizes.max():,}; each is tested once"
    )
    for note in notes:
        progress.warn(note)
    return tuple(parts)


def whole_of(parts: Sequence[Prepared]) -> SampleTable:
    """All samples, each of them tested."""
    table = parts[0].table
    return replace(table, splits=np.full(len(table), _TEST, dtype=np.int8))


def pool_folds(
    parts: Sequence[Prepared],
    predictors: Sequence[Callable[[], SamplePredictor]],
    slices: Sequence[str],
    progress: Progress,
) -> EvaluationReport:
    """The report of all samples, each answered by the classifier that was trained without it.

    What calibration promises is not told: each fold's classifier promises something else.

    Args:
        parts: of each fold.
        predictors: what loads each fold's classifier; one is held at a time.
        slices: columns for whose values to tell the accuracy.
        progress: told how far it is.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    return evaluate(_Pooled(parts, predictors), whole_of(parts), slices=slices, progress=progress)


@dataclass(frozen=True)
class _Pooled:
    """The folds' classifiers as one that answers for each sample with that of its fold."""

    parts: Sequence[Prepared]
    predictors: Sequence[Callable[[], SamplePredictor]]

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names."""
        return self.parts[0].table.classes

    @property
    def calibration(self) -> Calibration | None:
        """None: there are several."""
        return None

    def predict_samples(self, store: ImageStore, names: tuple[str, ...], *, progress: Progress) -> SamplePredictions:
        """See `Predictor.predict_samples`; only for the samples of the folds."""
        place = {name: row for row, name in enumerate(names)}
        probabilities = np.full((len(names), len(self.class_names)), np.nan, dtype=np.float32)
        errors: dict[int, ImageError] = {}
        seconds = 0.0
        for part, load in zip(self.parts, self.predictors, strict=True):
            predictor = load()
            assert predictor.class_names == self.class_names
            test = part.table.split("test")
            said = predictor.predict_samples(store, test.names, progress=progress)
            rows = np.array([place[name] for name in test.names])
            probabilities[rows] = said.probabilities
            errors |= {int(rows[row]): error for row, error in said.errors.items()}
            seconds += len(test) / max(said.images_per_second, 1e-9)
        return SamplePredictions(
            probabilities=probabilities,
            errors=dict(sorted(errors.items())),
            novelty=None,
            images_per_second=len(names) / max(seconds, 1e-9),
        )
