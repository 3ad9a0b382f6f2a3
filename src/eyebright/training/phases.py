"""The phases of training, each of which leaves snapshots that the next start goes on from.

    embedding   the backbone looks at every image once
    head        a linear head is fitted on what it saw
    epochs      the whole network is trained
    done        what is left when all are over: the weights

Shapes: N samples, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.training.checkpoint import Snapshot
from eyebright.training.epochs import train_epochs
from eyebright.training.head import fit_head
from eyebright.training.history import EpochRecord
from eyebright.training.work import Work


def run_phases(
    work: Work, snapshot: Snapshot | None, head_wanted: bool, taught: NDArray[np.float32] | None
) -> tuple[tuple[EpochRecord, ...], bool]:
    """Do what is still to be done of all phases; the model is left with the weights that are kept.

    Args:
        work: what to train on.
        snapshot: where an earlier start was; its phase is gone on with, and those before it are over.
        head_wanted: whether a new head is fitted first.
        taught: (2, N, K) what a teacher says, if there is one.

    Returns:
        The history of all phases, and whether a stop was requested; then everything is kept to go on from.

    Raises:
        KeyboardInterrupt: stopped before there was anything to use; what there is, is kept too.
    """
    phase = "" if snapshot is None else snapshot.phase
    history: list[EpochRecord] = []
    if snapshot is not None and "head_records" in snapshot.state:
        history = [EpochRecord(**record) for record in snapshot.state["head_records"]]
    if snapshot is not None and phase == "done":
        work.model.load_state_dict(snapshot.parts["weights"])
        history += [EpochRecord(**record) for record in snapshot.state["records"]]
        work.watch.history(history)
        return tuple(history), False
    if head_wanted and phase != "epochs":
        history = fit_head(work, snapshot)
        work.watch.history(history)
        if any(work.ranks.any(work.progress.stop_requested)):
            return tuple(history), True
    records: tuple[EpochRecord, ...] = ()
    if work.settings.training.epochs:
        result = train_epochs(work, snapshot if phase == "epochs" else None, history, taught)
        records = result.records
        if result.interrupted:
            return (*history, *records), True
    weights = dict(work.model.state_dict())
    state = {"head_records": _plain(history), "records": _plain(records)}
    work.keep("done", state, {"weights": weights})
    return (*history, *records), False


def _plain(records: Sequence[EpochRecord]) -> list[dict[str, Any]]:
    return [asdict(record) for record in records]
