"""The commands that show what a classifier looks at: explain."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from eyebright.cli import output, terminal

SOME_UNREADABLE = 3
METHODS = ("auto", "grad-cam", "grad-cam++", "layer-cam", "integrated-gradients", "occlusion", "all")


@click.command()
@click.argument("run", type=click.Path(path_type=Path))
@click.argument("images", nargs=-1, required=True, type=str)
@click.option(
    "--out",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write to this .html file, or for one image to this .png file.",
)
@click.option(
    "--method",
    "methods",
    type=click.Choice(METHODS),
    multiple=True,
    default=["auto"],
    show_default=True,
    help="How the map is made; can be given several times. auto: Grad-CAM or Layer-CAM, as suits the network.",
)
@click.option("--layer", help="The layer that Grad-CAM and its relatives draw; chosen by itself otherwise.")
@click.option("--label", help="The class to explain, if not each image's own answer.")
@click.option("--against", help="The class to weigh it against, if not the likeliest other.")
@click.option("--similar", is_flag=True, help="Also show the most similar training images; looks at all of them again.")
@click.option("--data", type=click.Path(path_type=Path), help="Where the training images are now, for --similar.")
def explain(
    run: Path,
    images: Sequence[str],
    out: Path | None,
    methods: Sequence[str],
    layer: str | None,
    label: str | None,
    against: str | None,
    similar: bool,
    data: Path | None,
) -> int:
    """Show where in IMAGES the answers of the classifier in RUN come from, and how faithful that is.

    IMAGES are as for predict. Without --out it writes IMAGE-explained.html, or explained.html for several images.
    """
    from eyebright.jobs.explain import explain as ask

    if out is None:
        alone = Path(images[0]) if len(images) == 1 else None
        named = alone is not None and images[0] != "-" and not alone.is_dir() and not set(images[0]) & set("*?[")
        out = Path(f"{alone.stem}-explained.html" if alone is not None and named else "explained.html")
    with terminal.terminal_progress() as progress:
        explained = ask(
            run,
            images,
            methods=methods,
            layer=layer,
            label=label,
            against=against,
            similar=data if data is not None else similar,
            piped=sys.stdin.buffer.read() if "-" in images else b"",
            out=out,
            command=terminal.next_command(*sys.argv[1:]),
            progress=progress,
        )
    output.print_explained(explained)
    terminal.print_line(f"{'Picture:' if out.suffix.lower() == '.png' else 'Page:   '}     {out}")
    if explained.unreadable:
        terminal.print_error(f"{explained.unreadable:,} of {len(explained.explanations):,} images could not be read")
    return SOME_UNREADABLE if explained.unreadable else 0


@click.command()
@click.argument("network", type=str, metavar="RUN|MODEL")
@click.argument("image", type=click.Path(path_type=Path), required=False)
@click.option("--out", type=click.Path(path_type=Path, dir_okay=False), help="Write to this .html file.")
@click.option("--data", type=click.Path(path_type=Path), help="Labelled images, if not those the run was trained on.")
@click.option(
    "--channel", "channels", multiple=True, help="A channel to show, as layer3:17; can be given several times."
)
@click.option("--steps", type=int, default=64, show_default=True, help="Of painting pictures; 0 leaves them out.")
def features(
    network: str, image: Path | None, out: Path | None, data: Path | None, channels: Sequence[str], steps: int
) -> int:
    """Show what the network of RUN has learned to look for, from edges to parts to objects.

    First filters, the answer of every stage to IMAGE, the images of a data set that excite a channel most, and pictures
    painted to excite it. Also for MODEL, one that comes with starter weights: resnet50 or vgg16. Without --out it
    writes RUN-features.html.
    """
    from eyebright.jobs.features import features as look

    if out is None:
        out = Path(f"{Path(network).name or 'network'}-features.html")
    with terminal.terminal_progress() as progress:
        learned = look(network, image, data=data, channels=channels, steps=steps, out=out, progress=progress)
    for note in learned.features.notes:
        terminal.print_line(f"note: {note}")
    terminal.print_line(f"Page:        {out}")
    return 0
