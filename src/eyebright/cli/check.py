"""The command that looks at images before training: check."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from eyebright.cli import listings, terminal

SOME_UNREADABLE = 3


@click.command()
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results; must not exist yet.")
@click.option(
    "--wrong-labels/--no-wrong-labels", default=True, help="Whether to look for wrong labels, which takes longest."
)
@click.option(
    "--decisions", type=click.Path(path_type=Path), help="A decisions.csv of an earlier check, to go on from there."
)
def check(data: Path, out: Path | None, wrong_labels: bool, decisions: Path | None) -> int:
    """Say what is wrong with the images of DATA, before training.

    Looks for images that can't be read, copies, copies under two classes or in two splits, odd images, and labels that
    are probably wrong. Writes check.json and check.html: a page on which each finding can be accepted or dismissed, and
    that saves the decisions for train, compare and evaluate. No image file is changed.

    Exit code 0 whatever is found; 3 if some images could not be read.
    """
    from eyebright.jobs.check import check as run

    def following(file: Path | str) -> str:
        return terminal.next_command("train", data, "--decisions", file)

    with terminal.terminal_progress() as progress:
        result = run(
            data,
            out=out,
            wrong_labels=wrong_labels,
            decisions=decisions,
            command=terminal.next_command(*sys.argv[1:]),
            next_command=following("decisions.csv"),
            progress=progress,
        )
    listings.print_check(result.report)
    terminal.print_line()
    terminal.print_line(f"Page:        {result.page}")
    if result.report.findings:
        terminal.print_line("Decide there and save decisions.csv. Then:")
        terminal.print_line("Train:       " + following("decisions.csv"))
    else:
        terminal.print_line("Train:       " + terminal.next_command("train", data))
    return SOME_UNREADABLE if result.report.num_readable < result.report.num_samples else 0
