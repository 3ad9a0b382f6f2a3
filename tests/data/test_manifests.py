from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import pytest

from eyebright.data.manifests import read_manifest
from eyebright.data.samples import UNASSIGNED, SampleTable
from eyebright.data.sources import read_samples
from eyebright.errors import DataError, ImageError

WriteImages = Callable[[Path, Iterable[str]], None]
ReadText = Callable[..., SampleTable]


@pytest.fixture
def read_text(tmp_path: Path, write_images: WriteImages) -> ReadText:
    """Read a manifest of this text, beside the images a.png to d.png."""
    write_images(tmp_path, [f"{name}.png" for name in "abcd"])

    def read(text: str, *, encoding: str = "utf-8") -> SampleTable:
        path = tmp_path / "list.csv"
        path.write_bytes(text.encode(encoding))
        return read_manifest(str(path), min_classes=2)

    return read


def test_paths_start_at_the_manifests_folder(read_text: ReadText) -> None:
    table = read_text("path,label\na.png,cat\nb.png,dog\n")
    assert table.names == ("a.png", "b.png")
    assert table.classes == ("cat", "dog")
    assert table.splits.tolist() == [UNASSIGNED, UNASSIGNED]
    assert table.groups is None
    assert isinstance(table.store.read("a.png"), bytes)


def test_absolute_paths_work(read_text: ReadText, tmp_path: Path) -> None:
    table = read_text(f"path,label\n{tmp_path}/a.png,cat\nb.png,dog\n")
    assert isinstance(table.store.read(f"{tmp_path}/a.png"), bytes)


def test_splits_and_groups_are_read(read_text: ReadText) -> None:
    table = read_text(
        "group,path,split,label\np1,a.png,train,cat\np1,b.png,Training,dog\n,c.png,dev,dog\n,d.png,,cat\n"
    )
    assert table.splits.tolist() == [0, 0, 1, UNASSIGNED]
    assert table.groups is not None
    assert table.groups[0] == table.groups[1] == "p1"
    assert len(set(table.groups)) == 3  # a sample without a group is alone


@pytest.mark.parametrize("delimiter", [";", "\t", ","])
@pytest.mark.parametrize("newline", ["\n", "\r\n", "\r"])
def test_the_files_that_spreadsheets_write_are_read(read_text: ReadText, delimiter: str, newline: str) -> None:
    rows = [("Path", " LABEL "), ("a.png", "cat"), ("b.png", '"dog, small; brown"'), ("", "")]
    text = newline.join(delimiter.join(row) for row in rows)
    assert read_text("\ufeff" + text).classes == ("cat", "dog, small; brown")


def test_names_with_commas_quotes_and_newlines_are_read(tmp_path: Path, write_images: WriteImages) -> None:
    strange = 'it\'s "a", b\nc é.png'
    write_images(tmp_path, [strange, "plain.png"])
    quoted = strange.replace('"', '""')
    path = tmp_path / "list.csv"
    path.write_text(f'path,label\n"{quoted}",cat\nplain.png,dog\n', encoding="utf-8")
    assert read_manifest(str(path), min_classes=2).names == (strange, "plain.png")


def test_an_unknown_column_names_the_nearest(read_text: ReadText) -> None:
    with pytest.raises(DataError, match='unknown column "lable"; did you mean "label"'):
        read_text("path,lable\na.png,cat\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "is empty; its first line must be: path,label"),
        ("path,label\n", "has a header but no rows"),
        ("a.png,cat\nb.png,dog\n", 'the column "path" is missing'),
        ("path,label,splits\na.png,cat,test\n", 'unknown column "splits"; did you mean "split"'),
        ("path,label,Group_ID\na.png,cat,1\n", 'unknown column "group_id"; did you mean "group"'),
        ("path,label,day,Day\na.png,cat,1,2\n", 'the column "day" is there twice'),
        ("path\na.png\n", 'the column "label" is missing'),
        ("path,label,labels\na.png,cat,cat\n", "has the columns label and labels"),
        ("path,labels\na.png,cat\nb.png, | \n", "line 3 has no labels"),
        ("path,label,label\na.png,cat,cat\n", 'the column "label" is there twice'),
        ("path,label\na.png\n", "line 2 has 1 columns and the header 2"),
        ("path,label\na.png,cat,x\n", "line 2 has 3 columns and the header 2"),
        ("path,label\na.png,cat\nb.png, \n", "line 3 has no label"),
        ("path,label\n,cat\n", "line 2 has no path"),
        ("path,label,split\na.png,cat,holdout\n", 'line 2 has the split "holdout"; use train, val, test'),
        ('path,label\n"a.png,cat\n', "is no valid CSV"),
        ("path,label\na.png,cat\nb.png,cat\n", 'holds only one class, "cat"'),
    ],
)
def test_a_manifest_that_makes_no_sense_is_refused(read_text: ReadText, text: str, message: str) -> None:
    with pytest.raises(DataError, match=rf"list\.csv: .*{message}"):
        read_text(text)


def test_missing_files_are_counted_and_the_first_named_in_one_error(read_text: ReadText) -> None:
    rows = "".join(f"gone{i}.png,cat\n" for i in range(9))
    with pytest.raises(DataError, match=r"9 files do not exist: gone0\.png, .*gone4\.png and 4 more; relative paths"):
        read_text("path,label\na.png,dog\n" + rows)


def test_rows_that_contradict_each_other_are_refused(read_text: ReadText) -> None:
    with pytest.raises(DataError, match=r"a\.png has one label in line 2 and another in line 4"):
        read_text("path,label\na.png,cat\nb.png,dog\n./a.png,dog\n")
    with pytest.raises(DataError, match="one split in line 2 and another in line 3"):
        read_text("path,label,split\na.png,cat,train\na.png,cat,test\n")


def test_a_repeated_row_is_dropped_with_a_note(read_text: ReadText) -> None:
    table = read_text("path,label\na.png,cat\nb.png,dog\n./a.png,cat\n")
    assert table.names == ("a.png", "b.png")
    assert table.notes == ("1 repeated row dropped: a.png",)


def test_a_manifest_in_another_encoding_is_refused_or_read_but_never_crashes(read_text: ReadText) -> None:
    assert read_text("path,label\na.png,caf\u00e9\nb.png,tea\n", encoding="latin-1").classes == ("caf\\xe9", "tea")
    with pytest.raises(DataError, match=r"list\.csv: "):
        read_text("path,label\na.png,cat\n", encoding="utf-16")


def test_a_tsv_file_is_read(tmp_path: Path, write_images: WriteImages) -> None:
    write_images(tmp_path, ["a, b.png", "c.png"])
    path = tmp_path / "list.tsv"
    path.write_text("path\tlabel\tsplit\na, b.png\tcat; small\ttrain\nc.png\tdog\ttest\n")
    table = read_samples(path)
    assert table.names == ("a, b.png", "c.png")
    assert table.classes == ("cat; small", "dog")
    assert table.splits.tolist() == [0, 2]


# Several labels


def test_a_sample_may_have_several_labels(read_text: ReadText) -> None:
    table = read_text("path,labels\na.png,dog|cat\nb.png,cat\nc.png, cow | dog |dog|\n")
    assert table.classes == ("cat", "cow", "dog")
    assert table.label_sets is not None
    assert table.label_sets.tolist() == [[True, False, True], [True, False, False], [False, True, True]]
    assert table.labels.tolist() == [2, 0, 1]  # the first that is listed
    assert table.counts() == {"cat": 2, "cow": 1, "dog": 2}


def test_one_label_each_makes_no_sets_and_a_stroke_in_it_is_a_letter(read_text: ReadText) -> None:
    table = read_text("path,label\na.png,dog|cat\nb.png,cat\n")
    assert table.label_sets is None
    assert table.classes == ("cat", "dog|cat")


def test_the_same_labels_in_another_order_do_not_contradict(read_text: ReadText) -> None:
    assert len(read_text("path,labels\na.png,dog|cat\na.png,cat|dog\n")) == 1
    with pytest.raises(DataError, match=r"a\.png has one labels in line 2 and another in line 3"):
        read_text("path,labels\na.png,dog|cat\na.png,cat\n")


# Names that are nearly one


def test_classes_that_look_alike_are_kept_apart_and_named(read_text: ReadText) -> None:
    table = read_text("path,label\na.png,Cat\nb.png,cat\nc.png,red  fox\nd.png,red fox\n")
    assert table.classes == ("Cat", "cat", "red  fox", "red fox")
    assert len(table.notes) == 2
    assert 'differ only in case, blanks or Unicode form and are kept apart: "Cat", "cat"; give' in table.notes[0]
    assert '"red  fox", "red fox"' in table.notes[1]


def test_compatible_letters_look_alike_too(read_text: ReadText) -> None:
    table = read_text("path,label\na.png,\uff46ish\nb.png,fish\nc.png,dog\n")
    assert len(table.classes) == 3
    assert len(table.notes) == 1


def test_spellings_that_are_read_as_one_class_are_told(read_text: ReadText) -> None:
    table = read_text("path,label\na.png,caf\u00e9\nb.png,cafe\u0301\nc.png,dog\nd.png, dog \n")
    assert table.classes == ("caf\u00e9", "dog")
    assert table.notes == (
        "read as one class, \"caf\u00e9\": 'cafe\\u0301', 'caf\\xe9'",
        "read as one class, \"dog\": 'dog', 'dog '",
    )


# Columns to slice by


def test_other_columns_are_kept_in_their_order_and_spelling(read_text: ReadText) -> None:
    table = read_text("path,Camera,label, day ,\na.png,X-T4,cat,1,0\nb.png,,dog, 2 ,1\na.png,X-T4,cat,9,2\n")
    assert table.columns == {"Camera": ("X-T4", ""), "day": ("1", "2")}
    assert table.take([1]).columns == {"Camera": ("",), "day": ("2",)}
    assert table.find_column(" camera") == "Camera"


def test_a_column_that_is_there_may_have_a_namesake(read_text: ReadText) -> None:
    assert read_text("path,label,group,groups\na.png,cat,1,2\nb.png,dog,2,3\n").columns == {"groups": ("2", "3")}


def test_a_column_to_slice_by_that_is_not_there_names_the_nearest(read_text: ReadText) -> None:
    table = read_text("path,label,Camera,group\na.png,cat,x,1\nb.png,dog,y,2\n")
    assert table.find_column("GROUP") == "group"
    with pytest.raises(DataError, match='no column "camra" to slice by; did you mean "Camera"'):
        table.find_column("camra")
    with pytest.raises(DataError, match="choose one of Camera, group"):
        table.find_column("zzz")
    with pytest.raises(DataError, match="the data have no columns of their own"):
        read_text("path,label\na.png,cat\nb.png,dog\n").find_column("day")


def test_one_file_by_two_ways_of_writing_its_path_is_one_sample(read_text: ReadText, tmp_path: Path) -> None:
    table = read_text(f"path,label\n{tmp_path}/a.png,cat\nsub/../b.png,dog\n./a.png,cat\n")
    assert table.names == ("a.png", "b.png")
    with pytest.raises(DataError, match="one label in line 2 and another in line 3"):
        read_text(f"path,label\na.png,cat\n{tmp_path}/a.png,dog\n")


def test_blanks_behind_commas_belong_to_nothing(read_text: ReadText) -> None:
    assert read_text("path, label\n a.png, cat\n b.png, dog\n").names == ("a.png", "b.png")


def test_utf_16_is_called_so(read_text: ReadText) -> None:
    with pytest.raises(DataError, match=r"list\.csv: is no UTF-8 text, maybe UTF-16"):
        read_text("path,label\na.png,cat\nb.png,dog\n", encoding="utf-16")


def test_who_looks_for_faults_gets_absent_files_as_samples(read_text: ReadText, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"1 file does not exist: gone\.png"):
        read_text("path,label\na.png,cat\nb.png,dog\ngone.png,dog\n")
    table = read_samples(tmp_path / "list.csv", keep_absent=True)
    assert table.names == ("a.png", "b.png", "gone.png")
    with pytest.raises(ImageError, match="does not exist"):
        table.store.read("gone.png")
