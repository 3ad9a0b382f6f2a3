"""The page of a check: every finding with its pictures, to be accepted or dismissed, and saved as decisions.csv.

One file that needs nothing else. Its own script keeps what was chosen in the browser and writes the file; it is the
only one that the page's policy lets run, so that a hostile name stays text even if it slipped through the escaping.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.checking.check import by_kind
from eyebright.checking.findings import CheckReport, Decision, Finding, Kind
from eyebright.errors import ImageError
from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.page.thumbnail import thumbnail

ReadThumbnail = Callable[[str], NDArray[np.uint8] | None]
"""A sample's name -> its image (H, W, 3) uint8, or None where it can't be shown."""

SHOWN = 300
"""Findings of one kind on the page."""
WITH_PICTURES = 60
"""Of these, the ones with pictures."""
PICTURES = 6
"""Of one finding."""
SIDE = 136
"""Of a picture's longer side, in pixels: a label is judged by more than an impression."""
PICTURE_BYTES = 2_200_000
"""Of all pictures together."""


def render_check(
    report: CheckReport,
    read_thumbnail: ReadThumbnail,
    *,
    decisions: Sequence[Decision] = (),
    command: str = "",
    next_command: str = "",
) -> str:
    """The page as HTML, to be written as UTF-8.

    Args:
        report: what was found.
        read_thumbnail: a sample's name -> its image (H, W, 3) uint8, or None where it can't be shown.
        decisions: those of an earlier check, which the file that is saved holds as well.
        command: what the user typed.
        next_command: what to type once decisions.csv is saved.
    """
    kinds = by_kind(report.findings)
    pictures = _Pictures(read_thumbnail)
    known: dict[str, dict[str, Any]] = {}
    sections = []
    for number, (kind, findings) in enumerate(kinds.items()):
        articles = []
        for position, finding in enumerate(findings[:SHOWN]):
            identity = f"k{number}-{_identity(finding, report)}"
            if identity in known:  # the same words about the same images: once is enough
                continue
            known[identity] = _choices(finding, report)
            shown = pictures.of(finding) if position < WITH_PICTURES else _names(finding)
            articles.append(_article(identity, kind, finding, shown))
        sections.append(_section(kind, findings, articles))
    key = hashlib.sha256(json.dumps([report.data, sorted(known)]).encode()).hexdigest()[:16]
    # Inside <script>, only "<" could end the block; \u003c is the same to JSON.
    earlier = [[one.sample, one.digest, one.action, one.label, one.reason] for one in decisions]
    data = json.dumps({"key": key, "findings": known, "earlier": earlier}).replace("<", "\\u003c")
    script, style = (
        resources.files("eyebright.checking").joinpath(f"check.{kind}").read_text(encoding="utf-8")
        for kind in ("js", "css")
    )
    body = (
        f"<main>{_header(report, kinds)}{''.join(sections)}{_next(next_command)}{_measured(report, command)}</main>"
        f"{_DESK if known else ''}"
        f'<script type="application/json" id="findings">{data}</script>'
    )
    return build_page(f"{_verdict(report)} – {report.data}", body, style=style, script=script if known else "")


class _Pictures:
    """Thumbnails, each image read once, until the page would be too large."""

    def __init__(self, read_thumbnail: ReadThumbnail) -> None:
        self._read = read_thumbnail
        self._made: dict[str, str] = {}
        self._left = PICTURE_BYTES

    def of(self, finding: Finding) -> str:
        """The first samples of a finding, side by side; names only where the page is full."""
        if not finding.samples or self._left <= 0:
            return _names(finding)
        figures = []
        for name in finding.samples[:PICTURES]:
            if name not in self._made:
                try:
                    image = self._read(name)
                except ImageError:
                    image = None
                self._made[name] = thumbnail(image, markup.end_of_place(name), side=SIDE)
            self._left -= len(self._made[name])
            figures.append(
                f"<figure>{self._made[name]}"
                f'<figcaption title="{markup.text(name)}">{markup.name(markup.end_of_place(name))}</figcaption>'
                "</figure>"
            )
        more = len(finding.samples) - PICTURES
        rest = f'<p class="quiet">and {more:,} more</p>' if more > 0 else ""
        return f'<div class="pictures">{"".join(figures)}</div>{rest}'


def _names(finding: Finding) -> str:
    """A finding's samples where there are no pictures of them; its words name single ones already."""
    if len(finding.samples) < 2:
        return ""
    shown = "<br>".join(markup.name(name) for name in finding.samples[:PICTURES])
    more = len(finding.samples) - PICTURES
    return f'<p class="quiet">{shown}{f"<br>and {more:,} more" if more > 0 else ""}</p>'


def _identity(finding: Finding, report: CheckReport) -> str:
    """What a finding is about, so that a choice survives a new check of the same images."""
    about = [finding.kind, *(f"{name}\0{report.digests.get(name, '')}" for name in finding.samples)]
    if not finding.samples:
        about.append(finding.words)
    text = "\0\0".join(about)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _proposal(finding: Finding, report: CheckReport) -> tuple[Decision, ...]:
    """What accepting means; where nothing is proposed about a single image, it can still be left out."""
    if finding.proposal or len(finding.samples) != 1:
        return finding.proposal
    name = finding.samples[0]
    return (Decision(sample=name, digest=report.digests.get(name, ""), action="exclude", reason=finding.kind),)


def _choices(finding: Finding, report: CheckReport) -> dict[str, Any]:
    """What the script needs to write a finding's lines."""
    return {
        "kind": finding.kind,
        "accept": [[d.sample, d.digest, d.action, d.label] for d in _proposal(finding, report)],
        "samples": [[name, report.digests.get(name, "")] for name in finding.samples],
    }


def _article(identity: str, kind: Kind, finding: Finding, shown: str) -> str:
    buttons = ""
    accept = _accept_words(finding)
    if accept:
        buttons += f'<button type="button" value="accept" aria-pressed="false">{accept}</button>'
    for place, name in enumerate(_alternatives(finding)):
        buttons += (
            f'<button type="button" value="only{place}" aria-pressed="false">'
            f"Keep only {markup.name(markup.end_of_place(name))}</button>"
        )
    buttons += (
        '<button type="button" value="dismiss" aria-pressed="false">'
        f"{'Keep as it is' if len(finding.samples) == 1 else 'Keep all' if finding.samples else 'Seen'}</button>"
    )
    return (
        f'<article class="finding" id="{identity}" data-kind="{markup.text(kind.name)}">{shown}'
        f'<p>{markup.text(finding.words)}</p><div class="choices">{buttons}</div></article>'
    )


def _alternatives(finding: Finding) -> tuple[str, ...]:
    """Images of which any one may be the right one to keep, as where the same one stands under two classes."""
    leaving = {decision.sample for decision in finding.proposal if decision.action == "exclude"}
    several = 2 <= len(finding.samples) <= PICTURES
    return finding.samples if several and leaving == set(finding.samples) else ()


def _accept_words(finding: Finding) -> str:
    """What the accepting button says, as HTML; empty where there is nothing to accept."""
    if not finding.proposal:
        return "Leave it out" if len(finding.samples) == 1 else ""
    changes = [decision for decision in finding.proposal if decision.action != "keep"]
    if not changes:
        return ""
    if len({(decision.action, decision.label) for decision in changes}) > 1:
        return "Do as proposed"
    first = changes[0]
    if first.action == "relabel":
        return f"Relabel as {markup.name(first.label)}"
    if len(changes) > 1:
        return "Leave out both" if len(changes) == 2 else f"Leave out {len(changes):,}"
    if len(finding.samples) == 1:
        return "Leave it out"
    return f"Leave out {markup.name(markup.end_of_place(first.sample))}"


def _section(kind: Kind, findings: Sequence[Finding], articles: Sequence[str]) -> str:
    name = markup.text(kind.name)
    some = ""
    if len(findings) > len(articles):
        some = (
            f'<p class="quiet">The {len(articles):,} worst of {len(findings):,}; check.json names all. Decide on '
            "these, then check again with --decisions: what was decided is saved again along with the rest.</p>"
        )
    elif len(findings) > WITH_PICTURES:
        some = f'<p class="quiet">The first {WITH_PICTURES} are shown with pictures.</p>'
    every = ""
    if len(articles) > 1:
        many = f"all {len(articles):,}"
        accept = any(_accept_words(finding) and finding.proposal for finding in findings)
        every = (
            '<div class="all">'
            + (f'<button type="button" data-kind="{name}" value="accept">Accept {many}</button>' if accept else "")
            + f'<button type="button" data-kind="{name}" value="dismiss">Dismiss {many}</button>'
            + f'<button type="button" data-kind="{name}" value="reopen">Reopen {many}</button></div>'
        )
    return (
        f'<section id="{name}" aria-labelledby="{name}-title"><h2 id="{name}-title">{markup.text(kind.title)}'
        f'<span class="chip {kind.severity}">{kind.severity}</span></h2>'
        f'<p>{markup.text(kind.reason)}</p>{some}{every}<div class="findings">{"".join(articles)}</div></section>'
    )


def _verdict(report: CheckReport) -> str:
    count = Counter(kind.severity for kind, found in by_kind(report.findings).items() for _ in found)
    if count["wrong"]:
        return f"{markup.plural(count['wrong'], 'finding')} to put right"
    if count["doubtful"]:
        return f"Nothing is wrong for certain, {markup.plural(count['doubtful'], 'finding')} to look at"
    return "Nothing wrong was found"


def _header(report: CheckReport, kinds: dict[Kind, list[Finding]]) -> str:
    unread = report.num_samples - report.num_readable
    facts = [
        markup.name(report.data),
        markup.plural(report.num_samples, "image"),
        markup.plural(len(report.counts), "class"),
        f"{unread:,} can't be read" if unread else "all of them readable",
    ]
    notes = "".join(f"<li>{markup.text(note)}</li>" for note in report.notes)
    aside = f'<aside class="notes"><h2>Good to know</h2><ul>{notes}</ul></aside>' if notes else ""
    links = "".join(
        f'<li><a href="#{markup.text(kind.name)}"><span>{markup.text(kind.title)}</span><b>{len(found):,}</b></a></li>'
        for kind, found in kinds.items()
    )
    lead = (
        "Accept a finding to do as it proposes, dismiss it to keep the images as they are, then save decisions.csv. "
        "Nothing is changed in your folder, now or later: training leaves out or relabels what the file says."
        if kinds
        else "Every image could be read, none stands there twice or under two classes, and none looks out of place."
    )
    keys = (
        '<p class="quiet keys">Keys: <kbd>j</kbd> next, <kbd>k</kbd> previous, <kbd>a</kbd> accept, <kbd>d</kbd> '
        "dismiss – the same key again reopens.</p><noscript><p>Choosing and saving need JavaScript, which is switched "
        "off here.</p></noscript>"
        if kinds
        else ""
    )
    return (
        f'<header><p class="kicker">Eyebright check</p><h1>{markup.text(_verdict(report))}</h1>'
        f'<p class="lead">{lead}</p>'
        f'<ul class="facts">{"".join(f"<li>{fact}</li>" for fact in facts)}</ul></header>{aside}'
        f'<ul class="kinds">{links}</ul>{keys}'
    )


_DESK = (
    '<aside class="desk" aria-label="Your decisions"><div><p id="state" role="status"></p>'
    '<button type="button" id="save" disabled>Save decisions.csv</button></div></aside>'
)


def _next(command: str) -> str:
    if not command:
        return ""
    line = f"<pre><code>{markup.text(command)}</code></pre>"
    return (
        '<section id="next" aria-labelledby="next-title"><h2 id="next-title">Then</h2>'
        f"<p>With decisions.csv saved:</p>{markup.scroll_box('Command', line)}</section>"
    )


def _measured(report: CheckReport, command: str) -> str:
    counts = "".join(
        f'<tr><th scope="row">{markup.name(name)}</th><td class="number">{count:,}</td></tr>'
        for name, count in report.counts.items()
    )
    table = markup.scroll_box(
        "Images per class",
        '<table class="plain"><thead><tr><th scope="col">class</th><th scope="col" class="number">images</th></tr>'
        f"</thead><tbody>{counts}</tbody></table>",
    )
    typed = ""
    if command:
        typed = markup.scroll_box("Command", f"<pre><code>{markup.text(command)}</code></pre>")
    return (
        '<section id="measured"><h2>How this was found</h2>'
        f"<p>{markup.plural(report.num_samples, 'image')} looked at in {markup.duration(report.seconds)}, "
        f"{markup.rate(report.images_per_second)} a second; the search for wrong labels comes on top.</p>{typed}"
        f"<details><summary>Images per class</summary>{table}</details></section>"
    )
