"""Files are there whole or not at all, whatever goes wrong on the way."""

from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from eyebright.errors import OutputError
from eyebright.writing import check_new, refuse_existing, sync_folder, whole, write_new, write_text


def no_room(_: int) -> None:
    raise OSError(errno.ENOSPC, "No space left on device")


def test_a_file_takes_its_name_only_when_the_block_ends_well(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")
    with whole(path) as file:
        file.write(b"after")
        file.flush()
        assert path.read_bytes() == b"before"
    assert path.read_bytes() == b"after"
    assert list(tmp_path.iterdir()) == [path]


def test_what_was_there_stays_when_the_block_fails(tmp_path: Path) -> None:
    path = tmp_path / "a.bin"
    path.write_bytes(b"before")

    def write_half() -> None:
        with whole(path) as file:
            file.write(b"half")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_half()
    assert path.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [path]


def test_a_text_stays_as_it_is_to_the_byte(tmp_path: Path) -> None:
    write_text(tmp_path / "a.csv", "é\r\nb\n\udcff")
    assert (tmp_path / "a.csv").read_bytes() == b"\xc3\xa9\r\nb\n\xff"


@pytest.mark.parametrize("write", [lambda path: write_text(path, "x"), lambda path: write_new(path, b"x")])
def test_a_full_disk_names_the_file_and_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: Callable[[Path], None]
) -> None:
    monkeypatch.setattr(os, "fsync", no_room)
    with pytest.raises(OutputError, match=r"a\.json can't be written: No space left on device"):
        write(tmp_path / "a.json")
    assert list(tmp_path.iterdir()) == []


def test_a_new_file_never_takes_the_place_of_another(tmp_path: Path) -> None:
    path, link = tmp_path / "a.txt", tmp_path / "b.txt"
    write_new(path, b"first")
    link.symlink_to(tmp_path / "nowhere")
    for taken in (path, link):
        with pytest.raises(OutputError, match=f"{taken.name} exists already"):
            write_new(taken, b"second")
        with pytest.raises(OutputError, match=f"{taken.name} exists already"):
            refuse_existing(taken)
    assert path.read_bytes() == b"first"
    assert not (tmp_path / "nowhere").exists()
    refuse_existing(tmp_path / "c.txt")


def test_what_could_not_be_written_is_refused_before_there_is_anything(tmp_path: Path) -> None:
    assert check_new(tmp_path / "a.HTML", (".html", ".png"), "maps are written") == ".html"
    with pytest.raises(
        OutputError, match=r"a\.gif: maps are written as \.svg, \.html or \.png; end the name in one of them"
    ):
        check_new(tmp_path / "a.gif", (".svg", ".html", ".png"), "maps are written")
    with pytest.raises(OutputError, match=r"a: maps are written as \.html; end the name in it"):
        check_new(tmp_path / "a", (".html",), "maps are written")
    (tmp_path / "a.html").touch()
    with pytest.raises(OutputError, match=r"a\.html exists already"):
        check_new(tmp_path / "a.html", (".html",), "maps are written")


def test_the_names_in_a_folder_are_kept_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    synced: list[bool] = []
    monkeypatch.setattr(os, "fsync", lambda descriptor: synced.append(os.path.isdir(f"/proc/self/fd/{descriptor}")))
    sync_folder(tmp_path)
    with whole(tmp_path / "a"):
        pass
    assert synced == [True, False, True]


def test_a_new_file_is_written_where_there_are_no_links_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "link", no_links)
    write_new(tmp_path / "a.txt", b"first")
    with pytest.raises(OutputError, match="exists already"):
        write_new(tmp_path / "a.txt", b"second")
    assert (tmp_path / "a.txt").read_bytes() == b"first"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("links", [True, False])
def test_a_file_that_appears_meanwhile_is_not_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool
) -> None:
    path, sync = tmp_path / "a.txt", os.fsync

    def another_is_faster(descriptor: int) -> None:
        sync(descriptor)
        if not path.exists():
            path.write_bytes(b"another's")

    def no_links(*_: object) -> None:
        raise OSError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "fsync", another_is_faster)
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    with pytest.raises(OutputError, match="exists already"):
        write_new(path, b"mine")
    assert path.read_bytes() == b"another's"
    assert [path.name for path in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.skipif(os.name == "nt", reason="needs SIGKILL")
def test_a_process_that_is_killed_leaves_no_half_file_under_the_name(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from eyebright import writing\n"
        "os.fsync = lambda _: os.kill(os.getpid(), signal.SIGKILL)\n"
        "writing.write_new(pathlib.Path(sys.argv[1]), bytes(1 << 20))\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "a.html"], check=False)
    assert done.returncode == -signal.SIGKILL
    assert not (tmp_path / "a.html").exists()
    write_new(tmp_path / "a.html", b"whole")
    assert [path.name for path in tmp_path.iterdir()] == ["a.html"]
