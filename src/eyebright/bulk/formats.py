"""Answers as bytes of a CSV, JSON lines or Parquet file, part by part. No torch here.

Parts are kept as text, and become Parquet only when they are put together: whatever columns the text has, Parquet has.
"""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

from eyebright.errors import MissingExtraError, SettingsError, printable

_NUMBERS = ("confidence", "p:")  # how columns of numbers begin
CSV, JSON_LINES, PARQUET = ".csv", ".jsonl", ".parquet"


def choose_format(path: Path) -> str:
    """How a file is written, by its name's end.

    Raises:
        SettingsError: another end.
        MissingExtraError: Parquet without pyarrow.
    """
    suffix = path.suffix.lower()
    if suffix not in (CSV, JSON_LINES, PARQUET):
        raise SettingsError(
            f"{printable(str(path))} should end in .csv, .jsonl or .parquet, which says how it is written"
        )
    if suffix == PARQUET:
        _import_pyarrow()
    return suffix


def join_parts(file: IO[bytes], parts: Iterator[Path], *, header: bytes, kind: str) -> None:
    """Put parts of text together into one file.

    Args:
        file: open for writing.
        parts: files of CSV, each with the header, or of JSON lines.
        header: of CSV, kept once; empty for JSON lines.
        kind: what `choose_format` returned.
    """
    if kind == PARQUET:
        _join_as_parquet(file, parts, header)
        return
    file.write(header)
    for part in parts:
        with part.open("rb") as content:
            content.seek(len(header))
            shutil.copyfileobj(content, file, 1 << 20)


def _join_as_parquet(file: IO[bytes], parts: Iterator[Path], header: bytes) -> None:
    """One row group a part; columns that are numbers in text are numbers, and what is empty is null."""
    arrow = _import_pyarrow()
    names = next(csv.reader(io.StringIO(header.decode("utf-8", "backslashreplace"), newline="")))
    kinds = {name: arrow.float64() if name.startswith(_NUMBERS) else arrow.string() for name in names}
    schema = arrow.schema(list(kinds.items()))
    options = {
        "parse_options": arrow.csv.ParseOptions(newlines_in_values=True),
        "convert_options": arrow.csv.ConvertOptions(
            column_types=kinds, null_values=[""], strings_can_be_null=True, quoted_strings_can_be_null=False
        ),
    }
    with arrow.parquet.ParquetWriter(file, schema) as writer:
        for part in parts:
            # Names that are no UTF-8 can't be text in Parquet: their odd bytes are spelled out.
            text = part.read_bytes().decode("utf-8", "backslashreplace").encode("utf-8")
            writer.write_table(arrow.csv.read_csv(arrow.BufferReader(text), **options).cast(schema))


def spell_json(values: dict[str, Any]) -> str:
    """One line of JSON lines."""
    return json.dumps(values, ensure_ascii=True) + "\n"


def _import_pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.csv
        import pyarrow.parquet
    except ImportError as error:
        raise MissingExtraError("writing Parquet", "parquet") from error
    return pyarrow
