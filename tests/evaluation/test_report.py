"""A report survives JSON, refuses what does not fit, and says in words what it holds."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from eyebright.errors import DataError
from eyebright.evaluation.compare import Comparison
from eyebright.evaluation.report import EvaluationReport, percent


@pytest.fixture
def report(build_comparison: Callable[..., Comparison]) -> EvaluationReport:
    return build_comparison(unreadable=(3,)).contestants[0].report


def test_a_report_survives_json(report: EvaluationReport) -> None:
    text = json.dumps(report.to_dict(), allow_nan=False)
    assert EvaluationReport.from_dict(json.loads(text)) == report


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"correctness": "1"}, "right answers does not fit"),
        ({"confusion": [[1]]}, "tables do not fit its 10 classes"),
        ({"per_class": []}, "tables do not fit its 10 classes"),
        ({"accuracy": "high"}, "report.accuracy should be float"),
        ({"acuracy": 1}, "did you mean"),
    ],
)
def test_an_edited_report_is_refused(report: EvaluationReport, changes: dict[str, Any], words: str) -> None:
    with pytest.raises(DataError, match=words):
        EvaluationReport.from_dict({**report.to_dict(), **changes})


def test_a_report_speaks_plainly(report: EvaluationReport) -> None:
    lines = str(report).splitlines()
    assert lines[0].startswith(f"{report.num_correct} of 300 images right: accuracy {percent(report.accuracy)} (95 %")
    assert "top-5 accuracy" in lines[0]
    assert lines[1].startswith('hardest class: "')
    assert lines[2] == "1 image could not be read, counted as errors"


def test_a_notebook_shows_names_inert(build_comparison: Callable[..., Comparison]) -> None:
    shown = build_comparison(("<script>alert(1)</script>", "b")).contestants[0].report._repr_html_()
    assert "<script" not in shown
    assert "&lt;script&gt;" in shown
    assert shown.count("<tr>") == 3


def test_percent_claims_neither_perfection_nor_nothing() -> None:
    assert percent(1.0) == "100.0 %"
    assert percent(0.9999) == "99.9 %"
    assert percent(0.0001) == "0.1 %"
    assert percent(0.0) == "0.0 %"
    assert percent(0.8765) == "87.6 %"
