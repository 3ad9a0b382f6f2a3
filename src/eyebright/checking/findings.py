"""What a check found, as values that the terminal, the JSON file and the page all show. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Action = Literal["exclude", "relabel", "keep"]
Severity = Literal["wrong", "doubtful", "remark"]


@dataclass(frozen=True, kw_only=True)
class Kind:
    """One kind of finding: what it is called and why it matters."""

    name: str
    """Such as "near-duplicate"; stands in JSON and never changes."""
    title: str
    """For people, of many: "Images that can't be read"."""
    severity: Severity
    """"wrong" falsifies what is learned or measured, "doubtful" may, "remark" is good to know."""
    reason: str
    """One sentence: why it matters and what is best done."""


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What is to be done with one sample."""

    sample: str
    """Its name in the table."""
    digest: str
    """sha256 of its content, 64 hexadecimal digits: the decision holds for this content only."""
    action: Action
    label: str = ""
    """The class it should have, for "relabel"."""
    reason: str = ""
    """The kind of the finding that led to it."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One thing that a check found, about one sample, several, or (with no sample) the data as a whole."""

    kind: str
    """The name of a `Kind`."""
    words: str
    """One sentence, with the names and numbers that belong to it."""
    samples: tuple[str, ...] = ()
    """Names in the table; those that belong together, such as a duplicate and its original, stand in one finding."""
    score: float = 0.0
    """How bad it is among its kind; larger stands first."""
    proposal: tuple[Decision, ...] = ()
    """What to do if the finding is accepted; empty where there is nothing to do but to look."""


@dataclass(frozen=True, kw_only=True)
class CheckReport:
    """All findings about one table of samples, worst first."""

    data: str
    """What was checked, as the user named it."""
    num_samples: int
    num_readable: int
    counts: dict[str, int]
    """Samples of each class."""
    findings: tuple[Finding, ...]
    digests: dict[str, str]
    """sha256 of the content of every sample that a finding names; empty where it could not be fetched."""
    notes: tuple[str, ...]
    """What reading the source noticed, and what was not looked for and why."""
    seconds: float
    images_per_second: float
    """Over everything but the search for wrong labels."""
