"""Classify images that have no label: one, or millions into a file, which a killed job goes on with."""

from __future__ import annotations

import csv
import errno
import hashlib
import io
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any, TextIO, final

from numpy.typing import NDArray

from eyebright.bulk.formats import CSV, JSON_LINES, choose_format, join_parts, spell_json
from eyebright.bulk.shards import Shards
from eyebright.bundle.engines import read_engines
from eyebright.bundle.manifest import WEIGHTS, find_bundle
from eyebright.calibration.calibration import Promises
from eyebright.data.manifests import BETWEEN_LABELS
from eyebright.data.samples import ImageStore
from eyebright.data.sources import PathStore, read_unlabelled
from eyebright.errors import OutputError, SettingsError, printable
from eyebright.inference.load import load
from eyebright.inference.predictor import BATCH_SIZE, Prediction, Predictor
from eyebright.locking import locked
from eyebright.progress import Progress, SilentProgress
from eyebright.writing import writing

SHARD_IMAGES = 2048
"""How many answers are written at a time: what a killed job loses at the most."""
PART_NUMBERS = 1_000_000
"""How many probabilities are written at a time: of thousands of classes, fewer answers."""
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")

# How image files begin: JPEG, PNG, GIF, TIFF (both byte orders), BMP, WebP, portable any-map.
_BUSY = (errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES)
_NO_TEXT = re.compile(rb"[\x01-\x08\x0b\x0c\x0e-\x1f\x7f]")
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
    engine: str | None = None,
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
        engine: see `eyebright.load`.
        error_rate, coverage, sets: what is asked of the answers; see `eyebright.load`.
        progress: is told how far it is, and asked whether to stop.

    Raises:
        BundleError: the classifier is damaged or absent.
        DataError: there are no images at all.
    """
    progress = progress or SilentProgress()
    asked: dict[str, Any] = {"error_rate": error_rate, "coverage": coverage, "sets": sets}
    predictor = _open(run, engine, asked, progress)
    store, names = find_images(images, piped)
    return Answers(predictor.class_names, predictor.predict_files(store, names, progress=progress))


def _open(run: str | os.PathLike[str], engine: str | None, asked: Mapping[str, Any], progress: Progress) -> Predictor:
    """The classifier, which keeps the promises that are asked of its answers."""
    predictor = load(Path(run), engine=engine, **asked)
    if predictor.calibration is None and not predictor.manifest.several_labels:
        progress.warn(
            "this classifier was not calibrated: confidences are the network's own, and none is called unsure"
        )
    return predictor


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
    if "-" in images and is_image(piped):
        paths = [image for image in images if image != "-"]
        others, names = read_unlabelled(paths) if paths else (None, ())
        return _PipedStore(piped, others), ("-", *names)
    return read_unlabelled(_list_paths(images, piped))


def is_image(piped: bytes) -> bool:
    """Whether what was piped in is an image, or at least no list of paths."""
    if piped.startswith(_SIGNATURES) or piped[4:8] == b"ftyp":  # AVIF and its relatives
        return True
    return bool(_NO_TEXT.search(piped[:4096]))


def _split_paths(piped: bytes) -> list[str]:
    parts = piped.split(b"\0") if b"\0" in piped else piped.splitlines()
    return [os.fsdecode(part) for part in parts if part.strip()]


def predict_into(
    path: str | os.PathLike[str],
    run: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    *,
    piped: bytes = b"",
    engine: str | None = None,
    error_rate: float = Promises.error_rate,
    coverage: float = Promises.coverage,
    sets: str = Promises.sets,
    resume: bool = False,
    progress: Progress | None = None,
) -> tuple[int, int]:
    """Answers for any number of images into a file, whole or not at all, with memory for a few batches.

    What is done by the time the job is killed stays in a hidden folder beside the file until the job is gone on with.
    Nothing is answered twice or left out.

    Args:
        path: ends in .csv, .jsonl or .parquet, which says how it is written.
        run, images, piped, engine, error_rate, coverage, sets, progress: see `predict`.
        resume: go on with what an earlier call for the same images and classifier has left.

    Returns:
        How many answers there are, and how many of them are errors.

    Raises:
        SettingsError: another ending, or nothing of the same job to go on with.
        OutputError: the file is there already, is being written by another process, or can't be written.
        KeyboardInterrupt: a stop was requested; `resume` goes on.
        EyebrightError: see `predict`.
    """
    target, progress = Path(path), progress or SilentProgress()
    asked: dict[str, Any] = {"error_rate": error_rate, "coverage": coverage, "sets": sets}
    kind = choose_format(target)
    _require_new(target, resume)
    with _alone(target):
        _require_new(target, resume)  # another may have ended just now
        return _predict_into(target, run, images, piped, engine, asked, kind, resume, progress)


def _require_new(target: Path, resume: bool) -> None:
    if target.exists():
        if resume:
            raise SettingsError(f"{printable(str(target))} is there and whole; nothing is left to go on with")
        raise OutputError(f"{printable(str(target))} exists already; delete it or change --out")


@contextmanager
def _alone(target: Path) -> Iterator[None]:
    """Of two that would write one file, the second is told so."""
    lock = target.with_name(f".{target.name}.lock")
    with ExitStack() as held:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            try:
                held.enter_context(locked(lock, wait=False))
            except BlockingIOError as error:
                # A file system that knows no locks says so otherwise; there, two at one file are not noticed.
                if error.errno in _BUSY:
                    raise OutputError(
                        f"{printable(str(target))} is being written by another process; wait for it, or change --out"
                    ) from None
        yield


def _predict_into(
    target: Path,
    run: str | os.PathLike[str],
    images: Sequence[str | os.PathLike[str]],
    piped: bytes,
    engine: str | None,
    asked: Mapping[str, Any],
    kind: str,
    resume: bool,
    progress: Progress,
) -> tuple[int, int]:
    if "-" in images and is_image(piped):
        if resume:
            raise SettingsError("an image from standard input is no job to go on with; leave --resume out")
        answers = predict(run, images, piped=piped, engine=engine, progress=progress, **asked)
        return write_predictions(target, answers.predictions, answers.class_names)
    predictor = _open(run, engine, asked, progress)
    store, names = read_unlabelled(_list_paths(images, piped))
    size = _part_size(predictor.class_names)
    job: dict[str, str | int | float] = {
        **asked,
        "images": _digest(names),
        "classifier": predictor.manifest.files[WEIGHTS],
        "engine": predictor.engine,
        "export": _hash_of_export(Path(run), predictor),
        "kind": kind,
        "size": size,
    }

    def stamp(part: int) -> str:
        return _stamp(store, names[part * size : (part + 1) * size])

    shards = Shards(target, job, resume=resume, stamp=stamp)
    done = min(len(shards) * size, len(names))
    if done:
        progress.say(f"{done:,} of {len(names):,} images were done before")
    answered = predictor.predict_files(store, names[done:], progress=progress)
    try:
        _write_shards(shards, answered, predictor.class_names, kind, stamp)
    except KeyboardInterrupt:
        if len(shards):
            progress.say(f"{len(shards) * size:,} images are done and kept; go on with --resume")
        else:
            shards.discard()
        raise
    shards.join(lambda file, parts: join_parts(file, parts, header=_header(predictor.class_names, kind), kind=kind))
    return len(names), shards.errors


def write_predictions(path: Path, predictions: Iterable[Prediction], class_names: Sequence[str]) -> tuple[int, int]:
    """Write answers as CSV, JSON lines or Parquet, by the path's suffix, whole or not at all.

    CSV columns: path, label, confidence, unsure (why, or nothing), set (classes with | between them), error, then one
    column of probabilities for each class, in their order. Where an image may have several classes, label holds all
    that it has, with | between them.

    Returns:
        How many answers there are, and how many of them are errors.

    Raises:
        SettingsError: another suffix.
        OutputError: the file can't be written.
    """
    kind = choose_format(path)
    shards = Shards(path, {}, resume=False)
    try:
        total = _write_shards(shards, iter(predictions), class_names, kind)
        shards.join(lambda file, parts: join_parts(file, parts, header=_header(class_names, kind), kind=kind))
    finally:
        shards.discard()
    return total, shards.errors


def _hash_of_export(run: Path, predictor: Predictor) -> str:
    """The sha256 of the file that the engine runs; empty for one that runs the weights themselves."""
    engines = read_engines(find_bundle(run), predictor.manifest)
    file = next((found.file for found in engines if found.engine == predictor.engine), None)
    return "" if file is None else predictor.manifest.files[file]


def _part_size(class_names: Sequence[str]) -> int:
    """How many answers make a part."""
    # At least as many as are read ahead, see `_write_shards`.
    fewest = 3 * BATCH_SIZE + (os.cpu_count() or 1)
    return min(SHARD_IMAGES, max(fewest, PART_NUMBERS // len(class_names)))


def _stamp(store: PathStore, names: Sequence[str]) -> str:
    """What tells images from such that took their places: sizes and times of their files, or of the archives."""
    digest = hashlib.sha256()
    for name in names:
        archive = store.entries.get(name)
        path = name if archive is None else str(archive[0].path)
        try:
            found = os.stat(path)
            digest.update(f"{found.st_size} {found.st_mtime_ns}\n".encode())
        except (OSError, ValueError):
            digest.update(b"none\n")
    return digest.hexdigest()[:16]


def _write_shards(
    shards: Shards,
    predictions: Iterator[Prediction],
    class_names: Sequence[str],
    kind: str,
    stamp: Callable[[int], str] = lambda _: "",
) -> int:
    """Answers part by part; how many there were."""
    total, size = 0, _part_size(class_names)
    following = stamp(len(shards))
    while True:
        # Images are read some ahead of their answers: the next part's stamp is taken before any of them is.
        mine, following = following, stamp(len(shards) + 1)
        text = io.StringIO(newline="")
        # As they come: an answer holds a number for each class by name, many times the size of its line.
        count, errors = _write_part(text, islice(predictions, size), class_names, kind)
        if count == 0:
            return total
        shards.add(text.getvalue().encode("utf-8", "surrogateescape"), errors=errors, stamp=mine)
        total += count


def _write_part(
    file: TextIO, predictions: Iterable[Prediction], class_names: Sequence[str], kind: str
) -> tuple[int, int]:
    """As text of one kind; Parquet's is CSV on its way, and its names are themselves."""
    if kind == JSON_LINES:
        return _write_json_lines(file, predictions, class_names)
    return write_csv(file, predictions, class_names, inert=kind == CSV)


def _header(class_names: Sequence[str], kind: str) -> bytes:
    """What every part of CSV begins with."""
    if kind == JSON_LINES:
        return b""
    text = io.StringIO(newline="")
    write_csv(text, [], class_names)
    return text.getvalue().encode("utf-8", "surrogateescape")


def _list_paths(images: Sequence[str | os.PathLike[str]], piped: bytes) -> list[str | os.PathLike[str]]:
    """What is to be classified, with the paths that were piped in where "-" stands."""
    paths: list[str | os.PathLike[str]] = []
    for image in images:
        paths += _split_paths(piped) if image == "-" else [image]
    return paths


def _digest(names: Sequence[str]) -> str:
    """Of all names in their order."""
    digest = hashlib.sha256()
    for name in names:
        digest.update(name.encode("utf-8", "surrogateescape") + b"\0")
    return digest.hexdigest()


def write_csv(
    file: TextIO, predictions: Iterable[Prediction], class_names: Sequence[str], *, inert: bool = True
) -> tuple[int, int]:
    """Answers as CSV into an open file; returns how many there are, and how many of them are errors.

    A name that a spreadsheet would take for a formula gets an apostrophe in front, unless it is no spreadsheet that
    reads the file (`inert=False`); JSON lines and Parquet keep it as it is.
    """
    spell = _inert if inert else str
    writer = csv.writer(file)
    writer.writerow(["path", "label", "confidence", "unsure", "set", "error", *(f"p:{name}" for name in class_names)])
    total = errors = 0
    for answer in predictions:
        total += 1
        if answer.error is not None:
            errors += 1
            writer.writerow([spell(answer.name), "", "", "", "", spell(answer.error), *("" for _ in class_names)])
            continue
        shares = (f"{answer.probabilities[name]:.6f}" for name in class_names)
        name, inside = spell(answer.name), spell(BETWEEN_LABELS.join(answer.set))
        label, confidence = spell(BETWEEN_LABELS.join(answer.labels)), answer.confidence
        sure = "" if confidence is None else f"{confidence:.6f}"
        writer.writerow([name, label, sure, answer.unsure or "", inside, "", *shares])
    return total, errors


def _inert(text: str) -> str:
    """The text as no spreadsheet computes it."""
    return f"'{text}" if len(text) > 1 and text.startswith(_FORMULAS) else text


def _write_json_lines(file: TextIO, predictions: Iterable[Prediction], _: Sequence[str]) -> tuple[int, int]:
    total = errors = 0
    for answer in predictions:
        total += 1
        errors += answer.error is not None
        file.write(spell_json(prediction_to_dict(answer)))
    return total, errors


def prediction_to_dict(answer: Prediction) -> dict[str, object]:
    """Plain values for JSON."""
    if answer.error is not None:
        return {"path": answer.name, "error": answer.error}
    return {
        "path": answer.name,
        "label": answer.label,
        "labels": list(answer.labels),
        "confidence": None if answer.confidence is None else round(answer.confidence, 6),
        "unsure": answer.unsure,
        "set": list(answer.set),
        "probabilities": {name: round(share, 6) for name, share in answer.probabilities.items()},
    }
