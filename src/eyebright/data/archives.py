"""A zip of class folders, read in place: nothing is ever written to disk, so no entry's path can lead anywhere.

What holds for every archive stands here too: which entries are taken, and how much they may unpack to.
"""

from __future__ import annotations

import os
import re
import stat
import struct
import threading
import zipfile
from array import array
from dataclasses import dataclass, replace
from typing import final

from eyebright.data.folders import counted, is_hidden, is_image_name, listed, table_of_class_folders
from eyebright.data.samples import ImageStore, SampleTable
from eyebright.errors import DataError, ImageError, printable

_MADE_ON_DOS = 0
_ENCRYPTED = 0x1
_DRIVE = re.compile(r"[A-Za-z]:[/\\]")
# Of these zipfile unpacks no more than it is asked for. Of bzip2 and LZMA it unpacks all that it has read, and 4 kB of
# bzip2 may be 4 GB; images are not packed so.
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_NUMBERS = 5
_END = b"PK\x05\x06"
_END_BYTES, _COMMENT_BYTES = 22, 0xFFFF
_LOCATOR_64 = b"PK\x06\x07"
_LOCATOR_64_BYTES, _END_64_BYTES = 20, 56
_CENTRAL = b"PK\x01\x02"


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much an archive may hold; beyond, it is refused before it is unpacked, or while it is."""

    entries: int = 2_000_000
    """Files and folders together."""
    entry_bytes: int = 200_000_000
    """Of one image."""
    total_bytes: int = 500_000_000_000
    """Of all entries."""
    ratio: int = 200
    """Unpacked to packed bytes. JPEGs have about 1, bombs 1,000 and more."""
    ratio_counts_from: int = 20_000_000
    """Unpacked bytes below which the ratio does not matter: a small plain drawing packs well too."""

    def too_dense(self, unpacked: int, packed: int) -> bool:
        return unpacked > self.ratio_counts_from and unpacked > self.ratio * packed

    def check_total(self, unpacked: int, packed: int, path: str) -> None:
        """Refuse an archive that unpacks to too much.

        Raises:
            DataError: in all, or for its size.
        """
        if unpacked > self.total_bytes:
            raise DataError(
                f"{printable(path)}: unpacks to more than {self.total_bytes / 1e9:,.0f} GB; unpack it yourself if you "
                "trust it, and give the folder"
            )
        if self.too_dense(unpacked, packed):
            raise DataError(
                f"{printable(path)}: unpacks to more than {self.ratio} times its size, as archives do that are made to "
                "fill a disk; unpack it yourself if you trust it, and give the folder"
            )

    def check_entries(self, count: int, path: str) -> None:
        """Refuse an archive of too many entries.

        Raises:
            DataError: there are more than the limit.
        """
        if count > self.entries:
            raise DataError(
                f"{printable(path)}: has more than {self.entries:,} entries; divide it, or unpack it and give the "
                "folder"
            )

    def check_entry(self, unpacked: int, name: str) -> None:
        """Refuse an entry that is too large to be an image.

        Raises:
            ImageError: it is.
        """
        if unpacked > self.entry_bytes:
            raise ImageError(
                name, f"unpacks to {unpacked / 1e6:,.0f} MB; the limit is {self.entry_bytes / 1e6:,.0f} MB"
            )


LIMITS = Limits()


def entry_name(raw: str) -> str | None:
    """An entry's path with forward slashes; "" for what people do not see; None where it leads out of the archive."""
    if raw.startswith(("/", "\\")) or "\0" in raw or _DRIVE.match(raw) or ".." in re.split(r"[/\\]", raw):
        return None
    parts = [part for part in raw.split("/") if part not in ("", ".")]
    return "" if any(is_hidden(part) for part in parts) else "/".join(parts)


@final
class ZipStore:
    """Image files inside a zip; names are their paths in it with forward slashes.

    Args:
        path: the zip.
        limits: how much it may hold.

    Raises:
        DataError: it is absent, damaged or no zip, it unpacks to too much, or its entries need a password.
    """

    def __init__(self, path: str, *, limits: Limits = LIMITS) -> None:
        self.path = path
        self.limits = limits
        self.unsafe: list[str] = []
        """Entries that are links or devices, or whose paths lead out ("../x", "/x"); they are left out."""
        self._lock = threading.Lock()  # one file position for all threads
        try:
            limits.check_entries(_count_entries(path), path)
            self._file = zipfile.ZipFile(path)
        except FileNotFoundError:
            raise DataError(f"{printable(path)}: does not exist") from None
        except (zipfile.BadZipFile, NotImplementedError, ValueError, EOFError) as error:
            raise DataError(f"{printable(path)}: is damaged or no zip file ({error})") from None
        except OSError as error:
            raise DataError(f"{printable(path)}: can't be opened ({error.strerror or error})") from None
        self._rows: dict[str, int] = {}
        self._entries = array("Q")
        """Five numbers for each row, see `_numbers`: a million of zipfile's own objects take 700 MB."""
        self._raw: dict[str, str] = {}
        """Names -> how they stand in the zip, where that is different."""
        locked: list[str] = []
        total = 0
        for info in self._file.infolist():
            if info.is_dir():
                continue
            total += info.file_size
            raw = info.filename.replace("\\", "/") if info.create_system == _MADE_ON_DOS else info.filename
            kind = stat.S_IFMT(info.external_attr >> 16)  # 0 where the packer does not say
            name = entry_name(raw) if kind in (0, stat.S_IFREG) else None
            if name is None:
                self.unsafe.append(raw)
            elif name:
                # Of two entries with one name the later counts, as when unpacking.
                self._rows[name] = len(self._entries) // _NUMBERS
                self._entries.extend(_numbers(info))
                self._raw.pop(name, None)
                if info.orig_filename != name:
                    self._raw[name] = info.orig_filename
                if info.flag_bits & _ENCRYPTED:
                    locked.append(name)
        self._file.filelist.clear()
        self._file.NameToInfo.clear()
        limits.check_total(total, os.path.getsize(path), path)
        if locked:
            raise DataError(
                f"{printable(path)}: {counted(len(locked), 'entry is', 'entries are')} encrypted ({listed(locked)}); "
                "unpack it with its password and give the folder"
            )

    @property
    def names(self) -> list[str]:
        """Every visible file, sorted."""
        return sorted(self._rows)

    def read(self, name: str) -> bytes:
        info = self._find(name)
        if info is None:
            raise ImageError(self.locate(name), "is not in the archive")
        self.limits.check_entry(info.file_size, self.locate(name))
        if self.limits.too_dense(info.file_size, info.compress_size):
            raise ImageError(self.locate(name), f"unpacks to more than {self.limits.ratio} times its size")
        if info.compress_type not in _METHODS:
            raise ImageError(self.locate(name), "is packed by a method that can't be read; zip it again, plainly")
        try:
            with self._lock, self._file.open(info) as file:
                return file.read(info.file_size)  # never "all": an entry may unpack to more than it says
        except Exception as error:  # BadZipFile, EOFError, OSError, zlib.error
            raise ImageError(self.locate(name), f"is damaged in the archive ({printable(str(error))[:120]})") from None

    def locate(self, name: str) -> str:
        return f"{self.path}/{name}"

    def _find(self, name: str) -> zipfile.ZipInfo | None:
        """What zipfile knew about an entry."""
        row = self._rows.get(name)
        if row is None:
            return None
        info = zipfile.ZipInfo(self._raw.get(name, name))
        numbers = self._entries[row * _NUMBERS : (row + 1) * _NUMBERS]
        info.header_offset, info.file_size, info.compress_size, info.CRC, packed = numbers
        info.compress_type, info.flag_bits = divmod(packed, 1 << 16)
        return info


def _numbers(info: zipfile.ZipInfo) -> tuple[int, ...]:
    """What reading an entry takes."""
    return (
        info.header_offset,
        info.file_size,
        info.compress_size,
        info.CRC,
        (info.compress_type << 16) + info.flag_bits,
    )


def read_zip(path: str, *, min_classes: int) -> SampleTable:
    """The table of a zip of class folders, by the rules in `folders`.

    Raises:
        DataError: what `ZipStore` and `read_folder` raise.
    """
    store = ZipStore(path)
    return table_of_archive(store, store.names, store.unsafe, where=path, min_classes=min_classes)


def table_of_archive(
    store: ImageStore, names: list[str], unsafe: list[str], *, where: str, min_classes: int
) -> SampleTable:
    """The table of the class folders in an archive, with a note on the entries that were not safe to take.

    Args:
        names: the files that the store can read.
        unsafe: the entries that were left out.

    Raises:
        DataError: what `read_folder` raises, or nothing is left.
    """
    if unsafe and not names:
        raise DataError(
            f"{printable(where)}: holds only {unsafe_note(unsafe)}; pack the files themselves, by relative paths"
        )
    images = [name for name in names if is_image_name(name)]
    others = [name for name in names if not is_image_name(name)]
    table = table_of_class_folders(store, images, others, where=where, min_classes=min_classes, is_archive=True)
    if not unsafe:
        return table
    return replace(table, notes=(*table.notes, f"left out: {unsafe_note(unsafe)}"))


def unsafe_note(unsafe: list[str]) -> str:
    """What to say about entries that are not taken."""
    entries = counted(
        len(unsafe),
        "entry that is a link or a device or leads out of the archive",
        "entries that are links or devices or lead out of the archive",
    )
    return f"{entries}: {listed(unsafe)}"


def _count_entries(path: str) -> int:
    """How many entries a zip's directory lists at the most, before an object is made of each; 0 for what is no zip.

    Not the number that the zip states: that may be a lie, and zipfile goes by the directory's size.
    """
    with open(path, "rb") as file:
        size = file.seek(0, os.SEEK_END)
        tail_start = max(0, size - _END_BYTES - _COMMENT_BYTES - _LOCATOR_64_BYTES - _END_64_BYTES)
        file.seek(tail_start)
        tail = file.read()
        place = tail.rfind(_END)
        if place < 0 or len(tail) < place + _END_BYTES:
            return 0
        (length,) = struct.unpack_from("<L", tail, place + 12)
        end = tail_start + place
        locator = place - _LOCATOR_64_BYTES
        if locator >= _END_64_BYTES and tail[locator : locator + 4] == _LOCATOR_64:
            end = tail_start + locator - _END_64_BYTES
            (length,) = struct.unpack_from("<Q", tail, locator - _END_64_BYTES + 40)
        file.seek(max(0, end - length))
        return file.read(min(length, end)).count(_CENTRAL)
