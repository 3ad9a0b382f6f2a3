from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from eyebright.errors import CheckpointError, OutputError
from eyebright.progress import SilentProgress
from eyebright.training.checkpoint import FORMAT_VERSION, Checkpoints, InMemory, NotFiniteError, Snapshot


class Listening(SilentProgress):
    """Remembers what it was warned of."""

    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def snapshot(number: int, size: int = 50) -> Snapshot:
    tensors = {"a": torch.full((size,), float(number)), "b": torch.arange(3)}
    return Snapshot(phase="epochs", state={"step": number, "seconds": 0.5}, parts={"weights": tensors, "best": tensors})


def open_checkpoints(folder: Path, progress: SilentProgress | None = None) -> Checkpoints:
    return Checkpoints(folder / "checkpoints", interval=0.0, progress=progress or SilentProgress())


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "checkpoints").iterdir())


def test_what_is_saved_comes_back(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    assert checkpoints.load() is None
    checkpoints.save(snapshot(7))
    found = open_checkpoints(tmp_path).load()
    assert found is not None
    assert (found.phase, found.state) == ("epochs", {"step": 7, "seconds": 0.5})
    assert set(found.parts) == {"weights", "best"}
    assert torch.equal(found.parts["weights"]["a"], torch.full((50,), 7.0))
    assert found.parts["best"]["b"].dtype == torch.int64


def test_the_newest_two_stay_and_the_last_milestone(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    for number in range(1, 8):
        checkpoints.save(snapshot(number), milestone=number in (1, 3))
    assert names(tmp_path) == ["00000003", "00000006", "00000007"]
    milestone = checkpoints.load(milestone=True)
    assert milestone is not None
    assert milestone.state["step"] == 3
    checkpoints.clear()
    assert not (tmp_path / "checkpoints").exists()


def test_a_damaged_one_is_named_and_an_older_one_taken(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    checkpoints.save(snapshot(1))
    checkpoints.save(snapshot(2))
    file = tmp_path / "checkpoints" / "00000002" / "best.safetensors"
    file.write_bytes(file.read_bytes()[:-1])
    progress = Listening()
    found = open_checkpoints(tmp_path, progress).load()
    assert found is not None
    assert found.state["step"] == 1
    assert len(progress.warnings) == 1
    assert "00000002/best.safetensors was altered or cut short" in progress.warnings[0]


def test_a_damaged_one_is_none_of_the_two_that_stay(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    for number in (1, 2, 3):
        checkpoints.save(snapshot(number))
    (tmp_path / "checkpoints" / "00000003" / "weights.safetensors").write_bytes(b"")
    (tmp_path / "checkpoints" / "100").write_bytes(b"somebody's")
    again = open_checkpoints(tmp_path)
    found = again.load()
    assert found is not None
    assert found.state["step"] == 2
    again.save(snapshot(4))
    assert names(tmp_path) == ["00000002", "00000004", "100"]
    again.save(snapshot(5))
    assert names(tmp_path) == ["00000004", "00000005", "100"]


def test_if_all_are_damaged_nothing_is_believed(tmp_path: Path) -> None:
    checkpoints = open_checkpoints(tmp_path)
    checkpoints.save(snapshot(1))
    (tmp_path / "checkpoints" / "00000001" / "manifest.json").write_text("{}")
    with pytest.raises(CheckpointError, match=r"no checkpoint is whole: .*00000001/manifest.json was altered"):
        checkpoints.load()


@pytest.mark.parametrize(("read", "words"), [(-1, "newer Eyebright"), (1, "older Eyebright.*start anew")])
def test_one_of_another_eyebright_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, read: int, words: str
) -> None:
    checkpoints = open_checkpoints(tmp_path)
    checkpoints.save(snapshot(1))
    monkeypatch.setattr("eyebright.training.checkpoint.FORMAT_VERSION", FORMAT_VERSION + read)
    with pytest.raises(CheckpointError, match=words):
        checkpoints.load()


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_no_number_is_not_saved(tmp_path: Path, value: float) -> None:
    checkpoints = open_checkpoints(tmp_path)
    checkpoints.save(snapshot(1))
    bad = snapshot(2)
    bad.parts["best"]["a"][3] = value
    with pytest.raises(NotFiniteError, match="a holds values that are no numbers"):
        checkpoints.save(bad)
    assert names(tmp_path) == ["00000001"]


def test_what_a_killed_process_left_is_swept_away(tmp_path: Path) -> None:
    open_checkpoints(tmp_path).save(snapshot(1))
    for orphan in (".new-x1", ".old-00000000"):
        (tmp_path / "checkpoints" / orphan).mkdir()
        (tmp_path / "checkpoints" / orphan / "weights.safetensors").write_bytes(b"half")
    open_checkpoints(tmp_path)
    assert names(tmp_path) == ["00000001"]


def test_it_is_due_when_the_interval_is_over_or_writing_would_take_too_much_of_the_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = [1000.0]
    monkeypatch.setattr("eyebright.training.checkpoint.time.monotonic", lambda: now[0])
    checkpoints = Checkpoints(tmp_path / "checkpoints", interval=10.0, progress=SilentProgress())
    assert not checkpoints.due
    now[0] += 10
    assert checkpoints.due
    verify = Checkpoints._verify
    monkeypatch.setattr(
        Checkpoints, "_verify", lambda self, path: (now.__setitem__(0, now[0] + 3), verify(self, path))[1]
    )
    checkpoints.save(snapshot(1))  # which takes 3 seconds
    now[0] += 50
    assert not checkpoints.due
    now[0] += 50
    assert checkpoints.due


def test_a_full_disk_keeps_the_last_one(tmp_path: Path) -> None:
    resource = pytest.importorskip("resource")
    open_checkpoints(tmp_path).save(snapshot(1))
    code = (
        "import resource, signal, sys\n"
        "from pathlib import Path\n"
        "sys.path.insert(0, sys.argv[2])\n"
        "from tests.training.test_checkpoint import open_checkpoints, snapshot\n"
        "from eyebright.errors import OutputError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, resource.RLIM_INFINITY))\n"
        "try:\n"
        "    open_checkpoints(Path(sys.argv[1])).save(snapshot(2, size=100_000))\n"
        "except OutputError as error:\n"
        "    print(error)\n"
    )
    assert resource
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(root)], capture_output=True, text=True, timeout=100, check=True
    )
    assert "a checkpoint can't be written to" in done.stdout
    assert f"eyebright train --resume {tmp_path}" in done.stdout
    assert names(tmp_path) == ["00000001"]
    found = open_checkpoints(tmp_path).load()
    assert found is not None
    assert found.state["step"] == 1


def test_one_that_can_not_be_read_back_removes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = open_checkpoints(tmp_path)
    for number in (1, 2):
        checkpoints.save(snapshot(number))
    fsync = os.fsync

    def flip(descriptor: int) -> None:
        """A disk that changes what it is given."""
        for path in (tmp_path / "checkpoints").glob(".new-*/best.safetensors"):
            path.write_bytes(path.read_bytes()[:-1] + b"!")
        fsync(descriptor)

    monkeypatch.setattr("eyebright.bundle.sealed.os.fsync", flip)
    with pytest.raises(OutputError, match="was altered or cut short"):
        checkpoints.save(snapshot(3))
    monkeypatch.undo()
    assert {"00000001", "00000002"} <= set(names(tmp_path))
    found = checkpoints.load()
    assert found is not None
    assert found.state["step"] == 2


def flip_and_cut(tmp_path: Path, flips: int, cuts: int) -> None:
    """Change single bits of the newest checkpoint, then shorten its files: each time the older one must be taken."""
    checkpoints = open_checkpoints(tmp_path)
    checkpoints.save(snapshot(1))
    checkpoints.save(snapshot(2))
    chance = random.Random(0)
    files = sorted((tmp_path / "checkpoints" / "00000002").iterdir())
    assert len(files) == 3
    for number in range(flips + cuts):
        file = chance.choice(files)
        whole = file.read_bytes()
        if number < flips:
            changed = bytearray(whole)
            changed[chance.randrange(len(whole))] ^= 1 << chance.randrange(8)
        else:
            changed = bytearray(whole[: chance.randrange(len(whole))])
        file.write_bytes(changed)
        found = checkpoints.load()
        assert found is not None
        assert found.state["step"] == 1, (number, file.name)
        file.write_bytes(whole)
    found = checkpoints.load()
    assert found is not None
    assert found.state["step"] == 2


def test_flipped_bits_and_cut_off_files_are_refused(tmp_path: Path) -> None:
    flip_and_cut(tmp_path, 60, 20)


@pytest.mark.long
def test_a_thousand_flipped_bits_and_two_hundred_cut_off_files_are_refused(tmp_path: Path) -> None:
    flip_and_cut(tmp_path, 1000, 200)


KILLED = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.training.test_checkpoint import open_checkpoints, snapshot
checkpoints = open_checkpoints(Path(sys.argv[1]))
found = checkpoints.load()
number = 0 if found is None else found.state["step"]
print("ready", flush=True)
while True:
    number += 1
    checkpoints.save(snapshot(number, size=200_000), milestone=number % 5 == 0)
    print(number, flush=True)
"""


def kill_while_saving(folder: Path, times: int) -> None:
    """Kill a process that does nothing but save: what it last said to be saved must be there, and nothing half done."""
    chance = random.Random(0)
    said = 0
    for _ in range(times):
        with subprocess.Popen(
            [sys.executable, "-c", KILLED, str(folder), str(Path(__file__).parents[2])],
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdout is not None
            assert process.stdout.readline() == "ready\n"
            time.sleep(chance.uniform(0.0, 0.15))
            process.send_signal(signal.SIGKILL)
            lines = process.stdout.read().split()
        said = max([said, *map(int, lines)])
        progress = Listening()
        found = open_checkpoints(folder, progress).load()
        if said:
            assert found is not None
            assert found.state["step"] in (said, said + 1)  # one may be saved and not yet said
            said = found.state["step"]
        assert not progress.warnings
        assert all(name.isdecimal() for name in (names(folder) if (folder / "checkpoints").exists() else []))
    assert said > times // 2


def test_a_process_killed_while_saving_leaves_the_last_one_and_no_orphans(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 4)


@pytest.mark.long
def test_two_hundred_processes_killed_while_saving_lose_nothing(tmp_path: Path) -> None:
    kill_while_saving(tmp_path, 200)


def test_memory_keeps_copies_of_the_newest_and_the_last_milestone() -> None:
    keeper = InMemory()
    assert keeper.load() is None
    first, second = snapshot(1), snapshot(2)
    keeper.save(first, milestone=True)
    keeper.save(second)
    second.parts["best"]["a"].zero_()
    newest, milestone = keeper.load(), keeper.load(milestone=True)
    assert newest is not None
    assert milestone is not None
    assert (newest.state["step"], milestone.state["step"]) == (2, 1)
    assert float(newest.parts["best"]["a"][0]) == 2.0


def test_a_checkpoint_says_what_it_is_to_a_person(tmp_path: Path) -> None:
    open_checkpoints(tmp_path).save(snapshot(4), milestone=True)
    values = json.loads((tmp_path / "checkpoints" / "00000001" / "manifest.json").read_text())
    assert values["format"] == "eyebright-checkpoint"
    assert values["phase"] == "epochs"
    assert values["milestone"] is True
