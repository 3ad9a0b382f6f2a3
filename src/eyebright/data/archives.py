"""A zip of class folders, read in place: nothing is ever written to disk, so no entry's path can lead anywhere."""

from __future__ import annotations

import threading
import zipfile
from typing import final

from eyebright.data.folders import counted, is_hidden, is_image_name, listed, table_of_class_folders
from eyebright.data.samples import SampleTable
from eyebright.errors import DataError, ImageError, printable

MAX_ENTRY_BYTES = 200_000_000
_MADE_ON_DOS = 0
_ENCRYPTED = 0x1


@final
class ZipStore:
    """Image files inside a zip; names are their paths in it with forward slashes.

    Args:
        path: the zip.

    Raises:
        DataError: it is absent, damaged or no zip, or its entries need a password.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        self.unsafe: list[str] = []
        """Entries whose paths climb out ("../x"); they are left out."""
        self._lock = threading.Lock()  # one file position for all threads
        try:
            self._file = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise DataError(f"{printable(path)}: does not exist") from None
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise DataError(f"{printable(path)}: is damaged or no zip file ({error})") from None
        except OSError as error:
            raise DataError(f"{printable(path)}: can't be opened ({error.strerror or error})") from None
        self._entries: dict[str, zipfile.ZipInfo] = {}
        for info in self._file.infolist():
            if info.is_dir():
                continue
            raw = info.filename.replace("\\", "/") if info.create_system == _MADE_ON_DOS else info.filename
            parts = [part for part in raw.split("/") if part not in ("", ".")]
            if ".." in parts:
                self.unsafe.append(raw)
            elif parts and not any(is_hidden(part) for part in parts):
                self._entries["/".join(parts)] = info
        locked = [name for name, info in self._entries.items() if info.flag_bits & _ENCRYPTED]
        if locked:
            raise DataError(
                f"{printable(path)}: {counted(len(locked), 'entry is', 'entries are')} encrypted ({listed(locked)}); "
                "unpack it with its password and give the folder"
            )

    @property
    def names(self) -> list[str]:
        """Every visible file, sorted."""
        return sorted(self._entries)

    def read(self, name: str) -> bytes:
        info = self._entries.get(name)
        if info is None:
            raise ImageError(self.locate(name), "is not in the archive")
        if info.file_size > MAX_ENTRY_BYTES:
            raise ImageError(
                self.locate(name),
                f"unpacks to {info.file_size / 1e6:,.0f} MB; the limit is {MAX_ENTRY_BYTES / 1e6:.0f}",
            )
        try:
            with self._lock:
                return self._file.read(info)
        except NotImplementedError:
            raise ImageError(self.locate(name), "is packed by a method that can't be read; zip it again") from None
        except Exception as error:  # BadZipFile, EOFError, OSError, and what zlib, bz2 and lzma raise
            raise ImageError(self.locate(name), f"is damaged in the archive ({printable(str(error))[:120]})") from None

    def locate(self, name: str) -> str:
        return f"{self.path}/{name}"


def read_zip(path: str, *, min_classes: int) -> SampleTable:
    """The table of a zip of class folders, by the rules in `folders`.

    Raises:
        DataError: what `ZipStore` and `read_folder` raise.
    """
    store = ZipStore(path)
    images = [name for name in store.names if is_image_name(name)]
    others = [name for name in store.names if not is_image_name(name)]
    if store.unsafe:
        others = [*others, *store.unsafe]
    return table_of_class_folders(store, images, others, where=path, min_classes=min_classes, is_archive=True)
