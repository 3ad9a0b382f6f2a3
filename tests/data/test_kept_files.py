from __future__ import annotations

import os
from pathlib import Path

import pytest

from eyebright.data import kept_files
from eyebright.data.kept_files import (
    LIMIT_VARIABLE,
    LOOKS,
    SQUARES,
    Header,
    KeptFiles,
    create_locked,
    hash_code,
    is_dead,
    part_of,
)
from eyebright.errors import SettingsError


def write(folder: Path, name: str, size: int, used: float, kind: str = SQUARES) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / name
    path.write_bytes(Header(kind=kind, count=3, side=7, channels=3, key=b"k" * 32).to_bytes().ljust(size, b"\0"))
    os.utime(path, (used, used))
    return path


def test_the_limit_is_set_by_a_variable_and_never_more_than_a_share_of_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept = KeptFiles(tmp_path / "not" / "there")
    monkeypatch.setattr(kept_files, "_free_bytes", lambda folder: 8_000_000_000)
    assert kept.limit_bytes() == 2_000_000_000
    monkeypatch.setattr(kept_files, "_free_bytes", lambda folder: 8_000_000_000_000)
    assert kept.limit_bytes() == 10_000_000_000
    monkeypatch.setenv(LIMIT_VARIABLE, "0.5")
    assert kept.limit_bytes() == 500_000_000
    for wrong in ("much", "-1", "nan"):
        monkeypatch.setenv(LIMIT_VARIABLE, wrong)
        with pytest.raises(SettingsError, match="it is a number of gigabytes"):
            kept.limit_bytes()


def test_files_of_every_kind_are_listed_and_go_by_their_last_use(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path / "squares", limit=1000)
    write(kept.folder, "a.squares", 300, 30)
    write(kept.folder, "b.looks", 200, 10, LOOKS)
    write(kept.folder, "c.squares", 100, 20)
    (kept.folder / "d.squares").write_bytes(b"damaged")
    (kept.folder / "notes.txt").write_text("not ours")
    assert [(file.path.name, file.kind, file.num_images, file.side) for file in kept.list_files()] == [
        ("d.squares", "", 0, 0),
        ("a.squares", SQUARES, 3, 7),
        ("c.squares", SQUARES, 3, 7),
        ("b.looks", LOOKS, 3, 7),
    ]
    kept.evict(400)
    assert sorted(path.name for path in kept.folder.iterdir()) == ["a.squares", "d.squares", "notes.txt"]
    assert len(kept.clear()) == 2
    assert [path.name for path in kept.folder.iterdir()] == ["notes.txt"]


@pytest.mark.skipif(os.name == "nt", reason="needs locks that end with their process")
def test_a_part_is_dead_once_nobody_holds_it_and_until_then_it_stays(tmp_path: Path) -> None:
    kept = KeptFiles(tmp_path, limit=1000)
    target = tmp_path / "a.squares"
    assert part_of(target) != part_of(target)
    part = part_of(target)
    file = create_locked(part)
    with part.open("rb") as other:
        assert not is_dead(part, other)
    assert kept.clear() == ()
    assert [found.state for found in kept.list_files()] == ["being built"]
    file.close()
    assert [found.state for found in kept.list_files()] == ["unfinished"]
    assert [found.path for found in kept.clear()] == [part]


def test_the_code_has_a_hash_that_more_code_changes(tmp_path: Path) -> None:
    (tmp_path / "more.py").write_text("one")
    (tmp_path / "other.py").write_text("two")
    hashes = {hash_code(), hash_code((tmp_path / "more.py",)), hash_code((tmp_path / "other.py",))}
    assert len(hashes) == 3
