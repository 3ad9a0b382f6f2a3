from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from eyebright.data.archives import Limits
from eyebright.data.sources import read_samples
from eyebright.errors import DataError, ImageError, OutputError

pa = pytest.importorskip("pyarrow", exc_type=ImportError)
pq = pytest.importorskip("pyarrow.parquet", exc_type=ImportError)

Encode = Callable[..., bytes]
Dataset = Callable[..., Any]
Save = Callable[..., None]
IMAGE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])


def test_the_path_beside_the_bytes_is_never_opened(save_to_disk: Save, tmp_path: Path, images: list[bytes]) -> None:
    values = [{"bytes": None, "path": "/etc/passwd"}, {"bytes": images[0], "path": "/etc/passwd"}]
    table = pa.table({"image": pa.array(values, IMAGE), "label": ["a", "b"]})
    pq.write_table(table, tmp_path / "x.parquet")
    save_to_disk(tmp_path / "saved", table, shards=1)
    for source in ("x.parquet", "saved"):
        read = read_samples(tmp_path / source)
        with pytest.raises(ImageError, match="holds no image, at most the path of one"):
            read.store.read(read.names[0])
        assert read.store.read(read.names[1]) == images[0]


def test_damaged_images_in_a_parquet_file_do_not_take_the_good_ones_along(
    dataset: Dataset, tmp_path: Path, encode: Encode
) -> None:
    path = tmp_path / "x.parquet"
    images = [encode(seed=seed) for seed in range(200)]
    pq.write_table(
        dataset(images, [0, 1] * 100), path, row_group_size=100, compression="none", write_page_checksum=True
    )
    content = bytearray(path.read_bytes())
    place = content.index(images[150])
    content[place : place + 4000] = bytes(4000)  # headers of pages too
    path.write_bytes(content)
    table = read_samples(path)
    assert table.store.read(table.names[0]) == images[0]
    assert table.store.read(table.names[99]) == images[99]
    with pytest.raises(ImageError, match=r"x\.parquet: row 150: is damaged in its file"):
        table.store.read(table.names[150])
    for row in range(100, 200):  # which ones are lost with it depends on the pages; none may come back altered
        try:
            content_of_row = table.store.read(table.names[row])
        except ImageError:
            continue
        assert content_of_row == images[row]


def test_a_parquet_file_that_unpacks_to_far_more_than_its_size_is_refused(
    dataset: Dataset, tmp_path: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "x.parquet"
    pq.write_table(dataset([bytes(1_000_000), bytes(1_000_001)], [0, 1]), path, compression="zstd")
    monkeypatch.setattr("eyebright.data.columns.LIMITS", Limits(ratio_counts_from=1_500_000))
    table = read_samples(path)
    with pytest.raises(DataError, match=r"x\.parquet: unpacks to more than 200 times its size"):
        table.store.read(table.names[0])


def test_a_full_disk_is_told(
    dataset: Dataset, tmp_path: Path, images: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    pq.write_table(dataset(images, [0, 1] * 3), tmp_path / "x.parquet")
    table = read_samples(tmp_path / "x.parquet")
    full = open("/dev/full", "r+b", buffering=0)  # noqa: SIM115 - the store closes it
    monkeypatch.setattr("tempfile.TemporaryFile", lambda prefix: full)
    with pytest.raises(OutputError, match=r"x\.parquet: can't be unpacked into .*No space left.*TMPDIR"):
        table.store.read(table.names[0])
    assert full.closed
    monkeypatch.undo()  # there is room again
    assert [table.store.read(name) for name in table.names] == images


def test_a_parquet_file_that_is_gone_when_its_images_are_wanted_is_an_image_error(
    dataset: Dataset, tmp_path: Path, images: list[bytes]
) -> None:
    pq.write_table(dataset(images, [0, 1] * 3), tmp_path / "x.parquet")
    table = read_samples(tmp_path / "x.parquet")
    (tmp_path / "x.parquet").unlink()
    with pytest.raises(ImageError, match=r"x\.parquet: row 0: can't be read"):
        table.store.read(table.names[0])


@pytest.mark.usefixtures("restless_threads")
@pytest.mark.parametrize("source", ["x.parquet", "saved"])
def test_many_threads_read_what_one_reads(
    dataset: Dataset, save_to_disk: Save, tmp_path: Path, encode: Encode, source: str
) -> None:
    images = [encode(seed=seed) for seed in range(40)]
    pq.write_table(dataset(images, [0, 1] * 20), tmp_path / "x.parquet", row_group_size=7)
    save_to_disk(tmp_path / "saved", dataset(images, [0, 1] * 20), shards=3)
    table = read_samples(tmp_path / source)
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(table.store.read, table.names * 20)) == images * 20
