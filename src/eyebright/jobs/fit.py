"""From prepared data to a measured, saved classifier in a run's folder: what every job does for each network it trains.

Where several processes train together, all of them are here; rank 0 alone has a folder, writes and speaks.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, replace
from typing import Any, final

from eyebright.bundle.manifest import Manifest
from eyebright.bundle.store import remove_half_saved, save_bundle
from eyebright.calibration.calibrate import calibrate
from eyebright.calibration.calibration import Calibration
from eyebright.checking.decisions import write_decisions
from eyebright.data.samples import SPLITS
from eyebright.distributed.launch import was_restarted
from eyebright.distributed.ranks import Ranks
from eyebright.errors import DataError, printable
from eyebright.evaluation.label_sets_compare import AnyContestant
from eyebright.evaluation.thresholds import MIDDLE
from eyebright.inference.load import load
from eyebright.inference.predictor import Predictor
from eyebright.inference.torch_engine import TorchEngine
from eyebright.jobs import runs
from eyebright.jobs.diverged import remove_divergence, write_divergence
from eyebright.jobs.measure import add_results, describe_contestant, measure_test, write_card
from eyebright.jobs.prepare import Prepared
from eyebright.jobs.provenance import describe_machine, list_versions, now
from eyebright.jobs.sharded import ShardedPredictor
from eyebright.jobs.state import OpenRun
from eyebright.jobs.teach import teacher_of
from eyebright.progress import Progress
from eyebright.settings import to_toml
from eyebright.speed.costs import measure_latency, watch_memory
from eyebright.training.checkpoint import Checkpoints
from eyebright.training.history import EpochRecord, HistoryWriter, find_kept
from eyebright.training.settings import Settings
from eyebright.training.start import find_answering_device, find_device
from eyebright.training.train import TrainedNetwork
from eyebright.training.train import train as train_network
from eyebright.training.work import Watch
from eyebright.writing import write_text, writing

Report = Callable[[AnyContestant], object]
"""Told of the measured classifier before its run counts as finished."""


_NAMED = 50
"""Images that can't be read, one line each; of a folder of nothing else, thousands of lines help nobody."""


def fit_network(
    prepared: Prepared,
    settings: Settings,
    run: OpenRun | None,
    ranks: Ranks,
    progress: Progress,
    *,
    report: Report = lambda _: None,
) -> AnyContestant | None:
    """Train, save, and measure what was saved on the test samples; goes on from the run's checkpoints, if it has any.

    Args:
        prepared: the data with their splits.
        settings: as they were given, or as an earlier start has resolved them.
        run: the run's folder, this process holding its lock; None on all ranks but the first.
        ranks: the processes that train together.
        progress: told how far it is.
        report: see `Report`.

    Returns:
        The classifier and its results on rank 0; None on the others, or if a stop was requested: then all that there is
        was kept, the best network so far as a bundle too.

    Raises:
        DivergedError: the loss became no number, again and again; the best network so far is kept as a bundle, and a
            page says where it failed.
        KeyboardInterrupt: stopped before there was a network to keep, or while it was measured; what there is is kept.
    """
    table = prepared.table
    for column in settings.data.slices:
        table.find_column(column)  # before hours are spent
    keeper = watch = None
    if run is not None:
        run.keep(runs.SAMPLES, runs.spell_samples(table, prepared.digests))
        if prepared.decided is not None:
            write_text(run.folder / runs.DECISIONS, write_decisions(prepared.decided.decisions))
        interval = settings.training.checkpoint_seconds
        remove_half_saved(run.folder / runs.BUNDLE)
        if not was_restarted():
            remove_divergence(run.folder)
        keeper = Checkpoints(run.folder / runs.CHECKPOINTS, interval=interval, progress=progress)
        watch = _Watcher(run, settings, progress)
    with nullcontext() if watch is None else watch, watch_memory(find_device(settings, ranks)) as training_memory:
        trained = train_network(
            table,
            settings,
            keeper=keeper,
            ranks=ranks,
            teach=teacher_of(settings, ranks, progress),
            watch=None if watch is None else Watch(settings=watch.keep_settings, history=watch.keep_history),
            digests=prepared.digests,
            progress=progress,
        )
    if run is not None:
        unreadable = list(trained.unreadable.values())
        for error in unreadable[:_NAMED]:
            progress.warn(f"left out: {error}")
        if len(unreadable) > _NAMED:
            progress.warn(f"left out: {len(unreadable) - _NAMED:,} more that can't be read; eyebright check names all")
        _save(trained, prepared, run)
    if trained.diverged is not None:
        if run is not None:
            page = write_divergence(run.folder, trained.diverged, table, trained.history, run.state.command)
            trained.diverged.message += f". Where it failed, and with which images: {printable(str(page))}"
        ranks.any(False)  # when one leaves, torchrun ends the others: none may before all that is written down
        raise trained.diverged
    if trained.interrupted:
        if run is not None:
            run.interrupt()
        return None
    bundle = None if run is None else run.folder / runs.BUNDLE
    device = find_answering_device(settings, ranks)
    predictor = _follow(trained, device) if bundle is None else load(bundle, device=device)
    predictor.warm_up()
    sharded = ShardedPredictor(predictor, ranks)
    with watch_memory(device) as predicting_memory:
        found = measure_test(
            sharded, table, several_labels=trained.several_labels, slices=settings.data.slices, progress=progress
        )
    if run is None or bundle is None or keeper is None:
        return None
    if len(found.report.unreadable) == found.report.num_samples:
        raise DataError(
            f"none of the {found.report.num_samples:,} test images could be read any more, the first because: "
            f"{found.report.unreadable[0].reason}; bring them back and go on with --resume"
        )
    latency = measure_latency(predictor)
    contestant = replace(
        describe_contestant(trained, found.report, bundle),
        latency_ms=latency.median,
        slow_latency_ms=latency.slow,
        latency_count=latency.count,
        train_memory_bytes=training_memory.num_bytes,
        predict_memory_bytes=predicting_memory.num_bytes,
        train_gpu_bytes=training_memory.gpu_bytes,
        predict_gpu_bytes=predicting_memory.gpu_bytes,
    )
    add_results(bundle, found)
    write_card(bundle, contestant)
    report(contestant)
    remove_divergence(run.folder)
    run.finish(found.headline)
    keeper.clear()
    return contestant


@final
class _Watcher:
    """Writes what training tells into the run's folder as it comes."""

    def __init__(self, run: OpenRun, settings: Settings, progress: Progress) -> None:
        self._run = run
        self._folder = folder = run.folder
        self._writer = HistoryWriter(
            folder / runs.HISTORY,
            tensorboard=folder / "tensorboard" if settings.training.tensorboard else None,
            mlflow=folder / runs.MLFLOW if settings.training.mlflow else None,
            warn=progress.warn,
        )

    def __enter__(self) -> None:
        pass

    def __exit__(self, *_: object) -> None:
        self._writer.close()

    def keep_settings(self, settings: Settings) -> None:
        self._run.keep(runs.SETTINGS, to_toml(settings))

    def keep_history(self, records: Sequence[EpochRecord]) -> None:
        with writing(self._folder / runs.HISTORY):
            self._writer.write(records)


def _save(trained: TrainedNetwork, prepared: Prepared, run: OpenRun) -> None:
    """The bundle; one of an earlier start is replaced."""
    save_bundle(
        run.folder / runs.BUNDLE,
        trained.model,
        trained.architecture,
        class_names=trained.class_names,
        preprocessing=trained.preprocessing,
        provenance=_provenance(trained, prepared, run),
        thresholds=_first_thresholds(trained),
        calibration=_calibrate(trained),
    )


def _first_thresholds(trained: TrainedNetwork) -> tuple[float, ...] | None:
    """Where an image may have several classes: the middle, until measuring has chosen better ones."""
    return (MIDDLE,) * len(trained.class_names) if trained.several_labels else None


def _calibrate(trained: TrainedNetwork) -> Calibration | None:
    """What the classifier's confidences are worth; None if it was interrupted before that could be measured."""
    held = trained.held_out
    if held is None:
        return None
    return calibrate(held.logits, held.labels, embeddings=held.embeddings, references=held.references)


def _follow(trained: TrainedNetwork, device: str) -> Predictor:
    """The classifier on a rank that has no bundle."""
    manifest = Manifest(
        architecture=trained.architecture,
        class_names=trained.class_names,
        preprocessing=trained.preprocessing,
        provenance={},
        files={},
        thresholds=_first_thresholds(trained),
    )
    engine = TorchEngine(trained.model, trained.preprocessing, device=device)
    return Predictor(engine, manifest, _calibrate(trained))


def _provenance(trained: TrainedNetwork, prepared: Prepared, run: OpenRun) -> dict[str, Any]:
    kept = find_kept(trained.history)
    return {
        "created": now(),
        "data": {
            "name": printable(run.state.data_name),
            "fingerprint": trained.fingerprint,
            "splits": {split: len(prepared.table.rows(split)) for split in SPLITS},
            "unreadable": len(trained.unreadable),
            "decided": run.state.decided,
        },
        "started_from": trained.weights,
        "settings": asdict(trained.settings),
        "training_seconds": round(trained.seconds, 1),
        "starts": run.state.starts,
        "interrupted": trained.interrupted,
        "validation": None if kept is None else {"accuracy": kept.val_accuracy, "log_loss": kept.val_loss},
        "versions": list_versions(),
        "machine": describe_machine(),
    }
