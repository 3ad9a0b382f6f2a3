"""The commands that only look: models."""

from __future__ import annotations

import click

from eyebright.cli import output


@click.command()
def models() -> int:
    """List the networks and their pretrained weights."""
    from eyebright.jobs.models import list_models

    output.print_models(list_models())
    return 0
