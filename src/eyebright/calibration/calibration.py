"""What makes a classifier's answers honest: how sure it is, when it should not answer, which classes it can't rule out.

Shapes: N samples, V validation samples, M training samples, D embedding width, K classes.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from eyebright.calibration.abstention import Abstention, choose_threshold
from eyebright.calibration.conformal import METHODS, find_quantile, predict_sets
from eyebright.calibration.novelty import measure_novelty
from eyebright.errors import DataError, SettingsError

LOW_CONFIDENCE = "low confidence"
UNLIKE = "unlike the training images"
FEWEST_FOR_NOVELTY = 20
"""With fewer validation samples no image is called unlike: more than one in twenty might be so by chance."""
REASONS = (None, LOW_CONFIDENCE, UNLIKE)
"""Why an answer is unsure, by number."""


@dataclass(frozen=True, kw_only=True)
class Promises:
    """What is asked of the answers."""

    error_rate: float = 0.05
    """Of the answers that are not unsure, at most this share is to be wrong."""
    coverage: float = 0.9
    """Of the prediction sets, at least this share is to hold the true class."""
    sets: str = "lac"
    """How prediction sets are made: "lac" or "raps"."""
    novel_rate: float = 0.02
    """Which share of images like those of the training may be called unlike them."""

    def __post_init__(self) -> None:
        for name in ("error_rate", "coverage", "novel_rate"):
            if not 0 < getattr(self, name) < 1:
                raise SettingsError(f"{name} is a fraction between 0 and 1, not {getattr(self, name):g}")
        if self.sets not in METHODS:
            raise SettingsError(f'prediction sets are made by "lac" or "raps", not "{self.sets}"')


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """What calibration adds to N answers."""

    sets: NDArray[np.bool_]
    """(N, K) the classes of each prediction set."""
    reasons: NDArray[np.int8]
    """(N,) indices into `REASONS`: 0 where the answer stands."""


@final
@dataclass(frozen=True, kw_only=True, eq=False)
class Calibration:
    """What was measured on the validation samples, from which every threshold follows.

    It keeps the samples' scores rather than thresholds, so that other promises can be asked of a saved classifier.
    """

    temperature: float
    """What logits are divided by."""
    confidence: NDArray[np.float32]
    """(V,) calibrated probability of the likeliest class."""
    correct: NDArray[np.bool_]
    """(V,) whether that class is the label."""
    lac: NDArray[np.float32]
    """(V,) the label's score; see `conformal.nonconformity`."""
    raps: NDArray[np.float32]
    """(V,)"""
    novelty: NDArray[np.float32] | None = None
    """(V,) how unlike the references each is; None where that was not measured."""
    references: NDArray[np.float32] | None = None
    """(M, D) unit rows: embeddings of training samples."""
    promises: Promises = Promises()

    def __post_init__(self) -> None:
        count = len(self.confidence)
        parts = [self.correct, self.lac, self.raps] + ([] if self.novelty is None else [self.novelty])
        if count == 0 or any(part.shape != (count,) for part in parts):
            raise DataError("a calibration's numbers do not belong to the same samples")
        if not (math.isfinite(self.temperature) and self.temperature > 0):
            raise DataError(f"a temperature is a number above 0, not {self.temperature}")
        if (self.novelty is None) != (self.references is None):
            raise DataError("a calibration has both novelties and references, or neither")

    def promising(self, promises: Promises) -> Calibration:
        """The same measurements, asked for other promises."""
        return replace(self, promises=promises)

    @property
    def num_samples(self) -> int:
        """V"""
        return len(self.confidence)

    @cached_property
    def abstention(self) -> Abstention:
        """From which confidence on an answer stands."""
        return choose_threshold(self.confidence, self.correct, error_rate=self.promises.error_rate)

    def quantile(self, method: str) -> float:
        """The score up to which classes are in a prediction set; infinite where V is too small for the coverage."""
        return find_quantile(self.lac if method == "lac" else self.raps, self.promises.coverage)

    @cached_property
    def novelty_threshold(self) -> float:
        """The novelty above which an image is unlike the training images; infinite where that can't be told.

        With fewer validation samples than the rate needs it is the highest of them, as long as they are 20.
        """
        if self.novelty is None or self.num_samples < FEWEST_FOR_NOVELTY:
            return math.inf
        return min(find_quantile(self.novelty, 1 - self.promises.novel_rate), float(self.novelty.max()))

    def sets(self, probabilities: NDArray[np.floating], method: str | None = None) -> NDArray[np.bool_]:
        """(N, K) calibrated probabilities -> (N, K) the classes of each prediction set."""
        chosen = method or self.promises.sets
        return predict_sets(probabilities, chosen, self.quantile(chosen))

    def judge(self, probabilities: NDArray[np.floating], novelty: NDArray[np.floating] | None) -> Judgement:
        """Prediction sets, and which answers are unsure and why.

        Args:
            probabilities: (N, K), calibrated.
            novelty: (N,), or None where it can't be measured: then no image is called unlike the training images.
        """
        reasons = np.zeros(len(probabilities), dtype=np.int8)
        reasons[np.asarray(probabilities).max(axis=1) < self.abstention.threshold] = REASONS.index(LOW_CONFIDENCE)
        if novelty is not None:
            reasons[np.asarray(novelty) > self.novelty_threshold] = REASONS.index(UNLIKE)
        return Judgement(sets=self.sets(probabilities), reasons=reasons)

    def measure_novelty(self, embeddings: NDArray[np.floating]) -> NDArray[np.float32] | None:
        """(N, D) -> (N,) how unlike the training images; None where the bundle holds no references."""
        return None if self.references is None else measure_novelty(embeddings, self.references)

    def describe(self) -> dict[str, Any]:
        """In plain values, for a person to read in the manifest; infinite is None."""
        return {
            "temperature": self.temperature,
            "num_samples": self.num_samples,
            "error_rate": self.promises.error_rate,
            "threshold": self.abstention.threshold,
            "certain": self.abstention.certain,
            "coverage": self.promises.coverage,
            "sets": self.promises.sets,
            "quantiles": {method: _finite(self.quantile(method)) for method in METHODS},
            "novel_rate": self.promises.novel_rate,
            "novelty_threshold": _finite(self.novelty_threshold),
        }

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """What `from_arrays` needs beside the temperature; references as float16, which moves a cosine by 0.0005."""
        arrays: dict[str, NDArray[Any]] = {
            "confidence": self.confidence,
            "correct": self.correct.astype(np.uint8),
            "lac": self.lac,
            "raps": self.raps,
        }
        if self.novelty is not None and self.references is not None:
            arrays |= {"novelty": self.novelty, "references": self.references.astype(np.float16)}
        return arrays

    @classmethod
    def from_arrays(cls, temperature: float, arrays: Mapping[str, NDArray[Any]]) -> Calibration:
        """The calibration that `to_arrays` took apart.

        Raises:
            DataError, KeyError: something is absent or does not fit.
        """
        novelty, references = arrays.get("novelty"), arrays.get("references")
        return cls(
            temperature=float(temperature),
            confidence=arrays["confidence"].astype(np.float32),
            correct=arrays["correct"].astype(np.bool_),
            lac=arrays["lac"].astype(np.float32),
            raps=arrays["raps"].astype(np.float32),
            novelty=None if novelty is None else novelty.astype(np.float32),
            references=None if references is None else references.astype(np.float32),
        )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
