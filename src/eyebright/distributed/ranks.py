"""The processes that train one network together, as one of them sees the others. One process alone is the plain case.

Every rank runs the same code on the same data and takes its share of each batch; what they must agree on goes through
the few methods here. Sums are exact where they only put shares together (all but one rank give zeros). On CPUs, two,
four, eight … ranks add up in pairs of neighbours, pairs of pairs and so on.

On GPUs they are added up by NCCL. All else is agreed on by gloo, from CPU to CPU: it notices at once when a rank is
gone, where NCCL waits, and no GPU has to come to rest for it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

T = TypeVar("T")

BUCKET = 1 << 24
"""Numbers that are sent at once: 64 MiB of float32."""


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """This process among `size` of them."""

    rank: int = 0
    """From 0 to size - 1; rank 0 alone writes and speaks."""
    size: int = 1
    device: str = "cpu"
    """Where tensors must lie to be added up: "cpu" for gloo, this rank's GPU for NCCL."""
    control: dist.ProcessGroup | None = None
    """The connection by which all but sums is agreed on; None for the one of sums."""
    patient: dist.ProcessGroup | None = None
    """The one for what may take hours; None for the one of sums."""

    @property
    def leads(self) -> bool:
        """Whether this is the rank that writes and speaks."""
        return self.rank == 0

    @property
    def adds_in_pairs(self) -> bool:
        """Whether sums come out as those of one process that adds in pairs: on CPUs, of two, four, eight … ranks."""
        return self.device == "cpu" and self.size.bit_count() == 1

    def share_of(self, count: int) -> range:
        """This rank's run of neighbours among so many; the shares of all ranks, in order, are the whole.

        Of two, four, eight … ranks they come of halving, so that what one process adds up by halves is the same sum.
        """
        if self.size.bit_count() != 1:
            return range(self.rank * count // self.size, (self.rank + 1) * count // self.size)
        start, stop, ranks = 0, count, self.size
        while ranks > 1:
            ranks //= 2
            middle = start + (stop - start) // 2
            start, stop = (middle, stop) if self.rank & ranks else (start, middle)
        return range(start, stop)

    def any(self, *flags: bool) -> tuple[bool, ...]:
        """Each flag, true if it is so on any rank. All ranks must call this together, as everything below."""
        if self.size == 1:
            return flags
        found = torch.tensor(flags, dtype=torch.int32)
        dist.all_reduce(found, op=dist.ReduceOp.MAX, group=self.control)
        return tuple(bool(flag) for flag in found.tolist())

    def meet(self) -> None:
        """Wait until all are here, for hours if need be: one may read what another has kept."""
        if self.size > 1:
            dist.all_reduce(torch.zeros(1), group=self.patient)

    def let_go(self) -> None:
        """Hold no connection any more: as long as one is held, the others don't notice that this rank has left."""
        object.__setattr__(self, "control", None)
        object.__setattr__(self, "patient", None)

    def lowest(self, number: int) -> int:
        """The lowest number of all ranks."""
        if self.size == 1:
            return number
        found = torch.tensor([number], dtype=torch.int64)
        dist.all_reduce(found, op=dist.ReduceOp.MIN, group=self.control)
        return int(found)

    def add(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by its sum over all ranks, the same on all of them."""
        if self.size == 1:
            return
        bucket: list[Tensor] = []
        held = 0
        for tensor in tensors:
            if bucket and (held + tensor.numel() > BUCKET or tensor.dtype != bucket[0].dtype):
                self._add_bucket(bucket)
                bucket, held = [], 0
            bucket.append(tensor)
            held += tensor.numel()
        if bucket:
            self._add_bucket(bucket)

    def _add_bucket(self, tensors: Sequence[Tensor]) -> None:
        flat = torch.cat([tensor.detach().reshape(-1) for tensor in tensors]).to(self.device)
        if self.adds_in_pairs:
            flat = self._add_in_pairs(flat)
        else:
            dist.all_reduce(flat)
        for tensor, total in zip(tensors, torch.split(flat, [tensor.numel() for tensor in tensors]), strict=True):
            tensor.detach().copy_(total.view(tensor.shape))

    def _add_in_pairs(self, flat: Tensor) -> Tensor:
        """The sum over all ranks, which must be two to some power; one addition has the same result on both sides."""
        distance = 1
        while distance < self.size:
            theirs = torch.empty_like(flat)
            sending = dist.isend(flat, self.rank ^ distance)
            dist.recv(theirs, self.rank ^ distance)
            assert sending is not None
            sending.wait()
            flat = flat + theirs
            distance *= 2
        return flat

    def share(self, content: bytes | None, *, source: int = 0) -> bytes:
        """What one rank gives, on every rank; what the others give does not count."""
        if self.size == 1:
            assert content is not None
            return content
        gives = self.rank == source
        assert not gives or content is not None
        length = torch.tensor([len(content or b"")], dtype=torch.int64)
        dist.broadcast(length, src=source, group=self.patient)
        body = torch.empty(int(length), dtype=torch.uint8)
        if gives and content:
            body = torch.frombuffer(bytearray(content), dtype=torch.uint8)
        dist.broadcast(body, src=source, group=self.patient)
        return body.numpy().tobytes()

    def spread(self, tensors: Sequence[Tensor]) -> None:
        """Replace each tensor by rank 0's."""
        if self.size == 1:
            return
        for tensor in tensors:
            sent = tensor.detach().to(self.device).contiguous()
            dist.broadcast(sent, src=0)
            tensor.detach().copy_(sent)
