"""The command cache."""

from __future__ import annotations

import click

from eyebright.cli import listings, terminal


@click.command()
@click.argument("action", type=click.Choice(["show", "clear"]), default="show")
def cache(action: str) -> int:
    """Show or clear the decoded images, and what a look at them found, kept so that a second run starts at once.

    They lie in $EYEBRIGHT_CACHE or ~/.cache/eyebright, beside downloaded weights, which `clear` leaves alone. They
    take at most 10 GB and a quarter of the free disk, or what $EYEBRIGHT_CACHE_GB says; 0 keeps none, and so does
    --set data.cache=false for one run.
    """
    from eyebright.jobs.cache import clear_cache, list_cache

    if action == "clear":
        removed = clear_cache()
        size = sum(file.size_bytes for file in removed)
        noun = "file" if len(removed) == 1 else "files"
        terminal.print_line(f"removed {len(removed):,} {noun} of decoded images, {size / 1e6:,.1f} MB")
    else:
        listings.print_cache(list_cache())
    return 0
