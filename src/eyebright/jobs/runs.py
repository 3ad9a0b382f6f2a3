"""The folder of a run: what is in it, and how it is written.

settings.toml   every setting, with what was chosen where nothing was said
samples.csv     every sample with its label, its split and the sha256 of its content
decisions.csv   what was decided about single samples, if --decisions was given
history.jsonl   what happened in each epoch
bundle/         the classifier
report.json     what it achieved, as numbers
report.html     the same, to read
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from eyebright.data.samples import SPLITS, SampleTable
from eyebright.errors import DataError, OutputError, printable

SETTINGS = "settings.toml"
SAMPLES = "samples.csv"
DECISIONS = "decisions.csv"
HISTORY = "history.jsonl"
BUNDLE = "bundle"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"


def create_folder(wanted: Path | None, name: str) -> Path:
    """A new empty folder: the one asked for, or the first free one of runs/NAME, runs/NAME-2, ...

    Raises:
        OutputError: it exists and is not empty, or can't be made.
    """
    try:
        if wanted is not None:
            if wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
                raise OutputError(
                    f"{printable(str(wanted))} exists already and nothing is ever overwritten; "
                    "give another --out, or remove it first"
                )
            wanted.mkdir(parents=True, exist_ok=True)
            return wanted
        number = 1
        while True:
            folder = Path("runs") / (name if number == 1 else f"{name}-{number}")
            try:
                folder.mkdir(parents=True)
                return folder
            except FileExistsError:
                number += 1
    except OSError as error:
        raise OutputError(
            f"{printable(str(wanted or 'runs'))} can't be made: {error.strerror or error}; choose another --out"
        ) from error


@contextmanager
def new_folder(wanted: Path | None, name: str) -> Iterator[Path]:
    """`create_folder`, but if the block fails before anything was written, the folder is gone again."""
    folder = create_folder(wanted, name)
    try:
        yield folder
    finally:
        with suppress(OSError):  # not empty, as it should be
            folder.rmdir()


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's errors while `path` is written into one that names it.

    Raises:
        OutputError: disk full, no permission, the folder is gone.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{printable(str(path))} can't be written: {error.strerror or error}; free some room or change --out"
        ) from error


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    scratch = path.with_name(f".{path.name}.new")
    with writing(path):
        try:
            with scratch.open("w", encoding="utf-8", newline="\n") as file:
                file.write(text)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)


@dataclass(frozen=True, kw_only=True)
class SampleRecord:
    """One line of `samples.csv`."""

    name: str
    label: str
    split: str
    sha256: str


def write_samples(path: Path, table: SampleTable, digests: Mapping[str, str]) -> None:
    """Every sample as it was used; what could not be fetched has no sha256."""
    scratch = path.with_name(f".{path.name}.new")
    with writing(path):
        try:
            with scratch.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                writer = csv.writer(file)
                writer.writerow(["path", "label", "split", "sha256"])
                for row, name in enumerate(table.names):
                    split = SPLITS[table.splits[row]]
                    writer.writerow([name, table.classes[table.labels[row]], split, digests.get(name, "")])
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)


def read_sample_records(path: Path) -> tuple[SampleRecord, ...]:
    """The lines that `write_samples` wrote.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return tuple(
                SampleRecord(name=row["path"], label=row["label"], split=row["split"], sha256=row["sha256"])
                for row in csv.DictReader(file)
            )
    except (OSError, csv.Error, KeyError) as error:
        raise DataError(f"{printable(str(path))} can't be read ({error}); it may be damaged") from error
