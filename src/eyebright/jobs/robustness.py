"""Measure what a saved classifier bears, and what several views of each image give."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.errors import SettingsError, printable
from eyebright.evaluation.plain import to_plain
from eyebright.evaluation.render_robustness import render_robustness
from eyebright.evaluation.robustness import (
    MOST_IMAGES,
    RobustnessReport,
    ViewsResult,
    evaluate_corruptions,
    evaluate_views,
    read_labelled,
)
from eyebright.jobs.evaluate import open_evaluation
from eyebright.jobs.given import Data, describe_data
from eyebright.progress import Progress, SilentProgress
from eyebright.writing import write_text

SUFFIXES = (".html", ".json")


@dataclass(frozen=True, kw_only=True)
class Robustness:
    """What was measured."""

    corruptions: RobustnessReport | None
    """None if it was not asked for."""
    views: tuple[ViewsResult, ...]
    """Empty if it was not asked for."""
    example: NDArray[np.uint8]
    """(R, R, C) uint8, one of the images, to show the corruptions on."""
    name: str
    """Of the classifier."""
    data: str
    """Of the images."""

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        corruptions = None if self.corruptions is None else self.corruptions.to_dict()
        return {"corruptions": corruptions, "views": [to_plain(view) for view in self.views]}


def measure_robustness(
    run: str | os.PathLike[str],
    data: Data,
    *,
    corruptions: bool = True,
    tta: bool = True,
    decisions: str | os.PathLike[str] | None = None,
    seed: int = 0,
    engine: str | None = None,
    progress: Progress | None = None,
) -> Robustness:
    """Accuracy on corrupted images (noise, blur, weather, JPEG, rotation), and with several views of each.

    Args:
        run: a run's folder, or a bundle.
        data: labelled images; those that it was trained on are left out. Of many, 500 are drawn for the corruptions.
        corruptions: whether to corrupt images.
        tta: whether to look at several views of each (test-time augmentation): its mirror image, and ten.
        decisions: a decisions.csv, as the page of a check saves it.
        seed: decides which images are drawn, and all noise.
        engine: see `eyebright.load`.
        progress: is told how far it is, and asked whether to stop.

    Raises:
        EyebrightError: see `eyebright.evaluate`.
        SettingsError: the classifier learned several labels an image, for which this is not measured.
        KeyboardInterrupt: a stop was requested.
    """
    progress = progress or SilentProgress()
    predictor, table = open_evaluation(run, data, decisions=decisions, engine=engine, progress=progress)
    if predictor.manifest.several_labels:
        raise SettingsError(
            f"{printable(str(run))} learned several labels an image; corruptions and views are measured for one label"
        )
    table = table.with_classes(predictor.class_names)
    few = read_labelled(table, predictor.preprocessing, most=MOST_IMAGES, seed=seed, progress=progress)
    report = None
    if corruptions:
        report = evaluate_corruptions(predictor.predict_squares, few, seed=seed, progress=progress)
    views: tuple[ViewsResult, ...] = ()
    if tta:
        every = few
        if few.drawn_from > MOST_IMAGES:
            every = read_labelled(table, predictor.preprocessing, most=len(table), seed=seed, progress=progress)
        predictor.warm_up()  # or the first view would seem to cost what only beginning does
        views = evaluate_views(predictor.predict_squares, every, progress=progress)
    return Robustness(
        corruptions=report,
        views=views,
        example=few.squares[0],
        name=predictor.manifest.architecture.model,
        data=describe_data(data),
    )


def write_robustness(path: Path, found: Robustness) -> None:
    """Into a .json file, or a .html page.

    Raises:
        SettingsError: another suffix, or a page without corruptions to show.
        OutputError: it can't be written.
    """
    check_suffix(path, corruptions=found.corruptions is not None)
    if path.suffix.lower() == ".json":
        write_text(path, json.dumps(found.to_dict(), indent=1) + "\n")
        return
    assert found.corruptions is not None
    page = render_robustness(found.corruptions, found.example, found.views, name=found.name, data=found.data)
    write_text(path, page)


def check_suffix(path: Path, *, corruptions: bool) -> None:
    """Refuse a file that could not be written, before the work is done.

    Raises:
        SettingsError: the suffix is neither .html nor .json, or a page would have no corruptions to show.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise SettingsError(f"{printable(str(path))} should end in .html or .json, which says how it is written")
    if path.suffix.lower() == ".html" and not corruptions:
        raise SettingsError(
            f"a page shows corruptions; ask for --corruptions too, or end {printable(str(path))} in .json"
        )
