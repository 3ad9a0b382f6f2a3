"""What a notebook shows of a report: its words and a small table, inert whatever the names in it are."""

from __future__ import annotations

import html
from collections.abc import Sequence
from pathlib import Path

from eyebright.errors import printable


def show_in_notebook(
    words: str, head: Sequence[str], rows: Sequence[Sequence[str]], *, page: Path | None = None
) -> str:
    """HTML for a cell's output; the notebook's own style applies.

    Args:
        words: lines of plain text, if any.
        head: names of the columns, as plain text.
        rows: of the table, as plain text; the first column names the row.
        page: where the whole report lies.
    """
    lines = "<br>".join(_inert(line) for line in words.splitlines())
    names = "".join(f"<th>{_inert(name)}</th>" for name in head)
    body = "".join("<tr>" + "".join(f"<td>{_inert(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    table = f"<table><thead><tr>{names}</tr></thead><tbody>{body}</tbody></table>" if rows else ""
    where = "" if page is None else f"<p>The whole report: <code>{_inert(str(page))}</code></p>"
    return (f"<p>{lines}</p>" if lines else "") + table + where


def _inert(text: str) -> str:
    return html.escape(printable(text))
