"""The parts of a long job, each written whole or not at all, so that a killed job goes on where it was. No torch here.

While a job runs, its finished parts lie in a hidden folder beside the file that they are to make; in the end they are
put together, and the folder is gone. Which images are whose is decided by their order alone: part n holds the answers
to images n x `size` to (n + 1) x `size`, so none is answered twice and none is left out.
"""

from __future__ import annotations

import json
import re
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import IO, final

from eyebright.errors import SettingsError, printable
from eyebright.writing import whole, writing

_JOB = "job.json"
_PART = re.compile(r"(\d{7})-(\d+)-([0-9a-f]*)\.part")


@final
class Shards:
    """The parts of one job.

    Args:
        target: the file that they are to make.
        job: what the job is: the classifier, the images, how many a part; plain strings and numbers.
        resume: go on with the parts that are there; otherwise they are thrown away.
        stamp: what tells the content of a part's images from another, by the part's number; hexadecimal digits. To be
            gone on with are the parts before the first whose images have changed.

    Raises:
        SettingsError: to be resumed, but the parts that are there are of another job, or there are none.
        OutputError: they can't be written.
    """

    def __init__(
        self,
        target: Path,
        job: Mapping[str, str | int | float],
        *,
        resume: bool,
        stamp: Callable[[int], str] = lambda _: "",
    ) -> None:
        self._target = target
        self.folder = target.with_name(f".{target.name}.parts")
        self._parts: list[Path] = []
        self.errors = 0
        """How many images of the finished parts could not be read."""
        if resume:
            self._find(job, stamp)
            return
        with writing(target):
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            (self.folder / _JOB).write_text(json.dumps(dict(job), indent=1) + "\n", encoding="utf-8")

    def __len__(self) -> int:
        """How many parts are finished."""
        return len(self._parts)

    def _find(self, job: Mapping[str, str | int | float], stamp: Callable[[int], str]) -> None:
        shown = printable(str(self._target))
        if not self.folder.is_dir():
            raise SettingsError(f"there is nothing of {shown} to go on with; leave --resume out")
        try:
            before = json.loads((self.folder / _JOB).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            before = {}
        changed = [key for key in job if before.get(key) != job[key]]
        if changed:
            raise SettingsError(
                f"what there is of {shown} is of another job ({', '.join(changed)} changed); leave --resume out to "
                "begin anew"
            )
        found = {path.name: path for path in sorted(self.folder.iterdir())}
        for name, path in found.items():
            match = _PART.fullmatch(name)
            if match and int(match[1]) == len(self._parts) and match[3] == stamp(len(self._parts)):
                self._parts.append(path)
                self.errors += int(match[2])

    def add(self, content: bytes, *, errors: int, stamp: str = "") -> None:
        """The next part; after this it is on the disk.

        Args:
            content: of the part.
            errors: how many of its images could not be read.
            stamp: of its images, before they were read.

        Raises:
            OutputError: it can't be written; those before it stay.
        """
        path = self.folder / f"{len(self._parts):07}-{errors}-{stamp}.part"
        for older in self.folder.glob(f"{len(self._parts):07}-*.part"):  # of images that have changed since
            older.unlink()
        with writing(self._target), whole(path) as file:
            file.write(content)
        self._parts.append(path)
        self.errors += errors

    def join(self, put_together: Callable[[IO[bytes], Iterator[Path]], None]) -> None:
        """Make the file of all parts, whole or not at all, and throw them away.

        Args:
            put_together: writes the content of the parts, given in order, into the open file.

        Raises:
            OutputError: it can't be written; the parts stay.
        """
        with writing(self._target), whole(self._target) as file:
            put_together(file, iter(self._parts))
        self.discard()

    def discard(self) -> None:
        """Throw the parts away."""
        shutil.rmtree(self.folder, ignore_errors=True)
