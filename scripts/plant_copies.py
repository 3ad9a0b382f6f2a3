"""Plant altered copies into a folder of class folders, so that a check's recall and precision can be counted.

    python scripts/plant_copies.py ../shared/data/trashnet /tmp/planted --copies 200
    python scripts/plant_copies.py ../shared/data/trashnet /tmp/planted --copies 200 --measure

The images are linked, the copies written beside their originals as NAME-copy-KIND.jpg: resized to 60 %, cropped by
5 % of each side (from one corner), recompressed at quality 40, mirrored, brightened by 25 %; 40 of each by default.
"""

from __future__ import annotations

import argparse
import io
import random
from collections import Counter
from collections.abc import Callable
from pathlib import Path

from PIL import Image, ImageEnhance, ImageOps

from eyebright.checking.duplicates import group_duplicates
from eyebright.checking.look import look
from eyebright.data.sources import read_samples


def crop(image: Image.Image) -> Image.Image:
    """Without 5 % of its width and height, taken off at the top and the left."""
    return image.crop((round(image.width * 0.05), round(image.height * 0.05), image.width, image.height))


def encode(image: Image.Image, quality: int = 90) -> bytes:
    file = io.BytesIO()
    image.save(file, "JPEG", quality=quality)
    return file.getvalue()


ALTERATIONS: dict[str, Callable[[Image.Image], bytes]] = {
    "resized": lambda image: encode(image.resize((round(image.width * 0.6), round(image.height * 0.6)))),
    "cropped": lambda image: encode(crop(image)),
    "recompressed": lambda image: encode(image, quality=40),
    "mirrored": lambda image: encode(ImageOps.mirror(image)),
    "brightened": lambda image: encode(ImageEnhance.Brightness(image).enhance(1.25)),
}


def plant(source: Path, out: Path, *, copies: int, seed: int = 0) -> dict[str, tuple[str, str]]:
    """Link all images into `out` and write altered copies beside some.

    Returns:
        The copy's name -> the original's name and the alteration.
    """
    names = sorted(path.relative_to(source).as_posix() for path in source.rglob("*.jpg"))
    for name in names:
        link = out / name
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to((source / name).resolve())
    planted = {}
    for number, name in enumerate(random.Random(seed).sample(names, copies)):
        kind = list(ALTERATIONS)[number % len(ALTERATIONS)]
        copy = f"{name.removesuffix('.jpg')}-copy-{kind}.jpg"
        with Image.open(source / name) as image:
            (out / copy).write_bytes(ALTERATIONS[kind](image.convert("RGB")))
        planted[copy] = (name, kind)
    return planted


def main() -> None:
    """Plant, and count what is found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--copies", type=int, default=200)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure", action="store_true", help="check both folders and compare")
    given = parser.parse_args()
    planted = plant(given.source, given.out, copies=given.copies, seed=given.seed)
    if not given.measure:
        return
    before = {frozenset(pair) for pair in _pairs(given.source)}
    found = _pairs(given.out)
    missed: Counter[str] = Counter(
        kind for copy, (name, kind) in planted.items() if frozenset((copy, name)) not in found
    )
    # What was found without a planted copy is not counted: it was there before. A copy may stand with all that its
    # original stood with.
    originals = {copy: name for copy, (name, _) in planted.items()}
    reported = [pair for pair in found if any(name in planted for name in pair)]
    wrong = []
    for pair in reported:
        traced = {originals.get(name, name) for name in pair}
        if len(traced) > 1 and frozenset(traced) not in before:
            wrong.append(sorted(pair))
    right = len(planted) - missed.total()
    print(f"planted {len(planted)}, found {right}: recall {right / len(planted):.3f}; missed {dict(missed)}")
    print(f"pairs with a copy: {len(reported)}, wrong: {len(wrong)}; precision {1 - len(wrong) / len(reported):.3f}")
    for names in wrong:
        print("wrong:", *names)
    print(f"pairs in the data as it was: {len(before)}")


def _pairs(folder: Path) -> set[frozenset[str]]:
    table = read_samples(folder)
    return {
        frozenset((table.names[a], table.names[b]))
        for rows in group_duplicates(table, look(table))
        for a in rows
        for b in rows
        if a < b
    }


if __name__ == "__main__":
    main()
