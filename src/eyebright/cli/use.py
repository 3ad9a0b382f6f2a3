"""The commands that use a saved classifier: evaluate, predict."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from eyebright.cli import output

SOME_UNREADABLE = 3


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A JSON file for the numbers.")
@click.option("--decisions", type=click.Path(path_type=Path), help="A decisions.csv that the page of a check saved.")
def evaluate(run: Path, data: Path, out: Path | None, decisions: Path | None) -> int:
    """Measure the classifier in RUN on the labelled images of DATA.

    Images that it was trained on are recognised by their content and left out.
    """
    import json

    from eyebright.jobs.evaluate import evaluate as measure
    from eyebright.jobs.runs import write_text

    with output.terminal_progress() as progress:
        report = measure(run, data, decisions=decisions, progress=progress)
    if out is not None:
        write_text(out, json.dumps(report.to_dict(), indent=1) + "\n")
    output.print_report(report, per_class=True)
    return SOME_UNREADABLE if report.unreadable else 0


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=str)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this .csv or .jsonl file.")
@click.option(
    "--explain",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write this .html page of heat maps.",
)
def predict(run: Path, images: Sequence[str], out: Path | None, page: Path | None) -> int:
    """Classify IMAGES with the classifier in RUN.

    IMAGES are files, folders, zips or patterns in quotes; - reads paths, one a line, or one image from standard input.
    Prints a table on a terminal and CSV into a pipe.
    """
    from eyebright.jobs.predict import predict as answer
    from eyebright.jobs.predict import write_csv, write_predictions

    piped = sys.stdin.buffer.read() if "-" in images else b""
    if page is not None:
        from eyebright.jobs.explain import check_target, explain

        check_target(page, 0)
    with output.terminal_progress() as progress:
        answers = answer(run, images, piped=piped, progress=progress)
        if out is not None:
            total, errors = write_predictions(out, answers.predictions, answers.class_names)
            output.print_line(f"{total:,} answers in {out}")
        elif output.is_terminal():
            total, errors = output.print_predictions(answers.predictions)
        else:
            total, errors = write_csv(sys.stdout, answers.predictions, answers.class_names)
        if page is not None:
            command = output.next_command(*sys.argv[1:])
            explain(run, images, piped=piped, out=page, command=command, progress=progress)
            progress.say(f"Maps:        {page}")
    if errors:
        output.print_error(f"{errors:,} of {total:,} images could not be read")
    return SOME_UNREADABLE if errors else 0
