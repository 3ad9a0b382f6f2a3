"""Comparisons to look at, made of drawn predictions that go through `evaluate` like real ones."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import lru_cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from eyebright.calibration.calibration import Calibration
from eyebright.data.samples import SPLITS, ImageStore, SampleTable
from eyebright.errors import ImageError
from eyebright.evaluation.compare import Comparison, Contestant
from eyebright.evaluation.evaluate import evaluate
from eyebright.evaluation.facts import CurvePoint
from eyebright.evaluation.report import EvaluationReport
from eyebright.progress import Progress

FASHION = ("Ankle boot", "Bag", "Coat", "Dress", "Pullover", "Sandal", "Shirt", "Sneaker", "T-shirt", "Trouser")


class DrawnStore:
    """Names that lead nowhere: nothing here reads an image."""

    def read(self, name: str) -> bytes:
        raise ImageError(name, "not there")

    def locate(self, name: str) -> str:
        return f"photos.zip/{name}"


@dataclass(frozen=True)
class DrawnPredictions:
    probabilities: NDArray[np.float32]
    errors: dict[int, ImageError] = field(default_factory=dict)
    novelty: NDArray[np.float32] | None = None
    images_per_second: float = 84.0


@dataclass(frozen=True)
class DrawnPredictor:
    """Answers with what it was given, whatever it is asked."""

    class_names: tuple[str, ...]
    predictions: DrawnPredictions
    calibration: Calibration | None = None

    def predict_samples(self, store: ImageStore, names: tuple[str, ...], *, progress: Progress) -> DrawnPredictions:
        progress.start("classifying images", len(names))
        progress.finish()
        return self.predictions


def build_table(classes: tuple[str, ...], labels: NDArray[np.int64]) -> SampleTable:
    return SampleTable(
        store=DrawnStore(),
        names=tuple(f"{classes[label]}/{i:04d}.png" for i, label in enumerate(labels)),
        labels=labels,
        classes=classes,
        splits=np.full(len(labels), SPLITS.index("test"), dtype=np.int8),
    )


def draw_predictions(
    labels: NDArray[np.int64], num_classes: int, *, skill: float, seed: int, unreadable: tuple[int, ...] = ()
) -> DrawnPredictions:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(len(labels), num_classes)) * 1.5
    logits[np.arange(len(labels)), labels] += skill
    odd = labels % 4 == 2  # some classes look like their neighbour
    logits[odd, (labels[odd] + 2) % num_classes] += skill * 0.6
    p = np.exp(logits - logits.max(axis=1, keepdims=True))
    p = (p / p.sum(axis=1, keepdims=True)).astype(np.float32)
    p[list(unreadable)] = np.nan
    errors = {i: ImageError(f"{i:04d}.png", "the file ends before the image does") for i in unreadable}
    return DrawnPredictions(p, errors, images_per_second=20.0 + 60 * seed)


@lru_cache(maxsize=64)  # the same few comparisons are looked at in many tests
def measure_drawn(
    classes: tuple[str, ...], skill: float, seed: int, per_class: int, unreadable: tuple[int, ...]
) -> EvaluationReport:
    labels = np.repeat(np.arange(len(classes)), per_class)
    said = draw_predictions(labels, len(classes), skill=skill, seed=seed, unreadable=unreadable)
    return evaluate(DrawnPredictor(classes, said), build_table(classes, labels))


def build_contestant(title: str, report: EvaluationReport, **changes: Any) -> Contestant:
    rng = np.random.default_rng(len(title))
    epochs = np.arange(1, 13)
    facts: dict[str, Any] = {
        "model": title.lower().replace("-", ""),
        "title": title,
        "sentence": "Layers of 3x3 convolutions, each followed by ReLU, with pooling between the stages.",
        "report": report,
        "curve": tuple(
            CurvePoint(
                x=float(e),
                train_loss=float(2.2 * np.exp(-e / 4)),
                val_loss=float(2.1 * np.exp(-e / 5) + 0.2 + rng.normal() * 0.03),
                val_accuracy=float(0.87 - 0.5 * np.exp(-e / 3) + rng.normal() * 0.008),
            )
            for e in epochs
        ),
        "curve_kind": "epochs",
        "parameters": 25_557_032,
        "multiply_adds": 4_089_184_256,
        "size_bytes": 97_800_000,
        "train_seconds": 83.4,
        "image_size": 224,
        "weights": "ImageNet-1k, torchvision V2",
        "effort": "quick",
    }
    return Contestant(**{**facts, **changes})


@pytest.fixture
def drawn() -> SimpleNamespace:
    """The builders of this file, for tests that need one alone."""
    return SimpleNamespace(
        DrawnPredictions=DrawnPredictions,
        DrawnPredictor=DrawnPredictor,
        build_table=build_table,
        draw_predictions=draw_predictions,
    )


@pytest.fixture
def build_comparison() -> Callable[..., Comparison]:
    """A comparison of up to three networks on 30 drawn test images per class."""

    def build(
        classes: tuple[str, ...] = FASHION,
        *,
        skills: tuple[float, ...] = (7.0, 6.4, 4.2),
        per_class: int = 30,
        unreadable: tuple[int, ...] = (),
        **changes: Any,
    ) -> Comparison:
        strengths = (1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 0.1)
        heads = tuple(
            CurvePoint(x=x, train_loss=0.1 + 0.09 * i, val_loss=0.5 - 0.12 * i + 0.03 * i**2, val_accuracy=a)
            for i, (x, a) in enumerate(zip(strengths, (0.846, 0.858, 0.872, 0.881, 0.874, 0.81), strict=True))
        )
        costs: list[dict[str, Any]] = [
            {"curve": heads, "curve_kind": "regularisation"},
            {
                "curve": tuple(CurvePoint(**{**vars(p), "val_accuracy": (p.val_accuracy or 0) - 0.02}) for p in heads),
                "curve_kind": "regularisation",
                "parameters": 14_714_688,
                "size_bytes": 58_900_000,
            },
            {"parameters": 389_770, "size_bytes": 1_560_000, "weights": "from scratch", "image_size": 28},
        ]
        titles = ("ResNet-50", "VGG-16", "Plain CNN")
        contestants = tuple(
            build_contestant(title, measure_drawn(classes, s, i, per_class, unreadable), **cost)
            for i, (title, s, cost) in enumerate(zip(titles, skills, costs, strict=False))
        )
        facts: dict[str, Any] = {
            "data_name": "fashion.zip",
            "split_counts": {"train": 2000, "val": 500, "test": len(classes) * per_class},
            "class_counts": dict.fromkeys(classes, 250 + per_class),
            "seed": 0,
            "date": "2026-11-24 14:05",
            "versions": {"eyebright": "0.1.0", "torch": "2.13.0", "numpy": "2.3.0", "python": "3.11.2"},
            "machine": "2 cores of an x86-64 processor, 8 GB memory, Linux",
            "command": "eyebright compare fashion.zip --models cnn,vgg16,resnet50 --effort quick --seed 0",
            "contestants": contestants,
        }
        return Comparison(**{**facts, **changes})

    return build
