"""What a benchmark of one's own classifier says. No torch here."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

from eyebright.speed.measure import EngineSpeed

VERSION = 1


@dataclass(frozen=True, kw_only=True)
class SpeedReport:
    """How fast each engine of a classifier is here, and what it takes."""

    run: str
    model: str
    image_size: int
    """The side that the network sees, in pixels."""
    gigaflop: float | None
    """Billions of operations for one image; None where torch is not there to count them."""
    images: str
    """Whose images were classified: "given", "the run's own" or "generated, 800 x 600"."""
    num_images: int
    rounds: int
    engines: tuple[EngineSpeed, ...]
    """The first is what the others are compared with."""
    peaks: Mapping[str, float]
    """Billions of operations a second of a matrix product in its fastest round, by type of number."""
    load: tuple[float, float] | None
    """How many processes wanted to run, over a minute: before and after; None where the system does not tell."""
    machine: str
    versions: Mapping[str, str]
    date: str
    notes: tuple[str, ...] = ()
    version: int = VERSION

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        best = max(self.engines, key=lambda found: found.from_files.median)
        return (
            f"{self.model}: {best.from_files.median:.3g} images a second from file to label with {best.engine}, "
            f"one image in {best.one_image.median:.3g} ms ({self.machine})"
        )
