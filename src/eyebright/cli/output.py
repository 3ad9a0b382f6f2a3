"""Results as a terminal shows them: reports, comparisons, answers, exports, explanations.

rich is imported when something is printed, so that `--help` is quick.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import TYPE_CHECKING

from eyebright.cli.terminal import cell, console, print_line

if TYPE_CHECKING:
    from rich.table import Table

    from eyebright.evaluation.label_sets import AnyReport
    from eyebright.evaluation.label_sets_compare import AnyComparison, AnyContestant
    from eyebright.evaluation.report import EvaluationReport
    from eyebright.inference.predictor import Prediction
    from eyebright.jobs.explain import Explained
    from eyebright.jobs.export import Export
    from eyebright.jobs.robustness import Robustness
    from eyebright.speed.report import SpeedReport
    from eyebright.speed.rounds import Spread

PARTS_NAMED = 5  # of those that are worse than the whole
VALUES_NAMED = 8  # of each column of a list of images; the report holds all
TABLE_ROWS = 200  # a longer table in a terminal is read by nobody


def print_report(report: AnyReport, *, per_class: bool = False) -> None:
    """What a classifier achieved, in words; with a table of its classes if asked."""
    print_line(str(report))
    if not per_class:
        return
    from rich.table import Table

    from eyebright.evaluation.label_sets import LabelResult, LabelSetsReport

    several = isinstance(report, LabelSetsReport)
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    named = ["average precision", "threshold"] if several else []
    for name in (*named, "precision", "recall", *([] if several else ["95 % interval"]), "F1", "images"):
        table.add_column(name, justify="right")
    for result in report.per_class:
        numbers = [f"{value:.3f}" for value in (result.precision, result.recall, result.f1)]
        if isinstance(result, LabelResult):
            average = "" if result.average_precision is None else f"{result.average_precision:.3f}"
            numbers = [average, f"{result.threshold:.2f}", *numbers]
        else:
            low, high = result.recall_low, result.recall_high
            numbers.insert(2, "" if low is None or high is None else f"{low:.3f} to {high:.3f}")
        table.add_row(cell(result.name), *numbers, f"{result.support:,}")
    console().print(table)
    if isinstance(report, LabelSetsReport):
        return
    if report.measures:
        print_line()
        _print_measures(report)
    _print_columns([("accuracy", report)])
    worst = [part for part in report.slices if part.accuracy_high < report.accuracy]
    if worst:
        print_line()
        print_line("Worse than the whole, worst first:")
        for part in worst[:PARTS_NAMED]:
            print_line(
                f"  {part.where} {part.name}: {part.num_correct:,} of {part.num_samples:,} right "
                f"({100 * part.accuracy_low:.1f} to {100 * part.accuracy_high:.1f} %)"
            )


def print_columns(contestants: Sequence[AnyContestant]) -> None:
    """How good each network is on the values of each column of the list of images; nothing where there is none."""
    from eyebright.evaluation.compare import Contestant, ranked_contestants

    known = ranked_contestants([c for c in contestants if isinstance(c, Contestant)])
    _print_columns([(c.title if len(known) > 1 else "accuracy", c.report) for c in known])


def _print_columns(reports: Sequence[tuple[str, EvaluationReport]]) -> None:
    """A table for each column, in the order of the first report: the value that it is worst on comes first."""
    from rich.table import Table

    from eyebright.evaluation.report import percent

    if not reports:
        return
    parts = [part for part in reports[0][1].slices if part.column is not None]
    for column in dict.fromkeys(part.column for part in parts):
        table = Table(box=None, pad_edge=False)
        table.add_column(cell(str(column)))
        for title in ("images", *(title for title, _ in reports)):
            table.add_column(cell(title), justify="right")
        of_column = [part for part in parts if part.column == column]
        for part in of_column[:VALUES_NAMED]:
            cells = []
            for _, report in reports:
                same = next(p for p in report.slices if (p.column, p.name) == (column, part.name))
                ends = f"{100 * same.accuracy_low:.1f} to {100 * same.accuracy_high:.1f}"
                cells.append(f"{percent(same.accuracy)} ({ends})")
            table.add_row(cell(part.name), f"{part.num_samples:,}", *cells)
        print_line()
        console().print(table)
        if len(of_column) > VALUES_NAMED:
            print_line(f"and {len(of_column) - VALUES_NAMED:,} more, better ones, in the report")


def _print_measures(report: EvaluationReport) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("over all classes")
    for name in ("value", "95 % interval"):
        table.add_column(name, justify="right")
    for name, one in report.measures.items():
        interval = "" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"
        table.add_row(name.replace("_", " "), f"{one.value:.3f}", interval)
    console().print(table)


def print_comparison(comparison: AnyComparison) -> None:
    """The networks side by side, and who is ahead."""
    from rich.table import Table

    from eyebright.evaluation.compare import (
        Comparison,
        Contestant,
        compare_in_words,
        interval_of,
        ranked,
        spread_in_words,
    )
    from eyebright.evaluation.label_sets_compare import compare_label_sets_in_words, rank_label_sets
    from eyebright.evaluation.report import percent
    from eyebright.page import markup

    rows: list[tuple[AnyContestant, str, str]]
    if isinstance(comparison, Comparison):
        first, words = "accuracy", compare_in_words(comparison)
        rows = [(c, f"{percent(c.accuracy)} {spread_in_words(c)}".rstrip(), interval_of(c)) for c in ranked(comparison)]
    else:
        first, words = "mean average precision", compare_label_sets_in_words(comparison)
        rows = [(c, *c.report.precision_apart()) for c in rank_label_sets(comparison)]
    table = Table(box=None, pad_edge=False)
    table.add_column("network")
    for name in (first, "95 % interval", "macro F1", "time to train", "images/s", "one image", "size"):
        table.add_column(name, justify="right")
    for contestant, value, interval in rows:
        report = contestant.report
        table.add_row(
            contestant.title,
            value,
            interval,
            f"{contestant.macro_f1 if isinstance(contestant, Contestant) else report.macro_f1:.3f}",
            _plain(markup.duration(contestant.train_seconds)),
            _plain(markup.rate(report.images_per_second)),
            "" if contestant.latency_ms is None else f"{contestant.latency_ms:.3g} ms",
            _plain(markup.size(contestant.size_bytes)),
        )
    console().print(table)
    print_line()
    print_line(words)


def print_robustness(found: Robustness) -> None:
    """Accuracy by corruption and severity, and by the number of views of each image."""
    from rich.table import Table

    from eyebright.evaluation.report import percent

    if found.corruptions is not None:
        table = Table(box=None, pad_edge=False)
        table.add_column("accuracy at severity")
        for severity in range(1, 6):
            table.add_column(str(severity), justify="right")
        for result in found.corruptions.results:
            table.add_row(result.name, *(percent(value) for value in result.accuracies))
        console().print(table)
        print_line(str(found.corruptions))
    if found.views:
        table = Table(box=None, pad_edge=False)
        for name in ("views", "accuracy", "95 % interval", "log loss", "gained", "lost", "p", "time"):
            table.add_column(name, justify="right")
        for view in found.views:
            interval = f"{view.accuracy_low * 100:.1f} to {view.accuracy_high * 100:.1f} %"
            numbers = (f"{view.log_loss:.3f}", str(view.gained), str(view.lost), f"{view.p_value:.2f}")
            table.add_row(str(view.views), percent(view.accuracy), interval, *numbers, f"{view.cost:.1f} x")
        console().print(table)


def _plain(text: str) -> str:
    import html

    return html.unescape(text).replace("\u00a0", " ").replace("\u202f", " ")


def print_predictions(predictions: Iterable[Prediction]) -> tuple[int, int]:
    """A table of answers; returns how many there are, and how many are errors."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("confidence", justify="right")
    table.add_column("unsure", overflow="fold")
    table.add_column("next likeliest", overflow="fold")
    total = errors = 0
    rows = iter(predictions)
    for answer in islice(rows, TABLE_ROWS):
        total += 1
        if answer.error is not None:
            errors += 1
            table.add_row(cell(answer.name), cell(f"error: {answer.error}", "red"), "", "", "")
            continue
        others = [(name, share) for name, share in answer.probabilities.items() if name not in answer.labels][:2]
        following = ", ".join(f"{name} {100 * share:.0f} %" for name, share in others if share >= 0.005)
        confidence = "" if answer.confidence is None else f"{100 * answer.confidence:.1f} %"
        labels = ", ".join(answer.labels) if answer.labels else "none of them"
        unsure = cell(answer.unsure or "", "yellow")
        table.add_row(cell(answer.name), cell(labels), confidence, unsure, cell(following))
    more = 0
    for answer in rows:
        more += 1
        errors += answer.error is not None
    screen = console()
    screen.print(table)
    if more:
        print_line(f"and {more:,} more; --out results.csv keeps all of them")
    return total + more, errors


def _print_wide(table: Table, width: int) -> None:
    """A table that is cut nowhere: where the terminal, or the 80 columns of a pipe, are narrower, its lines break."""
    from rich.console import Console

    Console(highlight=False, width=max(console().width, width)).print(table, crop=False)


def print_export(export: Export) -> None:
    """An exported engine beside torch: the same answers, and how fast."""
    from rich.table import Table

    from eyebright.evaluation.report import percent
    from eyebright.metrics import wilson_interval
    from eyebright.page.markup import rate
    from eyebright.page.markup import size as markup_size

    verified = export.verified
    count = verified.num_images
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("torch", verified.engine):
        table.add_column(name, justify="right", no_wrap=True)

    def accuracy(correct: int) -> str:
        low, high = wilson_interval(correct, count)
        return f"{percent(correct / count)} ({100 * low:.1f} to {100 * high:.1f})"

    def milliseconds(seconds: float) -> str:
        return f"{1000 * seconds:.1f} ms"

    speeds = (_plain(rate(speed)) for speed in (verified.torch_images_per_second, verified.images_per_second))
    latencies = map(milliseconds, (verified.torch_latency_seconds, verified.latency_seconds))
    several = verified.several_labels
    table.add_row(
        "same labels as torch" if several else "same class as torch", "", f"{verified.num_agree:,} of {count:,}"
    )
    right = "all labels right" if several else "accuracy"
    table.add_row(f"{right} (95 % interval)", accuracy(verified.torch_correct), accuracy(verified.num_correct))
    table.add_row("largest logit, and off by", f"{verified.largest_logit:.3g}", f"{verified.largest_difference:.2g}")
    if verified.lowest_cosine is not None:
        table.add_row("embeddings, lowest cosine", "", f"{verified.lowest_cosine:.4f}")
    table.add_row("size", "", f"{verified.size_bytes / 1e6:.1f} MB")
    table.add_row("one image", *latencies)
    table.add_row("images a second", *speeds)
    table.add_row("times torch", "1", f"{verified.speedup:.1f}")
    _print_wide(table, 96)
    print_line()
    print_line(f"{verified.engine}: {verified.how}. Compared on {count:,} test images; timed in turns, decoded before.")
    if export.path.suffix == ".html":
        size = markup_size(export.path.stat().st_size)
        print_line(f"Page:        {export.path}, {size}: opens in any browser and needs no network")
    else:
        print_line(f"Export:      {export.path}")


def print_speed(report: SpeedReport) -> None:
    """The engines of a classifier beside each other, and what they were measured on."""
    from rich.table import Table

    from eyebright.page.markup import rate

    def spread(found: Spread) -> str:
        return f"{rate(found.median)} ({rate(found.low)}–{rate(found.high)})"

    def milliseconds(value: float) -> str:
        return f"{value:,.0f} ms" if value >= 100 else f"{value:.3g} ms"

    table = Table(box=None, pad_edge=False)
    table.add_column("engine", no_wrap=True)
    for name in ("from files", "times", "network", "of peak", "p50", "p99", "first", "memory"):
        table.add_column(name, justify="right")
    for one in report.engines:
        table.add_row(
            one.engine,
            spread(one.from_files),
            f"{one.times:.2f}",
            spread(one.alone),
            "" if one.share_of_peak is None else f"{100 * one.share_of_peak:.0f} %",
            milliseconds(one.one_image.median),
            milliseconds(one.one_image.slow),
            "" if one.first_seconds is None else f"{one.first_seconds:.2f} s",
            "" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:,.0f} MB",
        )
    _print_wide(table, 116)
    print_line()
    print_line("Images a second from file to label, and how many times the first engine; of the network alone, images")
    print_line("decoded before, and its share of the machine's peak. One image from file to label. Of a process of its")
    print_line("own: the time to its first answer, and the most memory.")
    print_line()
    work = "" if report.gigaflop is None else f", {report.gigaflop:.3g} GFLOP an image"
    load = "" if report.load is None else f"; load {report.load[0]:.1f} before, {report.load[1]:.1f} after"
    print_line(f"{report.model} at {report.image_size} pixels{work}; {report.num_images:,} images ({report.images}).")
    print_line(f"Medians of {report.rounds:,} rounds with their quartiles, the engines in turns{load}.")
    peaks = ", ".join(f"{rate(found)} GFLOP/s in {kind}" for kind, found in report.peaks.items())
    print_line(f"Peak, the fastest matrix product: {peaks}.")
    print_line(f"{report.machine}.")
    for note in report.notes:
        print_line(f"Note: {note}.")


def print_explained(explained: Explained) -> None:
    """Where the maps are from, and for each image how faithful its maps are."""
    from rich.table import Table

    from eyebright.explanation.attribution import TITLES

    table = Table(box=None, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("confidence", justify="right")
    table.add_column("map")
    table.add_column("insertion - deletion", justify="right")
    table.add_column("random maps", justify="right")
    for found in explained.explanations[:TABLE_ROWS]:
        if found.image is None:
            table.add_row(cell(found.name), cell(f"error: {found.prediction.error}", "red"), "", "", "", "")
            continue
        first = [cell(found.name), cell(found.label), f"{100 * found.prediction.probabilities[found.label]:.1f} %"]
        for judged in found.maps:
            measured = judged.faithfulness
            title = TITLES[judged.attribution.method]
            table.add_row(*first, title, f"{measured.score:.2f}", f"{measured.random_score:.2f}")
            first = ["", "", ""]
    _print_wide(table, 110)
    print_line()
    if any(judged.attribution.layer for found in explained.explanations for judged in found.maps):
        print_line(f"Drawn from:  {explained.subject.layer}")
