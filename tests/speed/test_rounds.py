from __future__ import annotations

import time
from functools import partial

import pytest

from eyebright.progress import SilentProgress
from eyebright.speed.rounds import compare_turns, find_rates, find_spread, take_turns


class Stopping(SilentProgress):
    """The user asks to stop after so many steps."""

    def __init__(self, steps: int) -> None:
        self._steps = steps

    def advance(self, done: int, note: str = "") -> None:
        self.stop_requested = done >= self._steps


def test_every_way_has_its_turn_in_every_round_and_the_first_round_does_not_count() -> None:
    calls: list[str] = []
    ways = {name: partial(calls.append, name) for name in "abcd"}
    seconds = take_turns(ways, rounds=6, progress=SilentProgress())
    assert {name: len(values) for name, values in seconds.items()} == dict.fromkeys("abcd", 6)
    rounds = ["".join(calls[start : start + 4]) for start in range(0, len(calls), 4)]
    assert len(rounds) == 7
    assert {"".join(sorted(order)) for order in rounds} == {"abcd"}
    assert len(set(rounds)) > 3  # nobody is always first
    again = list(calls)
    calls.clear()
    take_turns(ways, rounds=6, progress=SilentProgress())
    assert calls == again


def test_what_takes_longer_is_measured_as_slower() -> None:
    ways = {"long": partial(time.sleep, 0.02), "short": partial(time.sleep, 0.002)}
    seconds = take_turns(ways, rounds=3, progress=SilentProgress())
    assert min(seconds["long"]) >= 0.02
    assert compare_turns(seconds["long"], seconds["short"]) > 2


def test_a_round_that_is_slow_as_a_whole_does_not_change_the_ratio() -> None:
    assert compare_turns([2.0, 20.0, 2.0], [1.0, 10.0, 1.0]) == 2


def test_spreads_stay_within_what_was_measured() -> None:
    assert find_spread([3.0]).low == find_spread([3.0]).high == 3
    spread = find_spread([1.0, 2.0])
    assert (spread.low, spread.median, spread.high) == (1.25, 1.5, 1.75)
    rates = find_rates([0.5, 1.0, 2.0], 10)
    assert (rates.low, rates.median, rates.high) == (7.5, 10, 15)


def test_a_stop_is_heard_between_two_turns() -> None:
    calls: list[int] = []
    with pytest.raises(KeyboardInterrupt):
        take_turns({"a": partial(calls.append, 1)}, rounds=9, progress=Stopping(3))
    assert len(calls) == 3
