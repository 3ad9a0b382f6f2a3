"""Train several networks on the same split with the same seed, and report on them side by side."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eyebright.distributed.launch import join_ranks
from eyebright.distributed.ranks import Ranks
from eyebright.errors import SettingsError
from eyebright.evaluation.compare import Comparison, networks_of, ranked
from eyebright.evaluation.label_sets import AnyReport
from eyebright.evaluation.label_sets_compare import AnyComparison, AnyContestant, rank_label_sets
from eyebright.inference.load import load
from eyebright.inference.predictor import Predictor
from eyebright.jobs import runs
from eyebright.jobs.baseline import measure_baseline
from eyebright.jobs.fit import fit_network
from eyebright.jobs.given import Data, describe_data
from eyebright.jobs.measure import build_comparison, write_report
from eyebright.jobs.prepare import Prepared
from eyebright.jobs.state import open_run
from eyebright.jobs.train import choose_settings, describe_run, prepare_together
from eyebright.models.catalog import ModelEntry, find_model
from eyebright.progress import Progress, SilentProgress
from eyebright.training.settings import Settings
from eyebright.training.start import choose_device

MODELS = ("cnn", "vgg16", "resnet50")


@dataclass(frozen=True)
class ComparedRuns:
    """What a comparison left: a folder with the report and one run for each network."""

    folder: Path
    comparison: AnyComparison | None
    """None if it was interrupted before any network was ready."""
    interrupted: bool = False

    @property
    def reports(self) -> Mapping[str, AnyReport]:
        """By network, the best first; the baseline without one is in `comparison` alone."""
        if self.comparison is None:
            return {}
        if isinstance(self.comparison, Comparison):
            return {c.model: c.report for c in networks_of(ranked(self.comparison))}
        return {c.model: c.report for c in rank_label_sets(self.comparison)}

    def predictor(self, model: str | None = None) -> Predictor:
        """One of the classifiers; the best by default."""
        name = next(iter(self.reports)) if model is None else find_model(model).name
        return load(self.folder / name)


def compare(
    data: Data,
    *,
    models: Sequence[str] = MODELS,
    effort: str | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    settings: Settings | str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    decisions: str | os.PathLike[str] | None = None,
    slices: Sequence[str] = (),
    baseline: bool = True,
    command: str = "",
    progress: Progress | None = None,
) -> ComparedRuns:
    """Train each network on the same training samples, and measure all on the same test samples.

    Args:
        data: see `eyebright.train`.
        models: networks that `eyebright models` lists.
        effort: "quick" (the default) or "standard", for all of them.
        out: the folder, new or empty; by default the first free one of runs/DATA-compare, -2, ...
        seed: decides everything random; 0 by default.
        settings: a `Settings` object or a TOML file, for all of them.
        overrides: such as "training.lr=0.001".
        decisions: a decisions.csv, as the page of a check saves it: samples to leave out or to relabel.
        slices: columns of a list of images (camera, site, day) for whose values to tell the accuracy; by default every
            column of 2 to 50 values.
        baseline: also measure a classifier without a network (outlines and colours, a linear model), so that the report
            says what a network adds. It stands in the report alone: it is not saved and can't be loaded.
        command: what the user typed, for the report.
        progress: is told how far it is, and asked whether to stop.

    Raises:
        EyebrightError: see `eyebright.errors`; the message says what to do.
    """
    progress = progress or SilentProgress()
    chosen = choose_settings(settings, overrides, effort=effort, seed=seed, slices=slices)
    entries = [find_model(model) for model in models]
    if len({entry.name for entry in entries}) != len(entries) or not entries:
        raise SettingsError(f"name each network once, not {', '.join(models) or 'none'}")
    name = describe_data(data)
    with join_ranks(choose_device(chosen.training.device)) as ranks:
        prepared = prepare_together(data, chosen, decisions, ranks, progress)
        if not ranks.leads:
            for entry in entries:
                fit_network(prepared, replace(chosen, model=entry.name), None, ranks, progress)
            return ComparedRuns(Path(), None)
        with runs.new_folder(None if out is None else Path(out), f"{name}-compare") as folder:
            return _compare_in(folder, prepared, entries, chosen, data, baseline, command, ranks, progress)


def _compare_in(
    folder: Path,
    prepared: Prepared,
    entries: Sequence[ModelEntry],
    chosen: Settings,
    data: Data,
    baseline: bool,
    command: str,
    ranks: Ranks,
    progress: Progress,
) -> ComparedRuns:
    contestants: list[AnyContestant] = []
    interrupted = False
    for number, entry in enumerate(entries, start=1):
        progress.say(f"{entry.title} ({number} of {len(entries)})")
        settings = replace(chosen, model=entry.name)
        contestant = None
        with (
            suppress(KeyboardInterrupt),
            runs.new_folder(folder / entry.name, "") as run_folder,
            open_run(run_folder, describe_run(data, prepared, settings, command)) as run,
        ):
            contestant = fit_network(prepared, settings, run, ranks, progress)
        if contestant is None:
            interrupted = True
            break
        contestants.append(contestant)
    if not contestants:
        return ComparedRuns(folder, None, interrupted=interrupted)
    if baseline and not interrupted:
        interrupted = not _add_baseline(contestants, prepared, chosen, progress)
    comparison = build_comparison(prepared.table, contestants, describe_data(data), chosen.seed, command)
    write_report(folder, comparison, prepared.table, of_run=False)
    return ComparedRuns(folder, comparison, interrupted=interrupted)


def _add_baseline(contestants: list[AnyContestant], prepared: Prepared, settings: Settings, progress: Progress) -> bool:
    """Put the classifier without a network beside the others; False if that was interrupted."""
    if prepared.table.label_sets is not None:
        progress.say("No classifier without a network is compared: it is for images of one label each.")
        return True
    progress.say("Without a network, to compare with")
    try:
        contestants.append(measure_baseline(prepared, settings, progress))
    except KeyboardInterrupt:
        return False
    return True
