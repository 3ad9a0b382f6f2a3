"""Everything that can be found wrong with a table of samples, in one report."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence, Set

import numpy as np
from numpy.typing import NDArray

from eyebright.checking import duplicates, leaks, quality, unreadable, wrong_labels
from eyebright.checking.duplicates import SMALLEST, find_duplicates
from eyebright.checking.findings import CheckReport, Decision, Finding, Kind
from eyebright.checking.kept_looks import LookCache, look_and_group
from eyebright.checking.leaks import find_cut_groups, find_leaks
from eyebright.checking.quality import find_quality
from eyebright.checking.unreadable import find_unreadable
from eyebright.checking.wrong_labels import find_wrong_labels
from eyebright.data.arrays import find_channels
from eyebright.data.cache import digest_table
from eyebright.data.folders import counted
from eyebright.data.samples import SampleTable
from eyebright.errors import WeightsError
from eyebright.preprocess import IN_COLOUR
from eyebright.progress import Progress, SilentProgress

_SEVERITIES = ("wrong", "doubtful", "remark")
KINDS: tuple[Kind, ...] = tuple(
    sorted(
        (*unreadable.KINDS, *duplicates.KINDS, *leaks.KINDS, *wrong_labels.KINDS, *quality.KINDS),
        key=lambda kind: _SEVERITIES.index(kind.severity),
    )
)
"""Every kind of finding there is, worst first."""


def check(
    table: SampleTable,
    *,
    data: str,
    search_wrong_labels: bool = True,
    decisions: Sequence[Decision] = (),
    seed: int = 0,
    digests: Sequence[str] | None = None,
    cache: LookCache | None = None,
    progress: Progress | None = None,
    threads: int | None = None,
) -> CheckReport:
    """Look at every image once and say what is wrong with them, worst first. No file is changed.

    It goes on past any image that can't be read. Where torch or the starter weights are not installed, wrong labels
    are not looked for, and the report's notes say so.

    Args:
        table: with or without splits.
        data: what to call it.
        search_wrong_labels: whether to run the network over all images, which takes far longer than the rest.
        decisions: what was decided before; a finding whose samples are all kept for its reason is not reported again.
        seed: decides how the samples are dealt out in the search for wrong labels.
        digests: (N,) what `digest_table` has found, if it has been asked; only used with a cache.
        cache: keeps what was found by looking for the next check or training, which then finds the same much faster.
        progress: shown throughout; if a stop is requested, KeyboardInterrupt is raised.
        threads: how many read images; None takes one for each CPU.
    """
    progress = progress or SilentProgress()
    began = time.monotonic()
    if cache is not None and digests is None:
        digests = digest_table(table, progress=progress, threads=threads)
    looks, groups = look_and_group(table, digests=digests, cache=cache, progress=progress, threads=threads)
    copies = find_duplicates(table, looks, groups=groups, progress=progress, threads=threads)
    findings = [
        *find_unreadable(table, looks),
        *copies,
        *find_leaks(table, copies),
        *find_cut_groups(table),
        *find_quality(table, looks),
    ]
    seconds = max(time.monotonic() - began, 1e-9)
    notes = list(table.notes)
    small = int((looks.readable & (looks.sizes.min(axis=1) < SMALLEST)).sum())
    if small:
        notes.append(
            f"{counted(small, 'image is', 'images are')} smaller than {SMALLEST} pixels: of such, copies are found "
            "only if the files are equal, for there is too little in them to tell a copy by its looks"
        )
    if search_wrong_labels and table.label_sets is not None:
        notes.append("wrong labels were not looked for: that takes images of one label each")
    elif search_wrong_labels and find_channels(table) not in IN_COLOUR:
        notes.append("wrong labels were not looked for: the network that looks knows only pictures in grey or colour")
    elif search_wrong_labels:
        found, remarks = _look_for_wrong_labels(table, number_groups(len(table), groups), seed, progress, threads)
        findings += found
        notes += remarks
    else:
        notes.append("wrong labels were not looked for, as asked")
    digest_of = dict(zip(table.names, looks.digests, strict=True))
    kept = {
        _about(decision.sample, decision.digest, decision.reason) for decision in decisions if decision.action == "keep"
    }
    findings = rank([finding for finding in findings if not _is_settled(finding, digest_of, kept)])
    return CheckReport(
        data=data,
        num_samples=len(table),
        num_readable=len(table) - len(looks.errors),
        counts=table.counts(),
        findings=tuple(findings),
        digests={name: digest_of[name] for finding in findings for name in finding.samples},
        notes=tuple(notes),
        seconds=seconds,
        images_per_second=len(table) / seconds,
    )


def rank(findings: Sequence[Finding]) -> list[Finding]:
    """Worst first: by severity, then kind by kind, then by score."""
    order = {kind.name: number for number, kind in enumerate(KINDS)}
    return sorted(findings, key=lambda finding: (order[finding.kind], -finding.score))


def by_kind(findings: Sequence[Finding]) -> dict[Kind, list[Finding]]:
    """The findings of each kind that occurs, worst kind first."""
    return {
        kind: of_kind for kind in KINDS if (of_kind := [finding for finding in findings if finding.kind == kind.name])
    }


def number_groups(count: int, groups: Sequence[Sequence[int]]) -> NDArray[np.int64]:
    """(N,) a number for each sample, equal where samples stand in one group.

    Args:
        count: N.
        groups: rows that belong together; a row that stands in none is alone.
    """
    numbers = np.arange(count, dtype=np.int64)
    for rows in groups:
        numbers[list(rows)] = min(rows)
    return numbers


def _look_for_wrong_labels(
    table: SampleTable, groups: NDArray[np.int64], seed: int, progress: Progress, threads: int | None
) -> tuple[list[Finding], list[str]]:
    try:
        return find_wrong_labels(table, groups=groups, seed=seed, progress=progress, threads=threads)
    except ModuleNotFoundError as error:
        if error.name != "torch":
            raise
        missing = "torch is not installed; install it with: pip install 'eyebright[train]'"
    except WeightsError as error:
        missing = str(error)
    return [], [f"wrong labels were not looked for: {missing}"]


def _about(name: str, digest: str, reason: str) -> tuple[str, str]:
    """What a decision to keep holds for: a content, wherever it lies; or a name, of what could not be fetched."""
    return digest or f"\0{name}", reason


def _is_settled(finding: Finding, digest_of: Mapping[str, str], kept: Set[tuple[str, str]]) -> bool:
    """Whether a person has looked at it and wants all its samples kept as they are."""
    about = {_about(name, digest_of[name], finding.kind) for name in finding.samples}
    return bool(about) and about <= kept
