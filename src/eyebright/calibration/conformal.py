"""Sets of classes that hold the truth as often as promised, whatever the network is worth.

The promise holds on average over images drawn like the validation samples (the same camera, the same light, the same
shares of classes), not for each class or image by itself, and not for images of another kind.

Shapes: N samples, V validation samples, K classes.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from eyebright.errors import SettingsError

METHODS = ("lac", "raps")
PENALTY = 0.02
"""What RAPS adds for each class beyond `FREE_RANKS`, so that sets of unsure images stay short."""
FREE_RANKS = 2


def nonconformity(probabilities: NDArray[np.floating], method: str) -> NDArray[np.float64]:
    """How little each class suits each sample; a prediction set holds all classes up to a threshold of this.

    "lac" is 1 less the class's probability: the smallest sets on average, but none larger for harder images than it
    must be. "raps" is the probability of all likelier classes and half of its own, and a penalty for a high rank:
    sets that grow with how hard an image is. (The paper draws at random where this takes a half, so that the same
    image always gets the same set; the promise holds for any fixed rule.)

    Args:
        probabilities: (N, K)
        method: "lac" or "raps".

    Returns:
        (N, K) float64.

    Raises:
        SettingsError: another method.

    Sources:
        Sadinle et al., "Least Ambiguous Set-Valued Classifiers With Bounded Error Levels", 2019, arXiv:1609.00451.
        Angelopoulos et al., "Uncertainty Sets for Image Classifiers using Conformal Prediction", 2021,
        arXiv:2009.14193, equation 4.
    """
    p = np.asarray(probabilities, dtype=np.float64)
    if method == "lac":
        return 1 - p
    if method != "raps":
        raise SettingsError(f'prediction sets are made by "lac" or "raps", not "{method}"')
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    penalties = PENALTY * np.maximum(0, np.arange(1, p.shape[1] + 1) - FREE_RANKS)
    scores = np.empty_like(p)
    np.put_along_axis(scores, order, np.cumsum(ranked, axis=1) - ranked / 2 + penalties, axis=1)
    return scores


def find_quantile(scores: NDArray[np.floating], coverage: float) -> float:
    """The threshold below which a new sample's score lies with at least this probability.

    Args:
        scores: (V,) the score of each validation sample's own class.
        coverage: a fraction above 0 and below 1.

    Returns:
        The ceil((V + 1) coverage)-th smallest score; infinite where V is too small to promise so much.

    Raises:
        SettingsError: the coverage is no such fraction.

    Source:
        Vovk et al., "Algorithmic Learning in a Random World", 2005; the split form of Papadopoulos et al., 2002.
    """
    if not 0 < coverage < 1:
        raise SettingsError(f"a coverage is a fraction between 0 and 1, such as 0.9, not {coverage:g}")
    # A hair less, because 0.9 * 10 must not become 9.000000000000002.
    rank = math.ceil((len(scores) + 1) * coverage - 1e-9)
    if rank > len(scores):
        return math.inf
    return float(np.sort(scores)[rank - 1])


def predict_sets(probabilities: NDArray[np.floating], method: str, quantile: float) -> NDArray[np.bool_]:
    """(N, K) which classes are in each sample's set; the likeliest always is, so that no set is empty."""
    p = np.asarray(probabilities)
    inside = nonconformity(p, method) <= quantile
    inside[np.arange(len(p)), p.argmax(axis=1)] = True
    return inside
