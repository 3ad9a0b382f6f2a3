from __future__ import annotations

import html
import re
from pathlib import Path

import pytest

from eyebright.lessons.measured import read_transfer
from eyebright.lessons.networks import transfer

BENCH = Path(__file__).parents[2] / "docs" / "bench.md"
ROW = r"^\| ResNet-50, `{}`.*?\| ([\d.]+ %) \(\d+ of \d+; ([\d.]+ to [\d.]+)\) \| ([\d,]+?)(?:, \d+)? s \|"


@pytest.mark.parametrize("effort", ["quick", "standard", "best"])
def test_what_training_reaches_is_told_as_it_was_measured(effort: str) -> None:
    """The page's rows are those of docs/bench.md, which is measured anew now and then."""
    found = re.search(ROW.format(effort), BENCH.read_text(encoding="utf-8"), re.MULTILINE)
    assert found is not None
    accuracy, interval, clock = found.groups()
    seconds = int(clock.replace(",", ""))
    time = f"{seconds} s" if seconds < 60 else f"{round(seconds / 60)} min"
    page = html.unescape(transfer(read_transfer())).replace("\N{NO-BREAK SPACE}", " ")
    row = next(row for row in page.split("<tr>") if row.startswith(f'<th scope="row">{effort}: '))
    assert f'<td class="number">{accuracy} ({interval})</td>' in row
    assert f'<td class="number">{time}</td>' in row
