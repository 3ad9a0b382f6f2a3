"""What `eyebright cache` shows and clears: decoded images, and what a look at them found."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eyebright.data.kept_files import FOLDER, KeptFile, KeptFiles
from eyebright.models.download import cache_folder


@dataclass(frozen=True, kw_only=True)
class CacheContents:
    """The cache as it is now."""

    folder: Path
    limit_bytes: int
    files: tuple[KeptFile, ...]
    """The last used first."""

    @property
    def size_bytes(self) -> int:
        """What all files take together."""
        return sum(file.size_bytes for file in self.files)


def list_cache() -> CacheContents:
    """What is kept of images. Downloaded weights lie beside them and are not listed.

    Raises:
        SettingsError: $EYEBRIGHT_CACHE_GB is no number.
    """
    kept = _kept()
    return CacheContents(folder=kept.folder, limit_bytes=kept.limit_bytes(), files=kept.list_files())


def clear_cache() -> tuple[KeptFile, ...]:
    """Remove what is kept of images, but for what another process is just building; returns what was removed."""
    return _kept().clear()


def _kept() -> KeptFiles:
    return KeptFiles(cache_folder() / FOLDER)
