from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from eyebright.data.cache import read_squares
from eyebright.data.disk_cache import SquareCache
from eyebright.data.sources import read_samples
from eyebright.jobs.cache import clear_cache, list_cache
from eyebright.preprocess import Preprocessing


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("EYEBRIGHT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def fill(folder: Path) -> None:
    images = np.random.default_rng(0).integers(0, 256, (12, 9, 9, 3), dtype=np.uint8)
    table = read_samples((images, ["a", "b"] * 6))
    for side in (10, 12):
        read_squares(table, Preprocessing(image_size=8, resize=side), cache=SquareCache(folder / "squares"))


def test_an_empty_cache_is_shown_without_making_it(folder: Path) -> None:
    contents = list_cache()
    assert contents.files == ()
    assert contents.size_bytes == 0
    assert contents.limit_bytes > 0
    assert contents.folder == folder / "squares"
    assert not folder.exists()


def test_what_is_kept_is_listed_with_what_it_takes(folder: Path) -> None:
    fill(folder)
    contents = list_cache()
    assert sorted((file.num_images, file.side, file.state) for file in contents.files) == [
        (12, 10, "whole"),
        (12, 12, "whole"),
    ]
    assert contents.size_bytes == sum(path.stat().st_size for path in contents.folder.iterdir())


def test_clearing_leaves_downloaded_weights_alone(folder: Path) -> None:
    fill(folder)
    (folder / "weights").mkdir()
    (folder / "weights" / "resnet50.safetensors").write_bytes(b"weights")
    (folder / "squares" / "notes.txt").write_text("not ours")
    assert len(clear_cache()) == 2
    assert list_cache().files == ()
    assert sorted(path.name for path in folder.rglob("*") if path.is_file()) == ["notes.txt", "resnet50.safetensors"]
