#!/usr/bin/env python3
"""Time a training step of a network as everyone writes it, as Eyebright takes it, and what Eyebright's loop adds to it.

    python bench/training.py [--model resnet50] [--batch 16] [--side 224] [--rounds 13]

Each way has a process of its own, and they take turns in an order of their own each round, on the same random images;
medians of images a second are reported with their quartiles, and the ratio to the first way. Eyebright's processes keep
the memory that they free, as `eyebright train` does; "everyone's" leave that to the C library, as everyone does. The
loop's overhead is the time of Eyebright's own loop over the same tensors, with its checks, averages and progress,
against a bare loop of the same forward pass, backward pass, clipping and step. The same loop with `training.compile`
shows whether compiling pays; how long it takes is told too, and no round counts it.
"""

from __future__ import annotations

import argparse
import itertools
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.cli.allocator import keep_freed_memory
from eyebright.data.loader import Batch
from eyebright.embedding.embed import computes_bfloat16
from eyebright.models.catalog import build_model
from eyebright.models.layers import lay_channels_last
from eyebright.progress import SilentProgress
from eyebright.speed.rounds import find_rates
from eyebright.training.checkpoint import Snapshot
from eyebright.training.choice import Validation
from eyebright.training.epochs import train_with_frozen_statistics
from eyebright.training.loop import run_loop
from eyebright.training.objective import CrossEntropy
from eyebright.training.optim import build_optimizer
from eyebright.training.plan import LoopPlan
from eyebright.training.start import FEW
from eyebright.training.step import CLIP, list_part_sizes

CLASSES = 6
STEPS = 3


def main() -> None:
    parser = argparse.ArgumentParser(description=str(__doc__).splitlines()[0])
    parser.add_argument("--model", default="resnet50")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--side", type=int, default=224)
    parser.add_argument("--rounds", type=int, default=13)
    parser.add_argument("--no-compile", action="store_true", help="leave out what is compiled, which takes a while")
    parser.add_argument("--way", type=int, help=argparse.SUPPRESS)  # given where a process of its own runs this file
    options = parser.parse_args()
    if options.way is not None:
        answer_rounds(list(WAYS.values())[options.way], options)
        return
    about = {
        "machine": platform.processor() or platform.machine(),
        "cpus": os.cpu_count(),
        "load": os.getloadavg()[0],
        "torch": torch.__version__,
        "bfloat16": computes_bfloat16("cpu"),
        **{name: value for name, value in vars(options).items() if name != "way"},
    }
    print(", ".join(f"{name} {value}" for name, value in about.items()))
    ways = [way for way in WAYS if way != COMPILED or not options.no_compile]
    times: dict[str, list[float]] = {way: [] for way in ways}
    warming: dict[str, float] = {}
    chance = random.Random(0)
    with ExitStack() as stack:
        workers = {way: stack.enter_context(start_worker(list(WAYS).index(way))) for way in ways}
        for number in range(options.rounds + 1):
            order = list(ways)
            chance.shuffle(order)
            for way in order:
                taken = workers[way]()
                if number:  # the first is to warm up
                    times[way].append(taken / STEPS)
                else:
                    warming[way] = taken
    first = statistics.median(times[FIRST])
    print("\n| way | images a second (quartiles) | times the first |\n|---|---|---|")
    for way, seconds in times.items():
        rates = find_rates(seconds, options.batch)
        ratio = first / statistics.median(seconds)
        print(f"| {way} | {rates.median:.1f} ({rates.low:.1f} to {rates.high:.1f}) | {ratio:.2f} |")
    ratios = [a / b - 1 for a, b in zip(times[OURS], times[BARE], strict=True)]
    print(f"\nThe loop's overhead: {100 * statistics.median(ratios):.1f} % (median of {len(ratios)} rounds)")
    if COMPILED in ways:
        print(f"Compiling took {warming[COMPILED] - warming[OURS]:.0f} s")


@contextmanager
def start_worker(way: int) -> Iterator[Callable[[], float]]:
    """A process that takes `STEPS` steps of one way each time it is asked, and tells how many seconds they took."""
    command = [sys.executable, __file__, *sys.argv[1:], "--way", str(way)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        asked, told = process.stdin, process.stdout

        def take_steps() -> float:
            asked.write("go\n")
            asked.flush()
            line = told.readline()
            if not line:
                raise SystemExit(f"the process of way {way} has ended")
            return float(line)

        try:
            yield take_steps
        finally:
            asked.close()


def answer_rounds(way: Way, options: argparse.Namespace) -> None:
    """In a process of its own: for each line that comes in, some steps, and a line with the seconds they took."""
    if way.keeps_memory:
        keep_freed_memory()
    torch.manual_seed(0)
    images = torch.randn(options.batch, 3, options.side, options.side)
    run = way.build(options.model, images, torch.arange(options.batch) % CLASSES)
    for _ in sys.stdin:
        began = time.perf_counter()
        run(STEPS)
        print(time.perf_counter() - began, flush=True)


def network(name: str) -> nn.Module:
    """One of ours, with random weights."""
    return build_model(name, num_classes=CLASSES)


def plain_way(
    model: nn.Module,
    images: Tensor,
    labels: Tensor,
    *,
    channels_last: bool,
    low: bool,
    compiled: bool = False,
) -> Callable[[int], None]:
    """Forward, backward and step as in any tutorial, BatchNorm learning, where the images are."""
    model = model.to(images.device)
    if channels_last:
        model, images = lay_channels_last(model), images.contiguous(memory_format=torch.channels_last)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-5)
    forward = torch.compile(model) if compiled else model

    def run(steps: int) -> None:
        model.train()
        for _ in range(steps):
            optimizer.zero_grad()
            with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
                loss = F.cross_entropy(forward(images), labels)
            torch.autograd.backward(loss)
            optimizer.step()

    return run


def our_way(
    name: str, images: Tensor, labels: Tensor, micro_batch: int, *, compiled: bool = False
) -> Callable[[int], None]:
    """`run_loop`, fine-tuning as the recipes do: frozen statistics, in parts on a CPU, bfloat16 where it is fast."""
    device = str(images.device)
    model = lay_channels_last(network(name).to(device))
    optimizer = build_optimizer(model, kind="adamw", lr=1e-5, weight_decay=0.05)
    batch = batch_of(images, labels)

    rising = itertools.count(1.0)  # so that no epoch but the first is copied to be kept

    def run(steps: int) -> None:
        def batches(epoch: int, start: int) -> Iterator[tuple[Batch, int]]:
            for _ in range(start, steps):
                yield batch, len(labels)

        plan = LoopPlan(
            epochs=1,
            batches_per_epoch=steps,
            samples_per_epoch=steps * len(labels),
            highest_lr=1e-5,
            warmup=0.0,
            micro_batch=micro_batch,
            bfloat16=computes_bfloat16(device),
            compiled=compiled,
            device=device,
        )
        run_loop(
            model,
            batches,
            CrossEntropy(),
            optimizer,
            lambda _: Validation(losses=torch.full((1,), next(rising)), accuracy=0.5),
            plan,
            keeper=NoKeeper(),
            progress=SilentProgress(),
            set_train_mode=train_with_frozen_statistics,
        )

    return run


class NoKeeper:
    """Keeps nothing: checkpoints have an interval of their own, and are not a step's cost."""

    due = False

    def save(self, snapshot: Snapshot, *, milestone: bool = False) -> None:
        pass

    def load(self, *, milestone: bool = False) -> Snapshot | None:
        return None


def bare_way(name: str, images: Tensor, labels: Tensor) -> Callable[[int], None]:
    """The same work as `our_way`, without anything around it."""
    model = lay_channels_last(build_model(name, num_classes=CLASSES))
    optimizer = build_optimizer(model, kind="adamw", lr=1e-5, weight_decay=0.05)
    batch = batch_of(images, labels)
    objective, low = CrossEntropy(), computes_bfloat16("cpu")

    def run(steps: int) -> None:
        train_with_frozen_statistics(model)
        for _ in range(steps):
            optimizer.zero_grad(set_to_none=True)
            for part in batch.split(list_part_sizes(len(labels), FEW)):
                with torch.autocast("cpu", torch.bfloat16, enabled=low):
                    loss = objective(model, part) * (len(part) / len(labels))
                torch.autograd.backward(loss)
            nn.utils.clip_grad_norm_(model.parameters(), CLIP)
            optimizer.step()

    return run


def batch_of(images: Tensor, labels: Tensor) -> Batch:
    """The images channels last, and one-hot targets."""
    targets = F.one_hot(labels, CLASSES).float()
    return Batch(images=images.to(memory_format=torch.channels_last), targets=targets)


@dataclass(frozen=True, kw_only=True)
class Way:
    """How to take steps."""

    build: Callable[[str, Tensor, Tensor], Callable[[int], None]]
    """The network's name, images and labels -> what takes so many steps."""
    keeps_memory: bool = False


def _plain(channels_last: bool, low: bool) -> Way:
    build = partial(plain_way, channels_last=channels_last, low=low)
    return Way(build=lambda name, images, labels: build(network(name), images, labels))


FIRST, OURS, BARE = "eager float32 NCHW, AdamW", "Eyebright's loop", "a bare loop of the same steps"
COMPILED = "Eyebright's loop, compiled"
WAYS = {
    FIRST: _plain(False, False),
    "the same, channels last": _plain(True, False),
    # Where it is emulated, a step takes a minute.
    **({"the same, in bfloat16": _plain(True, True)} if computes_bfloat16("cpu") else {}),
    OURS: Way(build=lambda name, images, labels: our_way(name, images, labels, FEW), keeps_memory=True),
    BARE: Way(build=bare_way, keeps_memory=True),
    COMPILED: Way(
        build=lambda name, images, labels: our_way(name, images, labels, FEW, compiled=True), keeps_memory=True
    ),
}


if __name__ == "__main__":
    main()
