"""Writing to a terminal: lines, cells of tables, progress. Results go to standard output, the rest to standard error.

rich is imported when something is printed, so that `--help` is quick.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, final

from eyebright.errors import printable

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress as RichProgress
    from rich.progress import TaskID


_HANGUP: signal.Signals | None = getattr(signal, "SIGHUP", None)  # Windows has none
OFTEN = 30.0
"""Seconds between two lines about one stage, where no bar can be drawn."""


@final
class _WhileRead:
    """Standard error for as long as somebody reads it: a terminal or reader that goes away ends no job."""

    def write(self, text: str) -> int:
        with self._unless_gone():
            if self._stream is not None:
                self._stream.write(text)
        return len(text)

    def flush(self) -> None:
        with self._unless_gone():
            if self._stream is not None:
                self._stream.flush()

    def isatty(self) -> bool:
        return self._stream is not None and self._stream.isatty()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    @property
    def _stream(self) -> Any:
        """None where the shell has closed it; not rich's own, which stands in for it while a bar is drawn."""
        return getattr(sys.stderr, "rich_proxied_file", sys.stderr)

    @contextmanager
    def _unless_gone(self) -> Iterator[None]:
        try:
            yield
        except OSError:
            with suppress(OSError, ValueError):  # and nothing more is tried, not even when Python ends
                os.dup2(os.open(os.devnull, os.O_WRONLY), self._stream.fileno())


def console(*, stderr: bool = False) -> Console:
    """Where rich prints: standard output, or standard error."""
    from rich.console import Console

    file: Any = _WhileRead() if stderr else None
    # Of several processes that train together only the first speaks.
    return Console(file=file, highlight=False, soft_wrap=True, quiet=_rank() > 0)


def _rank() -> int:
    """Which of the processes that torchrun started this is; 0 without torchrun."""
    number = os.environ.get("RANK", "0")
    return int(number) if number.isdecimal() else 0


def print_line(text: str = "") -> None:
    """A line of a result; control characters in names are shown escaped."""
    console().print(safe(text), markup=False)


def print_error(text: str) -> None:
    """What went wrong."""
    from rich.console import Console

    file: Any = _WhileRead()
    console = Console(file=file, highlight=False, soft_wrap=True)
    console.print("error: " if _rank() == 0 else f"error in process {_rank()}: ", style="bold red", end="")
    console.print(safe(text), markup=False)


def safe(text: str) -> str:
    """Control characters escaped, line ends kept."""
    return "\n".join(printable(line) for line in text.split("\n"))


@final
class TerminalProgress:
    """A bar for each stage on a terminal; elsewhere a line when it begins, and one now and then in a long one."""

    def __init__(self) -> None:
        self.stop_requested = False
        self._console = console(stderr=True)
        self._bars: RichProgress | None = None
        self._task: TaskID | None = None
        self._stage = ""
        self._total = 0
        self._began = self._told = 0.0
        self._first: int | None = None
        """What was done of the stage when it was first told: where an earlier start had come to."""

    def start(self, stage: str, total: int) -> None:
        self.finish()
        self._stage, self._total = stage, total
        self._began = self._told = time.monotonic()
        self._first = None
        if not self._console.is_terminal:
            self._console.print(f"{safe(stage)}: {total:,} ...", markup=False)
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
        self._task = self._bars.add_task(safe(stage), total=total, note="")
        self._bars.start()

    def advance(self, done: int, note: str = "") -> None:
        if self._bars is not None and self._task is not None:
            self._bars.update(self._task, completed=done, note=safe(note))
            return
        now = time.monotonic()
        if self._first is None:
            self._first, self._began = done, now
        if now - self._told < OFTEN or self._total == 0:
            return
        self._told = now
        parts = [f"{self._stage}: {done:,} of {self._total:,}", *([note] if note else [])]
        if done > self._first:
            from eyebright.page.markup import duration

            parts.append(f"{duration((self._total - done) * (now - self._began) / (done - self._first))} left")
        self._console.print(safe(", ".join(parts)), markup=False)

    def finish(self) -> None:
        if self._bars is not None:
            self._bars.stop()
        self._bars = self._task = None

    def say(self, text: str) -> None:
        self._console.print(safe(text), markup=False)

    def warn(self, text: str) -> None:
        self._console.print("note: ", style="yellow", end="")
        self._console.print(safe(text), markup=False)


@contextmanager
def terminal_progress() -> Iterator[TerminalProgress]:
    """Progress on the terminal, listening for Ctrl-C, SIGTERM and a terminal that is closed until the block ends.

    The first signal asks the job to stop and to keep what there is; a second one ends it at once.
    """
    progress = TerminalProgress()

    def ask_to_stop(number: int, frame: FrameType | None) -> None:
        if progress.stop_requested:
            # Ctrl-C comes twice, from the terminal and from torchrun, which kills what takes too long; and that a
            # terminal is closed both the shell and the system say.
            if number == _HANGUP or "TORCHELASTIC_RUN_ID" in os.environ:
                return
            raise KeyboardInterrupt
        progress.stop_requested = True
        progress.say("Stopping after this step, and keeping what there is. Once more ends it at once.")

    heard = [signal.SIGINT, signal.SIGTERM]
    if _HANGUP is not None and signal.getsignal(_HANGUP) is not signal.SIG_IGN:  # as it is under nohup
        heard.append(_HANGUP)
    before = {number: signal.signal(number, ask_to_stop) for number in heard}
    try:
        yield progress
    finally:
        progress.finish()
        for number, handler in before.items():
            signal.signal(number, handler)


def cell(text: str, style: str = "") -> Any:
    """The text of a table's cell as it is: nothing in it is markup, control characters are escaped."""
    from rich.text import Text

    return Text(safe(text), style=style)


def is_terminal() -> bool:
    """Whether results go to a person rather than into a file or pipe."""
    return sys.stdout.isatty()


def next_command(*words: str | Path) -> str:
    """A line to type, quoted for a shell."""
    import shlex

    return "eyebright " + " ".join(shlex.quote(str(word)) for word in words)
