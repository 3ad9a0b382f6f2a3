"""The report page for images that may have several classes each: one HTML file that needs nothing else."""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.evaluation.blocks import (
    assemble_page,
    render_class_counts,
    render_learning,
    render_networks,
    render_reproduction,
    render_unreadable,
)
from eyebright.evaluation.cells import ReadThumbnail
from eyebright.evaluation.label_sets import LabelMistake, LabelResult
from eyebright.evaluation.label_sets_compare import (
    LabelSetsComparison,
    LabelSetsContestant,
    compare_label_sets_in_words,
    label_sets_verdict,
    rank_label_sets,
)
from eyebright.evaluation.mistakes import read_or_none
from eyebright.evaluation.report import percent
from eyebright.evaluation.tables import interval_bar
from eyebright.page import markup
from eyebright.page.thumbnail import thumbnail

_MISTAKES = 12
_OPEN_CLASSES = 30  # longer tables are folded away
_NUMBER = ' class="number"'


def render_label_sets(comparison: LabelSetsComparison, read_thumbnail: ReadThumbnail, *, of_run: bool) -> str:
    """The page, as HTML to be written as UTF-8.

    Args:
        comparison: what was trained and measured.
        read_thumbnail: a sample's name -> its image (H, W, 3) uint8, or None where it can't be shown.
        of_run: whether it is the page of one run.
    """
    order = rank_label_sets(comparison)
    several = len(order) > 1
    sections = [
        ("side-by-side" if several else "result", "Side by side" if several else "The result", _results(order)),
        ("classes", "Class by class", f"<p>{_CLASS_WORDS}</p>" + _classes(order)),
        ("mistakes", "The surest mistakes", f"<p>{_MISTAKE_WORDS}</p>" + _mistakes(order, read_thumbnail)),
        ("learning", "How they learned" if several else "How it learned", render_learning(order)),
        ("networks", "What each network is" if several else "What the network is", render_networks(order)),
        ("measured", "How this was measured", _measured(comparison)),
    ]
    unreadable = order[0].report.unreadable
    if unreadable:
        sections.insert(3, ("unreadable", "Images that could not be read", render_unreadable(unreadable)))
    return assemble_page(
        comparison,
        label_sets_verdict(comparison),
        compare_label_sets_in_words(comparison),
        "run" if of_run else "comparison",
        sections,
    )


def _results(order: Sequence[LabelSetsContestant]) -> str:
    names = ["network", "mean average precision", "macro F1", "all labels right"]
    names += ["time to train", "images/s", "size", "parameters"]
    head = "".join(
        f'<th role="columnheader" scope="col"{"" if i < 2 else _NUMBER}>{n}</th>' for i, n in enumerate(names)
    )
    table = (
        '<table class="results" role="table"><caption>Measured on '
        f"{markup.plural(order[0].report.num_samples, 'test image')} that took no part in training. The line on each "
        "bar is the 95 % interval: where the number would lie for endlessly many such images.</caption>"
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead>'
        f'<tbody role="rowgroup">{"".join(map(_result_row, order))}</tbody></table>'
    )
    return markup.scroll_box("Results", table)


def _result_row(contestant: LabelSetsContestant) -> str:
    report = contestant.report
    average = "&#8211;"
    if report.mean_average_precision is not None:
        low, high = report.mean_average_precision_low, report.mean_average_precision_high
        average = f"<strong>{report.mean_average_precision:.3f}</strong>"
        if low is not None and high is not None:
            average += f" <small>{low:.3f} to {high:.3f}</small>" + interval_bar(
                report.mean_average_precision, low, high, is_told=True
            )
    numbers = [
        ("macro F1", f"{report.macro_f1:.3f}"),
        ("all labels right", percent(report.exact_match)),
        ("time to train", markup.duration(contestant.train_seconds)),
        ("images/s", markup.rate(report.images_per_second)),
        ("size", markup.size(contestant.size_bytes)),
        ("parameters", markup.amount(contestant.parameters)),
    ]
    cells = "".join(f'<td role="cell" class="number" data-label="{label}">{value}</td>' for label, value in numbers)
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{markup.text(contestant.title)}'
        f"<small>{markup.text(contestant.weights)}</small></th>"
        f'<td role="cell" class="accuracy">{average}</td>{cells}</tr>'
    )


_CLASS_WORDS = (
    "Average precision judges the order in which a class's images come, whatever the threshold: 1 is perfect, and "
    "guessing reaches the share of images that have the class. The other numbers are for the answers given, that is, "
    "from the threshold on, which was chosen on the validation images. Weakest classes come first."
)


def _classes(order: Sequence[LabelSetsContestant]) -> str:
    first = len(order) == 1
    return "".join(
        f"<details{' open' if first and len(c.report.class_names) <= _OPEN_CLASSES else ''}>"
        f"<summary>{markup.text(c.title)}, class by class</summary>"
        + markup.scroll_box(f"Classes of {c.title}", _class_table(c))
        + "</details>"
        for c in order
    )


def _class_table(contestant: LabelSetsContestant) -> str:
    words = ("average precision", "threshold", "precision", "recall", "F1", "images")
    head = '<th scope="col">class</th>' + "".join(f'<th scope="col" class="number">{word}</th>' for word in words)
    weakest_first = sorted(contestant.report.per_class, key=lambda r: (r.average_precision or 0.0, r.name))
    return (
        f'<table class="plain"><thead><tr>{head}</tr></thead>'
        f"<tbody>{''.join(map(_class_row, weakest_first))}</tbody></table>"
    )


def _class_row(result: LabelResult) -> str:
    average = "&#8211;"
    if result.average_precision is not None:
        average = f"{result.average_precision:.3f}"
        if result.average_precision_low is not None and result.average_precision_high is not None:
            average += f" <small>{result.average_precision_low:.3f} to {result.average_precision_high:.3f}</small>"
    values = (
        average,
        f"{result.threshold:.2f}",
        percent(result.precision) if result.predicted else "&#8211;",
        percent(result.recall) if result.support else "&#8211;",
        f"{result.f1:.3f}" if result.predicted or result.support else "&#8211;",
        f"{result.support:,}",
    )
    cells = "".join(f'<td class="number">{value}</td>' for value in values)
    return f'<tr><th scope="row">{markup.name(result.name)}</th>{cells}</tr>'


_MISTAKE_WORDS = (
    "Wrong answers given with the highest confidence. Some may be right and a label wrong or forgotten: look at those "
    "first."
)


def _mistakes(order: Sequence[LabelSetsContestant], read_thumbnail: ReadThumbnail) -> str:
    shown: dict[str, str] = {}
    parts = []
    for contestant in order:
        figures = []
        for mistake in contestant.report.mistakes[:_MISTAKES]:
            if mistake.name not in shown:
                shown[mistake.name] = thumbnail(read_or_none(read_thumbnail, mistake.name), "Image with a wrong answer")
            figures.append(_mistake(mistake, shown[mistake.name]))
        body = '<p class="quiet">No wrong answers among the images that could be read.</p>'
        if figures:
            body = f'<div class="thumbs">{"".join(figures)}</div>'
        parts.append(f'<article class="strip"><h3>{markup.text(contestant.title)}</h3>{body}</article>')
    return "".join(parts)


def _mistake(mistake: LabelMistake, picture: str) -> str:
    said, true = ("no", "it is there") if mistake.present else ("yes", "not labelled so")
    return (
        f'<figure class="mistake">{picture}<figcaption>'
        f"<span><b>{markup.name(mistake.label)}</b>? {said}, {mistake.probability * 100:.0f}&#160;%</span>"
        f'<span>{true}</span><small title="{markup.text(mistake.place)}">'
        f"{markup.name(markup.end_of_place(mistake.place))}</small></figcaption></figure>"
    )


def _measured(comparison: LabelSetsComparison) -> str:
    return (
        f"{render_reproduction(comparison)}"
        "<p>An image may have several of these classes, and each is a question of its own. Mean average precision is "
        "the mean over the classes of the area below the curve of precision over recall; its interval comes from "
        "drawing as many test images again, with repetition, 500 times. All labels right: the share of images of which "
        "every answer is right. Macro F1 is the mean of all classes' F1, so that small classes count as much as large "
        "ones. Images per second include reading and decoding. An image that could not be read counts as one in which "
        "nothing was found.</p>"
        f"<details><summary>Images per class</summary>{render_class_counts(comparison)}</details>"
    )
