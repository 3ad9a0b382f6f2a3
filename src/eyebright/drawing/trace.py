"""From a real network to its graph, by running it once where shapes are computed and numbers are not.

Control flow by shapes, slices of modules and functions without a module are traced as they run (see `recorder`); only a
`forward` that asks for values can't be, unless the network holds real ones.
Shapes: (N, C, H, W) in the network, N = 1; (C, H, W) in the graph.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from eyebright.drawing.graph import Graph, across
from eyebright.drawing.recorder import Recorder, UntraceableError
from eyebright.errors import ModelError, SettingsError

Shape = tuple[int, ...]


def trace(network: nn.Module, inputs: Sequence[Shape], *, title: str | None = None) -> Graph:
    """Run a network once and write down what it did.

    The network, wherever it lives, is not changed. Nothing is computed where it can run on torch's meta device; where
    it can't, because `forward` asks for values, it runs on zeros where it is.

    Args:
        network: any module; it is traced as it is in evaluation mode, its dropout included.
        inputs: the shape of each argument of `forward` for one sample, (3, 224, 224) for a colour image.
        title: how to write its name; its class by default.

    Raises:
        ModelError: it can't be run with such inputs, or nothing is left of them on the way; says at which layer.
        SettingsError: an input has no size.
    """
    title = title or type(network).__name__
    for shape in inputs:
        if not shape or min(shape) < 1:
            raise SettingsError(f"an input of {across(shape)} has nothing in it; every side is at least 1")
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    # Not empty_like, which on the meta device first imports a second's worth of torch.
    on_meta = {name: torch.empty(t.shape, dtype=t.dtype, device="meta") for name, t in tensors.items()}
    try:
        return _trace_on(network, inputs, title, on_meta, torch.device("meta"))
    except UntraceableError as failure:
        device = next((tensor.device for tensor in tensors.values()), torch.device("cpu"))
        if failure.is_size or device.type == "meta":
            raise ModelError(f"{title} can't be traced: {failure}") from failure
        try:
            return _trace_on(network, inputs, title, tensors, device)
        except UntraceableError as again:
            raise ModelError(f"{title} can't be traced: {again}") from again


def capture(network: nn.Module, images: Tensor, wanted: Sequence[str]) -> dict[str, Tensor]:
    """What chosen operations of a network compute for real images.

    Args:
        network: with real weights, the one that was traced or its like.
        images: (N, C, H, W), as `forward` takes it.
        wanted: names of nodes of its graph.

    Returns:
        A node's name -> its result, a copy on the CPU.
    """
    tensors = dict(network.named_parameters()) | dict(network.named_buffers())
    recorder = Recorder(network, tensors, frozenset(wanted))
    with _evaluating(network, recorder), torch.no_grad(), recorder:
        recorder.begin({"x": images})
        network(images)
    return recorder.kept


def _trace_on(
    network: nn.Module, inputs: Sequence[Shape], title: str, tensors: Mapping[str, Tensor], device: torch.device
) -> Graph:
    recorder = Recorder(network, tensors, frozenset())
    named = dict(zip(_argument_names(network, len(inputs)), inputs, strict=True))
    with _evaluating(network, recorder), torch.no_grad(), device:
        arguments = {name: torch.zeros(1, *shape) for name, shape in named.items()}
        recorder.begin(arguments)
        with recorder:
            try:
                result = torch.func.functional_call(network, dict(tensors), tuple(arguments.values()))
            except UntraceableError:
                raise
            except Exception as error:  # whatever a network of others may raise
                raise UntraceableError(recorder.explain(error), is_size=recorder.failed_on_size(error)) from error
    return recorder.graph(title, result)


def _argument_names(network: nn.Module, count: int) -> list[str]:
    """What `forward` calls its first `count` arguments."""
    parameters = inspect.signature(network.forward).parameters.values()
    plain = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    named = [parameter.name for parameter in plain][:count]
    if any(p.kind == p.VAR_POSITIONAL for p in parameters):
        named += [f"input{number + 1}" for number in range(len(named), count)]
    required = sum(parameter.default is parameter.empty for parameter in plain)
    if not required <= count or len(named) < count:
        raise SettingsError(
            f"{type(network).__name__}.forward takes {required} input{'s' * (required != 1)} "
            f"({', '.join(p.name for p in plain)}), and {count} {'was' if count == 1 else 'were'} given; "
            "give one shape for each"
        )
    return named


@contextmanager
def _evaluating(network: nn.Module, recorder: Recorder) -> Iterator[None]:
    """Evaluation mode, with every module telling the recorder when it begins and ends; all put back afterwards."""
    modes = [(module, module.training) for module in network.modules()]
    hooks = []
    for module in network.modules():
        hooks.append(module.register_forward_pre_hook(recorder.enter))
        hooks.append(module.register_forward_hook(recorder.leave))
    try:
        network.eval()
        yield
    finally:
        for hook in hooks:
            hook.remove()
        for module, was_training in modes:
            module.training = was_training
