"""Everything that Eyebright prints. Results go to standard output, progress and remarks to standard error.

rich is imported when something is printed, so that `--help` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, final

from eyebright.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID

    from eyebright.checking.findings import CheckReport
    from eyebright.evaluation.label_sets import AnyReport
    from eyebright.evaluation.label_sets_compare import AnyComparison, AnyContestant
    from eyebright.evaluation.report import EvaluationReport
    from eyebright.inference.predictor import Prediction
    from eyebright.jobs.cache import CacheContents
    from eyebright.jobs.explain import Explained
    from eyebright.jobs.export import Export
    from eyebright.jobs.list_runs import ListedRun
    from eyebright.jobs.models import ListedModel
    from eyebright.jobs.robustness import Robustness

FINDINGS_NAMED = 5  # of each kind; the page shows all
PARTS_NAMED = 5  # of those that are worse than the whole
TABLE_ROWS = 200  # a longer table in a terminal is read by nobody


def _console(*, stderr: bool = False) -> Console:
    from rich.console import Console

    # Of several processes that train together only the first speaks.
    return Console(stderr=stderr, highlight=False, soft_wrap=True, quiet=_rank() > 0)


def _rank() -> int:
    """Which of the processes that torchrun started this is; 0 without torchrun."""
    number = os.environ.get("RANK", "0")
    return int(number) if number.isdecimal() else 0


def print_line(text: str = "") -> None:
    """A line of a result; control characters in names are shown escaped."""
    _console().print(_safe(text), markup=False)


def print_error(text: str) -> None:
    """What went wrong."""
    from rich.console import Console

    console = Console(stderr=True, highlight=False, soft_wrap=True)
    console.print("error: " if _rank() == 0 else f"error in process {_rank()}: ", style="bold red", end="")
    console.print(_safe(text), markup=False)


def _safe(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))


@final
class TerminalProgress:
    """A bar for each stage on a terminal, plain lines elsewhere. The first Ctrl-C or SIGTERM asks to stop."""

    def __init__(self) -> None:
        self.stop_requested = False
        self._console = _console(stderr=True)
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._total = 0

    def start(self, stage: str, total: int) -> None:
        self.finish()
        self._stage, self._total = stage, total
        if not self._console.is_terminal:
            self._console.print(f"{_safe(stage)}: {total:,} ...", markup=False)
            return
        from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn
        from rich.progress import Progress as RichProgress

        self._bars = RichProgress(
            TextColumn("{task.description}", markup=False),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=self._console,
            transient=False,
        )
        self._task = self._bars.add_task(_safe(stage), total=total, note="")
        self._bars.start()

    def advance(self, done: int, note: str = "") -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, note=_safe(note))

    def finish(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None

    def say(self, text: str) -> None:
        self._console.print(_safe(text), markup=False)

    def warn(self, text: str) -> None:
        self._console.print("note: ", style="yellow", end="")
        self._console.print(_safe(text), markup=False)


@contextmanager
def terminal_progress() -> Iterator[TerminalProgress]:
    """Progress on the terminal, listening for Ctrl-C and SIGTERM until the block ends.

    The first signal asks the job to stop and to keep what there is; a second one ends it at once.
    """
    progress = TerminalProgress()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        if progress.stop_requested:
            if "TORCHELASTIC_RUN_ID" in os.environ:
                return  # Ctrl-C comes twice, from the terminal and from torchrun, which kills what takes too long
            raise KeyboardInterrupt
        progress.stop_requested = True
        progress.say("Stopping after this step, and keeping what there is. Once more ends it at once.")

    before = {number: signal.signal(number, ask_to_stop) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield progress
    finally:
        progress.finish()
        for number, handler in before.items():
            signal.signal(number, handler)


def print_report(report: AnyReport, *, per_class: bool = False) -> None:
    """What a classifier achieved, in words; with a table of its classes if asked."""
    print_line(str(report))
    if not per_class:
        return
    from rich.table import Table

    from eyebright.evaluation.label_sets import LabelResult, LabelSetsReport

    several = isinstance(report, LabelSetsReport)
    table = Table(box=None, pad_edge=False)
    table.add_column("class")
    named = ["average precision", "threshold"] if several else []
    for name in (*named, "precision", "recall", *([] if several else ["95 % interval"]), "F1", "images"):
        table.add_column(name, justify="right")
    for result in report.per_class:
        numbers = [f"{value:.3f}" for value in (result.precision, result.recall, result.f1)]
        if isinstance(result, LabelResult):
            average = "" if result.average_precision is None else f"{result.average_precision:.3f}"
            numbers = [average, f"{result.threshold:.2f}", *numbers]
        else:
            low, high = result.recall_low, result.recall_high
            numbers.insert(2, "" if low is None or high is None else f"{low:.3f} to {high:.3f}")
        table.add_row(_cell(result.name), *numbers, f"{result.support:,}")
    _console().print(table)
    if isinstance(report, LabelSetsReport):
        return
    if report.measures:
        print_line()
        _print_measures(report)
    worst = [part for part in report.slices if part.accuracy_high < report.accuracy]
    if worst:
        print_line()
        print_line("Worse than the whole, worst first:")
        for part in worst[:PARTS_NAMED]:
            print_line(
                f"  {part.kind} {part.name}: {part.num_correct:,} of {part.num_samples:,} right "
                f"({100 * part.accuracy_low:.1f} to {100 * part.accuracy_high:.1f} %)"
            )


def _print_measures(report: EvaluationReport) -> None:
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("over all classes")
    for name in ("value", "95 % interval"):
        table.add_column(name, justify="right")
    for name, one in report.measures.items():
        interval = "" if one.low is None or one.high is None else f"{one.low:.3f} to {one.high:.3f}"
        table.add_row(name.replace("_", " "), f"{one.value:.3f}", interval)
    _console().print(table)


def print_comparison(comparison: AnyComparison) -> None:
    """The networks side by side, and who is ahead."""
    from rich.table import Table

    from eyebright.evaluation.compare import Comparison, compare_in_words, ranked
    from eyebright.evaluation.label_sets_compare import compare_label_sets_in_words, rank_label_sets
    from eyebright.evaluation.report import interval_in_words, percent
    from eyebright.page import markup

    rows: list[tuple[AnyContestant, str, str]]
    if isinstance(comparison, Comparison):
        first, words = "accuracy", compare_in_words(comparison)
        rows = [(c, percent(c.report.accuracy), interval_in_words(c.report)) for c in ranked(comparison)]
    else:
        first, words = "mean average precision", compare_label_sets_in_words(comparison)
        rows = [(c, *c.report.precision_apart()) for c in rank_label_sets(comparison)]
    table = Table(box=None, pad_edge=False)
    table.add_column("network")
    for name in (first, "95 % interval", "macro F1", "time to train", "images/s", "one image", "size"):
        table.add_column(name, justify="right")
    for contestant, value, interval in rows:
        report = contestant.report
        table.add_row(
            contestant.title,
            value,
            interval,
            f"{report.macro_f1:.3f}",
            _plain(markup.duration(contestant.train_seconds)),
            _plain(markup.rate(report.images_per_second)),
            "" if contestant.latency_ms is None else f"{contestant.latency_ms:.3g} ms",
            _plain(markup.size(contestant.size_bytes)),
        )
    _console().print(table)
    print_line()
    print_line(words)


def print_robustness(found: Robustness) -> None:
    """Accuracy by corruption and severity, and by the number of views of each image."""
    from rich.table import Table

    from eyebright.evaluation.report import percent

    if found.corruptions is not None:
        table = Table(box=None, pad_edge=False)
        table.add_column("accuracy at severity")
        for severity in range(1, 6):
            table.add_column(str(severity), justify="right")
        for result in found.corruptions.results:
            table.add_row(result.name, *(percent(value) for value in result.accuracies))
        _console().print(table)
        print_line(str(found.corruptions))
    if found.views:
        table = Table(box=None, pad_edge=False)
        for name in ("views", "accuracy", "95 % interval", "log loss", "gained", "lost", "p", "time"):
            table.add_column(name, justify="right")
        for view in found.views:
            interval = f"{view.accuracy_low * 100:.1f} to {view.accuracy_high * 100:.1f} %"
            numbers = (f"{view.log_loss:.3f}", str(view.gained), str(view.lost), f"{view.p_value:.2f}")
            table.add_row(str(view.views), percent(view.accuracy), interval, *numbers, f"{view.cost:.1f} x")
        _console().print(table)


def _plain(text: str) -> str:
    import html

    return html.unescape(text).replace("\u00a0", " ").replace("\u202f", " ")


def print_predictions(predictions: Iterable[Prediction]) -> tuple[int, int]:
    """A table of answers; returns how many there are, and how many are errors."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("confidence", justify="right")
    table.add_column("unsure", overflow="fold")
    table.add_column("next likeliest", overflow="fold")
    total = errors = 0
    rows = iter(predictions)
    for answer in islice(rows, TABLE_ROWS):
        total += 1
        if answer.error is not None:
            errors += 1
            table.add_row(_cell(answer.name), _cell(f"error: {answer.error}", "red"), "", "", "")
            continue
        others = [(name, share) for name, share in answer.probabilities.items() if name not in answer.labels][:2]
        following = ", ".join(f"{name} {100 * share:.0f} %" for name, share in others if share >= 0.005)
        confidence = "" if answer.confidence is None else f"{100 * answer.confidence:.1f} %"
        labels = ", ".join(answer.labels) if answer.labels else "none of them"
        unsure = _cell(answer.unsure or "", "yellow")
        table.add_row(_cell(answer.name), _cell(labels), confidence, unsure, _cell(following))
    more = 0
    for answer in rows:
        more += 1
        errors += answer.error is not None
    console = _console()
    console.print(table)
    if more:
        print_line(f"and {more:,} more; --out results.csv keeps all of them")
    return total + more, errors


def print_export(export: Export) -> None:
    """An exported engine beside torch: the same answers, and how fast."""
    from rich.table import Table

    from eyebright.evaluation.report import percent
    from eyebright.metrics import wilson_interval
    from eyebright.page.markup import rate

    verified = export.verified
    count = verified.num_images
    table = Table(box=None, pad_edge=False)
    table.add_column("", no_wrap=True)
    for name in ("torch", verified.engine):
        table.add_column(name, justify="right", no_wrap=True)

    def accuracy(correct: int) -> str:
        low, high = wilson_interval(correct, count)
        return f"{percent(correct / count)} ({100 * low:.1f} to {100 * high:.1f})"

    def milliseconds(seconds: float) -> str:
        return f"{1000 * seconds:.1f} ms"

    speeds = (_plain(rate(speed)) for speed in (verified.torch_images_per_second, verified.images_per_second))
    latencies = map(milliseconds, (verified.torch_latency_seconds, verified.latency_seconds))
    table.add_row("same class as torch", "", f"{verified.num_agree:,} of {count:,}")
    table.add_row("accuracy (95 % interval)", accuracy(verified.torch_correct), accuracy(verified.num_correct))
    table.add_row("largest logit, and off by", f"{verified.largest_logit:.3g}", f"{verified.largest_difference:.2g}")
    if verified.lowest_cosine is not None:
        table.add_row("embeddings, lowest cosine", "", f"{verified.lowest_cosine:.4f}")
    table.add_row("size", "", f"{verified.size_bytes / 1e6:.1f} MB")
    table.add_row("one image", *latencies)
    table.add_row("images a second", *speeds)
    table.add_row("times torch", "1", f"{verified.speedup:.1f}")
    console = _console()
    console.print(table)
    print_line()
    print_line(f"{verified.engine}: {verified.how}. Compared on {count:,} test images; timed in turns, decoded before.")
    print_line(f"Export:      {export.path}")


def print_explained(explained: Explained) -> None:
    """Where the maps are from, and for each image how faithful its maps are."""
    from rich.table import Table

    from eyebright.explanation.attribution import TITLES

    table = Table(box=None, pad_edge=False)
    table.add_column("image", overflow="fold")
    table.add_column("class", overflow="fold")
    table.add_column("confidence", justify="right")
    table.add_column("map")
    table.add_column("insertion - deletion", justify="right")
    table.add_column("random maps", justify="right")
    for found in explained.explanations[:TABLE_ROWS]:
        if found.image is None:
            table.add_row(_cell(found.name), _cell(f"error: {found.prediction.error}", "red"), "", "", "", "")
            continue
        first = [_cell(found.name), _cell(found.label), f"{100 * found.prediction.probabilities[found.label]:.1f} %"]
        for judged in found.maps:
            measured = judged.faithfulness
            title = TITLES[judged.attribution.method]
            table.add_row(*first, title, f"{measured.score:.2f}", f"{measured.random_score:.2f}")
            first = ["", "", ""]
    from rich.console import Console

    Console(highlight=False, width=max(_console().width, 110)).print(table)
    print_line()
    if any(judged.attribution.layer for found in explained.explanations for judged in found.maps):
        print_line(f"Drawn from:  {explained.subject.layer}")


def _cell(text: str, style: str = "") -> Any:
    from rich.text import Text

    return Text(_safe(text), style=style)


def print_models(models: Sequence[ListedModel]) -> None:
    """Every network with its weights."""
    from rich.table import Table

    table = Table(box=None, pad_edge=False)
    table.add_column("network", no_wrap=True)
    for name in ("parameters", "multiply-adds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("weights", no_wrap=True)
    for name in ("size", "top-1", "top-5"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("from", no_wrap=True)
    table.add_column("licence", no_wrap=True)
    for model in models:
        first = [model.name, f"{model.parameters / 1e6:.1f} M", f"{model.multiply_adds / 1e9:.2f} G"]
        if not model.weights:
            table.add_row(*first, "none: trains from scratch")
        for listed in model.weights:
            entry = listed.entry
            top = [f"{value:.1f} %" if value is not None else "" for value in (entry.top1, entry.top5)]
            licence = entry.licence.split(" (")[0].split(";")[0]
            table.add_row(*first, entry.name, f"{entry.size_bytes / 1e6:.0f} MB", *top, listed.place, licence)
            first = ["", "", ""]
    from rich.console import Console

    # Into a pipe or a narrow window the table keeps its width: cut-off names help nobody.
    Console(highlight=False, width=max(_console().width, 132)).print(table, crop=False)
    print_line()
    print_line("Multiply-adds are for one image of 224 x 224; top-1 and top-5 as published for ImageNet.")


def print_runs(runs: Sequence[ListedRun]) -> None:
    """Every run with its state and result, the one touched last first, and how to go on with those that can be."""
    from rich.table import Table

    if not runs:
        print_line("There are no runs here.")
        return
    table = Table(box=None, pad_edge=False)
    for name in ("run", "network", "effort", "state", "result", "last change"):
        table.add_column(name, overflow="fold" if name == "run" else "ellipsis")
    styles = {"finished": "green", "running": "cyan", "interrupted": "yellow", "failed": "red"}
    for run in runs:
        state = run.state
        table.add_row(
            _cell(str(run.folder)),
            state.model,
            state.effort,
            _cell(state.state, styles.get(state.state, "")),
            _cell(_result_of(run)),
            state.updated,
        )
    _console().print(table)
    stopped = [run for run in runs if run.state.state in ("interrupted", "failed")]
    if stopped:
        print_line()
        print_line("Go on:  " + next_command("train", "--resume", stopped[0].folder))


def _result_of(run: ListedRun) -> str:
    """A run's result, or how far it is, or why it failed."""
    if run.state.accuracy is not None:
        return f"accuracy {100 * run.state.accuracy:.1f} % on test images"
    if run.state.mean_average_precision is not None:
        return f"mean average precision {run.state.mean_average_precision:.3f} on test images"
    if run.state.error is not None:
        return run.state.error.split("\n")[0][:80]
    if run.last is None:
        return "nothing measured yet"
    where = f"epoch {run.last.number:.0f} of {run.epochs}" if run.last.phase == "epochs" else "head"
    return f"{where}: {100 * run.last.val_accuracy:.1f} % on validation images"


def print_cache(cache: CacheContents) -> None:
    """Where what is known of images is kept, and each file of it, the last used first."""
    from datetime import datetime

    from rich.table import Table

    from eyebright.data.kept_files import LOOKS, SQUARES

    if cache.files:
        kinds = {SQUARES: "decoded", LOOKS: "looked at"}
        table = Table(box=None, pad_edge=False)
        table.add_column("what", no_wrap=True)
        for name in ("images", "pixels", "MB", "last used"):
            table.add_column(name, justify="right", no_wrap=True)
        table.add_column("")
        for file in cache.files:
            table.add_row(
                kinds.get(file.kind, "unknown"),
                f"{file.num_images:,}",
                f"{file.side} x {file.side}" if file.side else "",
                f"{file.size_bytes / 1e6:,.1f}",
                datetime.fromtimestamp(file.used).strftime("%Y-%m-%d %H:%M"),
                "" if file.state == "whole" else file.state,
            )
        _console().print(table)
        print_line()
    size, limit = cache.size_bytes / 1e9, cache.limit_bytes / 1e9
    print_line(f"{size:,.1f} of at most {limit:,.1f} GB of decoded images in {cache.folder}")


def is_terminal() -> bool:
    """Whether results go to a person rather than into a file or pipe."""
    return sys.stdout.isatty()


def next_command(*words: str | Path) -> str:
    """A line to type, quoted for a shell."""
    import shlex

    return "eyebright " + " ".join(shlex.quote(str(word)) for word in words)


def print_check(report: CheckReport) -> None:
    """What a check found, worst first: how many of each kind, and the first few."""
    from eyebright.checking.check import by_kind
    from eyebright.page.markup import plural, rate

    for note in report.notes:
        print_line(f"note: {note}")
    readable = "" if report.num_readable == report.num_samples else f", {report.num_readable:,} of them readable"
    print_line(
        f"{plural(report.num_samples, 'image')} of {plural(len(report.counts), 'class')}{readable}; looked at "
        f"{rate(report.images_per_second)} a second, without the search for wrong labels"
    )
    kinds = by_kind(report.findings)
    for kind, findings in kinds.items():
        print_line()
        print_line(f"{kind.title}: {len(findings):,} ({kind.severity})")
        for finding in findings[:FINDINGS_NAMED]:
            print_line(f"  {finding.words}")
        if len(findings) > FINDINGS_NAMED:
            print_line(f"  and {len(findings) - FINDINGS_NAMED:,} more")
    if not kinds:
        print_line()
        print_line("Nothing wrong was found.")
