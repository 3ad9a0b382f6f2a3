"""The folder of a run: what is in it, and how it is written.

settings.toml   every setting, with what was chosen where nothing was said
samples.csv     every sample with its label, its split and the sha256 of its content
decisions.csv   what was decided about single samples, if --decisions was given
history.jsonl   what happened in each epoch
run.json        whether it is running, finished, interrupted or failed; see `state`
checkpoints/    while it is not finished: everything to go on from
bundle/         the classifier
report.json     what it achieved, as numbers
report.html     the same, to read
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from eyebright.data.manifests import BETWEEN_LABELS
from eyebright.data.samples import SPLITS, SampleTable
from eyebright.errors import DataError, OutputError, printable

SETTINGS = "settings.toml"
SAMPLES = "samples.csv"
DECISIONS = "decisions.csv"
HISTORY = "history.jsonl"
MLFLOW = "mlflow.txt"
CHECKPOINTS = "checkpoints"
BUNDLE = "bundle"
REPORT_JSON = "report.json"
REPORT_HTML = "report.html"


def require_free(wanted: Path | None) -> None:
    """Refuse a folder that holds something, before hours are spent on what should go into it.

    Raises:
        OutputError: it exists and is not empty, or can't be looked into.
    """
    with _making(wanted):
        if wanted is not None and wanted.exists() and (not wanted.is_dir() or any(wanted.iterdir())):
            raise OutputError(
                f"{printable(str(wanted))} exists already and nothing is ever overwritten; "
                "give another --out, or remove it first"
            )


def create_folder(wanted: Path | None, name: str) -> Path:
    """A new empty folder: the one asked for, or the first free one of runs/NAME, runs/NAME-2, ...

    Raises:
        OutputError: it exists and is not empty, or can't be made.
    """
    require_free(wanted)
    with _making(wanted):
        if wanted is not None:
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


@contextmanager
def _making(wanted: Path | None) -> Iterator[None]:
    try:
        yield
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


@dataclass(frozen=True, kw_only=True)
class SampleRecord:
    """One line of `samples.csv`."""

    name: str
    labels: tuple[str, ...]
    """One, or in data of several labels a sample, any number of them."""
    split: str
    sha256: str


def spell_samples(table: SampleTable, digests: Sequence[str]) -> str:
    """The text of `samples.csv`: every sample as it is used; what could not be fetched has no sha256.

    Args:
        table: with every sample in a split.
        digests: (N,) the sha256 of each sample's content.
    """
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    several = table.label_sets is not None
    writer.writerow(["path", "labels" if several else "label", "split", "sha256"])
    for row, name in enumerate(table.names):
        labels = BETWEEN_LABELS.join(table.labels_of(row))
        writer.writerow([name, labels, SPLITS[table.splits[row]], digests[row]])
    return text.getvalue()


def parse_samples(text: str, path: Path) -> tuple[SampleRecord, ...]:
    """The lines that `spell_samples` wrote.

    Args:
        text: of the file.
        path: where it comes from, for a message.

    Raises:
        DataError: it is damaged.
    """
    try:
        records = tuple(
            SampleRecord(
                name=row["path"],
                labels=tuple(row["labels"].split(BETWEEN_LABELS)) if "labels" in row else (row["label"],),
                split=row["split"],
                sha256=row["sha256"],
            )
            for row in csv.DictReader(io.StringIO(text, newline=""))
        )
    except (csv.Error, KeyError, TypeError, AttributeError) as error:  # a line too short or too long
        raise DataError(f"{printable(str(path))} can't be read ({error}); it may be damaged") from error
    odd = [record.split for record in records if record.split not in SPLITS]
    if odd:
        raise DataError(f'{printable(str(path))} names a split "{printable(odd[0])}"; it may be damaged')
    return records


def read_sample_records(path: Path) -> tuple[SampleRecord, ...]:
    """The lines of a `samples.csv`.

    Raises:
        DataError: the file is damaged.
    """
    try:
        with path.open(encoding="utf-8", errors="surrogateescape", newline="") as file:
            return parse_samples(file.read(), path)
    except OSError as error:
        raise DataError(f"{printable(str(path))} can't be read ({error}); it may be damaged") from error
