"""A pretend GPU: a device beside the CPU that sees every operation, and whose numbers lie in host memory.

Code that runs on it with the CPU's numbers keeps to three rules of a real GPU: an operation has all its
tensors on one device, a number that Python needs must be waited for, and a copy between host and device is
made on purpose. A breach of the first raises MixedDevicesError; waits and copies are listed with their place.

Importing this module gives the process the device ``pgpu``, which stays. Tests import it in a process of
their own.
"""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple, Self

import torch
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

import dropbench

NAME = "pgpu"
PACKAGE = str(Path(dropbench.__file__).parent)

WAITS = {
    *("_local_scalar_dense", "equal", "_linalg_check_errors"),  # whose result is a Python number
    *("nonzero", "masked_select", "_unique2", "unique_consecutive", "unique_dim", "bincount"),
    "repeat_interleave",  # this and the line above: whose result has a shape that depends on values
}
"""Operations that wait for the device; indexing with booleans does, too."""
INDEXING = {"index", "index_put", "index_put_", "_index_put_impl_"}


class MixedDevicesError(RuntimeError):
    """An operation has tensors of two devices."""


class Event(NamedTuple):
    """A wait, or a copy, which is a wait too."""

    kind: str
    """``wait``, ``upload`` or ``download``."""
    operation: str
    place: str
    """File and line in dropbench."""
    within: frozenset[str]
    """The functions of dropbench that were being executed."""

    def __str__(self) -> str:
        return f"{self.kind} by {self.operation} at {self.place}"


class _Module:
    """What torch asks of a device, by the name of torch.pgpu."""

    def is_initialized(self) -> bool:
        return True

    def is_available(self) -> bool:
        return True

    def current_device(self) -> int:
        return 0

    def device_count(self) -> int:
        return 1

    def _is_in_bad_fork(self) -> bool:
        return False

    def manual_seed_all(self, seed: int) -> None:
        """Random numbers are the CPU's."""

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16, torch.float16]


_setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
DEVICE = torch.device(NAME, 0)


class PretendTensor(torch.Tensor):
    """A tensor on the pretend GPU, whose numbers are those of a tensor on the CPU."""

    numbers: torch.Tensor

    @staticmethod
    def __new__(cls, numbers: torch.Tensor) -> Self:
        made = torch.Tensor._make_wrapper_subclass(
            cls,
            numbers.size(),
            strides=numbers.stride(),
            storage_offset=numbers.storage_offset(),
            dtype=numbers.dtype,
            layout=numbers.layout,
            device=DEVICE,
        )
        made.numbers = numbers
        return made

    def __repr__(self) -> str:
        return f"PretendTensor({self.numbers})"

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{func} on the pretend GPU outside of `pretending()`")


_Generator = torch.Generator


class _PretendGenerator(_Generator):
    """A generator of the CPU that says it is the pretend GPU's."""

    @property
    def device(self) -> torch.device:
        return DEVICE


class _AnyGenerator(_Generator):
    """Stands for torch.Generator, which cannot make one on the pretend GPU."""

    def __new__(cls, device: Any = "cpu") -> Any:
        return _PretendGenerator() if _is_pretend(device) else _Generator(device)


class PretendGPU(TorchDispatchMode):
    """Carries out the operations of the pretend GPU, and lists waits and copies."""

    def __init__(self) -> None:
        super().__init__()
        self.events: list[Event] = []

    def see(self, kind: str, operation: str) -> None:
        self.events.append(Event(kind, operation, place(), within()))

    @classmethod
    def _should_skip_dynamo(cls) -> bool:
        return False  # to skip it, torch would import it: several seconds

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        flat = list(flattened((args, tuple(kwargs.values()))))
        here = [each for each in flat if isinstance(each, PretendTensor)]
        to_device = kwargs.get("device")
        on_device = bool(here) if to_device is None else torch.device(to_device).type == NAME
        if not here and not on_device:
            return func(*args, **kwargs)
        if name in ("_to_copy", "copy_"):
            source = args[0] if name == "_to_copy" else args[1]
            target_on_device = on_device if name == "_to_copy" else isinstance(args[0], PretendTensor)
            if isinstance(source, PretendTensor) != target_on_device:
                self.see("upload" if target_on_device else "download", name)
        else:
            indices = [each for each in args[1] if each is not None] if name in INDEXING else []
            if any(not isinstance(each, PretendTensor) for each in indices):
                self.see("upload", name)
            check_one_device(func, args, kwargs, [each for each in flat if not _is_in(each, indices)])
            if name in WAITS or any(each.dtype in (torch.bool, torch.uint8) for each in indices):
                self.see("wait", name)
        if to_device is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
        kwargs = {name: mapped(_numbers, value) for name, value in kwargs.items()}
        result = func(*mapped(_numbers, args), **kwargs)
        own = {id(each.numbers): each for each in here}

        def on_its_device(value: Any) -> Any:
            if not isinstance(value, torch.Tensor):
                return value
            # An operation in place returns what it was given.
            if id(value) in own:
                return own[id(value)]
            return PretendTensor(value) if on_device else value

        if name == "copy_":
            return args[0]
        return mapped(on_its_device, result)


class _Calls(TorchFunctionMode):
    """Sees what does not arrive as operations: tensors of numbers, lists of tensors, generators, ``data``."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.tensor, torch.as_tensor) and _is_pretend(kwargs.get("device")):
            return func(*args, **{**kwargs, "device": "cpu"}).to(DEVICE)
        generator = kwargs.get("generator")
        if generator is not None:
            given = flattened((args, tuple(kwargs.values())))
            on_device = _is_pretend(kwargs.get("device")) or any(isinstance(x, PretendTensor) for x in given)
            if isinstance(generator, _PretendGenerator) != on_device:
                raise MixedDevicesError(
                    f"{func} at {place()}: the generator is of another device than the tensor"
                )
        if func is torch.Tensor.__getitem__ and isinstance(args[1], list):
            args = (args[0], torch.tensor(args[1]))
        if func is torch.Tensor.tolist and isinstance(args[0], PretendTensor):
            return args[0].cpu().tolist()
        result = func(*args, **kwargs)
        if func == torch.Tensor.data.__set__ and isinstance(args[0], PretendTensor):
            args[0].numbers = args[1].numbers
        return result


def _is_pretend(device: Any) -> bool:
    return device is not None and torch.device(device).type == NAME


def _numbers(value: Any) -> Any:
    return value.numbers if isinstance(value, PretendTensor) else value


def flattened(values: Any) -> Iterator[Any]:
    """What is in lists and tuples of an operation's arguments."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from flattened(value)
        else:
            yield value


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """The argument, or the result, with the function applied to all that is in its lists and tuples."""
    if isinstance(value, list | tuple):
        return type(value)([mapped(function, each) for each in value])
    return function(value)


def _is_in(value: Any, values: list[Any]) -> bool:
    return any(value is each for each in values)


def check_one_device(func: Any, args: Any, kwargs: Any, flat: list[Any]) -> None:
    """Raise MixedDevicesError as CUDA does; numbers of the CPU may take part in element-wise operations."""
    elsewhere = [
        each for each in flat if isinstance(each, torch.Tensor) and not isinstance(each, PretendTensor)
    ]
    written = [
        value
        for number, argument in enumerate(func._schema.arguments)
        if argument.alias_info is not None and argument.alias_info.is_write
        for value in flattened((args[number] if number < len(args) else kwargs.get(argument.name),))
    ]
    numbers = torch.Tag.pointwise in func.tags and not any(each.ndim for each in elsewhere)
    if elsewhere and (not numbers or any(_is_in(each, written) for each in elsewhere)):
        shapes = [tuple(each.shape) for each in elsewhere]
        raise MixedDevicesError(
            f"{func} at {place()}: tensors of the GPU, and of the CPU with the shapes {shapes}"
        )


def _frames() -> Iterator[FrameType]:
    """The frames of dropbench in this thread, the innermost first."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        if frame.f_code.co_filename.startswith(PACKAGE):
            yield frame
        frame = frame.f_back


def place() -> str:
    """The innermost line of dropbench that is being executed; in torch's own backward pass there is none."""
    for frame in _frames():
        return f"{frame.f_code.co_filename[len(PACKAGE) + 1 :]}:{frame.f_lineno}"
    return "outside of dropbench"


def within() -> frozenset[str]:
    """The functions of dropbench that are being executed."""
    return frozenset(frame.f_code.co_name for frame in _frames())


@contextmanager
def pretending() -> Iterator[PretendGPU]:
    """Let the pretend GPU work in this context."""
    torch.Generator = _AnyGenerator
    try:
        with PretendGPU() as gpu, _Calls():
            yield gpu
    finally:
        torch.Generator = _Generator


# Autocast: in its contexts products are in its dtype, as on the other devices; all else is left as it is.

PRODUCTS = ("linear", "matmul", "mm", "bmm", "addmm", "baddbmm", "conv2d", "conv_transpose2d")
_KEYS = torch._C.DispatchKeySet(torch._C.DispatchKey.AutocastPrivateUse1)


def _narrowed(product: Callable[..., torch.Tensor]) -> Callable[..., torch.Tensor]:
    def rounded(value: Any) -> Any:
        if not isinstance(value, torch.Tensor) or not value.is_floating_point():
            return value
        return value.to(torch.get_autocast_dtype(NAME))

    def narrowed(*args: Any, **kwargs: Any) -> torch.Tensor:
        with torch._C._ExcludeDispatchKeyGuard(_KEYS):
            return product(*map(rounded, args), **kwargs)

    return narrowed


_others = torch.library.Library("_", "IMPL")  # torch forgets what is registered when these two are gone
_others.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")
_products = torch.library.Library("aten", "IMPL")
for _name in PRODUCTS:
    for _overload in ("default", "input", "padding"):
        _product = getattr(getattr(torch.ops.aten, _name), _overload, None)
        if _product is not None:
            _products.impl(_product, _narrowed(_product), "AutocastPrivateUse1")
