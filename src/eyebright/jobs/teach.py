"""A trained run as a teacher: what it says of every training image and of its mirror image.

Shapes: N samples, R side of a square, K classes.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from eyebright.bundle.manifest import find_bundle, read_manifest
from eyebright.data.cache import iter_squares
from eyebright.data.samples import SampleTable
from eyebright.distributed.ranks import Ranks
from eyebright.errors import SettingsError, printable
from eyebright.inference.load import load
from eyebright.inference.predictor import BATCH_SIZE
from eyebright.progress import Progress
from eyebright.training.settings import Settings
from eyebright.training.start import find_answering_device
from eyebright.training.train import Teach


def require_teacher(settings: Settings) -> None:
    """Refuse a teacher that is not there, before the data are read.

    Raises:
        BundleError: there is none where the settings say, or it is damaged.
    """
    if settings.training.teacher:
        read_manifest(find_bundle(Path(settings.training.teacher)), files=False)


def teacher_of(settings: Settings, ranks: Ranks, progress: Progress) -> Teach | None:
    """The teacher that the settings name, if any; loaded when it is asked, which a training that is over never does."""
    if not settings.training.teacher:
        return None
    path = settings.training.teacher

    def teach(table: SampleTable) -> NDArray[np.float32]:
        """(2, N, K) logits up to a constant of each row: of every image, and of its mirror image.

        Raises:
            BundleError: there is none where the settings say.
            SettingsError: the teacher knows other classes, or can't read an image.
            KeyboardInterrupt: a stop was requested.
        """
        # The network itself, not an export of it, where the pupil is trained.
        predictor = load(Path(path), device=find_answering_device(settings, ranks))
        missing = [name for name in table.classes if name not in predictor.class_names]
        if missing:
            raise SettingsError(
                f"the teacher in {printable(path)} knows no class {printable(missing[0])}; it knows "
                f"{', '.join(map(printable, predictor.class_names))}"
            )
        if predictor.manifest.several_labels != (table.label_sets is not None):
            knows, wanted = ("several labels", "one") if predictor.manifest.several_labels else ("one label", "several")
            raise SettingsError(
                f"the teacher in {printable(path)} learned {knows} an image, and the data give {wanted}; take a "
                "teacher trained on data of the same kind"
            )
        order = [predictor.class_names.index(name) for name in table.classes]
        taught = np.zeros((2, len(table), len(order)), dtype=np.float32)
        progress.start("asking the teacher", len(table))
        done = 0
        for squares, errors in iter_squares(table.store, table.names, predictor.preprocessing, batch_size=BATCH_SIZE):
            if progress.stop_requested:
                raise KeyboardInterrupt
            for error in errors.values():
                raise SettingsError(
                    f"the teacher in {printable(path)} can't read an image that is trained on: {error}; take a teacher "
                    "that was trained on such images"
                )
            for side, view in enumerate((squares, squares[:, :, ::-1])):
                taught[side, done : done + len(squares)] = predictor.logits(np.ascontiguousarray(view))[:, order]
            done += len(squares)
            progress.advance(done)
        progress.finish()
        return taught

    return teach
