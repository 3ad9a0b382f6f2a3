"""Small images made on the spot; no test needs a file that is not made here."""

from __future__ import annotations

import hashlib
import io
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

Encode = Callable[..., bytes]
Dataset = Callable[..., Any]
WriteImages = Callable[[Path, Iterable[str]], None]
HashTree = Callable[[Path], dict[str, str]]


@pytest.fixture
def encode() -> Encode:
    """(mode, format) -> the bytes of a 24 x 16 image with a gradient; the seed varies its contents."""

    def encode_image(mode: str = "RGB", kind: str = "PNG", *, seed: int = 0, size: tuple[int, int] = (24, 16)) -> bytes:
        width, height = size
        y, x = np.mgrid[:height, :width]
        pixels = np.stack([x * 7 + seed * 31, y * 11, x + y], axis=2).astype(np.uint8)
        file = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(file, kind)
        return file.getvalue()

    return encode_image


@pytest.fixture
def write_images(encode: Encode) -> WriteImages:
    """Write a different PNG to each of these paths below a folder."""

    def write(root: Path, names: Iterable[str]) -> None:
        for seed, name in enumerate(names):
            path = root / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(encode(seed=seed))

    return write


@pytest.fixture
def hash_tree() -> HashTree:
    """Every file below a folder -> sha256."""

    def hashes(root: Path) -> dict[str, str]:
        return {
            str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
            for path in sorted(root.rglob("*"))
            if path.is_file()
        }

    return hashes


@pytest.fixture
def restless_threads() -> Iterator[None]:
    """Threads change places between any two steps, so that one missing lock shows."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.fixture
def dataset() -> Dataset:
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)

    def build(
        images: Sequence[bytes | None],
        labels: Sequence[Any],
        *,
        features: dict[str, Any] | None = None,
        names: tuple[str, str] = ("image", "label"),
        image_type: Any = None,
    ) -> Any:
        """A table as Hugging Face `datasets` writes it: the columns' meaning in the schema's metadata."""
        struct = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
        values = [{"bytes": image, "path": f"/etc/{row}.png"} for row, image in enumerate(images)]
        table = pa.table(
            {
                names[0]: pa.array(values, struct) if image_type is None else pa.array(images, image_type),
                names[1]: pa.array(labels),
            }
        )
        if features is None:
            features = {
                names[0]: {"_type": "Image"},
                names[1]: {"names": ["zebra", "ape", "cow"], "_type": "ClassLabel"},
            }
        if not features:
            return table
        return table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})})

    return build


@pytest.fixture
def save_to_disk() -> Callable[..., None]:
    pa = pytest.importorskip("pyarrow", exc_type=ImportError)

    def save(folder: Path, table: Any, *, shards: int = 2, split: str | None = None, batch_rows: int = 2) -> None:
        """What `Dataset.save_to_disk` writes: Arrow files in the stream format, state.json and dataset_info.json."""
        folder.mkdir(parents=True)
        files = []
        each = -(-table.num_rows // shards)
        for shard in range(shards):
            name = f"data-{shard:05d}-of-{shards:05d}.arrow"
            with pa.OSFile(str(folder / name), "wb") as file, pa.ipc.new_stream(file, table.schema) as writer:
                writer.write_table(table.slice(shard * each, each), max_chunksize=batch_rows)
            files.append({"filename": name})
        (folder / "state.json").write_text(json.dumps({"_data_files": files, "_split": split}))
        (folder / "dataset_info.json").write_text("{}")

    return save


@pytest.fixture
def images(encode: Encode) -> list[bytes]:
    return [encode(seed=seed) for seed in range(6)]
