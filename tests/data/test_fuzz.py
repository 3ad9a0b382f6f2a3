from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import zlib
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from eyebright.data.decode import decode
from eyebright.data.headers import read_header
from eyebright.errors import ImageError

SCRIPT = Path(__file__).resolve().parents[2] / "scripts" / "fuzz_decode.py"


def _load(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


script = _load(SCRIPT)
CORPUS: list[bytes] = script.read_corpus(None)
GOOD: dict[str, Any] = {"crashes": [], "untyped": [], "slowest": [{"number": 7, "seconds": 0.1}], "growth_mb": 12.0}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, str(SCRIPT), *arguments], capture_output=True, text=True)


def test_two_thousand_mutants_neither_crash_nor_bloat_nor_print_anything() -> None:
    done = run("--count", "2000", "--seed", "1")
    report = json.loads(done.stdout)
    assert done.stderr == ""  # neither libtiff's messages nor Pillow's log
    assert report["files"] == 2000
    assert sum(report["outcomes"].values()) == 2000
    assert min(report["outcomes"][kind] for kind in ("read", "refused")) > 100  # it gets past the first look
    assert script.passed(report)
    assert done.returncode == 0


@pytest.mark.slow
def test_twenty_thousand_mutants_on_two_processes() -> None:
    done = run("--count", "20000", "--seed", "2", "--processes", "2")
    assert json.loads(done.stdout)["files"] == 20_000
    assert done.returncode == 0


def test_what_must_not_happen_is_seen(tmp_path: Path) -> None:
    """A corpus that no decoder minds, and a script whose decoding is broken in the three ways there are."""
    (tmp_path / "a.ppm").write_bytes(b"P5 2 2 255\n1234")
    for body, found in (
        ("import os; os.abort()", "crashes"),
        ("raise KeyError('x')", "untyped"),
        (
            "end = time.process_time() + 0.6\n    while time.process_time() < end:\n        pass\n    return 'read'",
            "slowest",
        ),
    ):
        text = SCRIPT.read_text(encoding="utf-8")
        broken = tmp_path / "broken.py"
        broken.write_text(text.replace('    outcome = "read"\n', f"    {body}\n", 1))
        done = subprocess.run(
            [sys.executable, str(broken), "--count", "1", "--corpus", str(tmp_path)], capture_output=True, text=True
        )
        assert done.returncode == 1, done.stderr
        report = json.loads(done.stdout)
        if found != "slowest":
            assert report[found][0]["number"] == 0
            assert all(not report[other] for other in {"crashes", "untyped"} - {found})
        else:
            assert report["slowest"][0]["seconds"] >= 0.6


@pytest.mark.parametrize(
    "change",
    [
        {"crashes": [{"number": 3}]},
        {"untyped": [{"number": 3}]},
        {"growth_mb": 200.0},
        {"slowest": [{"number": 3, "seconds": 0.51}]},
    ],
)
def test_a_report_passes_only_without_any_of_these(change: dict[str, Any]) -> None:
    assert script.passed(GOOD)
    assert not script.passed(GOOD | change)


def test_the_same_seed_gives_the_same_mutants_and_another_seed_others() -> None:
    first = [script.mutate(CORPUS, 0, number) for number in range(50)]
    assert first == [script.mutate(CORPUS, 0, number) for number in range(50)]
    assert sum(a != b for a, b in zip(first, (script.mutate(CORPUS, 1, n) for n in range(50)), strict=True)) > 40
    assert sum(mutant not in CORPUS for mutant in first) > 40


def test_the_checksums_of_a_mutated_png_are_right() -> None:
    content = next(content for content in CORPUS if content.startswith(b"\x89PNG"))
    changed = bytearray(content)
    changed[18] ^= 2  # within the header chunk
    fixed = script.fix_checksums(bytes(changed))
    assert fixed[29:33] == zlib.crc32(fixed[12:29]).to_bytes(4, "big")
    assert fixed[29:33] != content[29:33]
    assert script.fix_checksums(b"no PNG") == b"no PNG"


def test_without_atheris_the_script_says_what_to_install() -> None:
    if importlib.util.find_spec("atheris"):
        pytest.skip("atheris is installed")
    done = run("--atheris")
    assert done.returncode == 2
    assert "pip install atheris" in done.stderr


@settings(max_examples=150, deadline=None)
@given(
    content=st.sampled_from(CORPUS),
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.binary(max_size=4), st.integers(0, 8)), max_size=6),
    kept=st.floats(0, 1) | st.just(1.0),
    short_side=st.sampled_from([0, 1, 8, 300]),
)
def test_whatever_is_done_to_an_exhibit_the_header_and_the_pixels_agree_or_it_is_refused(
    content: bytes, edits: list[tuple[float, bytes, int]], kept: float, short_side: int
) -> None:
    changed = bytearray(content)
    for where, inserted, dropped in edits:
        at = int(where * len(changed))
        changed[at : at + dropped] = inserted
    changed = changed[: round(kept * len(changed))]
    try:
        pixels = decode(bytes(changed), "x", short_side=short_side)
    except ImageError:
        return
    header = read_header(bytes(changed), "x")  # what can be decoded has a header
    stored = (header.height, header.width) if header.orientation < 5 else (header.width, header.height)
    if header.format == "JPEG":
        rounded = [tuple(max(1, (side + k // 2) // k) for side in stored) for k in (1, 2, 4, 8)]
        assert pixels.shape[:2] in rounded
        assert min(pixels.shape[:2]) >= min(short_side, *stored)
    else:
        assert pixels.shape[:2] == stored
    assert pixels.shape[2] == 3
    assert pixels.dtype.name == "uint8"
