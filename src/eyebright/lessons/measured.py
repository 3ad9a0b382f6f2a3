"""The experiments that the atlas shows, as bench/residuals.py and bench/transfer.py measured them. No torch here."""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import resources
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Course:
    """How one network of the experiment learned."""

    depth: int
    is_residual: bool
    parameters: int
    train_loss: tuple[float, ...]
    """Mean cross-entropy over the training images after each epoch, in nats, as the network is when it answers."""
    test_accuracy: tuple[float, ...]
    """A fraction after each epoch."""

    @property
    def name(self) -> str:
        return f"{'residual' if self.is_residual else 'plain'}, {self.depth} layers"


@dataclass(frozen=True, kw_only=True)
class Residuals:
    """Plain and residual networks side by side."""

    command: str
    train_images: int
    test_images: int
    courses: tuple[Course, ...]


@dataclass(frozen=True, kw_only=True)
class TransferRow:
    """Accuracies with so many images of each class, one for each draw."""

    per_class: int
    pixels: tuple[float, ...]
    embeddings: tuple[float, ...]


@dataclass(frozen=True, kw_only=True)
class TransferTask:
    """One set of images, learned from raw pixels and from embeddings."""

    title: str
    side: int
    test_images: int
    rows: tuple[TransferRow, ...]


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """What a pretrained network saves."""

    command: str
    tasks: tuple[TransferTask, ...]


def read_residuals() -> Residuals:
    found = _read("residuals.json")
    courses = tuple(
        Course(
            depth=course["depth"],
            is_residual=course["is_residual"],
            parameters=course["parameters"],
            train_loss=tuple(course["train_loss"]),
            test_accuracy=tuple(course["test_accuracy"]),
        )
        for course in found["courses"]
    )
    return Residuals(
        command=found["command"],
        train_images=found["train_images"],
        test_images=found["test_images"],
        courses=courses,
    )


def read_transfer() -> Transfer:
    found = _read("transfer.json")
    tasks = tuple(
        TransferTask(
            title=task["title"],
            side=task["side"],
            test_images=task["test_images"],
            rows=tuple(
                TransferRow(
                    per_class=row["per_class"], pixels=tuple(row["pixels"]), embeddings=tuple(row["embeddings"])
                )
                for row in task["rows"]
            ),
        )
        for task in found["tasks"]
    )
    return Transfer(command=found["command"], tasks=tasks)


def _read(name: str) -> Any:
    return json.loads(resources.files("eyebright.lessons").joinpath(name).read_text(encoding="utf-8"))
