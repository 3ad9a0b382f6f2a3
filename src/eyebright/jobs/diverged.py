"""What a training that diverged leaves: a page that shows where that was, and with which images.

diverged.html   to look at
diverged.json   the same to read by programs
"""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from eyebright.data.samples import SampleTable
from eyebright.distributed.launch import was_restarted
from eyebright.evaluation.mistakes import read_or_none
from eyebright.jobs.given import image_reader
from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.page.thumbnail import SIDE, thumbnail
from eyebright.training.diverged import DivergedError, Failure, Suspect
from eyebright.training.history import EpochRecord
from eyebright.writing import write_text

PAGE = "diverged.html"
VALUES = "diverged.json"
SHOWN = 24
"""Images of the batch."""
EPOCHS = 12
"""The last ones, in the page."""


def write_divergence(
    folder: Path, error: DivergedError, table: SampleTable, history: Sequence[EpochRecord], command: str
) -> Path:
    """The page and the values into a run's folder; returns the page.

    Args:
        folder: the run's.
        error: what happened.
        table: that was trained on.
        history: of all phases so far.
        command: what the user typed.

    Raises:
        OutputError: they can't be written.
    """
    suspects = [{**asdict(one), "loss": one.loss if math.isfinite(one.loss) else None} for one in error.suspects]
    values = {"message": str(error), "failures": [asdict(one) for one in error.failures], "suspects": suspects}
    write_text(folder / VALUES, json.dumps(values, indent=1) + "\n")
    body = (
        '<main><header><p class="kicker">Eyebright training</p><h1>It came to no result</h1>'
        f"<p>{markup.text(str(error)[:1].upper() + str(error)[1:])}.</p></header>"
        f"<section><h2>Where it failed</h2>{_failures(error.failures)}</section>"
        f"<section><h2>The images of the last step that failed</h2>{_suspects(error.suspects, table)}</section>"
        f"<section><h2>How it learned before</h2>{_epochs(history)}"
        f'<p class="quiet">{markup.text(command)}</p></section></main>'
    )
    write_text(folder / PAGE, build_page("Training that came to no result", body))
    return folder / PAGE


def refuse_diverged(folder: Path) -> None:
    """torchrun starts again what has diverged; it would do so once more.

    Raises:
        DivergedError: as it was.
    """
    if was_restarted() and (folder / VALUES).is_file():
        raise DivergedError(json.loads((folder / VALUES).read_text(encoding="utf-8"))["message"])


def remove_divergence(folder: Path) -> None:
    """Take away what an earlier start has left, where all went well after it."""
    for name in (PAGE, VALUES):
        (folder / name).unlink(missing_ok=True)


def _table(label: str, heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col" class="number">{markup.text(one)}</th>' for one in heads)
    body = "".join("<tr>" + "".join(f'<td class="number">{one}</td>' for one in row) + "</tr>" for row in rows)
    table = f'<table class="plain"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'
    return markup.scroll_box(label, table)


def _failures(failures: Sequence[Failure]) -> str:
    batches = ["" if one.batch is None else f"{one.batch + 1}" for one in failures]
    rows = [
        [f"{one.epoch}", batch, f"{one.step:,}", f"{one.highest_lr:g}"]
        for one, batch in zip(failures, batches, strict=True)
    ]
    same = len({(one.epoch, one.batch) for one in failures}) == 1 and failures[0].batch is not None
    words = (
        "Always at the same batch, whatever the learning rate: look at its images below."
        if same
        else "Each time but the last, training went back to where all was well, and on at a tenth of the rate."
    )
    heads = ["epoch", "batch", "steps before", "highest learning rate"]
    return f"<p>{words}</p>{_table('Where it failed', heads, rows)}"


def _suspects(suspects: Sequence[Suspect], table: SampleTable) -> str:
    read = image_reader(table, short_side=SIDE)
    row_of = {name: row for row, name in enumerate(table.names)}
    figures = []
    for one in suspects[:SHOWN]:
        label = ", ".join(table.labels_of(row_of[one.name]))
        place = table.store.locate(one.name)
        figures.append(
            f'<figure class="mistake">{thumbnail(read_or_none(read, one.name), f"Image labelled {label}")}<figcaption>'
            f"<span>loss <b>{one.loss:.3g}</b></span><span>labelled <b>{markup.name(label)}</b></span>"
            f'<small title="{markup.text(place)}">{markup.name(markup.end_of_place(place))}</small>'
            "</figcaption></figure>"
        )
    if not figures:
        return '<p class="quiet">They are not known.</p>'
    some = f"The {len(figures)} of {len(suspects)} that" if len(suspects) > len(figures) else "Those that"
    words = f"{some} the best network so far finds hardest come first. Are they what their labels say?"
    return f'<p class="quiet">{words}</p><div class="thumbs">{"".join(figures)}</div>'


def _epochs(history: Sequence[EpochRecord]) -> str:
    epochs = [one for one in history if one.phase == "epochs"][-EPOCHS:]
    if not epochs:
        return '<p class="quiet">No epoch was ended.</p>'
    rows = [
        [
            f"{one.number:g}",
            "" if one.train_loss is None else f"{one.train_loss:.3f}",
            f"{one.val_loss:.3f}",
            f"{one.val_accuracy:.1%}",
            "kept" if one.kept else "",
        ]
        for one in epochs
    ]
    heads = ["epoch", "training loss", "validation loss", "validation accuracy", "weights"]
    return _table("How it learned before", heads, rows)
