"""How far a classifier's confidence can be relied on, as HTML: a reliability diagram, what answering less often gains,
and whether each promise was kept."""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.evaluation.compare import Contestant
from eyebright.evaluation.report import EvaluationReport, percent
from eyebright.evaluation.trust import CoveragePoint, ReliabilityBin, SetResult, Trust
from eyebright.metrics import wilson_interval
from eyebright.page import markup
from eyebright.page.chart import Axis, Curve, as_percent, draw_chart

_HEIGHT = 250
_QUARTERS = (0.0, 0.25, 0.5, 0.75, 1.0)
_LEAST = 0.0025
"""How high a bar is at least, to be seen."""
_METHODS = {"lac": "LAC", "raps": "RAPS"}


def render_confidence(contestants: Sequence[Contestant]) -> str:
    """One card per contestant: two charts, and the promises with what came of them."""
    lowest = min((p.accuracy for c in contestants for p in c.report.coverage), default=0.0)
    return '<div class="cards middle">' + "".join(_card(c, lowest) for c in contestants) + "</div>"


def _card(contestant: Contestant, lowest: float) -> str:
    report, title = contestant.report, markup.text(contestant.title)
    if not report.reliability:
        return f'<article class="card"><h3>{title}</h3><p class="quiet">This was not measured.</p></article>'
    error = "" if report.calibration_error is None else f" Calibration error {percent(report.calibration_error)}"
    if report.trust is not None and error:
        error += f", {percent(report.trust.error_before)} before calibration"
    charts = (
        f"<figure><figcaption>Confidence and accuracy</figcaption>{_reliability(contestant.title, report.reliability)}"
        f"</figure><figure><figcaption>If only the surest are answered</figcaption>"
        f"{_coverage(contestant.title, report.coverage, report.trust, lowest)}</figure>"
    )
    promises = "<p>It has no calibration: no answer is called unsure.</p>"
    if report.trust is not None:
        promises = _promises(report.trust)
    words = markup.text(f"{error.strip()}.") if error else ""
    return (
        f'<article class="card"><h3>{title}</h3><p class="quiet">{words}</p>'
        f'<div class="charts">{charts}</div>{promises}</article>'
    )


def _promises(trust: Trust) -> str:
    """A table of what was promised and what came of it."""
    rows = [_answered_row(trust)]
    rows += [_set_row(result) for result in trust.sets]
    words = []
    if trust.num_unlike:
        words.append(f"{markup.plural(trust.num_unlike, 'image')} looked unlike the training images.")
    if not trust.novelty_measured:
        words.append("Whether images look unlike the training images was not measured.")
    unsure = f"answers below {percent(trust.threshold)} are unsure"
    if trust.threshold > 1:
        unsure = "every answer is unsure"
    elif trust.threshold == 0:
        unsure = "no answer is unsure for its confidence"
    images = markup.plural(trust.calibrated_on, "validation image")
    words.append(f"Calibrated on {images}: temperature {trust.temperature:.2f}, {unsure}.")
    head = "".join(
        f'<th role="columnheader" scope="col"{kind}>{name}</th>'
        for name, kind in (("what", ""), ("asked", _NUMBER), ("came of it", _NUMBER))
    )
    table = (
        '<table class="plain promises" role="table"><thead role="rowgroup"><tr role="row">'
        f'{head}</tr></thead><tbody role="rowgroup">{"".join(rows)}</tbody></table>'
    )
    return (
        markup.scroll_box("Promises and what came of them", table)
        + f'<p class="quiet">{markup.text(" ".join(words))}</p>'
    )


_NUMBER = ' class="number"'


def _answered_row(trust: Trust) -> str:
    total = trust.num_answered + trust.num_low_confidence + trust.num_unlike
    share = percent(trust.num_answered / total)
    name = f"sure answers ({share} of all) that are right"
    if not trust.num_answered:
        return _row(name, f"at least {percent(1 - trust.error_rate)}", "none is sure", kept=True)
    right = trust.num_answered - trust.num_wrong
    interval = wilson_interval(right, trust.num_answered)
    asked = f"at least {percent(1 - trust.error_rate)}"
    return _row(
        name + ("" if trust.certain else "; too few validation images to promise it"),
        asked,
        f"{percent(right / trust.num_answered)} ({_range(interval.low, interval.high)})",
        kept=interval.high >= 1 - trust.error_rate,
    )


def _set_row(result: SetResult) -> str:
    return _row(
        f"{_METHODS.get(result.method, result.method)} sets that hold the true class "
        f"(mean size {result.mean_size:.2f}, {percent(result.single)} of one class)",
        f"at least {percent(result.coverage)}",
        f"{percent(result.covered)} ({_range(result.covered_low, result.covered_high)})",
        kept=result.covered_high >= result.coverage,
    )


def _row(what: str, asked: str, came: str, *, kept: bool) -> str:
    mark = "" if kept else ' <strong class="broken">not kept</strong>'
    return (
        f'<tr role="row"><th role="rowheader" scope="row">{markup.text(what)}{mark}</th>'
        f'<td role="cell" class="number">{markup.text(asked)}</td>'
        f'<td role="cell" class="number">{markup.text(came)}</td></tr>'
    )


def _range(low: float, high: float) -> str:
    return f"{low * 100:.1f} to {high * 100:.1f} %"


def _share_axis(name: str) -> Axis:
    return Axis(low=0.0, high=1.0, ticks=_QUARTERS, label=as_percent, name=name)


def _reliability(title: str, bins: Sequence[ReliabilityBin]) -> str:
    """Bars of accuracy with intervals over the mean confidence; on the diagonal both are the same."""
    spoken = "; ".join(
        f"{one.confidence * 100:.0f} % sure, {one.accuracy * 100:.0f} % right ({one.count})" for one in bins
    )
    most = max(one.count for one in bins)
    curves = []
    for one in bins:
        left, right = one.low + 0.004, one.high - 0.004
        curves.append(
            Curve(
                points=[(left, max(one.accuracy, _LEAST)), (right, max(one.accuracy, _LEAST))],
                style="bin",
                shape="area",
                shade=0.25 + 0.6 * (one.count / most) ** 0.5,
            )
        )
    curves.append(Curve(points=[(0.0, 0.0), (1.0, 1.0)], style="ideal"))
    for one in bins:
        ends = [(one.confidence, one.accuracy_low), (one.confidence, one.accuracy_high)]
        curves.append(Curve(points=ends, style="whisker"))
    middles = [(one.confidence, one.accuracy) for one in bins]
    curves.append(Curve(points=middles, style="val", shape="dots", radius=3))
    accuracy = Axis(low=0.0, high=1.0, ticks=_QUARTERS, label=as_percent)
    return draw_chart(f"Reliability of {title}: {spoken}", _share_axis("confidence"), accuracy, curves, height=_HEIGHT)


def _coverage(title: str, points: Sequence[CoveragePoint], trust: Trust | None, lowest: float) -> str:
    """Accuracy of the answers given against how many are given; a ring marks where the threshold puts it."""
    step = 0.05 if lowest >= 0.8 else 0.1 if lowest >= 0.5 else 0.25
    low = max(0.0, int((lowest - 1e-9) / step) * step)
    ticks = [low + i * step for i in range(round((1 - low) / step) + 1)]
    spoken = f"{percent(points[-1].accuracy)} if all are answered"
    curves = [
        Curve(points=[(p.answered, p.accuracy) for p in points], style="val unseen", shape="dotted line", radius=5)
    ]
    if trust is not None and trust.num_answered:
        total = trust.num_answered + trust.num_low_confidence + trust.num_unlike
        chosen = trust.num_answered / total, 1 - trust.num_wrong / trust.num_answered
        curves.append(Curve(points=[chosen], style="mark", shape="dots", radius=4.5))
    accuracy = Axis(low=low, high=1.0, ticks=ticks, label=as_percent)
    words = f"Accuracy of {title} against the share answered: {spoken}"
    return draw_chart(words, _share_axis("answered, of all"), accuracy, curves, height=_HEIGHT)


def is_measured(report: EvaluationReport) -> bool:
    """Whether a report holds what this page shows; those of older versions do not."""
    return bool(report.reliability)
