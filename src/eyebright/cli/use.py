"""The commands that use a saved classifier: evaluate, predict, export."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from eyebright.cli import output, terminal
from eyebright.cli.options import slice_option

SOME_UNREADABLE = 3
ENGINES = ("torch", "torch-bf16", "torch-cuda", "onnx", "onnx-int8", "openvino", "openvino-int8", "executorch")
engine_option = click.option(
    "--engine", type=click.Choice(ENGINES), help="What runs the network; by default the fastest that was exported."
)


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path))
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="A JSON file for the numbers.")
@click.option("--decisions", type=click.Path(path_type=Path), help="A decisions.csv that the page of a check saved.")
@click.option("--corruptions", is_flag=True, help="How it bears noise, blur, weather, JPEG and rotation instead.")
@click.option("--tta", is_flag=True, help="What looking at several views of each image gives and costs instead.")
@slice_option
@engine_option
def evaluate(
    run: Path,
    data: Path,
    out: Path | None,
    decisions: Path | None,
    corruptions: bool,
    tta: bool,
    slices: Sequence[str],
    engine: str | None,
) -> int:
    """Measure the classifier in RUN on the labelled images of DATA.

    Images that it was trained on are recognised by their content and left out. With --corruptions, --out may be an
    .html page, too.
    """
    import json

    if corruptions or tta:
        if slices:
            raise click.UsageError("--slice does not go with --corruptions or --tta; measure by columns without them")
        steering = {"corruptions": corruptions, "tta": tta, "decisions": decisions, "engine": engine}
        return _measure_robustness(run, data, out, **steering)
    from eyebright.jobs.evaluate import evaluate as measure
    from eyebright.writing import write_text

    with terminal.terminal_progress() as progress:
        report = measure(run, data, decisions=decisions, slices=slices, engine=engine, progress=progress)
    if out is not None:
        write_text(out, json.dumps(report.to_dict(), indent=1) + "\n")
    output.print_report(report, per_class=True)
    return SOME_UNREADABLE if report.unreadable else 0


def _measure_robustness(run: Path, data: Path, out: Path | None, **steering: Any) -> int:
    from eyebright.jobs.robustness import check_suffix, measure_robustness, write_robustness

    if out is not None:
        check_suffix(out, corruptions=steering["corruptions"])
    with terminal.terminal_progress() as progress:
        found = measure_robustness(run, data, **steering, progress=progress)
    if out is not None:
        write_robustness(out, found)
    output.print_robustness(found)
    return 0


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=str)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this .csv, .jsonl or .parquet file."
)
@engine_option
@click.option("--resume", is_flag=True, help="Go on with what an interrupted call has left of --out.")
@click.option("--error-rate", type=float, help="How many of the answers that are not unsure may be wrong; 0.05.")
@click.option("--coverage", type=float, help="How many of the sets of classes are to hold the true one; 0.9.")
@click.option("--sets", type=str, help="How sets are made: lac (the default, small) or raps (large for hard images).")
@click.option(
    "--explain",
    "page",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Also write this .html page of heat maps.",
)
def predict(
    run: Path,
    images: Sequence[str],
    out: Path | None,
    resume: bool,
    engine: str | None,
    page: Path | None,
    **promises: Any,
) -> int:
    """Classify IMAGES with the classifier in RUN.

    IMAGES are files, folders, zips or patterns in quotes; - reads paths, one a line, or one image from standard input.
    Prints a table on a terminal and CSV into a pipe. An answer is called unsure where its confidence is low or the
    image is unlike those of the training.
    """
    from eyebright.jobs.predict import predict as answer
    from eyebright.jobs.predict import predict_into, write_csv

    if resume and out is None:
        raise click.UsageError("--resume goes on with a file; give the same --out as before")
    piped = sys.stdin.buffer.read() if "-" in images else b""
    if page is not None:
        from eyebright.jobs.explain import check_target, explain

        check_target(page, 0)
    with terminal.terminal_progress() as progress:
        asked = {name: value for name, value in {"engine": engine, **promises}.items() if value is not None}
        if out is not None:
            total, errors = predict_into(out, run, images, piped=piped, resume=resume, progress=progress, **asked)
            terminal.print_line(f"{total:,} answers in {out}")
        else:
            answers = answer(run, images, piped=piped, progress=progress, **asked)
            if terminal.is_terminal():
                total, errors = output.print_predictions(answers.predictions)
            else:
                total, errors = write_csv(sys.stdout, answers.predictions, answers.class_names)
        if page is not None and errors < total:  # else there is no answer to explain
            command = terminal.next_command(*sys.argv[1:])
            explain(run, images, piped=piped, engine=engine, out=page, command=command, progress=progress)
            progress.say(f"Maps:        {page}")
    if errors:
        terminal.print_error(f"{errors:,} of {total:,} images could not be read")
    return SOME_UNREADABLE if errors else 0


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option(
    "--to",
    type=click.Choice(("onnx", "openvino", "executorch", "torch", "web")),
    default="onnx",
    show_default=True,
    help="For which engine; web is a page that answers in any browser.",
)
@click.option("--int8", is_flag=True, help="A quarter of the size and several times as fast; not for torch.")
@click.option(
    "--max-drop",
    type=click.FloatRange(min=0),
    default=0.5,
    show_default=True,
    help="How many points of accuracy it may lose on the test images.",
)
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="The page, by default web.html in RUN; for web only."
)
def export(run: Path, data: Path | None, to: str, int8: bool, max_drop: float, out: Path | None) -> int:
    """Export the classifier in RUN to a faster engine, and prove on its test images that it answers the same.

    The result is put into RUN's bundle, where predict and evaluate find it; with onnx or openvino they need no torch.
    executorch is a program for phones, which runs here only with --engine executorch; torch means bfloat16. web writes
    one HTML file to drop images on, which needs no network and sends nothing. DATA says where RUN's images are, if they
    have moved.
    """
    from eyebright.jobs.export import export as write

    with terminal.terminal_progress() as progress:
        exported = write(run, to=to, int8=int8, data=data, max_drop=max_drop, out=out, progress=progress)
    output.print_export(exported)
    return 0
