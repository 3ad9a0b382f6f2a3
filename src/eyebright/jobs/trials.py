"""What a comparison is to train, kept in its folder so that it can be gone on with.

compare.json    networks, seeds, folds, settings, where the data are, and whether all is done
splits/         what each training uses which sample for: split.csv, or fold-1.csv, fold-2.csv ...
NAME/           each training's run: cnn; cnn-seed0, cnn-seed1 ...; or cnn-fold1, cnn-fold2 ...
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eyebright.errors import CheckpointError, DataError, printable
from eyebright.evaluation.plain import from_plain, to_plain
from eyebright.jobs import runs
from eyebright.jobs.given import Data, require_unmoved
from eyebright.jobs.prepare import Prepared, prepare_again
from eyebright.models.catalog import find_model
from eyebright.progress import Progress
from eyebright.writing import write_text, writing

PLAN = "compare.json"
SPLITS = "splits"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One training of one network."""

    model: str
    """The catalogue's name."""
    seed: int
    fold: int | None
    """From 1; None where all train on the same split."""
    name: str
    """Of its folder."""

    @property
    def part(self) -> int:
        """Which of the prepared data it uses."""
        return 0 if self.fold is None else self.fold - 1


@dataclass(frozen=True, kw_only=True)
class Plan:
    """All that a comparison is to do."""

    models: tuple[str, ...]
    seeds: tuple[int, ...]
    """Of the trainings on one split, or the only one."""
    folds: int
    """Of cross-validation; 0 where there is none."""
    baseline: bool
    settings: str
    """As TOML; its seed is that of the split."""
    data: str | None
    """The full path of the data; None for arrays."""
    data_name: str
    command: str
    folder: str
    """Where it was started: relative paths in the settings begin there."""
    decided: dict[str, int] | None = None
    """What a file of decisions came to."""
    notes: tuple[str, ...] = ()
    """What was noticed when the data were read."""
    finished: bool = False
    """Whether all of it is done, the report on all of it too."""
    version: int = VERSION

    def trials(self) -> tuple[Trial, ...]:
        """In order: round by round, so that after each all networks have as many seeds; folds network by network."""
        if self.folds:
            return tuple(
                Trial(model=model, seed=self.seeds[0], fold=fold, name=f"{model}-fold{fold}")
                for model in self.models
                for fold in range(1, self.folds + 1)
            )
        return tuple(
            Trial(model=model, seed=seed, fold=None, name=f"{model}-seed{seed}" if len(self.seeds) > 1 else model)
            for seed in self.seeds
            for model in self.models
        )

    def describe(self, trial: Trial) -> str:
        """A training, as people say it: "ResNet-50, seed 3"."""
        title = find_model(trial.model).title
        if trial.fold is not None:
            return f"{title}, fold {trial.fold} of {self.folds}"
        return f"{title}, seed {trial.seed}" if len(self.seeds) > 1 else title


def write_plan(folder: Path, plan: Plan, parts: Sequence[Prepared]) -> None:
    """Keep the plan and what each training uses which sample for; the plan last, so that what is there is whole.

    Raises:
        OutputError: it can't be written.
    """
    with writing(folder / SPLITS):
        (folder / SPLITS).mkdir()
    for name, part in zip(_file_names(plan), parts, strict=True):
        write_text(folder / SPLITS / name, runs.spell_samples(part.table, part.digests))
    _write(folder, plan)


def change_plan(folder: Path, plan: Plan, *, finished: bool) -> Plan:
    """Note whether all of a plan is done.

    Raises:
        OutputError: it can't be written.
    """
    changed = replace(plan, finished=finished)
    _write(folder, changed)
    return changed


def forget_plan(folder: Path) -> None:
    """Remove what `write_plan` wrote, where nothing has come of it: no training has left anything."""
    names = {PLAN, SPLITS}
    if not folder.is_dir() or any(child.name not in names for child in folder.iterdir()):
        return
    with suppress(OSError):
        (folder / PLAN).unlink(missing_ok=True)
        for child in (folder / SPLITS).iterdir():
            child.unlink()
        (folder / SPLITS).rmdir()


def read_plan(folder: Path) -> Plan:
    """The plan of a comparison that was stopped.

    Raises:
        CheckpointError: there is none, or it can't be read.
    """
    shown = printable(str(folder))
    try:
        values = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        plan = from_plain(Plan, values, PLAN)
    except FileNotFoundError:
        raise CheckpointError(
            f"{shown} holds no comparison to go on with: there is no {PLAN} in it; for a single run: eyebright train "
            f"--resume {shown}"
        ) from None
    except (OSError, ValueError, DataError) as error:
        raise CheckpointError(f"{printable(str(folder / PLAN))} can't be read ({error}); it may be damaged") from error
    if plan.version > VERSION:
        raise CheckpointError(f"{shown} was begun by a newer Eyebright; update with: pip install --upgrade eyebright")
    return plan


def prepare_parts_again(folder: Path, plan: Plan, data: Data | None, progress: Progress) -> tuple[Prepared, ...]:
    """The data of each part of a plan, as they were when it was made.

    Raises:
        CheckpointError: it was of arrays, which are not given.
        DataError: an image is gone or has changed.
    """
    found = plan.data if data is None else data
    if found is None:
        raise CheckpointError(
            f"{printable(str(folder))} was begun on arrays; give them again: eyebright.resume_comparison(folder, "
            "data=(images, labels))"
        )
    require_unmoved(found, f"eyebright compare ITS_NEW_PLACE --resume {shlex.quote(str(folder))}")
    return tuple(
        prepare_again(found, runs.read_sample_records(folder / SPLITS / name), progress) for name in _file_names(plan)
    )


def full_path(data: Data) -> str | None:
    """Where data lie; None for arrays."""
    return os.path.abspath(data) if isinstance(data, str | os.PathLike) else None


def _write(folder: Path, plan: Plan) -> None:
    write_text(folder / PLAN, json.dumps(to_plain(plan), indent=1) + "\n")


def _file_names(plan: Plan) -> list[str]:
    return [f"fold-{fold}.csv" for fold in range(1, plan.folds + 1)] if plan.folds else ["split.csv"]
