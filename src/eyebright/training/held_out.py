"""What a trained network says of samples that it was not trained on, for others to judge its confidences by.

Shapes: V validation samples, M training samples, D embedding width, K classes.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from eyebright.calibration.novelty import choose_references
from eyebright.embedding.embed import embed
from eyebright.models.protocol import Network
from eyebright.training.work import Work


@dataclass(frozen=True, kw_only=True)
class HeldOut:
    """The validation samples as the network sees them, and some of the training samples beside them."""

    logits: NDArray[np.float32]
    """(V, K)"""
    labels: NDArray[np.int64]
    """(V,)"""
    embeddings: NDArray[np.float32]
    """(V, D)"""
    references: NDArray[np.float32]
    """(M, D) of training samples."""


def look_back(work: Work) -> HeldOut:
    """Let the trained network look at the validation samples and at a sample of the training samples, once.

    Samples must have one class each. Where only a head was fitted, it has seen them all already. The same on every
    rank, bit for bit.

    Raises:
        KeyboardInterrupt: a stop was requested.
    """
    assert isinstance(work.model, Network)
    chosen = choose_references(len(work.train_rows), work.settings.seed)
    if work.seen.embeddings is not None:
        references, found = work.seen.embeddings[chosen], work.seen.embeddings[len(work.train_rows) :]
    else:
        both = embed(
            work.model,
            work.squares,
            np.concatenate([work.train_rows[chosen], work.val_rows]),
            work.preprocessing,
            device=work.device,
            bfloat16=work.settings.training.precision == "bfloat16",
            ranks=work.ranks,
            progress=work.progress,
        )
        references, found = both[: len(chosen)], both[len(chosen) :]
    head = work.model.head
    weight, bias = (part.detach().float().cpu().numpy() for part in (head.weight, head.bias))
    return HeldOut(
        logits=(found @ weight.T + bias).astype(np.float32),
        labels=work.answers(work.val_rows),
        embeddings=found,
        references=references,
    )
