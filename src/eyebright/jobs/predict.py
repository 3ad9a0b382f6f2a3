"""Classify images that have no label."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO, final

from numpy.typing import NDArray

from eyebright.data.samples import ImageStore
from eyebright.data.sources import read_unlabelled
from eyebright.errors import SettingsError, printable
from eyebright.inference.load import load
from eyebright.inference.predictor import Prediction
from eyebright.jobs import runs
from eyebright.progress import Progress, SilentProgress

SUFFIXES = (".csv", ".jsonl")


# How image files begin: JPEG, PNG, GIF, TIFF (both byte orders), BMP, WebP, portable any-map.
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG", b"GIF8", b"II*\0", b"MM\0*", b"BM", b"RIFF", b"P4", b"P5", b"P6")


@dataclass(frozen=True)
class Answers:
    """Predictions as they come, one for each image, in order."""

    class_names: tuple[str, ...]
    predictions: Iterator[Prediction]


def predict(
    run: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    piped: bytes = b"",
    progress: Progress | None = None,
) -> Answers:
    """Answers for files, folders, zips and patterns.

    An image that can't be read gets an answer with its `error`.

    Args:
        run: a run's folder or a bundle.
        images: what to classify; "-" stands for what was piped in.
        piped: the bytes of one image, or paths, one a line (or separated by NUL, as `find -print0` does).
        progress: is told how far it is, and asked whether to stop.

    Raises:
        BundleError: the classifier is damaged or absent.
        DataError: there are no images at all.
    """
    progress = progress or SilentProgress()
    predictor = load(Path(run))
    store, names = find_images(images, piped)
    return Answers(predictor.class_names, predictor.predict_files(store, names, progress=progress))


@final
@dataclass(frozen=True, eq=False)
class _PipedStore:
    """An image that was piped in, under the name "-", and others."""

    image: bytes
    others: ImageStore | None

    def read(self, name: str) -> bytes | NDArray[Any]:
        if name == "-" or self.others is None:
            return self.image
        return self.others.read(name)

    def locate(self, name: str) -> str:
        return name if name == "-" or self.others is None else self.others.locate(name)


def find_images(images: Sequence[str | os.PathLike[str]], piped: bytes) -> tuple[ImageStore, tuple[str, ...]]:
    """A store of what a command was given, and the names that it reads, an image that was piped in first.

    Args:
        images: files, folders, zips and patterns; "-" stands for what was piped in.
        piped: the bytes of one image, or paths, one a line (or separated by NUL, as `find -print0` does).

    Raises:
        DataError: there are no images at all.
    """
    if "-" in images and piped.startswith(_SIGNATURES):
        paths = [image for image in images if image != "-"]
        others, names = read_unlabelled(paths) if paths else (None, ())
        return _PipedStore(piped, others), ("-", *names)
    given: list[str | os.PathLike[str]] = []
    for image in images:
        given += _split_paths(piped) if image == "-" else [image]
    return read_unlabelled(given)


def _split_paths(piped: bytes) -> list[str]:
    parts = piped.split(b"\0") if b"\0" in piped else piped.splitlines()
    return [os.fsdecode(part) for part in parts if part.strip()]


def write_predictions(path: Path, predictions: Iterable[Prediction], class_names: Sequence[str]) -> tuple[int, int]:
    """Write answers as CSV or as JSON lines, by the path's suffix, whole or not at all.

    CSV columns: path, label, confidence, error, then one column of probabilities for each class, in their order.

    Returns:
        How many answers there are, and how many of them are errors.

    Raises:
        SettingsError: another suffix.
        OutputError: the file can't be written.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{printable(str(path))} should end in .csv or .jsonl, which says how it is written")
    scratch = path.with_name(f".{path.name}.new")
    with runs.writing(path):
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with scratch.open("w", encoding="utf-8", errors="surrogateescape", newline="") as file:
                write = write_csv if path.suffix.lower() == ".csv" else _write_json_lines
                counts = write(file, predictions, class_names)
                file.flush()
                os.fsync(file.fileno())
            os.replace(scratch, path)
        finally:
            scratch.unlink(missing_ok=True)
    return counts


def write_csv(file: TextIO, predictions: Iterable[Prediction], class_names: Sequence[str]) -> tuple[int, int]:
    """Answers as CSV into an open file; returns how many there are, and how many of them are errors."""
    writer = csv.writer(file)
    writer.writerow(["path", "label", "confidence", "error", *(f"p:{name}" for name in class_names)])
    total = errors = 0
    for answer in predictions:
        total += 1
        if answer.error is not None:
            errors += 1
            writer.writerow([answer.name, "", "", answer.error, *("" for _ in class_names)])
            continue
        shares = (f"{answer.probabilities[name]:.6f}" for name in class_names)
        writer.writerow([answer.name, answer.label, f"{answer.confidence:.6f}", "", *shares])
    return total, errors


def _write_json_lines(file: TextIO, predictions: Iterable[Prediction], _: Sequence[str]) -> tuple[int, int]:
    total = errors = 0
    for answer in predictions:
        total += 1
        errors += answer.error is not None
        file.write(json.dumps(prediction_to_dict(answer), ensure_ascii=True) + "\n")
    return total, errors


def prediction_to_dict(answer: Prediction) -> dict[str, object]:
    """Plain values for JSON."""
    if answer.error is not None:
        return {"path": answer.name, "error": answer.error}
    return {
        "path": answer.name,
        "label": answer.label,
        "confidence": round(answer.confidence or 0.0, 6),
        "probabilities": {name: round(share, 6) for name, share in answer.probabilities.items()},
    }
