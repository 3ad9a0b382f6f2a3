"""Odd and hostile image files, each made here in memory, with the pixels or the error that it must give.

Expected pixels are stated or computed by hand, never by the decoder under test; where a format loses something, with a
tolerance in steps of 255. To look at them: `python tests/data/gallery.py FOLDER` writes them all out.
"""

from __future__ import annotations

import io
import struct
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageCms, features

Pixels = NDArray[np.uint8]
WHITE, BLACK, RED, LIME, BLUE = (255, 255, 255), (0, 0, 0), (255, 0, 0), (0, 255, 0), (0, 0, 255)


@dataclass(frozen=True, kw_only=True)
class Exhibit:
    """One file and what must come of it: `pixels` or `error`."""

    name: str
    content: bytes
    pixels: Pixels | None = None
    """(H, W, 3)"""
    tolerance: int = 0
    """By how many steps of 255 any pixel may differ."""
    error: str = ""
    """A regular expression that the reason must match."""


def build_gallery() -> list[Exhibit]:
    """All exhibits; names are unique."""
    rooms = (_pngs, _transparent, _jpegs, _broken_jpegs, _profiles, _gifs, _bmps, _tiffs, _webps, _ppms, _no_images)
    return [exhibit for room in rooms for exhibit in room()]


def photo(height: int = 16, width: int = 24) -> Pixels:
    """A smooth picture in which no two directions look alike."""
    y, x = np.mgrid[:height, :width]
    return np.stack([40 + 160 * x // width, 40 + 160 * y // height, 200 - 80 * x // width], axis=2).astype(np.uint8)


def grey(height: int = 16, width: int = 24) -> Pixels:
    """The same without colours: (H, W)."""
    return photo(height, width)[..., 0] // 2 + photo(height, width)[..., 1] // 2


def as_rgb(values: NDArray[Any]) -> Pixels:
    """(H, W) -> (H, W, 3)."""
    return np.repeat(np.asarray(values, dtype=np.uint8)[..., None], 3, axis=2)


def flat(colour: tuple[int, ...], height: int = 4, width: int = 4) -> Pixels:
    return np.full((height, width, 3), colour, dtype=np.uint8)


def saved(image: Image.Image | NDArray[Any], kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    (Image.fromarray(image) if isinstance(image, np.ndarray) else image).save(file, kind, **settings)
    return file.getvalue()


def png(
    size: tuple[int, int], bits: int, colour: int, rows: list[bytes], *chunks: tuple[bytes, bytes], interlace: int = 0
) -> bytes:
    """A PNG from its parts, as ISO/IEC 15948 has them: (width, height), unfiltered rows, chunks before the data."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", *size, bits, colour, 0, 0, interlace)
    body = zlib.compress(b"".join(b"\0" + row for row in rows), 9)
    middle = b"".join(chunk(kind, content) for kind, content in chunks)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + middle + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def profile(space: bytes, kind: bytes, tags: dict[bytes, bytes], pcs: bytes = b"XYZ ") -> bytes:
    """An ICC profile of version 2 from its tags, as ICC.1:2001-04 has them."""
    tags = {
        b"desc": _text(b"desc", "made up"),
        b"cprt": _text(b"text", "nobody"),
        b"wtpt": _xyz(0.9642, 1, 0.8249),
    } | tags
    table, data = struct.pack(">I", len(tags)), b""
    start = 128 + 4 + 12 * len(tags)
    for name, content in tags.items():
        table += name + struct.pack(">II", start + len(data), len(content))
        data += content + bytes(-len(content) % 4)
    header = struct.pack(">I4sI4s4s4s", start + len(data), b"lcms", 0x02100000, kind, space, pcs)
    header += bytes(12) + b"acsp" + bytes(28) + struct.pack(">iii", 63190, 65536, 54061)
    return header.ljust(128, b"\0") + table + data


def _xyz(*values: float) -> bytes:
    return b"XYZ \0\0\0\0" + struct.pack(">iii", *(round(value * 65536) for value in values))


def _text(kind: bytes, text: str) -> bytes:
    plain = text.encode() + b"\0"
    return kind + bytes(4) + (struct.pack(">I", len(plain)) + plain + bytes(78) if kind == b"desc" else plain)


def _pngs() -> Iterator[Exhibit]:
    """Every bit depth and colour type that there is, 8 pixels wide."""
    for bits in (1, 2, 4, 8):
        levels = [i * (2**bits - 1) // 7 for i in range(8)]
        row = _packed(levels, bits)
        shades = [round(level * 255 / (2**bits - 1)) for level in levels]
        yield Exhibit(name=f"png-grey-{bits}", content=png((8, 1), bits, 0, [row]), pixels=as_rgb(np.array([shades])))
        palette = bytes(value for i in range(2**bits) for value in (i * 255 // (2**bits - 1), 255 - i % 256, 7))
        colours = np.array([[palette[3 * level : 3 * level + 3] for level in levels]]).view(np.uint8).reshape(1, 8, 3)
        content = png((8, 1), bits, 3, [row], (b"PLTE", palette))
        yield Exhibit(name=f"png-palette-{bits}", content=content, pixels=colours)
    wide = np.array([[0, 255, 257, 1000, 32768, 40000, 65000, 65535]], dtype=">u2")
    scaled = ((wide.astype(np.int64) * 255 + 32767) // 65535).astype(np.uint8)
    yield Exhibit(name="png-grey-16", content=png((8, 1), 16, 0, [wide.tobytes()]), pixels=as_rgb(scaled))
    wide_rgb = np.stack([wide, wide[:, ::-1], wide], axis=2).astype(">u2")
    scaled_rgb = np.stack([scaled, scaled[:, ::-1], scaled], axis=2)
    # Pillow gives the upper eight of sixteen bits of a colour image, up to one step below the rounded value.
    yield Exhibit(name="png-rgb-16", content=png((8, 1), 16, 2, [wide_rgb.tobytes()]), pixels=scaled_rgb, tolerance=1)
    colours = photo(1, 8)
    yield Exhibit(name="png-rgb-8", content=png((8, 1), 8, 2, [colours.tobytes()]), pixels=colours)
    clear = np.array([[[100, 255], [100, 0], [100, 51], [0, 128]]], dtype=np.uint8)
    on_white = [100, 255, 224, 127]  # value * opacity + 255 * (1 - opacity)
    for bits in (8, 16):
        values = clear if bits == 8 else clear.astype(">u2") * 257
        opaque = as_rgb(np.array([on_white]))
        content = png((4, 1), bits, 4, [values.tobytes()])
        yield Exhibit(name=f"png-grey-alpha-{bits}", content=content, pixels=opaque, tolerance=1)
        rgba = values[..., [0, 0, 0, 1]]
        content = png((4, 1), bits, 6, [rgba.tobytes()])
        yield Exhibit(name=f"png-rgba-{bits}", content=content, pixels=opaque, tolerance=1)
    # Adam7: of an 8 x 8 image the first pass holds one pixel, the second one, the third two, and so on.
    full = grey(8, 8)
    passes = [(0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)]
    rows = [full[y, x::dx].tobytes() for x, y0, dx, dy in passes for y in range(y0, 8, dy)]
    yield Exhibit(name="png-interlaced", content=png((8, 8), 8, 0, rows, interlace=1), pixels=as_rgb(full))
    exif = Image.Exif()
    exif[0x0112] = 6
    turned = saved(photo(), "PNG", exif=exif)
    yield Exhibit(name="png-turned", content=turned, pixels=np.rot90(photo(), -1))
    end = turned.index(b"eXIf") - 4
    length = 12 + int.from_bytes(turned[end : end + 4])
    behind = turned[:end] + turned[end + length : -12] + turned[end : end + length] + turned[-12:]
    yield Exhibit(name="png-turned-behind-the-pixels", content=behind, pixels=np.rot90(photo(), -1))
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    content = saved(frames[0], "PNG", save_all=True, append_images=frames[1:])
    yield Exhibit(name="png-animated", content=content, pixels=flat(RED))
    good = saved(photo(), "PNG")
    yield Exhibit(name="png-cut-in-the-header", content=good[:20], error="is truncated")
    yield Exhibit(name="png-cut-in-the-data", content=good[: len(good) // 2], error="truncated|damaged")
    flipped = bytearray(good)
    flipped[20] ^= 1
    yield Exhibit(name="png-wrong-checksum", content=bytes(flipped), error="damaged")
    yield Exhibit(name="png-without-data", content=good[:33] + good[-12:], error="damaged|truncated")
    yield Exhibit(name="png-of-no-width", content=png((0, 8), 8, 0, []), error="damaged|no pixels")
    yield Exhibit(
        name="png-30000-square", content=png((30000, 30000), 8, 2, []), error="30000 x 30000 pixels; the limit"
    )
    small = png((7900, 7900), 8, 2, [bytes(3000)])
    yield Exhibit(name="png-bomb-below-the-limit", content=small, error="can hardly hold")
    text = zlib.compress(bytes(200_000_000), 9)
    bomb = png((8, 1), 8, 0, [bytes(8)], (b"zTXt", b"Comment\0\0" + text))
    yield Exhibit(name="png-bomb-in-a-comment", content=bomb, error="damaged")
    bomb = png((8, 1), 8, 0, [bytes(8)], (b"iCCP", b"x\0\0" + text))
    yield Exhibit(name="png-bomb-in-a-profile", content=bomb, error="damaged .Decompressed data too large")


def _packed(values: list[int], bits: int) -> bytes:
    """Numbers of so many bits, the first in the highest."""
    joined = "".join(f"{value:0{bits}b}" for value in values)
    return int(joined, 2).to_bytes(len(joined) // 8)


def _transparent() -> Iterator[Exhibit]:
    row = [bytes([0, 100, 200, 100])]
    content = png((4, 1), 8, 0, row, (b"tRNS", struct.pack(">H", 100)))
    expected = as_rgb(np.array([[0, 255, 200, 255]]))
    yield Exhibit(name="png-one-clear-grey", content=content, pixels=expected)
    wide = np.array([[0, 25700, 51400, 25700]], dtype=">u2").tobytes()
    content = png((4, 1), 16, 0, [wide], (b"tRNS", struct.pack(">H", 25700)))
    yield Exhibit(name="png-one-clear-grey-16", content=content, pixels=expected)
    content = png((2, 1), 8, 2, [bytes([*RED, *BLUE])], (b"tRNS", struct.pack(">HHH", *RED)))
    yield Exhibit(name="png-one-clear-colour", content=content, pixels=np.array([[WHITE, BLUE]], dtype=np.uint8))
    palette = (b"PLTE", bytes([*RED, *BLUE, *LIME]))
    content = png((3, 1), 8, 3, [bytes([0, 1, 2])], palette, (b"tRNS", bytes([0, 51])))
    expected = np.array([[WHITE, (204, 204, 255), LIME]], dtype=np.uint8)
    yield Exhibit(name="png-clear-palette", content=content, pixels=expected, tolerance=1)
    hidden = np.dstack([photo(), np.zeros((16, 24), np.uint8)])
    for kind, settings in (("PNG", {}), ("WEBP", {"lossless": True, "exact": True}), ("TIFF", {})):
        content = saved(hidden, kind, **settings)
        yield Exhibit(name=f"{kind.lower()}-hidden-colours", content=content, pixels=flat(WHITE, 16, 24))


def _jpegs() -> Iterator[Exhibit]:
    best: dict[str, Any] = {"quality": 100, "subsampling": 0}
    for name, extra in (
        ("plain", {}),
        ("progressive", {"progressive": True}),
        ("restarts", {"restart_marker_blocks": 1}),
    ):
        yield Exhibit(name=f"jpeg-{name}", content=saved(photo(), "JPEG", **best, **extra), pixels=photo(), tolerance=3)
    half = saved(photo(), "JPEG", quality=95, subsampling=2)
    yield Exhibit(name="jpeg-half-the-colours", content=half, pixels=photo(), tolerance=12)
    yield Exhibit(name="jpeg-grey", content=saved(grey(), "JPEG", quality=100), pixels=as_rgb(grey()), tolerance=2)
    kept = saved(photo(), "JPEG", quality=100, keep_rgb=True)
    yield Exhibit(name="jpeg-rgb-inside", content=kept, pixels=photo(), tolerance=3)
    tiny = saved(photo(1, 1), "JPEG", **best)
    yield Exhibit(name="jpeg-one-pixel", content=tiny, pixels=photo(1, 1), tolerance=3)
    exif = Image.Exif()
    turns = {
        1: photo(), 2: photo()[:, ::-1], 3: photo()[::-1, ::-1], 4: photo()[::-1], 5: photo().swapaxes(0, 1),
        6: np.rot90(photo(), -1), 7: np.rot90(photo(), 2).swapaxes(0, 1), 8: np.rot90(photo()),
    }  # fmt: skip
    for orientation, pixels in turns.items():
        exif[0x0112] = orientation
        content = saved(photo(), "JPEG", **best, exif=exif)
        yield Exhibit(name=f"jpeg-orientation-{orientation}", content=content, pixels=pixels, tolerance=3)
    exif[0x0112] = 99
    yield Exhibit(
        name="jpeg-orientation-99", content=saved(photo(), "JPEG", **best, exif=exif), pixels=photo(), tolerance=3
    )
    for name, block in (("garbage", b"Exif\0\0garbage"), ("promise", b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01")):
        content = saved(photo(), "JPEG", **best, exif=block)
        yield Exhibit(name=f"jpeg-exif-{name}", content=content, pixels=photo(), tolerance=3)
    plain = saved(photo(), "JPEG", **best)
    yield Exhibit(name="jpeg-more-behind", content=plain + b"PK\x03\x04" * 50, pixels=photo(), tolerance=3)
    comment = plain[:2] + b"\xff\xfe" + struct.pack(">H", 60002) + b"x" * 60000 + plain[2:]
    yield Exhibit(name="jpeg-long-comment", content=comment, pixels=photo(), tolerance=3)
    preview = saved(
        Image.fromarray(photo()), "MPO", save_all=True, append_images=[Image.new("RGB", (4, 4))], quality=100
    )
    yield Exhibit(name="jpeg-with-previews", content=preview, pixels=photo(), tolerance=12)
    # Inks as Adobe stores them: upside down. Red is no cyan, all magenta and yellow.
    inks = np.zeros((16, 16, 4), np.uint8)
    inks[..., 1:3] = 255
    inks[8:, :, 3] = 255  # the lower half black
    on_paper = np.concatenate([flat(RED, 8, 16), flat(BLACK, 8, 16)])
    adobe = saved(Image.fromarray(inks, "CMYK"), "JPEG", quality=100)
    yield Exhibit(name="jpeg-cmyk-adobe", content=adobe, pixels=on_paper, tolerance=3)
    ycck = simplejpeg.encode_jpeg(
        np.ascontiguousarray(255 - inks), quality=100, colorspace="CMYK", colorsubsampling="444"
    )
    assert b"Adobe\0d" in ycck
    yield Exhibit(name="jpeg-ycck-adobe", content=ycck, pixels=on_paper, tolerance=3)
    mark = adobe.index(b"\xff\xee")
    bare = adobe[:mark] + adobe[mark + 2 + int.from_bytes(adobe[mark + 2 : mark + 4]) :]
    yield Exhibit(name="jpeg-cmyk-not-inverted", content=bare, pixels=_printed(255 - inks), tolerance=3)


def _printed(inks: Pixels) -> Pixels:
    """(H, W, 4) inks -> (H, W, 3) light, without a profile: what each ink and black let through."""
    through = 1 - inks.astype(np.float64) / 255
    return np.rint(255 * through[..., :3] * through[..., 3:]).astype(np.uint8)


def _broken_jpegs() -> Iterator[Exhibit]:
    noise = np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    good = saved(noise, "JPEG", quality=95)
    for part in (4, 2):
        yield Exhibit(name=f"jpeg-cut-to-1-{part}", content=good[: len(good) // part], error="truncated")
    yield Exhibit(name="jpeg-cut-by-50-bytes", content=good[:-50], error="truncated")
    yield Exhibit(name="jpeg-only-a-start", content=b"\xff\xd8\xff", error="damaged or truncated: its JPEG header")
    yield Exhibit(name="jpeg-nothing-between", content=b"\xff\xd8\xff\xd9", error="JPEG header can't be read|damaged")
    tables = good[: good.index(b"\xff\xc4")] + good[good.index(b"\xff\xda") :]
    assert len(tables) < len(good)
    yield Exhibit(
        name="jpeg-without-huffman-tables", content=good[:2] + good[good.index(b"\xff\xda") :], error="damaged"
    )
    size = good.index(b"\xff\xc0") + 5
    yield Exhibit(
        name="jpeg-of-no-height", content=good[:size] + b"\0\0" + good[size + 2 :], error="damaged|no pixels|truncated"
    )
    claim = good[:size] + struct.pack(">HH", 60000, 1600) + good[size + 4 :]
    yield Exhibit(name="jpeg-claims-96-megapixels", content=claim, error="can hardly hold")
    claim = good[:size] + struct.pack(">HH", 65000, 65000) + good[size + 4 :]
    yield Exhibit(name="jpeg-claims-65000-square", content=claim, error="65000 x 65000 pixels; the limit is 100")
    claim = good[:size] + struct.pack(">HH", 2000, 2000) + good[size + 4 :]
    yield Exhibit(name="jpeg-claims-4-megapixels", content=claim, error="truncated|damaged")
    scans = saved(Image.new("L", (2700, 2700)), "JPEG", progressive=True)
    last = scans[scans.rindex(b"\xff\xda") : -2]
    yield Exhibit(
        name="jpeg-of-1000-scans", content=scans[:-2] + last * 1000 + b"\xff\xd9", error=r"JPEG of 10\d\d scans"
    )
    lossless = good.replace(b"\xff\xc0", b"\xff\xc3", 1)
    yield Exhibit(name="jpeg-of-an-unknown-kind", content=lossless, error="damaged|truncated")


def _profiles() -> Iterator[Exhibit]:
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    other = photo()[..., [1, 0, 2]]
    for kind, settings, tolerance in (
        ("PNG", {}, 2),
        ("TIFF", {}, 2),
        ("WEBP", {"lossless": True}, 2),
        ("JPEG", {"quality": 100, "subsampling": 0}, 8),
    ):
        content = saved(photo(), kind, icc_profile=swapped, **settings)
        yield Exhibit(name=f"{kind.lower()}-red-means-green", content=content, pixels=other, tolerance=tolerance)
    yield Exhibit(name="png-profile-of-srgb", content=saved(photo(), "PNG", icc_profile=srgb), pixels=photo())
    broken = swapped[:200] + bytes(len(swapped) - 200)
    yield Exhibit(name="png-profile-broken", content=saved(photo(), "PNG", icc_profile=broken), pixels=photo())
    yield Exhibit(name="png-profile-of-nothing", content=saved(photo(), "PNG", icc_profile=b"x"), pixels=photo())
    light = profile(b"GRAY", b"mntr", {b"kTRC": b"curv" + bytes(4) + struct.pack(">I", 0)})  # proportional to light
    yield Exhibit(name="png-profile-for-grey", content=saved(photo(), "PNG", icc_profile=light), pixels=photo())
    levels = np.array([[0, 64, 128, 255]], dtype=np.uint8)
    shown = as_rgb(np.array([[0, 137, 188, 255]]))  # IEC 61966-2-1: 255 * (1.055 * (v / 255) ** (1 / 2.4) - 0.055)
    yield Exhibit(name="png-grey-of-light", content=saved(levels, "PNG", icc_profile=light), pixels=shown, tolerance=1)
    yield Exhibit(
        name="jpeg-grey-of-light",
        content=saved(np.full((8, 8), 128, np.uint8), "JPEG", quality=100, icc_profile=light),
        pixels=flat((188, 188, 188), 8, 8),
        tolerance=2,
    )
    half = np.dstack([photo(), np.full((16, 24), 51, np.uint8)])
    on_white = np.rint(other * 0.2 + 255 * 0.8).astype(np.uint8)
    content = saved(half, "PNG", icc_profile=swapped)
    yield Exhibit(name="png-profile-and-alpha", content=content, pixels=on_white, tolerance=2)
    indexed = Image.new("P", (4, 4), 1)
    indexed.putpalette([0, 0, 0, 255, 0, 0])
    content = saved(indexed, "PNG", icc_profile=swapped)
    yield Exhibit(name="png-palette-and-profile", content=content, pixels=flat(LIME), tolerance=2)
    # Inks by which only black darkens the paper: 2 x 2 x 2 x 2 corners of colour, in Lab.
    corners = bytes(value for corner in range(16) for value in (0 if corner % 2 else 255, 128, 128))
    line = bytes(range(256))
    lut = b"mft1" + bytes(4) + bytes([4, 3, 2, 0]) + struct.pack(">9i", 65536, 0, 0, 0, 65536, 0, 0, 0, 65536)
    press = profile(b"CMYK", b"prtr", {b"A2B0": lut + line * 4 + corners + line * 3}, pcs=b"Lab ")
    inks = np.zeros((8, 24, 4), np.uint8)
    inks[..., :3] = 200
    inks[:, 8:16, 3] = 128
    inks[:, 16:, 3] = 255
    greys = np.repeat(as_rgb(np.array([[255, 119, 0]])), 8, axis=1).repeat(8, axis=0)  # L* of 100, 49.8 and 0
    for kind, settings in (("JPEG", {"quality": 100}), ("TIFF", {})):
        content = saved(Image.fromarray(inks, "CMYK"), kind, icc_profile=press, **settings)
        yield Exhibit(name=f"{kind.lower()}-cmyk-of-a-press", content=content, pixels=greys, tolerance=4)


def _gifs() -> Iterator[Exhibit]:
    indexed = Image.fromarray(photo()).quantize(64)
    yield Exhibit(name="gif-plain", content=saved(indexed, "GIF"), pixels=np.asarray(indexed.convert("RGB")))
    content = saved(indexed, "GIF", interlace=1)
    yield Exhibit(name="gif-interlaced", content=content, pixels=np.asarray(indexed.convert("RGB")))
    clear = Image.new("P", (4, 4), 1)
    clear.putpalette([*BLUE, *RED])
    clear.putpixel((0, 0), 0)
    content = saved(clear, "GIF", transparency=0)
    expected = flat(RED)
    expected[0, 0] = 255
    yield Exhibit(name="gif-clear", content=content, pixels=expected)
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE, LIME)]
    animated = saved(frames[0], "GIF", save_all=True, append_images=frames[1:])
    yield Exhibit(name="gif-animated", content=animated, pixels=flat(RED))
    second = animated.index(b",", animated.index(b",") + 1)
    yield Exhibit(name="gif-broken-second-frame", content=animated[: second + 12], pixels=flat(RED))
    plain = saved(indexed, "GIF")
    yield Exhibit(name="gif-cut", content=plain[: len(plain) // 2], error="truncated|damaged")
    yield Exhibit(name="gif-only-a-header", content=plain[:13], error="GIF header can't be read|damaged|truncated")
    huge = plain[:6] + struct.pack("<HH", 65535, 65535) + plain[10:]
    yield Exhibit(name="gif-65535-square", content=huge, error="65535 x 65535 pixels; the limit is 64")
    bomb = plain[:6] + struct.pack("<HH", 7000, 7000) + plain[10:]
    yield Exhibit(name="gif-7000-square", content=bomb, error="can hardly hold")


def _bmps() -> Iterator[Exhibit]:
    plain = saved(photo(), "BMP")
    yield Exhibit(name="bmp-24", content=plain, pixels=photo())
    down = plain[:22] + struct.pack("<i", -16) + plain[26:]
    yield Exhibit(name="bmp-from-the-top", content=down, pixels=photo()[::-1])
    yield Exhibit(name="bmp-8", content=saved(grey(), "BMP"), pixels=as_rgb(grey()))
    bits = grey() > 120
    yield Exhibit(name="bmp-1", content=saved(bits, "BMP"), pixels=as_rgb(bits * 255))
    # Run lengths: 4 times the colour 1, end of line, 2 times 0 and 2 times 1, end of line, end of image; from below.
    runs = bytes([4, 1, 0, 0, 2, 0, 2, 1, 0, 0, 0, 1])
    header = struct.pack("<2sIHHI", b"BM", 14 + 40 + 8 + len(runs), 0, 0, 62)
    header += struct.pack("<IiiHHIIiiII", 40, 4, 2, 1, 8, 1, len(runs), 0, 0, 2, 2)
    rle = header + bytes([*BLUE[::-1], 0, *RED[::-1], 0]) + runs
    expected = np.array([[BLUE, BLUE, RED, RED], [RED] * 4], dtype=np.uint8)
    yield Exhibit(name="bmp-run-lengths", content=rle, pixels=expected)
    yield Exhibit(name="bmp-cut", content=plain[:300], error="truncated|damaged")
    huge = plain[:18] + struct.pack("<ii", 100_000, 100_000) + plain[26:]
    yield Exhibit(name="bmp-100000-square", content=huge, error="100000 x 100000 pixels; the limit is 64")
    claim = plain[:18] + struct.pack("<ii", 5000, 5000) + plain[26:]
    yield Exhibit(name="bmp-claims-25-megapixels", content=claim, error="can hardly hold")
    yield Exhibit(
        name="bmp-of-77-bits", content=plain[:28] + struct.pack("<H", 77) + plain[30:], error="damaged|BMP header"
    )


def _tiffs() -> Iterator[Exhibit]:
    for name, compression in (
        ("plain", None),
        ("lzw", "tiff_lzw"),
        ("deflate", "tiff_adobe_deflate"),
        ("packbits", "packbits"),
    ):
        yield Exhibit(name=f"tiff-{name}", content=saved(photo(), "TIFF", compression=compression), pixels=photo())
    jpeg = saved(photo(), "TIFF", compression="jpeg", quality=100)
    yield Exhibit(name="tiff-jpeg-inside", content=jpeg, pixels=photo(), tolerance=12)
    bits = grey() > 120
    fax = saved(bits, "TIFF", compression="group4")
    yield Exhibit(name="tiff-fax", content=fax, pixels=as_rgb(bits * 255))
    deep = np.array([[0, 257, 32896, 65535]], dtype=np.uint16)
    shown = as_rgb(np.array([[0, 1, 128, 255]]))
    yield Exhibit(name="tiff-16", content=saved(deep, "TIFF"), pixels=shown)
    yield Exhibit(name="tiff-16-big-endian", content=saved(Image.fromarray(deep.astype(">u2")), "TIFF"), pixels=shown)
    fractions = np.array([[0, 1 / 255, 0.5, 1]], dtype=np.float32)
    yield Exhibit(name="tiff-fractions", content=saved(fractions, "TIFF"), pixels=shown)
    yield Exhibit(name="tiff-metres", content=saved(fractions * 812, "TIFF"), error="scale them to 0..1")
    yield Exhibit(name="tiff-not-a-number", content=saved(fractions * np.nan, "TIFF"), error="fractions from nan")
    counts = np.array([[0, 70000]], dtype=np.int32)
    yield Exhibit(name="tiff-70000-photons", content=saved(counts, "TIFF"), error="convert it to uint8")
    red = saved(Image.new("CMYK", (4, 4), (0, 255, 255, 0)), "TIFF")
    yield Exhibit(name="tiff-cmyk", content=red, pixels=flat(RED))
    yield Exhibit(name="tiff-lab", content=saved(Image.new("LAB", (4, 4)), "TIFF"), error="colour mode LAB")
    pages = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    content = saved(pages[0], "TIFF", save_all=True, append_images=pages[1:])
    yield Exhibit(name="tiff-pages", content=content, pixels=flat(RED))
    exif = Image.Exif()
    exif[0x0112] = 8
    yield Exhibit(name="tiff-turned", content=saved(photo(), "TIFF", exif=exif), pixels=np.rot90(photo()))
    lzw = saved(photo(), "TIFF", compression="tiff_lzw")
    yield Exhibit(name="tiff-cut", content=lzw[: len(lzw) // 2], error="truncated|damaged|header")
    data = bytearray(lzw)
    data[20:120] = bytes(100)
    yield Exhibit(name="tiff-broken-lzw", content=bytes(data), error="damaged|truncated")
    endless = b"II*\0\x08\0\0\0" + struct.pack("<H", 0) + struct.pack("<I", 8)
    yield Exhibit(name="tiff-directory-of-itself", content=endless, error="TIFF header|damaged")
    claim = _tiff(7000, 7000)
    yield Exhibit(name="tiff-claims-49-megapixels", content=claim, error="can hardly hold")
    content = _tiff(8, 8, samples=40)
    yield Exhibit(name="tiff-of-40-channels", content=content, error="TIFF header|damaged")
    claim = _tiff(400_000, 400_000)
    yield Exhibit(name="tiff-400000-square", content=claim, error="400000 x 400000 pixels; the limit is 64")


def _tiff(width: int, height: int, samples: int = 1) -> bytes:
    """A grey TIFF with room for a few pixels."""
    tags = (
        (256, width),
        (257, height),
        (258, 8),
        (259, 1),
        (262, 1),
        (273, 200),
        (277, samples),
        (278, height),
        (279, 100),
    )
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    return (b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)).ljust(300, b"\0")


def _webps() -> Iterator[Exhibit]:
    plain = saved(photo(), "WEBP", lossless=True)
    yield Exhibit(name="webp-lossless", content=plain, pixels=photo())
    lossy = saved(photo(), "WEBP", quality=95)
    yield Exhibit(name="webp-lossy", content=lossy, pixels=photo(), tolerance=16)
    frames = [Image.new("RGB", (4, 4), colour) for colour in (RED, BLUE)]
    content = saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True)
    yield Exhibit(name="webp-animated", content=content, pixels=flat(RED))
    yield Exhibit(name="webp-cut", content=plain[: len(plain) // 2], error="truncated|damaged|WebP")
    side = (16383).to_bytes(3, "little")
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + side + side + plain[12:]
    huge = b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WEBP" + body
    yield Exhibit(name="webp-16384-square", content=huge, error="16384 x 16384 pixels; the limit is 64")
    blank = saved(Image.new("RGB", (5000, 5000)), "WEBP", lossless=True)
    yield Exhibit(name="webp-bomb", content=blank, error="can hardly hold")
    if features.check("avif"):
        plain = saved(photo(), "AVIF", quality=100, subsampling="4:4:4")
        yield Exhibit(name="avif-plain", content=plain, pixels=photo(), tolerance=4)
        clear = np.dstack([photo(), np.zeros((16, 24), np.uint8)])
        content = saved(clear, "AVIF", quality=100)
        yield Exhibit(name="avif-clear", content=content, pixels=flat(WHITE, 16, 24), tolerance=1)
        exif = Image.Exif()
        exif[0x0112] = 6
        content = saved(photo(), "AVIF", quality=100, subsampling="4:4:4", exif=exif)
        yield Exhibit(name="avif-turned", content=content, pixels=np.rot90(photo(), -1), tolerance=4)
        yield Exhibit(name="avif-cut", content=plain[: len(plain) - 40], error="truncated|damaged")


def _ppms() -> Iterator[Exhibit]:
    yield Exhibit(name="ppm-colour", content=b"P6 24 16 255\n" + photo().tobytes(), pixels=photo())
    yield Exhibit(name="ppm-grey", content=b"P5 24 16 255\n" + grey().tobytes(), pixels=as_rgb(grey()))
    yield Exhibit(name="ppm-text", content=b"P2 # grey\n3 1 9\n0 3 9\n", pixels=as_rgb(np.array([[0, 85, 255]])))
    expected = as_rgb(np.array([[255, 0, 255, 0, 255, 0, 0, 255]]))
    yield Exhibit(name="ppm-bits", content=b"P4 8 1\n\x56", pixels=expected)
    deep = np.array([[0, 32896, 65535]], dtype=">u2").tobytes()
    yield Exhibit(name="ppm-16", content=b"P5 3 1 65535\n" + deep, pixels=as_rgb(np.array([[0, 128, 255]])))
    yield Exhibit(name="ppm-cut", content=b"P6 24 16 255\n" + bytes(50), error="truncated|damaged")
    yield Exhibit(
        name="ppm-99999-square", content=b"P6 99999 99999 255\n", error="99999 x 99999 pixels; the limit is 64"
    )
    yield Exhibit(name="ppm-of-no-number", content=b"P6 many 16 255\n", error="damaged|not an image|can't be read")


def _no_images() -> Iterator[Exhibit]:
    yield Exhibit(name="empty", content=b"", error="^is empty$")
    unknown = "not an image in a known format"
    for name, content in (
        ("zeros", bytes(5000)),
        ("page", b"<!DOCTYPE html><html>404 not found</html>"),
        ("svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>'),
        ("pdf", b"%PDF-1.7\n"),
        ("postscript", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EOF\n"),
        ("zip", b"PK\x03\x04" + bytes(100)),
        (
            "pickle",
            b"\x80\x04\x95\x1d\0\0\0\0\0\0\0\x8c\x05posix\x94\x8c\x06system\x94\x93\x94\x8c\x02id\x94\x85\x94R\x94.",
        ),
        ("icon", saved(Image.new("RGB", (16, 16)), "ICO")),
        ("jpeg-2000", b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(100)),
        ("photoshop", b"8BPS\0\x01" + bytes(100)),
        ("finder-leftover", b"\0\x05\x16\x07\0\x02\0\0Mac OS X        " + bytes(100)),
    ):
        yield Exhibit(name=f"no-image-{name}", content=content, error=unknown)
    for brand in (b"heic", b"mif1"):
        content = b"\0\0\0\x18ftyp" + brand + bytes(100)
        yield Exhibit(
            name=f"no-image-{brand.decode()}", content=content, error="HEIC image, which can't be read; save it as"
        )
    yield Exhibit(name="no-image-avif", content=b"\0\0\0\x18ftypavif" + bytes(100), error="AVIF image|damaged")


if __name__ == "__main__":
    folder = Path(sys.argv[1])
    folder.mkdir(parents=True, exist_ok=True)
    for exhibit in build_gallery():
        (folder / exhibit.name).write_bytes(exhibit.content)
