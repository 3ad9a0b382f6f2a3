"""What is known of a trained network and of a comparison beside how good the network is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

BASELINE = "baseline"
"""In the place of a catalogue's name: the classifier without a network that stands in a comparison."""


@dataclass(frozen=True, kw_only=True)
class CurvePoint:
    """One point of a learning curve."""

    x: float
    """The epoch, from 1, or the L2 strength tried."""
    train_loss: float | None
    val_loss: float | None
    val_accuracy: float | None
    """A fraction."""
    kept: bool = False
    """Whether it became the classifier; older reports do not tell."""


@dataclass(frozen=True, kw_only=True)
class NetworkFacts:
    """One trained network and what it cost."""

    model: str
    """The catalogue's name, such as "resnet50"; or `BASELINE`."""
    title: str
    """As people write it, such as "ResNet-50"."""
    sentence: str
    """What the network is, in one sentence."""
    curve: tuple[CurvePoint, ...]
    """In the order of training; empty where none was kept."""
    curve_kind: Literal["epochs", "regularisation"]
    """What the curve runs over: epochs, or the L2 strengths tried for a head on a frozen backbone."""
    parameters: int
    multiply_adds: int
    """For one image at `image_size`."""
    size_bytes: int
    """Of the bundle: the weights and what goes with them."""
    train_seconds: float
    image_size: int
    """The side in pixels of the square that the network sees."""
    weights: str
    """Where it started: "from scratch", or the pretrained weights in words."""
    effort: str
    """The dial: "quick", "standard" or "best"."""
    latency_ms: float | None = None
    """How long one image alone takes, already decoded, on the median; None, as all that follow, where not measured."""
    slow_latency_ms: float | None = None
    """What 99 of 100 such images stay below."""
    latency_count: int | None = None
    """How many images that rests on."""
    train_memory_bytes: int | None = None
    """The most memory the process held while it trained, all of it: libraries and images too."""
    predict_memory_bytes: int | None = None
    """The same while it classified the test images."""
    train_gpu_bytes: int | None = None
    """The most memory that torch held on the GPU while the network trained; None without one."""
    predict_gpu_bytes: int | None = None
    """The same while it classified the test images."""

    @property
    def is_network(self) -> bool:
        """False for the classifier without one that stands in a comparison."""
        return self.model != BASELINE


@dataclass(frozen=True, kw_only=True)
class ComparisonFacts:
    """Networks that trained on the same split with the same seed; one alone is a single run."""

    data_name: str
    """What the user gave: a folder's or an archive's name."""
    split_counts: dict[str, int]
    """Images per split: train, val, test."""
    class_counts: dict[str, int]
    """Images per class over all splits, by name."""
    seed: int
    """Of the split; of the training too, unless there are several."""
    date: str
    """When, as people read it, such as "2026-11-24 14:05"."""
    versions: dict[str, str]
    """Packages and their versions, by name."""
    machine: str
    """Processor, cores and memory, in words."""
    command: str
    """What to type to get the same again; empty where it was called from Python."""
    notes: tuple[str, ...] = ()
    """What the reader should know before believing the numbers, one sentence each."""
    seeds: tuple[int, ...] = ()
    """Of the trainings of each network, where there are several."""
    folds: int = 0
    """Of cross-validation, where that was made."""
    version: int = 1
    """Of the schema of `report.json`; docs/report.md tells of it."""
