"""Look at labelled images before anything is trained on them: data in, a folder with a page out.

check.json   every finding, as data
check.html   the same to look at, to decide on, and to save decisions.csv from
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path

from eyebright import __version__
from eyebright.checking.check import KINDS
from eyebright.checking.check import check as look_over
from eyebright.checking.findings import CheckReport, Decision
from eyebright.checking.kept_looks import LookCache
from eyebright.checking.render import render_check
from eyebright.data.kept_files import FOLDER
from eyebright.data.sources import read_samples
from eyebright.jobs import runs
from eyebright.jobs.decisions import decide
from eyebright.jobs.given import Data, describe_data, image_reader
from eyebright.models.download import cache_folder
from eyebright.progress import Progress, SilentProgress
from eyebright.writing import write_text

REPORT_JSON = "check.json"
REPORT_HTML = "check.html"


@dataclass(frozen=True)
class Check:
    """A finished check: its folder and what was found."""

    folder: Path
    report: CheckReport

    @property
    def page(self) -> Path:
        """The page to look at and to decide on."""
        return self.folder / REPORT_HTML


def check(
    data: Data,
    *,
    out: str | os.PathLike[str] | None = None,
    wrong_labels: bool = True,
    decisions: str | os.PathLike[str] | None = None,
    command: str = "",
    next_command: str = "",
    progress: Progress | None = None,
) -> Check:
    """Say what is wrong with labelled images: unreadable, twice there, across splits, odd, probably mislabelled.

    No image file is changed, and none stops the check. Works without torch, but then looks for no wrong labels.

    Args:
        data: see `eyebright.train`; here a single class is enough.
        out: the folder for check.json and check.html; by default the first free one of runs/DATA-check, -2, ...
        wrong_labels: whether to look for wrong labels too, which runs ResNet-50 over all images.
        decisions: a decisions.csv of an earlier check: what was left out or relabelled there is so here, and what was
            kept is not reported again. The file that the page saves holds them as well.
        command: what the user typed, for the page.
        next_command: what the page says to type next.
        progress: is told how far it is, and asked whether to stop; then KeyboardInterrupt is raised and nothing kept.

    Raises:
        EyebrightError: see `eyebright.errors`; the message says what to do.
    """
    progress = progress or SilentProgress()
    table = read_samples(data, min_classes=1, keep_absent=True)
    earlier: tuple[Decision, ...] = ()
    digests: tuple[str, ...] | None = None
    if decisions is not None:
        decided = decide(table, decisions, progress, min_classes=1)
        table, earlier, digests = decided.applied.table, decided.decisions, decided.digests
    name = describe_data(data)
    with runs.new_folder(None if out is None else Path(out), f"{name}-check") as folder:
        report = look_over(
            table,
            data=name,
            search_wrong_labels=wrong_labels,
            decisions=earlier,
            digests=digests,
            cache=LookCache(cache_folder() / FOLDER),
            progress=progress,
        )
        page = render_check(report, image_reader(table), decisions=earlier, command=command, next_command=next_command)
        kinds = {kind.name: asdict(kind) for kind in KINDS}
        plain = {"eyebright": __version__, **asdict(report), "kinds": kinds}
        write_text(folder / REPORT_JSON, json.dumps(plain, indent=1) + "\n")
        write_text(folder / REPORT_HTML, page)
        return Check(folder, report)
