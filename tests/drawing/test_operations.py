from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from eyebright.drawing.graph import Node
from eyebright.drawing.trace import trace


class Does(nn.Module):
    """One line of torch."""

    def __init__(self, line: str) -> None:
        super().__init__()
        self.line = line

    def forward(self, x: Tensor) -> Tensor:
        return eval(self.line, {"x": x, "F": F, "torch": torch})  # type: ignore[no-any-return]


def only(line: str) -> Node:
    return trace(Does(line), [(4, 12, 8)]).nodes[-1]


@pytest.mark.parametrize(
    ("line", "kind"),
    [
        ("F.relu(x)", "activation"),
        ("torch.relu_(x)", "activation"),
        ("F.gelu(x)", "activation"),
        ("x + x.relu()", "addition"),
        ("torch.add(x, x.relu())", "addition"),
        ("x.add_(x.relu())", "addition"),
        ("x + 1", "arithmetic"),
        ("x * x", "arithmetic"),
        ("x.mean((2, 3))", "average pooling"),
        ("x.mean(dim=(2, 3), keepdim=True)", "average pooling"),
        ("x.mean(1)", "arithmetic"),
        ("F.adaptive_avg_pool2d(x, 1)", "average pooling"),
        ("F.max_pool2d(x, 2)", "max pooling"),
        ("F.adaptive_max_pool2d(x, 2)", "max pooling"),
        ("x.flatten(1)", "flatten"),
        ("x.view(1, -1)", "flatten"),
        ("x.permute(0, 2, 3, 1)", "reshape"),
        ("x[:, :2]", "reshape"),
        ("torch.cat([x, x], 1)", "concatenation"),
        ("F.dropout(x, 0.5, False)", "dropout"),
        ("F.pad(x, (1, 1, 1, 1))", "padding"),
        ("F.interpolate(x, scale_factor=2)", "upsampling"),
        ("x.softmax(1)", "softmax"),
        ("torch.erf(x)", "other"),
    ],
)
def test_every_spelling_of_an_operation_is_known(line: str, kind: str) -> None:
    assert only(line).kind == kind


@pytest.mark.parametrize(
    ("line", "kernel", "stride"),
    [
        ("F.max_pool2d(x, 2)", (2, 2), (2, 2)),
        ("F.max_pool2d(x, (3, 2), stride=1)", (3, 2), (1, 1)),
        ("F.avg_pool2d(x, kernel_size=2, stride=(2, 1))", (2, 2), (2, 1)),
        ("F.adaptive_avg_pool2d(x, (4, None))", (3, 1), (3, 1)),
        ("F.conv2d(x, x.new_empty(6, 2, 3, 1), groups=2, stride=2)", (3, 1), (2, 2)),
        ("F.conv_transpose2d(x, x.new_empty(4, 6, 4, 4), stride=2)", (4, 4), (2, 2)),
    ],
)
def test_windows_are_read_from_every_spelling(line: str, kernel: tuple[int, int], stride: tuple[int, int]) -> None:
    node = only(line)
    assert (node.kernel, node.stride) == (kernel, stride)
