"""Options that commands of several groups share."""

from __future__ import annotations

import click

slice_option = click.option(
    "--slice",
    "slices",
    multiple=True,
    metavar="COLUMN",
    help="A column of the list of images (camera, site, day), or group: tell how good it is on each of its values. May "
    "be given again. By default every column of 2 to 50 values.",
)
