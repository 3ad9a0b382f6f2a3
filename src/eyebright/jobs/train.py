"""Train one network: data in, a run's folder out.

`fit_network` is the part that a comparison repeats for each of its networks.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.bundle.manifest import read_manifest, write_manifest
from eyebright.bundle.store import save_bundle
from eyebright.checking.decisions import write_decisions
from eyebright.checking.kept_looks import LookCache, look_and_group
from eyebright.data.cache import digest_table
from eyebright.data.kept_files import FOLDER
from eyebright.data.samples import SPLITS, SampleTable
from eyebright.data.sources import read_samples
from eyebright.data.splits import assign_splits
from eyebright.errors import printable
from eyebright.evaluation.compare import Comparison, Contestant, CurvePoint
from eyebright.evaluation.evaluate import evaluate
from eyebright.evaluation.render import render_run
from eyebright.evaluation.report import EvaluationReport
from eyebright.inference.load import load
from eyebright.inference.predictor import Predictor
from eyebright.jobs import runs
from eyebright.jobs.decisions import Decided, decide
from eyebright.jobs.given import Data, describe_data, image_reader
from eyebright.jobs.provenance import describe_machine, list_versions, now
from eyebright.models.catalog import count_multiply_adds, count_parameters, find_model
from eyebright.models.download import cache_folder
from eyebright.progress import Progress, SilentProgress
from eyebright.settings import load_settings, override_settings, to_toml
from eyebright.training.history import EpochRecord, save_history
from eyebright.training.settings import Settings
from eyebright.training.train import TrainedNetwork
from eyebright.training.train import train as train_network

MOST_COMPARED = 1_000_000
"""Images among which near-duplicates are looked for before a split: what was measured, not more."""


@dataclass(frozen=True)
class Run:
    """A finished training: its folder and what it achieved."""

    folder: Path
    contestant: Contestant | None
    """None if it was interrupted: then it was not measured."""
    interrupted: bool = False

    @property
    def report(self) -> EvaluationReport | None:
        """What the classifier achieved on the test samples; None if training was interrupted."""
        return None if self.contestant is None else self.contestant.report

    @cached_property
    def predictor(self) -> Predictor:
        """The classifier, ready to answer."""
        return load(self.folder)


def train(
    data: Data,
    *,
    model: str | None = None,
    effort: str | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    settings: Settings | str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    decisions: str | os.PathLike[str] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> Run:
    """Train a classifier on labelled images, measure it on images it has not seen, and save all of it.

    Args:
        data: a folder of class folders (with or without train/val/test folders), a .zip of one, a .csv manifest, an
            .npz file, or (images, labels) arrays.
        model: a network that `eyebright models` lists; "resnet50" by default.
        effort: "quick" (the default) or "standard".
        out: the run's folder, new or empty; by default the first free one of runs/DATA-MODEL, -2, ...
        seed: decides everything random; 0 by default.
        settings: a `Settings` object or a TOML file.
        overrides: such as "training.lr=0.001"; they count more than `settings`.
        decisions: a decisions.csv, as the page of a check saves it: samples to leave out or to relabel.
        command: what the user typed, for the report.
        progress: is told how far it is, and asked whether to stop.

    Raises:
        EyebrightError: see `eyebright.errors`; the message says what to do.
    """
    progress = progress or SilentProgress()
    chosen = choose_settings(settings, overrides, model=model, effort=effort, seed=seed)
    title = find_model(chosen.model).name
    prepared = prepare(data, chosen, progress, decisions=decisions)
    table = prepared.table
    name = describe_data(data)
    with runs.new_folder(None if out is None else Path(out), f"{name}-{title}") as folder:
        contestant = fit_network(prepared, chosen, folder, name, progress)
        if contestant is None:
            return Run(folder, None, interrupted=True)
        comparison = build_comparison(table, [contestant], name, chosen.seed, command)
        write_report(folder, comparison, table, render_run)
        return Run(folder, contestant)


def choose_settings(
    settings: Settings | str | os.PathLike[str] | None,
    overrides: Sequence[str],
    *,
    model: str | None = None,
    effort: str | None = None,
    seed: int | None = None,
) -> Settings:
    """Settings from an object or file, then overrides, then the arguments that are not None.

    Raises:
        SettingsError: something unknown or out of range.
    """
    if isinstance(settings, Settings):
        values = override_settings(settings, overrides)
    else:
        values = load_settings(Settings, file=None if settings is None else Path(settings), overrides=overrides)
    return replace(
        values,
        model=values.model if model is None else model,
        effort=values.effort if effort is None else effort,
        seed=values.seed if seed is None else seed,
    )


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What a network is trained and measured on."""

    table: SampleTable
    """With every sample in a split."""
    digests: tuple[str, ...]
    """(N,) the sha256 of each sample's content, empty where it can't be fetched."""
    decided: Decided | None
    """What a person decided about single samples, if they did; the table is already as decided."""


def prepare(
    data: Data, settings: Settings, progress: Progress, *, decisions: str | os.PathLike[str] | None = None
) -> Prepared:
    """The data as a table with splits, as decided; what was noticed is said."""
    table = read_samples(data)
    table.require_single_labels()
    decided = None if decisions is None else decide(table, decisions, progress)
    if decided is not None:
        table = decided.applied.table
    digests = digest_table(table, progress=progress) if decided is None else decided.digests
    table = assign_splits(
        table,
        seed=settings.seed,
        val_fraction=settings.data.val_fraction,
        test_fraction=settings.data.test_fraction,
        digests=digests,
        together=_group_near_duplicates(table, digests, settings, progress),
    )
    counts = ", ".join(f"{len(table.rows(split)):,} {split}" for split in SPLITS)
    progress.say(f"{len(table):,} images of {len(table.classes):,} classes: {counts}")
    for note in table.notes:
        progress.warn(note)
    return Prepared(table=table, digests=digests, decided=decided)


def _group_near_duplicates(
    table: SampleTable, digests: Sequence[str], settings: Settings, progress: Progress
) -> list[list[int]]:
    """Rows that show the same image and must not be parted; none where the data bring all splits."""
    brought = {SPLITS[split] for split in set(table.splits.tolist()) if split >= 0}
    if not settings.data.keep_duplicates_together or {"val", "test"} <= brought:
        return []
    if len(table) > MOST_COMPARED:
        progress.warn(
            f"near-duplicates were not looked for among more than {MOST_COMPARED:,} images; equal files share a split"
        )
        return []
    cache = LookCache(cache_folder() / FOLDER) if settings.data.cache else None
    _, groups = look_and_group(table, digests=digests, cache=cache, progress=progress)
    if groups:
        progress.say(f"{sum(map(len, groups)):,} images in {len(groups):,} groups of near-duplicates: kept together")
    return groups


def fit_network(
    prepared: Prepared, settings: Settings, folder: Path, data_name: str, progress: Progress
) -> Contestant | None:
    """Train, save into `folder`, and measure what was saved on the test samples; None if it was interrupted."""
    table = prepared.table
    trained = train_network(table, settings, digests=prepared.digests, progress=progress)
    for error in trained.unreadable.values():
        progress.warn(f"left out: {error}")
    with runs.writing(folder):
        save_history(folder / runs.HISTORY, trained.history)
    runs.write_text(folder / runs.SETTINGS, to_toml(trained.settings))
    digests = {**dict(zip(table.names, prepared.digests, strict=True)), **trained.digests}
    runs.write_samples(folder / runs.SAMPLES, table, digests)
    if prepared.decided is not None:
        runs.write_text(folder / runs.DECISIONS, write_decisions(prepared.decided.decisions))
    bundle = folder / runs.BUNDLE
    save_bundle(
        bundle,
        trained.model,
        trained.architecture,
        class_names=trained.class_names,
        preprocessing=trained.preprocessing,
        provenance=_provenance(trained, prepared, data_name),
    )
    if trained.interrupted:
        return None
    predictor = load(bundle)
    test = table.split("test")
    evaluate_warm_up(predictor)
    report = evaluate(predictor, test, progress=progress)
    contestant = _describe(trained, report, bundle)
    manifest = read_manifest(bundle)
    results = {
        "split": "test",
        "num_samples": report.num_samples,
        "accuracy": report.accuracy,
        "accuracy_low": report.accuracy_low,
        "accuracy_high": report.accuracy_high,
        "top5_accuracy": report.top5_accuracy,
        "macro_f1": report.macro_f1,
        "log_loss": report.log_loss,
    }
    with runs.writing(bundle):
        write_manifest(bundle, replace(manifest, provenance={**manifest.provenance, "results": results}))
    return contestant


def evaluate_warm_up(predictor: Predictor) -> None:
    """Run the network once on nothing, so that its speed is not measured while it is still being set up."""
    side = predictor.preprocessing.resize
    predictor.predict(np.zeros((side, side, 3), dtype=np.uint8))


def _provenance(trained: TrainedNetwork, prepared: Prepared, data_name: str) -> dict[str, Any]:
    kept = [record for record in trained.history if math.isfinite(record.val_loss)]
    best = min(kept, key=lambda record: record.val_loss, default=None)
    return {
        "created": now(),
        "data": {
            "name": printable(data_name),
            "fingerprint": trained.fingerprint,
            "splits": {split: len(prepared.table.rows(split)) for split in SPLITS},
            "unreadable": len(trained.unreadable),
            "decided": None if prepared.decided is None else prepared.decided.summary(),
        },
        "started_from": trained.weights,
        "settings": asdict(trained.settings),
        "training_seconds": round(trained.seconds, 1),
        "interrupted": trained.interrupted,
        "validation": None if best is None else {"accuracy": best.val_accuracy, "log_loss": best.val_loss},
        "versions": list_versions(),
        "machine": describe_machine(),
    }


def _describe(trained: TrainedNetwork, report: EvaluationReport, bundle: Path) -> Contestant:
    entry = find_model(trained.architecture.model)
    epochs = [record for record in trained.history if record.phase == "epochs"]
    return Contestant(
        model=entry.name,
        title=entry.title,
        sentence=entry.sentence,
        report=report,
        curve=tuple(_point(record) for record in epochs or trained.history),
        curve_kind="epochs" if epochs else "regularisation",
        parameters=count_parameters(trained.model),
        multiply_adds=count_multiply_adds(trained.model, trained.preprocessing.image_size),
        size_bytes=sum(path.stat().st_size for path in bundle.iterdir()),
        train_seconds=trained.seconds,
        image_size=trained.preprocessing.image_size,
        weights=trained.weights,
        effort=trained.settings.effort,
    )


def _point(record: EpochRecord) -> CurvePoint:
    return CurvePoint(
        x=record.number,
        train_loss=record.train_loss,
        val_loss=record.val_loss,
        val_accuracy=record.val_accuracy,
    )


def build_comparison(
    table: SampleTable, contestants: Sequence[Contestant], data_name: str, seed: int, command: str
) -> Comparison:
    """What a report says beside the contestants."""
    return Comparison(
        data_name=data_name,
        split_counts={split: len(table.rows(split)) for split in SPLITS},
        class_counts=table.counts(),
        seed=seed,
        date=now(),
        versions=list_versions(),
        machine=describe_machine(),
        command=command,
        contestants=tuple(contestants),
        notes=table.notes,
    )


def write_report(
    folder: Path,
    comparison: Comparison,
    table: SampleTable,
    render: Callable[[Comparison, Callable[[str], NDArray[np.uint8] | None]], str],
) -> None:
    """`report.json` and `report.html` into a folder."""

    runs.write_text(folder / runs.REPORT_JSON, json.dumps(comparison.to_dict(), indent=1) + "\n")
    runs.write_text(folder / runs.REPORT_HTML, render(comparison, image_reader(table)))
