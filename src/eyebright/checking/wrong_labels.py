"""Labels that are probably wrong: confident learning over out-of-fold probabilities.

Every image is judged by a linear head that has seen neither it nor its near-duplicates, on the embeddings of the
starter ResNet-50. Judged twice: the second heads are fitted without the samples that the first ones suspect. How many
labels are wrong is counted class by class (a class that the head is rarely sure of needs less); which ones, by how
little the head believes in the label given. Imports torch only when it is called.
Shapes: N samples, D embedding width, K classes.

Source:
    Northcutt, Jiang & Chuang, "Confident Learning: Estimating Uncertainty in Dataset Labels", 2021, arXiv:1911.00068.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from eyebright.checking.findings import Decision, Finding, Kind
from eyebright.data.cache import read_squares
from eyebright.data.samples import SampleTable
from eyebright.errors import printable
from eyebright.progress import Progress, SilentProgress

KINDS = (
    Kind(
        name="wrong-label",
        title="Labels that are probably wrong",
        severity="doubtful",
        reason="A network that has not seen the image takes it for another class. Wrong labels teach mistakes, and in "
        "the test split they count right answers as wrong. Look at each: nearly half of them may be merely hard.",
    ),
)

FOLDS = 5
FEWEST = 5
"""Samples of a class, below which none of it is judged: too little is left to learn the class from."""
ENOUGH = 0.8
"""A probability that is confident in any class: where classes are easy, their means are so high that a wrong label's
image, pulled a little by that label, would just miss them."""
IMAGE_SIZE = 128


@dataclass(frozen=True, kw_only=True, eq=False)
class ConfidentJoint:
    """Which labels are confidently another's."""

    thresholds: NDArray[np.float64]
    """(K,) the mean probability of each class over the samples labelled so; NaN where there is none."""
    likely: NDArray[np.int64]
    """(N,) the likeliest of the classes that reach their threshold; -1 where none does."""
    counts: NDArray[np.int64]
    """(K, K) samples by given label (row) and likely label (column)."""


def find_wrong_labels(
    table: SampleTable,
    *,
    groups: NDArray[np.int64] | None = None,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress | None = None,
    threads: int | None = None,
) -> tuple[list[Finding], list[str]]:
    """Samples whose label is probably wrong, with what they look like; and notes on what was not judged.

    Downloads nothing: where the starter weights are not installed, this raises.

    Args:
        groups: (N,) a number for each sample; equal numbers (near-duplicates) are judged by the same head, so that
            a copy with the same wrong label can't vouch for it.
        seed: decides the folds.
        device: where the network runs.
        progress: shown throughout; if a stop is requested, KeyboardInterrupt is raised.

    Raises:
        WeightsError: the starter weights are not installed.
        ModuleNotFoundError: torch is not installed.
    """
    from eyebright.embedding.embed import embed
    from eyebright.models.weights import load_pretrained

    progress = progress or SilentProgress()
    counts = np.bincount(table.labels, minlength=len(table.classes))
    notes = []
    small = [name for name, count in zip(table.classes, counts, strict=True) if 0 < count < FEWEST]
    if small:
        shown = ", ".join(printable(name) for name in small[:5]) + (" ..." if len(small) > 5 else "")
        notes.append(f"wrong labels were not looked for among classes of fewer than {FEWEST} images: {shown}")
    if (counts >= FEWEST).sum() < 2:
        return [], [*notes, f"wrong labels were not looked for: that takes two classes of at least {FEWEST} images"]
    loaded = load_pretrained(
        "resnet50", "starter", num_classes=len(table.classes), embed_stages=2, progress=progress, offline=True
    )
    preprocessing = replace(loaded.preprocessing, image_size=IMAGE_SIZE, resize=IMAGE_SIZE, fit="squash")
    squares = read_squares(table, preprocessing, progress=progress, threads=threads)
    rows = np.flatnonzero(squares.readable)
    embeddings = embed(loaded.model, squares.images, rows, preprocessing, device=device, progress=progress)
    labels = table.labels[rows]
    folds = deal_folds(labels, None if groups is None else groups[rows], count=FOLDS, seed=seed)
    probabilities = judge(embeddings, labels, folds, len(table.classes), progress=progress)
    judged = np.bincount(labels, minlength=len(table.classes))[labels] >= FEWEST
    findings = []
    for position in suspects(probabilities, labels):
        if not judged[position]:
            continue
        others = probabilities[position].copy()
        others[labels[position]] = -1
        likely = int(others.argmax())
        row = rows[position]
        name, given = table.names[row], table.classes[labels[position]]
        other = table.classes[likely]
        share = float(probabilities[position, likely])
        findings.append(
            Finding(
                kind="wrong-label",
                words=f"{printable(name)} is labelled {printable(given)} and looks like {printable(other)} "
                f"({_percent(share)})",
                samples=(name,),
                score=1 - float(probabilities[position, labels[position]]),
                proposal=(
                    Decision(
                        sample=name,
                        digest=squares.digests[row],
                        action="relabel",
                        label=other,
                        reason="wrong-label",
                    ),
                ),
            )
        )
    return findings, notes


def deal_folds(
    labels: NDArray[np.int64], groups: NDArray[np.int64] | None, *, count: int, seed: int
) -> NDArray[np.int64]:
    """(N,) a fold in [0, count) for each sample: each class spread evenly, groups whole, the same for the same seed.

    Args:
        labels: (N,)
        groups: (N,) equal numbers stay in one fold; None if every sample is free.
        count: how many folds.
        seed: another seed, other folds.
    """
    size = len(labels)
    order = np.random.default_rng(seed).permutation(size)
    members: dict[int, list[int]] = {}
    for row in order.tolist():
        members.setdefault(row if groups is None else int(groups[row]), []).append(row)
    num_classes = int(labels.max(initial=0)) + 1
    held = np.zeros((count, num_classes), dtype=np.int64)
    folds = np.empty(size, dtype=np.int64)
    # Large groups first, while there is room to even them out; Python's sort keeps the drawn order among equals.
    for unit in sorted(members.values(), key=len, reverse=True):
        label = int(np.bincount(labels[unit]).argmax())
        fold = int(np.lexsort((held.sum(axis=1), held[:, label]))[0])
        folds[unit] = fold
        np.add.at(held[fold], labels[unit], 1)
    return folds


def judge(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    num_classes: int,
    *,
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """(N, K): out-of-fold probabilities of heads that were fitted without the labels that looked wrong at first.

    Args:
        embeddings: (N, D)
        labels: (N,) as given, right or wrong.
        folds: (N,)
        num_classes: K.
        progress: if a stop is requested, KeyboardInterrupt is raised.
    """
    trusted = np.ones(len(labels), dtype=np.bool_)
    first = predict_out_of_fold(embeddings, labels, folds, num_classes, trusted, progress=progress)
    trusted[suspects(first, labels)] = False
    sizes, left = (np.bincount(some, minlength=num_classes) for some in (labels, labels[trusted]))
    trusted |= (2 * left < sizes)[labels]  # of a class that is mostly doubted, the doubt is doubtful
    return predict_out_of_fold(embeddings, labels, folds, num_classes, trusted, progress=progress)


def predict_out_of_fold(
    embeddings: NDArray[np.float32],
    labels: NDArray[np.int64],
    folds: NDArray[np.int64],
    num_classes: int,
    trusted: NDArray[np.bool_],
    *,
    strengths: Sequence[float] = (),
    progress: Progress | None = None,
) -> NDArray[np.float64]:
    """(N, K): every sample's probabilities, by a head that was fitted on the other folds.

    How strongly the heads are regularised is chosen once, by the first fold; that one number is all that any of them
    knows of the samples it judges.

    Args:
        embeddings: (N, D)
        labels: (N,) as given, right or wrong.
        folds: (N,)
        num_classes: K.
        trusted: (N,) the samples that heads are fitted on; all are judged.
        strengths: what to choose among, from strong to weak; by default what a head is usually fitted with.
        progress: if a stop is requested, KeyboardInterrupt is raised.
    """
    from eyebright.embedding.linear import STRENGTHS, fit_linear_head

    progress = progress or SilentProgress()
    strengths = strengths or STRENGTHS
    probabilities = np.zeros((len(labels), num_classes))
    present = np.unique(folds).tolist()
    for fold in present:
        held = folds == fold
        seen, choosing = trusted & ~held, trusted & held
        head = fit_linear_head(
            embeddings[seen],
            labels[seen],
            embeddings[choosing],
            labels[choosing],
            num_classes,
            strengths=strengths,
            progress=progress,
        )
        if progress.stop_requested:
            raise KeyboardInterrupt
        # The later heads need not try again; a path of a few strengths ends at the same minimum, but sooner.
        strengths = [strength for strength in strengths if strength >= head.strength][-3:]
        logits = embeddings[held].astype(np.float64) @ head.weight.T.astype(np.float64) + head.bias
        logits -= logits.max(axis=1, keepdims=True)
        shares = np.exp(logits)
        probabilities[held] = shares / shares.sum(axis=1, keepdims=True)
    return probabilities


def count_confident_joint(
    probabilities: NDArray[np.float64], labels: NDArray[np.int64], *, enough: float = 1.0
) -> ConfidentJoint:
    """Given labels against those that the probabilities are confident of.

    A class counts for a sample if its probability reaches the mean that it has over the samples labelled so.

    Args:
        probabilities: (N, K), out of fold.
        labels: (N,) as given.
        enough: a probability that counts even where the mean is higher.

    Source:
        Northcutt et al., 2021, equations 1 and 2; there, nothing but the mean is enough.
    """
    count, num_classes = probabilities.shape
    sizes = np.bincount(labels, minlength=num_classes)
    sums = np.bincount(labels, weights=probabilities[np.arange(count), labels], minlength=num_classes)
    thresholds = np.where(sizes > 0, sums / np.maximum(sizes, 1), np.nan)
    lowest = np.where(
        np.isnan(thresholds), np.inf, np.minimum(thresholds, enough)
    )  # a class of nobody is never reached
    reached = probabilities >= lowest
    likely = np.where(reached, probabilities, -1.0).argmax(axis=1)
    likely[~reached.any(axis=1)] = -1
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    sure = likely >= 0
    np.add.at(counts, (labels[sure], likely[sure]), 1)
    return ConfidentJoint(thresholds=thresholds, likely=likely, counts=counts)


def suspects(probabilities: NDArray[np.float64], labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the samples whose label is probably wrong, the worst first.

    As many as the confident joint has off its diagonal; those whose given label has the lowest probability, if another
    class is likelier.

    Args:
        probabilities: (N, K), out of fold.
        labels: (N,) as given.
    """
    counts = count_confident_joint(probabilities, labels, enough=ENOUGH).counts
    believed = probabilities[np.arange(len(labels)), labels]
    found = np.argsort(believed, kind="stable")[: int(counts.sum() - np.trace(counts))]
    worst: NDArray[np.int64] = found[believed[found] < probabilities[found].max(axis=1)]
    return worst


def _percent(share: float) -> str:
    """Whole percents, never rounded up to a certainty that was not claimed."""
    return "100 %" if share >= 1 else f"{min(99, round(share * 100))} %"
