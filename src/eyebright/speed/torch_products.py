"""Matrix products with torch, see `products`."""

from __future__ import annotations

from functools import partial

import torch

from eyebright.embedding.embed import computes_bfloat16
from eyebright.speed.rounds import Way


def build_torch_products(side: int) -> dict[str, Way]:
    """In float32, and in bfloat16 where the processor computes it."""
    chance = torch.Generator().manual_seed(0)
    a, b = (torch.randn(side, side, generator=chance) for _ in range(2))
    products: dict[str, Way] = {"float32": partial(torch.matmul, a, b)}
    if computes_bfloat16("cpu"):
        products["bfloat16"] = partial(torch.matmul, a.bfloat16(), b.bfloat16())
    return products
