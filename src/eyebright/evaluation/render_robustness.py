"""The page that shows what a classifier bears: one image in every state, and the accuracy on all images below it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from eyebright.evaluation.corruptions import CORRUPTIONS, SEVERITIES, Corruption
from eyebright.evaluation.report import percent
from eyebright.evaluation.robustness import CorruptionResult, RobustnessReport, ViewsResult
from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.page.thumbnail import thumbnail

_GROUPS = {
    "noise": "Noise, as of a sensor in the dark",
    "blur": "Blur, of lens and movement",
    "weather": "Weather and light",
    "digital": "What software does",
    "geometry": "A camera held askew",
}
_SIDE = 112

_STYLE = """
.states{display:grid;grid-template-columns:repeat(6,minmax(72px,1fr));gap:.5rem;margin:0 0 1.5rem;min-width:34rem}
.states figure{margin:0}.states .thumb{width:100%;height:auto;aspect-ratio:1;background:none}
.states img{width:100%;height:100%;border-radius:6px}
.states figcaption{font-size:.8rem;line-height:1.35;margin-top:.25rem}.states b{font-size:.95rem}
.states .fall{display:block;height:4px;border-radius:2px;background:var(--line);margin:.25rem 0}
.states .fall i{display:block;height:100%;border-radius:2px;background:var(--accent)}
"""


def render_robustness(
    report: RobustnessReport, example: NDArray[np.uint8], views: tuple[ViewsResult, ...], *, name: str, data: str
) -> str:
    """The page, as HTML to be written as UTF-8.

    Args:
        report: what was measured.
        example: (R, R, C) uint8, one of the images.
        views: what several views of each image give; may be empty.
        name: of the classifier, as text.
        data: of the images, as text.
    """
    by_name = {result.name: result for result in report.results}
    groups = []
    for group, title in _GROUPS.items():
        measured = [c for c in CORRUPTIONS if c.group == group and c.name in by_name]
        rows = "".join(_row(c, by_name[c.name], report, example) for c in measured)
        if rows:
            groups.append(f'<section aria-labelledby="{group}"><h2 id="{group}">{title}</h2>{rows}</section>')
    lead = (
        f"{percent(report.accuracy)} of {markup.plural(report.num_samples, 'image')} are right as they are, and "
        f"{percent(report.mean_corrupted_accuracy)} on average over {len(report.results)} corruptions at five "
        "severities."
    )
    drawn = ""
    if report.num_samples < report.drawn_from - report.unreadable:
        drawn = f" The images were drawn from {markup.plural(report.drawn_from, 'image')}."
    words = (
        "Each row shows one image, untouched and at five severities, and below it the share of all images that is "
        "right, with how sure the classifier is on average. A classifier that stays sure while it goes wrong is not to "
        f"be trusted on such images.{drawn}"
    )
    return build_page(
        f"What {name} withstands",
        f'<main><header><p class="kicker">Eyebright robustness</p><h1>What {markup.text(name)} withstands</h1>'
        f'<p class="lead">{markup.text(lead)}</p><ul class="facts"><li>{markup.name(data)}</li></ul></header>'
        f"<p>{markup.text(words)}</p>{''.join(groups)}{_views(views)}</main>",
        style=_STYLE,
    )


def _row(corruption: Corruption, result: CorruptionResult, report: RobustnessReport, example: NDArray[np.uint8]) -> str:
    states = [_state("as it is", example, report.accuracy, report.confidence)]
    for severity in SEVERITIES:
        image = corruption(example, severity, (report.seed, 0))
        place = severity - 1
        states.append(_state(f"severity {severity}", image, result.accuracies[place], result.confidences[place]))
    box = markup.scroll_box(corruption.name, f'<div class="states">{"".join(states)}</div>')
    return f"<h3>{markup.text(corruption.name)}</h3>{box}"


def _state(words: str, image: NDArray[np.uint8], accuracy: float, confidence: float) -> str:
    shown = np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image
    return (
        f"<figure>{thumbnail(shown, words, side=_SIDE)}<figcaption>"
        f'<span class="fall" aria-hidden="true"><i style="width:{accuracy * 100:.1f}%"></i></span>'
        f"<b>{percent(accuracy)}</b> right<br>{words}, {confidence * 100:.0f}&#160;% sure</figcaption></figure>"
    )


def _views(views: tuple[ViewsResult, ...]) -> str:
    if not views:
        return ""
    head = "".join(
        f'<th scope="col" class="number">{word}</th>'
        for word in ("accuracy", "95 % interval", "log loss", "gained", "lost", "p", "time")
    )
    rows = "".join(
        f'<tr><th scope="row">{markup.plural(v.views, "view")}</th><td class="number">{percent(v.accuracy)}</td>'
        f'<td class="number">{v.accuracy_low * 100:.1f} to {v.accuracy_high * 100:.1f}</td>'
        f'<td class="number">{v.log_loss:.3f}</td><td class="number">{v.gained}</td><td class="number">{v.lost}</td>'
        f'<td class="number">{v.p_value:.2f}</td><td class="number">{v.cost:.1f}</td></tr>'
        for v in views
    )
    table = (
        '<table class="plain"><caption>Gained and lost: images that one view gets wrong and several get right, and the '
        "other way round; p: how likely so much by chance. Time: in times of one view.</caption>"
        f'<thead><tr><th scope="col">views</th>{head}</tr></thead><tbody>{rows}</tbody></table>'
    )
    return (
        '<section aria-labelledby="views"><h2 id="views">Several views of each image</h2>'
        f"{markup.scroll_box('Several views', table)}</section>"
    )
