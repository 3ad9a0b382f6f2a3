from __future__ import annotations

import pickle
import re

import pytest

from eyebright import errors
from eyebright.errors import EyebrightError, ImageError, MissingExtraError, nearest, printable

KINDS = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, EyebrightError)]


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^ +([| `-]*)(\w+Error) +(?:exit code )?(\d)", errors.__doc__ or "", flags=re.MULTILINE)
    assert {name: int(code) for _, name, code in drawn} == {kind.__name__: kind.exit_code for kind in KINDS}
    above: list[str] = []
    for branch, name, _ in drawn:
        depth = len(branch) // 4
        del above[depth:]
        parent = getattr(errors, name).__base__.__name__
        assert parent == (above[-1] if above else "Exception")
        above.append(name)


def test_a_missing_extra_says_what_to_type() -> None:
    error = MissingExtraError("training", "train")
    assert str(error).endswith("pip install 'eyebright[train]'")
    assert str(error).startswith("training needs packages")


def test_an_image_error_keeps_its_parts_on_the_way_between_processes() -> None:
    error = ImageError("a\nb.jpg", "is cut short")
    again = pickle.loads(pickle.dumps(error))
    assert (type(again), again.name, again.reason) == (ImageError, "a\nb.jpg", "is cut short")
    assert str(again) == str(error) == "a\\nb.jpg: is cut short"


@pytest.mark.parametrize(
    ("name", "phrase"),
    [
        ("vgg61", 'did you mean "vgg16"?'),
        ("ResNet5O", 'did you mean "resnet50"?'),
        ("zzz", "choose one of cnn, resnet50, vgg16"),
        ("", "choose one of cnn, resnet50, vgg16"),
    ],
)
def test_the_nearest_name_is_offered_or_else_all(name: str, phrase: str) -> None:
    assert nearest(name, ["vgg16", "cnn", "resnet50"]) == phrase


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("größe 猫 🌼.jpg", "größe 猫 🌼.jpg"),
        ("a\nb\x1b[31m", "a\\nb\\x1b[31m"),
        ("\u202egpj.exe", "\\u202egpj.exe"),  # right-to-left override
        ("bad\udcff", "bad\\udcff"),
    ],
)
def test_a_name_is_shown_on_one_harmless_line(name: str, shown: str) -> None:
    assert printable(name) == shown
    shown.encode("utf-8")
