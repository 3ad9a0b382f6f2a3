"""What a network has learned to look for: a run or starter weights in, one page out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import nn

from eyebright.bundle.store import load_bundle
from eyebright.data.cache import iter_squares
from eyebright.data.decode import decode_anything
from eyebright.data.samples import SampleTable
from eyebright.data.sources import read_samples
from eyebright.drawing.activations import picture_activation
from eyebright.errors import DataError, ModelError, SettingsError, printable
from eyebright.explanation.features import (
    BATCH,
    FeatureReader,
    choose_channels,
    first_filters,
    measure_stages,
    outline,
    parse_channels,
)
from eyebright.explanation.features_page import Exciting, Features, ShownChannel, ShownStage, render_features
from eyebright.explanation.maximise import STEPS, maximise
from eyebright.jobs.given import Data, describe_data
from eyebright.jobs.network import find_network, list_starters
from eyebright.jobs.state import read_state
from eyebright.models.catalog import find_model
from eyebright.models.weights import load_pretrained
from eyebright.preprocess import Preprocessing, in_colour
from eyebright.progress import Progress, SilentProgress
from eyebright.writing import check_new, write_new

CHANNELS = 4
"""Of each stage, where none are asked for."""
MOST_IMAGES = 400
"""Of a data set, taken evenly."""
EXCITING = 6
_NAMED = 5
"""Images that could not be read and are called by name."""
_PAINTED = 112
"""Side of a painted picture in pixels, or what the network sees if that is less."""


@dataclass(frozen=True, kw_only=True, eq=False)
class LearnedFeatures:
    """What a network has learned; shows itself in a notebook."""

    features: Features

    @cached_property
    def html(self) -> str:
        """The whole page."""
        return render_features(self.features)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Write the page. No file is ever overwritten.

        Raises:
            OutputError: not an .html file, one that exists, or one that can't be written.
        """
        target = Path(path)
        check_target(target)
        write_new(target, self.html.encode("utf-8", "surrogateescape"))
        return target

    def _repr_html_(self) -> str:
        import html

        return f'<iframe style="width:100%;height:44rem;border:0" srcdoc="{html.escape(self.html)}"></iframe>'


@dataclass(frozen=True, kw_only=True)
class _Subject:
    title: str
    model: nn.Module
    preprocessing: Preprocessing
    data: Data | None
    """What it was trained on, if that is still there."""


def features(
    network: str | os.PathLike[str],
    image: Any = None,
    *,
    data: Data | None = None,
    channels: Sequence[str] = (),
    steps: int = STEPS,
    out: str | os.PathLike[str] | None = None,
    progress: Progress | None = None,
) -> LearnedFeatures:
    """First filters, answers of every stage, and what excites its channels: real images, and painted ones.

    Args:
        network: the folder of a run or bundle, or a network with starter weights ("resnet50", "vgg16").
        image: a path, bytes, a Pillow image or an array, whose way through the stages is shown.
        data: labelled images, see `eyebright.train`; by default what the run was trained on, if it is still there.
        channels: which to show, as "layer3:17"; by default those that the image excites most, compared with the data.
        steps: of painting a picture for each channel; 0 leaves that out.
        out: also write this .html file.
        progress: is told how far it is, and asked whether to stop.

    Raises:
        BundleError: the run is damaged or absent.
        ModelError: no such network, or one without starter weights.
        SettingsError: no such stage or channel, or steps below zero.
        DataError: the data can't be used.
        ImageError: the image can't be read.
        OutputError: the file exists or can't be written.
    """
    progress = progress or SilentProgress()
    if out is not None:
        check_target(Path(out))
    if not 0 <= steps <= 10_000:
        raise SettingsError(f"{steps} steps of painting are not possible; give 0 (none) to 10000")
    subject = _find(network)
    reader, preprocessing = FeatureReader(subject.model), subject.preprocessing
    sizes = measure_stages(reader.network, preprocessing.image_size)
    asked = parse_channels(tuple(channels), {stage: size[0] for stage, size in sizes.items()})
    seen, answers, name = None, None, ""
    if image is not None:
        square = preprocessing.square(
            decode_anything(image, short_side=preprocessing.short_side, channels=preprocessing.channels)
        )
        seen = preprocessing.crop(square[None])
        answers = {stage: found[0] for stage, found in reader.read(preprocessing.normalise(seen)).items()}
        name = os.path.basename(os.fsdecode(image)) if isinstance(image, str | os.PathLike) else "the image"
    table, notes = _data_of(subject, data)
    peaks = None
    if table is not None:
        peaks, table, more = _respond(reader, table, preprocessing, progress)
        notes += more
    stages = []
    chosen = {
        stage: asked.get(stage, ()) if asked else _choose(stage, sizes[stage][0], peaks, answers)
        for stage in reader.stages
    }
    shown = _show_channels(reader, preprocessing, chosen, peaks, table, steps, progress)
    for stage in reader.stages:
        maps = None if answers is None else picture_activation(stage, answers[stage])
        count, height, width = sizes[stage]
        stages.append(
            ShownStage(
                name=stage,
                channels=count,
                height=height,
                width=width,
                maps=maps.picture if maps else "",
                maps_about=maps.caption if maps else "",
                maps_size=(maps.width, maps.height) if maps else (0, 0),
                shown=shown[stage],
            )
        )
    filters_of, filters = first_filters(subject.model)
    learned = LearnedFeatures(
        features=Features(
            subject=subject.title,
            filters_of=filters_of,
            filters=filters,
            image_name=name,
            image=None if seen is None else in_colour(seen[0]),
            data="" if table is None else describe_data(data if data is not None else subject.data or ""),
            num_images=0 if table is None else len(table),
            stages=tuple(stages),
            notes=notes,
        )
    )
    if out is not None:
        learned.save(out)
    return learned


def check_target(path: Path) -> None:
    """Make sure that a page can be written under this name.

    Raises:
        OutputError: it is not .html, or there is such a file.
    """
    check_new(path, (".html",), "features are shown")


def _find(network: str | os.PathLike[str]) -> _Subject:
    entry = find_network(network)
    if entry is not None:
        starters = list_starters()
        if entry.name not in starters:
            raise ModelError(
                f"{entry.name} has no starter weights, so there is nothing that it has learned; give the folder of a "
                f"run, or {' or '.join(starters)}"
            )
        loaded = load_pretrained(entry.name, "starter", num_classes=1000)
        title = f"{entry.title}, starter weights"
        return _Subject(title=title, model=loaded.model, preprocessing=loaded.preprocessing, data=None)
    path = Path(network)
    bundle = load_bundle(path)
    state = read_state(path)
    return _Subject(
        title=f"{find_model(bundle.manifest.architecture.model).title} of {printable(path.resolve().name)}",
        model=bundle.model,
        preprocessing=bundle.manifest.preprocessing,
        data=None if state is None else state.data,
    )


def _data_of(subject: _Subject, data: Data | None) -> tuple[SampleTable | None, tuple[str, ...]]:
    """At most `MOST_IMAGES` of the data, and why there are none."""
    source = subject.data if data is None else data
    if source is None:
        return None, ("No data are known, so no images that excite a channel are shown; --data names some.",)
    try:
        table = read_samples(source, min_classes=1)
    except DataError as error:
        if data is not None:
            raise
        return None, (f"What it was trained on is not there any more ({error}); --data says where it is now.",)
    rows = np.unique(np.linspace(0, len(table) - 1, min(MOST_IMAGES, len(table))).round().astype(np.int64))
    return table.take(rows), ()


def _respond(
    reader: FeatureReader, table: SampleTable, preprocessing: Preprocessing, progress: Progress
) -> tuple[dict[str, NDArray[np.float32]] | None, SampleTable | None, tuple[str, ...]]:
    """What excites each channel how much, of which samples that is known, and which could not be read."""
    progress.start("looking at the images", len(table))
    readable: list[int] = []
    unreadable: list[int] = []

    def batches() -> Iterator[NDArray[np.float32]]:
        start = 0
        for squares, errors in iter_squares(table.store, table.names, preprocessing, batch_size=BATCH):
            if progress.stop_requested:
                raise KeyboardInterrupt
            # An image that can't be read is all zeros, which is black: an image like others to the network.
            places = [place for place in range(len(squares)) if place not in errors]
            readable.extend(start + place for place in places)
            unreadable.extend(start + place for place in errors)
            start += len(squares)
            if places:
                yield preprocessing.normalise(preprocessing.crop(squares[places]))

    found = reader.respond(batches(), lambda _: progress.advance(len(readable) + len(unreadable)))
    progress.finish()
    notes: tuple[str, ...] = ()
    if unreadable:
        names = [table.store.locate(table.names[row]) for row in unreadable]
        listed = ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else "")
        notes = (f"{len(names):,} of {len(table):,} images could not be read and take no part: {listed}.",)
    return (found, table.take(readable), notes) if readable else (None, None, notes)


def _choose(
    stage: str,
    count: int,
    peaks: dict[str, NDArray[np.float32]] | None,
    answers: dict[str, NDArray[np.float32]] | None,
) -> tuple[int, ...]:
    if peaks is None and answers is None:
        return tuple(int(number) for number in np.linspace(0, count - 1, CHANNELS + 2).round()[1:-1])
    own = None if answers is None else answers[stage].max(axis=(1, 2))
    return choose_channels(None if peaks is None else peaks[stage], own, CHANNELS)


def _show_channels(
    reader: FeatureReader,
    preprocessing: Preprocessing,
    chosen: dict[str, tuple[int, ...]],
    peaks: dict[str, NDArray[np.float32]] | None,
    table: SampleTable | None,
    steps: int,
    progress: Progress,
) -> dict[str, tuple[ShownChannel, ...]]:
    """Each chosen channel with the images that excite it and the picture painted for it."""
    side = min(_PAINTED, preprocessing.image_size)
    painting = [stage for stage, numbers in chosen.items() if numbers] if steps else []
    if painting:
        progress.start("painting", steps * len(painting))
    done = 0

    def step_done() -> None:
        nonlocal done
        done += 1
        progress.advance(done)
        if progress.stop_requested:
            raise KeyboardInterrupt

    exciting = {}
    if peaks is not None and table is not None:
        exciting = _find_exciting(reader, preprocessing, chosen, peaks, table)
    shown = {}
    for stage, numbers in chosen.items():
        painted: dict[int, NDArray[np.uint8] | None] = {}
        if stage in painting:
            pictures = maximise(
                reader.network, stage, numbers, preprocessing, side=side, steps=steps, step_done=step_done
            )
            painted = dict(zip(numbers, pictures, strict=True))
        shown[stage] = tuple(
            ShownChannel(
                number=number,
                painted=painted.get(number),
                exciting=exciting.get((stage, number), ()),
                is_deaf=number in painted and painted[number] is None,
            )
            for number in numbers
        )
    progress.finish()
    return shown


def _find_exciting(
    reader: FeatureReader,
    preprocessing: Preprocessing,
    chosen: Mapping[str, Sequence[int]],
    peaks: Mapping[str, NDArray[np.float32]],
    table: SampleTable,
) -> dict[tuple[str, int], tuple[Exciting, ...]]:
    """Stage and channel -> the images that excite it most; each image is read once, however many it excites."""
    best: dict[tuple[str, int], list[int]] = {}
    for stage, numbers in chosen.items():
        for number in numbers:
            strength = peaks[stage][:, number]
            order = np.argsort(-strength, kind="stable")[:EXCITING]
            best[stage, number] = [int(row) for row in order if strength[row] > 0]
    rows = sorted({row for found in best.values() for row in found})
    names = [table.names[row] for row in rows]
    seen: dict[int, NDArray[np.uint8]] = {}
    boxes: dict[tuple[str, int, int], tuple[int, int, int, int]] = {}
    side = preprocessing.image_size
    done = 0
    for squares, errors in iter_squares(table.store, names, preprocessing, batch_size=BATCH):
        images = preprocessing.crop(squares)
        answers = reader.read(preprocessing.normalise(images))
        for place, row in enumerate(rows[done : done + len(images)]):
            if place in errors:
                continue
            seen[row] = images[place]
            for (stage, number), found in best.items():
                if row in found:
                    boxes[stage, number, row] = outline(answers[stage][place, number], side, max(1, side // 8))
        done += len(images)
    return {
        (stage, number): tuple(
            Exciting(
                name=table.store.locate(table.names[row]),
                labels=table.labels_of(row),
                image=in_colour(seen[row]),
                box=boxes[stage, number, row],
            )
            for row in found
            if row in seen
        )
        for (stage, number), found in best.items()
    }
