"""The commands that show how networks are built: draw, and atlas, which explains them."""

from __future__ import annotations

from pathlib import Path

import click

from eyebright.cli import terminal

VIEWS = ("volumes", "flow", "table")


@click.command()
@click.argument("network", type=str, metavar="MODEL|RUN")
@click.option(
    "--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this .svg, .png, .pdf or .html file."
)
@click.option("--view", type=click.Choice(VIEWS), default="volumes", show_default=True, help="What to draw.")
@click.option("--text", is_flag=True, help="Print every layer in numbers; draws nothing without --out.")
@click.option("--image", type=click.Path(path_type=Path), help="Show this image on its way through, on a page.")
@click.option("--size", type=int, help="Side of the input image in pixels.")
@click.option("--unfold", is_flag=True, help="Show every layer inside residual blocks.")
@click.option("--dark", is_flag=True, help="Light on dark; .svg and .html follow the reader without it.")
def draw(
    network: str,
    out: Path | None,
    view: str,
    text: bool,
    image: Path | None,
    size: int | None,
    unfold: bool,
    dark: bool,
) -> int:
    """Draw a network of the catalogue, such as vgg16, or that of a RUN; traced from the network itself.

    Without --out it writes MODEL.svg, or MODEL.html with --image, into this folder.
    """
    from eyebright.jobs.draw import draw as make

    if out is None and not text:
        stem = Path(network).name or "network"
        out = Path(f"{stem}{'' if view == 'volumes' else f'-{view}'}{'.svg' if image is None else '.html'}")
    drawing = make(network, size=size, view=view, unfold=unfold, image=image, out=out, dark=dark)  # type: ignore[arg-type]
    if text:
        terminal.print_line(str(drawing.summary))
    if out is not None:
        terminal.print_line(f"Drawing:     {out}")
    return 0


@click.command()
@click.option(
    "--out",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("atlas"),
    show_default=True,
    help="Write the pages into this new folder.",
)
def atlas(out: Path) -> int:
    """Write pages that explain image classification, each layer, VGG-16, ResNet-50 and transfer learning.

    All pictures and numbers are made by the networks themselves, from the starter weights and the images that
    come along.
    """
    from eyebright.jobs.atlas import FIRST
    from eyebright.jobs.atlas import atlas as make

    make(out=out)
    terminal.print_line(f"Atlas:       {out / FIRST}")
    return 0
