from __future__ import annotations

import ctypes
import os
import subprocess
import sys

import pytest

IS_GLIBC = sys.platform == "linux" and hasattr(ctypes.CDLL(None), "gnu_get_libc_version")
CODE = """
import resource, sys
from eyebright.cli.allocator import keep_freed_memory
print(keep_freed_memory() if sys.argv[1] == "keep" else None)
def step():
    blocks = [bytearray(b"x") * 80_000_000 for _ in range(3)]
step()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    step()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def run(what: str, **variables: str) -> tuple[str, int]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MALLOC_", "GLIBC_"))}
    done = subprocess.run(
        [sys.executable, "-c", CODE, what],
        capture_output=True,
        text=True,
        check=True,
        env=environment | variables,
    )
    told, faults = done.stdout.split()
    return told, int(faults)


@pytest.mark.skipif(not IS_GLIBC, reason="the C library is not glibc")
def test_memory_that_was_freed_is_not_asked_for_again() -> None:
    _, before = run("leave")
    told, after = run("keep")
    assert told == "True"
    assert before > 10_000  # 240 MB four times, in pages of 4 kB
    assert after < before / 50


@pytest.mark.skipif(not IS_GLIBC, reason="the C library is not glibc")
@pytest.mark.parametrize(
    "variables", [{"MALLOC_ARENA_MAX": "2"}, {"GLIBC_TUNABLES": "glibc.malloc.trim_threshold=131072"}]
)
def test_what_the_environment_says_stands(variables: dict[str, str]) -> None:
    assert run("keep", **variables)[0] == "False"
