"""Images that can't be read, and files that are not what they say they are."""

from __future__ import annotations

from pathlib import PurePosixPath

import numpy as np

from eyebright.checking.findings import Decision, Finding, Kind
from eyebright.checking.look import Looks
from eyebright.data.folders import counted
from eyebright.data.samples import SampleTable
from eyebright.errors import printable

KINDS = (
    Kind(
        name="unreadable",
        title="Images that can't be read",
        severity="wrong",
        reason="Nothing can be learned from them, and in the test split each counts as an error. Repair the files, or "
        "leave them out.",
    ),
    Kind(
        name="truncated",
        title="Images that are cut off",
        severity="wrong",
        reason="A copy or download ended too early, so others of the same source may be affected. Fetch them again, or "
        "leave them out.",
    ),
    Kind(
        name="empty-file",
        title="Empty files",
        severity="wrong",
        reason="A file of no bytes is what a failed copy leaves behind. Fetch them again, or leave them out.",
    ),
    Kind(
        name="wrong-suffix",
        title="Files whose suffix is of another format",
        severity="remark",
        reason="Eyebright goes by the content, but other programs may refuse them or read them differently.",
    ),
    Kind(
        name="odd-mode",
        title="Images stored in an unusual way",
        severity="remark",
        reason="They are converted to 8-bit RGB: transparent parts become white, and of several frames the first "
        "counts. If one class is stored differently from another, the network may learn that instead.",
    ),
)

_FORMAT_OF = {
    ".jpg": "JPEG",
    ".jpeg": "JPEG",
    ".jpe": "JPEG",
    ".jfif": "JPEG",
    ".png": "PNG",
    ".gif": "GIF",
    ".bmp": "BMP",
    ".webp": "WEBP",
    ".tif": "TIFF",
    ".tiff": "TIFF",
    ".ppm": "PPM",
    ".pgm": "PPM",
    ".avif": "AVIF",
}
_MODES = {
    "1": "black and white only",
    "CMYK": "in printing inks (CMYK)",
    "LA": "grey with transparency",
    "RGBA": "with transparency",
    "PA": "of a palette with transparency",
    "P": "of a palette",
    "I": "of 32 or 16 bits",
    "F": "of fractions",
    "LAB": "in Lab colours",
    "YCbCr": "in YCbCr colours",
}
_PLAIN = frozenset({"RGB", "L", "P"})


def find_unreadable(table: SampleTable, looks: Looks) -> list[Finding]:
    """Empty, cut-off and unreadable images, one finding each; suffixes that lie; unusual modes, one finding a mode."""
    findings = []
    for row, error in looks.errors.items():
        name = table.names[row]
        kind = {"is empty": "empty-file", "is truncated": "truncated"}.get(error.reason, "unreadable")
        decision = Decision(sample=name, digest=looks.digests[row], action="exclude", reason=kind)
        findings.append(
            Finding(
                kind=kind,
                words=f"{printable(name)} {error.reason}.",
                samples=(name,),
                proposal=(decision,),
            )
        )
    return [*findings, *_find_wrong_suffixes(table, looks), *_find_odd_modes(table, looks)]


def _find_wrong_suffixes(table: SampleTable, looks: Looks) -> list[Finding]:
    findings = []
    for row in np.flatnonzero(looks.kinds >= 0).tolist():
        name = table.names[row]
        suffix = PurePosixPath(name).suffix.lower()
        said, found = _FORMAT_OF.get(suffix), looks.headers[looks.kinds[row]][0]
        if said is not None and said != found:
            findings.append(
                Finding(
                    kind="wrong-suffix",
                    words=f"{printable(name)} ends in {suffix}, but its content is {found}.",
                    samples=(name,),
                )
            )
    return findings


def _find_odd_modes(table: SampleTable, looks: Looks) -> list[Finding]:
    """One finding for each way of storing that is not plain; images are named unless most are stored so."""
    rows_of: dict[str, list[int]] = {}
    for number, (_, mode, several) in enumerate(looks.headers):
        rows = np.flatnonzero(looks.readable & (looks.kinds == number)).tolist()
        if mode not in _PLAIN:
            stored = "with 16 bits a value" if mode.startswith("I;16") else _MODES.get(mode, f"in mode {mode}")
            rows_of.setdefault(f"{stored}", []).extend(rows)
        if several:
            rows_of.setdefault("with several frames or pages", []).extend(rows)
    findings = []
    for stored, rows in rows_of.items():
        if rows:
            findings.append(
                Finding(
                    kind="odd-mode",
                    words=f"{counted(len(rows), 'image is', 'images are')} stored {stored}.",
                    samples=tuple(table.names[row] for row in sorted(rows)) if len(rows) * 2 <= len(table) else (),
                    score=len(rows) / len(table),
                )
            )
    return findings
