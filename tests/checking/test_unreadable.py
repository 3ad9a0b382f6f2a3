from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image

from eyebright.checking.findings import Finding
from eyebright.checking.look import look
from eyebright.checking.unreadable import KINDS, find_unreadable
from eyebright.data.sources import read_samples


def encode(mode: str = "RGB", kind: str = "PNG", **options: object) -> bytes:
    y, x = np.mgrid[:48, :64]
    pixels = np.stack([x * 3, y * 5, x + y], axis=2).astype(np.uint8)
    file = io.BytesIO()
    Image.fromarray(pixels).convert(mode).save(file, kind, **options)
    return file.getvalue()


def find(root: Path, files: dict[str, bytes]) -> list[Finding]:
    for name, content in {"b/plain.png": encode(), **files}.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    before = {path: path.read_bytes() for path in root.rglob("*.*")}
    table = read_samples(root)
    findings = find_unreadable(table, look(table))
    assert {path: path.read_bytes() for path in root.rglob("*.*")} == before
    return findings


def test_each_sort_of_unreadable_file_is_named_and_proposed_to_be_left_out(tmp_path: Path) -> None:
    jpeg = encode(kind="JPEG")
    findings = find(
        tmp_path, {"a/cut.jpg": jpeg[: len(jpeg) // 2], "a/empty.jpg": b"", "a/text.jpg": b"hello", "a/good.jpg": jpeg}
    )
    assert [(finding.kind, finding.samples) for finding in findings] == [
        ("truncated", ("a/cut.jpg",)),
        ("empty-file", ("a/empty.jpg",)),
        ("unreadable", ("a/text.jpg",)),
    ]
    assert all([d.action for d in finding.proposal] == ["exclude"] for finding in findings)
    assert len(findings[0].proposal[0].digest) == 64
    assert "is not an image in a known format" in findings[2].words


def test_a_suffix_that_lies_is_a_remark(tmp_path: Path) -> None:
    (finding,) = find(tmp_path, {"a/lies.jpg": encode(), "a/true.jpeg": encode(kind="JPEG")})
    assert finding.kind == "wrong-suffix"
    assert finding.words == "a/lies.jpg ends in .jpg, but its content is PNG."
    assert finding.proposal == ()


def test_odd_modes_are_one_finding_each(tmp_path: Path) -> None:
    deep = io.BytesIO()
    Image.fromarray(np.arange(64 * 48, dtype=np.uint16).reshape(48, 64)).save(deep, "PNG")
    frames = [Image.new("RGB", (40, 40), colour) for colour in ("red", "blue")]
    moving = io.BytesIO()
    frames[0].save(moving, "GIF", save_all=True, append_images=frames[1:])
    findings = find(
        tmp_path,
        {
            "a/clear1.png": encode("RGBA"),
            "a/clear2.png": encode("RGBA"),
            "a/ink.jpg": encode("CMYK", "JPEG"),
            "a/deep.png": deep.getvalue(),
            "a/moving.gif": moving.getvalue(),
            "a/grey.png": encode("L"),
        },
    )
    assert {finding.kind for finding in findings} == {"odd-mode"}
    assert {finding.words: len(finding.samples) for finding in findings} == {
        "2 images are stored with transparency.": 2,
        "1 image is stored in printing inks (CMYK).": 1,
        "1 image is stored with 16 bits a value.": 1,
        "1 image is stored with several frames or pages.": 1,
    }


def test_every_kind_that_is_reported_is_described(tmp_path: Path) -> None:
    findings = find(tmp_path, {"a/cut.png": encode()[:90], "a/empty.png": b"", "a/lies.gif": encode("RGBA")})
    assert {finding.kind for finding in findings} <= {kind.name for kind in KINDS}
    assert len(findings) == 4
