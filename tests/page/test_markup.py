"""Names stay inert, and numbers read well at every size."""

from __future__ import annotations

from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyebright.page import markup


@given(st.text())
def test_no_text_opens_a_tag_or_leaves_an_attribute(value: str) -> None:
    class Tags(HTMLParser):
        found: list[tuple[str, list[str]]]

        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            self.found.append((tag, [name for name, _ in attrs]))

    parser = Tags()
    parser.found = []
    parser.feed(f'<p title="{markup.text(value)}">{markup.name(value)}</p>')
    assert parser.found == [("p", ["title"]), ("bdi", [])]


def test_a_place_is_known_by_its_last_two_parts() -> None:
    assert markup.end_of_place("/home/me/photos/cats/1.png") == "cats/1.png"
    assert markup.end_of_place("C:\\photos\\cats\\1.png") == "cats/1.png"
    assert markup.end_of_place("row 17") == "row 17"


def test_direction_and_control_characters_are_shown_and_not_obeyed() -> None:
    assert markup.text("gpj.\u202eexe\n\x00") == "gpj.\\u202eexe\\n\\x00"
    assert markup.name("a<b>") == "<bdi>a&lt;b&gt;</bdi>"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.42, "0.4 s"),
        (9.96, "10 s"),
        (59.4, "59 s"),
        (59.7, "1 min 00 s"),
        (3599.6, "1 h 00 min"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations_read_well(seconds: float, words: str) -> None:
    assert markup.duration(seconds) == words


@pytest.mark.parametrize(
    ("count", "words"),
    [(0, "0"), (999, "999"), (999_960, "1.0 million"), (25_557_032, "25.6 million"), (15_470_264_320, "15.5 billion")],
)
def test_amounts_read_well(count: int, words: str) -> None:
    assert markup.amount(count) == words


def test_sizes_rates_and_plurals_read_well() -> None:
    assert [markup.size(n) for n in (10, 1_560_000, 97_800_000, 1_200_000_000)] == [
        "1 kB",
        "1.6 MB",
        "97.8 MB",
        "1.2 GB",
    ]
    assert [markup.rate(r) for r in (0.837, 8.37, 84.4, 1240.2)] == ["0.84", "8.4", "84", "1,240"]
    assert [markup.plural(n, "image") for n in (0, 1, 2024)] == ["0 images", "1 image", "2,024 images"]
    assert markup.plural(2, "class") == "2 classes"
