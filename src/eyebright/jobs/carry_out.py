"""One training of a comparison: begun, gone on with where it was stopped, or read where it is finished."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from eyebright.distributed.launch import started_by
from eyebright.distributed.ranks import Ranks
from eyebright.errors import DataError, printable
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.label_sets_compare import AnyContestant, LabelSetsComparison
from eyebright.jobs import runs
from eyebright.jobs.conditions import compare_conditions, note_conditions
from eyebright.jobs.fit import fit_network
from eyebright.jobs.measure import build_comparison
from eyebright.jobs.prepare import Prepared
from eyebright.jobs.provenance import now
from eyebright.jobs.state import RunState, open_run, read_state, verify_sealed
from eyebright.jobs.train import settings_of
from eyebright.jobs.trials import Plan, Trial
from eyebright.progress import Progress
from eyebright.settings import load_settings, to_toml
from eyebright.training.settings import Settings
from eyebright.writing import write_text


def trial_settings(path: Path, settings: Settings, ranks: Ranks, progress: Progress) -> Settings:
    """The settings of a training, the same on all ranks: as an earlier start has resolved them, or as given."""
    text = b""
    if ranks.leads:
        before = read_state(path)
        if before is not None:
            verify_sealed(path, before)
            settings = settings_of(path, before)
        text = json.dumps([to_toml(settings), {} if before is None else dict(before.conditions)]).encode()
    shared, conditions = json.loads(ranks.share(text))
    settings = load_settings(Settings, text=shared)
    compare_conditions(conditions, settings, ranks, progress)
    return settings


def train_trial(
    folder: Path,
    plan: Plan,
    trial: Trial,
    prepared: Prepared,
    settings: Settings,
    ranks: Ranks,
    progress: Progress,
) -> AnyContestant | None:
    """One training in its run's folder, with a report of its own; None if a stop was requested.

    Raises:
        CheckpointError: another process is at it.
        KeyboardInterrupt: stopped before there was a network to keep.
    """
    path = folder / trial.name

    def report(contestant: AnyContestant) -> None:
        one = build_comparison(prepared.table, [contestant], plan.data_name, settings.seed, plan.command)
        write_text(path / runs.REPORT_JSON, json.dumps(one.to_dict(), indent=1) + "\n")

    before = read_state(path)
    if before is not None:
        with open_run(path, _started_again(before)) as run:
            return fit_network(prepared, settings, run, ranks, progress, report=report)
    about = RunState(
        state="running",
        model=trial.model,
        effort=settings.effort,
        seed=trial.seed,
        data=plan.data,
        data_name=plan.data_name,
        settings=to_toml(settings),
        command=plan.command,
        started=now(),
        folder=plan.folder,
        launched=started_by(),
        decided=plan.decided,
        notes=plan.notes,
        conditions=note_conditions(settings, ranks),
    )
    if path.is_dir():  # killed before it could say what it is
        for rest in path.glob(".*"):
            rest.unlink()
    with runs.new_folder(path, "") as new, open_run(new, about) as run:
        return fit_network(prepared, settings, run, ranks, progress, report=report)


def is_finished(path: Path) -> bool:
    """Whether a training is over and measured."""
    state = read_state(path)
    return state is not None and state.state == "finished" and (path / runs.REPORT_JSON).is_file()


def read_contestant(path: Path) -> AnyContestant:
    """What a finished training achieved.

    Raises:
        DataError: its report is damaged.
    """
    file = path / runs.REPORT_JSON
    try:
        values = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{printable(str(file))} can't be read ({error}); it may be damaged") from error
    state = read_state(path)
    if state is not None and state.mean_average_precision is not None:
        return LabelSetsComparison.from_dict(values).contestants[0]
    return Comparison.from_dict(values).contestants[0]


def _started_again(state: RunState) -> RunState:
    return replace(state, starts=state.starts + 1, launched=started_by() or state.launched)
