"""Classes too small or too unequal, and images that stick out: blank, dark, bright, blurred, tiny, extremely long.

What counts as dark or blurred depends on the data: a class of night photos is no fault. An image must be past a fixed
limit and stick out from the others; where more than a tenth of all images are past the limit, that is one remark.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.checking.findings import Decision, Finding, Kind
from eyebright.checking.look import Looks
from eyebright.data.folders import counted
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.errors import printable
from eyebright.metrics import wilson_interval

KINDS = (
    Kind(
        name="blank",
        title="Blank images",
        severity="doubtful",
        reason="One even colour shows nothing to learn; a lens cap or a failed conversion. Leave them out.",
    ),
    Kind(
        name="small-class",
        title="Classes too small to measure",
        severity="doubtful",
        reason="With so few test images, the accuracy of the class is hardly more than a guess. Add images.",
    ),
    Kind(
        name="imbalance",
        title="Classes of very unequal size",
        severity="remark",
        reason="A network leans towards what it saw most; look at each class's own recall, not only at the accuracy.",
    ),
    Kind(
        name="dark",
        title="Very dark images",
        severity="remark",
        reason="Little can be seen in them. Make sure that they show what their label says.",
    ),
    Kind(
        name="bright",
        title="Very bright images",
        severity="remark",
        reason="Overexposed, or an almost white page. Make sure that they show what their label says.",
    ),
    Kind(
        name="blurred",
        title="Blurred images",
        severity="remark",
        reason="Fine detail is missing. They are no fault where photos to be classified will be blurred too.",
    ),
    Kind(
        name="tiny",
        title="Tiny images",
        severity="remark",
        reason="They are enlarged for the network, which adds no detail.",
    ),
    Kind(
        name="extreme-shape",
        title="Extremely long or tall images",
        severity="remark",
        reason="The network sees a square: the ends are cut off or everything is squeezed.",
    ),
)

TEST_SHARE = 0.2
"""What a test split gets of each class where the data bring none."""
WIDEST = 0.3
"""A class is too small if the 95 % interval of an accuracy near 90 % would be wider than this."""
UNEQUAL = 4.0
"""Largest class by smallest."""
BLANK = 2.0
"""Standard deviation of the pixels, in grey levels."""
_COMMON = 0.1
_SPREADS = 2.5


@dataclass(frozen=True, kw_only=True)
class _Limit:
    """Where an image sticks out by one measured quantity."""

    kind: str
    values: NDArray[np.float64]
    """(N,) the larger, the worse."""
    worst: float
    """Past this, an image is suspect."""
    word: str
    """For many: "very dark"."""
    shown: tuple[str, ...]
    """(N,) the quantity in words."""


def find_quality(table: SampleTable, looks: Looks) -> list[Finding]:
    """Findings about classes, then about single images; only blank images come with a proposal."""
    blank = looks.readable & (looks.contrast < BLANK)
    findings = [*_find_small_classes(table, looks), *_find_imbalance(table), *_find_blank(table, looks, blank)]
    rows = np.flatnonzero(looks.readable & ~blank)
    if len(rows):
        for limit in _limits(looks, rows):
            findings += _find_past(table, rows, limit)
    return findings


def _find_small_classes(table: SampleTable, looks: Looks) -> list[Finding]:
    brings_test = bool((table.splits == SPLITS.index("test")).any())
    findings = []
    for label, name in enumerate(table.classes):
        of_class = table.having(label) & looks.readable
        total = int(of_class.sum())
        if brings_test:
            tested = int((of_class & (table.splits == SPLITS.index("test"))).sum())
        else:
            tested = round(total * TEST_SHARE)
        words = f'class "{printable(name)}" has {counted(total, "readable image", "readable images")}'
        width = 1.0
        if tested:
            interval = wilson_interval(round(tested * 0.9), tested)
            width = interval.high - interval.low
            answers = counted(round(tested * 0.9), "right answer", "right answers")
            words += (
                f", {'of them' if total > tested else 'all'} {tested} to test with: {answers} "
                f"of {tested} would mean an accuracy between {interval.low:.0%} and {interval.high:.0%}"
            )
        else:
            words += " and none to test with"
        if width > WIDEST:
            findings.append(Finding(kind="small-class", words=f"{words[0].upper()}{words[1:]}.", score=width))
    return findings


def _find_imbalance(table: SampleTable) -> list[Finding]:
    known = table.splits != UNASSIGNED
    rows = known & (table.splits == SPLITS.index("train")) if known.all() else np.ones(len(table), dtype=np.bool_)
    counts = np.array([np.count_nonzero(table.having(label) & rows) for label in range(len(table.classes))])
    if not len(counts) or counts.min() * UNEQUAL > counts.max() or counts.max() == counts.min():
        return []
    large, small = int(counts.argmax()), int(counts.argmin())
    words = (
        f'Class "{printable(table.classes[large])}" has {counted(int(counts[large]), "image", "images")}, '
        f'"{printable(table.classes[small])}" only {counts[small]:,}.'
    )
    return [Finding(kind="imbalance", words=words, score=float(counts[large] / max(1, counts[small])))]


def _find_blank(table: SampleTable, looks: Looks, blank: NDArray[np.bool_]) -> list[Finding]:
    findings = []
    for row in np.flatnonzero(blank).tolist():
        name = table.names[row]
        decision = Decision(sample=name, digest=looks.digests[row], action="exclude", reason="blank")
        words = f"{printable(name)} is one even colour (its pixels vary by {looks.contrast[row]:.1f} of 255)."
        score = BLANK - float(looks.contrast[row])  # a NumPy float would be no JSON
        findings.append(Finding(kind="blank", words=words, samples=(name,), score=score, proposal=(decision,)))
    return findings


def _limits(looks: Looks, rows: NDArray[np.int64]) -> list[_Limit]:
    brightness = looks.brightness[rows].astype(np.float64)
    sizes = looks.sizes[rows].astype(np.float64)
    sharpness = looks.sharpness[rows].astype(np.float64)
    shorter, longer = sizes.min(axis=1), sizes.max(axis=1)
    words = tuple(f"{int(width)} x {int(height)} pixels" for width, height in sizes)
    levels = tuple(f"mean brightness {level:.0f} of 255" for level in brightness)
    edges = tuple(f"its strongest edges reach {edge:.0f}" for edge in sharpness)
    # Of images under 64 pixels the edges tell nothing of how sharp they are.
    blur = np.where(shorter >= 64, -np.log(sharpness + 1), -np.inf)
    return [
        _Limit(kind="dark", values=-brightness, worst=-35.0, word="very dark", shown=levels),
        _Limit(kind="bright", values=brightness, worst=235.0, word="very bright", shown=levels),
        _Limit(kind="blurred", values=blur, worst=-float(np.log(21)), word="blurred", shown=edges),
        _Limit(kind="tiny", values=-np.log2(shorter), worst=-5.0, word="tiny", shown=words),
        _Limit(kind="extreme-shape", values=np.log2(longer / shorter), worst=2.0, word="far from square", shown=words),
    ]


def _find_past(table: SampleTable, rows: NDArray[np.int64], limit: _Limit) -> list[Finding]:
    """One finding for each image that is past the limit and sticks out; one for all where many are past it."""
    past = limit.values > limit.worst
    if past.sum() > max(3, _COMMON * len(rows)):
        words = f"{int(past.sum()):,} of {len(rows):,} images are {limit.word}, so that is how these data are."
        return [Finding(kind=limit.kind, words=words, score=float(past.mean()))]
    finite = limit.values[np.isfinite(limit.values)]
    if not len(finite):
        return []
    middle = float(np.median(finite))
    spread = 1.4826 * float(np.median(np.abs(finite - middle)))
    past &= limit.values > middle + _SPREADS * spread
    return [
        Finding(
            kind=limit.kind,
            words=f"{printable(table.names[rows[place]])} is {limit.word}: {limit.shown[place]}.",
            samples=(table.names[rows[place]],),
            score=float(limit.values[place] - limit.worst),
        )
        for place in np.flatnonzero(past).tolist()
    ]
