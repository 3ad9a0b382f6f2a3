"""Why a saved classifier answers as it does: images in, maps with their faithfulness out, as a page or a picture."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.bundle.calibrated import read_calibration
from eyebright.bundle.engines import UNEXPORTED, read_engines
from eyebright.bundle.manifest import Manifest, find_bundle
from eyebright.bundle.store import LoadedBundle, load_bundle
from eyebright.calibration.novelty import unit_rows
from eyebright.data.cache import iter_squares, read_squares
from eyebright.data.decode import decode_anything
from eyebright.data.disk_cache import SquareCache
from eyebright.data.kept_files import FOLDER
from eyebright.data.samples import SampleTable
from eyebright.embedding.embed import embed
from eyebright.errors import ImageError, OutputError, SettingsError, printable
from eyebright.explanation.attribution import METHODS, Explanation, Method, SimilarImage
from eyebright.explanation.explain import Explainer, find_class, find_methods
from eyebright.explanation.neighbours import find_nearest
from eyebright.explanation.overlay import write_sheet
from eyebright.explanation.page import Subject, render_explanations
from eyebright.inference.load import choose_engine
from eyebright.inference.predictor import Prediction, Predictor
from eyebright.inference.torch_engine import TorchEngine
from eyebright.jobs import runs
from eyebright.jobs.given import Data
from eyebright.jobs.predict import find_images
from eyebright.jobs.prepare import prepare_again
from eyebright.jobs.state import read_state
from eyebright.models.catalog import find_model
from eyebright.models.download import cache_folder
from eyebright.preprocess import in_colour
from eyebright.progress import Progress, SilentProgress
from eyebright.settings import load_settings
from eyebright.training.settings import Settings
from eyebright.writing import check_new, write_new

FORMATS = (".html", ".png")
MOST = 500
"""Images on one page."""
SIMILAR = 6
AUTO, ALL = "auto", "all"


@dataclass(frozen=True, kw_only=True, eq=False)
class Explained:
    """Why some images got their answers; shows itself in a notebook."""

    explanations: tuple[Explanation, ...]
    """In the order of the images."""
    subject: Subject

    @cached_property
    def html(self) -> str:
        """The whole page."""
        return render_explanations(self.explanations, self.subject)

    @property
    def unreadable(self) -> int:
        """How many of the images could not be read."""
        return sum(explanation.image is None for explanation in self.explanations)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page, or one image's maps as a picture. No file is ever overwritten.

        Args:
            path: ends in .html, or for one image in .png.

        Raises:
            OutputError: another ending, a file that exists, or one that can't be written.
        """
        target = Path(path)
        if check_target(target, len(self.explanations)) == ".html":
            content = self.html.encode("utf-8", "surrogateescape")
        else:
            (explanation,) = self.explanations
            content = write_sheet(explanation)
        write_new(target, content)
        return target

    def _repr_html_(self) -> str:
        import html

        return f'<iframe style="width:100%;height:44rem;border:0" srcdoc="{html.escape(self.html)}"></iframe>'


def explain(
    run: str | os.PathLike[str],
    images: Any,
    *,
    methods: str | Sequence[str] = AUTO,
    layer: str | None = None,
    label: str | None = None,
    against: str | None = None,
    similar: bool | Data = False,
    piped: bytes = b"",
    engine: str | None = None,
    out: str | os.PathLike[str] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Explained:
    """Where in its images a classifier's answers come from.

    Args:
        run: a run's folder or a bundle.
        images: a file, folder, zip or pattern, or several; or one image as bytes, a Pillow image or an array.
        methods: names of `METHODS`, "all", or "auto", which is the one that suits the network.
        layer: whose map Grad-CAM and its relatives draw; by default the deepest that is fine enough.
        label: the class to explain; by default each image's own answer.
        against: the class to weigh it against; by default the likeliest other, of several labels one that is no answer.
        similar: whether to find the training images that are most alike, which looks at all of them again; or where
            they are now.
        piped: the bytes of one image, or paths, where "-" is among the images.
        engine: what gave the answers that these are explanations of; by default what `eyebright.load` takes. Only torch
            has gradients, so it is asked anew, and where it is not torch that answered, the page says so.
        out: also write this .html file, or for one image this .png file.
        command: what the user typed, for the page.
        progress: is told how far it is, and asked whether to stop.

    Raises:
        BundleError: the classifier is damaged or absent.
        SettingsError: an unknown method or class, or no training images to look at.
        ModelError: an unknown layer.
        DataError: there are no images at all.
        ImageError: the only image can't be read; of several, such an image is named on the page.
        OutputError: the file exists or can't be written.
    """
    progress = progress or SilentProgress()
    if out is not None:
        check_target(Path(out), 0)
    names = [methods] if isinstance(methods, str) else list(methods)
    chosen = METHODS if ALL in names else find_methods([name for name in names if name != AUTO])
    folder = Path(run)
    bundle = load_bundle(folder)
    manifest = bundle.manifest
    calibration = read_calibration(find_bundle(folder), manifest)
    explainer = Explainer(
        bundle.model,
        manifest.preprocessing,
        manifest.class_names,
        layer=layer,
        several_labels=manifest.several_labels,
        temperature=1.0 if calibration is None else calibration.temperature,
    )
    classes = explainer.class_names
    wanted = _Wanted(
        methods=find_methods((explainer.best_method, *chosen)) if AUTO in names else chosen,
        label=None if label is None else find_class(label, classes),
        against=None if against is None else find_class(against, classes),
    )
    if label is not None and label == against:
        raise SettingsError(f'"{printable(label)}" can\'t be weighed against itself; name another class in --against')
    count, decoded = _decode(images, piped, bundle)
    if out is not None:
        check_target(Path(out), count)
    notes = _note_engine(folder, manifest, engine)
    if count > MOST:
        notes = (f"The first {MOST:,} of {count:,} images are explained; a page holds no more.", *notes)
        progress.warn(notes[0])
        count, decoded = MOST, islice(decoded, MOST)
    predictor = Predictor(TorchEngine(bundle.model, manifest.preprocessing), manifest, calibration)
    trained_on = None if similar is False else _training_images(folder, bundle, similar, progress)
    explanations: list[Explanation] = []
    squares: dict[int, NDArray[np.uint8]] = {}
    progress.start("explaining", count)
    for name, square in decoded:
        if progress.stop_requested:
            raise KeyboardInterrupt
        if count == 1 and isinstance(square, ImageError):
            raise square
        if trained_on is not None and not isinstance(square, ImageError):
            squares[len(explanations)] = square
        explanations.append(_explain_one(name, square, predictor, explainer, wanted))
        progress.advance(len(explanations))
    progress.finish()
    if trained_on is not None and squares:
        for place, similar_images in zip(squares, trained_on.nearest(list(squares.values())), strict=True):
            explanations[place] = replace(explanations[place], similar=similar_images)
    explained = Explained(
        explanations=tuple(explanations),
        subject=replace(_subject(folder, bundle, explainer, layer is None, command), notes=notes),
    )
    if out is not None:
        explained.save(out)
    return explained


def check_target(path: Path, count: int) -> str:
    """The ending of a file to be written, in small letters.

    Args:
        path: the file.
        count: how many images it is to show.

    Raises:
        OutputError: no such format is written, or there is such a file.
    """
    suffix = check_new(path, FORMATS, "explanations are written")
    if suffix == ".png" and count > 1:
        raise OutputError(f"{printable(str(path))}: a .png shows one image, and there are {count:,}; write .html")
    return suffix


def _note_engine(folder: Path, manifest: Manifest, engine: str | None) -> tuple[str, ...]:
    """That the answers may be others than those explained, where another engine gives them."""
    answered = engine or choose_engine(read_engines(find_bundle(folder), manifest))
    if answered in UNEXPORTED:
        return ()
    return (
        f"Explained is what torch answers; {answered}, which predict uses here, may differ a little from it. With "
        "--engine torch both are the same.",
    )


@dataclass(frozen=True, kw_only=True)
class _Wanted:
    methods: tuple[Method, ...]
    label: int | None
    against: int | None


def _decode(
    images: Any, piped: bytes, bundle: LoadedBundle
) -> tuple[int, Iterator[tuple[str, NDArray[np.uint8] | ImageError]]]:
    """How many images there are; and each one's name and square (R, R, C), or what is wrong with it."""
    preprocessing = bundle.manifest.preprocessing
    if isinstance(images, str | os.PathLike):
        images = [images]
    if not isinstance(images, list | tuple) or not all(isinstance(image, str | os.PathLike) for image in images):
        pixels = decode_anything(images, short_side=preprocessing.short_side, channels=preprocessing.channels)
        return 1, iter([("the image", preprocessing.square(pixels))])
    store, names = find_images(images, piped)

    batches = iter_squares(store, names, preprocessing, batch_size=1)
    found = zip(map(store.locate, names), (errors.get(0, squares[0]) for squares, errors in batches), strict=True)
    return len(names), found


def _explain_one(
    name: str, square: NDArray[np.uint8] | ImageError, predictor: Predictor, explainer: Explainer, wanted: _Wanted
) -> Explanation:
    if isinstance(square, ImageError):
        unread = Prediction(name=name, label=None, confidence=None, probabilities={}, error=square.reason)
        return Explanation(prediction=unread, image=None, label="")
    prediction = replace(predictor.predict_square(square), name=name)
    label = explainer.class_names.index(next(iter(prediction.probabilities))) if wanted.label is None else wanted.label
    against = wanted.against
    if against is None:
        against = _choose_against(prediction, label, explainer.class_names, predictor.manifest.several_labels)
    image = explainer.prepare(square)
    maps = [explainer.attribute(image, label, method=method) for method in wanted.methods]
    contrast = None if against in (None, label) else explainer.attribute(image, label, against=against)
    seen = predictor.preprocessing.crop(square[None])[0]
    return Explanation(
        prediction=prediction,
        image=in_colour(seen),
        label=explainer.class_names[label],
        maps=explainer.judge_all(image, maps),
        contrast=contrast,
    )


def _choose_against(prediction: Prediction, label: int, class_names: Sequence[str], several: bool) -> int | None:
    """The likeliest other class; where an image may have several, "why not round?" is no question if it is round."""
    skipped = {class_names[label], *(prediction.labels if several else ())}
    return next((class_names.index(name) for name in prediction.probabilities if name not in skipped), None)


@dataclass(frozen=True, kw_only=True, eq=False)
class _TrainingImages:
    """M images that a run was trained on, as the network sees them."""

    bundle: LoadedBundle
    table: SampleTable
    images: NDArray[np.uint8]
    """(N, R, R, C), which may be mapped from a file: only the rows that are shown are to be read."""
    rows: NDArray[np.int64]
    """(M,) those of them that could be read."""
    embeddings: NDArray[np.float32]
    """(M, D) rows of length 1."""

    def nearest(self, squares: Sequence[NDArray[np.uint8]]) -> list[tuple[SimilarImage, ...]]:
        """The images most like each square (R, R, C), without itself."""
        own = embed(self.bundle.model, np.stack(squares), np.arange(len(squares)), self.bundle.manifest.preprocessing)
        return [
            self._show(square, find_nearest(embedding, self.embeddings, SIMILAR + 1))
            for square, embedding in zip(squares, unit_rows(own), strict=True)
        ]

    def _show(self, square: NDArray[np.uint8], found: Sequence[tuple[int, float]]) -> tuple[SimilarImage, ...]:
        preprocessing = self.bundle.manifest.preprocessing
        shown = []
        for place, similarity in found:
            row = int(self.rows[place])
            if np.array_equal(self.images[row], square):
                continue  # the image itself
            seen = preprocessing.crop(self.images[row][None])[0]
            shown.append(
                SimilarImage(
                    name=self.table.store.locate(self.table.names[row]),
                    label=", ".join(self.table.labels_of(row)),
                    similarity=similarity,
                    image=in_colour(seen),
                )
            )
        return tuple(shown[:SIMILAR])


def _training_images(folder: Path, bundle: LoadedBundle, similar: bool | Data, progress: Progress) -> _TrainingImages:
    state = read_state(folder)
    data = (state.data if state is not None else None) if similar is True else similar
    if not (folder / runs.SAMPLES).is_file() or data is None or isinstance(data, bool):
        raise SettingsError(
            f"{printable(str(folder))} does not say which images it was trained on, so none can be compared; leave "
            "--similar out, or give the folder of a run"
        )
    records = [record for record in runs.read_sample_records(folder / runs.SAMPLES) if record.split == "train"]
    prepared = prepare_again(data, records, progress)
    preprocessing = bundle.manifest.preprocessing
    cached = load_settings(Settings, file=folder / runs.SETTINGS).data.cache
    squares = read_squares(
        prepared.table,
        preprocessing,
        progress=progress,
        digests=prepared.digests,
        cache=SquareCache(cache_folder() / FOLDER) if cached else None,
    )
    rows = np.flatnonzero(squares.readable)
    embeddings = embed(bundle.model, squares.images, rows, preprocessing, progress=progress)
    return _TrainingImages(
        bundle=bundle, table=prepared.table, images=squares.images, rows=rows, embeddings=unit_rows(embeddings)
    )


def _subject(folder: Path, bundle: LoadedBundle, explainer: Explainer, chosen: bool, command: str) -> Subject:
    layer = explainer.layer
    why = ", the deepest that is fine enough to show something" if chosen else ", as asked"
    size = f"{layer.height} x {layer.width} positions of {layer.channels:,} channels"
    return Subject(
        run=folder.resolve().name,
        network=find_model(bundle.manifest.architecture.model).title,
        layer=f"{layer.name} ({size}){why}",
        command=command,
    )
