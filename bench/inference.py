#!/usr/bin/env python3
"""From a JPEG file to its label: every engine against the pipeline that everyone writes, on real weights and photos.

    python bench/inference.py --weights ../shared/weights --images ../shared/data/imagenet-val-250
        [--model resnet50 | vgg16] [--count 16] [--rounds 5] [--accuracy]

The plain pipeline is Pillow, resize, crop, and torch in eager float32. The ways take turns in an order of their own
each round, on the same files; medians of images a second are reported with their quartiles, and how many times the
plain one they are (the median over rounds, since neighbours on the machine slow a whole round). "Engine alone" has the
images decoded before. The rate of a matrix product in the same type, measured in the same rounds, stands below.

--accuracy, for resnet50: the share of all images that get their label. int8 is calibrated on one half and tested on the
other, and the other way round, so that no image is tested on a graph that it has shaped. VGG-16's weights are the
convolutions alone: its head is random, and its answers are only compared with torch's.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import nn

from eyebright.bundle.engines import ONNX_INT8, OPENVINO, OPENVINO_INT8
from eyebright.bundle.manifest import WEIGHTS, Architecture, Manifest
from eyebright.data.sources import read_unlabelled
from eyebright.embedding.embed import computes_bfloat16
from eyebright.exporting.onnx_graph import build_onnx
from eyebright.exporting.quantize import quantize
from eyebright.inference.engine import Engine
from eyebright.inference.onnx_engine import OnnxEngine
from eyebright.inference.predictor import Predictor
from eyebright.inference.torch_engine import TorchEngine
from eyebright.models.catalog import build_model, count_multiply_adds
from eyebright.models.published import read_imagenet_wnids
from eyebright.preprocess import IMAGENET_MEAN, IMAGENET_STD, Preprocessing
from eyebright.progress import SilentProgress

FILES = {
    "resnet50": "resnet50_v1_imagenet_keras_fp16.safetensors",
    "vgg16": "vgg16_features_imagenet_keras_fp16.safetensors",
}
PREPROCESSING = Preprocessing(image_size=224, resize=256)
CALIBRATION = 64
BATCH = 16
SIDE = 1536  # of the matrices whose product stands for the machine's peak


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True, help="folder of class folders named by WordNet id")
    parser.add_argument("--model", choices=sorted(FILES), default="resnet50")
    parser.add_argument("--count", type=int, default=16)
    parser.add_argument("--rounds", type=int, default=5, help="0 leaves speed out")
    parser.add_argument("--only", default="", help="engines beside torch, such as onnx-int8,openvino; all by default")
    parser.add_argument("--accuracy", action="store_true")
    options = parser.parse_args()
    paths = sorted(options.images.glob("*/*"))
    model = read_model(options.model, options.weights)
    gigaflops = 2 * count_multiply_adds(model, PREPROCESSING.image_size) / 1e9
    about = {
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "model": options.model,
        "gflop_an_image": round(gigaflops, 2),
        "count": options.count,
        "rounds": options.rounds,
    }
    print(json.dumps(about), flush=True)
    halves = [read_pixels(paths[start::2]) for start in (0, 1)]
    engines = build_engines(model, halves[0][:CALIBRATION], options.only)
    if options.accuracy:
        other = build_engines(model, halves[1][:CALIBRATION], options.only)
        compare_answers(engines, other, halves, paths, labelled=options.model == "resnet50")
    if options.rounds:
        compare_speed(
            model, engines, paths[:: max(1, len(paths) // options.count)][: options.count], options, gigaflops
        )


def read_model(name: str, folder: Path) -> nn.Module:
    """The network with the weights of the shared folder."""
    torch.manual_seed(0)
    if name == "resnet50":
        model = build_model("resnet50", num_classes=1000, stride_in="1x1")
    else:
        model = build_model("vgg16", num_classes=1000, head="pooled")
    tensors = {key: tensor.float() for key, tensor in load_file(folder / FILES[name]).items()}
    model.load_state_dict(tensors, strict=False)
    return model.eval()


def read_pixels(paths: Sequence[Path]) -> NDArray[np.uint8]:
    """(N, 3, 224, 224)."""
    rows = [PREPROCESSING.square(np.asarray(Image.open(path).convert("RGB"))) for path in paths]
    return np.ascontiguousarray(np.moveaxis(PREPROCESSING.crop(np.stack(rows)), 3, 1))


def manifest_of(model: nn.Module) -> Manifest:
    names = tuple(map(str, range(model.num_classes)))  # type: ignore[arg-type]
    return Manifest(
        architecture=Architecture(model="resnet50", num_classes=len(names), in_channels=3),
        class_names=names,
        preprocessing=PREPROCESSING,
        provenance={},
        files={WEIGHTS: "0" * 64},
    )


def build_engines(model: nn.Module, calibration: NDArray[np.uint8], only: str) -> dict[str, Engine]:
    """The engines that are asked for and installed here, torch first."""
    manifest = manifest_of(model)
    found: dict[str, Engine] = {"torch": TorchEngine(model, PREPROCESSING)}
    if computes_bfloat16("cpu"):
        found["torch-bf16"] = TorchEngine(model, PREPROCESSING, bfloat16=True)
    graph = build_onnx(model, PREPROCESSING, manifest.class_names, weights_sha256="0" * 64)
    content = graph.SerializeToString()
    small = quantize(graph, calibration, progress=SilentProgress())
    for attempt in small.attempts:
        print(f"  {attempt}{'  <- kept' if attempt is small.chosen else ''}", flush=True)
    small_content = small.model.SerializeToString()
    print(f"  ONNX {len(content) / 1e6:.1f} MB, int8 {len(small_content) / 1e6:.1f} MB", flush=True)
    found["onnx"] = OnnxEngine(content, manifest)
    found[ONNX_INT8] = OnnxEngine(small_content, manifest, name=ONNX_INT8)
    try:
        from eyebright.inference.openvino_engine import OpenvinoEngine
    except ModuleNotFoundError:
        print("  OpenVINO is not installed, and is left out", flush=True)
        return _chosen(found, only)
    found[OPENVINO] = OpenvinoEngine(content, manifest)
    found[OPENVINO_INT8] = OpenvinoEngine(small_content, manifest, name=OPENVINO_INT8)
    return _chosen(found, only)


def _chosen(engines: dict[str, Engine], only: str) -> dict[str, Engine]:
    return {name: engine for name, engine in engines.items() if not only or name in ("torch", *only.split(","))}


def run_all(engine: Engine, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.concatenate([engine.run(pixels[start : start + BATCH]) for start in range(0, len(pixels), BATCH)])


def compare_answers(
    engines: dict[str, Engine],
    other: dict[str, Engine],
    halves: Sequence[NDArray[np.uint8]],
    paths: Sequence[Path],
    *,
    labelled: bool,
) -> None:
    """Prints a table: right answers, and the same class as torch; `other` is calibrated on the other half."""
    wnids = list(read_imagenet_wnids())
    labels = np.concatenate([[wnids.index(path.parent.name) for path in paths[start::2]] for start in (0, 1)])
    exact = None
    print("\n| engine | right | same class as torch | largest logit off by |\n|---|---|---|---|")
    for name in engines:
        # int8 of a half is calibrated on the other one.
        turns = (other[name], engines[name]) if name.endswith("int8") else (engines[name], engines[name])
        logits = np.concatenate([run_all(engine, half) for engine, half in zip(turns, halves, strict=True)])
        exact = logits if exact is None else exact
        said = logits.argmax(axis=1)
        right = f"{int((said == labels).sum())} of {len(labels)}" if labelled else ""
        same = int((said == exact.argmax(axis=1)).sum())
        print(f"| {name} | {right} | {same} of {len(labels)} | {np.abs(logits - exact).max():.2g} |", flush=True)


def compare_speed(
    model: nn.Module, engines: dict[str, Engine], paths: Sequence[Path], options: Any, gigaflops: float
) -> None:
    """Prints a table: images a second of every way, and how many times the plain one."""
    manifest = manifest_of(model)
    store, names = read_unlabelled([str(path) for path in paths])
    pixels = read_pixels(paths)
    ways: dict[str, Callable[[], object]] = {"plain: Pillow, torch eager float32": plain_way(model, paths)}
    for name, engine in engines.items():
        predictor = Predictor(engine, manifest)
        ways[f"{name}, from files"] = lambda predictor=predictor: list(predictor.predict_files(store, names))  # type: ignore[misc]
        ways[f"{name}, engine alone"] = lambda engine=engine: run_all(engine, pixels)  # type: ignore[misc]
    products = {"float32": product(torch.float32), "bfloat16": product(torch.bfloat16)}
    seconds: dict[str, list[float]] = {way: [] for way in (*ways, *products)}
    chance = random.Random(0)
    for number in range(options.rounds + 1):
        order: list[tuple[str, Callable[[], object]]] = [*ways.items(), *products.items()]
        chance.shuffle(order)
        for way, run in order:
            began = time.perf_counter()
            run()
            if number:  # the first is to warm up
                seconds[way].append(time.perf_counter() - began)
    peaks = {kind: 2 * SIDE**3 / statistics.median(seconds[kind]) / 1e9 for kind in products}
    print("\n| way | images a second (quartiles) | times the plain way | GFLOP/s |\n|---|---|---|---|")
    plain = seconds[next(iter(ways))]
    for way in ways:
        low, median, high = (len(paths) / value for value in reversed(quartiles(seconds[way])))
        ratio = statistics.median(a / b for a, b in zip(plain, seconds[way], strict=True))
        print(
            f"| {way} | {median:.1f} ({low:.1f} to {high:.1f}) | {ratio:.2f} | {median * gigaflops:.0f} |", flush=True
        )
    print("\nA matrix product: " + ", ".join(f"{peak:.0f} GFLOP/s in {kind}" for kind, peak in peaks.items()))
    print(f"load {os.getloadavg()[0]:.1f}")


def quartiles(values: Sequence[float]) -> list[float]:
    return statistics.quantiles(values, n=4) if len(values) > 1 else [*values] * 3


def plain_way(model: nn.Module, paths: Sequence[Path]) -> Callable[[], object]:
    """What everyone writes: open, convert, resize the shorter side, crop, normalise, stack, run."""
    mean, std = (torch.tensor(values).view(3, 1, 1) for values in (IMAGENET_MEAN, IMAGENET_STD))

    def read(path: Path) -> torch.Tensor:
        image = Image.open(path).convert("RGB")
        scale = 256 / min(image.size)
        image = image.resize((round(image.width * scale), round(image.height * scale)), Image.Resampling.BILINEAR)
        left, top = (image.width - 224) // 2, (image.height - 224) // 2
        array = np.array(image.crop((left, top, left + 224, top + 224)))
        return (torch.from_numpy(array).permute(2, 0, 1).float() / 255 - mean) / std

    @torch.inference_mode()
    def run() -> list[int]:
        labels: list[int] = []
        for start in range(0, len(paths), BATCH):
            batch = torch.stack([read(path) for path in paths[start : start + BATCH]])
            labels += model(batch).argmax(dim=1).tolist()
        return labels

    return run


def product(kind: torch.dtype) -> Callable[[], object]:
    """A matrix product, the most that the processor can be expected to do."""
    a, b = (torch.randn(SIDE, SIDE).to(kind) for _ in range(2))
    return lambda: a @ b


if __name__ == "__main__":
    main()
