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
@click.option("--corruptions", is_flag=True, help="How it bears noise, blur, weather, JPEG and rotation instead.")
@click.option("--tta", is_flag=True, help="What looking at several views of each image gives and costs instead.")
def evaluate(run: Path, data: Path, out: Path | None, decisions: Path | None, corruptions: bool, tta: bool) -> int:
    """Measure the classifier in RUN on the labelled images of DATA.

    Images that it was trained on are recognised by their content and left out. With --corruptions or --tta, --out may
    be an .html page, too.
    """
    import json

    if corruptions or tta:
        return _measure_robustness(run, data, out, decisions, corruptions=corruptions, tta=tta)
    from eyebright.jobs.evaluate import evaluate as measure
    from eyebright.jobs.runs import write_text

    with output.terminal_progress() as progress:
        report = measure(run, data, decisions=decisions, progress=progress)
    if out is not None:
        write_text(out, json.dumps(report.to_dict(), indent=1) + "\n")
    output.print_report(report, per_class=True)
    return SOME_UNREADABLE if report.unreadable else 0


def _measure_robustness(
    run: Path, data: Path, out: Path | None, decisions: Path | None, *, corruptions: bool, tta: bool
) -> int:
    from eyebright.jobs.robustness import check_suffix, measure_robustness, write_robustness

    if out is not None:
        check_suffix(out)
    with output.terminal_progress() as progress:
        found = measure_robustness(run, data, corruptions=corruptions, tta=tta, decisions=decisions, progress=progress)
    if out is not None:
        write_robustness(out, found)
    output.print_robustness(found)
    return 0


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=str)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this .csv or .jsonl file.")
def predict(run: Path, images: Sequence[str], out: Path | None) -> int:
    """Classify IMAGES with the classifier in RUN.

    IMAGES are files, folders, zips or patterns in quotes; - reads paths, one a line, or one image from standard input.
    Prints a table on a terminal and CSV into a pipe.
    """
    from eyebright.jobs.predict import predict as answer
    from eyebright.jobs.predict import write_csv, write_predictions

    piped = sys.stdin.buffer.read() if "-" in images else b""
    with output.terminal_progress() as progress:
        answers = answer(run, images, piped=piped, progress=progress)
        if out is not None:
            total, errors = write_predictions(out, answers.predictions, answers.class_names)
            output.print_line(f"{total:,} answers in {out}")
        elif output.is_terminal():
            total, errors = output.print_predictions(answers.predictions)
        else:
            total, errors = write_csv(sys.stdout, answers.predictions, answers.class_names)
    if errors:
        output.print_error(f"{errors:,} of {total:,} images could not be read")
    return SOME_UNREADABLE if errors else 0
