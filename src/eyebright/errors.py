"""Everything that can go wrong for a user, in one tree.

    EyebrightError                 exit code 1
    |-- SettingsError              2   a setting or an argument that can't be used
    |   `-- MissingExtraError      2   a part that is not installed, and what to install
    |-- DataError                  4   nothing to learn from, or a table that makes no sense
    |   `-- ImageError             4   one image that can't be read
    |-- ModelError                 5   an unknown network, or one that can't be built
    |   |-- ExportError            5   an exported network that answers differently
    |   `-- WeightsError           5   weights that are absent, altered, or of another network
    |       `-- DownloadError      5   weights that could not be fetched
    |-- BundleError                6   a saved classifier that is damaged, altered or too new
    |   `-- CheckpointError        6   a saved training that is damaged, altered, too new or not there
    `-- OutputError                7   a result that can't be written

Exit code 3 is no exception: a command that did its work, but some images could not be read.
Exit code 130: interrupted by the user.
Each message says what is wrong, with which file or value, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class EyebrightError(Exception):
    """The user's mistake, or the world's; never a bug of ours."""

    exit_code = 1


class SettingsError(EyebrightError):
    """A setting, flag or argument has no meaning or no such value."""

    exit_code = 2


class MissingExtraError(SettingsError):
    """A command needs a package that the installed extras do not bring.

    Args:
        what: what was asked for, such as "training".
        extra: the extra that brings it, such as "train".
        reason: why what is installed does not serve, if it is; such as two versions that do not fit.
    """

    def __init__(self, what: str, extra: str, reason: str = "") -> None:
        lacks = (
            f"needs other packages than are installed ({reason})" if reason else "needs packages that are not installed"
        )
        super().__init__(f"{what} {lacks}; install them with: pip install 'eyebright[{extra}]'")


class DataError(EyebrightError):
    """The images, labels or tables given can't be used."""

    exit_code = 4


class ImageError(DataError):
    """One image can't be read.

    Args:
        name: the image's path, or where in an archive or array it stands.
        reason: what is wrong with it, as a short phrase.
    """

    def __init__(self, name: str, reason: str) -> None:
        super().__init__(f"{printable(name)}: {reason}")
        self.name = name
        self.reason = reason

    def __reduce__(self) -> tuple[type[ImageError], tuple[str, str]]:
        return type(self), (self.name, self.reason)


class ModelError(EyebrightError):
    """A network that does not exist or can't be built as asked."""

    exit_code = 5


class ExportError(ModelError):
    """An exported network whose answers are not those of the network, or one that can't be exported as asked."""


class WeightsError(ModelError):
    """Weights that are absent, altered, in the wrong layout, or of another network."""


class DownloadError(WeightsError):
    """Weights that could not be fetched."""


class BundleError(EyebrightError):
    """A bundle that is damaged, altered, incomplete, or written by a newer Eyebright."""

    exit_code = 6


class CheckpointError(BundleError):
    """A training that can't be gone on with: its checkpoints are absent or damaged, or it is not at rest."""


class OutputError(EyebrightError):
    """A folder or file that can't be written: it exists, the disk is full, no permission."""

    exit_code = 7


def nearest(name: str, choices: Iterable[str]) -> str:
    """A phrase naming the choice nearest to a misspelled name, or all of them: `did you mean "vgg16"?`."""
    known = sorted(choices)
    close = difflib.get_close_matches(name.lower(), known, n=1, cutoff=0.5)
    if close:
        return f'did you mean "{close[0]}"?'
    return "choose one of " + ", ".join(known)


def printable(name: str) -> str:
    """A file's name on one line, safe for a terminal: control characters are shown escaped.

    Bytes that are no valid UTF-8 arrive from the file system as lone surrogates; they are escaped too.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in name)
