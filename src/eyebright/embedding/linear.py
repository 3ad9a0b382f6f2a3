"""Fitting a linear head on embeddings: multinomial logistic regression, regularised as validation samples like it.

Shapes: N samples, D embedding width, K classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from eyebright.data.sending import float32_as
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
    tried: tuple[TriedStrength, ...]
    best: int
    """Which of those tried it was fitted with."""

    @property
    def strength(self) -> float:
        """How strongly it is regularised."""
        return self.tried[self.best].strength


@dataclass(kw_only=True)
class HeadSearch:
    """Where the search is, so that it can be gone on with; tensors are for standardised embeddings."""

    weight: Tensor
    """(K, D), fitted with the last strength tried; zeros before the first."""
    bias: Tensor
    """(K,)"""
    best_weight: Tensor
    best_bias: Tensor
    tried: list[TriedStrength] = field(default_factory=list)

    def on(self, device: str) -> HeadSearch:
        """The same, its tensors on a device."""
        names = ("weight", "bias", "best_weight", "best_bias")
        return replace(self, **{name: getattr(self, name).to(device) for name in names})

    @property
    def best(self) -> int:
        """Which of those tried had the lowest validation loss, the first of equals."""
        return min(range(len(self.tried)), key=lambda index: self.tried[index].val_loss)


class _StoppedError(Exception):
    """A stop was requested in the middle of a fit."""


def fit_linear_head(
    train: NDArray[np.float32],
    train_labels: NDArray[Any],
    val: NDArray[np.float32],
    val_labels: NDArray[Any],
    num_classes: int,
    *,
    strengths: Sequence[float] = STRENGTHS,
    class_weights: Tensor | None = None,
    search: HeadSearch | None = None,
    keep: Callable[[HeadSearch], object] = lambda _: None,
    device: str = "cpu",
    progress: Progress | None = None,
) -> LinearHead:
    """The head with the lowest cross-entropy on the validation samples.

    Minimises mean cross-entropy + strength / 2 * |W|^2 over standardised embeddings with L-BFGS, for one strength after
    the other; the bias is not penalised. Standardisation is folded into the result. Deterministic, on one device.

    Args:
        train, train_labels: (N, D) to fit on, and (N,) whole numbers; or (N, K) zeros and ones where a sample may have
            several labels: then each class is a question of its own, and the loss is the mean over all of them.
        val, val_labels: samples to choose the strength by.
        num_classes: K.
        strengths: what to try, from strong to weak.
        class_weights: (K,) how much a class counts, in fitting and in choosing.
        search: where an earlier search was, to go on from there.
        keep: given where the search is after each strength.
        device: a torch device to compute on.
        progress: shown in strengths; if a stop is requested, the best so far is returned.

    Raises:
        KeyboardInterrupt: a stop was requested before the first strength was done.
    """
    progress = progress or SilentProgress()
    mean = train.mean(axis=0, dtype=np.float64)
    # Embeddings that hardly vary must not be blown up to the size of the others.
    deviation = train.std(axis=0, dtype=np.float64)
    deviation = np.maximum(deviation, 1e-3 * max(float(deviation.mean()), 1e-12))
    x, x_val = (torch.from_numpy(((part - mean) / deviation).astype(np.float32)).to(device) for part in (train, val))
    y, y_val = torch.from_numpy(train_labels).to(device), torch.from_numpy(val_labels).to(device)
    if class_weights is not None:
        class_weights = class_weights.to(device)
    if search is None:
        empty = torch.zeros(num_classes, train.shape[1]), torch.zeros(num_classes)
        search = HeadSearch(weight=empty[0], bias=empty[1], best_weight=empty[0], best_bias=empty[1])
    search = search.on(device)
    progress.start("fitting the head", len(strengths))
    # A GPU's shorter numbers would mislead the line search.
    with float32_as("ieee") if device.startswith("cuda") else nullcontext():
        while len(search.tried) < len(strengths):
            # Counted from the first of equals: how many came after the lowest loss.
            if progress.stop_requested or (search.tried and len(search.tried) - 1 - search.best >= PATIENCE):
                break
            try:
                _try_next(search, strengths[len(search.tried)], x, y, x_val, y_val, class_weights, progress)
            except _StoppedError:
                break
            keep(search)
            progress.advance(len(search.tried), f"validation accuracy {search.tried[-1].val_accuracy:.1%}")
    progress.finish()
    if not search.tried:
        raise KeyboardInterrupt
    search = search.on("cpu")
    scaled = search.best_weight.double().numpy() / deviation
    return LinearHead(
        weight=scaled.astype(np.float32),
        bias=(search.best_bias.double().numpy() - scaled @ mean).astype(np.float32),
        tried=tuple(search.tried),
        best=search.best,
    )


def _try_next(
    search: HeadSearch,
    strength: float,
    x: Tensor,
    y: Tensor,
    x_val: Tensor,
    y_val: Tensor,
    class_weights: Tensor | None,
    progress: Progress,
) -> None:
    """Fit with one more strength; the search stays as it is if a stop is requested on the way."""
    weight, bias = search.weight.clone().requires_grad_(), search.bias.clone().requires_grad_()
    _minimise(weight, bias, x, y, strength, class_weights, progress)
    with torch.no_grad():
        train_loss = _loss(x @ weight.T + bias, y, class_weights)
        logits = x_val @ weight.T + bias
        val_loss = _loss(logits, y_val, class_weights)
        right = (logits > 0) == (y_val > 0.5) if y_val.dim() == 2 else logits.argmax(dim=1) == y_val
    search.weight, search.bias = weight.detach(), bias.detach()
    search.tried.append(
        TriedStrength(
            strength=strength,
            train_loss=float(train_loss),
            val_loss=float(val_loss),
            val_accuracy=float(right.double().mean()),
        )
    )
    if search.best == len(search.tried) - 1:
        search.best_weight, search.best_bias = search.weight, search.bias


def _loss(logits: Tensor, labels: Tensor, class_weights: Tensor | None) -> Tensor:
    """The mean over samples, and over classes where a sample may have several labels."""
    if labels.dim() == 2:
        return F.binary_cross_entropy_with_logits(logits, labels, pos_weight=class_weights)
    losses = F.cross_entropy(logits, labels, reduction="none")
    return losses.mean() if class_weights is None else (losses * class_weights[labels]).mean()


def _minimise(
    weight: Tensor,
    bias: Tensor,
    x: Tensor,
    y: Tensor,
    strength: float,
    class_weights: Tensor | None,
    progress: Progress,
) -> None:
    """Move `weight` and `bias` to the minimum of the penalised loss."""
    optimizer = torch.optim.LBFGS(
        [weight, bias], max_iter=ITERATIONS, history_size=10, tolerance_grad=1e-5, line_search_fn="strong_wolfe"
    )

    def closure() -> float:
        if progress.stop_requested:
            raise _StoppedError
        optimizer.zero_grad()
        loss = _loss(x @ weight.T + bias, y, class_weights) + strength / 2 * weight.square().sum()
        torch.autograd.backward(loss)
        return float(loss.detach())

    optimizer.step(closure)  # type: ignore[no-untyped-call]
