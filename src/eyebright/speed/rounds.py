"""Ways of doing the same work, measured in turns: what else the machine does falls on all of them. No torch here."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from eyebright.progress import Progress

Way = Callable[[], object]


@dataclass(frozen=True, kw_only=True)
class Spread:
    """A median and the quartiles around it."""

    low: float
    """A quarter of all values lies below."""
    median: float
    high: float
    """A quarter of all values lies above."""


def take_turns(
    ways: Mapping[str, Way], *, rounds: int, progress: Progress, seed: int = 0, stage: str = "measuring"
) -> dict[str, list[float]]:
    """Time each way once in each round, in an order of its own; a round before them is to warm up and does not count.

    Args:
        ways: what is to be timed, by name.
        rounds: how often; at least 1.
        progress: told how far it is, and asked whether to stop.
        seed: of the orders.
        stage: what `progress` calls it.

    Returns:
        Seconds by name, one for each round.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    assert rounds >= 1
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    chance = random.Random(seed)
    progress.start(stage, (rounds + 1) * len(ways))
    done = 0
    for number in range(rounds + 1):
        order = list(ways)
        chance.shuffle(order)
        for name in order:
            if progress.stop_requested:
                raise KeyboardInterrupt
            began = time.perf_counter()
            ways[name]()
            if number:
                seconds[name].append(time.perf_counter() - began)
            done += 1
            progress.advance(done, name)
    progress.finish()
    return seconds


def find_spread(values: Sequence[float]) -> Spread:
    """The median and the quartiles of at least one value."""
    if len(values) == 1:
        return Spread(low=values[0], median=values[0], high=values[0])
    low, median, high = statistics.quantiles(values, n=4, method="inclusive")
    return Spread(low=low, median=median, high=high)


def find_rates(seconds: Sequence[float], amount: float) -> Spread:
    """How much is done in a second, where `amount` takes so many seconds."""
    return find_spread([amount / value for value in seconds])


def compare_turns(first: Sequence[float], second: Sequence[float]) -> float:
    """How many times as fast as the first way the second is: the median over rounds.

    Round by round, since what slows the machine slows a whole round.
    """
    return statistics.median(a / b for a, b in zip(first, second, strict=True))
