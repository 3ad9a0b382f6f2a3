"""One at a time; and who is killed lets go."""

from __future__ import annotations

import errno
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from eyebright.locking import is_locked, locked

pytest.importorskip("fcntl", reason="nothing is locked on Windows")


def test_a_second_holder_is_refused_or_waits(tmp_path: Path) -> None:
    path, order = tmp_path / ".lock", ["first"]

    def second() -> None:
        with locked(path, wait=True):
            order.append("second")

    assert not is_locked(path)
    with locked(path, wait=False):
        assert is_locked(path)
        with pytest.raises(BlockingIOError), locked(path, wait=False):
            pass
        waiting = threading.Thread(target=second)
        waiting.start()
        waiting.join(0.1)
        order.append("still first")
    waiting.join(10)
    assert order == ["first", "still first", "second"]
    assert not is_locked(path)
    assert list(tmp_path.iterdir()) == []


def test_who_is_killed_lets_go(tmp_path: Path) -> None:
    code = (
        "import pathlib, sys, time\n"
        "from eyebright.locking import locked\n"
        "with locked(pathlib.Path(sys.argv[1]), wait=False):\n"
        "    print('held', flush=True)\n"
        "    time.sleep(60)\n"
    )
    path = tmp_path / ".lock"
    with subprocess.Popen([sys.executable, "-c", code, path], stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        assert is_locked(path)
        holder.kill()
    assert path.exists()
    assert not is_locked(path)
    with locked(path, wait=False):
        assert is_locked(path)


def test_a_file_system_without_locks_is_not_taken_for_one_that_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("fcntl.flock", refuse)
    with pytest.raises(OSError, match="No locks available") as caught, locked(tmp_path / ".lock", wait=False):
        pass
    assert not isinstance(caught.value, BlockingIOError)
