"""How often equally good networks are called different: by one training of each, and by several seeds of each.

    python bench/crossed.py

Drawn, not trained: whether a network is right on an image is a sum of how hard the image is for both, how hard it is
for this network, how lucky this seed is, and noise. On average over all images and seeds both are equally good, so
every call is a false alarm; 5 in 100 are allowed.
"""

from __future__ import annotations

import argparse
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from eyebright import metrics
from eyebright.evaluation.crossed import mean_over_both, share_interval

CASES = ((200, 3, 0.0), (600, 3, 0.0), (600, 2, 0.15), (600, 3, 0.15), (600, 3, 0.3), (600, 10, 0.3), (2000, 3, 0.1))
EASE, BOTH, ONE, NOISE = 2.0, 1.5, 1.0, 1.0
"""Standard deviations of what makes an image hard for both networks, for one of them, and of what is left."""


def draw_answers(
    generator: np.random.Generator, hard: NDArray[np.float64], seeds: int, luck: float
) -> NDArray[np.float64]:
    """(N, S) 1 where a training of a network is right."""
    count = len(hard)
    parts = generator.normal(size=(count, 1)) * ONE + generator.normal(size=(1, seeds)) * luck
    return (hard + parts + generator.normal(size=(count, seeds)) * NOISE > 0).astype(np.float64)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--draws", type=int, default=1500, help="comparisons of each kind")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    print(
        "| test images | seeds | spread of single trainings | one training | several seeds | interval holds the truth |"
    )
    print("|---|---|---|---|---|---|")
    for count, seeds, luck in CASES:
        generator = np.random.default_rng([options.seed, count, seeds, int(100 * luck)])
        truth = NormalDist().cdf(EASE / np.sqrt(BOTH**2 + ONE**2 + NOISE**2 + luck**2))
        single = several = holds = 0
        spread = []
        for _ in range(options.draws):
            hard = EASE + BOTH * generator.normal(size=(count, 1))
            first, second = (draw_answers(generator, hard, seeds, luck) for _ in range(2))
            gaps = first - second
            only = int((gaps[:, 0] > 0).sum()), int((gaps[:, 0] < 0).sum())
            single += metrics.mcnemar_exact(*only) < 0.05
            several += mean_over_both(gaps).p_value() < 0.05
            low, high = share_interval(mean_over_both(first), count)
            holds += low <= truth <= high
            spread.append(first.mean(axis=0).var(ddof=1))
        shares = " | ".join(f"{100 * found / options.draws:.1f} %" for found in (single, several, holds))
        print(f"| {count:,} | {seeds} | {100 * np.sqrt(np.mean(spread)):.1f} points | {shares} |")


if __name__ == "__main__":
    main()
