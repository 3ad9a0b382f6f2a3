"""The runs in a folder, with their state and results."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from eyebright.errors import CheckpointError, DataError, EyebrightError, printable
from eyebright.jobs import runs
from eyebright.jobs.state import STATE, RunState, read_state
from eyebright.jobs.trials import read_plan
from eyebright.settings import load_settings
from eyebright.training.history import EpochRecord, read_history
from eyebright.training.settings import Settings

DEPTH = 2
"""A comparison's folder holds the runs of its networks."""
_UNREADABLE = RunState(
    state="unreadable",
    model="",
    effort="",
    seed=0,
    data=None,
    data_name="",
    settings="",
    command="",
    started="",
    folder="",
)


@dataclass(frozen=True, kw_only=True)
class ListedRun:
    """One run."""

    folder: Path
    state: RunState
    last: EpochRecord | None
    """What it measured last while training."""
    epochs: int
    """How many it is to have; 0 if only a head is fitted, or that is not known yet."""
    comparison: Path | None = None
    """The folder of the unfinished comparison that it belongs to, which is gone on with as a whole."""


def list_runs(folder: str | os.PathLike[str] = "runs") -> tuple[ListedRun, ...]:
    """Every run in a folder and in the folders in it, the one touched last first.

    Raises:
        DataError: there is no such folder.
    """
    root = Path(folder)
    if not root.is_dir():
        raise DataError(f"there is no folder {printable(str(root))}; runs lie in ./runs unless --out said otherwise")
    found = [_describe(path, state) for path, state in _find(root, DEPTH)]
    return tuple(sorted(found, key=lambda run: (run.state.updated, str(run.folder)), reverse=True))


def _find(folder: Path, depth: int) -> Iterator[tuple[Path, RunState]]:
    state = read_state(folder)
    if state is not None:
        yield folder, state
    elif (folder / STATE).is_file():
        yield folder, replace(_UNREADABLE, error=f"{STATE} can't be read; it may be damaged")
    elif depth:
        for child in sorted(folder.iterdir()):
            if child.is_dir() and not child.name.startswith("."):
                yield from _find(child, depth - 1)


def _describe(folder: Path, state: RunState) -> ListedRun:
    last, epochs = None, 0
    try:
        last = read_history(folder / runs.HISTORY)[-1]
        epochs = load_settings(Settings, file=folder / runs.SETTINGS).training.epochs
    except (OSError, ValueError, TypeError, IndexError, EyebrightError):
        pass  # not so far yet, or damaged: the state is told all the same
    comparison = None
    with suppress(CheckpointError):
        comparison = None if read_plan(folder.parent).finished else folder.parent
    return ListedRun(folder=folder, state=state, last=last, epochs=epochs, comparison=comparison)
