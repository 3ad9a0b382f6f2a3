"""What stands in two of the splits that the data bring: the same image, or a group that was to stay whole."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import numpy as np

from eyebright.checking.findings import Decision, Finding, Kind
from eyebright.data.folders import counted, listed
from eyebright.data.samples import SPLITS, UNASSIGNED, SampleTable
from eyebright.errors import printable

KINDS = (
    Kind(
        name="leak",
        title="The same image in two splits",
        severity="wrong",
        reason="What was trained on is known by heart, so measuring on it makes the result look better than it is. "
        "Leave the copies in train out; of val and test, those in val.",
    ),
    Kind(
        name="cut-group",
        title="Groups in two splits",
        severity="wrong",
        reason="Images of one group are alike, so measuring on a part of what was trained on makes the result look "
        "better than it is; training refuses such data. Give all of a group one split, or none to have them divided.",
    ),
)
_COPIES = frozenset({"duplicate", "near-duplicate", "two-classes"})


def find_leaks(table: SampleTable, duplicates: Sequence[Finding]) -> list[Finding]:
    """One finding for each group of copies that stands in more than one split; samples without a split do not count.

    Args:
        duplicates: what `find_duplicates` found; other findings are passed over. Their proposals hold the digests.
    """
    groups = [finding for finding in duplicates if finding.kind in _COPIES]
    wanted = {name for finding in groups for name in finding.samples}
    split_of = {name: split for name, split in zip(table.names, table.splits.tolist(), strict=True) if name in wanted}
    findings = []
    for finding in groups:
        placed = [name for name in finding.samples if split_of[name] != UNASSIGNED]
        splits = sorted({split_of[name] for name in placed})
        if len(splits) < 2:
            continue
        last = splits[-1]  # test if it is among them: what is measured stays whole
        leaving = [name for name in placed if split_of[name] != last]
        parts = [
            f"{SPLITS[split]} ({listed([name for name in placed if split_of[name] == split])})" for split in splits
        ]
        digest_of = {decision.sample: decision.digest for decision in finding.proposal}
        findings.append(
            Finding(
                kind="leak",
                words=f"The same image is in {' and in '.join(parts)}.",
                samples=tuple(placed),
                score=float(last + len(placed) / (1 + len(placed))),
                proposal=tuple(
                    Decision(sample=name, digest=digest_of.get(name, ""), action="exclude", reason="leak")
                    for name in leaving
                ),
            )
        )
    return findings


def find_cut_groups(table: SampleTable) -> list[Finding]:
    """One finding for each group whose samples stand in more than one split; samples without a split do not count."""
    if table.groups is None:
        return []
    rows_of: dict[str, list[int]] = {}
    for row in np.flatnonzero(table.splits != UNASSIGNED).tolist():
        rows_of.setdefault(table.groups[row], []).append(row)
    findings = []
    for group, rows in rows_of.items():
        count_of = Counter(table.splits[rows].tolist())
        if len(count_of) > 1:
            parts = [f"{SPLITS[split]} ({counted(count_of[split], 'image', 'images')})" for split in sorted(count_of)]
            findings.append(
                Finding(
                    kind="cut-group",
                    words=f'The group "{printable(group)}" is in {" and in ".join(parts)}.',
                    samples=tuple(table.names[row] for row in rows),
                    score=float(len(rows)),
                )
            )
    return findings
