from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from eyebright.checking import duplicates, kept_looks
from eyebright.checking import look as looking
from eyebright.checking.check import check
from eyebright.checking.kept_looks import LookCache, look_and_group
from eyebright.checking.look import Looks
from eyebright.data.cache import digest_table
from eyebright.data.kept_files import LOOKS, create_locked
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.progress import SilentProgress

Found = tuple[Looks, list[list[int]]]


def draw(path: Path, seed: int, *, grain: int = 0, quality: int = 90) -> None:
    """A picture whose coarse shapes come from `seed` and whose grain from `grain`."""
    path.parent.mkdir(parents=True, exist_ok=True)
    coarse = np.random.default_rng(seed).integers(60, 196, (6, 8, 3), dtype=np.uint8)
    fine = np.random.default_rng(1000 + grain).integers(108, 149, (48, 64), dtype=np.uint8)
    size = (160, 120)
    mixed = np.asarray(Image.fromarray(coarse).resize(size, 3)).astype(np.int64)
    mixed = mixed + np.asarray(Image.fromarray(fine).resize(size, 3))[..., None] - 128
    Image.fromarray(np.clip(mixed, 0, 255).astype(np.uint8)).save(path, quality=quality)


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Twelve images: 2 is a copy of 1, 5 only has the coarse shapes of 4, 7 equals 6, 9.jpg is cut in half."""
    root = tmp_path / "photos"
    for number, (seed, grain, quality) in enumerate(
        [(0, 0, 90), (1, 1, 90), (1, 1, 60), (2, 2, 90), (3, 3, 90), (3, 4, 90), (4, 5, 90), (4, 5, 90), (5, 6, 90)]
    ):
        draw(root / "ab"[number % 2] / f"{number}.jpg", seed, grain=grain, quality=quality)
    whole = (root / "a" / "0.jpg").read_bytes()
    (root / "b" / "9.jpg").write_bytes(whole[: len(whole) // 2])
    Image.new("RGB", (80, 70), (9, 9, 9)).save(root / "b" / "blank.png")
    draw(root / "b" / "grey.png", 8)
    Image.open(root / "b" / "grey.png").convert("L").save(root / "b" / "grey.png")
    return root


@pytest.fixture
def cache(tmp_path: Path) -> LookCache:
    return LookCache(tmp_path / "squares", limit=10_000_000)


@pytest.fixture
def opened(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the images that are decoded, in `look` and for a second look."""
    names: list[str] = []
    for room in (looking, duplicates):
        original = room.decode

        def counted(content: bytes, name: str, *, original: Any = original, **options: Any) -> Any:
            names.append(Path(name).name)
            return original(content, name, **options)

        monkeypatch.setattr(room, "decode", counted)
    return names


def ask(table: SampleTable, cache: LookCache | None, **options: Any) -> Found:
    return look_and_group(table, digests=digest_table(table), cache=cache, **options)


def assert_same(one: Found, other: Found) -> None:
    assert one[1] == other[1]
    a, b = one[0], other[0]
    for field in (field.name for field in fields(Looks)):
        if field in ("kinds", "headers"):
            continue
        x, y = getattr(a, field), getattr(b, field)
        if field == "errors":
            assert {row: str(error) for row, error in x.items()} == {row: str(error) for row, error in y.items()}
        else:
            np.testing.assert_array_equal(x, y, err_msg=field)
    kinds = [[looks.headers[kind] if kind >= 0 else None for kind in looks.kinds] for looks in (a, b)]
    assert kinds[0] == kinds[1]


def test_what_is_kept_changes_nothing_and_a_second_run_opens_no_image(
    photos: Path, cache: LookCache, opened: list[str]
) -> None:
    table = read_samples(photos)
    plain = ask(table, None)
    # 1 and 2 as well as 6 and 7 are found; the rows are sorted by class
    assert [[Path(table.names[row]).stem for row in rows] for rows in plain[1]] == [["2", "1"], ["6", "7"]]
    assert_same(ask(table, cache), plain)
    for _ in range(2):
        opened.clear()
        assert_same(ask(table, cache), plain)
        assert opened == ["9.jpg"]  # what can't be read is looked at every time
    [file] = cache.files.list_files()
    assert (file.kind, file.state, file.num_images) == (LOOKS, "whole", 10)


def test_a_check_keeps_what_training_needs(photos: Path, cache: LookCache, opened: list[str]) -> None:
    table = read_samples(photos)
    report = check(table, data="photos", search_wrong_labels=False, cache=cache)
    opened.clear()
    again = check(table, data="photos", search_wrong_labels=False, cache=cache)
    assert again.findings == report.findings
    ask(table, cache)
    assert set(opened) == {"9.jpg"}


def test_a_folder_that_grows_or_is_renamed_costs_only_what_is_new(
    photos: Path, cache: LookCache, opened: list[str]
) -> None:
    ask(read_samples(photos), cache)
    draw(photos / "a" / "99.jpg", 77)
    opened.clear()
    table = read_samples(photos)
    grown = ask(table, cache)
    assert sorted(opened) == ["9.jpg", "99.jpg"]
    assert_same(grown, ask(table, None))
    assert len(cache.files.list_files()) == 1  # the smaller one has been used up
    (photos / "a").rename(photos / "alpha")
    opened.clear()
    assert ask(read_samples(photos), cache)[1] == grown[1]
    assert opened == ["9.jpg"]


def test_a_copy_that_joins_is_compared_and_found(photos: Path, cache: LookCache) -> None:
    ask(read_samples(photos), cache)
    draw(photos / "a" / "00.jpg", 0, quality=50)
    table = read_samples(photos)
    groups = ask(table, cache)[1]
    assert ["0.jpg", "00.jpg"] in [[Path(table.names[row]).name for row in rows] for rows in groups]


def test_a_changed_file_is_never_taken_for_the_old_one(photos: Path, cache: LookCache) -> None:
    ask(read_samples(photos), cache)
    path = photos / "b" / "1.jpg"
    before = path.stat()
    draw(path, 50, grain=50)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    table = read_samples(photos)
    assert_same(ask(table, cache), ask(table, None))


def test_a_verdict_on_a_file_that_changed_on_the_way_is_not_kept(photos: Path, cache: LookCache) -> None:
    table = read_samples(photos)
    original = (photos / "b" / "1.jpg").read_bytes()

    class Changing(SilentProgress):
        def start(self, stage: str, total: int) -> None:
            if stage == "comparing those alike":
                draw(photos / "b" / "1.jpg", 50)

    assert len(ask(table, cache, progress=Changing())[1]) == 1
    (photos / "b" / "1.jpg").write_bytes(original)
    assert len(ask(table, cache)[1]) == 2


def test_every_flipped_bit_and_every_cut_costs_another_look_and_nothing_else(
    photos: Path, cache: LookCache, opened: list[str]
) -> None:
    table = read_samples(photos)
    plain = ask(table, cache)
    [file] = cache.files.list_files()
    content = file.path.read_bytes()
    random = np.random.default_rng(0)
    damaged = []
    for place in [*range(0, 56, 7), *random.integers(64, len(content), 20).tolist()]:
        flipped = bytearray(content)
        flipped[place] ^= 1 << int(random.integers(8))
        damaged.append(bytes(flipped))
    damaged += [content[:length] for length in (0, 40, 70, 300, len(content) - 1)] + [content + b"\0"]
    for wrong in damaged:
        file.path.write_bytes(wrong)
        opened.clear()
        assert_same(ask(table, cache), plain)
        assert len(opened) > 10
        assert file.path.read_bytes() == content


def test_newer_code_looks_anew(
    photos: Path, cache: LookCache, opened: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    table = read_samples(photos)
    ask(table, cache)
    opened.clear()
    monkeypatch.setattr(kept_looks, "hash_code", lambda extra: "newer")
    ask(table, cache)
    assert len(opened) > 10
    assert len(cache.files.list_files()) == 2


def test_ctrl_c_while_comparing_keeps_what_was_looked_at(photos: Path, cache: LookCache, opened: list[str]) -> None:
    class Stopping(SilentProgress):
        stop_requested = False

        def start(self, stage: str, total: int) -> None:
            self.stop_requested = stage == "comparing those alike"

    table = read_samples(photos)
    with pytest.raises(KeyboardInterrupt):
        ask(table, cache, progress=Stopping())
    opened.clear()
    assert len(ask(table, cache)[1]) == 2
    assert 0 < len(opened) < 8  # only those of the pairs that were still to be compared


@pytest.mark.skipif(sys.platform == "win32", reason="needs locks that end with their process")
def test_what_a_killed_process_left_is_removed_and_what_another_is_writing_is_not(
    photos: Path, cache: LookCache
) -> None:
    table = read_samples(photos)
    ask(table, cache)
    [file] = cache.files.list_files()
    content = file.path.read_bytes()
    file.path.unlink()
    dead = file.path.with_name(f"{file.path.stem}.dead.part")
    dead.write_bytes(content[:200])
    living = file.path.with_name(f"{file.path.stem}.living.part")
    with create_locked(living) as held:
        held.write(content[:200])
        held.flush()
        assert_same(ask(table, cache), ask(table, None))
        assert sorted(cache.folder.iterdir()) == sorted([file.path, living])
    assert file.path.read_bytes() == content


def test_two_processes_at_once_find_the_same(photos: Path, cache: LookCache) -> None:
    code = textwrap.dedent("""
        import sys
        from pathlib import Path
        from eyebright.checking.kept_looks import LookCache, look_and_group
        from eyebright.data.cache import digest_table
        from eyebright.data.sources import read_samples
        table = read_samples(sys.argv[1])
        cache = LookCache(Path(sys.argv[2]), limit=10_000_000)
        sys.stdout.write(repr(look_and_group(table, digests=digest_table(table), cache=cache)[1]))
    """)
    both = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(photos), str(cache.folder)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(2)
    ]
    answers = {process.communicate(timeout=120)[0] for process in both}
    table = read_samples(photos)
    assert answers == {repr(ask(table, None)[1])}
    [file] = cache.files.list_files()
    assert file.state == "whole"


class Listening(SilentProgress):
    def __init__(self) -> None:
        self.warnings: list[str] = []

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def test_a_limit_too_small_keeps_nothing(photos: Path, tmp_path: Path) -> None:
    table = read_samples(photos)
    for limit in (0, 500):
        listening = Listening()
        cache = LookCache(tmp_path / str(limit), limit=limit)
        assert len(ask(table, cache, progress=listening)[1]) == 2
        assert cache.files.list_files() == ()
        assert listening.warnings == []


def test_room_is_made_for_what_is_kept(photos: Path, tmp_path: Path) -> None:
    cache = LookCache(tmp_path / "squares", limit=5000)
    cache.folder.mkdir()
    old = cache.folder / "old.squares"
    old.write_bytes(bytes(4000))
    ask(read_samples(photos), cache)
    [file] = cache.files.list_files()
    assert file.kind == LOOKS
    assert file.size_bytes < 5000


def test_a_folder_that_can_not_be_made_costs_only_the_cache(photos: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    listening = Listening()
    cache = LookCache(tmp_path / "file" / "squares", limit=1 << 30)
    assert len(ask(read_samples(photos), cache, progress=listening)[1]) == 2
    assert len(listening.warnings) == 1
    assert "what was found can't be kept there" in listening.warnings[0]
