"""Joining the processes that `torchrun` started. Without torchrun there is one process, and nothing is joined.

torchrun --nproc-per-node 2 --max-restarts 3 -m eyebright train photos/
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist
from torch.distributed.distributed_c10d import PrefixStore, Store

from eyebright.distributed.ranks import Ranks
from eyebright.errors import EyebrightError, SettingsError

PATIENCE = timedelta(minutes=10)
"""How long a rank waits for the others in training. A process that dies is noticed at once, by gloo."""

LONG_PATIENCE = timedelta(hours=12)
"""How long it waits where rank 0 alone reads, or one reads what another has kept."""

JOINING = timedelta(minutes=2)
"""How long the processes may take to find each other."""


class LostProcessError(EyebrightError):
    """One of the processes that train together is gone; torchrun starts all of them again if it may."""


@contextmanager
def join_ranks(device: str) -> Iterator[Ranks]:
    """This process among those that torchrun started; it leaves them at the end.

    With GPUs it does not where an error ends the block: NCCL would wait for the others, who wait for this process. Then
    it must leave with `os._exit`, as the command line does; see `others_wait`.

    Args:
        device: "cpu", or "cuda": then each rank takes the GPU of its local rank.

    Raises:
        SettingsError: torchrun started more processes than there are GPUs, or they can't reach each other.
    """
    if int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Ranks()
        return
    rank, size = int(os.environ["RANK"]), int(os.environ["WORLD_SIZE"])
    local, gpu = int(os.environ.get("LOCAL_RANK", "0")), device.startswith("cuda")
    if gpu:
        if local >= torch.cuda.device_count():
            raise SettingsError(
                f"process {local} of this machine has no GPU: there are {torch.cuda.device_count()}; start fewer with "
                "torchrun --nproc-per-node, or train on the CPU: --set training.device=cpu"
            )
        torch.cuda.set_device(local)
    own = torch.device("cuda", local) if gpu else None
    try:
        # NCCL connects here, where all are there, and not when the first sum is due, because it is told its GPU.
        backend, store = "nccl" if gpu else "gloo", _open_store(rank)
        dist.init_process_group(backend, store=store, rank=rank, world_size=size, timeout=PATIENCE, device_id=own)
        ranks = Ranks(
            rank=rank,
            size=size,
            device="cpu" if own is None else str(own),
            control=dist.new_group(backend="gloo", timeout=PATIENCE) if gpu else None,
            patient=dist.new_group(backend="gloo", timeout=LONG_PATIENCE),
        )
    except (RuntimeError, ValueError) as error:
        if dist.is_initialized() and not gpu:
            dist.destroy_process_group()
        first = str(error).splitlines()[0]
        raise SettingsError(f"the {size} processes that torchrun started can't reach each other: {first}") from error
    failed = True
    try:
        yield ranks
        failed = False
    except RuntimeError as error:
        # torch's own errors of a lost connection (DistError) are not named the same in all its versions.
        if "peer" not in str(error) and not type(error).__name__.startswith("Dist"):
            raise
        raise LostProcessError(f"process {rank} lost the others: one has died, or the network has failed") from error
    finally:
        if not (gpu and failed):
            dist.destroy_process_group()
            ranks.let_go()


def others_wait() -> bool:
    """Whether others may wait for this process on their GPUs, so that it must leave without a word to them."""
    return dist.is_available() and dist.is_initialized() and dist.get_backend() == "nccl"


def _open_store(rank: int) -> Store:
    """Where the processes find each other's addresses: torchrun's own store, or one that rank 0 opens.

    torchrun's outlives its processes, so after a restart it still knows the addresses of the dead; each attempt gets
    names of its own.
    """
    agent = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    opens = rank == 0 and not agent
    store = dist.TCPStore(address, port, is_master=opens, timeout=JOINING)  # type: ignore[attr-defined]
    return PrefixStore(f"eyebright-{os.environ.get('TORCHELASTIC_RESTART_COUNT', '0')}", store)


def note_idle_cores(threads: int) -> str | None:
    """What to say if the processes on this machine use at most half of its cores; None if that is not so.

    torchrun gives each process a single thread where nobody says otherwise.

    Args:
        threads: that this process computes with.
    """
    local = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    if local == 1 or 2 * local * threads > cores:
        return None
    return (
        f"{local} processes of {threads} thread{'s' * (threads > 1)} each leave most of {cores} cores idle; "
        f"OMP_NUM_THREADS={cores // local} before torchrun employs all"
    )


def started_by() -> str | None:
    """What tells one call of torchrun from another, the same after it restarted its processes; None without it."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return None
    return f"{os.environ['TORCHELASTIC_RUN_ID']} {os.environ.get('MASTER_ADDR', '')} {os.getppid()}"


def was_restarted() -> bool:
    """Whether torchrun started this process to take the place of one that died."""
    return int(os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")) > 0
