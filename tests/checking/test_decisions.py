"""A decision holds for the content that it was made about, and for nothing else."""

from __future__ import annotations

import csv
import hashlib
import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from eyebright.checking.decisions import apply_decisions, arm, disarm, read_decisions, write_decisions
from eyebright.checking.findings import Action, Decision
from eyebright.data.folders import FolderStore
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.errors import DataError

CLASSES = ("cat", "dog", "owl")


def digest(content: str) -> str:
    return hashlib.sha256(content.encode()).hexdigest()


def build_table(*names: str) -> SampleTable:
    labels = [CLASSES.index(name.split("/")[0]) for name in names]
    used = sorted({CLASSES[label] for label in labels})
    return SampleTable(
        store=FolderStore("nowhere"),
        names=names,
        labels=np.array([used.index(CLASSES[label]) for label in labels], dtype=np.int64),
        classes=tuple(used),
        splits=np.full(len(names), UNASSIGNED, dtype=np.int8),
    )


def decide(sample: str, content: str, action: Action, label: str = "") -> Decision:
    return Decision(sample=sample, digest=digest(content) if content else "", action=action, label=label)


def labelled(table: SampleTable) -> dict[str, str]:
    return {name: table.classes[label] for name, label in zip(table.names, table.labels, strict=True)}


def write(folder: Path, text: str) -> Path:
    path = folder / "decisions.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_an_excluded_sample_is_gone_and_a_relabelled_one_has_its_new_label() -> None:
    table = build_table("cat/1", "cat/2", "dog/1", "dog/2")
    decisions = [decide("cat/2", "b", "exclude"), decide("dog/1", "c", "relabel", "cat"), decide("dog/2", "d", "keep")]
    applied = apply_decisions(table, decisions, [digest(c) for c in "abcd"])
    assert labelled(applied.table) == {"cat/1": "cat", "dog/1": "cat", "dog/2": "dog"}
    assert applied.rows == (0, 2, 3)
    assert applied.excluded == ("cat/2",)
    assert applied.relabelled == {"dog/1": "cat"}
    assert applied.unused == 0
    assert applied.table.notes == ("1 image left out as decided: cat/2", "1 image relabelled as decided: dog/1 to cat")
    assert labelled(table)["dog/1"] == "dog"  # the table given is as it was


def test_a_renamed_file_is_found_by_its_content() -> None:
    table = build_table("cat/new", "cat/2", "dog/1")
    applied = apply_decisions(table, [decide("cat/old", "a", "exclude")], [digest(c) for c in "abc"])
    assert applied.excluded == ("cat/new",)


def test_a_changed_file_is_left_alone_and_said_so() -> None:
    table = build_table("cat/1", "dog/1")
    applied = apply_decisions(table, [decide("cat/1", "before", "exclude")], [digest("after"), digest("b")])
    assert applied.excluded == ()
    assert applied.unused == 1
    assert applied.table.notes == ("1 decision was not applied, because the image has changed since: cat/1",)


def test_a_decision_about_nothing_is_said_so() -> None:
    table = build_table("cat/1", "dog/1")
    applied = apply_decisions(table, [decide("cat/9", "z", "exclude")], [digest("a"), digest("b")])
    assert applied.table.notes == ("1 decision was not applied, because the image is no longer there: cat/9",)


def test_of_two_copies_only_the_one_that_is_named_goes() -> None:
    table = build_table("cat/1", "dog/1", "dog/2")
    applied = apply_decisions(table, [decide("dog/1", "same", "exclude")], [digest(c) for c in ("same", "same", "c")])
    assert applied.excluded == ("dog/1",)


def test_a_renamed_copy_is_told_by_its_folder_or_left_alone() -> None:
    same = [digest("same")] * 2
    found = apply_decisions(
        build_table("cat/1", "dog/new", "dog/2"), [decide("dog/1", "same", "exclude")], [*same, digest("c")]
    )
    assert found.excluded == ("dog/new",)
    unclear = apply_decisions(
        build_table("dog/a", "dog/b", "cat/2"), [decide("dog/1", "same", "exclude")], [*same, digest("c")]
    )
    assert unclear.excluded == ()
    assert "can't be told from its copies" in unclear.table.notes[0]


def test_without_a_digest_the_name_decides() -> None:
    table = build_table("cat/1", "dog/1", "dog/2")
    applied = apply_decisions(table, [decide("dog/1", "", "exclude")], ["", "", ""])
    assert applied.excluded == ("dog/1",)


def test_a_class_of_which_nothing_is_left_goes_too() -> None:
    table = build_table("cat/1", "dog/1", "owl/1")
    applied = apply_decisions(table, [decide("owl/1", "c", "relabel", "dog")], [digest(c) for c in "abc"])
    assert applied.table.classes == ("cat", "dog")
    assert labelled(applied.table) == {"cat/1": "cat", "dog/1": "dog", "owl/1": "dog"}
    assert any("gone" in note and "owl" in note for note in applied.table.notes)


def test_decisions_that_leave_one_class_are_refused() -> None:
    table = build_table("cat/1", "dog/1")
    with pytest.raises(DataError, match="leave 1 image of 1 class; at least 2 classes"):
        apply_decisions(table, [decide("dog/1", "b", "exclude")], [digest("a"), digest("b")])


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    decisions = (
        decide("=cmd|' /C calc'!A1", "a", "exclude"),
        decide('cat, "1"\n.jpg', "b", "relabel", "dog"),
        decide("'+1", "c", "keep"),
    )
    assert read_decisions(write(tmp_path, write_decisions(decisions)), CLASSES) == decisions


@given(st.text())
def test_no_cell_starts_a_formula_and_each_is_read_back(cell: str) -> None:
    armless = disarm(cell)
    assert not armless.lstrip(" \t\n\v\f\r\u00a0\u3000").startswith(("=", "+", "-", "@", "＝", "＋", "－", "＠"))
    assert not armless.startswith(("\t", "\r"))
    assert arm(armless) == cell


def test_a_hostile_name_is_no_formula_in_the_file() -> None:
    text = write_decisions([decide('=HYPERLINK("http://x")', "a", "exclude")])
    assert next(iter(csv.DictReader(io.StringIO(text))))["sample"].startswith("'=")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is empty; its first line must be: sample,digest,action,label,reason"),
        ("sample,acton\na,keep\n", 'unknown column "acton"; did you mean "action"'),
        ("sample,action,action\n", 'the column "action" is there twice'),
        ("action\nkeep\n", 'the column "sample" is missing'),
        ("sample,action\na,exlude\n", 'line 2 has the action "exlude"; did you mean "exclude"'),
        ("sample,action\na,keep,b\n", "line 2 has 3 columns and the header 2"),
        ("sample,action\n,keep\n", "line 2 names no sample"),
        ("sample,action,label\na,relabel,dgo\n", 'line 2 has the label "dgo", which no image has; did you mean "dog"'),
        ("sample,action\na,keep\na,relabel\n", "line 3 relabels a but names no label; choose one of cat, dog, owl"),
        ("sample,digest,action\na,12,keep\n", 'line 2 has the digest "12"; it has 64 hexadecimal digits'),
        ("sample,action,label\na,relabel,dog\na,relabel,cat\n", "line 3 relabels a as cat, and line 2 as dog"),
        ('sample,action\n"a,keep\n', "is no valid CSV"),
    ],
)
def test_a_line_that_makes_no_sense_is_one_clear_error(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(DataError) as caught:
        read_decisions(write(tmp_path, text), CLASSES)
    assert words in str(caught.value)
    assert "decisions.csv" in str(caught.value)


def test_a_missing_file_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"decisions\.csv: can't be read \(No such file"):
        read_decisions(tmp_path / "decisions.csv", CLASSES)


def test_a_file_that_a_spreadsheet_saved_is_read_too(tmp_path: Path) -> None:
    path = tmp_path / "decisions.csv"
    path.write_bytes("\ufeffSample;Action;Label\r\ncat/1;Exclude;\r\n;;\r\ncat/2;relabel;dog\r\n".encode())
    read = read_decisions(path, CLASSES)
    assert [(d.sample, d.action, d.label) for d in read] == [("cat/1", "exclude", ""), ("cat/2", "relabel", "dog")]


def test_leaving_out_counts_more_than_relabelling_and_that_more_than_keeping(tmp_path: Path) -> None:
    lines = "sample,action,label\ncat/a,keep,\ncat/a,exclude,\ncat/a,relabel,dog\ndog/b,keep,\ndog/b,relabel,owl\n"
    table = build_table("cat/a", "dog/b", "dog/c", "owl/d")
    read = read_decisions(write(tmp_path, lines), CLASSES)
    assert len(read) == 5
    applied = apply_decisions(table, read, ["", "", "", ""])
    assert applied.excluded == ("cat/a",)
    assert applied.relabelled == {"dog/b": "owl"}
