#!/usr/bin/env python3
"""How long a group of processes stands still when one of them dies: from the kill to the next step of training.

    python bench/restart.py --data ../shared/data/trashnet [--model resnet50] [--rounds 3] [--processes 2]

Each round trains with torchrun, kills the second process with SIGKILL in the middle of an epoch, waits for the first
step of the restarted group, and ends it. Decoded images are kept from before, as they are when a run is restarted.
"""

from __future__ import annotations

import argparse
import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

KILLED = """
import os, signal, time
from pathlib import Path
from eyebright.cli.main import main
from eyebright.training.step import Stepper

add_gradients = Stepper.add_gradients


def until_killed(stepper, *arguments):
    again = os.environ["TORCHELASTIC_RESTART_COUNT"] != "0"
    if again and not Path("went_on").exists():
        Path("went_on.part").write_text(repr(time.time()))
        os.replace("went_on.part", "went_on")
    if stepper.step == AT and os.environ["RANK"] == "1" and not again:
        Path("was_killed").write_text(repr(time.time()))
        os.kill(os.getpid(), signal.SIGKILL)
    return add_gradients(stepper, *arguments)


Stepper.add_gradients = until_killed
main()
"""
STEP = 4
LONGEST = 500


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--processes", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    print(f"{options.model}, {options.processes} processes, load {os.getloadavg()[0]:.1f}", flush=True)
    found = []
    for _ in range(options.rounds):
        with tempfile.TemporaryDirectory() as scratch:
            found.append(stand_still(Path(scratch), options.data.resolve(), options.model, options.processes))
        print(f"- {found[-1]:.1f} s", flush=True)
    print(f"from the kill to the next step: median {statistics.median(found):.1f} s of {len(found)}")


def stand_still(folder: Path, data: Path, model: str, processes: int) -> float:
    """Seconds from the kill to the first step after it."""
    (folder / "killed.py").write_text(KILLED.replace("AT", str(STEP)), encoding="utf-8")
    command = [sys.executable, "-m", "torch.distributed.run", f"--nproc-per-node={processes}", "--max-restarts=1"]
    command += ["killed.py", "train", str(data), "--model", model, "--effort", "standard", "--out", "run"]
    command += ["--set", "training.checkpoint_seconds=0"]
    with (folder / "said").open("wb") as said:
        group = subprocess.Popen(command, cwd=folder, stdout=said, stderr=said, start_new_session=True)
        try:
            return _read(group, folder, "went_on") - _read(group, folder, "was_killed")
        finally:
            _end(group)


def _read(group: subprocess.Popen[bytes], folder: Path, name: str) -> float:
    until = time.monotonic() + LONGEST
    while not (folder / name).exists():
        if group.poll() is not None or time.monotonic() > until:
            raise SystemExit(f"the group ended or hung before {name}:\n{(folder / 'said').read_text()[-2000:]}")
        time.sleep(0.05)
    return float((folder / name).read_text())


def _end(group: subprocess.Popen[bytes]) -> None:
    if group.poll() is None:
        os.killpg(group.pid, signal.SIGTERM)
        try:
            group.wait(30)
        except subprocess.TimeoutExpired:
            os.killpg(group.pid, signal.SIGKILL)
            group.wait()


if __name__ == "__main__":
    main()
