"""Where a classifier goes wrong, as HTML: confusion matrices, classes, and the surest mistakes as thumbnails."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.errors import ImageError
from eyebright.evaluation.cells import ReadThumbnail
from eyebright.evaluation.compare import Contestant
from eyebright.evaluation.report import ClassResult, EvaluationReport, Example, percent
from eyebright.evaluation.tables import interval_bar
from eyebright.page import markup
from eyebright.page.thumbnail import thumbnail

MATRIX_CLASSES = 30
"""Up to so many classes are shown as a matrix; beyond, the most confused pairs are listed."""
_PAIRS = 20
_MISTAKES = 12
_EXAMPLES = 6


@dataclass(frozen=True)
class _Pair:
    label: str
    predicted: str
    count: int
    share: float
    """Of the label's images."""


def render_confusions(contestants: Sequence[Contestant], *, with_cells: bool = False) -> str:
    """A confusion matrix per contestant, or its most confused pairs where there are many classes.

    Args:
        contestants: on the same classes.
        with_cells: whether the page holds each cell's images, so that a cell is a button.
    """
    classes = len(contestants[0].report.class_names)
    width = "narrow" if classes > MATRIX_CLASSES else "wide" if classes > 16 else "middle" if classes > 8 else "narrow"
    return (
        f'<div class="cards {width}">'
        + "".join(
            f'<article class="card"><h3>{markup.text(c.title)}</h3>'
            f"{_confusion(c, number if with_cells else None)}</article>"
            for number, c in enumerate(contestants)
        )
        + "</div>"
    )


def render_classes(contestants: Sequence[Contestant]) -> str:
    """Precision, recall, F1 and support of every class, weakest first, folded away."""
    first = len(contestants) == 1
    return "".join(
        f"<details{' open' if first and len(c.report.class_names) <= MATRIX_CLASSES else ''}>"
        f"<summary>{markup.text(c.title)}, class by class</summary>"
        + markup.scroll_box(f"Classes of {c.title}", _class_table(c.report))
        + "</details>"
        for c in contestants
    )


def render_mistakes(contestants: Sequence[Contestant], read_thumbnail: ReadThumbnail) -> str:
    """The surest wrong answers of every contestant, as thumbnails; each image is read and encoded once."""
    shown: dict[str, str] = {}
    parts = []
    for contestant in contestants:
        figures = []
        for mistake in contestant.report.mistakes[:_MISTAKES]:
            if mistake.name not in shown:
                alt = f"Image labelled {mistake.label}"
                shown[mistake.name] = thumbnail(read_or_none(read_thumbnail, mistake.name), alt)
            figures.append(
                f'<figure class="mistake">{shown[mistake.name]}<figcaption>'
                f"<span>said <b>{markup.name(mistake.predicted)}</b> {_sureness(mistake.confidence)}</span>"
                f"<span>labelled <b>{markup.name(mistake.label)}</b></span>"
                f'<small title="{markup.text(mistake.place)}">{markup.name(markup.end_of_place(mistake.place))}</small>'
                "</figcaption></figure>"
            )
        title = f"<h3>{markup.text(contestant.title)}</h3>"
        wrong = contestant.report.num_samples - contestant.report.num_correct - len(contestant.report.unreadable)
        if figures:
            some = f"The {len(figures)} surest of {markup.plural(wrong, 'wrong answer')}."
            count = some if wrong > len(figures) else f"All {wrong} wrong answers." if wrong > 1 else "The only one."
            body = f'<p class="quiet">{count}</p><div class="thumbs">{"".join(figures)}</div>'
        else:
            body = '<p class="quiet">No wrong answers among the images that could be read.</p>'
        parts.append(f'<article class="strip">{title}{body}</article>')
    return "".join(parts)


def render_examples(contestants: Sequence[Contestant], read_thumbnail: ReadThumbnail) -> str:
    """The least sure answers and the images most unlike the training images; empty where none are known."""
    shown: dict[str, str] = {}
    parts = []
    for contestant in contestants:
        report = contestant.report
        for words, examples in (("least sure", report.least_sure), ("most unlike", report.most_unlike)):
            if examples:
                figures = "".join(_example(example, read_thumbnail, shown) for example in examples[:_EXAMPLES])
                title = f"{markup.text(contestant.title)}: {words}"
                parts.append(f'<article class="strip"><h3>{title}</h3><div class="thumbs">{figures}</div></article>')
    return "".join(parts)


def _example(example: Example, read_thumbnail: ReadThumbnail, shown: dict[str, str]) -> str:
    if example.name not in shown:
        shown[example.name] = thumbnail(read_or_none(read_thumbnail, example.name), f"Image labelled {example.label}")
    right = example.label == example.predicted
    labelled = "and is right" if right else f"labelled <b>{markup.name(example.label)}</b>"
    return (
        f'<figure class="mistake">{shown[example.name]}<figcaption>'
        f"<span>said <b>{markup.name(example.predicted)}</b> {_sureness(example.confidence)}</span>"
        f"<span>{labelled}</span>"
        f'<small title="{markup.text(example.place)}">{markup.name(markup.end_of_place(example.place))}</small>'
        "</figcaption></figure>"
    )


def wrong_for_all(contestants: Sequence[Contestant]) -> int:
    """How many readable images no contestant got right."""
    answers = zip(*(c.report.correctness for c in contestants), strict=True)
    # An image that can't be read is wrong for all, too.
    return sum(set(given) == {"0"} for given in answers) - len(contestants[0].report.unreadable)


def confused_pairs(report: EvaluationReport) -> list[_Pair]:
    """Every (label, wrong class) that occurred, most frequent first."""
    pairs = [
        _Pair(report.class_names[i], report.class_names[j], count, count / report.per_class[i].support)
        for i, row in enumerate(report.confusion)
        for j, count in enumerate(row)
        if i != j and count
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, -pair.share, pair.label, pair.predicted))


def _confusion(contestant: Contestant, number: int | None) -> str:
    title, report = contestant.title, contestant.report
    pairs = confused_pairs(report)
    if len(report.class_names) > MATRIX_CLASSES:
        return _pair_table(title, report, pairs, number)
    words = ""
    if pairs:
        worst = pairs[0]
        times = {1: "once", 2: "twice"}.get(worst.count, f"{worst.count:,} times")
        words = (
            f'<p class="quiet">Most often: {markup.name(worst.label)} taken for {markup.name(worst.predicted)}, '
            f"{times}.</p>"
        )
    return words + markup.scroll_box(f"Confusion matrix of {title}", _matrix(title, report, number))


def _matrix(title: str, report: EvaluationReport, number: int | None) -> str:
    unreadable = any(report.unreadable_per_class)
    heads = "".join(
        f'<th scope="col" title="{markup.text(n)}"><span>{markup.name(n)}</span></th>' for n in report.class_names
    )
    if unreadable:
        heads += '<th scope="col"><span><i>unreadable</i></span></th>'
    rows = []
    for i, (label, row) in enumerate(zip(report.class_names, report.confusion, strict=True)):
        support = max(1, report.per_class[i].support)
        cells = [
            _cell(count, count / support, _button(title, report, number, i, j), right=i == j)
            for j, count in enumerate(row)
        ]
        if unreadable:
            cells.append(
                _cell(report.unreadable_per_class[i], report.unreadable_per_class[i] / support, "", right=False)
            )
        rows.append(
            f'<tr><th scope="row" title="{markup.text(label)}"><span>{markup.name(label)}</span></th>'
            + "".join(cells)
            + "</tr>"
        )
    corner = '<td class="corner"><span>labelled ↓</span> <span>said →</span></td>'
    return f'<table class="matrix"><thead><tr>{corner}{heads}</tr></thead><tbody>{"".join(rows)}</tbody></table>'


def _button(title: str, report: EvaluationReport, number: int | None, label: int, said: int) -> str:
    """The count of a cell as a button that shows its images; empty where the page does not hold them."""
    count = report.confusion[label][said]
    if number is None or not count:
        return ""
    names = report.class_names
    words = f"labelled {names[label]}, said {names[said]}: {markup.plural(count, 'image')}"
    return (
        f'<button type="button" disabled data-cell="{number},{label},{said}" data-count="{count}" '
        f'data-title="{markup.text(title)}" aria-expanded="false" aria-controls="cell-images" '
        f'aria-label="{markup.text(words)}">{count:,}</button>'
    )


def _cell(count: int, share: float, button: str, *, right: bool) -> str:
    if not count:
        return "<td></td>"
    # Mistakes are few: the square root lifts one in a hundred to a shade that can be seen.
    shade = share if right else max(0.4, math.sqrt(share))
    kind = "right" if right else "wrong"
    return f'<td class="{kind}" style="--shade:{shade:.2f}" title="{percent(share)} of the row">{button or count}</td>'


def _pair_table(title: str, report: EvaluationReport, pairs: Sequence[_Pair], number: int | None) -> str:
    if not pairs:
        return '<p class="quiet">No class was taken for another.</p>'
    shown = pairs[:_PAIRS]
    place = {name: i for i, name in enumerate(report.class_names)}
    counts = [_button(title, report, number, place[p.label], place[p.predicted]) or f"{p.count:,}" for p in shown]
    rows = "".join(
        f"<tr><td>{markup.name(p.label)}</td><td>{markup.name(p.predicted)}</td>"
        f'<td class="number">{count}</td>'
        f'<td class="number">{percent(p.share)}</td></tr>'
        for p, count in zip(shown, counts, strict=True)
    )
    total = sum(p.count for p in pairs)
    head = (
        '<tr><th scope="col">labelled</th><th scope="col">said</th><th scope="col" class="number">times</th>'
        '<th scope="col" class="number">share</th></tr>'
    )
    words = (
        f"The {len(shown)} most frequent of {len(pairs):,}, with {sum(p.count for p in shown):,} of "
        f"{markup.plural(total, 'wrong answer')}."
        if len(pairs) > len(shown)
        else f"All {markup.plural(total, 'wrong answer')}."
    )
    return f'<p class="quiet">{words}</p>' + markup.scroll_box(
        f"Most confused pairs of {title}",
        f'<table class="plain"><thead>{head}</thead><tbody>{rows}</tbody></table>',
    )


def _class_table(report: EvaluationReport) -> str:
    head = '<th scope="col">class</th>' + "".join(
        f'<th scope="col" class="number">{word}</th>' for word in ("precision", "recall", "F1", "images")
    )
    if any(result.recall_low is not None for result in report.per_class):
        head += '<th scope="col" class="track">recall with its 95 % interval</th>'
    weakest_first = sorted(report.per_class, key=lambda result: (result.f1, result.name))
    return (
        f'<table class="plain spread"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(_class_row, weakest_first))}</tbody></table>"
    )


def _class_row(result: ClassResult) -> str:
    # A dash, not 0 %, where there was nothing to find or nothing was said.
    values = (
        percent(result.precision) if result.predicted else "&#8211;",
        percent(result.recall) if result.support else "&#8211;",
        f"{result.f1:.3f}" if result.predicted or result.support else "&#8211;",
        f"{result.support:,}",
    )
    cells = "".join(f'<td class="number">{value}</td>' for value in values)
    if result.recall_low is not None and result.recall_high is not None:
        cells += f'<td class="track">{interval_bar(result.recall, result.recall_low, result.recall_high)}</td>'
    return f'<tr><th scope="row">{markup.name(result.name)}</th>{cells}</tr>'


def _sureness(confidence: float) -> str:
    """Whole percents, never rounded up to a certainty that was not claimed."""
    return markup.text("100 %" if confidence >= 1 else f"{min(99, round(confidence * 100))} %")


def read_or_none(read_thumbnail: ReadThumbnail, name: str) -> NDArray[np.uint8] | None:
    """The image, or None where it can't be read."""
    try:
        return read_thumbnail(name)
    except ImageError:
        return None
