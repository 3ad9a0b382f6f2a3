"""Tables of the report page: pairs of networks, every number, costs, and the parts of the images that do worst."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from eyebright.evaluation.compare import Comparison, Contestant, about, pairs_of, ranked
from eyebright.evaluation.measures import Measured
from eyebright.evaluation.report import EvaluationReport, percent
from eyebright.evaluation.slices import Slice
from eyebright.page import markup

_SLICES_SHOWN = 12
NAMES = {
    "balanced_accuracy": "balanced accuracy",
    "macro_precision": "precision, mean over classes",
    "macro_recall": "recall, mean over classes",
    "macro_f1": "F1, mean over classes",
    "weighted_precision": "precision, weighted by class size",
    "weighted_recall": "recall, weighted by class size",
    "weighted_f1": "F1, weighted by class size",
    "roc_auc": "ROC-AUC, one class against the others",
    "average_precision": "average precision, one class against the others",
    "calibration_error": "calibration error (lower is better)",
    "brier": "Brier score (lower is better)",
    "log_loss": "log loss (lower is better)",
}
"""Of `EvaluationReport.measures`, as a table calls them."""
_NUMBER = ' class="number"'


def render_pairs(comparison: Comparison) -> str:
    """Every two networks: the difference with its interval, drawn on one scale."""
    order, pairs = ranked(comparison), pairs_of(comparison)
    reach = max(1.0, *(max(abs(p.difference.points_low), abs(p.difference.points_high)) for p in pairs))
    titles = [markup.text(c.title if c.is_network else "no network") for c in order]
    rows = []
    for pair in pairs:
        gap = pair.difference
        left, right = (50 + 50 * end / reach for end in (gap.points_low, gap.points_high))
        kind = "gap" if gap.told_apart else "gap unclear"
        drawn = (
            f'<span class="{kind}" aria-hidden="true"><b style="left:{left:.1f}%;width:{max(0.3, right - left):.1f}%">'
            f'</b><i style="left:{50 + 50 * gap.points / reach:.1f}%"></i></span>'
        )
        if gap.told_apart:
            outcome = "better"
        elif gap.needed is None:
            outcome = "can't be told; more seeds could" if gap.trainings > 1 and gap.points else "equal here"
        else:
            outcome = f"can't be told; about {about(gap.needed):,} images could"
        f1 = "&#8211;"
        if gap.f1_points is not None and gap.f1_low is not None and gap.f1_high is not None:
            f1 = f"{_points(gap.f1_points)} <small>{_points(gap.f1_low)} to {_points(gap.f1_high)}</small>"
        rows.append(
            f'<tr><th scope="row">{titles[pair.first]} less {titles[pair.second]}</th>'
            f'<td class="number">{_points(gap.points)} <small>{_points(gap.points_low)} to {_points(gap.points_high)}'
            f'</small></td><td class="track">{drawn}</td><td class="number">{_chance(gap.p_value)}</td>'
            f'<td class="number">{f1}</td><td>{outcome}</td></tr>'
        )
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (
            ("pair", ""),
            ("accuracy, points", _NUMBER),
            ("", ' class="track" aria-hidden="true"'),
            ("chance", _NUMBER),
            ("macro F1, points", _NUMBER),
            ("outcome", ""),
        )
    )
    table = f'<table class="plain spread"><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table>'
    return markup.scroll_box("Pairs of networks", table)


def render_numbers(contestants: Sequence[Contestant]) -> str:
    """Every number of every network, with its interval; empty where reports hold none."""
    names = [name for name in NAMES if any(name in c.report.measures for c in contestants)]
    if not names:
        return ""
    head = '<th scope="col">number</th>' + "".join(
        f'<th scope="col" class="number">{markup.text(c.title)}</th>' for c in contestants
    )
    rows = "".join(
        f'<tr><th scope="row">{NAMES[name]}</th>'
        + "".join(f'<td class="number">{_measured(c.report.measures.get(name))}</td>' for c in contestants)
        + "</tr>"
        for name in names
    )
    table = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    shown = markup.scroll_box("Every number", table)
    return f"<details><summary>Every number, with its interval</summary>{shown}</details>"


def render_costs(contestants: Sequence[Contestant]) -> str:
    """What each network costs."""
    facts: list[tuple[str, Callable[[Contestant], str | None]]] = [
        ("time to train", lambda c: markup.duration(c.train_seconds)),
        ("most memory while training", lambda c: _memory(c.train_memory_bytes)),
        ("most on the GPU while training", lambda c: _memory(c.train_gpu_bytes)),
        ("images a second, many at once", lambda c: markup.rate(c.images_per_second)),
        ("one image alone, median", lambda c: _milliseconds(c.latency_ms)),
        ("one image alone, 99 of 100 below", lambda c: _milliseconds(c.slow_latency_ms)),
        ("most memory while classifying", lambda c: _memory(c.predict_memory_bytes)),
        ("most on the GPU while classifying", lambda c: _memory(c.predict_gpu_bytes)),
        ("size on disk", lambda c: markup.size(c.size_bytes)),
        ("parameters", lambda c: markup.amount(c.parameters)),
        ("multiply-adds for one image", lambda c: markup.amount(c.multiply_adds)),
    ]
    head = '<th scope="col">cost</th>' + "".join(
        f'<th scope="col" class="number">{markup.text(c.title)}</th>' for c in contestants
    )
    rows = "".join(
        f'<tr><th scope="row">{name}</th>'
        + "".join(f'<td class="number">{fact(c) or "&#8211;"}</td>' for c in contestants)
        + "</tr>"
        for name, fact in facts
        if any(fact(c) for c in contestants)
    )
    words = (
        '<p class="quiet">Many at once: reading and decoding included. One alone: already decoded. '
        "Memory is that of the whole process, libraries and images included."
    )
    if not all(c.is_network for c in contestants):
        words += " Multiply-adds without a network are those of the linear model alone."
    table = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return f"{markup.scroll_box('Costs', table)}{words}</p>"


def render_slices(contestants: Sequence[Contestant]) -> str:
    """The parts of the images that are certainly bad first, of each network; empty where there are none."""
    shown = [c for c in contestants if c.report.slices]
    return "".join(
        f"<details{' open' if c is shown[0] else ''}><summary>{markup.text(c.title)}, {_how_many(c.report)}</summary>"
        + markup.scroll_box(f"Parts of the images, {c.title}", _slice_table(c.report))
        + "</details>"
        for c in shown
    )


def _how_many(report: EvaluationReport) -> str:
    count = len(report.slices)
    return f"{count} parts, worst first" if count <= _SLICES_SHOWN else f"the worst {_SLICES_SHOWN} of {count:,} parts"


def _slice_table(report: EvaluationReport) -> str:
    head = "".join(
        f'<th scope="col"{kind}>{name}</th>'
        for name, kind in (
            ("part", ""),
            ("images", _NUMBER),
            ("accuracy", _NUMBER),
            ("95 % interval", ' class="track"'),
        )
    )
    rows = "".join(map(_slice_row, report.slices[:_SLICES_SHOWN]))
    return f'<table class="plain spread"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'


def _slice_row(part: Slice) -> str:
    return (
        f'<tr><th scope="row">{markup.name(part.where)} {markup.name(part.name)}</th>'
        f'<td class="number">{part.num_samples:,}</td><td class="number">{percent(part.accuracy)}</td>'
        f'<td class="track">{interval_bar(part.accuracy, part.accuracy_low, part.accuracy_high)}</td></tr>'
    )


def interval_bar(share: float, low: float, high: float, *, is_told: bool = False) -> str:
    """A bar up to a share, with its interval as a line.

    Told in words to those who do not see it, unless the words stand beside it anyway.
    """
    words = markup.text(f"{low * 100:.1f} to {high * 100:.1f} %")
    spoken = 'aria-hidden="true"' if is_told else f'role="img" aria-label="{words}" title="{words}"'
    return (
        f'<span class="bar" {spoken}>'
        f'<i style="width:{share * 100:.2f}%"></i>'
        f'<b style="left:{low * 100:.2f}%;width:{max(0.4, (high - low) * 100):.2f}%"></b></span>'
    )


def _measured(found: Measured | None) -> str:
    if found is None:
        return "&#8211;"
    interval = "" if found.low is None or found.high is None else f" <small>{found.low:.3f} to {found.high:.3f}</small>"
    return f"{found.value:.3f}{interval}"


def _points(points: float) -> str:
    text = f"{points:.1f}"
    return "0.0" if text == "-0.0" else text.replace("-", "&#8722;")


def _chance(p_value: float) -> str:
    """ "3.1 %", "below 0.1 %"."""
    return "below&#160;0.1&#160;%" if p_value < 0.001 else f"{100 * p_value:.1f}&#160;%"


def _memory(num_bytes: int | None) -> str | None:
    return None if num_bytes is None else markup.size(num_bytes)


def _milliseconds(value: float | None) -> str | None:
    return None if value is None else f"{value:.3g}&#160;ms"
