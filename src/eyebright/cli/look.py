"""The commands that only look: models, runs."""

from __future__ import annotations

from pathlib import Path

import click

from eyebright.cli import listings


@click.command()
def models() -> int:
    """List the networks and their pretrained weights."""
    from eyebright.jobs.models import list_models

    listings.print_models(list_models())
    return 0


@click.command()
@click.argument("folder", type=click.Path(path_type=Path), default=Path("runs"))
def runs(folder: Path) -> int:
    """List the runs in FOLDER (./runs by default): running, finished, interrupted or failed, and their results."""
    from eyebright.jobs.list_runs import list_runs

    listings.print_runs(list_runs(folder))
    return 0
