"""What a job is given: the forms that data may have, a short name for them, and a look at one image. No torch here."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from eyebright.data.decode import decode, decode_for_show
from eyebright.data.samples import SampleTable
from eyebright.errors import DataError, ImageError, printable

Data = str | os.PathLike[str] | SampleTable | tuple[Any, ...]


def describe_data(data: Data) -> str:
    """A short name for data: the last part of its path."""
    if isinstance(data, str | os.PathLike):
        return Path(os.fsdecode(data)).resolve().stem or "data"
    return "arrays" if isinstance(data, tuple) else "table"


def require_unmoved(data: Data, again: str) -> None:
    """That the images of a job that is gone on with are where they were.

    Args:
        data: where they were; what is no path is always there.
        again: what to type if they were moved, as "eyebright train NEW --resume RUN".

    Raises:
        DataError: they are not.
    """
    if isinstance(data, str | os.PathLike) and not os.path.exists(data):
        raise DataError(f"{printable(os.fsdecode(data))}: does not exist any more; if it was moved: {again}")


def image_reader(table: SampleTable, *, short_side: int = 0) -> Callable[[str], NDArray[np.uint8] | None]:
    """What reads a table's images for a page: a name -> (H, W, 3), or None where it can't be shown.

    Args:
        table: of the images.
        short_side: how many pixels of the shorter side are needed, see `decode`; 0 for all.
    """

    def read(name: str) -> NDArray[np.uint8] | None:
        try:
            content = table.store.read(name)
            return (
                decode(content, name, short_side=short_side)
                if isinstance(content, bytes)
                else decode_for_show(content, name)
            )
        except ImageError:
            return None

    return read
