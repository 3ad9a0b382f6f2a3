"""ResNet: stacks of residual blocks, each adding a small correction to what came in.

Paper: He et al., "Deep Residual Learning for Image Recognition", 2015, arXiv:1512.03385; depths from its Table 1.
Five stages: a 7x7 stem with a max pool, then four stages of blocks, each halving the resolution (but the first)
and doubling the width. A block computes F(x) + x, so a very deep stack can still pass the signal and its
gradient straight through. ResNet-50 has 48 convolutions in its blocks, one in the stem, one max pool and one
average pool.

Quirk: where a stage's stride stands. In the paper ("v1") it is in the first 1x1 convolution of the stage's first
bottleneck, `stride_in="1x1"`; torchvision ("v1.5") has it in the 3x3, `stride_in="3x3"`. Weights trained in
one layout load into the other without an error and lose about ten points, so weights carry their layout.

Parameter names are torchvision's: conv1, bn1, layer1.0.conv1, layer1.0.downsample.0, fc.
Shapes: N images, C channels, H x W pixels, D embedding width, K classes.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

StrideIn = Literal["3x3", "1x1"]

# depth -> (how many blocks in each of the four stages, whether the blocks are bottlenecks)
DEPTHS: dict[int, tuple[tuple[int, int, int, int], bool]] = {
    18: ((2, 2, 2, 2), False),
    34: ((3, 4, 6, 3), False),
    50: ((3, 4, 6, 3), True),
    101: ((3, 4, 23, 3), True),
    152: ((3, 8, 36, 3), True),
}
WIDTHS = (64, 128, 256, 512)


class BasicBlock(nn.Module):
    """Convolve 3x3 twice, then add the shortcut.

    (N, in_channels, H, W) -> (N, width, H / stride, W / stride)
    """

    expansion = 1

    def __init__(self, in_channels: int, width: int, stride: int, stride_in: StrideIn) -> None:
        super().__init__()
        # Both layouts agree here: a basic block has no 1x1 convolution to put the stride in.
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = build_shortcut(in_channels, width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(_convolve(self.conv1, self.bn1, x), inplace=True)
        y = _convolve(self.conv2, self.bn2, y)
        return F.relu(y + self.downsample(x), inplace=True)


class Bottleneck(nn.Module):
    """Reduce 1x1, convolve 3x3, expand 1x1, then add the shortcut.

    (N, in_channels, H, W) -> (N, 4 * width, H / stride, W / stride)
    """

    expansion = 4

    def __init__(self, in_channels: int, width: int, stride: int, stride_in: StrideIn) -> None:
        super().__init__()
        stride_1x1, stride_3x3 = (stride, 1) if stride_in == "1x1" else (1, stride)
        self.conv1 = nn.Conv2d(in_channels, width, 1, stride_1x1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride_3x3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, 4 * width, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(4 * width)
        self.downsample = build_shortcut(in_channels, 4 * width, stride)

    def forward(self, x: Tensor) -> Tensor:
        y = F.relu(_convolve(self.conv1, self.bn1, x), inplace=True)
        y = F.relu(_convolve(self.conv2, self.bn2, y), inplace=True)
        y = _convolve(self.conv3, self.bn3, y)
        return F.relu(y + self.downsample(x), inplace=True)


def build_shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Module:
    """The identity where shapes agree, else a 1x1 projection with BatchNorm (the paper's option B)."""
    if stride == 1 and in_channels == out_channels:
        return nn.Identity()
    return Projection(nn.Conv2d(in_channels, out_channels, 1, stride, bias=False), nn.BatchNorm2d(out_channels))


class Projection(nn.Sequential):
    """A convolution with its BatchNorm; (N, C, H, W) -> (N, K, H / stride, W / stride)."""

    def forward(self, x: Tensor) -> Tensor:
        conv, norm = self
        return _convolve(conv, norm, x)


def _convolve(conv: nn.Module, norm: nn.Module, x: Tensor) -> Tensor:
    """A convolution and the BatchNorm behind it.

    Where a network trains but its BatchNorm keeps the statistics it has, the latter is a scale and a shift of each
    channel, which the weights can carry: the same function and gradients, but one pass over all activations less each
    way, and what the convolution gave need not be kept.
    """
    if norm.training or not conv.training:
        y: Tensor = norm(conv(x))
        return y
    assert isinstance(conv, nn.Conv2d)
    assert isinstance(norm, nn.BatchNorm2d)
    assert norm.running_mean is not None
    assert norm.running_var is not None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * scale
    return F.conv2d(x, conv.weight * scale[:, None, None, None], shift, conv.stride, conv.padding)


class ResNet(nn.Module):
    """A residual network of 18, 34, 50, 101 or 152 weighted layers; (N, C, H, W) -> logits (N, K).

    Args:
        depth: a key of `DEPTHS`.
        num_classes: K.
        in_channels: C.
        stride_in: which convolution of a bottleneck carries its stride; see the top of this file.
        embed_stages: how many of the last stages the embedding averages, side by side; the paper's is 1. With 2, a
            head also sees the finer, less ImageNet-bound features of `layer3`.
    """

    stages = ("stem", "layer1", "layer2", "layer3", "layer4")

    def __init__(
        self,
        depth: int = 50,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        stride_in: StrideIn = "3x3",
        embed_stages: int = 1,
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"ResNet has no depth {depth}; choose one of {sorted(DEPTHS)}")
        if stride_in not in ("3x3", "1x1"):
            raise ValueError(f'stride_in is "3x3" or "1x1", not {stride_in!r}')
        if not 1 <= embed_stages <= len(WIDTHS):
            raise ValueError(f"embed_stages is between 1 and {len(WIDTHS)}, not {embed_stages}")
        counts, is_bottleneck = DEPTHS[depth]
        block = Bottleneck if is_bottleneck else BasicBlock
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.stride_in = stride_in
        self.embed_stages = embed_stages
        self.embedding_width = sum(WIDTHS[-embed_stages:]) * block.expansion
        self.conv1 = nn.Conv2d(in_channels, 64, 7, stride=2, padding=3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        channels = 64
        for number, (width, count) in enumerate(zip(WIDTHS, counts, strict=True), start=1):
            blocks: list[nn.Module] = []
            for index in range(count):
                stride = 2 if index == 0 and number > 1 else 1
                blocks.append(block(channels, width, stride, stride_in))
                channels = width * block.expansion
            self.add_module(f"layer{number}", nn.Sequential(*blocks))
        self.fc = nn.Linear(self.embedding_width, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He normal convolutions (fan out); the last BatchNorm of each block starts at zero.

        A block then starts as the identity (Goyal et al., 2017, arXiv:1706.02677, section 5.1).
        """
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
        for module in self.modules():
            if isinstance(module, Bottleneck):
                nn.init.zeros_(module.bn3.weight)
            elif isinstance(module, BasicBlock):
                nn.init.zeros_(module.bn2.weight)

    @property
    def head(self) -> nn.Linear:
        return self.fc

    def stage_of(self, parameter: str) -> int:
        module = parameter.split(".")[0]
        if module in ("conv1", "bn1"):
            return 0
        return self.stages.index(module) if module in self.stages else len(self.stages)

    def forward_features(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        x = F.relu(_convolve(self.conv1, self.bn1, x), inplace=True)
        x = F.max_pool2d(x, 3, stride=2, padding=1)
        features = {"stem": x}
        for name in self.stages[1:]:
            if last in features:
                break
            x = self.get_submodule(name)(x)
            features[name] = x
        return features

    def embed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D): the last stage, or the last few, averaged over their positions."""
        features = self.forward_features(x)
        return torch.cat([features[name].mean(dim=(2, 3)) for name in self.stages[-self.embed_stages :]], dim=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.embed(x))  # type: ignore[no-any-return]
