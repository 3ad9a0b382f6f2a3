"""Train one network: data in, a run's folder out; and go on with a run that was stopped, by whatever it was."""

from __future__ import annotations

import glob
import os
import shlex
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

import torch

from eyebright.distributed.launch import join_ranks, note_idle_cores, started_by, was_restarted
from eyebright.distributed.ranks import Ranks
from eyebright.errors import CheckpointError, DataError, printable
from eyebright.evaluation.label_sets import AnyReport
from eyebright.evaluation.label_sets_compare import AnyContestant
from eyebright.evaluation.notebook import show_in_notebook
from eyebright.inference.load import load
from eyebright.inference.predictor import Predictor
from eyebright.jobs import runs
from eyebright.jobs.conditions import compare_conditions, note_conditions
from eyebright.jobs.diverged import refuse_diverged
from eyebright.jobs.fit import fit_network
from eyebright.jobs.given import Data, describe_data, require_unmoved
from eyebright.jobs.measure import build_comparison, write_report
from eyebright.jobs.prepare import Prepared, prepare, prepare_again
from eyebright.jobs.provenance import now
from eyebright.jobs.state import OpenRun, RunState, clear_finished, find_state, open_run, read_state, verify_sealed
from eyebright.jobs.teach import require_teacher
from eyebright.models.catalog import find_model
from eyebright.progress import Progress, SilentProgress
from eyebright.settings import load_settings, override_settings, to_toml
from eyebright.training.settings import Settings
from eyebright.training.start import choose_device, find_device


@dataclass(frozen=True)
class Run:
    """A training that is over: its folder and what it achieved."""

    folder: Path
    contestant: AnyContestant | None
    """None if it was interrupted: then it was not measured. None, too, on all but the first of several processes."""
    interrupted: bool = False

    @property
    def report(self) -> AnyReport | None:
        """What the classifier achieved on the test samples; None if training was interrupted."""
        return None if self.contestant is None else self.contestant.report

    def _repr_html_(self) -> str:
        """What a notebook shows: what it achieved, and where the whole report lies."""
        if self.report is None:
            return show_in_notebook(f"Interrupted; everything is kept in {self.folder}.", (), ())
        return self.report._repr_html_() + show_in_notebook("", (), (), page=self.folder / runs.REPORT_HTML)

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
    slices: Sequence[str] = (),
    command: str = "",
    progress: Progress | None = None,
) -> Run:
    """Train a classifier on labelled images, measure it on images it has not seen, and save all of it.

    Under torchrun all its processes train one network together; where one of them died and torchrun started them anew,
    the run is gone on with from its last checkpoint. Processes with a GPU each must end after an error, with `os._exit`
    as the command line does: the others may wait for them.

    Args:
        data: a folder of class folders (with or without train/val/test folders), a .zip of one, a .csv manifest, an
            .npz file, or (images, labels) arrays.
        model: a network that `eyebright models` lists; "resnet50" by default.
        effort: "quick" (the default), "standard" or "best".
        out: the run's folder, new or empty; by default the first free one of runs/DATA-MODEL, -2, ...
        seed: decides everything random; 0 by default.
        settings: a `Settings` object or a TOML file.
        overrides: such as "training.lr=0.001"; they count more than `settings`.
        decisions: a decisions.csv, as the page of a check saves it: samples to leave out or to relabel.
        slices: columns of a list of images (camera, site, day) for whose values to tell the accuracy; by default every
            column of 2 to 50 values.
        command: what the user typed, for the report.
        progress: is told how far it is, and asked whether to stop: then all there is is kept, and `resume` goes on.

    Raises:
        EyebrightError: see `eyebright.errors`; the message says what to do.
        KeyboardInterrupt: stopped before there was a network to keep.
    """
    progress = progress or SilentProgress()
    chosen = choose_settings(settings, overrides, model=model, effort=effort, seed=seed, slices=slices)
    title = find_model(chosen.model).name
    name = describe_data(data)
    wanted = None if out is None else Path(out)
    require_teacher(chosen)
    if not was_restarted():
        runs.require_free(wanted)
    with join_ranks(choose_device(chosen.training.device)) as ranks:
        before = _find_launched(wanted, f"{name}-{title}") if ranks.leads and was_restarted() else None
        before_text = ranks.share(str(before or "").encode("utf-8", "surrogateescape"))
        say_idle_cores(chosen, ranks, progress)
        if before_text:
            return _go_on(Path(os.fsdecode(before_text)), data, command, ranks, progress)
        prepared = prepare_together(data, chosen, decisions, ranks, progress)
        if not ranks.leads:
            fit_network(prepared, chosen, None, ranks, progress)
            return Run(Path(), None)
        prepared = _tell_what_was_seen(prepared, chosen, progress)
        about = describe_run(data, prepared, replace(chosen, model=title), command, ranks)
        with (
            runs.new_folder(wanted, f"{name}-{title}") as folder,
            _telling_how_to_go_on(folder, progress),
            open_run(folder, about) as run,
        ):
            return _carry_out(run, prepared, chosen, ranks, progress)


def _tell_what_was_seen(prepared: Prepared, settings: Settings, progress: Progress) -> Prepared:
    """The same with a note on test images that the classifier it starts or learns from was trained on."""
    digests = {prepared.digests[row] for row in prepared.table.rows("test").tolist()} - {""}
    notes = []
    for given, role in ((settings.network.weights, "it starts from"), (settings.training.teacher, "it learns from")):
        # A run, or the bundle in it; a name or a file tells nothing.
        folders = (Path(given), Path(given).parent) if given and Path(given).is_dir() else ()
        run = next((folder for folder in folders if read_state(folder) is not None), None)
        learned: set[str] = set()
        if run is not None:
            with suppress(DataError):  # it tells nothing, then
                learned = {one.sha256 for one in runs.read_sample_records(run / runs.SAMPLES) if one.split != "test"}
        if seen := len(digests & learned):
            notes.append(
                f"the classifier that {role} ({printable(given)}) knows {seen:,} of {len(digests):,} test images from "
                "its training, so the accuracy looks better than it is; the same data and seed give the same split"
            )
    for note in notes:
        progress.warn(note)
    table = replace(prepared.table, notes=(*prepared.table.notes, *notes))
    return replace(prepared, table=table)


def describe_run(data: Data, prepared: Prepared, settings: Settings, command: str, ranks: Ranks) -> RunState:
    """What `run.json` says of a run that begins."""
    return RunState(
        state="running",
        model=settings.model,
        effort=settings.effort,
        seed=settings.seed,
        data=os.path.abspath(data) if isinstance(data, str | os.PathLike) else None,
        data_name=describe_data(data),
        settings=to_toml(settings),
        command=command,
        started=now(),
        folder=os.getcwd(),
        launched=started_by(),
        decided=None if prepared.decided is None else prepared.decided.summary(),
        notes=prepared.table.notes,
        conditions=note_conditions(settings, ranks),
    )


def resume(
    folder: str | os.PathLike[str], *, data: Data | None = None, command: str = "", progress: Progress | None = None
) -> Run:
    """Go on with a run that was stopped, was killed or failed: it ends as if it never had been.

    Args:
        folder: the run's.
        data: where its images are now; by default where they were. They must be the same images.
        command: what the user typed, for the report.
        progress: see `train`.

    Raises:
        CheckpointError: there is nothing to go on with, or another process is at it.
        DataError: an image is gone or has changed.
        EyebrightError: see `train`.
    """
    progress = progress or SilentProgress()
    path = Path(folder)
    settings = settings_of(path, state_of(path))
    with join_ranks(choose_device(settings.training.device)) as ranks:
        say_idle_cores(settings, ranks, progress)
        return _go_on(path, data, command, ranks, progress)


def say_idle_cores(settings: Settings, ranks: Ranks, progress: Progress) -> None:
    """Where several processes train on processors that could do more."""
    if ranks.leads and find_device(settings, ranks) == "cpu" and (note := note_idle_cores(torch.get_num_threads())):
        progress.warn(note)


def state_of(folder: Path) -> RunState:
    """What an unfinished run says of itself.

    Raises:
        CheckpointError: it is finished, or no run.
    """
    state = read_state(folder)
    shown = printable(str(folder))
    if state is None:
        raise CheckpointError(f"{shown} holds no training to go on with: there is no readable run.json in it")
    if state.state == "finished":
        clear_finished(folder)
        raise CheckpointError(
            f"{shown} is finished; there is nothing to go on with. To train its classifier further, start a new run "
            f"with --weights {shown}"
        )
    return state


def settings_of(folder: Path, state: RunState) -> Settings:
    """The settings of a run that is gone on with; with what an earlier start has chosen, if it got so far."""
    file = folder / runs.SETTINGS
    settings = load_settings(Settings, file=file) if file.is_file() else load_settings(Settings, text=state.settings)
    return settings_begun_in(settings, state.folder)


def settings_begun_in(settings: Settings, folder: str) -> Settings:
    """The same settings wherever we are now: relative paths begin where they were given."""
    weights, teacher = (
        str(Path(folder) / path) if path and (Path(folder) / path).exists() else path
        for path in (settings.network.weights, settings.training.teacher)
    )
    return replace(
        settings,
        network=replace(settings.network, weights=weights),
        training=replace(settings.training, teacher=teacher),
    )


def _go_on(folder: Path, data: Data | None, command: str, ranks: Ranks, progress: Progress) -> Run:
    state = state_of(folder)
    refuse_diverged(folder)
    verify_sealed(folder, state)
    settings = settings_of(folder, state)
    compare_conditions(state.conditions, settings, ranks, progress)
    data = state.data if data is None else data
    if data is None:
        raise CheckpointError(
            f"{printable(str(folder))} was trained on arrays; give them again: eyebright.resume(run, data=(images, "
            "labels))"
        )
    require_unmoved(data, f"eyebright train ITS_NEW_PLACE --resume {shlex.quote(str(folder))}")
    records = runs.read_sample_records(folder / runs.SAMPLES)
    prepared = prepare_again(data, records, progress)
    if not ranks.leads:
        fit_network(prepared, settings, None, ranks, progress)
        return Run(folder, None)
    again = replace(
        state, starts=state.starts + 1, command=command or state.command, launched=started_by() or state.launched
    )
    with _telling_how_to_go_on(folder, progress), open_run(folder, again) as run:
        progress.say(f"going on with {printable(str(folder))}")
        return _carry_out(run, prepared, settings, ranks, progress)


@contextmanager
def _telling_how_to_go_on(folder: Path, progress: Progress) -> Iterator[None]:
    """Where a stop comes before there is a network, but after something worth keeping."""
    try:
        yield
    except KeyboardInterrupt:
        if read_state(folder) is not None:
            progress.say(f"What there is is kept; go on with: eyebright train --resume {shlex.quote(str(folder))}")
        raise


def _carry_out(run: OpenRun, prepared: Prepared, settings: Settings, ranks: Ranks, progress: Progress) -> Run:
    def report(contestant: AnyContestant) -> None:
        state = run.state
        comparison = build_comparison(prepared.table, [contestant], state.data_name, settings.seed, state.command)
        comparison = replace(comparison, notes=state.notes)
        write_report(run.folder, comparison, prepared.table, of_run=True)

    contestant = fit_network(prepared, settings, run, ranks, progress, report=report)
    return Run(run.folder, contestant, interrupted=contestant is None)


def prepare_together(
    data: Data, settings: Settings, decisions: str | os.PathLike[str] | None, ranks: Ranks, progress: Progress
) -> Prepared:
    """Rank 0 reads and splits; the others take over what it found."""
    text = None
    if ranks.leads:
        prepared = prepare(data, settings, progress, decisions=decisions)
        if ranks.size == 1:
            return prepared
        text = runs.spell_samples(prepared.table, prepared.digests).encode("utf-8", "surrogateescape")
    shared = ranks.share(text).decode("utf-8", "surrogateescape")
    if ranks.leads:
        return prepared
    return prepare_again(data, runs.parse_samples(shared, Path(runs.SAMPLES)), progress)


def _find_launched(wanted: Path | None, name: str) -> Path | None:
    """The unfinished run that this call of torchrun has started before one of its processes died."""
    folders = [wanted] if wanted is not None else sorted(Path("runs").glob(f"{glob.escape(name)}*"))
    return find_state(iter(folders), lambda state: state.launched == started_by() and state.state != "finished")


def choose_settings(
    settings: Settings | str | os.PathLike[str] | None,
    overrides: Sequence[str],
    *,
    model: str | None = None,
    effort: str | None = None,
    seed: int | None = None,
    slices: Sequence[str] = (),
) -> Settings:
    """Settings from an object or file, then overrides, then the arguments that are given.

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
        data=replace(values.data, slices=tuple(slices) or values.data.slices),
    )
