from __future__ import annotations

import io
import struct
import subprocess
import sys
import threading
import time
import warnings
import zlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from PIL.PngImagePlugin import PngImageFile

from eyebright.data.decode import decode, decode_anything, decode_array
from eyebright.errors import ImageError

Encode = Callable[..., bytes]
FORMATS = ("JPEG", "PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM")
SHARED = Path(__file__).resolve().parents[3] / "shared"


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def noise(height: int = 37, width: int = 53, channels: int = 3) -> np.ndarray[Any, np.dtype[np.uint8]]:
    return np.random.default_rng(0).integers(0, 256, (height, width, channels), dtype=np.uint8)


def png_of_claimed_size(width: int, height: int) -> bytes:
    """A PNG that says how large it is and holds next to nothing."""

    def chunk(kind: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = zlib.compress(bytes(1000))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", body) + chunk(b"IEND", b"")


def decoded_or_refused(content: bytes, name: str) -> np.ndarray[Any, np.dtype[np.uint8]] | ImageError:
    try:
        return decode(content, name)
    except ImageError as error:
        return error


# What is readable


@pytest.mark.parametrize("kind", ["PNG", "BMP", "TIFF", "PPM"])
def test_a_lossless_format_gives_back_the_same_pixels(kind: str) -> None:
    pixels = noise()
    assert np.array_equal(decode(saved(Image.fromarray(pixels), kind), "x"), pixels)


@pytest.mark.parametrize("progressive", [False, True])
@pytest.mark.parametrize("subsampling", [0, 1, 2])
def test_the_fast_jpeg_decoder_gives_exactly_pillows_pixels(subsampling: int, progressive: bool) -> None:
    content = saved(Image.fromarray(noise()), "JPEG", subsampling=subsampling, progressive=progressive)
    assert np.array_equal(decode(content, "x"), np.asarray(Image.open(io.BytesIO(content))))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "BMP", "TIFF", "PPM"])
def test_a_grey_image_has_three_equal_channels(encode: Encode, kind: str) -> None:
    pixels = decode(encode("L", kind), "x")
    assert pixels.shape == (16, 24, 3)
    assert pixels.dtype == np.uint8
    assert (pixels == pixels[..., :1]).all()
    assert len(np.unique(pixels)) > 10


@pytest.mark.parametrize("mode", ["1", "P"])
def test_palette_and_bilevel_images_become_rgb(encode: Encode, mode: str) -> None:
    content = encode(mode, "PNG")
    expected = np.asarray(Image.open(io.BytesIO(content)).convert("RGB"))
    assert np.array_equal(decode(content, "x"), expected)


def test_transparent_parts_become_white() -> None:
    pixels = np.zeros((4, 4, 4), dtype=np.uint8)
    pixels[:2, :, 3] = 255  # the upper half opaque black, the lower transparent black
    pixels[3, :, 3] = 51  # a fifth opaque
    decoded = decode(saved(Image.fromarray(pixels), "PNG"), "x")
    assert (decoded[:2] == 0).all()
    assert (decoded[2] == 255).all()
    assert (decoded[3] == 204).all()


@pytest.mark.parametrize("mode", ["LA", "P"])
def test_transparency_of_grey_and_palette_images_becomes_white_too(mode: str) -> None:
    image = Image.new(mode, (3, 2), 0)
    content = saved(image, "PNG") if mode == "LA" else saved(image, "PNG", transparency=0)
    assert (decode(content, "x") == 255).all()


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_cmyk_is_converted(kind: str) -> None:
    content = saved(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), kind)  # no cyan, all magenta and yellow: red
    red, green, blue = decode(content, "x")[8, 8].tolist()
    assert red > 200
    assert max(green, blue) < 60


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "PPM"])
def test_sixteen_bits_are_scaled_and_not_clipped(kind: str) -> None:
    values = np.array([[0, 255, 257, 32768, 65280, 65535]], dtype=np.uint16)
    assert decode(saved(Image.fromarray(values), kind), "x")[0, :, 0].tolist() == [0, 1, 1, 128, 254, 255]


def test_a_float_tiff_is_scaled_or_refused() -> None:
    fractions = saved(Image.fromarray(np.array([[0.0, 0.5, 1.0]], dtype=np.float32)), "TIFF")
    assert decode(fractions, "x")[0, :, 0].tolist() == [0, 128, 255]
    metres = saved(Image.fromarray(np.array([[0.0, 812.5]], dtype=np.float32)), "TIFF")
    with pytest.raises(ImageError, match=r"from 0 to 812\.5; scale them"):
        decode(metres, "x")


def test_a_32_bit_tiff_is_read_where_it_fits_and_refused_where_not() -> None:
    assert decode(saved(Image.fromarray(np.array([[0, 255]], dtype=np.int32)), "TIFF"), "x")[0, 1, 0] == 255
    with pytest.raises(ImageError, match="convert it to uint8"):
        decode(saved(Image.fromarray(np.array([[0, 70000]], dtype=np.int32)), "TIFF"), "x")


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
def test_of_an_animation_the_first_frame_counts(kind: str) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue", "lime")]
    extra = {"lossless": True} if kind == "WEBP" else {}
    content = saved(frames[0], kind, save_all=True, append_images=frames[1:], **extra)
    assert decode(content, "x")[4, 4].tolist() == [255, 0, 0]


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_honoured(kind: str, orientation: int) -> None:
    image = Image.fromarray(noise())
    image.getexif()[0x0112] = orientation
    content = saved(image, kind, exif=image.getexif())
    expected = ImageOps.exif_transpose(Image.open(io.BytesIO(content)))
    assert np.array_equal(decode(content, "x"), np.asarray(expected))
    assert decode(content, "x").shape == ((53, 37, 3) if orientation >= 5 else (37, 53, 3))


@pytest.mark.parametrize("exif", [b"Exif\x00\x00garbage", b"Exif\x00\x00II*\x00\xff\xff\xff\xff", b"Exif\x00\x00"])
def test_a_broken_exif_block_does_not_make_an_image_unreadable(exif: bytes) -> None:
    content = saved(Image.fromarray(noise()), "JPEG", exif=exif)
    assert decode(content, "x").shape == (37, 53, 3)


def test_the_content_decides_and_not_the_suffix(tmp_path: Path, encode: Encode) -> None:
    path = tmp_path / "really-a-png.jpg"
    path.write_bytes(encode("RGB", "PNG"))
    assert np.array_equal(decode_anything(path), decode(encode("RGB", "PNG"), "x"))


def test_stray_bytes_before_the_end_of_a_jpeg_are_harmless() -> None:
    content = saved(Image.fromarray(noise()), "JPEG")
    assert np.array_equal(decode(content[:-2] + bytes(7) + content[-2:], "x"), decode(content, "x"))


# At a reduced scale


def large_jpeg(mode: str = "RGB", **settings: Any) -> bytes:
    """330 x 250, of coarse and fine detail."""
    coarse = Image.fromarray(noise(25, 33)).resize((330, 250), Image.Resampling.BICUBIC)
    mixed = np.asarray(coarse).astype(int) * 3 // 4 + noise(250, 330) // 4
    return saved(Image.fromarray(mixed.astype(np.uint8)).convert(mode), "JPEG", quality=90, **settings)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize(
    ("short_side", "shape"),
    [(0, (250, 330)), (251, (250, 330)), (126, (250, 330)), (125, (125, 165)), (64, (125, 165)), (63, (63, 83)),
     (32, (63, 83)), (31, (31, 41)), (1, (31, 41))],
)  # fmt: skip
def test_a_jpeg_is_reduced_as_far_as_its_shorter_side_allows(
    mode: str, short_side: int, shape: tuple[int, int]
) -> None:
    assert decode(large_jpeg(mode), "x", short_side=short_side).shape == (*shape, 3)


@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
@pytest.mark.parametrize("short_side", [0, 100, 60, 20])
@pytest.mark.parametrize("settings", [{}, {"progressive": True}, {"subsampling": 0}])
def test_a_reduced_jpeg_is_the_same_as_path_bytes_and_pillow_image(
    tmp_path: Path, mode: str, short_side: int, settings: dict[str, Any]
) -> None:
    path = tmp_path / "large.jpg"
    path.write_bytes(large_jpeg(mode, **({} if mode == "L" else settings)))
    expected = decode(path.read_bytes(), "x", short_side=short_side)
    assert np.array_equal(decode_anything(path, short_side=short_side), expected)
    with Image.open(path) as image:
        assert np.array_equal(decode_anything(image, short_side=short_side), expected)
        assert image.size == (330, 250)
        assert image.tile  # the caller's image is neither reduced nor loaded
        image.load()
        assert np.array_equal(decode_anything(image, short_side=short_side), decode_anything(path))


def test_a_reduced_jpeg_is_turned_and_coloured_as_the_whole_one() -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    whole = decode(large_jpeg(), "x", short_side=100)
    assert np.array_equal(decode(large_jpeg(exif=exif), "x", short_side=100), np.rot90(whole, -1))
    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    swapped = srgb.replace(b"rXYZ", b"????", 1).replace(b"gXYZ", b"rXYZ", 1).replace(b"????", b"gXYZ", 1)
    content = large_jpeg(icc_profile=swapped)
    other = decode(content, "x", short_side=100)[..., [1, 0, 2]]
    assert np.abs(other.astype(int) - whole).max() <= 2
    with Image.open(io.BytesIO(content)) as image:
        assert np.array_equal(decode_anything(image, short_side=100), decode(content, "x", short_side=100))


@pytest.mark.parametrize("subsampling", [0, 2])
def test_reduced_and_then_resized_differs_little_from_resized_alone(subsampling: int) -> None:
    content = large_jpeg(subsampling=subsampling)

    def resized(pixels: np.ndarray[Any, np.dtype[np.uint8]]) -> np.ndarray[Any, np.dtype[np.int64]]:
        return np.asarray(Image.fromarray(pixels).resize((40, 30), Image.Resampling.BILINEAR)).astype(np.int64)

    whole = resized(decode(content, "x"))
    twice, once = (resized(decode(content, "x", short_side=side)) for side in (60, 30))
    assert 0 < np.abs(twice - whole).mean() < np.abs(once - whole).mean()
    assert np.abs(twice - whole).mean() < 3  # of 255, in a picture of which a quarter is noise
    assert abs((twice - whole).mean()) < 0.2  # neither lighter nor darker


@pytest.mark.parametrize("kind", ["PNG", "WEBP", "TIFF"])
def test_other_formats_come_at_full_size_whatever_is_needed(kind: str) -> None:
    content = saved(Image.fromarray(noise(64, 64)), kind)
    assert np.array_equal(decode(content, "x", short_side=4), decode(content, "x"))


def test_a_jpeg_that_the_caller_reduced_or_turned_a_page_of_stays_so() -> None:
    image = Image.open(io.BytesIO(large_jpeg()))
    image.draft("RGB", (165, 125))
    assert decode_anything(image, short_side=20).shape == (125, 165, 3)
    pages = [Image.new("RGB", (64, 64), colour) for colour in ("red", "blue")]
    stereo = Image.open(io.BytesIO(saved(pages[0], "MPO", save_all=True, append_images=pages[1:])))
    assert decode_anything(stereo, short_side=20).shape == (32, 32, 3)
    stereo.seek(1)
    assert decode_anything(stereo, short_side=20)[0, 0, 2] > 200
    changed = Image.open(io.BytesIO(large_jpeg()))
    changed.paste((0, 0, 0), (0, 0, 330, 250))
    assert not decode_anything(changed, short_side=20).any()


def test_large_images_are_decoded_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(Image.fromarray(noise(64, 64)), "PNG")
    running, most = 0, []
    load = PngImageFile.load

    def slow(image: PngImageFile) -> Any:
        nonlocal running
        running += 1
        most.append(running)
        time.sleep(0.02)
        running -= 1
        return load(image)

    monkeypatch.setattr("PIL.PngImagePlugin.PngImageFile.load", slow)
    for limit, together in ((10, False), (1_000_000, True)):
        most.clear()
        monkeypatch.setattr("eyebright.data.decode.LARGE", limit)
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(lambda _: decode(content, "x"), range(8)))
        assert (max(most) > 1) == together


@pytest.mark.parametrize("mode", ["RGB", "L", "P", "I;16", "RGBA", "1"])
def test_an_image_of_several_strips_is_the_same_as_in_one(monkeypatch: pytest.MonkeyPatch, mode: str) -> None:
    if mode == "I;16":
        content = saved(Image.fromarray(np.arange(37 * 53, dtype=np.uint16).reshape(37, 53) * 30), "PNG")
    else:
        content = saved(Image.fromarray(noise(37, 53, 4 if mode == "RGBA" else 3)).convert(mode), "PNG")
    whole = decode(content, "x")
    monkeypatch.setattr("eyebright.data.decode._STRIP_PIXELS", 53 * 10)
    assert np.array_equal(decode(content, "x"), whole)
    assert len(np.unique(whole)) > 1


@pytest.mark.slow
def test_a_large_honest_photo_is_read_in_every_format() -> None:
    tile = np.asarray(Image.open(io.BytesIO(large_jpeg())))
    photo = Image.fromarray(np.tile(tile, (40, 31, 1))[:9999, :9999])
    content = saved(photo, "JPEG", quality=85)
    assert decode(content, "x", short_side=512).shape == (1250, 1250, 3)
    assert decode(content, "x").shape == (9999, 9999, 3)
    content = saved(photo.crop((0, 0, 8000, 6250)), "PNG", compress_level=1)  # 50 megapixels
    assert decode(content, "x").shape == (6250, 8000, 3)


# What is not


@pytest.mark.parametrize("kept", [0.05, 0.3, 0.5, 0.9, 0.99])
@pytest.mark.parametrize("mode", ["RGB", "L", "CMYK"])
def test_a_truncated_jpeg_is_refused_by_name(mode: str, kept: float) -> None:
    content = saved(Image.fromarray(noise(200, 200)).convert(mode), "JPEG", quality=90)
    with pytest.raises(ImageError, match=r"^cats/7\.jpg: is (damaged or )?truncated"):
        decode(content[: int(len(content) * kept)], "cats/7.jpg")


@pytest.mark.parametrize("kind", ["PNG", "GIF", "BMP", "WEBP", "TIFF", "PPM"])
def test_half_a_file_is_refused_in_every_format(kind: str) -> None:
    content = saved(Image.fromarray(noise()), kind)
    with pytest.raises(ImageError, match=r"^half: is (truncated|damaged)"):
        decode(content[: len(content) // 2], "half")


def test_an_empty_file_is_called_empty() -> None:
    with pytest.raises(ImageError, match=r"^a\.png: is empty$"):
        decode(b"", "a.png")


@pytest.mark.parametrize("content", [b"<!DOCTYPE html><html>404</html>", b"\x00" * 500, b"hello", b"%PDF-1.7"])
def test_what_is_no_image_is_called_that(content: bytes) -> None:
    with pytest.raises(ImageError, match="is not an image in a known format"):
        decode(content, "a.png")


def test_a_heic_photo_is_refused_with_a_way_out() -> None:
    with pytest.raises(ImageError, match="HEIC image, which can't be read; save it as JPEG"):
        decode(b"\x00\x00\x00\x18ftypheic" + bytes(100), "IMG_1.HEIC")


@pytest.mark.parametrize(("width", "height"), [(30_000, 30_000), (8_001, 8_000), (60_000, 60_000)])
def test_a_bomb_is_refused_by_its_header(width: int, height: int) -> None:
    with pytest.raises(ImageError, match=f"^bomb: has {width} x {height} pixels; the limit is 64 megapixels$"):
        decode(png_of_claimed_size(width, height), "bomb")


def test_a_control_character_in_a_name_is_shown_escaped() -> None:
    with pytest.raises(ImageError) as caught:
        decode(b"", "a\n\x1b[31mb\udcff.png")
    assert str(caught.value) == "a\\n\\x1b[31mb\\udcff.png: is empty"


def test_a_colour_space_that_pillow_can_not_convert_is_refused() -> None:
    with pytest.raises(ImageError, match="colour mode LAB"):
        decode(saved(Image.new("LAB", (4, 4)), "TIFF"), "x")


@settings(max_examples=190, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), kind=st.sampled_from(FORMATS))
def test_mutated_bytes_are_decoded_or_refused_but_never_crash(encode: Encode, data: st.DataObject, kind: str) -> None:
    content = bytearray(encode("RGB", kind))
    for _ in range(data.draw(st.integers(1, 8))):
        where = data.draw(st.integers(0, len(content) - 1) | st.integers(0, min(60, len(content) - 1)))
        content[where] = data.draw(st.integers(0, 255))
    content = content[: data.draw(st.integers(0, len(content)) | st.just(len(content)))]
    found = decoded_or_refused(bytes(content), "mutant")
    if isinstance(found, ImageError):
        assert str(found).startswith("mutant: ")
        assert "\n" not in str(found)
    else:
        assert found.dtype == np.uint8
        assert found.ndim == 3
        assert found.shape[2] == 3


@settings(max_examples=100, deadline=None)
@given(content=st.binary(max_size=200), magic=st.sampled_from([b"", b"\xff\xd8\xff", b"GIF89a", b"II*\x00", b"P5 "]))
def test_random_bytes_never_raise_anything_but_an_image_error(content: bytes, magic: bytes) -> None:
    decoded_or_refused(magic + content, "random")


# Warnings and threads


def photo_with_broken_exif() -> bytes:
    """A JPEG of which Pillow warns: its EXIF block promises five tags and ends within the first."""
    return saved(Image.fromarray(noise()), "JPEG", exif=b"Exif\x00\x00II*\x00\x08\x00\x00\x00\x05\x00\x12\x01")


def test_what_pillow_warns_of_is_not_shown_and_no_filter_is_left_behind() -> None:
    content = photo_with_broken_exif()
    with pytest.warns(UserWarning, match="Corrupt EXIF"):  # the file does what it is made for
        Image.open(io.BytesIO(content)).getexif()
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        before = list(warnings.filters)
        decode(content, "x")
        assert list(warnings.filters) == before
    assert shown == []


def test_a_warning_of_another_package_is_still_shown_meanwhile() -> None:
    inside, leave = threading.Event(), threading.Event()

    class Slow(bytes):
        def startswith(self, *_: Any) -> bool:  # asked while the bytes are being identified
            inside.set()
            leave.wait(5)
            return False

    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(decode, Slow(b"no image"), "x")
        assert inside.wait(5)
        with pytest.warns(UserWarning, match="mine"):
            warnings.warn("mine", UserWarning, stacklevel=1)
        leave.set()
        assert isinstance(waiting.exception(), ImageError)


def test_threads_decode_to_the_same_pixels_and_leave_no_filter(encode: Encode) -> None:
    contents = [encode("RGB", kind, seed=seed) for seed in range(6) for kind in FORMATS] + [photo_with_broken_exif()]
    before = list(warnings.filters)
    expected = [decode(content, "x") for content in contents]
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda content: decode(content, "x"), contents * 4))
    assert all(np.array_equal(a, b) for a, b in zip(found, expected * 4, strict=True))
    assert list(warnings.filters) == before


# Arrays


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1)])
def test_a_grey_array_gets_three_equal_channels(shape: tuple[int, ...]) -> None:
    array = np.arange(20, dtype=np.uint8).reshape(shape)
    assert np.array_equal(decode_array(array, "x"), np.repeat(array.reshape(5, 4, 1), 3, axis=2))


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[False, True]]), [0, 255]),
        (np.array([[0, 65535]], dtype=np.uint16), [0, 255]),
        (np.array([[0, 255]], dtype=np.int64), [0, 255]),
        (np.array([[0.0, 1.0]]), [0, 255]),
        (np.array([[0.5, 0.1]], dtype=np.float16), [128, 25]),
        (np.array([[0, 65535]], dtype=">u2"), [0, 255]),
    ],
)
def test_values_of_any_kind_are_brought_to_eight_bits(values: np.ndarray[Any, Any], expected: list[int]) -> None:
    assert decode_array(values, "x")[0, :, 0].tolist() == expected


def test_every_eight_bit_value_survives_as_a_fraction() -> None:
    values = np.arange(256, dtype=np.uint8)[None]
    for kind in (np.float32, np.float64):
        fractions: np.ndarray[Any, Any] = values / kind(255)
        assert fractions.dtype == kind
        assert np.array_equal(decode_array(fractions, "x")[..., 0], values)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((3, 8, 8), np.uint8), r"channels last: array.transpose\(1, 2, 0\)"),
        (np.zeros((8, 8, 2), np.uint8), r"has shape \(8, 8, 2\)"),
        (np.zeros((2, 8, 8, 3), np.uint8), "has shape"),
        (np.zeros((0, 8, 3), np.uint8), "no pixels"),
        (np.zeros(7, np.uint8), "has shape"),
        (np.full((2, 2), 200.0), "scale them to 0..1"),
        (np.full((2, 2), -0.1), "scale them to 0..1"),
        (np.full((2, 2), np.nan), "fractions from nan"),
        (np.full((2, 2), 256), "convert it to uint8"),
        (np.full((2, 2), -1), "convert it to uint8"),
        (np.full((2, 2), 1j), "holds complex128 values"),
        (np.full((2, 2), "a"), "holds <U1 values"),
        (np.full((2, 2), None), "holds object values"),
    ],
)
def test_an_array_that_is_no_image_is_refused_with_what_to_do(array: np.ndarray[Any, Any], message: str) -> None:
    with pytest.raises(ImageError, match=message):
        decode_array(array, "row 3")


# The same answer for everything


@pytest.mark.parametrize("kind", FORMATS)
@pytest.mark.parametrize("mode", ["RGB", "L"])
def test_path_bytes_pillow_image_and_array_give_the_same_pixels(
    tmp_path: Path, encode: Encode, kind: str, mode: str
) -> None:
    content = encode(mode, kind)
    path = tmp_path / f"image.{kind}"
    path.write_bytes(content)
    expected = decode(content, "x")
    with Image.open(path) as image:
        for same in (path, str(path), content, bytearray(content), image, expected):
            assert np.array_equal(decode_anything(same), expected)


def test_a_pillow_image_is_turned_upright_as_its_file_is(tmp_path: Path) -> None:
    image = Image.fromarray(noise())
    image.getexif()[0x0112] = 6
    path = tmp_path / "turned.jpg"
    image.save(path, exif=image.getexif())
    with Image.open(path) as opened:
        assert np.array_equal(decode_anything(opened), decode_anything(path))
        assert opened.size == (53, 37)  # the caller's image is left as it was


def test_a_pillow_image_of_a_truncated_file_is_refused() -> None:
    content = saved(Image.fromarray(noise()), "PNG")
    with pytest.raises(ImageError, match="given: is truncated"):
        decode_anything(Image.open(io.BytesIO(content[:1000])), "given")


def test_a_path_that_can_not_be_read_is_an_image_error(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="does not exist"):
        decode_anything(tmp_path / "none.png")
    with pytest.raises(ImageError, match="is a folder"):
        decode_anything(tmp_path)
    with pytest.raises(ImageError, match="no possible file name"):
        decode_anything("a\0b.png")
    with pytest.raises(ImageError, match=r"not a file"):
        decode_anything("/dev/null")
    (tmp_path / "loop.png").symlink_to("loop.png")
    with pytest.raises(ImageError, match="links to itself"):
        decode_anything(tmp_path / "loop.png")


def test_a_tensor_and_other_things_are_refused_by_their_kind() -> None:
    class Tensor:
        pass

    Tensor.__module__ = "torch"
    with pytest.raises(ImageError, match=r"is a torch\.\S*Tensor; .*turn a tensor into an array"):
        decode_anything(Tensor())
    with pytest.raises(ImageError, match=r"is a builtins\.int; give a path"):
        decode_anything(7)


def test_the_data_room_loads_no_torch() -> None:
    code = (
        "import sys; from eyebright.data import cache, decode, sources, splits; "
        "print([name for name in sys.modules if name.partition('.')[0] == 'torch'])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


@pytest.mark.skipif(not (SHARED / "data" / "trashnet").is_dir(), reason="needs ../shared/data/trashnet")
def test_real_photos_give_exactly_pillows_pixels() -> None:
    for path in sorted((SHARED / "data" / "trashnet").glob("*/*.jpg"))[::200]:
        with Image.open(path) as image:
            assert np.array_equal(decode_anything(path), np.asarray(ImageOps.exif_transpose(image.convert("RGB"))))
