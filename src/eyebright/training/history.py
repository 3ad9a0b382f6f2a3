"""What happened in each epoch, as it is kept in `history.jsonl`, and shown by TensorBoard and MLflow if wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from eyebright.errors import MissingExtraError


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
    """For epochs at the temperature that suits it best: see `validation.calibrated_loss`."""
    val_accuracy: float
    seconds: float
    """Since training began."""


def save_history(path: Path, records: Iterable[EpochRecord]) -> None:
    """One JSON object a line; the file is replaced in one step."""
    scratch = path.with_name(f".{path.name}.new")
    try:
        scratch.write_text("".join(json.dumps(asdict(record)) + "\n" for record in records), encoding="utf-8")
        os.replace(scratch, path)
    finally:
        scratch.unlink(missing_ok=True)


def read_history(path: Path) -> tuple[EpochRecord, ...]:
    """The records that `save_history` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(EpochRecord(**json.loads(line)) for line in lines)


@final
class HistoryWriter:
    """Keeps the history in a file, and passes it on as it grows.

    Args:
        path: the file.
        tensorboard: a folder for TensorBoard's event files; None: not wanted.
        mlflow: whether to log a run with MLflow, to where its own settings say (a folder `mlruns` by default).

    Raises:
        MissingExtraError: what is wanted is not installed.
    """

    def __init__(self, path: Path, *, tensorboard: Path | None = None, mlflow: bool = False) -> None:
        self._path = path
        self._told = 0
        self._board = None if tensorboard is None else _open_tensorboard(tensorboard)
        self._mlflow = _import_mlflow() if mlflow else None

    def write(self, records: Sequence[EpochRecord]) -> None:
        """Keep all records, and pass on those that are new.

        Raises:
            OSError: the file can't be written.
        """
        save_history(self._path, records)
        news = list(enumerate(records))[self._told :]
        for number, record in news:
            # The strengths of a head come one after the other, as epochs do.
            step = int(record.number) if record.phase == "epochs" else number
            for name in ("train_loss", "val_loss", "val_accuracy"):
                value = getattr(record, name)
                if value is None:
                    continue
                if self._board is not None:
                    self._board.add_scalar(f"{record.phase}/{name}", value, step)
                if self._mlflow is not None:
                    self._mlflow.log_metric(f"{record.phase}.{name}", value, step=step)
        if self._board is not None:
            self._board.flush()
        self._told = len(records)

    def close(self) -> None:
        """Nothing more comes."""
        if self._board is not None:
            self._board.close()
        if self._mlflow is not None:
            self._mlflow.end_run()


def _open_tensorboard(folder: Path) -> Any:
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        raise MissingExtraError("training.tensorboard=true", "tensorboard") from error
    return SummaryWriter(str(folder), purge_step=0)


def _import_mlflow() -> Any:
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing calls home
    try:
        import mlflow
    except ImportError as error:
        raise MissingExtraError("training.mlflow=true", "mlflow") from error
    mlflow.start_run()
    return mlflow
