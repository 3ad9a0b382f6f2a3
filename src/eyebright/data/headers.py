"""What an image file says about itself before a pixel is decoded: format, mode, size, frames, orientation.

Every file is opened here, by `open_image`: only formats on the list, by content and never by suffix, and only sizes
that can be true and can be borne. Whatever a reader raises leaves as an ImageError.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import logging
import threading
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import PIL
from PIL import Image, UnidentifiedImageError, features

from eyebright.errors import ImageError, printable

MAX_MEGAPIXELS = 100
"""Of a JPEG, an array or a Pillow image."""
MAX_MEGAPIXELS_WHOLE = 64
"""Of a file in another format, which can't be decoded at a reduced scale."""
LARGE = 32_000_000
"""Pixels above which images are decoded one at a time."""
_DOUBTED = 8_000_000
_MAX_EXPANSION = 600
_MAX_SCANS = 20
_MAX_SCANNED = 500_000_000

_HAS_AVIF = "avif" in features.modules and bool(features.check("avif"))
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM", *(("AVIF",) if _HAS_AVIF else ()))
_KNOWN = "JPEG, PNG, GIF, BMP, WebP, TIFF, AVIF or PPM" if _HAS_AVIF else "JPEG, PNG, GIF, BMP, WebP, TIFF or PPM"
_MAGIC = {
    b"\xff\xd8": "JPEG",
    b"\x89PNG": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"II*\x00": "TIFF",
    b"MM\x00*": "TIFF",
}
JPEG_KINDS = ("JPEG", "MPO")
"""MPO is a JPEG with further images behind the first: depth, gain maps, the other eye."""
_BITS = {"1": 1, "I;16": 16, "I;16B": 16, "I;16L": 16, "I": 32, "F": 32}
_ORIENTATION = 0x0112


@dataclass(frozen=True, kw_only=True)
class ImageHeader:
    """What a file says of the image in it; its pixels may still be damaged."""

    format: str
    """"JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "AVIF" or "PPM": of the content, whatever the suffix says."""
    mode: str
    """How the pixels are stored, in Pillow's words: "RGB", "L" (grey), "P" (palette), "RGBA", "CMYK", "I;16", "1" …"""
    width: int
    """In pixels as stored, before the orientation turns them."""
    height: int
    frames: int
    """Pages or frames, at least 1; only the first is used. 1 for a JPEG, whatever previews it carries."""
    orientation: int
    """EXIF's 1 to 8; 1 is upright, and from 5 on width and height change places when the image is turned upright."""
    has_alpha: bool
    """Parts may be transparent, through a fourth channel or a transparent colour."""
    has_profile: bool
    """An ICC colour profile comes along."""


def read_header(content: bytes, name: str) -> ImageHeader:
    """What an image file says about itself, without decoding anything.

    Args:
        content: the whole file.
        name: what to call it in an error.

    Raises:
        ImageError: empty, not an image, damaged in its header, or too large to be decoded.
    """
    with typed_errors(name), open_image(content, name) as image:
        kind = "JPEG" if image.format in JPEG_KINDS else str(image.format)
        orientation = 1 if _surely_upright(image, content) else read_orientation(image)
        size = image.size
        if kind == "TIFF" and orientation >= 5:
            size = size[::-1]  # of a TIFF, Pillow says the size as turned
        has_alpha, has_profile = image.has_transparency_data, bool(image.info.get("icc_profile"))
        return ImageHeader(
            format=kind,
            mode=image.mode,
            width=size[0],
            height=size[1],
            frames=1 if kind == "JPEG" else _count_frames(image),
            orientation=orientation,
            has_alpha=has_alpha,
            has_profile=has_profile,
        )


def open_image(content: bytes, name: str) -> Image.Image:
    """The image with its header read and its pixels not yet; call it within `typed_errors`.

    Raises:
        ImageError: empty, not an image in a known format, or of a size that is not decoded.
    """
    if not content:
        raise ImageError(name, "is empty")
    _silence_pillow_log()
    if content[:4] == b"RIFF" and content[8:12] == b"WEBP":
        _check_file_size(_claimed_webp_size(content), "WEBP", name)  # its reader makes room as soon as it opens
    try:
        image = Image.open(io.BytesIO(content), formats=FORMATS)
    except UnidentifiedImageError:
        raise ImageError(name, _why_not_an_image(content)) from None
    except Image.DecompressionBombError:
        # Pillow's own, higher limit keeps the size to itself; ask the format's reader, which has no limit.
        for kind in FORMATS:
            factory, accepts = Image.OPEN[kind]
            if accepts is None or accepts(content[:16]):
                _check_file_size(factory(io.BytesIO(content), "").size, kind, name)
        raise
    _check_file_size(image.size, image.format, name)
    _check_plausible(image, content, name)
    return image


def check_size(size: tuple[int, int], name: str, limit: int = MAX_MEGAPIXELS) -> None:
    """Refuse an image of (width, height) that has no pixels or more than `limit` million.

    Raises:
        ImageError: it does.
    """
    width, height = size
    if width < 1 or height < 1:
        raise ImageError(name, f"has no pixels ({width} x {height})")
    if width * height > limit * 1_000_000:
        raise ImageError(name, f"has {width} x {height} pixels; the limit is {limit} megapixels")


def _check_file_size(size: tuple[int, int], kind: str | None, name: str) -> None:
    check_size(size, name, MAX_MEGAPIXELS if kind in JPEG_KINDS else MAX_MEGAPIXELS_WHOLE)


def _check_plausible(image: Image.Image, content: bytes, name: str) -> None:
    """Refuse a small file that claims to hold a huge image: a bomb, or a header that was damaged.

    A photo shrinks some 3-fold in a PNG and 20-fold in a JPEG, a blank sheet of paper up to 511-fold in a JPEG. What
    grows more than 600-fold, to over 8 megapixels, holds nothing that is worth the memory. And a JPEG may come in any
    number of scans, each of which costs as much as a pass over the whole image; programs write some 10.
    """
    pixels = image.width * image.height
    bits = _BITS.get(image.mode, 8 * len(image.getbands()))
    if pixels > _DOUBTED and pixels * bits > 8 * _MAX_EXPANSION * len(content):
        raise ImageError(
            name, f"claims {image.width} x {image.height} pixels, which its {len(content)} bytes can hardly hold"
        )
    if image.format in JPEG_KINDS:
        # A scan's mark is two bytes. The second alone is counted in a fifth of the time, and stands in one byte of 256:
        # in all but large images there are too few of it.
        few = len(content) // 256 * pixels <= _MAX_SCANNED and content.count(b"\xda") * pixels <= _MAX_SCANNED
        scans = 0 if few else content.count(b"\xff\xda")
        if scans > _MAX_SCANS and scans * pixels > _MAX_SCANNED:
            raise ImageError(name, f"is a JPEG of {scans} scans, more than any program writes; save it anew")


def _claimed_webp_size(content: bytes) -> tuple[int, int]:
    """Width and height from the first chunk; 1 x 1 where there is none, which the reader then refuses."""
    kind, chunk = content[12:16], content[20:30]
    if len(chunk) < 10:
        return 1, 1
    if kind == b"VP8X":
        return 1 + int.from_bytes(chunk[4:7], "little"), 1 + int.from_bytes(chunk[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(chunk[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    if kind == b"VP8 ":
        return int.from_bytes(chunk[6:8], "little") & 0x3FFF, int.from_bytes(chunk[8:10], "little") & 0x3FFF
    return 1, 1


def _count_frames(image: Image.Image) -> int:
    """At least 1, also where what comes behind the first frame is damaged."""
    try:
        return max(1, int(getattr(image, "n_frames", 1)))
    except Exception:  # the first frame may be well all the same, and Pillow raises nearly anything
        return 1


def _surely_upright(image: Image.Image, content: bytes) -> bool:
    """A PNG without EXIF. Pillow would decode all its pixels in search of EXIF behind them."""
    return image.format == "PNG" and not any(
        mark in content for mark in (b"eXIf", b"Raw profile type exif", b"XML:com.adobe.xmp")
    )


def read_orientation(image: Image.Image) -> int:
    """EXIF's 1 to 8; 1 (upright) where there is none or it makes no sense."""
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # a broken EXIF block does not make the pixels unreadable, and Pillow raises nearly anything
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _why_not_an_image(content: bytes) -> str:
    if content[4:8] == b"ftyp" and content[8:12] in (b"avif", b"avis"):
        return (
            "is a damaged AVIF image"
            if _HAS_AVIF
            else "is an AVIF image, which this Pillow can't read; save it as JPEG"
        )
    if content[4:8] == b"ftyp" and content[8:12] in (b"heic", b"heix", b"heim", b"heis", b"hevc", b"mif1", b"msf1"):
        return "is a HEIC image, which can't be read; save it as JPEG or PNG"
    for magic, kind in _MAGIC.items():
        if content.startswith(magic):
            return f"is damaged or truncated: its {kind} header can't be read"
    return f"is not an image in a known format ({_KNOWN})"


@contextlib.contextmanager
def typed_errors(name: str) -> Iterator[None]:
    """Whatever a decoder raises becomes an ImageError, and what it warns of is not shown."""
    try:
        with _quiet_pillow():
            yield
    except ImageError:
        raise
    except MemoryError:
        raise ImageError(name, "needs more memory than there is") from None
    except Image.DecompressionBombError:
        raise ImageError(name, f"has too many pixels; the limit is {MAX_MEGAPIXELS} megapixels") from None
    except Exception as error:  # Pillow's decoders raise OSError, SyntaxError, struct.error, KeyError, and more
        if "truncated" in str(error).lower():
            raise ImageError(name, "is truncated") from None
        detail = printable(str(error))[:120] or type(error).__name__
        raise ImageError(name, f"is damaged ({detail})") from None


_quiet_lock = threading.Lock()
_quiet_threads = 0


@contextlib.contextmanager
def _quiet_pillow() -> Iterator[None]:
    """Ignore Pillow's warnings, and only those, while any thread is in here.

    `warnings.catch_warnings` swaps the whole list of filters, which threads would restore in the wrong order;
    this puts one filter in and takes the same one out.
    """
    global _quiet_threads
    filters = cast("list[Any]", warnings.filters)
    with _quiet_lock:
        _quiet_threads += 1
        warnings.filterwarnings("ignore", module=r"PIL\.")
        ours = filters[0]
    try:
        yield
    finally:
        with _quiet_lock:
            _quiet_threads -= 1
            if _quiet_threads == 0:
                filters = cast("list[Any]", warnings.filters)
                filters[:] = [entry for entry in filters if entry != ours]


@functools.cache
def _silence_pillow_log() -> None:
    """Where nobody set up logging, Python would print what Pillow logs of a damaged file; who did still gets it."""
    logging.getLogger("PIL").addHandler(logging.NullHandler())


@functools.cache
def silence_libtiff() -> None:
    """Keep libtiff from writing to the terminal what it thinks of a damaged file; Pillow raises its own error anyway.

    Pillow turns off libtiff's warnings, but not its error messages. The library that Pillow brought along is asked to
    do without; where it is not found, the messages stay.
    """
    parts = Path(PIL.__file__).parent
    for folder, pattern in ((parts.parent / "pillow.libs", "libtiff*"), (parts / ".dylibs", "libtiff*")):
        for path in folder.glob(pattern) if folder.is_dir() else ():
            with contextlib.suppress(OSError, AttributeError):
                ctypes.CDLL(str(path)).TIFFSetErrorHandler(None)
