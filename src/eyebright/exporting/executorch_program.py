"""A network as an ExecuTorch program (.pte), which runs on phones and small devices without Python.

Pixels go in, so that nobody who runs the file can normalise them wrongly; logits and the embedding come out. BatchNorm
is folded into the convolutions, and XNNPACK computes them in float32. The method "about" says the rest as JSON: class
names, preprocessing, thresholds.
Shapes: N images, C channels, S side that the network sees, D embedding width, K classes.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from eyebright.errors import ModelError
from eyebright.inference.executorch_engine import ABOUT, import_runtime, without_warnings
from eyebright.models.layers import fold_batch_norm
from eyebright.models.protocol import Network
from eyebright.preprocess import Preprocessing

MOST_IMAGES = 16
"""At once; a program sets memory aside for as many."""


def build_program(
    model: nn.Module,
    preprocessing: Preprocessing,
    class_names: Sequence[str],
    *,
    weights_sha256: str,
    thresholds: Sequence[float] | None = None,
) -> bytes:
    """The content of a .pte file: pixels (N, C, S, S) uint8 -> logits (N, K) and embedding (N, D).

    Args:
        model: a network of the catalogue; it is not changed.
        preprocessing: its mean and std go into the program.
        class_names: K names.
        weights_sha256: of the weights' file.
        thresholds: K, where an image may have several classes: it has those whose logit's sigmoid reaches the
            threshold. None where it has exactly one.

    Raises:
        ModelError: the network has an operation that ExecuTorch does not know.
    """
    about = {
        "classes": list(class_names),
        "preprocessing": preprocessing.to_dict(),
        "thresholds": None if thresholds is None else list(thresholds),
        "weights_sha256": weights_sha256,
    }
    side, channels = preprocessing.image_size, preprocessing.channels
    network = _FromPixels(fold_batch_norm(model), preprocessing).eval()
    example = torch.zeros(2, channels, side, side, dtype=torch.uint8)
    # ExecuTorch takes the highest number for one beyond the end.
    count = torch.export.Dim("N", min=1, max=MOST_IMAGES + 1)
    import_runtime()  # what it has to say when it is first imported is not for users
    with without_warnings():
        from executorch.backends.xnnpack.partition.xnnpack_partitioner import XnnpackPartitioner
        from executorch.exir import to_edge_transform_and_lower

        try:
            traced = torch.export.export(network, (example,), dynamic_shapes=({0: count},), strict=False)
            lowered = to_edge_transform_and_lower(
                traced, partitioner=[XnnpackPartitioner()], constant_methods={ABOUT: json.dumps(about)}
            )
            return bytes(lowered.to_executorch().buffer)
        except Exception as error:  # ExecuTorch's own errors share no class but this one
            reason = str(error).partition("\n")[0][:200]
            raise ModelError(f"this network can't be written for ExecuTorch: {reason}") from error


class _FromPixels(nn.Module):
    """A network with normalisation before it, which gives both answers."""

    scale: Tensor
    shift: Tensor

    def __init__(self, network: nn.Module, preprocessing: Preprocessing) -> None:
        super().__init__()
        assert isinstance(network, Network)
        self.network = network
        for name, values in zip(("scale", "shift"), preprocessing.scale_and_shift, strict=True):
            self.register_buffer(name, torch.from_numpy(values).view(1, -1, 1, 1))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        embedding = self.network.embed(images.float() * self.scale + self.shift)
        logits: Tensor = self.network.head(embedding)
        return logits, embedding
