"""What happened in each epoch, as it is kept in `history.jsonl`, and shown by TensorBoard and MLflow if wanted."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Protocol, final

from eyebright.errors import MissingExtraError, SettingsError, printable
from eyebright.writing import whole, write_text


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
    """For epochs at the temperature that suits it best: see `validation.calibrated_losses`."""
    val_accuracy: float
    seconds: float
    """Since training began."""
    kept: bool = False
    """Whether its weights are the phase's result, so far."""


def find_kept(records: Sequence[EpochRecord]) -> EpochRecord | None:
    """The record of the weights that training ended with; None if there are none."""
    return next((record for record in reversed(records) if record.kept), None)


def save_history(path: Path, records: Iterable[EpochRecord]) -> None:
    """One JSON object a line; the file is replaced in one step."""
    with whole(path) as file:
        file.writelines(json.dumps(asdict(record)).encode() + b"\n" for record in records)


def read_history(path: Path) -> tuple[EpochRecord, ...]:
    """The records that `save_history` wrote."""
    lines = path.read_text(encoding="utf-8").splitlines()
    return tuple(EpochRecord(**json.loads(line)) for line in lines)


class Listener(Protocol):
    """Who is told of results as they come."""

    def tell(self, name: str, value: float, step: int) -> None:
        """One number, such as ("epochs/val_loss", 0.31, 4)."""
        ...

    def close(self) -> None:
        """Nothing more comes."""
        ...


@final
class HistoryWriter:
    """Keeps the history in a file, and passes it on as it grows.

    A listener that fails, such as a server that went away, is told nothing more; training goes on.

    Args:
        path: the file.
        tensorboard: a folder for TensorBoard's event files; None: not wanted.
        mlflow: a file that keeps which run of MLflow the results go to, where $MLFLOW_TRACKING_URI says, by default in
            a folder `mlruns` here. None: not wanted.
        warn: told if a listener failed.

    Raises:
        MissingExtraError: what is wanted is not installed.
        SettingsError: MLflow can't begin a run.
    """

    def __init__(
        self,
        path: Path,
        *,
        tensorboard: Path | None = None,
        mlflow: Path | None = None,
        warn: Callable[[str], object] = lambda _: None,
    ) -> None:
        self._path = path
        self._told = 0
        self._warn = warn
        self._listeners: dict[str, Listener] = {}
        self._skipped: dict[str, int] = {}
        """How many records a listener heard from an earlier start."""
        if tensorboard is not None:
            self._listeners["TensorBoard"] = _Board(tensorboard)
        if mlflow is not None:
            self._listeners["MLflow"] = told = _Mlflow(mlflow)
            if told.goes_on and path.is_file():
                self._skipped["MLflow"] = len(read_history(path))

    def write(self, records: Sequence[EpochRecord]) -> None:
        """Keep all records, and pass on those that are new.

        Raises:
            OSError: the file can't be written.
        """
        save_history(self._path, records)
        for number, record in list(enumerate(records))[self._told :]:
            # The strengths of a head come one after the other, as epochs do.
            step = int(record.number) if record.phase == "epochs" else number
            for name in ("train_loss", "val_loss", "val_accuracy"):
                value = getattr(record, name)
                if value is not None:
                    self._tell(number, f"{record.phase}/{name}", value, step)
        self._told = len(records)

    def _tell(self, number: int, name: str, value: float, step: int) -> None:
        self._each(lambda one: one.tell(name, value, step), number)

    def close(self) -> None:
        """Nothing more comes."""
        self._each(lambda one: one.close())

    def _each(self, tell: Callable[[Listener], object], number: int | None = None) -> None:
        """Tell all listeners something, of the record of this number those that did not hear it before."""
        for name, listener in list(self._listeners.items()):
            if number is not None and number < self._skipped.get(name, 0):
                continue
            try:
                tell(listener)
            except Exception as error:  # whatever a foreign library raises, hours of training must not end with it
                del self._listeners[name]
                self._warn(f"{name} is told nothing more: {_first_line(error)}")


@final
class _Board:
    """TensorBoard's event files."""

    def __init__(self, folder: Path) -> None:
        try:
            from torch.utils.tensorboard import SummaryWriter
        except ImportError as error:
            raise MissingExtraError("training.tensorboard=true", "tensorboard") from error
        self._writer = SummaryWriter(str(folder), purge_step=0)

    def tell(self, name: str, value: float, step: int) -> None:
        self._writer.add_scalar(name, value, step)
        self._writer.flush()

    def close(self) -> None:
        self._writer.close()


@final
class _Mlflow:
    """A run of MLflow; where a run of ours is gone on with, the one that it had.

    Args:
        note: a file that keeps which one that is.
    """

    def __init__(self, note: Path) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # nothing calls home
        try:
            import mlflow
        except ImportError as error:
            raise MissingExtraError("training.mlflow=true", "mlflow") from error
        try:
            if "MLFLOW_TRACKING_URI" not in os.environ:
                os.environ.setdefault("MLFLOW_ALLOW_FILE_STORE", "true")  # a plain folder is all that one person needs
                mlflow.set_tracking_uri(Path("mlruns").absolute().as_uri())
            run = None
            if note.is_file():
                with suppress(Exception):  # it may have been deleted there
                    run = mlflow.start_run(run_id=note.read_text(encoding="utf-8").strip())
            self.goes_on = run is not None
            if run is None:
                run = mlflow.start_run(run_name=note.parent.name)
                write_text(note, run.info.run_id + "\n")
        except Exception as error:
            raise SettingsError(f"training.mlflow=true: MLflow can't begin a run: {_first_line(error)}") from error
        self._mlflow = mlflow

    def tell(self, name: str, value: float, step: int) -> None:
        self._mlflow.log_metric(name, value, step=step)

    def close(self) -> None:
        self._mlflow.end_run()


def _first_line(error: Exception) -> str:
    return printable((str(error) or type(error).__name__).strip().split("\n")[0])[:300]
