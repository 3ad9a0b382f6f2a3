"""What there is, as tables and lines: networks, runs, what is kept of images, and what a check found."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from eyebright.cli.terminal import cell, console, next_command, print_line

if TYPE_CHECKING:
    from eyebright.checking.findings import CheckReport
    from eyebright.jobs.cache import CacheContents
    from eyebright.jobs.list_runs import ListedRun
    from eyebright.jobs.models import ListedModel

FINDINGS_NAMED = 5  # of each kind; the page shows all


def print_models(models: Sequence[ListedModel]) -> None:
    """Every network with its weights."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True)
    for name in ("parameters", "multiply-adds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    for name in ("size", "top-1", "top-5"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for model in models:
        first = [model.name, f"{model.parameters / 1e6:.1f} M", f"{model.multiply_adds / 1e9:.2f} G"]
        if not model.weights:
            table.add_row(*first, "none: trains from scratch")
        for listed in model.weights:
            entry = listed.entry
            top = [f"{value:.1f} %" if value is not None else "" for value in (entry.top1, entry.top5)]
            licence = entry.licence.split(" (")[0].split(";")[0]
            table.add_row(*first, entry.name, f"{entry.size_bytes / 1e6:.0f} MB", *top, listed.place, licence)
            first = ["", "", ""]
    from rich.console import Console

    # Into a pipe or a narrow window the table keeps its width: cut-off names help nobody.
    Console(highlight=False, width=max(console().width, 132)).print(table, crop=False)
    print_line()
    print_line("Multiply-adds are for one image of 224 x 224; top-1 and top-5 as published for ImageNet.")


def print_runs(runs: Sequence[ListedRun]) -> None:
    """Every run with its state and result, the one touched last first, and how to go on with those that can be."""
    from rich.table import Table

    if not runs:
        print_line("There are no runs here.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("run", "network", "effort", "state", "result", "last change"):
        table.add_column(name, overflow="fold" if name == "run" else "ellipsis")
    styles = {"finished": "green", "running": "cyan", "interrupted": "yellow", "failed": "red", "unreadable": "red"}
    for run in runs:
        state = run.state
        table.add_row(
            cell(str(run.folder)),
            state.model,
            state.effort,
            cell(state.state, styles.get(state.state, "")),
            cell(_result_of(run)),
            state.updated,
        )
    console().print(table)
    running = {run.comparison for run in runs if run.state.state == "running"}
    compared = dict.fromkeys(run.comparison for run in runs if run.comparison and run.comparison not in running)
    stopped = [run for run in runs if run.state.state in ("interrupted", "failed") and run.comparison is None]
    if stopped or compared:
        print_line()
    for folder in compared:
        print_line("Go on:  " + next_command("compare", "--resume", folder))
    if stopped:
        print_line("Go on:  " + next_command("train", "--resume", stopped[0].folder))


def _result_of(run: ListedRun) -> str:
    """A run's result, or how far it is, or why it failed."""
    if run.state.accuracy is not None:
        return f"accuracy {100 * run.state.accuracy:.1f} % on test images"
    if run.state.mean_average_precision is not None:
        return f"mean average precision {run.state.mean_average_precision:.3f} on test images"
    if run.state.error is not None:
        return run.state.error.split("\n")[0][:80]
    if run.last is None:
        return "nothing measured yet"
    where = f"epoch {run.last.number:.0f} of {run.epochs}" if run.last.phase == "epochs" else "head"
    return f"{where}: {100 * run.last.val_accuracy:.1f} % on validation images"


def print_cache(cache: CacheContents) -> None:
    """Where what is known of images is kept, and each file of it, the last used first."""
    from datetime import datetime

    from rich.table import Table

    from eyebright.data.kept_files import LOOKS, SQUARES
    from eyebright.page.markup import size

    if cache.files:
        kinds = {SQUARES: "decoded", LOOKS: "looked at"}
        table = Table(box=None, pad_edge=False)
        table.add_column("what", no_wrap=True)
        for name in ("images", "pixels", "MB", "last used"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("")
        for file in cache.files:
            table.add_row(
                kinds.get(file.kind, "unknown"),
                f"{file.num_images:,}",
                f"{file.side} x {file.side}" if file.side else "",
                f"{file.size_bytes / 1e6:,.1f}",
                datetime.fromtimestamp(file.used).strftime("%Y-%m-%d %H:%M"),
                "" if file.state == "whole" else file.state,
            )
        console().print(table)
        print_line()
    held = size(cache.size_bytes) if cache.size_bytes else "0 kB"
    print_line(f"{held} of at most {size(cache.limit_bytes)} of decoded images in {cache.folder}")


def print_check(report: CheckReport) -> None:
    """What a check found, worst first: how many of each kind, and the first few."""
    from eyebright.checking.check import by_kind
    from eyebright.page.markup import plural, rate

    for note in report.notes:
        print_line(f"note: {note}")
    readable = "" if report.num_readable == report.num_samples else f", {report.num_readable:,} of them readable"
    print_line(
        f"{plural(report.num_samples, 'image')} of {plural(len(report.counts), 'class')}{readable}; looked at "
        f"{rate(report.images_per_second)} a second, without the search for wrong labels"
    )
    kinds = by_kind(report.findings)
    for kind, findings in kinds.items():
        print_line()
        print_line(f"{kind.title}: {len(findings):,} ({kind.severity})")
        for finding in findings[:FINDINGS_NAMED]:
            print_line(f"  {finding.words}")
        if len(findings) > FINDINGS_NAMED:
            print_line(f"  and {len(findings) - FINDINGS_NAMED:,} more")
    if not kinds:
        print_line()
        print_line("Nothing wrong was found.")
