"""What the benchmarks of whole processes run on: a bundle of random weights with its engines, and generated pictures.

Weights say nothing about speed; what an export's answers are worth is measured elsewhere.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import torch

from eyebright.bundle.engines import ONNX, ONNX_INT8, OPENVINO, TORCH, TORCH_BF16
from eyebright.bundle.store import describe_architecture, save_bundle
from eyebright.embedding.embed import computes_bfloat16
from eyebright.errors import MissingExtraError
from eyebright.jobs.export import export
from eyebright.models.catalog import build_model
from eyebright.preprocess import Preprocessing
from eyebright.speed.pictures import encode_jpeg, generate_picture

CLASSES = ("a", "b")


def draw_labelled(folder: Path, per_class: int, size: tuple[int, int] | None = None) -> Path:
    """`per_class` pictures of each of two classes in each split, none of which means anything."""
    for number, (split, name) in enumerate((split, name) for split in ("train", "val", "test") for name in CLASSES):
        inside = folder / split / name
        inside.mkdir(parents=True)
        for row in range(per_class):
            (inside / f"{row:04}.jpg").write_bytes(encode_jpeg(generate_picture(number * per_class + row), size))
    return folder


def draw_many(folder: Path, count: int, distinct: int = 200, size: tuple[int, int] = (64, 48)) -> Path:
    """So many small files, `distinct` of them different and the others links to these."""
    folder.mkdir(parents=True)
    for number in range(count):
        path = folder / f"{number:07}.jpg"
        if number < distinct:
            path.write_bytes(encode_jpeg(generate_picture(number), size))
        else:
            os.link(folder / f"{number % distinct:07}.jpg", path)
    return folder


def build_bundle(folder: Path, name: str, images: Path, engines: Sequence[str], *, image_size: int) -> list[str]:
    """A bundle of random weights, exported for the engines that are installed here; returns which it has."""
    torch.manual_seed(0)
    model = build_model(name, num_classes=len(CLASSES))
    save_bundle(
        folder,
        model,
        describe_architecture(model, name),
        class_names=CLASSES,
        preprocessing=Preprocessing(image_size=image_size, resize=image_size * 8 // 7),
        provenance={},
    )
    found = [TORCH]
    steps = {
        TORCH_BF16: ("torch", False),
        ONNX: ("onnx", False),
        ONNX_INT8: ("onnx", True),
        OPENVINO: ("openvino", False),
    }
    for engine in engines:
        if engine == TORCH_BF16 and not computes_bfloat16("cpu"):
            continue
        to, int8 = steps[engine]
        try:
            export(folder, to=to, int8=int8, data=images, max_drop=100)
        except MissingExtraError:
            continue
        found.append(engine)
    return found
