"""The GPU that these tests run on: the real one, or one that is pretended where there is none.

The pretended one is computed by the processor, but its tensors say that they are on "cuda:0", and what a real one
refuses is refused: operations on tensors of two devices, handing a tensor to NumPy, and reading what was fetched
without waiting for it. So what is forgotten on the way to a GPU and back is found without one. Of several processes
each has its own, and what they send each other must lie there, as NCCL wants it, though gloo sends it. How fast a real
one is, how it rounds, how much fits into it, `torch.compile` and NCCL's own troubles are not pretended.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from concurrent.futures.thread import _WorkItem
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
import torch
import torch._dynamo  # by torch itself sooner or later, but not while it is patched
import torch.distributed as dist
from torch.overrides import TorchFunctionMode
from torch.utils._pytree import tree_leaves, tree_map_only

from eyebright.jobs.train import train

LOCAL = int(os.environ.get("LOCAL_RANK", "0"))
CPU, CUDA = torch.device("cpu"), torch.device("cuda", LOCAL)
COPY = torch.ops.aten.copy_.default
TAKES_BOTH = {
    COPY,
    torch.ops.aten.index.Tensor,  # a GPU's tensor takes indices from either side
    torch.ops.aten.index_put.default,
    torch.ops.aten.index_put_.default,
}


def compute(_: type, operation: Any, types: object, args: tuple[Any, ...] = (), kwargs: Any = None) -> Any:
    """What an operation with tensors on the pretended GPU gives.

    Raises:
        RuntimeError: others of its tensors are on the CPU.
    """
    tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, torch.Tensor)]
    # A single number may come from the other side.
    if operation not in TAKES_BOTH and any(not isinstance(one, There) and one.dim() for one in tensors):
        raise RuntimeError(f"{operation} expects all tensors on the same device, but found {CUDA} and cpu")
    known = {id(tensor.numbers): tensor for tensor in tensors if isinstance(tensor, There)}
    here, named = tree_map_only(There, lambda tensor: tensor.numbers, (args, kwargs or {}))
    done = operation(*here, **named)
    if operation is COPY:
        return args[0]  # wherever that is
    return tree_map_only(torch.Tensor, lambda tensor: known[id(tensor)] if id(tensor) in known else There(tensor), done)


class There(torch.Tensor):
    """A tensor on the pretended GPU, around the one that holds its numbers."""

    numbers: torch.Tensor
    device: Any = CUDA
    is_cuda: Any = True
    __torch_dispatch__: Any = classmethod(compute)

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> There:
        # For torch's own code it is on the CPU, which has no need of a driver.
        made: There = torch.Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), storage_offset=numbers.storage_offset(), dtype=numbers.dtype
        )
        made.numbers = numbers
        return made

    def numpy(self, *_: object, **__: object) -> Any:
        raise TypeError(f"can't convert {CUDA} device type tensor to numpy. Use Tensor.cpu() first")

    __array__ = numpy

    def tolist(self) -> Any:
        return self.numbers.tolist()

    def show(self) -> str:
        return f"There({self.numbers!r})"

    __repr__: Any = show  # torch's own finds no numbers, so that a test that fails could not say why


class Move(torch.autograd.Function):
    """To the other device, and gradients back."""

    @staticmethod
    def forward(context: Any, tensor: torch.Tensor, to_gpu: bool) -> torch.Tensor:
        numbers = tensor.numbers if isinstance(tensor, There) else tensor
        return There(numbers.clone()) if to_gpu else numbers.clone()

    @staticmethod
    def backward(context: Any, gradient: torch.Tensor) -> tuple[torch.Tensor, None]:
        return move(gradient, CPU if isinstance(gradient, There) else CUDA), None


_MOVE: Any = Move.apply


def move(tensor: torch.Tensor, device: str | torch.device) -> Any:
    wanted = torch.device(device)
    to_gpu = wanted.type == "cuda"
    if to_gpu and wanted.index not in (None, LOCAL):
        raise RuntimeError(f"{wanted} is another process's; this one's is {CUDA}")
    return tensor if to_gpu == isinstance(tensor, There) else _MOVE(tensor, to_gpu)


def read_to(
    *given: Any, device: Any = None, dtype: Any = None, non_blocking: bool = False, copy: bool = False, **others: Any
) -> tuple[Any, Any, bool, dict[str, Any]]:
    """The arguments of `Tensor.to`, in whichever of its three forms: device, dtype, non_blocking, others."""
    for one in given:
        if isinstance(one, torch.Tensor):
            device, dtype = one.device, one.dtype
        elif isinstance(one, torch.dtype):
            dtype = one
        elif isinstance(one, bool):
            non_blocking = one
        elif one is not None:
            device = one
    return device, dtype, non_blocking, others | ({"copy": True} if copy else {})


class Moving(TorchFunctionMode):
    """What moves tensors or makes them on a device, where torch's own code would look for a driver."""

    def __torch_function__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = dict(kwargs or {})
        if function in (torch.Tensor.cpu, torch.Tensor.cuda):
            return move(args[0], "cpu" if function is torch.Tensor.cpu else "cuda")
        if function is torch.Tensor.pin_memory:
            return args[0].clone()
        if function is torch.Tensor.to:
            tensor, *given = args
            device, dtype, non_blocking, others = read_to(*given, **kwargs)
            if device is not None:
                if isinstance(tensor, There) and torch.device(device).type == "cpu" and non_blocking:
                    raise RuntimeError("what is fetched from a GPU without waiting for it must not be read yet")
                tensor = move(tensor, device)
            return function(tensor, dtype or tensor.dtype, **others) if dtype or others else tensor
        device = kwargs.pop("device", None)
        done = function(*args, **kwargs)
        return done if device is None else move(done, device)


class Autocast(torch.autocast):
    """Reduced precision where the numbers are computed."""

    def __init__(self, device_type: str, *args: Any, **kwargs: Any) -> None:
        super().__init__("cpu" if device_type == "cuda" else device_type, *args, **kwargs)


_RUN = _WorkItem.run


def run_pretending(work: Any) -> None:
    """What a pool's thread does: a mode is of one thread."""
    with Moving():
        _RUN(work)


def sending(operation: Any) -> Any:
    """What sends a tensor to all processes: NCCL from GPU to GPU alone, gloo, whose group is named, from CPU to CPU."""

    def send(tensor: torch.Tensor, *, group: Any = None, **how: Any) -> Any:
        if isinstance(tensor, There) != (group is None):
            raise RuntimeError(f"No backend type associated with device type {tensor.device.type}")
        return operation(tensor.numbers if isinstance(tensor, There) else tensor, group=group, **how)

    return send


_JOIN: Any = dist.init_process_group
_DESTROY: Any = dist.destroy_process_group


def join(backend: str, *, device_id: Any, **how: Any) -> None:
    """Gloo in the place of NCCL, which without a GPU is not there."""
    assert backend == "nccl"
    assert device_id == CUDA
    _JOIN("gloo", **how)
    atexit.register(leave)


def leave() -> None:
    """All together, as NCCL may: who leaves alone waits for the others."""
    if dist.is_initialized():
        dist.barrier()
        _DESTROY()


@contextmanager
def pretended_gpu() -> Iterator[None]:
    patched: dict[str, Any] = {
        "is_available": lambda: True,
        "device_count": lambda: int(os.environ.get("LOCAL_WORLD_SIZE", "1")),
        "current_device": lambda: LOCAL,
        "is_bf16_supported": lambda including_emulation=True: True,
        "get_device_name": lambda device=None: "a pretended GPU",
        "device": lambda device: nullcontext(),
        "is_current_stream_capturing": lambda: False,
        "get_rng_state": lambda device=None: torch.get_rng_state(),
        "max_memory_reserved": lambda device: 3_000_000,
        **dict.fromkeys(("init", "_lazy_init", "empty_cache", "reset_peak_memory_stats"), mock.Mock()),
        **dict.fromkeys(("set_device", "synchronize", "set_rng_state"), mock.Mock()),
    }
    several: dict[str, Any] = {
        "init_process_group": join,
        "destroy_process_group": leave,
        "get_backend": lambda group=None: "nccl" if group is None else "gloo",
        **{name: sending(getattr(dist, name)) for name in ("all_reduce", "broadcast")},
    }
    swaps = torch.__future__.get_swap_module_params_on_conversion()
    with ExitStack() as stack:
        stack.enter_context(mock.patch.multiple(torch.cuda, **patched))
        stack.enter_context(mock.patch.multiple(dist, **several))
        stack.enter_context(mock.patch.object(torch, "autocast", Autocast))
        stack.enter_context(mock.patch.object(_WorkItem, "run", run_pretending))
        stack.enter_context(Moving())
        # A module's parameters become others, as they can't become tensors of another kind in place.
        torch.__future__.set_swap_module_params_on_conversion(True)
        stack.callback(torch.__future__.set_swap_module_params_on_conversion, swaps)
        yield


@pytest.fixture(autouse=True)
def gpu() -> Iterator[str]:
    """Which GPU it is: "real" or "pretended"."""
    if torch.cuda.is_available():
        yield "real"
        return
    with pretended_gpu():
        yield "pretended"


@pytest.fixture
def little_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    """Room for five images at once on the GPU, whichever it is."""
    plain = torch.nn.Conv2d.forward

    def forward(layer: torch.nn.Conv2d, images: torch.Tensor) -> torch.Tensor:
        if images.is_cuda and len(images) > 5:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 MiB.")
        return plain(layer, images)

    monkeypatch.setattr(torch.nn.Conv2d, "forward", forward)


@pytest.fixture(scope="session")
def begun(tmp_path_factory: pytest.TempPathFactory, bright_and_dark: Path) -> Path:
    """A ResNet-18 that has seen these photos, to start and to learn from; trained on the CPU."""
    folder = tmp_path_factory.mktemp("begun") / "run"
    overrides = ['network.weights="none"', "training.epochs=2", "data.image_size=32"]
    train(bright_and_dark, model="resnet18", out=folder, overrides=[*overrides, 'training.device="cpu"'])
    return folder
