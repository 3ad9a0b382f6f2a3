"""The plain CNN: convolution, ReLU and pooling, then fully connected layers with dropout. Trained from scratch.

The design of LeCun et al., "Gradient-based learning applied to document recognition", 1998, with the ReLU, max
pooling and dropout of Krizhevsky et al., "ImageNet Classification with Deep Convolutional Neural Networks", 2012.
Each stage convolves 3x3 (the deep one twice, as VGG does), rectifies and halves the resolution; the last stage's map is
averaged down to a fixed grid, so that any input size meets the same fully connected layer. No BatchNorm and no
shortcuts: this is the network in which every number can still be followed by hand.

Parameter names: features.0, features.3, ... (convolutions), hidden (fully connected), fc (head).
Shapes: N images, C channels, H x W pixels, D embedding width, K classes.
"""

from __future__ import annotations

from bisect import bisect_left

import torch.nn.functional as F
from torch import Tensor, nn

# width -> channels of each convolution of each stage, units of the fully connected layer
WIDTHS: dict[str, tuple[tuple[tuple[int, ...], ...], int]] = {
    "small": (((12,), (24,), (48,)), 128),
    "base": (((24,), (48,), (96,)), 256),
    "large": (((64,), (128,), (256,), (512,)), 512),
    "deep": (((32, 32), (64, 64), (128, 128)), 256),
}
GRID = 4  # positions per side that the fully connected layer looks at


class CNN(nn.Module):
    """Three or four stages of convolution, ReLU and max pool under two fully connected layers; (N, C, H, W) -> (N, K).

    Args:
        width: a key of `WIDTHS`.
        num_classes: K.
        in_channels: C.
        dropout: the fraction of the fully connected layer's units that is dropped while training.
    """

    def __init__(
        self, width: str = "base", *, num_classes: int = 10, in_channels: int = 3, dropout: float = 0.3
    ) -> None:
        super().__init__()
        if width not in WIDTHS:
            raise ValueError(f"the plain CNN has no width {width!r}; choose one of {', '.join(WIDTHS)}")
        stages, units = WIDTHS[width]
        self.width = width
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.embedding_width = units
        self.stages = tuple(f"stage{number}" for number in range(1, len(stages) + 1))
        layers: list[nn.Module] = []
        self._ends: list[int] = []  # of each stage, the index of its last layer
        previous = in_channels
        for channels in stages:
            for position, count in enumerate(channels):
                if position:
                    layers.append(nn.ReLU(inplace=True))
                layers.append(nn.Conv2d(previous, count, 3, padding=1))
                previous = count
            # ceil_mode keeps at least one position however small the image is. The largest of four rectified values is
            # the rectified largest: ReLU after the pool gives the same numbers for a quarter of the memory traffic.
            layers.append(nn.MaxPool2d(2, stride=2, ceil_mode=True))
            layers.append(nn.ReLU(inplace=True))
            self._ends.append(len(layers) - 1)
        self.features = nn.Sequential(*layers)
        self.hidden = nn.Linear(previous * GRID * GRID, units)
        self.dropout = nn.Dropout(dropout)
        self.fc = nn.Linear(units, num_classes)
        self._initialise()

    def _initialise(self) -> None:
        """He normal layers under a ReLU; the head starts at zero, so that all classes begin equally likely."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
                assert module.bias is not None
                nn.init.zeros_(module.bias)
        nn.init.zeros_(self.fc.weight)

    @property
    def head(self) -> nn.Linear:
        return self.fc

    def stage_of(self, parameter: str) -> int:
        module, _, rest = parameter.partition(".")
        return bisect_left(self._ends, int(rest.split(".")[0])) if module == "features" else len(self.stages)

    def forward_features(self, x: Tensor, last: str | None = None) -> dict[str, Tensor]:
        features: dict[str, Tensor] = {}
        for index, layer in enumerate(self.features):
            x = layer(x)
            if index in self._ends:
                stage = self.stages[len(features)]
                features[stage] = x
                if stage == last:
                    break
        return features

    def embed(self, x: Tensor) -> Tensor:
        """(N, C, H, W) -> (N, D): the fully connected layer's units, after dropout while training."""
        x = self.forward_features(x)[self.stages[-1]]
        x = F.adaptive_avg_pool2d(x, GRID).flatten(1)
        return self.dropout(F.relu(self.hidden(x)))  # type: ignore[no-any-return]

    def forward(self, x: Tensor) -> Tensor:
        return self.fc(self.embed(x))  # type: ignore[no-any-return]
