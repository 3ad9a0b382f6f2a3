"""What a run says of itself while it runs and afterwards, in `run.json`; and the lock that only a living process holds.

A run is "running", "finished", "interrupted" or "failed". A process that is killed can't say so any more: a run that
says "running" while nobody holds its lock was interrupted.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import Any, final

from eyebright.bundle.sealed import hash_file
from eyebright.errors import CheckpointError, EyebrightError, OutputError, printable
from eyebright.jobs.provenance import now
from eyebright.jobs.runs import BUNDLE, CHECKPOINTS, DECISIONS, HISTORY, MLFLOW, SAMPLES, SETTINGS
from eyebright.locking import is_locked, locked
from eyebright.writing import write_text

STATE = "run.json"
LOCK = ".lock"
VERSION = 1


@dataclass(frozen=True, kw_only=True)
class RunState:
    """What `run.json` holds."""

    state: str
    """"running", "finished", "interrupted" or "failed"."""
    model: str
    effort: str
    seed: int
    data: str | None
    """The full path of the data; None for arrays."""
    data_name: str
    settings: str
    """As they were given, as TOML."""
    command: str
    """What the user typed."""
    started: str
    folder: str
    """Where it was started: relative paths in the settings begin there."""
    updated: str = ""
    starts: int = 1
    """How often it was started or gone on with."""
    launched: str | None = None
    """Which call of torchrun started it."""
    decided: dict[str, Any] | None = None
    """What a file of decisions came to."""
    accuracy: float | None = None
    """On the test images, once it is finished."""
    mean_average_precision: float | None = None
    """In its place where an image may have several classes."""
    error: str | None = None
    """Why it failed."""
    files: Mapping[str, str] = field(default_factory=dict)
    """The sha256 of what the run goes by when it is gone on with, by name."""
    conditions: Mapping[str, str] = field(default_factory=dict)
    """See `conditions.note_conditions`."""
    version: int = VERSION
    notes: tuple[str, ...] = field(default=())
    """What was noticed when the data were read."""


def read_state(folder: Path) -> RunState | None:
    """What the run in a folder says of itself; None if it is no run or can't be read."""
    try:
        values = json.loads((folder / STATE).read_text(encoding="utf-8"))
        known = {field.name for field in fields(RunState)}
        state = RunState(**{key: value for key, value in values.items() if key in known})
    except (OSError, ValueError, TypeError, AttributeError):
        return None
    if not isinstance(state.files, dict) or not isinstance(state.conditions, dict):
        return None
    if state.state == "running" and not is_locked(folder / LOCK):
        return replace(state, state="interrupted")
    return state


def write_state(folder: Path, state: RunState) -> None:
    """Write `run.json`, whole or not at all.

    Raises:
        OutputError: it can't be written.
    """
    text = json.dumps(asdict(replace(state, updated=now())), indent=1, ensure_ascii=True)
    write_text(folder / STATE, text + "\n")


@final
class OpenRun:
    """A run that this process has in hand."""

    def __init__(self, folder: Path, state: RunState) -> None:
        self.folder = folder
        self.state = state

    def keep(self, name: str, text: str) -> None:
        """Write a file that the run goes by, and note its content: who goes on with the run refuses another.

        Raises:
            OutputError: it can't be written.
        """
        path = self.folder / name
        others = {other: digest for other, digest in self.state.files.items() if other != name}
        if name in self.state.files and path.is_file():
            if path.read_bytes() == text.encode("utf-8", "surrogateescape"):
                return
            self._change(files=others)  # killed between the two, it is not refused
        write_text(path, text)
        self._change(files={**others, name: hash_file(path)})

    def finish(self, result: Mapping[str, float | None]) -> None:
        """Everything is done.

        Args:
            result: "accuracy" or "mean_average_precision" on the test images.
        """
        self._change(state="finished", **result)

    def interrupt(self) -> None:
        """A stop was requested, and everything is kept."""
        self._change(state="interrupted")

    def fail(self, error: str) -> None:
        """It can't go on; a full disk may not even let that be written."""
        with suppress(EyebrightError):
            self._change(state="failed", error=error)

    def _change(self, **values: Any) -> None:
        self.state = replace(self.state, **values)
        write_state(self.folder, self.state)


@contextmanager
def open_run(folder: Path, state: RunState) -> Iterator[OpenRun]:
    """Hold a run's lock, and have `run.json` say how the block ended.

    Raises:
        CheckpointError: another process has the run in hand, or has just finished it.
        OutputError: `run.json` can't be written.
    """
    with _lock(folder):
        found = read_state(folder)
        if found is not None and found.state == "finished":
            raise CheckpointError(f"{printable(str(folder))} was finished meanwhile; there is nothing to go on with")
        run = OpenRun(folder, replace(state, state="running", error=None))
        write_state(folder, run.state)
        try:
            yield run
        except KeyboardInterrupt:
            run.interrupt()
            _forget_if_empty(run)
            raise
        except EyebrightError as error:
            run.fail(str(error))
            _forget_if_empty(run)
            raise
        except BaseException as error:
            run.fail(f"{type(error).__name__}: {error}")
            raise


def verify_sealed(folder: Path, state: RunState) -> None:
    """Check that what a run goes by is as it was.

    Raises:
        CheckpointError: one is gone or was changed, by name.
    """
    for name, digest in state.files.items():
        try:
            unchanged = hash_file(folder / name) == digest
        except OSError:
            unchanged = False
        if not unchanged:
            raise CheckpointError(
                f"{printable(str(folder / name))} was changed since training began, which could not end as it would "
                "have; put it back, or start a new run"
            )


def clear_finished(folder: Path) -> None:
    """Remove the checkpoints and the lock of a finished run whose process was killed before it could."""
    if not any((folder / name).exists() for name in (CHECKPOINTS, LOCK)):
        return
    with suppress(CheckpointError, OSError), _lock(folder):  # else another is at it, or nothing may be changed here
        shutil.rmtree(folder / CHECKPOINTS, ignore_errors=True)


def _forget_if_empty(run: OpenRun) -> None:
    """Leave no folder of a run that came to an end before it had anything to keep."""
    if run.state.starts > 1 or (run.folder / CHECKPOINTS).exists() or (run.folder / BUNDLE).exists():
        return
    for name in (STATE, SAMPLES, DECISIONS, SETTINGS, HISTORY, MLFLOW):
        with suppress(OSError):
            (run.folder / name).unlink(missing_ok=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """The run's lock, held while the block runs or until the process ends."""
    with ExitStack() as held:
        try:
            held.enter_context(locked(folder / LOCK, wait=False))
        except BlockingIOError as error:
            raise CheckpointError(
                f"another process is training in {printable(str(folder))} right now; wait for it, or stop it first"
            ) from error
        except OSError as error:
            raise OutputError(f"{printable(str(folder))} can't be written into: {error.strerror}") from error
        yield


def find_state(folders: Iterator[Path], wanted: Callable[[RunState], bool]) -> Path | None:
    """The first of some folders that holds a run as it is wanted."""
    for folder in folders:
        state = read_state(folder)
        if state is not None and wanted(state):
            return folder
    return None
