"""Fitting a linear head on embeddings: multinomial logistic regression, regularised as validation samples like it.

Shapes: N samples, D embedding width, K classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eyebright.progress import Progress, SilentProgress

# From strong to weak: each fit starts from the one before it.
STRENGTHS = (10.0, 3.0, 1.0, 0.3, 0.1, 0.03, 0.01, 3e-3, 1e-3, 3e-4, 1e-4, 3e-5, 1e-5)
PATIENCE = 3  # how many strengths in a row may be worse before the search ends
ITERATIONS = 60


@dataclass(frozen=True, kw_only=True)
class TriedStrength:
    """One strength of regularisation and how the head fitted with it did."""

    strength: float
    train_loss: float
    val_loss: float
    val_accuracy: float


@dataclass(frozen=True, kw_only=True)
class LinearHead:
    """The best head found, for plain embeddings: logits = embeddings @ weight.T + bias."""

    weight: NDArray[np.float32]
    """(K, D)"""
    bias: NDArray[np.float32]
    """(K,)"""
    strength: float
    tried: tuple[TriedStrength, ...]


def fit_linear_head(
    train: NDArray[np.float32],
    train_labels: NDArray[np.int64],
    val: NDArray[np.float32],
    val_labels: NDArray[np.int64],
    num_classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    progress: Progress | None = None,
) -> LinearHead:
    """The head with the lowest cross-entropy on the validation samples.

    Minimises mean cross-entropy + strength / 2 * |W|^2 over standardised embeddings with L-BFGS, for one strength after
    the other; the bias is not penalised. Standardisation is folded into the result. Deterministic.

    Args:
        train, train_labels: (N, D) and (N,) to fit on.
        val, val_labels: samples to choose the strength by.
        num_classes: K.
        strengths: what to try, from strong to weak.
        progress: shown in strengths; if a stop is requested, the best so far is returned.
    """
    progress = progress or SilentProgress()
    mean = train.mean(axis=0, dtype=np.float64)
    # Embeddings that hardly vary must not be blown up to the size of the others.
    deviation = train.std(axis=0, dtype=np.float64)
    deviation = np.maximum(deviation, 1e-3 * max(float(deviation.mean()), 1e-12))
    x, x_val = (torch.from_numpy(((part - mean) / deviation).astype(np.float32)) for part in (train, val))
    y, y_val = torch.from_numpy(train_labels), torch.from_numpy(val_labels)
    weight = torch.zeros(num_classes, train.shape[1], requires_grad=True)
    bias = torch.zeros(num_classes, requires_grad=True)
    tried: list[TriedStrength] = []
    best: tuple[float, Tensor, Tensor] | None = None
    progress.start("fitting the head", len(strengths))
    for number, strength in enumerate(strengths, start=1):
        _minimise(weight, bias, x, y, strength)
        with torch.no_grad():
            train_loss = F.cross_entropy(x @ weight.T + bias, y)
            logits = x_val @ weight.T + bias
            val_loss = F.cross_entropy(logits, y_val)
            accuracy = (logits.argmax(dim=1) == y_val).double().mean()
        outcome = TriedStrength(
            strength=strength,
            train_loss=float(train_loss),
            val_loss=float(val_loss),
            val_accuracy=float(accuracy),
        )
        tried.append(outcome)
        if best is None or outcome.val_loss < min(other.val_loss for other in tried[:-1]):
            best = (strength, weight.detach().clone(), bias.detach().clone())
        progress.advance(number, f"validation accuracy {outcome.val_accuracy:.1%}")
        # Python's min takes the first of equals: count how many came after the lowest loss.
        since = len(tried) - 1 - min(range(len(tried)), key=lambda index: tried[index].val_loss)
        if since >= PATIENCE or progress.stop_requested:
            break
    progress.finish()
    assert best is not None
    strength, weight, bias = best
    scaled = weight.double().numpy() / deviation
    return LinearHead(
        weight=scaled.astype(np.float32),
        bias=(bias.double().numpy() - scaled @ mean).astype(np.float32),
        strength=strength,
        tried=tuple(tried),
    )


def _minimise(weight: Tensor, bias: Tensor, x: Tensor, y: Tensor, strength: float) -> None:
    """Move `weight` and `bias` to the minimum of the penalised loss."""
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, history_size=10, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        optimizer.zero_grad()
        loss = F.cross_entropy(x @ weight.T + bias, y) + strength / 2 * weight.square().sum()
        loss.backward()  # type: ignore[no-untyped-call]
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
