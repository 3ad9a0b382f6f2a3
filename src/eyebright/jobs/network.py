"""Which network a command means by RUN|MODEL: the folder of a run or bundle, or one of the catalogue."""

from __future__ import annotations

import os
from pathlib import Path

from eyebright.errors import ModelError, nearest, printable
from eyebright.models.catalog import MODELS, ModelEntry, find_model
from eyebright.models.published import list_weights


def find_network(network: str | os.PathLike[str]) -> ModelEntry | None:
    """The network of the catalogue that is meant, or None if a folder is.

    A folder that only happens to be called like a network is not meant: with a ./ before it it would be.

    Raises:
        ModelError: it is neither; the nearest network is named.
    """
    text = os.fspath(network)
    try:
        return find_model(text)
    except ModelError:
        if "/" in text or os.sep in text or Path(text).exists():
            return None
    raise ModelError(f'there is no network and no folder named "{printable(text)}"; {nearest(text, MODELS)}')


def list_starters() -> tuple[str, ...]:
    """The networks whose weights come along, by name."""
    return tuple(name for name in MODELS if any(weights.url is None for weights in list_weights(name)))
