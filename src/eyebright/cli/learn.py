"""The commands that train: demo, train, compare."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from eyebright.cli import output, terminal
from eyebright.cli.options import slice_option

if TYPE_CHECKING:
    from eyebright.evaluation.label_sets_compare import AnyComparison
    from eyebright.jobs.compare import ComparedRuns
    from eyebright.jobs.train import Run

INTERRUPTED = 130


def _steering(function: Callable[..., Any]) -> Callable[..., Any]:
    """The options that train and compare share."""
    options = [
        click.option("--effort", type=str, help="quick (the default), standard or best."),
        click.option("--out", type=click.Path(path_type=Path), help="Folder for the results; must not exist yet."),
        click.option("--seed", type=int, help="Decides everything random; 0 by default."),
        click.option("--settings", "file", type=click.Path(path_type=Path), help="A TOML file with any settings."),
        click.option(
            "--set", "overrides", multiple=True, metavar="KEY=VALUE", help="One setting, such as training.lr=0.001."
        ),
        click.option(
            "--decisions", type=click.Path(path_type=Path), help="A decisions.csv that the page of a check saved."
        ),
        slice_option,
    ]
    for option in reversed(options):
        function = option(function)
    return function


@click.command()
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the results; must not exist yet.")
@click.option("--seed", type=int, help="Decides everything random; 0 by default.")
def demo(out: Path | None, seed: int | None) -> int:
    """Train and compare three networks on the images that come along."""
    from eyebright.jobs.demo import demo as run

    with terminal.terminal_progress() as progress:
        progress.say("Ten kinds of clothing, 28 x 28 pixels (Fashion-MNIST): can a network tell them apart?")
        result = run(out=out, seed=seed, command=_typed(), progress=progress)
    if result.runs.comparison is None or result.runs.interrupted:
        return _report_interruption(result.runs)
    _report_comparison(result.runs)
    terminal.print_line()
    best = next(iter(result.runs.reports))
    terminal.print_line("Three of the test images, classified by the best network:")
    output.print_predictions(answer for _, answer in result.examples)
    labels = ", ".join(label for label, _ in result.examples)
    terminal.print_line(f"(They are labelled: {labels}.)")
    terminal.print_line()
    terminal.print_line("What next, with your own photos in one folder for each class:")
    terminal.print_line("  " + terminal.next_command("train", "photos/"))
    terminal.print_line("  " + terminal.next_command("compare", "photos/"))
    terminal.print_line("  " + terminal.next_command("predict", result.runs.folder / best, "shoe.jpg"))
    return 0


@click.command()
@click.argument("data", type=click.Path(path_type=Path), required=False)
@click.option("--model", type=str, help="A network of `eyebright models`; resnet50 by default.")
@click.option("--weights", type=str, help="Pretrained weights: a name, a file, a run's folder, or none.")
@click.option("--teacher", type=str, help="A run's folder: learn from its network too.")
@click.option("--resume", "stopped", type=click.Path(path_type=Path), metavar="RUN", help="Go on with a stopped run.")
@click.option("--find-lr", is_flag=True, help="Only look for a learning rate: a plot and a suggestion.")
@_steering
def train(
    data: Path | None,
    model: str | None,
    weights: str | None,
    teacher: str | None,
    stopped: Path | None,
    find_lr: bool,
    effort: str | None,
    out: Path | None,
    seed: int | None,
    file: Path | None,
    overrides: Sequence[str],
    decisions: Path | None,
    slices: Sequence[str],
) -> int:
    """Train one network on DATA.

    DATA is a folder with one folder of images for each class (with or without train, val and test folders above them),
    a .zip or .tar of one, a .csv, .tsv or .parquet list (path, label, if wanted split, group, and any columns to tell
    results by), shards, or an .npz file.

    A run that was stopped or killed ends as if it had not been: eyebright train --resume RUN.
    """
    from eyebright.jobs.train import resume
    from eyebright.jobs.train import train as run
    from eyebright.settings import toml_value

    if stopped is not None:
        given = [model, weights, teacher, effort, out, seed, file, decisions, find_lr or None, *overrides, *slices]
        if any(value is not None for value in given):
            raise click.UsageError(
                "--resume keeps the run's settings; nothing else can be given but where its DATA are now"
            )
        with terminal.terminal_progress() as progress:
            return _report_training(resume(stopped, data=data, command=_typed(), progress=progress))
    if data is None:
        raise click.UsageError("Missing argument 'DATA'.")
    for name, value in (("network.weights", weights), ("training.teacher", teacher)):
        if value is not None:
            overrides = [*overrides, f"{name}={toml_value(value)}"]
    if find_lr:
        steering = {"effort": effort, "out": out, "seed": seed, "settings": file, "decisions": decisions}
        return _find_rate(data, model=model, overrides=overrides, **steering)
    with terminal.terminal_progress() as progress:
        result = run(
            data,
            model=model,
            effort=effort,
            out=out,
            seed=seed,
            settings=file,
            overrides=overrides,
            decisions=decisions,
            slices=slices,
            command=_typed(),
            progress=progress,
        )
    return _report_training(result)


def _find_rate(data: Path, **steering: Any) -> int:
    from eyebright.jobs.find_rate import find_rate

    with terminal.terminal_progress() as progress:
        found = find_rate(data, **steering, command=_typed(), progress=progress)
    if found.suggested is None:
        terminal.print_line("The loss fell at no rate, so none can be suggested.")
    else:
        terminal.print_line(f"Suggested:   --set training.lr={found.suggested:g}")
    terminal.print_line(f"Plot:        {found.page}")
    return 0


def _report_training(result: Run) -> int:
    if result.interrupted or result.report is None or result.contestant is None:
        if not result.interrupted:  # one of several processes; the first tells the result
            return 0
        terminal.print_line(f"Interrupted; everything is kept in {result.folder}, the best network so far too.")
        terminal.print_line("Go on:       " + terminal.next_command("train", "--resume", result.folder))
        return INTERRUPTED
    terminal.print_line()
    output.print_report(result.report)
    output.print_columns([result.contestant])
    terminal.print_line()
    terminal.print_line(f"Report:      {result.folder / 'report.html'}")
    terminal.print_line("Classify:    " + terminal.next_command("predict", result.folder, "new.jpg"))
    return 0


@click.command()
@click.argument("given", metavar="DATA | RUN RUN...", type=click.Path(path_type=Path), nargs=-1)
@click.option("--models", type=str, help="Networks, with commas; cnn,vgg16,resnet50 by default.")
@click.option("--no-baseline", is_flag=True, help="Leave out the classifier without a network.")
@click.option(
    "--seeds",
    type=click.IntRange(min=1),
    metavar="N",
    help="Train each network N times on one split, with seeds --seed, --seed + 1 and so on: means, spread, and tests "
    "that count both images and seeds. With --effort quick nothing in a pretrained network's training is left to "
    "chance.",
)
@click.option(
    "--kfold",
    "folds",
    type=click.IntRange(min=2),
    metavar="K",
    help="Cross-validation, for small data: each image is tested once, by a training on the other K - 1 of K folds.",
)
@click.option(
    "--resume", "stopped", type=click.Path(path_type=Path), metavar="DIR", help="Go on with a stopped comparison."
)
@_steering
def compare(
    given: Sequence[Path],
    models: str | None,
    no_baseline: bool,
    seeds: int | None,
    folds: int | None,
    stopped: Path | None,
    effort: str | None,
    out: Path | None,
    seed: int | None,
    file: Path | None,
    overrides: Sequence[str],
    decisions: Path | None,
    slices: Sequence[str],
) -> int:
    """Train several networks on the same split of DATA and report on them side by side.

    Beside them stands a classifier without a network (outlines and colours into a linear model), so that the report
    says what a network adds.

    Given the folders of runs instead, compare these without training anything; they must have been tested on the same
    images.

    With --seeds all trainings are tested on the same images, and one network counts as better than another only if it
    would be with other images and other seeds. With --kfold, groups and near-duplicates stay in one fold, and the
    answers of all folds are counted together.

    A comparison that was stopped or killed keeps what is trained: eyebright compare --resume DIR.
    """
    from eyebright.jobs.compare import MODELS, resume_comparison
    from eyebright.jobs.compare import compare as run
    from eyebright.jobs.compare_runs import compare_runs, is_run

    steering = [models, no_baseline or None, seeds, folds, effort, seed, file, decisions, *overrides, *slices]
    if stopped is not None:
        if len(given) > 1 or any(value is not None for value in (*steering, out)):
            raise click.UsageError(
                "--resume keeps the comparison's settings; nothing else can be given but where its DATA are now"
            )
        with terminal.terminal_progress() as progress:
            return _finish(
                resume_comparison(stopped, data=next(iter(given), None), command=_typed(), progress=progress)
            )
    if not given:
        raise click.UsageError("Missing argument 'DATA | RUN RUN...'.")
    if len(given) > 1 or is_run(given[0]):
        if any(value is not None for value in steering):
            raise click.UsageError("runs are compared as they are; nothing else can be given with them but --out")
        found = compare_runs(given, out=out, command=_typed())
        _print_comparison(found.comparison, found.folder)
        return 0
    data = given[0]
    with terminal.terminal_progress() as progress:
        result = run(
            data,
            models=MODELS if models is None else [name.strip() for name in models.split(",") if name.strip()],
            effort=effort,
            out=out,
            seed=seed,
            settings=file,
            overrides=overrides,
            decisions=decisions,
            slices=slices,
            baseline=not no_baseline,
            seeds=seeds or 1,
            folds=folds or 0,
            command=_typed(),
            progress=progress,
        )
    return _finish(result)


def _finish(result: ComparedRuns) -> int:
    """What came of a comparison, and what to type next."""
    if result.comparison is None and not result.interrupted:  # one of several processes; the first tells the result
        return 0
    if result.comparison is None or result.interrupted:
        return _report_interruption(result)
    _report_comparison(result)
    best = next(iter(result.reports))
    if result.comparison.folds:
        terminal.print_line(f"Train the best on all images:  eyebright train DATA --model {best}")
    else:
        terminal.print_line("Classify:    " + terminal.next_command("predict", result.runs[best], "new.jpg"))
    return 0


def _report_comparison(result: ComparedRuns) -> None:
    assert result.comparison is not None
    _print_comparison(result.comparison, result.folder)


def _print_comparison(comparison: AnyComparison, folder: Path) -> None:
    terminal.print_line()
    output.print_comparison(comparison)
    output.print_columns(comparison.contestants)
    terminal.print_line()
    terminal.print_line(f"Report:      {folder / 'report.html'}")


def _report_interruption(result: ComparedRuns) -> int:
    if result.comparison is None:
        lies = f"; what there is lies in {result.folder}" if result.folder.is_dir() else ""
        terminal.print_line(f"Interrupted before any network was measured{lies}.")
    else:
        _report_comparison(result)
        terminal.print_line("Interrupted: trainings that were not finished are not in the report.")
    if result.folder.is_dir():
        terminal.print_line("Go on:       " + terminal.next_command("compare", "--resume", result.folder))
    return INTERRUPTED


def _typed() -> str:
    """The command as the user typed it."""
    return terminal.next_command(*sys.argv[1:])
