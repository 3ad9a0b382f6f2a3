"""How files are written: whole or not at all, and never over one that the user has. No torch here."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from eyebright.errors import OutputError, printable

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTSUP, errno.EMLINK, errno.EINVAL)
"""What systems say where a folder can't hold links."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turns the system's errors while `path` is written into one that names it.

    Raises:
        OutputError: disk full, no permission, the folder is gone.
    """
    try:
        yield
    except OSError as error:
        raise OutputError(
            f"{printable(str(path))} can't be written: {error.strerror or error}; free some room or change --out"
        ) from error


@contextmanager
def whole(path: Path) -> Iterator[IO[bytes]]:
    """A file to write into that takes its name, and is on the disk, when the block ends well; otherwise it is gone.

    Raises:
        OSError: the disk is full or the folder can't be written; what was there under that name still is.
    """
    scratch = path.with_name(f".{path.name}.new")
    try:
        with scratch.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(scratch, path)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):
            scratch.unlink(missing_ok=True)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk before going on, or a power cut could take them back.

    Windows can't and needn't.
    """
    if os.name == "nt":
        return
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_text(path: Path, text: str) -> None:
    """Write a file whole or not at all; line ends and bytes that are no text stay as they are.

    Raises:
        OutputError: it can't be written.
    """
    with writing(path), whole(path) as file:
        file.write(text.encode("utf-8", errors="surrogateescape"))


def refuse_existing(path: Path) -> None:
    """Make sure that a file to be written is not there yet.

    Raises:
        OutputError: it is.
    """
    if path.exists() or path.is_symlink():
        raise OutputError(
            f"{printable(str(path))} exists already and nothing is ever overwritten; "
            "give another --out, or remove it first"
        )


def check_new(path: Path, endings: Sequence[str], what: str) -> str:
    """Make sure that a file can be written under this name before there is anything to write.

    Args:
        path: the file.
        endings: those that can be written, such as (".html", ".png").
        what: what is written, for the message: "drawings are written".

    Returns:
        Its ending in small letters.

    Raises:
        OutputError: it ends in none of them, or is there already.
    """
    suffix = path.suffix.lower()
    if suffix not in endings:
        *others, last = endings
        listed = (
            f"{', '.join(others)} or {last}; end the name in one of them" if others else f"{last}; end the name in it"
        )
        raise OutputError(f"{printable(str(path))}: {what} as {listed}")
    refuse_existing(path)
    return suffix


def write_new(path: Path, content: bytes) -> None:
    """Write a file that was not there, whole or not at all, even if the process is killed on the way.

    Raises:
        OutputError: it is there, or can't be written.
    """
    scratch = path.with_name(f".{path.name}.new")
    refuse_existing(path)
    with writing(path):
        try:
            with scratch.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            _name_new(scratch, path)
            sync_folder(path.parent)
        except FileExistsError:
            refuse_existing(path)
            raise
        finally:
            with suppress(OSError):
                scratch.unlink(missing_ok=True)


def _name_new(scratch: Path, path: Path) -> None:
    """Give a finished file its name, unless the name is taken: by a link, which never replaces anything.

    Raises:
        FileExistsError: it is taken.
    """
    try:
        os.link(scratch, path)
    except FileExistsError:
        raise
    except OSError as error:
        if error.errno not in _NO_LINKS:
            raise
        # Some memory cards and network folders have no links: a name taken first by an empty file, then replaced.
        path.open("xb").close()
        try:
            os.replace(scratch, path)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
