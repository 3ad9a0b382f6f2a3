from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

Command = Callable[..., subprocess.CompletedProcess[str]]


def test_the_cache_is_filled_by_training_shown_and_cleared(eyebright: Command, photos: Path, tmp_path: Path) -> None:
    variables = {"EYEBRIGHT_CACHE": str(tmp_path / "cache")}
    train = ("train", photos, "--model", "cnn", "--set", "training.epochs=1")
    without = eyebright(*train, "--out", tmp_path / "no", "--set", "data.cache=false", variables=variables)
    assert without.returncode == 0, without.stderr
    assert not (tmp_path / "cache").exists()
    empty = eyebright("cache", variables=variables)
    assert empty.stdout.startswith("0 kB of at most ")

    for out in ("one", "two"):
        done = eyebright(*train, "--out", tmp_path / out, variables=variables)
        assert done.returncode == 0, done.stderr
    weights = [(tmp_path / out / "bundle" / "weights.safetensors").read_bytes() for out in ("no", "one", "two")]
    assert weights[0] == weights[1] == weights[2]

    shown = eyebright("cache", variables=variables)
    assert shown.returncode == 0, shown.stderr
    lines = shown.stdout.splitlines()
    assert lines[0].split() == ["what", "images", "pixels", "MB", "last", "used"]
    assert sorted(line.split()[0] for line in lines[1:3]) == ["decoded", "looked"]
    assert len(lines) == 5
    assert str(tmp_path / "cache" / "squares") in lines[-1]

    cleared = eyebright("cache", "clear", variables=variables)
    assert cleared.stdout.startswith("removed 2 files of decoded images, ")
    assert eyebright("cache", variables=variables).stdout == empty.stdout


def test_a_limit_that_is_no_number_is_told(eyebright: Command, tmp_path: Path) -> None:
    done = eyebright("cache", variables={"EYEBRIGHT_CACHE": str(tmp_path), "EYEBRIGHT_CACHE_GB": "a lot"})
    assert done.returncode == 2
    assert 'EYEBRIGHT_CACHE_GB is "a lot"' in done.stderr
