"""The columns of a list of images on a report page: how good each network is on each of their values."""

from __future__ import annotations

from collections.abc import Sequence

from eyebright.evaluation.compare import Contestant
from eyebright.evaluation.report import percent
from eyebright.evaluation.slices import Slice
from eyebright.evaluation.tables import interval_bar
from eyebright.page import markup

_SHOWN = 50
"""Values of a column; report.json holds all."""


def render_columns(contestants: Sequence[Contestant]) -> str:
    """A table for each column, the networks side by side, the value that the first is worst on first; or nothing."""
    parts = [part for part in contestants[0].report.slices if part.column is not None]
    tables: list[str] = []
    for column in dict.fromkeys(part.column for part in parts):
        of_column = [part for part in parts if part.column == column]
        tables.append(_column(str(column), of_column, contestants, unfolded=not tables))
    return "".join(tables)


def _column(column: str, parts: Sequence[Slice], contestants: Sequence[Contestant], *, unfolded: bool) -> str:
    known = [
        {part.name: part for part in contestant.report.slices if part.column == column} for contestant in contestants
    ]
    head = '<th scope="col">value</th><th scope="col" class="number">images</th>' + "".join(
        f'<th scope="col" class="number">{markup.text(c.title)}</th><th scope="col" class="track">95 % interval</th>'
        for c in contestants
    )
    rows = "".join(
        f'<tr><th scope="row">{markup.name(part.name)}</th><td class="number">{part.num_samples:,}</td>'
        + "".join(_result(of_contestant.get(part.name)) for of_contestant in known)
        + "</tr>"
        for part in parts[:_SHOWN]
    )
    count = markup.plural(len(parts), "value")
    if len(parts) > _SHOWN:
        count = f"the worst {_SHOWN} of {len(parts):,} values; report.json holds all"
    table = f'<table class="plain spread"><thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>'
    return (
        f"<details{' open' if unfolded else ''}><summary>By {markup.name(column)}: {count}</summary>"
        f"{markup.scroll_box(f'Accuracy by {column}', table)}</details>"
    )


def _result(part: Slice | None) -> str:
    if part is None:
        return '<td class="number">&#8211;</td><td class="track"></td>'
    return (
        f'<td class="number">{percent(part.accuracy)}</td>'
        f'<td class="track">{interval_bar(part.accuracy, part.accuracy_low, part.accuracy_high)}</td>'
    )
