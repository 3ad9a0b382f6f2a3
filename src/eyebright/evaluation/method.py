"""What each network is and how it was measured, as HTML: the end of the report page."""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.evaluation.compare import Comparison, Contestant, ranked
from eyebright.evaluation.report import percent
from eyebright.page import markup


def render_networks(order: Sequence[Contestant]) -> str:
    cards = "".join(
        f'<article class="card"><h3>{markup.text(c.title)}</h3><p>{markup.text(c.sentence)}</p><dl class="pairs">'
        + _pairs(
            [
                ("started from", c.weights),
                ("effort", c.effort),
                ("sees images of", f"{c.image_size} x {c.image_size} pixels"),
                ("parameters", markup.amount(c.parameters)),
                ("multiply-adds per image", markup.amount(c.multiply_adds)),
            ]
        )
        + "</dl></article>"
        for c in order
    )
    return f'<div class="cards">{cards}</div>'


def render_method(comparison: Comparison) -> str:
    splits = ", ".join(f"{count:,} {split}" for split, count in comparison.split_counts.items())
    facts = [
        ("images", f"{comparison.data_name}: {splits}"),
        ("seed", f"{comparison.seed}, for the split and all training"),
        ("date", comparison.date),
        ("machine", comparison.machine),
        ("versions", ", ".join(f"{package} {version}" for package, version in comparison.versions.items())),
    ]
    report = ranked(comparison)[0].report
    sureness = "".join(
        f"<li>{markup.text(c.title)}: log loss {c.report.log_loss:.3f}, calibration error "
        f"{percent(c.report.calibration_error)}</li>"
        for c in ranked(comparison)
        if c.report.log_loss is not None and c.report.calibration_error is not None
    )
    command = ""
    if comparison.command:
        line = f"<pre><code>{markup.text(comparison.command)}</code></pre>"
        command = f"<p>To get the same again:</p>{markup.scroll_box('Command', line)}"
    counts = "".join(
        f'<tr><th scope="row">{markup.name(name)}</th><td class="number">{count:,}</td></tr>'
        for name, count in comparison.class_counts.items()
    )
    classes = markup.scroll_box(
        "Images per class",
        '<table class="plain"><thead><tr><th scope="col">class</th><th scope="col" class="number">images</th></tr>'
        f"</thead><tbody>{counts}</tbody></table>",
    )
    top5 = (
        "Top-5 accuracy counts an answer as right when the label is among the five likeliest classes. "
        if report.top5_accuracy is not None
        else ""
    )
    pair = (
        "Two networks are called different when McNemar's exact test on the same images gives a probability below 5 %, "
        "after Holm's correction for all pairs; the range of a difference comes from the paired bootstrap. "
        if len(comparison.contestants) > 1
        else ""
    )
    return (
        f'<dl class="pairs">{_pairs(facts)}</dl>{command}'
        f"<p>Accuracy is the share of test images whose likeliest class is their label, with Wilson's 95 % interval. "
        f"{pair}{top5}"
        "Macro F1 is the mean of all classes' F1, so that small classes count as much as large ones. "
        "Its interval, and those of all numbers but shares, come from drawing the test images anew a thousand times, "
        "class by class. Images per second include reading and decoding. An image that could not be read counts as an "
        "error.</p>"
        "<details><summary>Images per class, and how far confidences can be trusted</summary>"
        f"<p>Calibration error is the mean gap between confidence and accuracy: at 5 %, answers given with 90 % are "
        f"typically right 85 or 95 times in 100.</p><ul>{sureness}</ul>{classes}</details>"
    )


def _pairs(facts: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{markup.text(k)}</dt><dd>{markup.text(v)}</dd></div>" for k, v in facts if v)
