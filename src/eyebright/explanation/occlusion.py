"""Occlusion: how far a class's logit falls when a patch of the image is covered, for patches all over it.

Shapes: N images, C channels, S side that the network sees, K classes.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

PATCHES = 7
"""Patches that would lie side by side; they are moved by half a patch, so that they overlap."""
BATCH = 16


def occlusion(model: nn.Module, image: Tensor, label: int, against: int | None = None) -> Tensor:
    """How much the logit falls when what lies at a position is covered with the mean colour.

    Args:
        model: in evaluation mode.
        image: (1, C, S, S), normalised; zeros are the mean colour.
        label: a class's index in [0, K).
        against: another class, whose logit is taken off.

    Returns:
        (h, w): the mean over all patches that cover a cell; a cell is half a patch wide. Above and below zero.

    Source:
        Zeiler and Fergus, "Visualizing and Understanding Convolutional Networks", 2014, arXiv:1311.2901, section 4.2.
    """
    side = image.shape[-1]
    cells = min(2 * PATCHES, side)
    edges = [round(cell * side / cells) for cell in range(cells + 1)]
    span = min(2, cells)  # cells of a patch along a side
    starts = [(row, column) for row in range(cells - span + 1) for column in range(cells - span + 1)]

    def score(images: Tensor) -> Tensor:
        with torch.inference_mode():
            logits: Tensor = model(images)
            return logits[:, label] if against is None else logits[:, label] - logits[:, against]

    whole = score(image)[0]
    fallen, covered = torch.zeros(cells, cells), torch.zeros(cells, cells)
    for begin in range(0, len(starts), BATCH):
        chosen = starts[begin : begin + BATCH]
        batch = image.repeat(len(chosen), 1, 1, 1)
        for number, (row, column) in enumerate(chosen):
            batch[number, :, edges[row] : edges[row + span], edges[column] : edges[column + span]] = 0
        for (row, column), fall in zip(chosen, (whole - score(batch)).tolist(), strict=True):
            fallen[row : row + span, column : column + span] += fall
            covered[row : row + span, column : column + span] += 1
    return fallen / covered
