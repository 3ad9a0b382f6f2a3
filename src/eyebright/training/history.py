"""What happened in each epoch, as it is kept in `history.jsonl`."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class EpochRecord:
    """One line of the history."""

    phase: str
    """"head": one strength of regularisation of the linear head; "epochs": one pass over the training images."""
    number: float
    """The strength, or the epoch counted from 1 (0: before the first)."""
    train_loss: float | None
    """None where it was not measured."""
    val_loss: float
    val_accuracy: float
    seconds: float
    """Since training began."""


def save_history(path: Path, records: Iterable[EpochRecord]) -> None:
    """One JSON object a line."""
    path.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records), encoding="utf-8")


def read_history(path: Path) -> tuple[EpochRecord, ...]:
    """The records that `save_history` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(EpochRecord(**json.loads(line)) for line in lines)
