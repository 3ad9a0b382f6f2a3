"""Checkpoints: everything that training needs to go on as if it had never stopped.

    checkpoints/
      00000017/     manifest.json (where training is, and the sha256 of every file), one .safetensors for each part
      00000018/

Each is a new folder, written under a name that begins with a dot and renamed once it is on the disk; older ones are
removed only after the new one was read back and found whole. A folder left half written by a killed process never has
a plain name, and is removed by the next start.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol, final

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from eyebright.bundle.sealed import MANIFEST, hash_file, new_folder, read_sealed, show, verify_files, write_sealed
from eyebright.distributed.ranks import Ranks
from eyebright.errors import BundleError, CheckpointError, EyebrightError, OutputError
from eyebright.progress import Progress

FORMAT = "eyebright-checkpoint"
FORMAT_VERSION = 2
"""2: of 2026-11-25, which epoch is kept; 1 can't be gone on with."""
KEPT = 2
"""How many checkpoints stay, beside the last milestone."""
_NUMBER = re.compile("[0-9]{8,}")
SHARE_OF_TIME = 0.03
"""Saving more often than this share of the time allows is put off, unless somebody asked to stop."""
_SCRATCH = ".new-"

Parts = Mapping[str, Mapping[str, Tensor]]
"""Name of a part, such as "weights" -> its tensors by name."""


class NotFiniteError(EyebrightError):
    """What should be saved holds values that are no numbers."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """Where training is."""

    phase: str
    """"embedding", "head", "epochs" or "done"."""
    state: Mapping[str, Any]
    """Plain JSON: counters and results so far."""
    parts: Parts = field(default_factory=dict)


class Keeper(Protocol):
    """Where snapshots go."""

    @property
    def due(self) -> bool:
        """Whether it is time to save again."""
        ...

    def save(self, snapshot: Snapshot, *, milestone: bool = False) -> None:
        """Keep it.

        Args:
            snapshot: its tensors may change afterwards.
            milestone: to be come back to if what follows goes wrong; the last one is always kept.

        Raises:
            NotFiniteError: a tensor holds infinities or NaN; nothing is saved.
            OutputError: it can't be written; what was saved before stays.
        """
        ...

    def load(self, *, milestone: bool = False) -> Snapshot | None:
        """The newest snapshot, or the newest milestone; None if there is none."""
        ...


@final
class Checkpoints:
    """Snapshots in a folder.

    Args:
        folder: "checkpoints" in a run's folder; made when the first is saved.
        interval: how many seconds pass at least between two that nobody asked for.
        progress: told what could not be read.
    """

    def __init__(self, folder: Path, *, interval: float, progress: Progress) -> None:
        self._folder = folder
        self._interval = interval
        self._progress = progress
        self._saved = time.monotonic()
        self._took = 0.0
        self._damaged: set[int] = set()
        if folder.is_dir():
            for path in folder.glob(".*"):
                shutil.rmtree(path, ignore_errors=True)

    @property
    def due(self) -> bool:
        return time.monotonic() - self._saved >= max(self._interval, self._took * (1 / SHARE_OF_TIME - 1))

    def save(self, snapshot: Snapshot, *, milestone: bool = False) -> None:
        began = time.monotonic()
        for part, tensors in snapshot.parts.items():
            for name, tensor in tensors.items():
                if tensor.is_floating_point() and not torch.isfinite(tensor).all():
                    raise NotFiniteError(f"{part} {name} holds values that are no numbers")
        numbers = self._numbers()
        path = self._folder / f"{(numbers[-1] if numbers else 0) + 1:08}"
        try:
            self._folder.mkdir(exist_ok=True)
            with new_folder(path, prefix=_SCRATCH) as scratch:
                files: dict[str, str] = {}
                for part, tensors in snapshot.parts.items():
                    file = scratch / f"{part}.safetensors"
                    plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
                    safetensors.torch.save_file(plain, file)
                    files[file.name] = hash_file(file)
                values = {
                    "format": FORMAT,
                    "format_version": FORMAT_VERSION,
                    "phase": snapshot.phase,
                    "milestone": milestone,
                    "state": dict(snapshot.state),
                    "files": files,
                }
                write_sealed(scratch, values)
            self._verify(path)
        except (OSError, safetensors.SafetensorError, BundleError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise OutputError(
                f"a checkpoint can't be written to {show(path)}: {reason}; free some room, then go on "
                f"{'from the last one' if numbers else 'from the beginning'} with: eyebright train --resume "
                f"{show(self._folder.parent)}"
            ) from error
        self._prune()
        self._saved = time.monotonic()
        self._took = self._saved - began

    def load(self, *, milestone: bool = False) -> Snapshot | None:
        """The newest one that is whole; a damaged one is named and passed over.

        Raises:
            CheckpointError: there are some, and all are damaged; or they come from another version of Eyebright.
        """
        damaged: list[str] = []
        for number in reversed(self._numbers()):
            path = self._folder / f"{number:08}"
            try:
                values = self._verify(path)
                if milestone and not values["milestone"]:
                    continue
                parts = {Path(name).stem: safetensors.torch.load_file(path / name) for name in values["files"]}
                return Snapshot(phase=values["phase"], state=values["state"], parts=parts)
            except (BundleError, OSError, safetensors.SafetensorError) as error:
                damaged.append(str(error))
                self._damaged.add(number)
                self._progress.warn(f"a checkpoint is damaged and is passed over: {error}")
        if damaged:
            raise CheckpointError(f"no checkpoint is whole: {damaged[0]}; or start anew, with another --out")
        return None

    def clear(self) -> None:
        """Remove all of them, once they are of no use any more."""
        shutil.rmtree(self._folder, ignore_errors=True)

    def _numbers(self) -> list[int]:
        """The checkpoints there are, by number, oldest first."""
        if not self._folder.is_dir():
            return []
        return sorted(int(path.name) for path in self._folder.iterdir() if _NUMBER.fullmatch(path.name))

    def _verify(self, path: Path) -> dict[str, Any]:
        """A checkpoint's manifest, if all of it is whole.

        Raises:
            BundleError: it is damaged.
            CheckpointError: it comes from another version of Eyebright.
        """
        values, unaltered = read_sealed(path)
        if not unaltered or values.get("format") != FORMAT:
            raise BundleError(f"{show(path / MANIFEST)} was altered or damaged since it was written")
        if values["format_version"] > FORMAT_VERSION:
            raise CheckpointError(
                f"{show(path)} was written by a newer Eyebright (checkpoint format {values['format_version']}; this "
                f"one reads {FORMAT_VERSION}); update with: pip install --upgrade eyebright"
            )
        if values["format_version"] < FORMAT_VERSION:
            raise CheckpointError(
                f"{show(path)} was written by an older Eyebright, which chose among the epochs otherwise (checkpoint "
                f"format {values['format_version']}; this one reads {FORMAT_VERSION}); start anew, with another --out"
            )
        verify_files(path, values["files"])
        return values

    def _prune(self) -> None:
        """Remove what is neither among the newest nor the last milestone; a killed removal leaves no plain name."""
        numbers = self._numbers()
        whole = [number for number in numbers if number not in self._damaged]
        milestones = [number for number in whole if self._is_milestone(number)]
        if len(whole) < KEPT:
            return
        for number in numbers:
            if number in whole[-KEPT:] or number in milestones[-1:]:
                continue
            path = self._folder / f"{number:08}"
            hidden = self._folder / f".old-{number:08}"
            try:
                path.rename(hidden)
            except OSError:
                continue  # it stays, and the next one tries again
            shutil.rmtree(hidden, ignore_errors=True)

    def _is_milestone(self, number: int) -> bool:
        try:
            return bool(read_sealed(self._folder / f"{number:08}")[0].get("milestone"))
        except BundleError:
            return False


@final
class InMemory:
    """Snapshots that live no longer than the process: for training that has no folder."""

    def __init__(self) -> None:
        self._newest: Snapshot | None = None
        self._milestone: Snapshot | None = None

    due = False

    def save(self, snapshot: Snapshot, *, milestone: bool = False) -> None:
        parts = {part: {n: t.detach().clone() for n, t in tensors.items()} for part, tensors in snapshot.parts.items()}
        self._newest = Snapshot(phase=snapshot.phase, state=dict(snapshot.state), parts=parts)
        if milestone:
            self._milestone = self._newest

    def load(self, *, milestone: bool = False) -> Snapshot | None:
        return self._milestone if milestone else self._newest


def share_snapshot(ranks: Ranks, snapshot: Snapshot | None) -> Snapshot | None:
    """Rank 0's snapshot on every rank; the others give None."""
    if ranks.size == 1:
        return snapshot
    about = None
    if ranks.leads:
        plain = None if snapshot is None else [snapshot.phase, snapshot.state, sorted(snapshot.parts)]
        about = json.dumps(plain).encode()
    found = json.loads(ranks.share(about))
    if found is None:
        return None
    phase, state, names = found
    parts = {}
    for name in names:
        content = None if snapshot is None else safetensors.torch.save(dict(snapshot.parts[name]))
        parts[name] = safetensors.torch.load(ranks.share(content))
    return Snapshot(phase=phase, state=state, parts=parts)
