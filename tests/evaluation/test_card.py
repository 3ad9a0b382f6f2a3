"""Model cards as Markdown and YAML readers see them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from markdown_it import MarkdownIt

from eyebright.bundle.manifest import Architecture, Manifest
from eyebright.evaluation.card import escape_markdown, render_card
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.label_sets import evaluate_label_sets
from eyebright.preprocess import Preprocessing

Build = Callable[..., Comparison]
HOSTILE = (
    "<script>alert(1)</script>",
    "a | b",
    "**bold** [x](http://evil.example)",
    "`code`",
    "# title\nnext",
    '"quoted": yes',
    "\u202egnp.exe",
    "http://www.evil.example",
    "![i](//evil.example/i.png)",
    "cat 😀",
)


class _Reader(HTMLParser):
    """The tags and the text of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def read_markdown(text: str) -> _Reader:
    reader = _Reader()
    reader.feed(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    return reader


def read_yaml(card: str) -> Any:
    yaml = pytest.importorskip("yaml", reason="PyYAML is not installed")
    assert card.startswith("---\n")
    return yaml.safe_load(card.split("\n---\n", 1)[0])


def build_manifest(classes: tuple[str, ...], name: str = "fashion.zip", **changes: Any) -> Manifest:
    values: dict[str, Any] = {
        "architecture": Architecture(model="resnet50", num_classes=len(classes), in_channels=3),
        "class_names": classes,
        "preprocessing": Preprocessing(image_size=224, resize=224),
        "provenance": {
            "created": "2026-11-25 12:00",
            "data": {
                "name": name,
                "fingerprint": "ab12",
                "splits": {"train": 90, "val": 10, "test": 60},
                "unreadable": 2,
            },
            "settings": {"seed": 7},
            "versions": {"eyebright": "0.1.0"},
            "machine": "2 cores",
        },
        "files": {},
    }
    return Manifest(**{**values, **changes})


def test_the_card_tells_what_the_report_measured(build_comparison: Build) -> None:
    contestant = build_comparison(unreadable=(3,)).contestants[0]
    report = contestant.report
    card = render_card(contestant, report, build_manifest(report.class_names))
    (model,) = read_yaml(card)["model-index"]
    assert model["name"] == "ResNet-50 for fashion.zip"
    (result,) = model["results"]
    assert [(m["type"], m["value"]) for m in result["metrics"]] == [
        ("accuracy", round(report.accuracy, 4)),
        ("f1", round(report.macro_f1, 4)),
    ]
    shown = read_markdown(card.split("\n---\n", 1)[1])
    assert {"h1", "h2", "table", "pre"} <= shown.tags
    accuracy = f"{report.accuracy:.3f} ({report.accuracy_low:.3f} to {report.accuracy_high:.3f})"
    loss = report.measures["log_loss"]
    for words in (
        accuracy,
        f"{loss.value:.3f} ({loss.low:.3f} to {loss.high:.3f})",
        "300 test images that took no part",
        "1 test image could not be read",
        "90 train, 10 val, 60 test images of 10 classes",
        "2 training or validation images could not be read",
        "ab12",
        "Seed 7",
        "Confidences were not calibrated",
    ):
        assert words in shown.text
    weakest = min(report.per_class, key=lambda r: (r.recall, r.name))
    assert shown.text.index(weakest.name, shown.text.index("the weakest first")) < shown.text.index("How far to trust")
    assert f"{weakest.recall:.3f} ({weakest.recall_low:.3f} to {weakest.recall_high:.3f})" in shown.text


@pytest.mark.parametrize("name", HOSTILE)
def test_a_name_is_shown_as_it_is_and_does_nothing(name: str) -> None:
    shown = read_markdown(f"It tells {escape_markdown(name)} apart.\n\n| a |\n| --- |\n| {escape_markdown(name)} |\n")
    assert shown.tags == {"p", "table", "thead", "tbody", "tr", "th", "td"}
    spelled = name.replace("\n", "\\n").replace("\u202e", "\\u202e")
    assert shown.text.count(spelled) == 2


def test_an_emoji_is_one_letter_to_yaml_too(build_comparison: Build) -> None:
    contestant = build_comparison().contestants[0]
    card = render_card(contestant, contestant.report, build_manifest(contestant.report.class_names, "cats 😀"))
    name = read_yaml(card)["model-index"][0]["results"][0]["dataset"]["name"]
    assert name == "cats 😀"
    assert name.encode()


def test_hostile_names_are_inert_everywhere_in_a_card(build_comparison: Build) -> None:
    contestant = build_comparison(HOSTILE, per_class=6).contestants[0]
    card = render_card(contestant, contestant.report, build_manifest(HOSTILE, "---\nname: <b>x</b>"))
    assert read_yaml(card)["model-index"][0]["results"][0]["dataset"]["name"] == "---\\nname: <b>x</b>"
    shown = read_markdown(card.split("\n---\n", 1)[1])
    assert not shown.tags & {"script", "b", "a", "img", "em"}
    assert "\u202e" not in card


def test_several_labels_an_image_have_a_card_of_their_own(build_comparison: Build, drawn: SimpleNamespace) -> None:
    contestant = build_comparison().contestants[0]
    classes = ("blue", "green")
    labels = np.arange(40) % 2
    table = drawn.build_table(classes, labels)
    said = drawn.draw_predictions(labels, 2, skill=3.0, seed=1)
    report = evaluate_label_sets(
        drawn.DrawnPredictor(classes, said), replace(table, label_sets=np.eye(2, dtype=np.bool_)[labels]), (0.5, 0.5)
    )
    card = render_card(contestant, report, build_manifest(classes, thresholds=(0.5, 0.5)))
    (metric,) = read_yaml(card)["model-index"][0]["results"][0]["metrics"]
    assert metric["type"] == "mean_average_precision"
    assert report.mean_average_precision is not None
    assert f"{report.mean_average_precision:.3f}" in card
    assert "answer.labels" in card
    assert "not calibrated" in card
