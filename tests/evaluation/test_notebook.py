from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from eyebright.evaluation.compare import Comparison, ranked
from eyebright.evaluation.notebook import show_in_notebook
from eyebright.evaluation.notebook_comparison import show_comparison

Build = Callable[..., Comparison]


def test_words_and_a_table_are_shown_and_inert() -> None:
    shown = show_in_notebook("one <b>\ntwo", ("class", "F1"), [("<script>\x1b", "0.5")], page=Path("a&b/report.html"))
    assert shown == (
        "<p>one &lt;b&gt;<br>two</p><table><thead><tr><th>class</th><th>F1</th></tr></thead>"
        "<tbody><tr><td>&lt;script&gt;\\x1b</td><td>0.5</td></tr></tbody></table>"
        "<p>The whole report: <code>a&amp;b/report.html</code></p>"
    )
    assert show_in_notebook("", (), ()) == ""


def test_a_comparison_shows_its_networks_best_first(build_comparison: Build) -> None:
    comparison = build_comparison()
    shown = show_comparison(comparison)
    places = [shown.index(f"<td>{contestant.title}</td>") for contestant in ranked(comparison)]
    assert places == sorted(places)
    best = ranked(comparison)[0].report
    assert f"<td>{best.accuracy * 100:.1f} %</td>" in shown
    assert "points (95 %:" in shown
    assert "whole report" not in shown
