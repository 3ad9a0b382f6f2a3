"""Look for a learning rate: data in, a folder with a plot and a suggestion out; nothing is trained to the end.

learning_rate.json   every rate tried, with its loss
learning_rate.html   the same to look at
"""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from eyebright.distributed.ranks import Ranks
from eyebright.errors import SettingsError
from eyebright.evaluation.curves import render_rate_curve
from eyebright.jobs import runs
from eyebright.jobs.given import Data, describe_data
from eyebright.jobs.prepare import prepare
from eyebright.jobs.teach import require_teacher, teacher_of
from eyebright.jobs.train import choose_settings
from eyebright.models.catalog import find_model
from eyebright.page import markup
from eyebright.page.document import build_page
from eyebright.progress import Progress, SilentProgress
from eyebright.training.rates import TriedRate, suggest_rate
from eyebright.training.settings import Settings
from eyebright.training.train import find_learning_rate
from eyebright.writing import write_text

RATES_JSON = "learning_rate.json"
RATES_HTML = "learning_rate.html"


@dataclass(frozen=True)
class FoundRate:
    """What was found."""

    folder: Path
    tried: tuple[TriedRate, ...]
    suggested: float | None
    """None if the loss fell at no rate."""

    @property
    def page(self) -> Path:
        """The plot."""
        return self.folder / RATES_HTML


def find_rate(
    data: Data,
    *,
    model: str | None = None,
    effort: str | None = None,
    out: str | os.PathLike[str] | None = None,
    seed: int | None = None,
    settings: Settings | str | os.PathLike[str] | None = None,
    overrides: Sequence[str] = (),
    decisions: str | os.PathLike[str] | None = None,
    command: str = "",
    progress: Progress | None = None,
) -> FoundRate:
    """Take a hundred steps at rising learning rates, and suggest the one to train with.

    Args:
        data, model, effort, seed, settings, overrides, decisions, progress: see `eyebright.train`.
        out: the folder for the plot; by default the first free one of runs/DATA-MODEL-rate, -2, ...
        command: what the user typed, for the page.

    Raises:
        SettingsError: the effort fits only a head, or torchrun started several processes.
        EyebrightError: see `eyebright.train`.
        KeyboardInterrupt: a stop was requested.
    """
    progress = progress or SilentProgress()
    chosen = choose_settings(settings, overrides, model=model, effort=effort, seed=seed)
    entry = find_model(chosen.model)
    name = describe_data(data)
    wanted = None if out is None else Path(out)
    if int(os.environ.get("WORLD_SIZE", "1")) > 1:
        raise SettingsError("a learning rate is looked for by one process; leave torchrun away")
    require_teacher(chosen)
    runs.require_free(wanted)
    prepared = prepare(data, chosen, progress, decisions=decisions)
    with runs.new_folder(wanted, f"{name}-{entry.name}-rate") as folder:
        tried = find_learning_rate(
            prepared.table,
            chosen,
            teach=teacher_of(chosen, Ranks(), progress),
            digests=prepared.digests,
            progress=progress,
        )
        found = FoundRate(folder, tried, suggest_rate(tried))
        plain = {"suggested": found.suggested, "tried": [asdict(one) for one in tried]}
        write_text(folder / RATES_JSON, json.dumps(plain, indent=1) + "\n")
        write_text(folder / RATES_HTML, _render(found, f"{entry.title} learning {name}", command))
        return found


def _render(found: FoundRate, what: str, command: str) -> str:
    rates, losses = [one.rate for one in found.tried], [one.loss for one in found.tried]
    marked = None
    if found.suggested is not None:
        suggested = found.suggested
        marked = min(range(len(rates)), key=lambda place: abs(rates[place] / suggested - 1))
        words = f"Train with <code>--set training.lr={found.suggested:g}</code>: a tenth of where the loss was lowest."
    else:
        words = "The loss fell at no rate: the network is as good as these steps can make it, or the data are too few."
    body = (
        '<main><header><p class="kicker">Eyebright learning rate</p>'
        f"<h1>{markup.text(what)}</h1><p>{words}</p></header>"
        '<section><article class="card"><figure>'
        "<figcaption>Loss, as a running average, with one step at each rate</figcaption>"
        f"{render_rate_curve('Loss by learning rate', rates, losses, marked)}</figure></article>"
        f'<p class="quiet">{markup.text(command)}</p></section></main>'
    )
    return build_page(f"Learning rate: {what}", body)
