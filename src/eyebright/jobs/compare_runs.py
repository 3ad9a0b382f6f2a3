"""Compare runs that were trained earlier, without training anything again."""

from __future__ import annotations

import hashlib
import json
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from eyebright.data.decode import decode
from eyebright.data.samples import ImageStore
from eyebright.data.sources import read_samples
from eyebright.errors import DataError, EyebrightError, ImageError, printable
from eyebright.evaluation.compare import REPORT_VERSION, Comparison, Contestant
from eyebright.evaluation.notebook_comparison import show_comparison
from eyebright.evaluation.render import render_comparison
from eyebright.evaluation.report import EvaluationReport, Example, Mistake
from eyebright.jobs import runs
from eyebright.jobs.measure import PREVIEW
from eyebright.jobs.provenance import now
from eyebright.jobs.runs import SampleRecord
from eyebright.jobs.state import read_state
from eyebright.jobs.trials import PLAN
from eyebright.writing import write_text

Shown = TypeVar("Shown", Mistake, Example)


@dataclass(frozen=True)
class ComparedReports:
    """A comparison of earlier runs and the folder of its page."""

    folder: Path
    comparison: Comparison

    def _repr_html_(self) -> str:
        """What a notebook shows: who is ahead, and the networks side by side."""
        return show_comparison(self.comparison, self.folder / runs.REPORT_HTML)


@dataclass(frozen=True, kw_only=True)
class _Measured:
    """A run as its report tells of it."""

    folder: Path
    comparison: Comparison
    tested: tuple[SampleRecord, ...]
    baseline: Contestant | None = None
    """The classifier without a network that it was compared with, on the same test images."""

    @property
    def contestant(self) -> Contestant:
        return self.comparison.contestants[0]


def compare_runs(
    folders: Sequence[str | os.PathLike[str]],
    *,
    out: str | os.PathLike[str] | None = None,
    command: str = "",
) -> ComparedReports:
    """Hold the reports of earlier runs against each other, image by image.

    Args:
        folders: runs' folders; the folder of a comparison stands for the runs in it, and what was measured
            there without a network comes along.
        out: the folder for the page, new or empty; by default the first free one of runs/compared, -2, ...
        command: what the user typed, for the page.

    Raises:
        DataError: fewer than two runs, one that was not measured, or runs that were tested on different images.
        OutputError: the page can't be written.
    """
    found = [_read_run(folder) for given in folders for folder in _list_runs(Path(given))]
    if len(found) < 2:
        raise DataError(
            "a comparison needs at least two runs; give the folders of two that were tested on the same data"
        )
    first = found[0]
    found += _one_baseline(found)
    reports = [first.contestant.report, *(_aligned(first, other) for other in found[1:])]
    titles = _titles(found)
    comparison = replace(
        first.comparison,
        contestants=tuple(
            replace(run.contestant, report=report, title=title)
            for run, report, title in zip(found, reports, titles, strict=True)
        ),
        date=now(),
        command=command,
        notes=_notes(found),
        version=REPORT_VERSION,
    )
    page = render_comparison(comparison, _reader(first), names=[record.name for record in first.tested])
    with runs.new_folder(None if out is None else Path(out), "compared") as folder:
        write_text(folder / runs.REPORT_JSON, json.dumps(comparison.to_dict(), indent=1) + "\n")
        write_text(folder / runs.REPORT_HTML, page)
    return ComparedReports(folder, comparison)


def is_run(path: Path) -> bool:
    """Whether a folder holds a run, or a comparison of some."""
    return (path / runs.REPORT_JSON).is_file() or ((path / runs.SAMPLES).is_file() and (path / runs.BUNDLE).is_dir())


def _list_runs(path: Path) -> list[Path]:
    """The run itself, or those in the folder of a comparison."""
    if (path / runs.SAMPLES).is_file() or not path.is_dir():
        return [path]
    return sorted(child for child in path.iterdir() if (child / runs.SAMPLES).is_file()) or [path]


def _read_run(folder: Path) -> _Measured:
    path, shown = folder / runs.REPORT_JSON, printable(str(folder))
    if not path.is_file() and (folder / runs.SAMPLES).is_file():
        path = folder.resolve().parent / runs.REPORT_JSON  # a run of a comparison has its report there
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DataError(f"{shown} holds no {runs.REPORT_JSON}; give the folder of a run that is finished") from error
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(str(path))} can't be read: {error}") from error
    state = read_state(folder)
    if state is not None and state.mean_average_precision is not None:
        raise DataError(f"{shown} learned several labels an image; earlier runs are compared for one label each")
    comparison = Comparison.from_dict(values)
    baseline = next((c for c in comparison.contestants if not c.is_network), None) or _baseline_beside(folder)
    if path.parent != folder:
        mine = tuple(c for c in comparison.contestants if c.model == folder.resolve().name)
        if not mine:
            raise DataError(f"{printable(str(path))} does not tell of {shown}; was it interrupted?")
        comparison = replace(comparison, contestants=mine)
    if len(comparison.contestants) != 1:
        raise DataError(
            f"{shown} holds a report of several networks, but not the runs themselves; give each run's folder"
        )
    if not (folder / runs.SAMPLES).is_file():
        raise DataError(f"{shown} holds no {runs.SAMPLES}, so which images it was tested on can't be told")
    tested = tuple(record for record in runs.read_sample_records(folder / runs.SAMPLES) if record.split == "test")
    if len(tested) != comparison.contestants[0].report.num_samples:
        raise DataError(f"{shown}: {runs.SAMPLES} and {runs.REPORT_JSON} tell of different numbers of test images")
    return _Measured(folder=folder, comparison=comparison, tested=tested, baseline=baseline)


def _baseline_beside(folder: Path) -> Contestant | None:
    """The classifier without a network of the comparison that a run belongs to, if it was tested on the same images."""
    beside = folder.resolve().parent
    if not (beside / PLAN).is_file():
        return None
    try:
        comparison = Comparison.from_dict(json.loads((beside / runs.REPORT_JSON).read_text(encoding="utf-8")))
    except (OSError, ValueError, DataError):
        return None
    return None if comparison.folds else next((c for c in comparison.contestants if not c.is_network), None)


def _one_baseline(found: Sequence[_Measured]) -> list[_Measured]:
    """The classifier without a network, from the first comparison that has one; none where there is none."""
    for run in found:
        if run.baseline is not None:
            return [replace(run, comparison=replace(run.comparison, contestants=(run.baseline,)), baseline=None)]
    return []


def _aligned(first: _Measured, other: _Measured) -> EvaluationReport:
    """The other's report in the order of the first one's images, which are recognised by their content.

    Raises:
        DataError: they were tested on different images, labels or classes.
    """
    report = other.contestant.report
    names = printable(str(first.folder)), printable(str(other.folder))
    if report.class_names != first.contestant.report.class_names:
        raise DataError(f"{names[0]} and {names[1]} tell different classes apart and can't be compared")
    ours, theirs = ([(record.sha256, record.labels) for record in run.tested] for run in (first, other))
    apart = Counter(ours) - Counter(theirs)
    if apart or len(ours) != len(theirs):
        raise DataError(
            f"{names[0]} and {names[1]} were tested on different images ({sum(apart.values()):,} of {len(ours):,} are "
            "not shared); compare runs of the same data and the same seed"
        )
    places: dict[tuple[str, tuple[str, ...]], list[int]] = defaultdict(list)
    for place, key in enumerate(theirs):
        places[key].append(place)
    order = [places[key].pop(0) for key in ours]
    # What the other run calls an image may be another image in the first one's data, which are what the page shows.
    ours_of = {other.tested[place].name: record.name for place, record in zip(order, first.tested, strict=True)}
    return replace(
        report,
        mistakes=_renamed(report.mistakes, ours_of),
        least_sure=_renamed(report.least_sure, ours_of),
        most_unlike=_renamed(report.most_unlike, ours_of),
        correctness="".join(report.correctness[place] for place in order),
        labels=_reordered(report.labels, order),
        predicted=_reordered(report.predicted, order),
        confidences=_reordered(report.confidences, order),
    )


def _renamed(examples: Sequence[Shown], ours_of: Mapping[str, str]) -> tuple[Shown, ...]:
    return tuple(replace(example, name=ours_of.get(example.name, "")) for example in examples)


def _reordered(words: str, order: Sequence[int]) -> str:
    parts = words.split()
    return " ".join(parts[place] for place in order) if parts else ""


def _titles(found: Sequence[_Measured]) -> list[str]:
    """Networks by name; where two are of one kind, with their folder's name, and the path where that is one, too."""
    kinds = Counter(run.contestant.title for run in found)
    short = Counter((run.contestant.title, run.folder.name) for run in found)
    titles = []
    for run in found:
        title = run.contestant.title
        if kinds[title] > 1:
            alone = short[title, run.folder.name] == 1
            title += f" ({printable(run.folder.name if alone else str(run.folder))})"
        titles.append(title)
    return titles


def _notes(found: Sequence[_Measured]) -> tuple[str, ...]:
    notes = list(dict.fromkeys(note for run in found for note in run.comparison.notes))
    if len({run.comparison.machine for run in found}) > 1:
        notes.append("The runs were measured on different machines: their times and speeds can't be compared.")
    if any(not run.contestant.report.predicted for run in found):
        notes.append("Some of the runs are of an older version of Eyebright and hold fewer numbers than others.")
    return tuple(notes)


def _reader(run: _Measured) -> Callable[[str], NDArray[np.uint8] | None]:
    """Shows the test images if the data still lie where the run found them, and only those that are unchanged."""
    digests = {record.name: record.sha256 for record in run.tested}
    state = read_state(run.folder)
    store: ImageStore | None = None
    if state is not None and state.data is not None:
        try:
            store = read_samples(state.data, min_classes=1).store
        except EyebrightError:
            store = None

    def read(name: str) -> NDArray[np.uint8] | None:
        if store is None or not digests.get(name):
            return None
        try:
            content = store.read(name)
            if not isinstance(content, bytes) or hashlib.sha256(content).hexdigest() != digests[name]:
                return None
            return decode(content, name, short_side=PREVIEW)
        except ImageError:
            return None

    return read
