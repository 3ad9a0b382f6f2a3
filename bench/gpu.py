#!/usr/bin/env python3
"""Networks on a GPU: images a second and training steps, in float32 and bfloat16, eager and compiled.

    python bench/gpu.py [--models resnet50,vgg16] [--batch 256] [--train-batch 64] [--side 224] [--rounds 7]

Beside ours, torchvision's and timm's networks of the same names, where they can be imported. The ways take turns in an
order of their own each round, on the same random images, which lie on the GPU already but for those "from pixels",
which come from memory as bytes and go back as logits. Medians of images a second with their quartiles, and how many
times the first way; the peak is a matrix product in the same type, in its fastest round. "Eager float32" is what torch
makes of it by default: on a GPU its convolutions are computed in TF32; Eyebright's engine is exact. Without a GPU
nothing is measured, and that is said. --device cpu is there to see that it works: its figures say nothing.
"""

from __future__ import annotations

import argparse
import random
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib import import_module
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from training import CLASSES, network, our_way, plain_way

from eyebright.data.sending import float32_as
from eyebright.embedding.embed import computes_bfloat16
from eyebright.inference.torch_engine import TorchEngine
from eyebright.models.catalog import count_multiply_adds
from eyebright.models.layers import fold_batch_norm, lay_channels_last
from eyebright.preprocess import Preprocessing
from eyebright.speed.rounds import find_rates

PEERS = {"torchvision": "torchvision.models", "timm": "timm.models"}
STEPS = {"cuda": 50, "cpu": 2}  # in a row; what a training does once must not count
FLOAT32, TF32, BFLOAT16 = "float32", "TF32", "bfloat16"
Way = Callable[[int], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--models", default="resnet50,vgg16")
    parser.add_argument("--batch", type=int, default=256, help="images at once where nothing is learned")
    parser.add_argument("--train-batch", type=int, default=64)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--product", type=int, default=8192, help="rows and columns of the matrices multiplied")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--no-compile", action="store_true", help="leave out what is compiled, which takes minutes")
    options = parser.parse_args()
    if options.device == "cuda" and not torch.cuda.is_available():
        print("Skipped: there is no GPU here that torch can use.")
        return
    torch.manual_seed(0)
    print(f"{name_device(options.device)}, torch {torch.__version__}, {options.rounds} rounds")
    peers = import_peers()
    print("\n| what | way | images a second (quartiles) | times the first | TFLOP/s, of peak |\n|---|---|---|---|---|")
    peaks = {kind: measure_peak(kind, options) for kind in (FLOAT32, TF32, BFLOAT16)}
    for name in options.models.split(","):
        operations = 2 * count_multiply_adds(network(name), options.side)
        inference, training = inference_ways(name, peers, options), training_ways(name, peers, options)
        report(f"{name}, {options.batch} images", inference, options.batch, operations, peaks, options)
        # The backward pass is twice the forward pass: the gradient of what came in, and of the weights.
        report(
            f"a step of {name}, {options.train_batch}", training, options.train_batch, 3 * operations, peaks, options
        )
    print(f"\nPeak, a matrix product: {', '.join(f'{peak / 1e12:.3g} TFLOP/s in {k}' for k, peak in peaks.items())}.")


def name_device(device: str) -> str:
    return torch.cuda.get_device_name() if device.startswith("cuda") else f"On {device}, to see that it works"


def import_peers() -> dict[str, Any]:
    """The modules of networks that are here; what is not is said."""
    found = {}
    for name, module in PEERS.items():
        try:
            found[name] = import_module(module)
        except Exception as error:  # torchvision beside a torch that it was not built for raises nearly anything
            print(f"\n{name} can't be imported ({type(error).__name__}), and is left out.", flush=True)
    return found


def build_peer(module: Any, name: str) -> nn.Module:
    built: nn.Module = getattr(module, name)(num_classes=CLASSES)
    return built


def list_networks(name: str, peers: dict[str, Any]) -> Mapping[str, Callable[[], nn.Module]]:
    """Whose network -> how to build it; only those who have one of that name."""
    theirs = {peer: partial(build_peer, module, name) for peer, module in peers.items() if hasattr(module, name)}
    return theirs or {"as in any tutorial": partial(network, name)}


def inference_ways(name: str, peers: dict[str, Any], options: argparse.Namespace) -> dict[str, tuple[str, Way]]:
    """Way -> type of number, and the way."""
    images = torch.rand(options.batch, 3, options.side, options.side, device=options.device)
    ways: dict[str, tuple[str, Way]] = {}
    for whose, build in list_networks(name, peers).items():
        ways[f"{whose}, eager float32 NCHW"] = (
            TF32,  # in convolutions, as torch has it
            forward_way(build(), images, torch.float32, channels_last=False),
        )
        ways[f"{whose}, eager bfloat16, channels last"] = (BFLOAT16, forward_way(build(), images, torch.bfloat16))
        if not options.no_compile:
            ways[f"{whose}, compiled bfloat16"] = (
                BFLOAT16,
                forward_way(build(), images, torch.bfloat16, compiled=True),
            )
    folded = partial(fold_batch_norm, network(name).eval())
    ways["Eyebright, eager bfloat16"] = (BFLOAT16, forward_way(folded(), images, torch.bfloat16))
    if not options.no_compile:
        ways["Eyebright, compiled bfloat16"] = (BFLOAT16, forward_way(folded(), images, torch.bfloat16, compiled=True))
    pixels = np.random.default_rng(0).integers(0, 256, (options.batch, options.side, options.side, 3), dtype=np.uint8)
    given = np.moveaxis(pixels, 3, 1)
    square = Preprocessing(image_size=options.side, resize=options.side)
    for kind in (FLOAT32, BFLOAT16):
        engine = TorchEngine(network(name), square, device=options.device, bfloat16=kind == BFLOAT16)
        ways[f"Eyebright's engine, {kind}, from pixels"] = (kind, partial(repeat, partial(engine.run, given)))
    return ways


def forward_way(
    model: nn.Module, images: Tensor, kind: torch.dtype, *, channels_last: bool = True, compiled: bool = False
) -> Way:
    """So many forward passes, in evaluation mode."""
    model = model.eval().to(images.device, kind)
    given = images.to(kind)
    if channels_last:
        model, given = lay_channels_last(model), given.contiguous(memory_format=torch.channels_last)
    forward = torch.compile(model) if compiled else model

    @torch.inference_mode()
    def run(steps: int) -> None:
        for _ in range(steps):
            forward(given)

    return run


def repeat(way: Callable[[], object], steps: int) -> None:
    for _ in range(steps):
        way()


def training_ways(name: str, peers: dict[str, Any], options: argparse.Namespace) -> dict[str, tuple[str, Way]]:
    """Way -> type of number, and the way."""
    images = torch.randn(options.train_batch, 3, options.side, options.side, device=options.device)
    labels = torch.arange(options.train_batch, device=options.device) % CLASSES
    low = computes_bfloat16(options.device)
    kind = BFLOAT16 if low else TF32
    ways: dict[str, tuple[str, Way]] = {}
    for whose, build in list_networks(name, peers).items():
        first = plain_way(build(), images, labels, channels_last=False, low=False)
        ways[f"{whose}, eager float32 NCHW, AdamW"] = (TF32, first)
        ways[f"{whose}, eager {kind}, channels last"] = (
            kind,
            plain_way(build(), images, labels, channels_last=True, low=low),
        )
        if not options.no_compile:
            compiled = plain_way(build(), images, labels, channels_last=True, low=low, compiled=True)
            ways[f"{whose}, compiled {kind}"] = (kind, compiled)
    ways["Eyebright's loop"] = (kind, our_way(name, images, labels, options.train_batch))
    if not options.no_compile:
        ways["Eyebright's loop, compiled"] = (kind, our_way(name, images, labels, options.train_batch, compiled=True))
    return ways


def report(
    what: str,
    ways: dict[str, tuple[str, Way]],
    images: int,
    operations: float,
    peaks: dict[str, float],
    options: argparse.Namespace,
) -> None:
    """Time all ways in turns, and print a row for each."""
    seconds: dict[str, list[float]] = {way: [] for way in ways}
    chance = random.Random(0)
    for number in range(options.rounds + 1):
        order = list(ways)
        chance.shuffle(order)
        for way in order:
            taken = time_steps(ways[way][1], options.device)
            if number:  # the first is to warm up, and to compile
                seconds[way].append(taken)
    first = find_rates(next(iter(seconds.values())), images).median
    for way, (kind, _) in ways.items():
        rates = find_rates(seconds[way], images)
        speed = rates.median * operations
        print(
            f"| {what} | {way} | {rates.median:,.0f} ({rates.low:,.0f} to {rates.high:,.0f}) "
            f"| {rates.median / first:.2f} | {speed / 1e12:.3g}, {100 * speed / peaks[kind]:.0f} % |",
            flush=True,
        )


def time_steps(way: Way, device: str) -> float:
    """Seconds of one step, of `STEPS` in a row, until the device has done them."""
    steps = STEPS[device.split(":")[0]]
    wait(device)
    began = time.perf_counter()
    way(steps)
    wait(device)
    return (time.perf_counter() - began) / steps


def wait(device: str) -> None:
    if device.startswith("cuda"):
        torch.cuda.synchronize()


def measure_peak(kind: str, options: argparse.Namespace) -> float:
    """Operations a second of the fastest of some matrix products, two for each multiply-add."""
    dtype = torch.bfloat16 if kind == BFLOAT16 else torch.float32
    a = torch.randn(options.product, options.product, device=options.device, dtype=dtype)
    with float32_as("tf32" if kind == TF32 else "ieee"):
        product = partial(repeat, partial(torch.matmul, a, a))
        times = [time_steps(product, options.device) for _ in range(options.rounds + 1)]
    return float(2 * options.product**3 / min(times))


if __name__ == "__main__":
    main()
