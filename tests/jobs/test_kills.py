"""Whole runs and comparisons killed with SIGKILL at random moments, as often as it takes, and gone on with.

Everything is imported once, and each start is a fork of that process: so a start takes no two seconds, and the kill
falls into reading, training, saving, pruning, measuring or reporting, and not into imports.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from eyebright.errors import CheckpointError
from eyebright.jobs.compare import compare, resume_comparison
from eyebright.jobs.state import read_state
from eyebright.jobs.train import resume, train
from eyebright.jobs.trials import PLAN

SETTINGS = [
    "network.width=small",
    "training.epochs=12",
    "training.batch_size=16",
    "training.average=1",
    "training.checkpoint_seconds=0",
    "augmentation.mixup=0.3",
    "data.cache=false",
]


def start(photos: Path, folder: Path, kind: str) -> int:
    """Start a run or a comparison of two seeds, or go on with it, in a process of its own; returns its number."""
    child = os.fork()
    if child:
        return child
    code = 1
    try:
        with open(os.devnull, "w") as nowhere:
            os.dup2(nowhere.fileno(), sys.stderr.fileno())
        if kind == "comparison" and (folder / PLAN).exists():
            with finished(folder):
                resume_comparison(folder)
        elif kind == "comparison":
            compare(photos, models=["cnn"], out=folder, overrides=SETTINGS, seeds=2, baseline=False)
        elif read_state(folder) is None:
            train(photos, model="cnn", out=folder, overrides=SETTINGS)
        else:
            with finished(folder):
                resume(folder)
        code = 0
    finally:
        os._exit(code)


@contextmanager
def finished(folder: Path) -> Iterator[None]:
    """To go on with what was killed between its end and that of its process is refused, and no failure."""
    try:
        yield
    except CheckpointError as error:
        if f"{folder} is finished" not in str(error):
            raise


def ends(child: int, within: float) -> int | None:
    """A child's exit code if it ends by itself; else it is killed, and None."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        found, status = os.waitpid(child, os.WNOHANG)
        if found:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def weights_of(folder: Path) -> list[bytes]:
    return [path.read_bytes() for path in sorted(folder.glob("**/bundle/weights.safetensors"))]


def names_in(folder: Path) -> list[str]:
    return sorted(str(path.relative_to(folder)) for path in folder.glob("**/*"))


def has_begun(folder: Path, kind: str) -> bool:
    """Whether it has got so far as to say what it is."""
    return (folder / PLAN).exists() if kind == "comparison" else read_state(folder) is not None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks")
@pytest.mark.parametrize(
    ("kind", "kills"),
    [
        pytest.param("run", 8, marks=pytest.mark.slow),
        pytest.param("run", 200, marks=pytest.mark.long),
        pytest.param("comparison", 3, marks=pytest.mark.slow),
        pytest.param("comparison", 50, marks=pytest.mark.long),
    ],
)
def test_a_run_that_is_killed_again_and_again_ends_as_if_it_never_had_been(
    photos: Path, tmp_path: Path, kind: str, kills: int
) -> None:
    # In a process of its own: one that has computed with several threads can't be forked.
    environment = os.environ | {"EYEBRIGHT_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, __file__, str(photos), str(tmp_path), str(kills), kind]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=3000)
    assert done.returncode == 0, done.stderr
    assert f"{kills} kills" in done.stdout


def kill_again_and_again(photos: Path, root: Path, kills: int, kind: str) -> None:
    began = time.monotonic()
    never, folder = root / "never", root / "killed"
    assert ends(start(photos, never, kind), 300) == 0
    takes = time.monotonic() - began
    moments = random.Random(1)
    done = finished = 0
    while done < kills or folder.exists():
        code = ends(start(photos, folder, kind), moments.uniform(0, takes) if done < kills else 300)
        if code is None:
            done += 1
            if not has_begun(folder, kind):  # killed before it could say that it is a run
                shutil.rmtree(folder, ignore_errors=True)
            continue
        assert code == 0, f"after {done} kills"
        finished += 1
        assert weights_of(folder) == weights_of(never)
        assert names_in(folder) == names_in(never)
        assert not list(folder.glob("**/.*"))
        shutil.rmtree(folder)
    sys.stdout.write(f"{done} kills, {finished} {kind}s ended, each as if it never had been killed\n")


if __name__ == "__main__":
    kill_again_and_again(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4])
