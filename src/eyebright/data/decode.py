"""The one decode function: image files, bytes, Pillow images and arrays -> uint8 RGB.

Every image of every command comes through here, so training and prediction can't see it differently.
What is in a file decides, never its suffix. Headers are checked before a pixel is allocated, and whatever a
decoder raises leaves as an ImageError. Colours are sRGB, whatever profile the file brings. Shapes: H x W pixels.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import stat
import threading
from pathlib import Path
from typing import Any, cast

import numpy as np
import simplejpeg
from numpy.typing import NDArray
from PIL import Image, ImageChops
from PIL.JpegImagePlugin import JpegImageFile

from eyebright.data.headers import (
    JPEG_KINDS,
    LARGE,
    check_size,
    open_image,
    read_orientation,
    silence_libtiff,
    typed_errors,
)
from eyebright.data.profiles import convert_array_to_srgb, convert_to_srgb
from eyebright.errors import ImageError
from eyebright.preprocess import IN_COLOUR

MAX_FILE_BYTES = 1 << 30

ARRAY_CHANNELS = (1, 3, 4)
"""Of arrays that are pictures: grey, colour, colour with opacity."""

_STRIP_PIXELS = 1 << 20
_PLAIN_MODES = frozenset({"1", "L", "LA", "La", "P", "PA", "RGB", "RGBA", "RGBa", "RGBX", "CMYK", "YCbCr", "HSV"})


def decode(content: bytes, name: str, *, short_side: int = 0) -> NDArray[np.uint8]:
    """An image file's bytes -> (H, W, 3) uint8 RGB, upright as its EXIF orientation says.

    Transparent parts become white, 16-bit values are scaled to 8 bits, colour profiles are converted to sRGB, and of
    several frames or pages the first counts (`headers.read_header` says how many there are).

    Args:
        content: the whole file.
        name: what to call it in an error.
        short_side: how many pixels of the shorter side are needed. A JPEG is decoded at 1/2, 1/4 or 1/8 of its size,
            whichever is the smallest that still has as many; all other formats at full size. 0: always at full size.

    Raises:
        ImageError: empty, not an image, truncated, damaged, or too large: over 100 megapixels (64 if it is no JPEG),
            or over 8 where the file is too small to hold them.
    """
    with typed_errors(name):
        image = open_image(content, name)
        if image.format in JPEG_KINDS:
            return _decode_jpeg(image, content, short_side, name)
        with _alone_if_large(image.width * image.height):
            return _pixels(image, name)


def decode_array(array: NDArray[Any], name: str, *, channels: int = 3) -> NDArray[np.uint8]:
    """(H, W), (H, W, 1), (H, W, 3) or (H, W, 4) -> (H, W, 3) uint8 RGB; the fourth channel is opacity, over white.

    Values: uint8 or other whole numbers in [0, 255], uint16 over its full range, floats in [0, 1], or booleans.

    Args:
        array: the image.
        name: what to call it in an error.
        channels: of the network that it is for. Where that is neither 1 nor 3, as for pictures taken in several bands,
            the array must have as many, and they pass through: (H, W, C) -> (H, W, C) uint8.

    Raises:
        ImageError: another shape, or values out of range.
    """
    shape = array.shape
    if array.ndim == 2:
        array = array[..., None]
    if channels not in IN_COLOUR:
        if array.ndim != 3 or array.shape[2] != channels or array.size == 0:
            raise ImageError(name, f"has shape {shape}; the network takes (height, width, {channels})")
        check_size((array.shape[1], array.shape[0]), name)
        return np.ascontiguousarray(_eight_bit(array, name))
    if array.ndim != 3 or array.shape[2] not in (1, 3, 4):
        hint = "; move the channels last: array.transpose(1, 2, 0)" if len(shape) == 3 and shape[0] in (1, 3, 4) else ""
        raise ImageError(name, f"has shape {shape}; an image is (height, width) or (height, width, 1, 3 or 4){hint}")
    if array.size == 0:
        raise ImageError(name, f"has shape {shape} and so no pixels")
    check_size((array.shape[1], array.shape[0]), name)
    pixels = _eight_bit(array, name)
    if pixels.shape[2] == 4:
        return np.array(_on_white(Image.fromarray(pixels)))
    return np.ascontiguousarray(np.broadcast_to(pixels, (*pixels.shape[:2], 3)))


def decode_for_show(array: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """An array of any number of channels -> (H, W, 3) uint8 RGB, for looking at it: of many, the first three.

    Raises:
        ImageError: it is no image, or values are out of range.
    """
    if array.ndim == 3 and array.shape[2] > 1 and array.shape[2] not in ARRAY_CHANNELS:
        array = array[..., : 3 if array.shape[2] > 3 else 1]
    return decode_array(array, name)


def decode_content(content: bytes | NDArray[Any], name: str, *, channels: int, short_side: int) -> NDArray[np.uint8]:
    """What a store holds -> (H, W, 3), or (H, W, channels) where that is neither 1 nor 3.

    Args:
        content: an image file's bytes, or an array.
        name: what to call it in an error.
        channels: see `decode_array`.
        short_side: see `decode`.

    Raises:
        ImageError: see there; or a file, for a network that takes as many channels as none has.
    """
    if not isinstance(content, bytes):
        return decode_array(content, name, channels=channels)
    _require_colour(channels, name)
    return decode(content, name, short_side=short_side)


def _require_colour(channels: int, name: str) -> None:
    if channels not in IN_COLOUR:
        raise ImageError(name, f"is an image in colour; the network takes arrays of {channels} channels")


def decode_anything(
    image: object, name: str | None = None, *, short_side: int = 0, channels: int = 3
) -> NDArray[np.uint8]:
    """A path, a file's bytes, a Pillow image or an array -> (H, W, 3) uint8 RGB; the same pixels for each.

    With a `short_side`, a JPEG comes at a reduced scale, bitwise the same as a path, as bytes, and as a Pillow image
    that is not loaded yet. An array, or a Pillow image that was loaded, was decoded at full size by someone else and
    stays so: resized to the same size, its pixels then differ by some 0.4 of 255 on average where `short_side` is
    twice that size (measured on photos of TrashNet; by 1 where it is just that size).

    Args:
        image: the image; arrays as `decode_array` takes them. Anything else is refused by name.
        name: what to call it in an error; a path is its own name.
        short_side: as in `decode`.
        channels: as in `decode_array`.

    Raises:
        ImageError: it can't be read, or it is nothing of these.
    """
    if not isinstance(image, np.ndarray):
        _require_colour(channels, name or "image")
    if isinstance(image, str | os.PathLike):
        path = os.fsdecode(image)
        return decode(read_file(path, name or path), name or path, short_side=short_side)
    if isinstance(image, bytes | bytearray | memoryview):
        return decode(bytes(image), name or "image from bytes", short_side=short_side)
    if isinstance(image, Image.Image):
        name = name or str(getattr(image, "filename", "")) or "Pillow image"
        with typed_errors(name):
            check_size(image.size, name)
            content = _unloaded_jpeg(image)
            if content is not None:
                return _decode_jpeg(image, content, short_side, name)
            with _alone_if_large(image.width * image.height):
                return _pixels(image, name)
    if isinstance(image, np.ndarray):
        return decode_array(image, name or "array", channels=channels)
    kind = f"{type(image).__module__}.{type(image).__qualname__}"
    hint = "; turn a tensor into an array of (height, width, channels) first" if kind.startswith("torch.") else ""
    raise ImageError(name or "image", f"is a {kind}; give a path, bytes, a Pillow image or a NumPy array{hint}")


def read_file(path: str | Path, name: str) -> bytes:
    """A file's bytes.

    Raises:
        ImageError: it is absent, a folder, a pipe or device, larger than 1 GiB, or can't be read.
    """
    try:
        found = os.stat(path)
        if stat.S_ISDIR(found.st_mode):
            raise ImageError(name, "is a folder, not an image")
        if not stat.S_ISREG(found.st_mode):
            raise ImageError(name, "is a pipe or device, not a file")  # reading it might never end
        if found.st_size > MAX_FILE_BYTES:
            raise ImageError(name, f"has {found.st_size / 1e9:.1f} GB; the limit for one image is 1 GiB")
        with open(path, "rb") as file:
            return file.read()
    except FileNotFoundError:
        raise ImageError(name, "does not exist") from None
    except PermissionError:
        raise ImageError(name, "can't be opened: no permission") from None
    except OSError as error:
        reason = "links to itself" if error.errno == errno.ELOOP else (error.strerror or type(error).__name__).lower()
        raise ImageError(name, f"can't be opened: {reason}") from None
    except ValueError:  # a null character in the path
        raise ImageError(name, "is no possible file name") from None


def _decode_jpeg(image: Image.Image, content: bytes, short_side: int, name: str) -> NDArray[np.uint8]:
    """(H, W, 3), upright, reduced as far as `short_side` allows; `image` is only opened, and left as it is."""
    scale = _jpeg_scale(image.size, short_side)
    # A progressive one is held whole in memory while it is decoded, whatever its scale.
    held = image.width * image.height // (1 if image.info.get("progressive") else scale * scale)
    with _alone_if_large(held):
        pixels = _decode_jpeg_fast(content, image.size, scale, name) if image.mode in ("RGB", "L") else None
        if pixels is None:
            again = open_image(content, name)
            if scale > 1:
                again.draft(again.mode, (max(1, again.width // scale), max(1, again.height // scale)))
            pixels = _cut_to_size(_pixels(again, name, 1), image.size, scale)
            return _upright(pixels, read_orientation(image))
    pixels = _cut_to_size(pixels, image.size, scale)
    profile = image.info.get("icc_profile")
    if image.mode == "RGB":
        pixels = convert_array_to_srgb(pixels, profile)
    elif profile is not None:
        grey = np.asarray(convert_to_srgb(Image.fromarray(pixels[..., 0].copy()), profile))
        pixels = np.repeat(grey[..., None], 3, axis=2)
    return _upright(pixels, read_orientation(image))


def _jpeg_scale(size: tuple[int, int], short_side: int) -> int:
    """8, 4 or 2, the largest by which the shorter side can be divided and still has `short_side` pixels; else 1."""
    if short_side > 0:
        for scale in (8, 4, 2):
            if (min(size) + scale // 2) // scale >= short_side:
                return scale
    return 1


def _cut_to_size(pixels: NDArray[np.uint8], size: tuple[int, int], scale: int) -> NDArray[np.uint8]:
    """A JPEG as decoded at 1/scale -> rounded to whole pixels without a shift.

    Its last row and column may lie partly beyond the image: 505 pixels at 1/8 are 64, of which the last is 1/8 image.
    Taken for an image of 64 pixels it would be squeezed, and every pixel off by more than the reduction itself does.
    """
    width, height = size[0] / scale, size[1] / scale
    if pixels.shape[:2] == (height, width):
        return pixels
    whole = (max(1, int(width + 0.5)), max(1, int(height + 0.5)))
    return np.array(Image.fromarray(pixels).resize(whole, Image.Resampling.BILINEAR, box=(0, 0, width, height)))


def _decode_jpeg_fast(content: bytes, size: tuple[int, int], scale: int, name: str) -> NDArray[np.uint8] | None:
    """(H, W, 3), or None where the fast decoder finds something odd that Pillow may still read."""
    try:
        height, width, _, _ = simplejpeg.decode_jpeg_header(content)
        if (width, height) != size:  # two headers; let the stricter reader judge
            return None
        reduced = (-(-height // scale), -(-width // scale)) if scale > 1 else (0, 0)
        return cast(
            "NDArray[np.uint8]",
            simplejpeg.decode_jpeg(
                content, "RGB", min_height=reduced[0], min_width=reduced[1], min_factor=float(scale)
            ),
        )
    except ValueError as error:
        # Stray bytes between segments are common and harmless; missing ones are neither.
        if "premature end" in str(error).lower():
            raise ImageError(name, "is truncated") from None
        return None


def _unloaded_jpeg(image: Image.Image) -> bytes | None:
    """The file behind a JPEG that Pillow opened and that nobody loaded, reduced or turned a page of; else None."""
    if not isinstance(image, JpegImageFile) or image.tell() != 0 or not image.tile:
        return None
    file = image.fp
    if file is None or image.tile[0].extents != (0, 0, *image.size):
        return None
    try:
        before = file.tell()
        file.seek(0)
        content = file.read()
        file.seek(before)
        with Image.open(io.BytesIO(content), formats=JPEG_KINDS) as again:
            return content if again.size == image.size and again.mode == image.mode else None
    except (OSError, ValueError):
        return None


def _pixels(image: Image.Image, name: str, orientation: int = 0) -> NDArray[np.uint8]:
    """A Pillow image of any mode -> (H, W, 3), upright by its own orientation or the one given."""
    if image.format == "TIFF":
        silence_libtiff()
    image.load()
    orientation = orientation or read_orientation(image)  # after loading: Pillow turns TIFFs itself while it loads them
    if image.mode in ("I", "F") and not _holds_sixteen_bits(image):
        return _upright(decode_array(np.asarray(image), name), orientation)  # as a whole: its range decides
    if image.mode not in _PLAIN_MODES and not _holds_sixteen_bits(image):
        raise ImageError(name, f"has colour mode {image.mode}, which can't be read; save it as RGB")
    pixels = np.empty((image.height, image.width, 3), dtype=np.uint8)
    rows = max(1, _STRIP_PIXELS // image.width)  # strip by strip, for no second copy of a large image
    for top in range(0, image.height, rows):
        bottom = min(top + rows, image.height)
        strip = image if bottom - top == image.height else image.crop((0, top, image.width, bottom))
        if _holds_sixteen_bits(image):
            pixels[top:bottom] = _eight_bit(_sixteen_bit(strip), name)[..., None]
        else:
            pixels[top:bottom] = _on_white(_in_srgb(strip, inverted=_inks_are_inverted(image)))
    return _upright(pixels, orientation)


def _holds_sixteen_bits(image: Image.Image) -> bool:
    """A grey image of 16 bits, which Pillow holds for some formats as 32."""
    return image.mode.startswith("I;16") or (image.mode == "I" and image.format in ("PPM", "PNG"))


def _sixteen_bit(image: Image.Image) -> NDArray[np.uint16]:
    """(H, W); the one value that a PNG may declare transparent becomes white."""
    values: NDArray[np.uint16] = np.asarray(image).clip(0, 65535).astype(np.uint16)
    transparent = image.info.get("transparency")
    if isinstance(transparent, int):
        values[values == transparent] = 65535
    return values


def _inks_are_inverted(image: Image.Image) -> bool:
    """Pillow takes the inks of every JPEG as Adobe stores them, upside down; only those with Adobe's mark are."""
    return image.format in JPEG_KINDS and image.mode == "CMYK" and "adobe" not in image.info


def _in_srgb(image: Image.Image, *, inverted: bool) -> Image.Image:
    """A Pillow image of a plain mode, loaded -> L, RGB or RGBA."""
    profile = image.info.get("icc_profile")
    if image.mode == "CMYK":
        return convert_to_srgb(ImageChops.invert(image) if inverted else image, profile)
    if not image.has_transparency_data:
        wanted = "L" if image.mode in ("1", "L") else "RGB"
        return convert_to_srgb(image if image.mode == wanted else image.convert(wanted), profile)
    clear = (image.convert("LA") if image.mode == "La" else image).convert("RGBA")
    if profile is None:
        return clear
    colours = convert_to_srgb(clear.convert("RGB"), profile)
    colours.putalpha(clear.getchannel("A"))
    return colours


def _on_white(image: Image.Image) -> NDArray[np.uint8]:
    """L, RGB or RGBA -> (H, W, 3), or (H, W, 1) if grey."""
    if image.mode == "L":
        return np.asarray(image)[..., None]
    if image.mode != "RGBA":
        return np.asarray(image)
    white = Image.new("RGB", image.size, (255, 255, 255))
    white.paste(image, mask=image)
    return np.asarray(white)


def _eight_bit(values: NDArray[Any], name: str) -> NDArray[np.uint8]:
    """Any numbers that can be pixels -> uint8 of the same shape."""
    if values.dtype == np.uint8:
        return values
    if values.dtype == np.bool_:
        return values.astype(np.uint8) * np.uint8(255)
    if values.dtype.kind == "u" and values.dtype.itemsize == 2:  # of either byte order
        return ((values.astype(np.uint32) + 128) // 257).astype(np.uint8)
    low, high = value_range(values, name)
    if np.issubdtype(values.dtype, np.floating):
        if not (low >= 0 and high <= 1):
            raise ImageError(name, f"holds fractions from {low:g} to {high:g}; scale them to 0..1, or convert to uint8")
        return (values.astype(np.float32) * np.float32(255) + np.float32(0.5)).astype(np.uint8)
    if not (low >= 0 and high <= 255):
        raise ImageError(name, f"holds {values.dtype} from {low:g} to {high:g}; convert it to uint8 (0..255) or uint16")
    return values.astype(np.uint8)


def value_range(values: NDArray[Any], name: str) -> tuple[float, float]:
    """The smallest and largest number; NaN where any is NaN.

    Raises:
        ImageError: these are no real numbers.
    """
    if values.dtype.kind not in "iuf":
        raise ImageError(name, f"holds {values.dtype} values; pixels are uint8, uint16, bool, or floats from 0 to 1")
    return float(values.min()), float(values.max())


def _upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """(H, W, 3) as stored -> as the camera was held; 5 to 8 swap H and W. EXIF 2.3, tag 0x0112."""
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    return np.ascontiguousarray(pixels)


_one_large = threading.Lock()


def _alone_if_large(pixels: int) -> contextlib.AbstractContextManager[Any]:
    """Large images wait for each other, so that a thread for each CPU can't need half a GB for each CPU."""
    return _one_large if pixels > LARGE else contextlib.nullcontext()
