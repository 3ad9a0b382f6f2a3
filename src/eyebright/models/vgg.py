"""VGG: nothing but 3x3 convolutions and 2x2 max pools, stacked deep, under three fully connected layers.

Paper: Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", 2014,
arXiv:1409.1556; configurations A, B, D and E of its Table 1 are VGG-11, 13, 16 and 19. Two stacked 3x3
convolutions see as far as one 5x5, with fewer parameters and one more non-linearity.

Heads: "classic" is the paper's (two fully connected layers of 4096 with dropout, then the classes), 120 of
VGG-16's 138 million parameters; "pooled" replaces it by a global average and one linear layer, which is what
transfer learning wants and what fits weights that hold the convolutions only.

Parameter names are torchvision's: features.0, classifier.0, classifier.3, classifier.6 (pooled head: classifier).
Shapes: N images, C channels, H x W pixels, D embedding width, K classes.
"""

from __future__ import annotations

from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

VggHead = Literal["classic", "pooled"]

# depth -> how many convolutions in each of the five stages
DEPTHS: dict[int, tuple[int, int, int, int, int]] = {
    11: (1, 1, 2, 2, 2),
    13: (2, 2, 2, 2, 2),
    16: (2, 2, 3, 3, 3),
    19: (2, 2, 4, 4, 4),
}
WIDTHS = (64, 128, 256, 512, 512)
HIDDEN = 4096
GRID = 7  # the classic head was made for 7 x 7 positions: 224 pixels halved five times


class VGG(nn.Module):
    """A VGG of 11, 13, 16 or 19 weighted layers; (N, C, H, W) -> logits (N, K).

    Args:
        depth: a key of `DEPTHS`.
        num_classes: K.
        in_channels: C.
        batch_norm: a BatchNorm after each convolution, which the paper did not have yet.
        head: "classic" or "pooled"; see the top of this file.
        dropout: the fraction that the classic head drops while training.
        embed_stages: pooled head only: how many of the last stages the embedding averages, side by side.
    """

    stages = ("stage1", "stage2", "stage3", "stage4", "stage5")

    def __init__(
        self,
        depth: int = 16,
        *,
        num_classes: int = 1000,
        in_channels: int = 3,
        batch_norm: bool = False,
        head: VggHead = "classic",
        dropout: float = 0.5,
        embed_stages: int = 1,
    ) -> None:
        super().__init__()
        if depth not in DEPTHS:
            raise ValueError(f"VGG has no depth {depth}; choose one of {sorted(DEPTHS)}")
        if head not in ("classic", "pooled"):
            raise ValueError(f'head is "classic" or "pooled", not {head!r}')
        if not 1 <= embed_stages <= len(WIDTHS) or (head == "classic" and embed_stages != 1):
            raise ValueError(f"embed_stages is 1, or up to {len(WIDTHS)} with the pooled head, not {embed_stages}")
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.head_kind = head
        self.embed_stages = embed_stages
        self.embedding_width = HIDDEN if head == "classic" else sum(WIDTHS[-embed_stages:])
        layers: list[nn.Module] = []
        self._stage_ends: dict[int, str] = {}  # index of a stage's max pool in `features` -> its name
        channels = in_channels
        for name, width, count in zip(self.stages, WIDTHS, DEPTHS[depth], strict=True):
            for _ in range(count):
                layers.append(nn.Conv2d(channels, width, 3, padding=1))
                if batch_norm:
                    layers.append(nn.BatchNorm2d(width))
                layers.append(nn.ReLU(inplace=True))
                channels = width
            self._stage_ends[len(layers)] = name
            # ceil_mode keeps at least one position however small the image is; at multiples of 32 it changes nothing.
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
        self.features = nn.Sequential(*layers)
        self.classifier: nn.Sequential | nn.Linear
        if head == "classic":
            self.classifier = nn.Sequential(
                nn.Linear(WIDTHS[-1] * GRID * GRID, HIDDEN),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(HIDDEN, HIDDEN),
                nn.ReLU(inplace=True),
                nn.Dropout(dropout),
                nn.Linear(HIDDEN, num_classes),
            )
        else:
            self.classifier = nn.Linear(self.embedding_width, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He normal convolutions and narrow normal linear layers, so that 19 layers start without BatchNorm."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                nn.init.zeros_(module.bias)  # type: ignore[arg-type]
            elif isinstance(module, nn.Linear):
                nn.init.normal_(module.weight, 0.0, 0.01)
                nn.init.zeros_(module.bias)

    @property
    def head(self) -> nn.Linear:
        last = self.classifier[-1] if isinstance(self.classifier, nn.Sequential) else self.classifier
        assert isinstance(last, nn.Linear)
        return last

    def stage_of(self, parameter: str) -> int:
        module, _, rest = parameter.partition(".")
        if module != "features":
            return len(self.stages)
        return sum(int(rest.split(".")[0]) > end for end in self._stage_ends)

    def forward_features(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        features = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._stage_ends:
                features[self._stage_ends[index]] = x
                if self._stage_ends[index] == last:
                    break
        return features

    def embed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D): 4096 fully connected units (classic), or the last stages' averages (pooled)."""
        features = self.forward_features(x)
        if not isinstance(self.classifier, nn.Sequential):
            return torch.cat([features[name].mean(dim=(2, 3)) for name in self.stages[-self.embed_stages :]], dim=1)
        x = F.adaptive_avg_pool2d(features["stage5"], GRID).flatten(1)
        return self.classifier[:-1](x)  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.embed(x))  # type: ignore[no-any-return]
