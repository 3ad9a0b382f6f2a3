from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from eyebright.cli.openmp import ROUNDS, wait_briefly

GNUS = list((Path(torch.__file__).parent / "lib").glob("libgomp*"))
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


@pytest.mark.slow
@pytest.mark.skipif(not GNUS, reason="torch has another OpenMP than GNU's here")
def test_threads_of_the_command_line_sleep_soon() -> None:
    assert list_rounds() == {ROUNDS}
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
