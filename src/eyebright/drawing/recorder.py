"""Sees what a network does while it runs, and writes it down.

Every call of a torch function is seen while `forward` runs (a `TorchFunctionMode`), be it inside a module or a plain
`F.relu`, `torch.cat` or `+`; forward hooks say which module was at work, and a `TorchDispatchMode` below counts the
multiplications that a call comes down to.
Shapes: (N, C, H, W) in the network, N = 1; (C, H, W) in the graph.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, final

from torch import Tensor, nn
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode

from eyebright.drawing.graph import Graph, Node, across
from eyebright.drawing.operations import kind_of, window_of
from eyebright.drawing.shortcuts import result_on_meta
from eyebright.errors import ModelError


class UntraceableError(Exception):
    """A network that can't be run; `is_size` if its input is to blame."""

    def __init__(self, reason: str, *, is_size: bool = False) -> None:
        super().__init__(reason)
        self.is_size = is_size


class _Counter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the multiply-adds of whatever runs below it."""

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        """Torch shields a mode from its compiler, for which it imports all of that, another second: not here."""
        return False

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.total = 0

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Sequence[Any] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        result = func(*args, **(kwargs or {}))
        name = func._schema.name.removeprefix("aten::")
        if name == "convolution":
            weight, is_transposed = args[1], args[6]
            self.total += (args[0] if is_transposed else result).numel() * weight[0].numel()
        elif name in ("mm", "bmm", "linear"):
            self.total += result.numel() * args[0].shape[-1]
        elif name in ("addmm", "baddbmm"):
            self.total += result.numel() * args[1].shape[-1]
        elif name.startswith("_scaled_dot_product"):
            query, key, value = args[:3]
            pairs = query.shape[:-1].numel() * key.shape[-2]
            self.total += pairs * (query.shape[-1] + value.shape[-1])
        return result


@final
class Recorder(TorchFunctionMode):
    """Sees every call of a torch function, and writes those that make a tensor from tensors down as nodes."""

    def __init__(self, network: nn.Module, tensors: Mapping[str, Tensor], wanted: frozenset[str]) -> None:
        super().__init__()
        self._paths = {id(module): path for path, module in network.named_modules()}
        self._classes = {
            path: type(module).__name__
            for path, module in network.named_modules()
            if any(True for _ in module.children())
        }
        learned = dict(network.named_parameters())
        self._unused = {id(tensors[name]): tensors[name].numel() for name in learned}
        self._wanted = wanted
        self._stack: list[nn.Module] = []
        self._nodes: list[Node] = []
        self._names: set[str] = set()
        self._makers: dict[int, str] = {}  # id of a tensor -> the node that made it
        self._alive: list[Tensor] = []  # so that no id is given to a second tensor
        self._at = ""
        self.kept: dict[str, Tensor] = {}

    def enter(self, module: nn.Module, _inputs: Any) -> None:
        self._stack.append(module)

    def leave(self, _module: nn.Module, _inputs: Any, _output: Any) -> None:
        self._stack.pop()

    def begin(self, arguments: Mapping[str, Tensor]) -> None:
        for name, tensor in arguments.items():
            self._add(
                Node(
                    name=self._free(name),
                    kind="input",
                    function=name,
                    scope="",
                    inputs=(),
                    shape=tuple(tensor.shape[1:]),
                    bytes_per_value=tensor.element_size(),
                ),
                [tensor],
            )

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        function = getattr(func, "__name__", "")
        self._at = f"{self._place(function)[0]} ({function})"
        known = result_on_meta(function, args, kwargs)
        if self._wanted:  # values are wanted: how much work they are was counted when the network was traced
            result, multiply_adds = func(*args, **kwargs), 0
        elif known is None:
            with _Counter() as counter:
                result = func(*args, **kwargs)
            multiply_adds = counter.total
        else:
            result, multiply_adds = known
        made = list(_tensors(result))
        if not made or function in ("__get__", "__set__"):
            for tensor in made:  # such as x.data: the same values under another name
                self._follow(tensor, args)
            return result
        given = list(_tensors((args, kwargs)))
        inputs = tuple(self._makers[id(tensor)] for tensor in given if id(tensor) in self._makers)
        if not inputs and not any(id(tensor) in self._unused for tensor in given):
            return result  # a constant: it depends on nothing that was given or learned
        kernel, stride, dilation, groups = window_of(function, args, kwargs)
        kind = kind_of(function, args, kwargs, num_tensors=len(inputs), shape=tuple(made[0].shape))
        name, scope = self._place(function)
        if made[0].numel() == 0:
            raise UntraceableError(
                f"nothing is left of the input at {name} ({function}); give a larger one", is_size=True
            )
        self._add(
            Node(
                name=self._free(name),
                kind=kind,
                function=function.strip("_"),
                scope=scope,
                inputs=tuple(dict.fromkeys(inputs)),
                shape=tuple(made[0].shape[1:]) if made[0].dim() > 1 else tuple(made[0].shape),
                parameters=sum(self._unused.pop(id(tensor), 0) for tensor in given),
                multiply_adds=multiply_adds,
                kernel=kernel,
                stride=stride,
                dilation=dilation,
                groups=groups,
                bytes_per_value=made[0].element_size(),
            ),
            made,
        )
        return result

    def _follow(self, tensor: Tensor, args: Any) -> None:
        source = next((self._makers[id(t)] for t in _tensors(args) if id(t) in self._makers), None)
        if source is not None:
            self._makers[id(tensor)] = source
            self._alive.append(tensor)

    def _add(self, node: Node, made: Sequence[Tensor]) -> None:
        self._nodes.append(node)
        for tensor in made:
            # An operation in place gives the same tensor back: from now on it is this node's.
            self._makers[id(tensor)] = node.name
            self._alive.append(tensor)
        if node.name in self._wanted:
            self.kept[node.name] = made[0].detach().float().cpu().clone()

    def _place(self, function: str) -> tuple[str, str]:
        """What to call an operation, and the path of the module around it."""
        module = self._stack[-1] if self._stack else None
        path = self._paths.get(id(module), "")
        is_layer = module is not None and type(module).__module__.startswith("torch.nn") and path not in self._classes
        if is_layer and path:
            return path, path.rpartition(".")[0]
        word = function.strip("_") or "operation"
        return (f"{path}.{word}" if path else word), path

    def _free(self, name: str) -> str:
        free, number = name, 1
        while free in self._names:
            number += 1
            free = f"{name}_{number}"
        self._names.add(free)
        return free

    def explain(self, error: Exception) -> str:
        """What to say of an error that a network raised while it ran."""
        first = str(error).strip().split("\n")[0] or type(error).__name__
        at = f" at {self._at}" if self._at else ""
        shapes = " and ".join(across(node.shape) for node in self._nodes if node.kind == "input")
        if self.failed_on_size(error):
            return f"an input of {shapes} comes to nothing{at}: {first}; give a larger one"
        return f"with an input of {shapes} it fails{at}: {first}"

    def failed_on_size(self, error: Exception) -> bool:
        words = str(error).lower()
        return "too small" in words or "kernel size can't be greater" in words

    def graph(self, title: str, result: Any) -> Graph:
        outputs = tuple(dict.fromkeys(self._makers[id(t)] for t in _tensors(result) if id(t) in self._makers))
        if not outputs:
            raise ModelError(f"{title} can't be traced: what it returns depends on no input")
        return Graph(
            title=title,
            nodes=tuple(self._nodes),
            outputs=outputs,
            scopes=self._classes,
            unused_parameters=sum(self._unused.values()),
        )


def _tensors(value: Any) -> Iterator[Tensor]:
    """Every tensor in nested lists, tuples and dictionaries."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, list | tuple):
        for part in value:
            yield from _tensors(part)
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from _tensors(part)
