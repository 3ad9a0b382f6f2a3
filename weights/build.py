"""Build the starter weights: float16 files in, int8 per output channel out.

    python weights/build.py --source ../shared/weights

The same source gives the same bytes. Convolutions and the linear layer become int8 with one float32 scale per output
channel, in the rounding that `measure.py` found to stay closest to the source; biases and BatchNorm stay float32.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from eyebright.exporting.rounding import Scale, Sums, quantise

PACKAGE = Path(__file__).parent / "src" / "eyebright_weights"
SCALE: Scale = "mse"
SUMS: Sums = "kernel+channel"


@dataclass(frozen=True, kw_only=True)
class Source:
    """One file to convert."""

    model: str
    filename: str
    sha256: str
    metadata: dict[str, str]


RESNET = Source(
    model="resnet50",
    filename="resnet50_v1_imagenet_keras_fp16.safetensors",
    sha256="7dff978846ce95d62ef372c7c62556e40429e2ba36fea19de56581a82840fa5a",
    metadata={
        "stride_in": "1x1",
        "head": "",
        "origin": "the Keras application weights, ported from Kaiming He's release of the original ResNet-50",
        "licence": "MIT",
    },
)
VGG = Source(
    model="vgg16",
    filename="vgg16_features_imagenet_keras_fp16.safetensors",
    sha256="da1d34106d7866b66eb9e609fd6cfdd56cf7a3430a72a6e662ad4b7718b04d39",
    metadata={
        "stride_in": "",
        "head": "none",
        "origin": "the convolutions of VGG-16 by the Visual Geometry Group, University of Oxford, in Keras's port",
        "licence": "CC BY 4.0",
    },
)
SOURCES = (RESNET, VGG)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True, help="folder of the float16 files")
    parser.add_argument("--out", type=Path, default=PACKAGE, help="where to write; by default into the package")
    options = parser.parse_args()
    hashes = {}
    for source in SOURCES:
        path = options.out / f"{source.model}.safetensors"
        tensors = as_starter(read_source(options.source, source), scale=SCALE, sums=SUMS)
        path.write_bytes(to_bytes(tensors, describe(source)))
        hashes[source.model] = hashlib.sha256(path.read_bytes()).hexdigest()
        print(f"{path}: {path.stat().st_size:,} bytes, sha256 {hashes[source.model]}")
    (options.out / "sha256.json").write_text(json.dumps(hashes, indent=2) + "\n", encoding="utf-8")


def read_source(folder: Path, source: Source) -> dict[str, Tensor]:
    """The tensors of one source file.

    Raises:
        SystemExit: it is not the file that the package was measured with.
    """
    path = folder / source.filename
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != source.sha256:
        raise SystemExit(f"{path} has sha256 {digest}, not {source.sha256}: it is another file than was measured")
    return load_file(path)


def as_starter(tensors: Mapping[str, Tensor], *, scale: Scale, sums: Sums) -> dict[str, Tensor]:
    """Weights of convolutions and linear layers as int8 and `NAME.scale`; all else as float32."""
    starter: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if name.endswith("num_batches_tracked"):
            continue
        if tensor.dim() >= 2:
            rounded, step = quantise(tensor.numpy(), scale=scale, sums=sums)
            starter[name], starter[f"{name}.scale"] = torch.from_numpy(rounded), torch.from_numpy(step)
        else:
            starter[name] = tensor.to(torch.float32)
    return starter


def describe(source: Source) -> dict[str, str]:
    """What the file says about itself."""
    return {"format": "eyebright-starter", "version": "1", "model": source.model, **source.metadata}


def to_bytes(tensors: dict[str, Tensor], metadata: dict[str, str]) -> bytes:
    """A safetensors file, the same bytes every time.

    The library writes metadata in another order in each process, so the header is written anew: eight bytes with its
    length, then JSON padded with spaces to a multiple of eight. Offsets count from its end and stay true.
    """
    content = save(tensors)
    length = int.from_bytes(content[:8], "little")
    header = {"__metadata__": dict(sorted(metadata.items())), **json.loads(content[8 : 8 + length])}
    text = json.dumps(header, separators=(",", ":")).encode("ascii")
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + content[8 + length :]


if __name__ == "__main__":
    main()
