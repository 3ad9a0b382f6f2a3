from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from eyebright.cli.openmp import ROUNDS, wait_briefly

NAMES = ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")


def list_rounds(**variables: str) -> set[int]:
    """What GNU's OpenMP says of how many rounds its threads spin, when a command loads it."""
    environment = {name: value for name, value in os.environ.items() if name not in NAMES}
    done = subprocess.run(
        [sys.executable, "-m", "eyebright", "models"],
        capture_output=True,
        text=True,
        check=True,
        env=environment | {"OMP_DISPLAY_ENV": "VERBOSE"} | variables,
    )
    return {int(rounds) for rounds in re.findall(r"GOMP_SPINCOUNT = '(\d+)'", done.stderr)}


def test_threads_of_the_command_line_sleep_soon() -> None:
    rounds = list_rounds()
    if not rounds:
        pytest.skip("torch has another OpenMP than GNU's here")
    assert rounds == {ROUNDS}
    assert list_rounds(GOMP_SPINCOUNT="77") == {77}


@pytest.mark.parametrize(("name", "value"), [("GOMP_SPINCOUNT", "77"), ("OMP_WAIT_POLICY", "active")])
def test_what_the_environment_says_of_waiting_stands(name: str, value: str, monkeypatch: pytest.MonkeyPatch) -> None:
    environment = {name: value}
    monkeypatch.setattr(os, "environ", environment)
    assert not wait_briefly()
    assert environment == {name: value}
    environment.clear()
    assert wait_briefly()
    assert environment == {"GOMP_SPINCOUNT": str(ROUNDS)}
