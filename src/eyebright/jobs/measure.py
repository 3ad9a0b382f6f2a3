"""Measuring a trained classifier on its run's test samples, and what is written of it.

Images have one class each, or may have several.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from eyebright.bundle.manifest import read_manifest, write_manifest
from eyebright.data.samples import SPLITS, SampleTable
from eyebright.evaluation.card import render_card
from eyebright.evaluation.compare import REPORT_VERSION, Comparison, Contestant
from eyebright.evaluation.evaluate import SamplePredictor, evaluate
from eyebright.evaluation.facts import CurvePoint
from eyebright.evaluation.label_sets import AnyReport, LabelSetsReport, evaluate_label_sets
from eyebright.evaluation.label_sets_compare import (
    AnyComparison,
    AnyContestant,
    LabelSetsComparison,
    LabelSetsContestant,
)
from eyebright.evaluation.render import render_comparison, render_run
from eyebright.evaluation.render_label_sets import render_label_sets
from eyebright.evaluation.thresholds import choose_thresholds
from eyebright.jobs import runs
from eyebright.jobs.given import image_reader
from eyebright.jobs.provenance import describe_machine, list_versions, now
from eyebright.models.catalog import count_multiply_adds, count_parameters, find_model
from eyebright.progress import Progress
from eyebright.training.history import EpochRecord
from eyebright.training.train import TrainedNetwork
from eyebright.writing import write_text, writing

PREVIEW = 192
"""Pixels of an image's shorter side that a page's small pictures need."""
CARD = "README.md"
"""In a bundle: what Hugging Face shows first."""


@dataclass(frozen=True, kw_only=True)
class Measured:
    """What a classifier achieved on the test samples."""

    report: AnyReport
    thresholds: tuple[float, ...] | None = None
    """Chosen on the validation samples, where an image may have several classes."""

    @property
    def headline(self) -> Mapping[str, float | None]:
        """The one number that a list of runs shows, by name."""
        if isinstance(self.report, LabelSetsReport):
            return {"mean_average_precision": self.report.mean_average_precision}
        return {"accuracy": self.report.accuracy}


def measure_test(
    predictor: SamplePredictor,
    table: SampleTable,
    *,
    several_labels: bool,
    slices: Sequence[str] = (),
    progress: Progress,
) -> Measured:
    """Let a classifier answer for the test samples; where an image may have several classes, choose thresholds first.

    Args:
        predictor: the classifier.
        table: with every sample in a split.
        several_labels: whether an image may have several classes.
        slices: columns for whose values to tell the accuracy, where it has one.
        progress: told how far it is.
    """
    test = table.split("test")
    if not several_labels:
        return Measured(report=evaluate(predictor, test, slices=slices, progress=progress))
    val = table.split("val").with_classes(predictor.class_names)
    said = predictor.predict_samples(val.store, val.names, progress=progress)
    read = [row for row in range(len(val)) if row not in said.errors]
    thresholds = choose_thresholds(said.probabilities[read], val.targets()[read] > 0.5)
    return Measured(report=evaluate_label_sets(predictor, test, thresholds, progress=progress), thresholds=thresholds)


def add_results(bundle: Path, measured: Measured) -> None:
    """What was measured, into the bundle's manifest."""
    manifest = read_manifest(bundle)
    results = {"split": "test", "num_samples": measured.report.num_samples, **_figures(measured.report)}
    thresholds = manifest.thresholds if measured.thresholds is None else measured.thresholds
    provenance = {**manifest.provenance, "results": results}
    with writing(bundle):
        write_manifest(bundle, replace(manifest, provenance=provenance, thresholds=thresholds))


def write_card(bundle: Path, contestant: AnyContestant) -> None:
    """The model card, `README.md`, once the results stand in the manifest; not guarded by it, so that it can be edited.

    Raises:
        OutputError: it can't be written.
    """
    write_text(bundle / CARD, render_card(contestant, contestant.report, read_manifest(bundle, files=False)))


def _figures(report: AnyReport) -> dict[str, Any]:
    names: tuple[str, ...] = ("accuracy", "accuracy_low", "accuracy_high", "top5_accuracy", "macro_f1", "log_loss")
    if isinstance(report, LabelSetsReport):
        names = ("mean_average_precision", "mean_average_precision_low", "mean_average_precision_high")
        names += ("exact_match", "macro_f1", "micro_f1", "hamming_loss", "log_loss")
    return {name: getattr(report, name) for name in names}


def describe_contestant(trained: TrainedNetwork, report: AnyReport, bundle: Path) -> AnyContestant:
    """The network, what it cost and what it achieved."""
    entry = find_model(trained.architecture.model)
    epochs = [record for record in trained.history if record.phase == "epochs"]
    facts: dict[str, Any] = {
        "model": entry.name,
        "title": entry.title,
        "sentence": entry.sentence,
        "curve": tuple(_point(record) for record in epochs or trained.history),
        "curve_kind": "epochs" if epochs else "regularisation",
        "parameters": count_parameters(trained.model),
        "multiply_adds": count_multiply_adds(trained.model, trained.preprocessing.image_size),
        "size_bytes": sum(path.stat().st_size for path in bundle.iterdir()),
        "train_seconds": trained.seconds,
        "image_size": trained.preprocessing.image_size,
        "weights": trained.weights,
        "effort": trained.settings.effort,
    }
    if isinstance(report, LabelSetsReport):
        return LabelSetsContestant(report=report, **facts)
    return Contestant(report=report, **facts)


def _point(record: EpochRecord) -> CurvePoint:
    return CurvePoint(
        x=record.number,
        train_loss=record.train_loss,
        val_loss=record.val_loss,
        val_accuracy=record.val_accuracy,
        kept=record.kept,
    )


def build_comparison(
    table: SampleTable, contestants: Sequence[AnyContestant], data_name: str, seed: int, command: str
) -> AnyComparison:
    """What a report says beside the contestants."""
    facts: dict[str, Any] = {
        "data_name": data_name,
        "split_counts": {split: len(table.rows(split)) for split in SPLITS},
        "class_counts": table.counts(),
        "seed": seed,
        "date": now(),
        "versions": list_versions(),
        "machine": describe_machine(),
        "command": command,
        "notes": table.notes,
        "version": REPORT_VERSION,
    }
    several = tuple(c for c in contestants if isinstance(c, LabelSetsContestant))
    if several:
        return LabelSetsComparison(contestants=several, **facts)
    return Comparison(contestants=tuple(c for c in contestants if isinstance(c, Contestant)), **facts)


def write_report(folder: Path, comparison: AnyComparison, table: SampleTable, *, of_run: bool) -> None:
    """`report.json` and `report.html` into a folder.

    Args:
        folder: a run's or a comparison's.
        comparison: what was measured.
        table: of the images to show.
        of_run: whether the page speaks of one run, and not of a comparison.
    """
    read = image_reader(table, short_side=PREVIEW)
    if isinstance(comparison, LabelSetsComparison):
        page = render_label_sets(comparison, read, of_run=of_run)
    else:
        page = (render_run if of_run else render_comparison)(comparison, read, names=table.split("test").names)
    write_text(folder / runs.REPORT_HTML, page)
    write_text(folder / runs.REPORT_JSON, json.dumps(comparison.to_dict(), indent=1) + "\n")
