"""How a long job tells what it is doing and hears that it should stop, without printing anything itself."""

from __future__ import annotations

from typing import Protocol


class Progress(Protocol):
    """Given to every long job; the command line shows it, Python code may ignore it.

    Jobs call `start`, then `advance` any number of times, then `finish`; stages do not nest.
    """

    @property
    def stop_requested(self) -> bool:
        """True once the user asked to stop (Ctrl-C, SIGTERM); every loop looks at it at each step."""
        ...

    def start(self, stage: str, total: int) -> None:
        """A stage of `total` steps begins, such as ("reading images", 2024)."""
        ...

    def advance(self, done: int, note: str = "") -> None:
        """`done` of the stage's steps are done by now; `note` is shown beside, such as "loss 0.31"."""
        ...

    def finish(self) -> None:
        """The stage is over."""
        ...

    def say(self, text: str) -> None:
        """A line worth keeping."""
        ...

    def warn(self, text: str) -> None:
        """A line about something that was not as expected but does not stop the job."""
        ...


class SilentProgress:
    """Says nothing and never asks to stop; the base of those that do only some of it."""

    stop_requested = False

    def start(self, stage: str, total: int) -> None:
        pass

    def advance(self, done: int, note: str = "") -> None:
        pass

    def finish(self) -> None:
        pass

    def say(self, text: str) -> None:
        pass

    def warn(self, text: str) -> None:
        pass
