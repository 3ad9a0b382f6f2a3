"""`decisions.csv`: what a person decided about single samples, and how it is applied to a table of samples.

    sample,digest,action,label,reason
    glass/115.jpg,9f86d081...,exclude,,two-classes
    paper/17.jpg,2c26b46b...,relabel,cardboard,wrong-label
    trash/3.jpg,fcde2b2e...,keep,,blurred

A decision holds for the content that it was made about: a renamed file is still found by its digest, and a file whose
content has changed since is left alone. Where two decisions speak of one sample, "exclude" counts more than "relabel",
and both more than "keep". No source file is ever touched.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import get_args

import numpy as np

from eyebright.checking.findings import Action, Decision
from eyebright.data.folders import counted, listed
from eyebright.data.samples import SampleTable
from eyebright.errors import DataError, nearest, printable

COLUMNS = ("sample", "digest", "action", "label", "reason")
_REQUIRED = ("sample", "action")
_ACTIONS: tuple[Action, ...] = get_args(Action)
_RANK = {"keep": 0, "relabel": 1, "exclude": 2}
_DELIMITERS = (",", ";", "\t")
_DIGEST = re.compile(r"[0-9a-f]{64}")
_FORMULA = re.compile(r"'*[ \t\n\v\f\r\u00a0\u3000]*[=+\-@\t\r＝＋－＠]")  # the page's script has the same
"""What a spreadsheet would take for the start of a formula; an apostrophe before it makes it text."""
_NAMED = 20


@dataclass(frozen=True, kw_only=True)
class AppliedDecisions:
    """A table as decided, and what became of each decision."""

    table: SampleTable
    """Without the excluded samples and with the new labels; its notes say what was done."""
    rows: tuple[int, ...]
    """For each sample that is left, its row in the table before."""
    excluded: tuple[str, ...]
    """Names of the samples that were left out."""
    relabelled: Mapping[str, str]
    """By name, the label that a sample has now."""
    unused: int
    """Decisions that matched nothing, because the content is gone, has changed, or can't be told from its copies."""


def write_decisions(decisions: Iterable[Decision]) -> str:
    """The text of a decisions file, to be written as UTF-8; its cells are inert in a spreadsheet."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(COLUMNS)
    for decision in decisions:
        cells = (decision.sample, decision.digest, decision.action, decision.label, decision.reason)
        writer.writerow([disarm(cell) for cell in cells])
    return text.getvalue()


def disarm(cell: str) -> str:
    """The cell with an apostrophe before it where a spreadsheet would run it as a formula; `arm` takes it off."""
    return f"'{cell}" if _FORMULA.match(cell) else cell


def arm(cell: str) -> str:
    """What was given to `disarm`."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def read_decisions(path: Path, classes: Sequence[str]) -> tuple[Decision, ...]:
    """The decisions of a file, in its order; a repeated line counts once.

    Args:
        path: a CSV file with the columns sample and action, and if wanted digest, label and reason; separated by
            commas, semicolons or tabs. Without a digest a decision holds for the name, whatever its content.
        classes: the labels that a sample may get.

    Raises:
        DataError: the file can't be read, or a line makes no sense; the line, and what to write instead.
    """
    shown = printable(str(path))
    try:
        text = path.read_bytes().decode("utf-8-sig", "surrogateescape")
    except OSError as error:
        raise DataError(f"{shown}: can't be read ({error.strerror or error})") from None
    delimiter = max(_DELIMITERS, key=text.split("\n", 1)[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, strict=True)
    found: dict[Decision, None] = {}
    relabelled: dict[tuple[str, str], tuple[int, str]] = {}
    try:
        header = [name.strip().lower() for name in next(reader, [])]
        _check_header(header, shown)
        for cells in reader:
            if not any(cell.strip() for cell in cells):
                continue
            where = f"{shown}: line {reader.line_num}"
            decision = _decision(header, cells, classes, where)
            found[decision] = None
            if decision.action == "relabel":
                key = (decision.digest, decision.sample)
                line, label = relabelled.setdefault(key, (reader.line_num, decision.label))
                if label != decision.label:
                    raise DataError(
                        f"{where} relabels {printable(decision.sample)} as {printable(decision.label)}, and "
                        f"line {line} as {printable(label)}; keep the right one"
                    )
    except csv.Error as error:
        raise DataError(f"{shown}: line {reader.line_num} is no valid CSV ({error})") from None
    return tuple(found)


def _check_header(header: Sequence[str], shown: str) -> None:
    wanted = ",".join(COLUMNS)
    if not any(header):
        raise DataError(f"{shown}: is empty; its first line must be: {wanted}")
    for name in header:
        if name not in COLUMNS:
            raise DataError(f'{shown}: unknown column "{printable(name)[:60]}"; {nearest(name, COLUMNS)}')
        if header.count(name) > 1:
            raise DataError(f'{shown}: the column "{name}" is there twice')
    for name in _REQUIRED:
        if name not in header:
            raise DataError(f'{shown}: the column "{name}" is missing; the first line must be: {wanted}')


def _decision(header: Sequence[str], cells: Sequence[str], classes: Sequence[str], where: str) -> Decision:
    if len(cells) != len(header):
        raise DataError(f"{where} has {len(cells)} columns and the header {len(header)}")
    values = {name: arm(cell) for name, cell in zip(header, cells, strict=True)}
    sample, action, label = values["sample"], values["action"].strip().lower(), values.get("label", "")
    digest = values.get("digest", "").strip().lower()
    if not sample:
        raise DataError(f"{where} names no sample")
    if action not in _ACTIONS:
        raise DataError(f'{where} has the action "{printable(action)[:60]}"; {nearest(action, _ACTIONS)}')
    if digest and not _DIGEST.fullmatch(digest):
        raise DataError(f'{where} has the digest "{printable(digest)[:70]}"; it has 64 hexadecimal digits, or none')
    label = label if label in classes else label.strip()
    if action == "relabel" and label not in classes:
        if not label:
            raise DataError(f"{where} relabels {printable(sample)} but names no label; {nearest('', classes)}")
        raise DataError(
            f'{where} has the label "{printable(label)[:60]}", which no image has; {nearest(label, classes)}'
        )
    return Decision(
        sample=sample,
        digest=digest,
        action=_ACTIONS[_ACTIONS.index(action)],
        label=label if action == "relabel" else "",
        reason=values.get("reason", "").strip(),
    )


def apply_decisions(
    table: SampleTable, decisions: Sequence[Decision], digests: Sequence[str], *, min_classes: int = 2
) -> AppliedDecisions:
    """The table without the excluded samples and with the new labels.

    Args:
        table: as it was read; a name and content that a decision speaks of is found by its digest first.
        decisions: as `read_decisions` gives them.
        digests: (N,) the sha256 of each sample's content, empty where it could not be fetched.
        min_classes: fewer than this left is an error.

    Raises:
        DataError: nothing, or too few classes, are left.
    """
    matched, problems = _match(table, decisions, digests)
    labels = table.labels.copy()
    names = list(table.classes)
    relabelled: dict[str, str] = {}
    left_out = set()
    for row, decision in sorted(matched.items()):
        if decision.action == "exclude":
            left_out.add(row)
        elif decision.action == "relabel":
            if decision.label not in names:
                names.append(decision.label)
            if labels[row] != names.index(decision.label):
                labels[row] = names.index(decision.label)
                relabelled[table.names[row]] = decision.label
    if relabelled and table.label_sets is not None:
        raise DataError(
            f"the decisions relabel {printable(next(iter(relabelled)))}, but the data give several labels to a sample; "
            "correct it in the data's column of labels instead"
        )
    kept = np.array([row for row in range(len(table)) if row not in left_out], dtype=np.int64)
    left = replace(table, labels=labels, classes=tuple(names)).take(kept)
    used = sorted(name for name, count in left.counts().items() if count)
    if len(used) < max(1, min_classes):
        raise DataError(
            f"the decisions leave {counted(len(kept), 'image', 'images')} of {counted(len(used), 'class', 'classes')}; "
            f"at least {counted(max(1, min_classes), 'class', 'classes')} must be left"
        )
    excluded = tuple(table.names[row] for row in sorted(left_out))
    notes = _notes(excluded, relabelled, sorted(set(table.classes) - set(used)), problems)
    return AppliedDecisions(
        table=replace(left, notes=(*table.notes, *notes)).with_classes(used),
        rows=tuple(kept.tolist()),
        excluded=excluded,
        relabelled=relabelled,
        unused=sum(len(samples) for samples in problems.values()),
    )


def _match(
    table: SampleTable, decisions: Sequence[Decision], digests: Sequence[str]
) -> tuple[dict[int, Decision], dict[str, list[str]]]:
    """The decision of each row that has one, and why the rest were not applied: reason -> samples."""
    row_of = {name: row for row, name in enumerate(table.names)}
    copies: dict[str, list[int]] = {}
    for row, digest in enumerate(digests):
        if digest:
            copies.setdefault(digest, []).append(row)
    matched: dict[int, Decision] = {}
    problems: dict[str, list[str]] = {}
    moved = []
    for decision in _strongest(decisions):
        named = row_of.get(decision.sample)
        if named is not None and decision.digest in ("", digests[named]):
            _settle(matched, named, decision)
        else:
            moved.append(decision)
    for decision in moved:
        # Of several copies only those count that no decision names: these are the ones that were not renamed.
        free = [row for row in copies.get(decision.digest, []) if row not in matched]
        likeliest = _likeliest(decision.sample, free, table.names)
        if likeliest is not None:
            _settle(matched, likeliest, decision)
        elif free:
            problems.setdefault("can't be told from its copies under other names", []).append(decision.sample)
        elif decision.sample in row_of and decision.digest not in copies:
            problems.setdefault("has changed since", []).append(decision.sample)
        else:
            problems.setdefault("is no longer there", []).append(decision.sample)
    return matched, problems


def _strongest(decisions: Sequence[Decision]) -> list[Decision]:
    """One decision for each sample and content: the one that counts most."""
    found: dict[tuple[str, str], Decision] = {}
    for decision in decisions:
        key = (decision.digest, decision.sample)
        if key not in found or _RANK[decision.action] > _RANK[found[key].action]:
            found[key] = decision
    return list(found.values())


def _settle(matched: dict[int, Decision], row: int, decision: Decision) -> None:
    earlier = matched.get(row)
    if earlier is None or _RANK[decision.action] > _RANK[earlier.action]:
        matched[row] = decision


def _likeliest(name: str, rows: Sequence[int], names: Sequence[str]) -> int | None:
    """Which of some rows with the same content is the one that once had this name; None if that can't be told."""
    if len(rows) < 2:
        return rows[0] if rows else None
    folder, _, file = name.rpartition("/")
    for same in (
        [row for row in rows if names[row].rpartition("/")[0] == folder],
        [row for row in rows if names[row].rpartition("/")[2] == file],
    ):
        if len(same) == 1:
            return same[0]
    return None


def _notes(
    excluded: Sequence[str], relabelled: Mapping[str, str], emptied: Sequence[str], problems: Mapping[str, list[str]]
) -> list[str]:
    notes = []
    if excluded:
        notes.append(
            f"{counted(len(excluded), 'image', 'images')} left out as decided: {listed(excluded, limit=_NAMED)}"
        )
    if relabelled:
        changes = [f"{name} to {label}" for name, label in relabelled.items()]
        notes.append(
            f"{counted(len(relabelled), 'image', 'images')} relabelled as decided: {listed(changes, limit=_NAMED)}"
        )
    if emptied:
        notes.append(
            f"{counted(len(emptied), 'class is', 'classes are')} gone, nothing of it being left: {listed(emptied)}"
        )
    for reason, samples in problems.items():
        notes.append(
            f"{counted(len(samples), 'decision was', 'decisions were')} not applied, because the image {reason}: "
            f"{listed(samples)}"
        )
    return notes
