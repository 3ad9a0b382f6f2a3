from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import IO

import pytest

from eyebright.bulk.shards import Shards
from eyebright.errors import OutputError, SettingsError

JOB: dict[str, str | int] = {"images": "abc", "size": 2}


def concatenate(file: IO[bytes], parts: Iterator[Path]) -> None:
    for part in parts:
        file.write(part.read_bytes())


def test_parts_make_one_file_and_are_gone(tmp_path: Path) -> None:
    shards = Shards(tmp_path / "new" / "out.csv", JOB, resume=False)
    for number in range(12):
        shards.add(b"%d," % number, errors=number % 2)
    assert (len(shards), shards.errors) == (12, 6)
    shards.join(concatenate)
    assert (tmp_path / "new" / "out.csv").read_bytes() == b"0,1,2,3,4,5,6,7,8,9,10,11,"
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["out.csv"]


def test_a_job_goes_on_after_its_last_whole_part(tmp_path: Path) -> None:
    first = Shards(tmp_path / "out.csv", JOB, resume=False)
    first.add(b"a", errors=1)
    first.add(b"b", errors=0)
    (first.folder / ".0000002-0.part.new").write_bytes(b"half")  # killed while it was written
    (first.folder / "0000004-0.part").write_bytes(b"beyond a gap")
    again = Shards(tmp_path / "out.csv", JOB, resume=True)
    assert (len(again), again.errors) == (2, 1)
    again.add(b"c", errors=0)
    again.join(concatenate)
    assert (tmp_path / "out.csv").read_bytes() == b"abc"


def test_without_resume_a_job_begins_anew(tmp_path: Path) -> None:
    Shards(tmp_path / "out.csv", JOB, resume=False).add(b"old", errors=0)
    assert len(Shards(tmp_path / "out.csv", JOB, resume=False)) == 0


def test_parts_of_another_job_are_refused(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=r"nothing of .*out\.csv to go on with"):
        Shards(tmp_path / "out.csv", JOB, resume=True)
    Shards(tmp_path / "out.csv", JOB, resume=False).add(b"old", errors=0)
    with pytest.raises(SettingsError, match=r"another job \(images changed\)"):
        Shards(tmp_path / "out.csv", {**JOB, "images": "others"}, resume=True)


def test_a_failure_keeps_the_parts_before_it_and_the_file_that_was_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.csv").write_bytes(b"of yesterday")
    shards = Shards(tmp_path / "out.csv", JOB, resume=False)
    shards.add(b"a", errors=0)

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fsync", full)
    with pytest.raises(OutputError, match="No space left on device; free some room"):
        shards.add(b"b", errors=0)
    with pytest.raises(OutputError, match="No space left"):
        shards.join(concatenate)
    monkeypatch.undo()
    assert (tmp_path / "out.csv").read_bytes() == b"of yesterday"
    again = Shards(tmp_path / "out.csv", JOB, resume=True)
    assert len(again) == 1
    again.join(concatenate)
    assert (tmp_path / "out.csv").read_bytes() == b"a"


def test_parts_of_images_that_have_changed_are_made_again(tmp_path: Path) -> None:
    stamps = {0: "aa", 1: "bb", 2: "cc"}
    target = tmp_path / "answers.csv"
    first = Shards(target, {"size": 2}, resume=False)
    for number in range(3):
        first.add(b"old\n", errors=0, stamp=stamps[number])
    stamps[1] = "dd"
    again = Shards(target, {"size": 2}, resume=True, stamp=lambda part: stamps[part])
    assert len(again) == 1
    again.add(b"new\n", errors=0, stamp="dd")
    third = Shards(target, {"size": 2}, resume=True, stamp=lambda part: stamps[part])
    assert len(third) == 3  # the third part's images are as they were
    third.join(lambda file, parts: file.writelines(part.read_bytes() for part in parts))
    assert target.read_text() == "old\nnew\nold\n"
