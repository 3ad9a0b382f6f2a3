"""Train several networks on the same split, and report on them side by side; with several seeds or folds if asked."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

from eyebright.distributed.launch import join_ranks, was_restarted
from eyebright.distributed.ranks import Ranks
from eyebright.errors import CheckpointError, DataError, SettingsError, printable
from eyebright.evaluation.compare import Comparison, networks_of, ranked
from eyebright.evaluation.label_sets import AnyReport
from eyebright.evaluation.label_sets_compare import AnyComparison, AnyContestant, rank_label_sets
from eyebright.evaluation.notebook import show_in_notebook
from eyebright.evaluation.notebook_comparison import show_comparison
from eyebright.inference.load import load
from eyebright.inference.predictor import Predictor
from eyebright.jobs import runs
from eyebright.jobs.carry_out import is_finished, read_contestant, train_trial, trial_settings
from eyebright.jobs.fit import fit_network
from eyebright.jobs.folds import prepare_folds, whole_of
from eyebright.jobs.gather import gather_contestants, list_baseline
from eyebright.jobs.given import Data, describe_data
from eyebright.jobs.measure import build_comparison, write_report
from eyebright.jobs.prepare import Prepared, prepare_again
from eyebright.jobs.state import clear_finished
from eyebright.jobs.teach import require_teacher
from eyebright.jobs.train import choose_settings, prepare_together, say_idle_cores, settings_begun_in
from eyebright.jobs.trials import Plan, change_plan, forget_plan, full_path, prepare_parts_again, read_plan, write_plan
from eyebright.models.catalog import find_model
from eyebright.progress import Progress, SilentProgress
from eyebright.settings import load_settings, to_toml
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
    runs: Mapping[str, Path] = field(default_factory=dict)
    """By network, the folder of its run; of several seeds or folds the first."""

    @property
    def reports(self) -> Mapping[str, AnyReport]:
        """By network, the best first; the baseline without one is in `comparison` alone."""
        if self.comparison is None:
            return {}
        if isinstance(self.comparison, Comparison):
            return {c.model: c.report for c in networks_of(ranked(self.comparison))}
        return {c.model: c.report for c in rank_label_sets(self.comparison)}

    def _repr_html_(self) -> str:
        """What a notebook shows: who is ahead, and the networks side by side."""
        if self.comparison is None:
            return show_in_notebook("Interrupted before any network was measured.", (), ())
        return show_comparison(self.comparison, self.folder / runs.REPORT_HTML)

    def predictor(self, model: str | None = None) -> Predictor:
        """One of the classifiers; the best by default. Of several seeds or folds it is the first."""
        name = next(iter(self.reports)) if model is None else find_model(model).name
        return load(self.runs.get(name, self.folder / name))


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
    seeds: int = 1,
    folds: int = 0,
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
        seeds: how often each network is trained: with `seed`, `seed` + 1 and so on, on the split of `seed`, so that all
            are tested on the same samples. The report tells mean and spread, and what is better for other seeds, too.
        folds: of cross-validation, for small data; 0 for none. Each sample is tested once, by a training without it,
            and the answers of all folds are counted together.
        command: what the user typed, for the report.
        progress: is told how far it is, and asked whether to stop; then `resume_comparison` goes on.

    Raises:
        EyebrightError: see `eyebright.errors`; the message says what to do.
    """
    progress = progress or SilentProgress()
    chosen = choose_settings(settings, overrides, effort=effort, seed=seed, slices=slices)
    entries = [find_model(model) for model in models]
    if len({entry.name for entry in entries}) != len(entries) or not entries:
        raise SettingsError(f"name each network once, not {', '.join(models) or 'none'}")
    if seeds < 1:
        raise SettingsError(f"the number of seeds is {seeds}; it must be at least 1")
    if seeds > 1 and folds:
        raise SettingsError("give several seeds or folds, not both: each fold is a training of its own already")
    name = describe_data(data)
    require_teacher(chosen)
    if not was_restarted():
        runs.require_free(None if out is None else Path(out))
    with join_ranks(choose_device(chosen.training.device)) as ranks:
        say_idle_cores(chosen, ranks, progress)
        parts = _prepare_parts(data, chosen, folds, decisions, ranks, progress)
        if seeds > 1 and parts[0].table.label_sets is not None:
            raise DataError("several seeds are compared for images of one label each; leave out --seeds")
        decided = parts[0].decided
        plan = Plan(
            models=tuple(entry.name for entry in entries),
            seeds=tuple(range(chosen.seed, chosen.seed + seeds)),
            folds=folds,
            baseline=baseline,
            settings=to_toml(chosen),
            data=full_path(data),
            data_name=name,
            command=command,
            folder=os.getcwd(),
            decided=None if decided is None else decided.summary(),
            notes=parts[0].table.notes,
        )
        if not ranks.leads:
            return _carry_out(Path(), plan, parts, chosen, ranks, progress)
        with runs.new_folder(None if out is None else Path(out), f"{name}-compare") as folder:
            try:
                write_plan(folder, plan, parts)
                return _carry_out(folder, plan, parts, chosen, ranks, progress)
            finally:
                forget_plan(folder)


def resume_comparison(
    folder: str | os.PathLike[str], *, data: Data | None = None, command: str = "", progress: Progress | None = None
) -> ComparedRuns:
    """Go on with a comparison that was stopped or killed: trainings that are finished are kept, others gone on with.

    Args:
        folder: the comparison's.
        data: where its images are now; by default where they were. They must be the same images.
        command: what the user typed, for the report, if nothing was typed at first.
        progress: see `compare`.

    Raises:
        CheckpointError: there is nothing to go on with, or another process is at it.
        DataError: an image is gone or has changed.
        EyebrightError: see `compare`.
    """
    progress = progress or SilentProgress()
    path = Path(folder)
    plan = read_plan(path)
    finished = [trial for trial in plan.trials() if is_finished(path / trial.name)]
    for trial in finished:
        clear_finished(path / trial.name)
    if plan.finished and (path / runs.REPORT_JSON).is_file() and len(finished) == len(plan.trials()):
        raise CheckpointError(f"{printable(str(path))} is finished; its report is {path / runs.REPORT_HTML}")
    chosen = settings_begun_in(load_settings(Settings, text=plan.settings), plan.folder)
    with join_ranks(choose_device(chosen.training.device)) as ranks:
        say_idle_cores(chosen, ranks, progress)
        parts = prepare_parts_again(path, plan, data, progress)
        progress.say(f"going on with {printable(str(path))}")
        return _carry_out(path, replace(plan, command=plan.command or command), parts, chosen, ranks, progress)


def _prepare_parts(
    data: Data,
    settings: Settings,
    folds: int,
    decisions: str | os.PathLike[str] | None,
    ranks: Ranks,
    progress: Progress,
) -> tuple[Prepared, ...]:
    """The data for each fold, or once; rank 0 reads and divides, the others take over what it found."""
    if not folds:
        return (prepare_together(data, settings, decisions, ranks, progress),)
    texts = b"[]"
    if ranks.leads:
        parts = prepare_folds(data, settings, folds, progress, decisions=decisions)
        if ranks.size == 1:
            return parts
        texts = json.dumps([runs.spell_samples(part.table, part.digests) for part in parts]).encode()
    shared = json.loads(ranks.share(texts))
    if ranks.leads:
        return parts
    return tuple(prepare_again(data, runs.parse_samples(text, Path(runs.SAMPLES)), progress) for text in shared)


def _carry_out(
    folder: Path, plan: Plan, parts: Sequence[Prepared], chosen: Settings, ranks: Ranks, progress: Progress
) -> ComparedRuns:
    """Train what is not trained yet, and report on all."""
    trials = plan.trials()
    done = [trial.name for trial in trials if ranks.leads and is_finished(folder / trial.name)]
    done = json.loads(ranks.share(json.dumps(done).encode()))
    if ranks.leads and plan.finished:  # once, but something of it is gone
        plan = change_plan(folder, plan, finished=False)
    found: dict[str, AnyContestant] = {}
    interrupted = False
    for number, trial in enumerate(trials, start=1):
        if trial.name in done:
            if ranks.leads:
                found[trial.name] = read_contestant(folder / trial.name)
            continue
        settings = trial_settings(
            folder / trial.name, replace(chosen, model=trial.model, seed=trial.seed), ranks, progress
        )
        if not ranks.leads:
            fit_network(parts[trial.part], settings, None, ranks, progress)
            continue
        progress.say(f"{plan.describe(trial)} ({number} of {len(trials)})")
        contestant = None
        with suppress(KeyboardInterrupt):
            contestant = train_trial(folder, plan, trial, parts[trial.part], settings, ranks, progress)
        if contestant is None:
            interrupted = True
            break
        found[trial.name] = contestant
    if not ranks.leads:
        return ComparedRuns(Path(), None)
    contestants: list[AnyContestant] = []
    rounds = 0
    try:
        contestants, rounds = gather_contestants(folder, plan, parts, found, chosen, progress)
        if contestants and plan.baseline and not interrupted:
            contestants += list_baseline(parts, chosen, progress)
    except KeyboardInterrupt:
        interrupted = True
    kept = {trial.model: folder / trial.name for trial in reversed(trials) if trial.name in found}
    if not contestants:
        return ComparedRuns(folder, None, interrupted=interrupted, runs=kept)
    table = whole_of(parts) if plan.folds else parts[0].table
    comparison = build_comparison(table, contestants, plan.data_name, chosen.seed, plan.command)
    comparison = replace(
        comparison, notes=plan.notes, folds=plan.folds, seeds=plan.seeds[:rounds] if rounds > 1 else ()
    )
    write_report(folder, comparison, table, of_run=False)
    if not interrupted:
        change_plan(folder, plan, finished=True)
    return ComparedRuns(folder, comparison, interrupted=interrupted, runs=kept)
