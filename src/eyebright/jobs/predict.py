"""Classify images that have no label."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import TextIO

from eyebright.calibration.calibration import Promises
from eyebright.data.sources import read_unlabelled
from eyebright.errors import SettingsError, printable
from eyebright.inference.load import load
from eyebright.inference.predictor import Prediction
from eyebright.jobs import runs
from eyebright.progress import Progress, SilentProgress

SUFFIXES = (".csv", ".jsonl")
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")


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
    error_rate: float = Promises.error_rate,
    coverage: float = Promises.coverage,
    sets: str = Promises.sets,
    progress: Progress | None = None,
) -> Answers:
    """Answers for files, folders, zips and patterns.

    An image that can't be read gets an answer with its `error`.

    Args:
        run: a run's folder or a bundle.
        images: what to classify; "-" stands for what was piped in.
        piped: the bytes of one image, or paths, one a line (or separated by NUL, as `find -print0` does).
        error_rate, coverage, sets: what is asked of the answers; see `eyebright.load`.
        progress: is told how far it is, and asked whether to stop.

    Raises:
        BundleError: the classifier is damaged or absent.
        DataError: there are no images at all.
    """
    progress = progress or SilentProgress()
    predictor = load(Path(run), error_rate=error_rate, coverage=coverage, sets=sets)
    if predictor.calibration is None:
        progress.warn(
            "this classifier was not calibrated: confidences are the network's own, and none is called unsure"
        )
    if "-" in images and piped.startswith(_SIGNATURES):
        others = [image for image in images if image != "-"]
        found = iter([replace(answer, name="-") for answer in predictor.predict([piped])])
        if others:
            store, names = read_unlabelled(others)
            found = chain(found, predictor.predict_files(store, names, progress=progress))
        return Answers(predictor.class_names, found)
    paths: list[str | os.PathLike[str]] = []
    for image in images:
        paths += _split_paths(piped) if image == "-" else [image]
    store, names = read_unlabelled(paths)
    return Answers(predictor.class_names, predictor.predict_files(store, names, progress=progress))


def _split_paths(piped: bytes) -> list[str]:
    parts = piped.split(b"\0") if b"\0" in piped else piped.splitlines()
    return [os.fsdecode(part) for part in parts if part.strip()]


def write_predictions(path: Path, predictions: Iterable[Prediction], class_names: Sequence[str]) -> tuple[int, int]:
    """Write answers as CSV or as JSON lines, by the path's suffix, whole or not at all.

    CSV columns: path, label, confidence, unsure (why, or nothing), set (classes with | between them), error, then one
    column of probabilities for each class, in their order.

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
    """Answers as CSV into an open file; returns how many there are, and how many of them are errors.

    A name that a spreadsheet would take for a formula gets an apostrophe in front; JSON lines keep it as it is.
    """
    writer = csv.writer(file)
    writer.writerow(["path", "label", "confidence", "unsure", "set", "error", *(f"p:{name}" for name in class_names)])
    total = errors = 0
    for answer in predictions:
        total += 1
        if answer.error is not None:
            errors += 1
            writer.writerow([_inert(answer.name), "", "", "", "", _inert(answer.error), *("" for _ in class_names)])
            continue
        shares = (f"{answer.probabilities[name]:.6f}" for name in class_names)
        name, label, inside = (_inert(text or "") for text in (answer.name, answer.label, "|".join(answer.set)))
        writer.writerow([name, label, f"{answer.confidence:.6f}", answer.unsure or "", inside, "", *shares])
    return total, errors


def _inert(text: str) -> str:
    """The text as no spreadsheet computes it."""
    return f"'{text}" if len(text) > 1 and text.startswith(_FORMULAS) else text


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
        "unsure": answer.unsure,
        "set": list(answer.set),
        "probabilities": {name: round(share, 6) for name, share in answer.probabilities.items()},
    }
