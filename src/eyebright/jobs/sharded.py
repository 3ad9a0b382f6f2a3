"""Measuring with several processes: each classifies its share of the images, and all get the same numbers.

Shapes: N samples, K classes.
"""

from __future__ import annotations

import json
import time
from typing import final

import numpy as np
import torch

from eyebright.calibration.calibration import Calibration
from eyebright.data.samples import ImageStore
from eyebright.distributed.ranks import Ranks
from eyebright.errors import ImageError
from eyebright.inference.predictor import BATCH_SIZE, Predictor, SamplePredictions
from eyebright.progress import Progress


@final
class ShardedPredictor:
    """A predictor whose work is divided among ranks; every sample is classified once, none is padded or left out.

    Each rank takes whole batches, so that the numbers are those of one process alone, bit for bit.

    Args:
        predictor: the same classifier on every rank.
        ranks: who shares the work.
    """

    def __init__(self, predictor: Predictor, ranks: Ranks) -> None:
        self._predictor = predictor
        self._ranks = ranks

    @property
    def class_names(self) -> tuple[str, ...]:
        """K names."""
        return self._predictor.class_names

    @property
    def calibration(self) -> Calibration | None:
        """What its confidences are worth."""
        return self._predictor.calibration

    def predict_samples(self, store: ImageStore, names: tuple[str, ...], *, progress: Progress) -> SamplePredictions:
        """See `Predictor.predict_samples`; the same on every rank.

        Raises:
            KeyboardInterrupt: a stop was requested on any rank.
        """
        if self._ranks.size == 1:
            return self._predictor.predict_samples(store, names, progress=progress)
        began = time.monotonic()
        count, stopped = len(names), False
        mine = np.flatnonzero(np.arange(count) // BATCH_SIZE % self._ranks.size == self._ranks.rank)
        # The last column is the novelty.
        whole = np.zeros((count, len(self.class_names) + 1), dtype=np.float32)
        measured = False
        errors: dict[int, ImageError] = {}
        try:
            found = self._predictor.predict_samples(store, tuple(names[row] for row in mine), progress=progress)
            whole[mine, :-1] = found.probabilities
            if found.novelty is not None:
                whole[mine, -1] = found.novelty
            measured = found.novelty is not None
            errors = {int(mine[row]): error for row, error in found.errors.items()}
        except KeyboardInterrupt:
            stopped = True
        if any(self._ranks.any(stopped)):
            raise KeyboardInterrupt
        together = torch.from_numpy(whole)
        self._ranks.add([together])
        spelled = json.dumps([[row, error.name, error.reason] for row, error in errors.items()]).encode()
        for source in range(self._ranks.size):
            for row, name, reason in json.loads(self._ranks.share(spelled, source=source)):
                errors[row] = ImageError(name, reason)
        seconds = max(time.monotonic() - began, 1e-9)
        return SamplePredictions(
            probabilities=together.numpy()[:, :-1],
            errors=dict(sorted(errors.items())),
            novelty=together.numpy()[:, -1] if measured else None,
            images_per_second=count / seconds,
        )
