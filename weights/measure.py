"""Which rounding keeps the starter weights closest to the float16 files? Prints a Markdown table.

    python weights/measure.py --source ../shared/weights --images ../shared/data/imagenet-val-250

ResNet-50 is measured by its 1000-way answers on labelled images in folders named by WordNet id; VGG-16, which comes
without a classifier, by its pooled features on every tenth of them.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from build import RESNET, VGG, as_starter, read_source
from PIL import Image
from torch import Tensor, nn

from eyebright.exporting.rounding import SCALES, SUMS
from eyebright.models.catalog import build_model
from eyebright.models.layers import lay_channels_last
from eyebright.models.published import read_imagenet_wnids
from eyebright.preprocess import Preprocessing

BATCH = 25
VGG_EVERY = 10  # VGG-16 is five times as slow and its cosine hardly varies: every tenth image is enough


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="folder of the float16 files")
    parser.add_argument("--images", type=Path, required=True, help="folder of class folders named by WordNet id")
    parser.add_argument("--more", type=Path, help="more images, without known labels, for the agreement")
    parser.add_argument("--only", nargs="*", help="such as mse/channel; all by default")
    options = parser.parse_args()

    paths = sorted(options.images.glob("*/*"))
    wnids = list(read_imagenet_wnids())
    labels = torch.tensor([wnids.index(path.parent.name) for path in paths])
    if options.more:
        paths += sorted(options.more.rglob("*.jpg"))[::8]
    images = read_images(paths)
    print(f"{len(labels)} labelled images, {len(paths)} in all\n")
    names = [(scale, sums) for scale in SCALES for sums in SUMS]
    if options.only:
        names = [name for name in names if "/".join(name) in options.only]

    resnet = read_source(options.source, RESNET)
    vgg = read_source(options.source, VGG)
    exact = run(build_model("resnet50", num_classes=1000, stride_in="1x1"), resnet, images)
    exact_features = embed(build_model("vgg16", num_classes=2, head="pooled"), vgg, images[::VGG_EVERY])
    print("| scale | rounding | top-1 | top-5 | agreement | logit cosine | VGG-16 pooled cosine (mean, least) |")
    print("|---|---|---|---|---|---|---|", flush=True)
    print(f"| float16 | - | {top(exact, labels, 1):.1f} | {top(exact, labels, 5):.1f} | | | |", flush=True)
    for scale, sums in names:
        logits = run(
            build_model("resnet50", num_classes=1000, stride_in="1x1"),
            dequantise(as_starter(resnet, scale=scale, sums=sums)),
            images,
        )
        features = embed(
            build_model("vgg16", num_classes=2, head="pooled"),
            dequantise(as_starter(vgg, scale=scale, sums=sums)),
            images[::VGG_EVERY],
        )
        same = (logits.argmax(1) == exact.argmax(1)).float().mean().item() * 100
        # Without what all classes share, which changes no answer.
        cosine = F.cosine_similarity(logits - logits.mean(1, keepdim=True), exact - exact.mean(1, keepdim=True)).mean()
        near = F.cosine_similarity(features, exact_features)
        print(
            f"| {scale} | {sums} | {top(logits, labels, 1):.1f} | {top(logits, labels, 5):.1f} | {same:.2f} "
            f"| {cosine:.6f} | {near.mean():.6f}, {near.min():.6f} |",
            flush=True,
        )


def read_images(paths: list[Path]) -> Tensor:
    """N paths -> (N, 3, 224, 224): resize the short side to 256, centre crop."""
    preprocessing = Preprocessing(image_size=224, resize=256)
    rows = np.empty((len(paths), 3, 224, 224), dtype=np.float32)
    for row, path in enumerate(paths):
        with Image.open(path) as image:
            rows[row] = preprocessing(np.asarray(image.convert("RGB")))
    return torch.from_numpy(rows)


def dequantise(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """What `eyebright.models.tensors` reads back from the file."""
    floats = {}
    for name, tensor in tensors.items():
        if tensor.dtype == torch.int8:
            floats[name] = tensor.float() * tensors[f"{name}.scale"].reshape(-1, *[1] * (tensor.dim() - 1))
        elif not name.endswith(".scale"):
            floats[name] = tensor.float()
    return floats


def load(model: nn.Module, tensors: dict[str, Tensor]) -> nn.Module:
    wanted = model.state_dict()
    missing = [name for name in wanted if name not in tensors and not name.startswith("classifier")]
    assert all(name.endswith("num_batches_tracked") for name in missing), missing
    model.load_state_dict(tensors, strict=False)
    lay_channels_last(model.eval())
    return model


def batches(images: Tensor) -> Iterator[Tensor]:
    for batch in torch.split(images, BATCH):
        yield batch.to(memory_format=torch.channels_last)


@torch.inference_mode()
def run(model: nn.Module, tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """(N, 3, H, W) -> logits (N, 1000)."""
    load(model, tensors)
    return torch.cat([model(batch) for batch in batches(images)])


@torch.inference_mode()
def embed(model: nn.Module, tensors: dict[str, Tensor], images: Tensor) -> Tensor:
    """(N, 3, H, W) -> (N, 512)."""
    load(model, tensors)
    return torch.cat([model.embed(batch) for batch in batches(images)])  # type: ignore[operator]


def top(logits: Tensor, labels: Tensor, count: int) -> float:
    """Top-`count` accuracy in per cent over the rows that have labels."""
    best = logits[: len(labels)].topk(count, dim=1).indices
    return (best == labels[:, None]).any(1).float().mean().item() * 100


if __name__ == "__main__":
    main()
