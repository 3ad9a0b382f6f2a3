"""An engine in a process of its own: how long until its first answer, and the most memory that it holds. No torch here.

    python -m eyebright.speed.alone RUN ENGINE FOLDER

writes two lines: one after the first image of the folder is answered, and one after all of them, with the peak.
Within one process engines could not be told apart: each finds the libraries loaded that another one needed.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from eyebright.data.sources import read_unlabelled
from eyebright.errors import BundleError
from eyebright.inference.load import load
from eyebright.speed.costs import read_peak


@dataclass(frozen=True, kw_only=True)
class Alone:
    """What a process that does nothing else takes."""

    first_seconds: float
    """From its start to the answer for one image: Python, libraries, the network, the image."""
    peak_bytes: int | None
    """The most memory that it held by the time that all images were answered; None where the system does not tell."""


def run_alone(run: Path, engine: str, folder: Path) -> Alone:
    """Classify a folder of images in a new process.

    Args:
        run: a run's folder or a bundle.
        engine: one that it has.
        folder: of image files.

    Raises:
        BundleError: the process ended without an answer; its last words are in the message.
    """
    # -P: whatever lies in the user's folder is not imported.
    command = [sys.executable, "-P", "-m", "eyebright.speed.alone", os.fspath(run), engine, os.fspath(folder)]
    began = time.perf_counter()
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            first = process.stdout.readline()
            seconds = time.perf_counter() - began
            rest, errors = process.communicate()
        except BaseException:
            process.kill()
            raise
    if process.returncode != 0 or not first or not rest.strip():
        words = (errors.strip().splitlines() or [f"exit code {process.returncode}"])[-1]
        raise BundleError(f"the engine {engine} failed in a process of its own ({words}); export it again")
    peak = int(rest.split()[-1])
    return Alone(first_seconds=seconds, peak_bytes=peak or None)


def _answer(run: Path, engine: str, folder: Path) -> None:
    predictor = load(run, engine=engine)
    store, names = read_unlabelled([folder])
    list(predictor.predict_files(store, names[:1]))
    sys.stdout.write("first\n")
    sys.stdout.flush()
    list(predictor.predict_files(store, names))
    sys.stdout.write(f"{read_peak() or 0}\n")


if __name__ == "__main__":
    _answer(Path(sys.argv[1]), sys.argv[2], Path(sys.argv[3]))
