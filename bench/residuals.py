"""Why residuals help, measured small: plain and residual networks of equal depth, side by side, on the embedded images.

    python bench/residuals.py --out src/eyebright/lessons/residuals.json

The networks are those of He et al., 2015, section 4.2, at half the resolution: one 3x3 convolution, then 2n of them in
each of three stages of 16, 32 and 64 channels, a global average and one linear layer; 6n + 2 weighted layers. Shortcuts
take no parameters (the paper's option A: strided and padded with zeros), so that a plain network and the residual one
of its depth learn exactly as many numbers, start from the same ones and see the same batches.
Shapes: N images, C channels, H x W positions.
"""

from __future__ import annotations

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.data.cache import iter_squares
from eyebright.data.sources import read_samples
from eyebright.jobs.demo import embedded_images
from eyebright.lessons.measured import Course
from eyebright.models.layers import lay_channels_last
from eyebright.preprocess import Preprocessing

WIDTHS = (16, 32, 64)
PREPROCESSING = Preprocessing(image_size=28, resize=28, mean=(0.5,), std=(0.5,))


class Stack(nn.Module):
    """(N, 1, 28, 28) -> logits (N, 10), plain or residual."""

    def __init__(self, depth: int, *, is_residual: bool) -> None:
        super().__init__()
        per_stage, rest = divmod(depth - 2, 6)
        if rest:
            raise ValueError(f"depth is 6n + 2, not {depth}")
        self.is_residual = is_residual
        self.stem = nn.Conv2d(1, WIDTHS[0], 3, stride=2, padding=1, bias=False)
        self.stem_norm = nn.BatchNorm2d(WIDTHS[0])
        self.pairs = nn.ModuleList()
        channels = WIDTHS[0]
        for number, width in enumerate(WIDTHS):
            for index in range(per_stage):
                stride = 2 if index == 0 and number else 1
                self.pairs.append(
                    nn.Sequential(
                        nn.Conv2d(channels, width, 3, stride, padding=1, bias=False),
                        nn.BatchNorm2d(width),
                        nn.ReLU(),
                        nn.Conv2d(width, width, 3, padding=1, bias=False),
                        nn.BatchNorm2d(width),
                    )
                )
                channels = width
        self.head = nn.Linear(channels, 10)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem_norm(self.stem(x)))
        for pair in self.pairs:
            y = pair(x)
            x = F.relu(y + shortcut(x, y) if self.is_residual else y)
        logits: Tensor = self.head(x.mean(dim=(2, 3)))
        return logits


def shortcut(x: Tensor, y: Tensor) -> Tensor:
    """x in the shape of y: every other position where y is coarser, zeros for the channels that x lacks."""
    step = -(-x.shape[2] // y.shape[2])
    return F.pad(x[:, :, ::step, ::step], (0, 0, 0, 0, 0, y.shape[1] - x.shape[1]))


def read_split(split: str) -> tuple[Tensor, Tensor]:
    """Images (N, 1, 28, 28) in [-1, 1] and labels (N,) of the embedded images, in the order of their names."""
    table = read_samples(embedded_images()).split(split)
    squares = np.concatenate([found for found, _ in iter_squares(table.store, table.names, PREPROCESSING)])
    return torch.from_numpy(PREPROCESSING.normalise(squares)), torch.from_numpy(table.labels)


def train(depth: int, *, is_residual: bool, epochs: int, seed: int, lr: float) -> Course:
    """One network by SGD with momentum 0.9, weight decay 0.0001, batches of 64 and a cosine from `lr` to 0."""
    torch.manual_seed(seed)
    model = lay_channels_last(Stack(depth, is_residual=is_residual))
    images, labels = read_split("train")
    test_images, test_labels = read_split("test")
    order = torch.Generator().manual_seed(seed)
    optimiser = torch.optim.SGD(model.parameters(), lr=lr, momentum=0.9, weight_decay=1e-4)
    steps = epochs * (len(labels) // 64)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, steps)
    losses, accuracies = [], []
    for _ in range(epochs):
        model.train()
        shuffled = torch.randperm(len(labels), generator=order)
        for batch in torch.split(shuffled, 64)[: len(labels) // 64]:
            loss = F.cross_entropy(model(images[batch]), labels[batch])
            optimiser.zero_grad()
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
        model.eval()
        with torch.inference_mode():
            losses.append(float(F.cross_entropy(torch.cat([model(part) for part in torch.split(images, 500)]), labels)))
            answers = torch.cat([model(part).argmax(1) for part in torch.split(test_images, 500)])
        accuracies.append(float((answers == test_labels).float().mean()))
    return Course(
        depth=depth,
        is_residual=is_residual,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        train_loss=tuple(round(loss, 4) for loss in losses),
        test_accuracy=tuple(round(accuracy, 4) for accuracy in accuracies),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--depths", default="20,56")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--lr", type=float, default=0.05)
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    torch.set_num_threads(1)
    courses = []
    for depth in (int(text) for text in given.depths.split(",")):
        for is_residual in (False, True):
            begin = time.process_time()
            course = train(depth, is_residual=is_residual, epochs=given.epochs, seed=given.seed, lr=given.lr)
            courses.append(course)
            kind = "residual" if is_residual else "plain"
            print(
                f"{kind} {depth}: {course.parameters:,} parameters, loss {course.train_loss[-1]:.3f}, test "
                f"{course.test_accuracy[-1]:.1%}, {time.process_time() - begin:.0f} s of processor time",
                flush=True,
            )
    if given.out is not None:
        options = f"--depths {given.depths} --epochs {given.epochs} --seed {given.seed} --lr {given.lr}"
        found = {
            "command": f"python bench/residuals.py {options}",
            "torch": torch.__version__.partition("+")[0],
            "train_images": len(read_split("train")[1]),
            "test_images": len(read_split("test")[1]),
            "courses": [asdict(course) for course in courses],
        }
        given.out.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
