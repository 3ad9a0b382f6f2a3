"""Matrix products with torch, see `products`."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from eyebright.embedding.embed import computes_bfloat16
from eyebright.speed.rounds import Way


def build_torch_products(side: int) -> dict[str, tuple[str, Way]]:
    """In float32, and in bfloat16 where the processor computes it: plain, and as a convolution of 1 x 1.

    Args:
        side: of the matrices; even.
    """
    chance = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=chance) for _ in range(2))
    kinds = {"float32": torch.float32} | ({"bfloat16": torch.bfloat16} if computes_bfloat16("cpu") else {})
    products: dict[str, tuple[str, Way]] = {}
    for kind, dtype in kinds.items():
        products[f"{kind} by torch"] = (kind, partial(torch.matmul, a.to(dtype), b.to(dtype)))
        maps = a.reshape(1, 2, side // 2, side).to(dtype).permute(0, 3, 1, 2)  # channels last, as networks are run
        products[f"{kind} by torch's convolution"] = (kind, partial(F.conv2d, maps, b[:, :, None, None].to(dtype)))
    return products
