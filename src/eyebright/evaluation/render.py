"""The report page: one HTML file that needs nothing else; its one script shows the images of a confusion matrix's cell.

Light and dark, readable from a phone to a wide screen and on paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from importlib import resources

from eyebright.errors import DataError
from eyebright.evaluation.blocks import (
    assemble_page,
    render_class_counts,
    render_learning,
    render_networks,
    render_reproduction,
    render_unreadable,
)
from eyebright.evaluation.cells import ReadThumbnail, can_show_cells, describe_cells
from eyebright.evaluation.compare import (
    Comparison,
    Contestant,
    compare_in_words,
    interval_of,
    networks_of,
    ranked,
    spread_in_words,
    verdict,
)
from eyebright.evaluation.confidence import is_measured, render_confidence
from eyebright.evaluation.mistakes import (
    MATRIX_CLASSES,
    render_classes,
    render_confusions,
    render_examples,
    render_mistakes,
    wrong_for_all,
)
from eyebright.evaluation.render_columns import render_columns
from eyebright.evaluation.render_repeats import interval_words, pair_words, render_trainings
from eyebright.evaluation.report import percent, trust_in_words
from eyebright.evaluation.tables import interval_bar, render_costs, render_numbers, render_pairs, render_slices
from eyebright.page import markup


def render_comparison(comparison: Comparison, read_thumbnail: ReadThumbnail, *, names: Sequence[str] = ()) -> str:
    """The page that compares networks, as HTML to be written as UTF-8.

    Args:
        comparison: what was trained and measured.
        read_thumbnail: a sample's name -> its image (H, W, 3) uint8, or None where it can't be shown.
        names: of all N test samples, in the reports' order, so that a cell of the confusion matrix can show its images.
    """
    return _page(comparison, read_thumbnail, names, kind="comparison")


def render_run(run: Comparison, read_thumbnail: ReadThumbnail, *, names: Sequence[str] = ()) -> str:
    """The page of one trained network: the same blocks.

    Args:
        run: a comparison with exactly one contestant.
        read_thumbnail: a sample's name -> its image (H, W, 3) uint8, or None where it can't be shown.
        names: see `render_comparison`.

    Raises:
        DataError: there is more than one contestant.
    """
    if len(run.contestants) != 1:
        raise DataError(f"the page of a run shows one network, not {len(run.contestants)}")
    return _page(run, read_thumbnail, names, kind="run")


def _page(comparison: Comparison, read_thumbnail: ReadThumbnail, names: Sequence[str], *, kind: str) -> str:
    order = ranked(comparison)
    # What a classifier that nobody will use gets wrong would only be in the way.
    networks = networks_of(order)
    with_cells = can_show_cells([c.report for c in networks], names)
    many_classes = len(order[0].report.class_names) > MATRIX_CLASSES
    sections = [
        ("side-by-side" if len(order) > 1 else "result", *_results(comparison, order)),
        ("confidence", "How far confidence can be trusted", _confidence_block(networks)),
        ("learning", "How they learned" if len(order) > 1 else "How it learned", render_learning(order)),
        (
            "confusions",
            "What is taken for what",
            _confusion_words(many_classes, with_cells) + render_confusions(networks, with_cells=with_cells),
        ),
        ("mistakes", "The surest mistakes", _mistake_words(networks) + render_mistakes(networks, read_thumbnail)),
        (
            "unsure",
            "Where it would not answer" if len(networks) == 1 else "Where they would not answer",
            _unsure(networks, read_thumbnail),
        ),
        ("classes", "Class by class", f"<p>{_CLASS_WORDS}</p>" + render_classes(order)),
        ("parts", "Where it does worst" if len(networks) == 1 else "Where they do worst", _slices_block(networks)),
        ("costs", "What it costs" if len(order) == 1 else "What they cost", render_costs(order)),
        ("networks", "What each network is" if len(order) > 1 else "What the network is", render_networks(order)),
        ("measured", "How this was measured", _measured(comparison)),
    ]
    if len(order) > 1:
        sections.insert(1, ("pairs", "Is one really better?", f"<p>{pair_words(order)}</p>" + render_pairs(comparison)))
    trainings = render_trainings(order)
    if trainings:
        place = next(i for i, (anchor, _, _) in enumerate(sections) if anchor == "confidence")
        sections.insert(place, ("trainings", "Training by training", trainings))
    unreadable = order[0].report.unreadable
    if unreadable:
        place = next(i for i, (anchor, _, _) in enumerate(sections) if anchor == "classes")
        sections.insert(place, ("unreadable", "Images that could not be read", render_unreadable(unreadable)))
    sections = [section for section in sections if section[2]]
    room = resources.files("eyebright.evaluation")
    extra, script = "", ""
    if with_cells:
        cells = describe_cells([c.report for c in networks], names, read_thumbnail)
        extra = f'<script type="application/json" id="cells">{cells}</script>'
        script = room.joinpath("cells.js").read_text(encoding="utf-8")
    return assemble_page(
        comparison,
        verdict(comparison),
        compare_in_words(comparison),
        kind,
        sections,
        style=room.joinpath("report.css").read_text(encoding="utf-8"),
        extra=extra,
        script=script,
    )


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
        f"{best_of}. {interval_words(order)}</caption>"
        f'<thead role="rowgroup"><tr role="row">{head}</tr></thead><tbody role="rowgroup">{rows}</tbody></table>'
    )
    title = "Side by side" if len(order) > 1 else "The result"
    remarks = "".join(f"<li>{markup.text(remark)}</li>" for remark in order[0].report.remarks)
    more = f'<ul class="plain-list">{remarks}</ul>' if remarks else ""
    return title, markup.scroll_box(title, table) + more + render_numbers(order)


_NUMBER = ' class="number"'


def _result_row(contestant: Contestant, *, top5: bool) -> str:
    report = contestant.report
    bar = interval_bar(contestant.accuracy, *contestant.accuracy_ends, is_told=True)
    spread = spread_in_words(contestant)
    spread = f'<span class="spread-of">{spread}</span> ' if spread else ""
    accuracy = f"<strong>{percent(contestant.accuracy)}</strong> {spread}<small>{interval_of(contestant)}</small>{bar}"
    numbers = [("macro F1", f"{contestant.macro_f1:.3f}")]
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
    columns = render_columns(order)
    if columns:
        shown = f"<h3>By columns of the list</h3>{columns}<h3>All parts, worst first</h3>{shown}"
    return (
        "<p>Parts of the test images by folder, by group and the other columns of the list, by size and confidence. "
        "First come those that are bad for certain, by the upper end of their interval, not those that are small and "
        "bad by chance.</p>" + shown
    )


_CLASS_WORDS = (
    "Precision: of the images said to be this class, the share that is. Recall: of the images of this class, "
    "the share that was found. F1 is between the two. Weakest classes come first."
)


def _confusion_words(many_classes: bool, with_cells: bool) -> str:
    choose = (
        f'<p id="cells-words" hidden>Choose a {"number of times" if many_classes else "field"} to see its images.</p>'
        if with_cells
        else ""
    )
    if many_classes:
        return (
            f"<p>With more than {MATRIX_CLASSES} classes a matrix is unreadable; these are the most confused pairs.</p>"
            + choose
        )
    return (
        "<p>Each row holds the test images of one class, each column what was said. "
        "The stronger the shade, the larger the share of its row; an empty field is a zero.</p>"
        '<p class="legend"><span class="key right">right</span><span class="key wrong">wrong</span></p>' + choose
    )


def _mistake_words(order: Sequence[Contestant]) -> str:
    words = (
        "Wrong answers given with the highest confidence. Some may be right and the label wrong: look at those first."
    )
    if len(order) > 1:
        count = wrong_for_all(order)
        words += f" On {markup.plural(count, 'image')} every network is wrong." if count else ""
    return f"<p>{words}</p>"


_SEED_PAIRS = (
    "Two networks are called different when the mean of their differences over images and seeds would come out so far "
    "from 0 less than 5 times in 100, after Holm's correction for all pairs; by a two-way analysis of variance "
    "(Hillis 2007), in which both images and trainings are draws. "
)


def _measured(comparison: Comparison) -> str:
    report = ranked(comparison)[0].report
    sureness = "".join(
        f"<li>{markup.text(c.title)}: log loss {c.report.log_loss:.3f}, calibration error "
        f"{percent(c.report.calibration_error)}</li>"
        for c in ranked(comparison)
        if c.report.log_loss is not None and c.report.calibration_error is not None
    )
    top5 = (
        "Top-5 accuracy counts an answer as right when the label is among the five likeliest classes. "
        if report.top5_accuracy is not None
        else ""
    )
    pair = (
        _SEED_PAIRS
        if any(len(c.answers) > 1 for c in comparison.contestants)
        else "Two networks are called different when McNemar's exact test on the same images gives a probability below "
        "5 %, after Holm's correction for all pairs; the range of a difference comes from the paired bootstrap. "
        if len(comparison.contestants) > 1
        else ""
    )
    return (
        f"{render_reproduction(comparison)}"
        f"<p>Accuracy is the share of test images whose likeliest class is their label, with Wilson's 95 % interval. "
        f"{pair}{top5}"
        "Macro F1 is the mean of all classes' F1, so that small classes count as much as large ones. "
        "Its interval, and those of all numbers but shares, come from drawing the test images anew up to a thousand "
        "times. Images per second include reading and decoding. An image that could not be read counts "
        "as an error.</p>"
        "<details><summary>Images per class, and how far confidences can be trusted</summary>"
        f"<p>Calibration error is the mean gap between confidence and accuracy: at 5 %, answers given with 90 % are "
        f"typically right 85 or 95 times in 100.</p><ul>{sureness}</ul>{render_class_counts(comparison)}</details>"
    )
