"""Every figure in the tables is the report's."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from eyebright.evaluation.compare import Comparison, about, pairs_of, ranked
from eyebright.evaluation.tables import interval_bar, render_costs, render_numbers, render_pairs, render_slices

Build = Callable[..., Comparison]


def test_pairs_stand_with_their_intervals_and_what_could_tell_them(build_comparison: Build) -> None:
    comparison = build_comparison()
    page = render_pairs(comparison)
    for pair in pairs_of(comparison):
        gap = pair.difference
        assert f"{gap.points:.1f} <small>".replace("-", "&#8722;") in page
        if not gap.told_apart and gap.needed is not None:
            assert f"about {about(gap.needed):,} images could" in page
    assert page.count("<tr>") == 4
    assert "ResNet-50 less Plain CNN" in page


def test_numbers_stand_with_their_intervals_and_older_reports_have_none(build_comparison: Build) -> None:
    order = ranked(build_comparison())
    page = render_numbers(order)
    for contestant in order:
        for one in contestant.report.measures.values():
            assert f"{one.value:.3f} <small>{one.low:.3f} to {one.high:.3f}</small>" in page
    older = [replace(c, report=replace(c.report, measures={})) for c in order]
    assert render_numbers(older) == ""
    assert "&#8211;" in render_numbers([order[0], older[1]])


def test_costs_that_were_not_measured_have_no_row(build_comparison: Build) -> None:
    first, second = ranked(build_comparison())[:2]
    assert "one image alone" not in render_costs([first, second]).split("<p")[0]
    timed = replace(first, latency_ms=21.44, slow_latency_ms=30.0, latency_count=90, predict_memory_bytes=700_000_000)
    page = render_costs([replace(timed, train_gpu_bytes=3_000_000_000), second])
    assert "21.4&#160;ms" in page
    assert "700.0 MB" in page
    assert "3.0 GB" in page
    assert page.count("on the GPU while training") == 1
    assert "on the GPU while classifying" not in page
    assert "&#8211;" in page


def test_the_worst_parts_come_first(build_comparison: Build) -> None:
    contestant = build_comparison(("a", "b"), skills=(1.0,), per_class=60).contestants[0]
    page = render_slices([contestant])
    places = [page.index(part.name.replace(" %", "&#160;%")) for part in contestant.report.slices]
    assert len(places) > 1
    assert places == sorted(places)
    assert render_slices([replace(contestant, report=replace(contestant.report, slices=()))]) == ""


def test_a_bar_tells_its_interval_in_words_too() -> None:
    bar = interval_bar(0.5, 0.4, 0.6)
    assert 'aria-label="40.0 to 60.0&#160;%"' in bar
    assert "left:40.00%;width:20.00%" in bar
