from __future__ import annotations

import re

import numpy as np
import pytest

from eyebright.lessons.parts import Line, bars, chart, claims, number_grid, spell, unit_table
from eyebright.lessons.words import CLAIMS, PAGES, Claim


def test_numbers_have_a_true_minus_and_zero_has_none() -> None:
    assert spell(-1.234) == "−1.23"
    assert spell(-0.001) == "0.00"
    assert spell(3.14159, 3) == "3.142"


def test_a_grid_is_shaded_by_size_and_coloured_by_sign() -> None:
    grid = number_grid(np.array([[2.0, -4.0], [0.0, 1.0]], dtype=np.float32), "some")
    assert '<td class="above" style="--shade:0.50">2.00</td>' in grid
    assert '<td class="below" style="--shade:1.00">−4.00</td>' in grid
    assert number_grid(np.zeros((2, 2), dtype=np.float32), "none").count("--shade:0.00") == 4


def test_a_chart_puts_values_where_they_belong() -> None:
    line = Line(name="a", style="plain-deep", values=(0.0, 1.0, 9.0))
    drawn = chart("Loss", [line], top=2, ticks=(0, 1, 2))
    rules = [float(y) for y in re.findall(r'class="rule" d="M0.0 ([\d.]+)', drawn)]
    dots = re.findall(r'class="dot plain-deep unseen" cx="([\d.]+)" cy="([\d.]+)"', drawn)
    assert [float(y) for _, y in dots] == pytest.approx(rules, abs=0.2)  # what lies beyond is at the end
    assert float(dots[1][0]) - float(dots[0][0]) == pytest.approx(float(dots[2][0]) - float(dots[1][0]), abs=0.2)
    assert re.findall(r'class="tick mid"[^>]*>(\d+)<', drawn) == ["1", "2", "3"]


def test_names_are_text() -> None:
    hostile = "<script>alert(1)</script>"
    for made in (
        bars([hostile], [0.5]),
        unit_table((hostile, hostile), [(hostile, hostile)]),
        claims([Claim(hostile, hostile, hostile)]),
    ):
        assert "<script" not in made


def test_every_page_corrects_something_and_every_claim_has_its_source() -> None:
    assert list(CLAIMS) == list(PAGES)
    for said in CLAIMS.values():
        assert said
        assert all(len(claim.source) > 20 and not claim.source.endswith(".") for claim in said)
