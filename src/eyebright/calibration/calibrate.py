"""From what a network says of validation samples to what its answers are worth.

Shapes: V validation samples, M training samples, D embedding width, K classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eyebright.calibration.calibration import Calibration
from eyebright.calibration.conformal import nonconformity
from eyebright.calibration.novelty import measure_novelty, unit_rows
from eyebright.calibration.temperature import fit_temperature, log_softmax


def calibrate(
    logits: NDArray[np.floating],
    labels: NDArray[np.int64],
    *,
    embeddings: NDArray[np.floating] | None = None,
    references: NDArray[np.floating] | None = None,
) -> Calibration:
    """Fit the temperature, and keep each validation sample's scores at it.

    Args:
        logits: (V, K) of samples that the network was not trained on.
        labels: (V,)
        embeddings: (V, D) of the same samples, if novelty is to be measured.
        references: (M, D) of training samples, then, too.

    Raises:
        DataError: no samples, shapes disagree, or a logit is not finite.
    """
    temperature = fit_temperature(logits, labels)
    probabilities = np.exp(log_softmax(np.asarray(logits, dtype=np.float64) / temperature))
    rows = np.arange(len(labels))
    novelty = kept = None
    if embeddings is not None and references is not None:
        # As they come back from the bundle, so that the threshold is that of the distances measured later.
        kept = unit_rows(references).astype(np.float16).astype(np.float32)
        novelty = measure_novelty(embeddings, kept)
    return Calibration(
        temperature=temperature,
        confidence=probabilities.max(axis=1).astype(np.float32),
        correct=probabilities.argmax(axis=1) == labels,
        lac=nonconformity(probabilities, "lac")[rows, labels].astype(np.float32),
        raps=nonconformity(probabilities, "raps")[rows, labels].astype(np.float32),
        novelty=novelty,
        references=kept,
    )
