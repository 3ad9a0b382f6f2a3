"""Two phases: the backbone looks at every image once, and a linear head is fitted on what it saw.

Shapes: N samples, M of them for training and validation, D embedding width.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

import numpy as np
import torch
from numpy.typing import NDArray

from eyebright.embedding.embed import EmbeddingsSoFar, embed, put_together
from eyebright.embedding.linear import HeadSearch, LinearHead, TriedStrength, fit_linear_head
from eyebright.memory import is_out_of_memory
from eyebright.models.protocol import Network
from eyebright.training.checkpoint import Snapshot
from eyebright.training.history import EpochRecord
from eyebright.training.work import Work


def fit_head(work: Work, snapshot: Snapshot | None) -> list[EpochRecord]:
    """Put the best linear head on the frozen backbone into the model.

    Args:
        work: what to train on.
        snapshot: where an earlier start was, in either of the two phases; None begins anew.

    Raises:
        KeyboardInterrupt: stopped before there was any head; what there is, is kept.
    """
    embeddings = work.seen.embeddings = _look(work, snapshot)
    count = len(work.train_rows)
    search: HeadSearch | None = None
    seconds: list[float] = []
    if snapshot is not None and snapshot.phase == "head":
        search = HeadSearch(
            **{name: tensor.clone() for name, tensor in snapshot.parts["head"].items()},
            tried=[TriedStrength(**tried) for tried in snapshot.state["tried"]],
        )
        seconds = list(snapshot.state["tried_seconds"])

    def keep(found: HeadSearch) -> None:
        nonlocal search
        search = found
        seconds.append(work.clock.seconds)
        work.watch.history(_head_records(search.tried, seconds, search.best))
        if work.ranks.leads and work.keeper.due:
            save(search)

    def save(search: HeadSearch) -> None:
        state = {"tried": [asdict(tried) for tried in search.tried], "tried_seconds": seconds}
        tensors = {name: getattr(search, name).clone() for name in ("weight", "bias", "best_weight", "best_bias")}
        parts = {"embeddings": {"embeddings": torch.from_numpy(embeddings)}, "head": tensors}
        work.keep("head", state, parts)

    def fit(device: str) -> LinearHead:
        return fit_linear_head(
            embeddings[:count],
            work.answers(work.train_rows),
            embeddings[count:],
            work.answers(work.val_rows),
            work.num_classes,
            class_weights=work.class_weights,
            search=search,
            keep=keep,
            device=device,
            progress=work.progress,
        )

    try:
        head = _fit_where_there_is_room(fit, work)
    except KeyboardInterrupt:  # before the first strength was done: what was seen is worth keeping
        parts = {"embeddings": {"embeddings": torch.from_numpy(embeddings)}}
        work.keep("embedding", {"done": len(embeddings)}, parts)
        raise
    if any(work.ranks.any(work.progress.stop_requested)) and work.ranks.leads and search is not None:
        save(search)
    with torch.no_grad():
        assert isinstance(work.model, Network)
        work.model.head.weight.copy_(torch.from_numpy(head.weight))
        work.model.head.bias.copy_(torch.from_numpy(head.bias))
    work.ranks.spread([work.model.head.weight, work.model.head.bias])  # two kinds of GPUs round otherwise
    return _head_records(head.tried, seconds, head.best)


def _fit_where_there_is_room(fit: Callable[[str], LinearHead], work: Work) -> LinearHead:
    """On the GPU if there is one, and on the CPU where all embeddings do not fit on it."""
    device = work.device if work.device.startswith("cuda") else "cpu"
    try:
        return fit(device)
    except (MemoryError, RuntimeError) as error:
        if device == "cpu" or not is_out_of_memory(error):
            raise
    work.progress.warn("the GPU has no room to fit the head on: the processor does it")
    return fit("cpu")


def _head_records(tried: Sequence[TriedStrength], seconds: Sequence[float], best: int) -> list[EpochRecord]:
    return [
        EpochRecord(
            phase="head",
            number=one.strength,
            train_loss=one.train_loss,
            val_loss=one.val_loss,
            val_accuracy=one.val_accuracy,
            seconds=when,
            kept=index == best,
        )
        for index, (one, when) in enumerate(zip(tried, seconds, strict=True))
    ]


def _look(work: Work, snapshot: Snapshot | None) -> NDArray[np.float32]:
    """(M, D) embeddings of the training samples, then of the validation samples."""
    if snapshot is not None and snapshot.phase == "head":
        return snapshot.parts["embeddings"]["embeddings"].numpy()
    so_far = None
    if snapshot is not None and snapshot.phase == "embedding":
        found = snapshot.parts["embeddings"]["embeddings"].numpy()
        if not work.ranks.leads:
            found = np.zeros_like(found)  # they are put together again in the end
        so_far = EmbeddingsSoFar(embeddings=found, done=int(snapshot.state["done"]))

    def keep(so_far: EmbeddingsSoFar, stop: bool) -> None:
        (due,) = work.ranks.any(work.ranks.leads and work.keeper.due)
        if stop or due:
            whole = put_together(so_far.embeddings, work.ranks)
            work.keep("embedding", {"done": so_far.done}, {"embeddings": {"embeddings": torch.from_numpy(whole)}})

    return embed(
        work.model,
        work.squares,
        np.concatenate([work.train_rows, work.val_rows]),
        work.preprocessing,
        device=work.device,
        bfloat16=work.settings.training.precision == "bfloat16",
        ranks=work.ranks,
        so_far=so_far,
        keep=keep,
        progress=work.progress,
    )
