"""A network layer by layer in numbers, as text and as a drawing. No torch here."""

from __future__ import annotations

from dataclasses import dataclass

from eyebright.drawing.graph import Graph, Node, across
from eyebright.drawing.grid import Cell, draw_grid
from eyebright.drawing.layers import function_in_words, window_in_words
from eyebright.drawing.receptive import receptive_fields
from eyebright.drawing.scene import Scene
from eyebright.drawing.words import facts_in_words
from eyebright.page import markup


@dataclass(frozen=True, kw_only=True)
class SummaryRow:
    """One operation."""

    name: str
    operation: str
    """Such as "conv 3x3, stride 2"."""
    shape: tuple[int, ...]
    """Of its result for one sample: (C, H, W), or (D,)."""
    parameters: int
    multiply_adds: int
    size_bytes: int
    """The memory of its result for one sample."""
    receptive_field: int | None
    """The side in input pixels of what one value can see; None where the input is no picture."""


@dataclass(frozen=True, kw_only=True)
class Summary:
    """A network in numbers; `str` makes it a table of plain text."""

    title: str
    rows: tuple[SummaryRow, ...]
    facts: str
    unused_parameters: int

    @property
    def parameters(self) -> int:
        return sum(row.parameters for row in self.rows) + self.unused_parameters

    @property
    def multiply_adds(self) -> int:
        return sum(row.multiply_adds for row in self.rows)

    @property
    def size_bytes(self) -> int:
        """All results together; less is needed when results are dropped after use."""
        return sum(row.size_bytes for row in self.rows)

    def __str__(self) -> str:
        headings, rows, totals = operation_cells(self)
        cells = [headings, *rows, totals]
        widths = [max(len(line[column]) for line in cells) for column in range(len(_HEADINGS))]
        lines = [
            "  ".join(_padded(text, widths, column) for column, text in enumerate(line)).rstrip() for line in cells
        ]
        rule = "-" * max(len(line) for line in lines)
        notes = [
            "Shapes are height x width x channels; memory is that of the results for one input; a value sees a square "
            "of so many pixels."
        ]
        if self.unused_parameters:
            notes.append(f"{self.unused_parameters:,} parameters are used by nothing.")
        return "\n".join([self.title, self.facts, "", lines[0], rule, *lines[1:-1], rule, lines[-1], "", *notes])


_HEADINGS = ("layer", "operation", "output", "parameters", "multiply-adds", "memory", "sees")
_LEFT = 3
"""Columns of words; those after are numbers."""


def summarise(graph: Graph) -> Summary:
    """Every operation of a network with its numbers, in the order of computation."""
    fields = receptive_fields(graph)
    rows = tuple(
        SummaryRow(
            name=node.name,
            operation=operation_in_words(node),
            shape=node.shape,
            parameters=node.parameters,
            multiply_adds=node.multiply_adds,
            size_bytes=node.size_bytes,
            receptive_field=fields[node.name],
        )
        for node in graph.nodes
    )
    return Summary(title=graph.title, rows=rows, facts=facts_in_words(graph), unused_parameters=graph.unused_parameters)


def draw_summary(graph: Graph) -> Scene:
    """The summary as a drawing."""
    summary = summarise(graph)
    headings, rows, totals = operation_cells(summary)
    return draw_grid(
        graph.title,
        summary.facts,
        _row(headings),
        [*map(_row, rows), _row(totals, is_bold=True)],
        note="Shapes are height x width x channels; a value sees a square of so many input pixels.",
        is_dense=True,
    )


def operation_cells(summary: Summary) -> tuple[tuple[str, ...], list[tuple[str, ...]], tuple[str, ...]]:
    """The headings, the rows and the totals as text; from the fourth column on they are numbers."""
    return _HEADINGS, [_cells(row) for row in summary.rows], _totals(summary)


def _row(texts: tuple[str, ...], *, is_bold: bool = False) -> list[Cell]:
    return [Cell((text,), is_number=column >= _LEFT, is_bold=is_bold) for column, text in enumerate(texts)]


def operation_in_words(node: Node) -> str:
    """ "conv 3x3, stride 2", "ReLU", "max pool 2x2", "fully connected"."""
    window = window_in_words(node)
    stride = f", stride {node.stride[0]}" if node.stride and max(node.stride) > 1 else ""
    grouped = f", {node.groups} groups" if node.groups > 1 else ""
    words = {
        "convolution": f"conv {window}",
        "transposed convolution": f"up-conv {window}",
        "max pooling": f"max pool {window}".strip(),
        "average pooling": f"average pool {window}".strip(),
        "normalisation": function_in_words(node.function),
        "activation": function_in_words(node.function),
        "other": function_in_words(node.function),
        "reshape": function_in_words(node.function),
        "arithmetic": function_in_words(node.function),
    }.get(node.kind, str(node.kind))
    return words + stride + grouped + (" (added: always follows in use)" if node.is_added else "")


def _cells(row: SummaryRow) -> tuple[str, ...]:
    return (
        row.name,
        row.operation,
        across(row.shape),
        f"{row.parameters:,}" if row.parameters else "",
        f"{row.multiply_adds:,}" if row.multiply_adds else "",
        markup.size(row.size_bytes),
        "" if row.receptive_field is None else f"{row.receptive_field}",
    )


def _totals(summary: Summary) -> tuple[str, ...]:
    memory = markup.size(summary.size_bytes)
    return ("all", "", "", f"{summary.parameters:,}", f"{summary.multiply_adds:,}", memory, "")


def _padded(text: str, widths: list[int], column: int) -> str:
    return text.ljust(widths[column]) if column < _LEFT else text.rjust(widths[column])
