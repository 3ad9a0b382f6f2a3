"""The command that measures a classifier's speed: bench."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import click

from eyebright.cli import output, terminal


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, type=str)
@click.option("--quick", is_flag=True, help="A few images and rounds: a first look.")
@click.option("--json", "as_json", is_flag=True, help="Print the numbers as JSON instead of tables.")
def bench(run: Path, images: Sequence[str], quick: bool, as_json: bool) -> int:
    """Measure how fast the classifier in RUN is on this machine, with every engine that it has.

    From image files to labels, the network alone, single images, the time to a first answer, memory, and the share of
    what the machine can do at most. IMAGES are files, folders, zips or patterns in quotes; by default some of RUN's
    own. Leave the machine alone meanwhile: what else it does is measured, too.
    """
    import json

    from eyebright.jobs.bench import bench as measure

    with terminal.terminal_progress() as progress:
        report = measure(run, images, quick=quick, progress=progress)
    if as_json:
        terminal.print_line(json.dumps(report.to_dict(), indent=1))
    else:
        output.print_speed(report)
    return 0
