"""What `eyebright cache` shows and clears: decoded images that are kept for the next run."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from eyebright.data.disk_cache import FOLDER, CachedArray, SquareCache
from eyebright.models.download import cache_folder


@dataclass(frozen=True, kw_only=True)
class CacheContents:
    """The cache as it is now."""

    folder: Path
    limit_bytes: int
    arrays: tuple[CachedArray, ...]
    """The last used first."""

    @property
    def size_bytes(self) -> int:
        """What all arrays take together."""
        return sum(array.size_bytes for array in self.arrays)


def list_cache() -> CacheContents:
    """The decoded images that are kept. Downloaded weights lie beside them and are not listed.

    Raises:
        SettingsError: $EYEBRIGHT_CACHE_GB is no number.
    """
    cache = _cache()
    return CacheContents(folder=cache.folder, limit_bytes=cache.limit_bytes(), arrays=cache.list_arrays())


def clear_cache() -> tuple[CachedArray, ...]:
    """Remove the decoded images, but for what another process is just building; returns what was removed."""
    return _cache().clear()


def _cache() -> SquareCache:
    return SquareCache(cache_folder() / FOLDER)
