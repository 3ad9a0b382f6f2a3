"""The blocks of a report page that do not depend on how good a network is."""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.evaluation.curves import render_curves
from eyebright.evaluation.facts import ComparisonFacts, NetworkFacts
from eyebright.evaluation.report import Unreadable
from eyebright.page import markup
from eyebright.page.document import build_page

_UNREADABLE_SHOWN = 200


def assemble_page(
    comparison: ComparisonFacts,
    title: str,
    words: str,
    kind: str,
    sections: Sequence[tuple[str, str, str]],
    *,
    style: str = "",
    extra: str = "",
    script: str = "",
) -> str:
    """A whole page.

    Args:
        comparison: what the page is about.
        title: the outcome in one short line, as text.
        words: the same in a few sentences, as text.
        kind: "run" or "comparison".
        sections: anchor, title and body (HTML) of each.
        style: CSS beyond what all pages share.
        extra: what the script reads; it is not shown.
        script: JavaScript, run at the end of the page.
    """
    links = "".join(f'<a href="#{anchor}">{name}</a>' for anchor, name, _ in sections)
    blocks = "".join(
        f'<section id="{anchor}" aria-labelledby="{anchor}-title"><h2 id="{anchor}-title">{name}</h2>{body}</section>'
        for anchor, name, body in sections
    )
    return build_page(
        f"{title} \u2013 {comparison.data_name}",
        f'<main>{_header(comparison, title, words, kind)}<nav aria-label="Contents">{links}</nav>{blocks}</main>'
        + extra,
        style=style,
        script=script,
    )


def _header(comparison: ComparisonFacts, title: str, words: str, kind: str) -> str:
    facts = [
        markup.name(comparison.data_name),
        markup.plural(sum(comparison.split_counts.values()), "image"),
        f"{markup.plural(len(comparison.class_counts), 'class')}",
        markup.text(comparison.date),
    ]
    notes = "".join(f"<li>{markup.text(note)}</li>" for note in comparison.notes)
    warning = f'<aside class="notes"><h2>Before you rely on this</h2><ul>{notes}</ul></aside>' if notes else ""
    return (
        f'<header><p class="kicker">Eyebright {kind}</p><h1>{_unbroken(title)}</h1>'
        f'<p class="lead">{markup.text(words)}</p>'
        f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul></header>{warning}'
    )


def _unbroken(title: str) -> str:
    """A title whose names (ResNet-50) are not broken at their hyphens."""
    return markup.text(title).replace("-", "&#8209;")


def render_learning(order: Sequence[NetworkFacts]) -> str:
    """How each network learned."""
    words = (
        "Measured on the validation images: not trained on, but used to choose among these. A ring marks what was "
        "kept: the lowest loss, or a later epoch whose loss is higher by no more than chance may make it (a standard "
        "error). For epochs that is the loss at the temperature that suits the network best, for how sure it is can "
        "be put right afterwards, but not what it confuses."
    )
    if len(order) > 1:
        words += " All accuracy axes are the same."
    return f"<p>{words}</p>" + render_curves(order)


def render_unreadable(unreadable: Sequence[Unreadable]) -> str:
    """Which images could not be read, and why."""
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


def render_networks(order: Sequence[NetworkFacts]) -> str:
    """What each network is."""
    cards = "".join(
        f'<article class="card"><h3>{markup.text(c.title)}</h3><p>{markup.text(c.sentence)}</p><dl class="pairs">'
        + _pairs(
            [
                ("started from" if c.is_network else "looks at", c.weights),
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


def render_reproduction(comparison: ComparisonFacts) -> str:
    """What it was made with, and the command to get it again."""
    splits = ", ".join(f"{count:,} {split}" for split, count in comparison.split_counts.items())
    facts = [
        ("images", f"{comparison.data_name}: {splits}"),
        ("seed", _seed_words(comparison)),
        ("date", comparison.date),
        ("machine", comparison.machine),
        ("versions", ", ".join(f"{package} {version}" for package, version in comparison.versions.items())),
    ]
    command = ""
    if comparison.command:
        line = f"<pre><code>{markup.text(comparison.command)}</code></pre>"
        command = f"<p>To get the same again:</p>{markup.scroll_box('Command', line)}"
    return f'<dl class="pairs">{_pairs(facts)}</dl>{command}'


def _seed_words(comparison: ComparisonFacts) -> str:
    if comparison.seeds:
        return f"{comparison.seed} for the split; {', '.join(map(str, comparison.seeds))} for the trainings"
    if comparison.folds:
        return f"{comparison.seed}, for the {comparison.folds} folds and all training"
    return f"{comparison.seed}, for the split and all training"


def render_class_counts(comparison: ComparisonFacts) -> str:
    """How many images each class has, over all splits."""
    counts = "".join(
        f'<tr><th scope="row">{markup.name(name)}</th><td class="number">{count:,}</td></tr>'
        for name, count in comparison.class_counts.items()
    )
    return markup.scroll_box(
        "Images per class",
        '<table class="plain"><thead><tr><th scope="col">class</th><th scope="col" class="number">images</th></tr>'
        f"</thead><tbody>{counts}</tbody></table>",
    )


def _pairs(facts: Sequence[tuple[str, str]]) -> str:
    return "".join(f"<div><dt>{markup.text(k)}</dt><dd>{markup.text(v)}</dd></div>" for k, v in facts if v)
