"""What a notebook shows of a comparison: who is ahead, and the networks side by side."""

from __future__ import annotations

from pathlib import Path

from eyebright.evaluation.compare import Comparison, compare_in_words, interval_of, ranked, spread_in_words
from eyebright.evaluation.label_sets_compare import AnyComparison, compare_label_sets_in_words, rank_label_sets
from eyebright.evaluation.notebook import show_in_notebook
from eyebright.evaluation.report import percent


def show_comparison(comparison: AnyComparison, page: Path | None = None) -> str:
    """HTML for a cell's output.

    Args:
        comparison: of images of one label each, or of several.
        page: where the whole report lies.
    """
    rows: list[tuple[str, ...]]
    if isinstance(comparison, Comparison):
        head: tuple[str, ...] = ("network", "accuracy", "95 % interval", "macro F1")
        rows = [
            (c.title, f"{percent(c.accuracy)} {spread_in_words(c)}".rstrip(), interval_of(c), f"{c.macro_f1:.3f}")
            for c in ranked(comparison)
        ]
        return show_in_notebook(compare_in_words(comparison), head, rows, page=page)
    head = ("network", "mean average precision", "95 % interval", "macro F1")
    rows = [(c.title, *c.report.precision_apart(), f"{c.report.macro_f1:.3f}") for c in rank_label_sets(comparison)]
    return show_in_notebook(compare_label_sets_in_words(comparison), head, rows, page=page)
