#!/usr/bin/env python3
"""Decode many mutated image files, and report what must never happen: crashes, untyped errors, slow files, growth.

    python scripts/fuzz_decode.py --count 100000 [--seed 0] [--processes 2]

Each file is one of the gallery in tests/data (or of --corpus FOLDER), changed at a few places and perhaps cut; the
same seed gives the same files. A worker that dies is a crash, and the number of its file is named; `--only NUMBER`
writes that file out. For a search that is guided by coverage:

    python scripts/fuzz_decode.py --atheris [FOLDER] [libFuzzer's flags]
"""

from __future__ import annotations

import argparse
import contextlib
import importlib.util
import json
import multiprocessing
import random
import struct
import sys
import time
import zlib
from collections import Counter
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
SLOW_SECONDS = 0.5
GROWTH_MB = 200


def main(arguments: list[str] | None = None) -> int:
    """0 if nothing happened that must not."""
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000, help="how many mutated files")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--processes", type=int, default=1)
    parser.add_argument("--corpus", type=Path, help="a folder of images to mutate, instead of the gallery")
    parser.add_argument(
        "--only", type=int, metavar="NUMBER", help="write this one mutated file to ./mutant and decode it"
    )
    parser.add_argument("--atheris", action="store_true", help="guided by coverage; what follows goes to libFuzzer")
    options, rest = parser.parse_known_args(arguments)
    if options.atheris:
        return run_atheris(options.corpus, rest)
    if rest:
        parser.error(f"unknown arguments: {' '.join(rest)}")
    corpus = read_corpus(options.corpus)
    if options.only is not None:
        content = mutate(corpus, options.seed, options.only)
        Path("mutant").write_bytes(content)
        print(f"mutant: {len(content)} bytes; {try_one(content)}")
        return 0
    report = fuzz(corpus, options.count, options.seed, options.processes)
    print(json.dumps(report, indent=1))
    return 0 if passed(report) else 1


def passed(report: dict[str, Any]) -> bool:
    """No crash, no untyped error, no file over half a second, memory growth under 200 MB."""
    quick = all(one["seconds"] <= SLOW_SECONDS for one in report["slowest"])
    return not report["crashes"] and not report["untyped"] and quick and report["growth_mb"] < GROWTH_MB


def read_corpus(folder: Path | None) -> list[bytes]:
    """The files of a folder by name, or those of the gallery that are no larger than 64 kB."""
    if folder is not None:
        found = [path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()]
        if not found:
            sys.exit(f"{folder}: holds no files to mutate")
        return found
    path = ROOT / "tests" / "data" / "gallery.py"
    spec = importlib.util.spec_from_file_location("gallery", path)
    assert spec is not None
    assert spec.loader is not None
    gallery = importlib.util.module_from_spec(spec)
    sys.modules["gallery"] = gallery
    spec.loader.exec_module(gallery)
    exhibits = [exhibit for exhibit in gallery.build_gallery() if 0 < len(exhibit.content) <= 1 << 16]
    # Good files three times: a change to what is broken already seldom gets far.
    good = [exhibit.content for exhibit in exhibits if exhibit.pixels is not None]
    return good * 3 + [exhibit.content for exhibit in exhibits if exhibit.pixels is None]


def mutate(corpus: list[bytes], seed: int, number: int) -> bytes:
    """The file of this number: bytes changed, doubled, dropped or brought from another file, and sometimes cut off."""
    chance = random.Random(f"{seed} {number}")
    content = bytearray(chance.choice(corpus))
    for _ in range(chance.choice((1, 1, 1, 1, 2, 2, 3, 5, 8, 20))):
        if not content:
            break
        # Half of all changes fall into the header, where most of what a reader believes is written.
        where = chance.randrange(min(len(content), 80) if chance.random() < 0.5 else len(content))
        kind = chance.randrange(7)
        if kind == 0:
            content[where] ^= 1 << chance.randrange(8)
        elif kind == 1:
            content[where] = chance.choice((0, 1, 0x7F, 0x80, 0xFE, 0xFF))
        elif kind == 2:
            content[where] = chance.randrange(256)
        elif kind == 3:  # a number as large as it can be
            size = chance.choice((2, 4))
            value = chance.choice((0, 1, 0x7FFF, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF)) & (256**size - 1)
            content[where : where + size] = value.to_bytes(size, chance.choice(("little", "big")))
        elif kind == 4:
            content[where:where] = content[where : where + chance.randrange(1, 64)]
        elif kind == 5:
            del content[where : where + chance.randrange(1, 16)]
        else:
            other = chance.choice(corpus)
            start = chance.randrange(len(other))
            piece = other[start : start + chance.randrange(1, 64)]
            content[where : where + len(piece)] = piece
    if chance.random() < 0.15:
        content = content[: chance.randrange(len(content) + 1)]
    # A checksum that is right lets a wrong PNG get past the first check.
    return fix_checksums(bytes(content)) if chance.random() < 0.7 else bytes(content)


def fix_checksums(content: bytes) -> bytes:
    """A PNG with the checksum of each chunk as it must be; anything else as it is."""
    if content[:8] != b"\x89PNG\r\n\x1a\n":
        return content
    fixed, at = bytearray(content), 8
    while at + 12 <= len(fixed):
        end = at + 8 + int.from_bytes(fixed[at : at + 4], "big")
        if end + 4 > len(fixed):
            break
        fixed[end : end + 4] = struct.pack(">I", zlib.crc32(fixed[at + 4 : end]))
        at = end + 4
    return bytes(fixed)


def try_one(content: bytes) -> str:
    """Read the header, decode at full size and for a small target; what came of it. Nothing but our error is caught."""
    import numpy as np

    from eyebright.data.decode import decode
    from eyebright.data.headers import read_header
    from eyebright.errors import ImageError

    with contextlib.suppress(ImageError):
        read_header(content, "mutant")
    outcome = "read"
    for short_side in (0, 4):
        try:
            pixels = decode(content, "mutant", short_side=short_side)
        except ImageError as error:
            outcome, message = "refused", str(error)
        else:
            message = ""
            assert pixels.dtype == np.uint8
            assert pixels.ndim == 3
            assert pixels.shape[2] == 3
        assert not message or (message.startswith("mutant: ") and message.isprintable())
    return outcome


def resident_mb(field: str) -> float:
    """VmRSS or VmHWM of this process in MB."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise AssertionError(field)


def work(corpus: list[bytes], seed: int, start: int, count: int, step: int, reports: Connection) -> None:
    """Every `step`-th file from `start` on; after each (number, processor seconds, outcome, memory in MB, its peak)."""
    for content in dict.fromkeys(corpus):  # what is loaded with the first files is no growth
        with contextlib.suppress(Exception):
            try_one(content)
    reports.send((-1, 0.0, "start", resident_mb("VmRSS"), resident_mb("VmHWM")))
    for number in range(start, count, step):
        content = mutate(corpus, seed, number)
        reports.send((number, -1.0, "begun", 0.0, 0.0))
        began = time.process_time()  # not the clock: other work on the machine is not the file's fault
        try:
            outcome = try_one(content)
        except BaseException as error:  # all that is no ImageError is what this is looking for
            outcome = f"untyped {type(error).__name__}: {error}"
        reports.send((number, time.process_time() - began, outcome, resident_mb("VmRSS"), resident_mb("VmHWM")))
    reports.close()


def fuzz(corpus: list[bytes], count: int, seed: int, processes: int) -> dict[str, Any]:
    """Decode `count` mutated files, in processes that are replaced when they crash."""
    context = multiprocessing.get_context("spawn")
    outcomes: Counter[str] = Counter()
    slowest: list[tuple[float, int]] = []
    crashes: list[dict[str, Any]] = []
    untyped: list[dict[str, Any]] = []
    growth = peak_growth = 0.0
    began = time.perf_counter()

    def launch(start: int) -> tuple[Any, Connection]:
        receive, send = context.Pipe(duplex=False)
        worker = context.Process(target=work, args=(corpus, seed, start, count, processes, send), daemon=True)
        worker.start()
        send.close()
        return worker, receive

    running = {start: (*launch(start), start, [0.0, 0.0]) for start in range(processes)}
    while running:
        for lane, (worker, receive, current, first) in list(running.items()):
            if not receive.poll(0.01):
                continue
            try:
                while receive.poll():
                    number, seconds, outcome, now, most = receive.recv()
                    if number < 0:
                        first[:] = [now, most]
                        continue
                    current = number
                    running[lane] = (worker, receive, current, first)
                    if seconds < 0:
                        continue
                    outcomes[outcome.split()[0]] += 1
                    slowest = sorted([*slowest, (seconds, number)], reverse=True)[:5]
                    growth, peak_growth = max(growth, now - first[0]), max(peak_growth, most - first[1])
                    if outcome.startswith("untyped"):
                        untyped.append({"number": number, "error": outcome[8:200]})
            except EOFError:
                worker.join()
                del running[lane]
                if worker.exitcode != 0:
                    crashes.append({"number": current, "exit_code": worker.exitcode})
                    if current + processes < count:
                        running[lane] = (*launch(current + processes), current, [0.0, 0.0])
    return {
        "files": sum(outcomes.values()) + len(crashes),
        "seed": seed,
        "seconds": round(time.perf_counter() - began, 1),
        "outcomes": dict(outcomes),
        "crashes": crashes,
        "untyped": untyped[:20],
        "slowest": [{"number": number, "seconds": round(seconds, 3)} for seconds, number in slowest],
        "growth_mb": round(growth, 1),
        "peak_growth_mb": round(peak_growth, 1),
    }


def run_atheris(images: Path | None, arguments: list[str]) -> int:
    """Hand over to libFuzzer; it does not come back unless told how many runs or seconds."""
    try:
        import atheris
    except ImportError:
        print("atheris is not installed; on Linux or macOS: pip install atheris", file=sys.stderr)
        return 2
    # Before anything else imports them: only what is imported here is watched.
    with atheris.instrument_imports(include=["eyebright.data", "PIL"]):
        from PIL import Image

        import eyebright.data.decode  # noqa: F401

        Image.init()
    folder = Path(next((part for part in arguments if not part.startswith("-")), "fuzz-corpus"))
    folder.mkdir(parents=True, exist_ok=True)
    if not any(folder.iterdir()):
        for number, content in enumerate(dict.fromkeys(read_corpus(images))):
            (folder / f"{number:03}").write_bytes(content)
    flags = [part for part in arguments if part.startswith("-")]
    atheris.Setup([sys.argv[0], *flags, str(folder)], lambda content: try_one(content) and None)
    atheris.Fuzz()
    return 0


if __name__ == "__main__":
    sys.exit(main())
