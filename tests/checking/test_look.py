from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageFilter

from eyebright.checking.look import F, Looks, look, mirror_shapes
from eyebright.data.folders import FolderStore
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.data.sources import read_samples
from eyebright.progress import SilentProgress


def scene(seed: int, size: tuple[int, int] = (96, 64)) -> Image.Image:
    """A picture with coarse shapes and fine grain that no other seed has."""
    random = np.random.default_rng(seed)
    coarse = Image.fromarray(random.integers(0, 256, (5, 6, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    grain = random.integers(-40, 41, (size[1], size[0], 1))
    return Image.fromarray(np.clip(np.asarray(coarse).astype(np.int64) + grain, 0, 255).astype(np.uint8))


def table_of(root: Path, names: tuple[str, ...], *, repeat: int = 1) -> SampleTable:
    count = len(names) * repeat
    return SampleTable(
        store=FolderStore(str(root)),
        names=names * repeat,
        labels=np.zeros(count, dtype=np.int64),
        classes=("a",),
        splits=np.full(count, UNASSIGNED, dtype=np.int8),
    )


def look_at(tmp_path: Path, images: dict[str, Image.Image]) -> Looks:
    for name, image in images.items():
        image.save(tmp_path / name)
    return look(table_of(tmp_path, tuple(images)))


def test_every_image_is_measured_and_bad_ones_stop_nothing(tmp_path: Path) -> None:
    scene(1).save(tmp_path / "good.png")
    whole = (tmp_path / "good.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    looks = look(table_of(tmp_path, ("good.png", "cut.png", "empty.png", "absent.png")))
    assert looks.readable.tolist() == [True, False, False, False]
    assert [looks.errors[row].reason for row in (2, 3)] == ["is empty", "does not exist"]
    assert looks.digests[0] == hashlib.sha256(whole).hexdigest()
    assert looks.digests[3] == ""
    assert looks.sizes[0].tolist() == [96, 64]
    assert looks.lengths[0] == len(whole)
    assert looks.headers[looks.kinds[0]] == ("PNG", "RGB", False)


def test_brightness_contrast_and_sharpness_are_what_they_say(tmp_path: Path) -> None:
    sharp = scene(2, (200, 150))
    looks = look_at(
        tmp_path,
        {
            "sharp.png": sharp,
            "blurred.png": sharp.filter(ImageFilter.GaussianBlur(4)),
            "grey.png": Image.new("RGB", (50, 50), (100, 100, 100)),
        },
    )
    assert looks.sharpness[0] > 5 * looks.sharpness[1] > 0
    assert looks.brightness[2] == 100
    assert looks.contrast[2] == 0
    assert looks.contrast[0] > 20


def test_colours_of_one_lightness_are_not_blank(tmp_path: Path) -> None:
    pixels = np.zeros((40, 40, 3), dtype=np.uint8)
    pixels[:, :20], pixels[:, 20:] = (255, 0, 0), (0, 130, 0)
    assert look_at(tmp_path, {"two.png": Image.fromarray(pixels)}).contrast[0] > 50


def test_the_size_is_that_of_the_image_turned_upright(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    scene(3, (80, 40)).save(tmp_path / "turned.jpg", exif=exif)
    assert look(table_of(tmp_path, ("turned.jpg",))).sizes[0].tolist() == [40, 80]


def test_a_shape_ignores_size_and_brightness_and_mirrors_as_the_image_does(tmp_path: Path) -> None:
    image = scene(4, (192, 128))
    looks = look_at(
        tmp_path,
        {
            "image.png": image,
            "small.png": image.resize((96, 64), Image.Resampling.BOX),
            "bright.png": image.point(lambda value: 40 + value // 2),
            "mirrored.png": image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
            "other.png": scene(5),
            "blank.png": Image.new("RGB", (64, 64), (9, 9, 9)),
        },
    )
    shapes = looks.shapes.astype(np.float32)
    assert shapes.shape == (6, F * F)
    assert shapes[0] @ shapes[1] > 0.99
    assert shapes[0] @ shapes[2] > 0.99
    assert shapes[0] @ shapes[3] < 0.9
    assert mirror_shapes(shapes)[0] @ shapes[3] > 0.99
    assert shapes[0] @ shapes[4] < 0.8
    assert not shapes[5].any()


def test_arrays_are_looked_at_too() -> None:
    images = np.stack([np.asarray(scene(seed)) for seed in range(4)])
    looks = look(read_samples((images, [0, 0, 1, 1])))
    assert looks.readable.all()
    assert looks.kinds.tolist() == [-1] * 4
    assert looks.sizes.tolist() == [[96, 64]] * 4


def test_it_is_the_same_on_any_number_of_threads(tmp_path: Path) -> None:
    for seed in range(40):
        scene(seed).save(tmp_path / f"{seed:02}.png")
    (tmp_path / "07.png").write_bytes(b"no image")
    table = table_of(tmp_path, tuple(f"{seed:02}.png" for seed in range(40)))
    one, four = look(table, threads=1), look(table, threads=4)
    assert one.digests == four.digests
    assert list(one.errors) == list(four.errors) == [7]
    for field in ("kinds", "sizes", "lengths", "brightness", "contrast", "sharpness", "shapes"):
        np.testing.assert_array_equal(getattr(one, field), getattr(four, field))


def test_it_stops_when_asked(tmp_path: Path) -> None:
    class Stopping(SilentProgress):
        stop_requested = True

    with pytest.raises(KeyboardInterrupt):
        look(table_of(tmp_path, ("absent.png",)), progress=Stopping())
