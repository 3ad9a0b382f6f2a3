"""The report page: one HTML file that needs nothing else, neither network nor script.

Light and dark, readable from a phone to a wide screen and on paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from eyebright.errors import DataError
from eyebright.evaluation.compare import Comparison, Contestant, compare_in_words, ranked, verdict
from eyebright.evaluation.confidence import is_measured, render_confidence
from eyebright.evaluation.curves import render_curves
from eyebright.evaluation.method import render_method, render_networks
from eyebright.evaluation.mistakes import (
    MATRIX_CLASSES,
    ReadThumbnail,
    render_classes,
    render_confusions,
    render_examples,
    render_mistakes,
    wrong_for_all,
)
from eyebright.evaluation.report import Unreadable, interval_in_words, percent, trust_in_words
from eyebright.evaluation.tables import render_costs, render_numbers, render_pairs, render_slices
from eyebright.page import markup
from eyebright.page.document import build_page

_UNREADABLE_SHOWN = 200


def render_comparison(comparison: Comparison, read_thumbnail: ReadThumbnail) -> str:
    """The page that compares networks, as HTML to be written as UTF-8.

    Args:
        comparison: what was trained and measured.
        read_thumbnail: a sample's name -> its image (H, W, 3) uint8, or None where it can't be shown.
    """
    return _page(comparison, read_thumbnail, kind="comparison")


def render_run(run: Comparison, read_thumbnail: ReadThumbnail) -> str:
    """The page of one trained network: the same blocks.

    Args:
        run: a comparison with exactly one contestant.
        read_thumbnail: a sample's name -> its image (H, W, 3) uint8, or None where it can't be shown.

    Raises:
        DataError: there is more than one contestant.
    """
    if len(run.contestants) != 1:
        raise DataError(f"the page of a run shows one network, not {len(run.contestants)}")
    return _page(run, read_thumbnail, kind="run")


def _page(comparison: Comparison, read_thumbnail: ReadThumbnail, *, kind: str) -> str:
    order = ranked(comparison)
    many_classes = len(order[0].report.class_names) > MATRIX_CLASSES
    sections = [
        ("side-by-side" if len(order) > 1 else "result", *_results(comparison, order)),
        ("confidence", "How far confidence can be trusted", _confidence_block(order)),
        ("learning", "How they learned" if len(order) > 1 else "How it learned", _curves_block(order)),
        ("confusions", "What is taken for what", _confusion_words(many_classes) + render_confusions(order)),
        ("mistakes", "The surest mistakes", _mistake_words(order) + render_mistakes(order, read_thumbnail)),
        (
            "unsure",
            "Where it would not answer" if len(order) == 1 else "Where they would not answer",
            _unsure(order, read_thumbnail),
        ),
        ("classes", "Class by class", f"<p>{_CLASS_WORDS}</p>" + render_classes(order)),
        ("parts", "Where it does worst" if len(order) == 1 else "Where they do worst", _slices_block(order)),
        ("costs", "What it costs" if len(order) == 1 else "What they cost", render_costs(order)),
        ("networks", "What each network is" if len(order) > 1 else "What the network is", render_networks(order)),
        ("measured", "How this was measured", render_method(comparison)),
    ]
    if len(order) > 1:
        sections.insert(1, ("pairs", "Is one really better?", f"<p>{_PAIR_WORDS}</p>" + render_pairs(comparison)))
    unreadable = order[0].report.unreadable
    if unreadable:
        place = next(i for i, (anchor, _, _) in enumerate(sections) if anchor == "classes")
        sections.insert(place, ("unreadable", "Images that could not be read", _unreadable(unreadable)))
    sections = [section for section in sections if section[2]]
    links = "".join(f'<a href="#{anchor}">{title}</a>' for anchor, title, _ in sections)
    blocks = "".join(
        f'<section id="{anchor}" aria-labelledby="{anchor}-title"><h2 id="{anchor}-title">{title}</h2>{body}</section>'
        for anchor, title, body in sections
    )
    return build_page(
        f"{verdict(comparison)} \u2013 {comparison.data_name}",
        f'<main>{_header(comparison, kind)}<nav aria-label="Contents">{links}</nav>{blocks}</main>',
        style=resources.files("eyebright.evaluation").joinpath("report.css").read_text(encoding="utf-8"),
    )


def _header(comparison: Comparison, kind: str) -> str:
    facts = [
        markup.name(comparison.data_name),
        markup.plural(sum(comparison.class_counts.values()), "image"),
        f"{markup.plural(len(comparison.class_counts), 'class')}",
        markup.text(comparison.date),
    ]
    notes = "".join(f"<li>{markup.text(note)}</li>" for note in comparison.notes)
    warning = f'<aside class="notes"><h2>Before you rely on this</h2><ul>{notes}</ul></aside>' if notes else ""
    return (
        f'<header><p class="kicker">Eyebright {kind}</p><h1>{_unbroken(verdict(comparison))}</h1>'
        f'<p class="lead">{markup.text(compare_in_words(comparison))}</p>'
        f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul></header>{warning}'
    )


def _unbroken(title: str) -> str:
    """A title whose names (ResNet-50) are not broken at their hyphens."""
    return markup.text(title).replace("-", "&#8209;")


def _results(comparison: Comparison, order: Sequence[Contestant]) -> tuple[str, str]:
    """Title and table; on a phone every row becomes a card of its own."""
    top5 = any(c.report.top5_accuracy is not None for c in order)
    names = ["network", "accuracy", *(["top-5"] if top5 else []), "macro F1"]
    names += ["time to train", "images/s", "size", "parameters"]
    head = "".join(
        f'<th role="columnheader" scope="col"{"" if i < 2 else _NUMBER}>{n}</th>' for i, n in enumerate(names)
    )
    rows = "".join(_result_row(c, top5=top5) for c in order)
    best_of = markup.plural(order[0].report.num_samples, "test image")
    table = (
        '<table class="results" role="table"><caption>Measured on '
        f"{best_of} that took no part in training. The line on each bar is the 95 % interval: where the accuracy of "
        "the same network on endlessly many such images would lie.</caption>"
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{rows}</tbody></table>'
    )
    title = "Side by side" if len(order) > 1 else "The result"
    remarks = "".join(f"<li>{markup.text(remark)}</li>" for remark in order[0].report.remarks)
    more = f'<ul class="plain-list">{remarks}</ul>' if remarks else ""
    return title, markup.scroll_box(title, table) + more + render_numbers(order)


_NUMBER = ' class="number"'


def _result_row(contestant: Contestant, *, top5: bool) -> str:
    report = contestant.report
    low, high = report.accuracy_low * 100, report.accuracy_high * 100
    bar = (
        f'<span class="bar" aria-hidden="true"><i style="width:{report.accuracy * 100:.2f}%"></i>'
        f'<b style="left:{low:.2f}%;width:{max(0.4, high - low):.2f}%"></b></span>'
    )
    accuracy = f"<strong>{percent(report.accuracy)}</strong> <small>{interval_in_words(report)}</small>{bar}"
    numbers = [("macro F1", f"{report.macro_f1:.3f}")]
    if top5:
        numbers.insert(0, ("top-5", "&#8211;" if report.top5_accuracy is None else percent(report.top5_accuracy)))
    numbers += [
        ("time to train", markup.duration(contestant.train_seconds)),
        ("images/s", markup.rate(contestant.images_per_second)),
        ("size", markup.size(contestant.size_bytes)),
        ("parameters", markup.amount(contestant.parameters)),
    ]
    cells = "".join(f'<td role="cell" class="number" data-label="{label}">{value}</td>' for label, value in numbers)
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{markup.text(contestant.title)}'
        f"<small>{markup.text(contestant.weights)}</small></th>"
        f'<td role="cell" class="accuracy">{accuracy}</td>{cells}</tr>'
    )


def _curves_block(order: Sequence[Contestant]) -> str:
    words = (
        "Measured on the validation images: not trained on, but used to choose among these. A ring marks what was "
        "kept: the lowest loss."
    )
    if len(order) > 1:
        words += " All accuracy axes are the same."
    return f"<p>{words}</p>" + render_curves(order)


_PAIR_WORDS = (
    "Each two networks on the same images: the difference of their accuracies, with its 95 % interval. <em>Chance</em> "
    "says how often two equally good networks would differ so much, corrected for the number of pairs."
)


def _confidence_block(order: Sequence[Contestant]) -> str:
    if not any(is_measured(c.report) for c in order):
        return ""
    words = (
        "On the dashed line, answers given with a confidence of 80 % are right 80 times in 100; below it, the network "
        "is too sure. Darker bars hold more answers. A ring in the other chart marks what is answered."
    )
    lines = "".join(
        f"<li>{markup.text(c.title)}: {markup.text(trust_in_words(c.report.trust))}.</li>"
        for c in order
        if c.report.trust is not None
    )
    promises = f'<ul class="plain-list">{lines}</ul>' if lines else ""
    return f"<p>{markup.text(words)}</p>{promises}{render_confidence(order)}"


def _unsure(order: Sequence[Contestant], read_thumbnail: ReadThumbnail) -> str:
    shown = render_examples(order, read_thumbnail)
    if not shown:
        return ""
    return (
        "<p>The least sure answers, right or wrong, and the images that look least like those of the training. Someone "
        "should look at images like these before anything depends on the answer.</p>" + shown
    )


def _slices_block(order: Sequence[Contestant]) -> str:
    shown = render_slices(order)
    if not shown:
        return ""
    return (
        "<p>Parts of the test images by folder, group, size and confidence. First come those that are bad for certain, "
        "by the upper end of their interval, not those that are small and bad by chance.</p>" + shown
    )


_CLASS_WORDS = (
    "Precision: of the images said to be this class, the share that is. Recall: of the images of this class, "
    "the share that was found. F1 is between the two. Weakest classes come first."
)


def _confusion_words(many_classes: bool) -> str:
    if many_classes:
        return (
            f"<p>With more than {MATRIX_CLASSES} classes a matrix is unreadable; these are the most confused pairs.</p>"
        )
    return (
        "<p>Each row holds the test images of one class, each column what was said. "
        "The stronger the shade, the larger the share of its row; an empty field is a zero.</p>"
        '<p class="legend"><span class="key right">right</span><span class="key wrong">wrong</span></p>'
    )


def _mistake_words(order: Sequence[Contestant]) -> str:
    words = (
        "Wrong answers given with the highest confidence. Some may be right and the label wrong: look at those first."
    )
    if len(order) > 1:
        count = wrong_for_all(order)
        words += f" On {markup.plural(count, 'image')} every network is wrong." if count else ""
    return f"<p>{words}</p>"


def _unreadable(unreadable: Sequence[Unreadable]) -> str:
    items = "".join(
        f"<li><code>{markup.name(image.name)}</code> {markup.text(image.reason)}</li>"
        for image in unreadable[:_UNREADABLE_SHOWN]
    )
    more = len(unreadable) - _UNREADABLE_SHOWN
    if more > 0:
        items += f"<li>and {more:,} more, named in report.json</li>"
    words = f"<p>{markup.plural(len(unreadable), 'test image')} could not be read. Each counts as an error.</p>"
    listed = f'<ul class="plain-list">{items}</ul>'
    if len(unreadable) > 8:
        listed = f"<details><summary>Which, and why</summary>{listed}</details>"
    return words + listed
