"""A file of decisions, read and applied to the samples of a job."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from eyebright.checking.decisions import AppliedDecisions, apply_decisions, read_decisions
from eyebright.checking.findings import Decision
from eyebright.data.cache import digest_table
from eyebright.data.samples import SampleTable
from eyebright.progress import Progress


@dataclass(frozen=True, kw_only=True)
class Decided:
    """What a file of decisions says, and what came of it."""

    decisions: tuple[Decision, ...]
    applied: AppliedDecisions
    digests: tuple[str, ...]
    """Of the samples that are left, in their order; empty texts where the content could not be fetched."""

    def summary(self) -> dict[str, Any]:
        """For a run's provenance; the names stand in the run's decisions.csv."""
        return {
            "decisions": len(self.decisions),
            "excluded": len(self.applied.excluded),
            "relabelled": len(self.applied.relabelled),
            "not_applied": self.applied.unused,
        }


def decide(
    table: SampleTable,
    file: str | os.PathLike[str],
    progress: Progress,
    *,
    classes: Sequence[str] = (),
    min_classes: int = 2,
) -> Decided:
    """The table as a file of decisions wants it; every sample's content is read once to recognise it.

    Args:
        table: as it was read, before any split is made.
        file: a decisions.csv, as the page of a check saves it.
        progress: told how far it is; a requested stop raises KeyboardInterrupt.
        classes: labels that are allowed beside the table's own.
        min_classes: fewer left is an error.

    Raises:
        DataError: the file makes no sense, or the decisions leave too little.
    """
    decisions = read_decisions(Path(file), sorted({*table.classes, *classes}))
    digests = digest_table(table, progress=progress)
    applied = apply_decisions(table, decisions, digests, min_classes=min_classes)
    return Decided(decisions=decisions, applied=applied, digests=tuple(digests[row] for row in applied.rows))
