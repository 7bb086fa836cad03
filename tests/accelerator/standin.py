"""A stand-in for an accelerator: tensors that lie in CPU memory, say they live elsewhere, and refuse to be mixed.

torch lets Python register a device type. Every operation is computed on the CPU after it was checked as CUDA would check
it: all tensors on one device, except numbers without dimensions in elementwise operations, CPU indices into a tensor of
the accelerator, and copies. A generator of the CPU makes numbers there alone. There are two devices, "standin:0" and
"standin:1"; torch runs backward passes on the first alone.

Registering is for the whole process and cannot be undone: `tests/test_accelerator.py` gives these tests a process of
their own.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from typing import Any

import torch
from torch.utils import backend_registration
from torch.utils._python_dispatch import TorchDispatchMode

NAME = "standin"
COUNT = 2
FREE = 1 << 30
"""Bytes that are said to be free."""
_COPIES = ("aten::_to_copy", "aten::copy_", "aten::_copy_from")
_INDEXING = ("aten::index", "aten::index_put", "aten::index_put_", "aten::_index_put_impl_")


_library = torch.library.Library("aten", "IMPL")
"""What `torch.tensor(numbers, device=...)` needs: it copies to the device where no mode sees it."""

_fallbacks = torch.library.Library("_", "IMPL")


def _empty_strided(size: Any, stride: Any, **kwargs: Any) -> torch.Tensor:
    return _run(torch.ops.aten.empty_strided.default, (size, stride), kwargs)


def _copy_from(source: torch.Tensor, target: torch.Tensor, non_blocking: bool = False) -> torch.Tensor:
    _raw(target).copy_(_raw(source))
    return target


class _Module(backend_registration._DummyBackendModule):
    """What torch looks for under `torch.standin`."""

    def device_count(self) -> int:
        return COUNT

    def get_amp_supported_dtype(self) -> list[torch.dtype]:
        return [torch.bfloat16]

    def get_rng_state(self, device: Any = None) -> torch.Tensor:
        return torch.empty(0, dtype=torch.uint8)  # random numbers are the CPU's

    def set_rng_state(self, state: torch.Tensor, device: Any = None) -> None:
        pass

    def mem_get_info(self, device: Any = None) -> tuple[int, int]:
        return FREE, 2 * FREE

    def memory_reserved(self, device: Any = None) -> int:
        return 0

    def memory_allocated(self, device: Any = None) -> int:
        return 0


def register() -> None:
    """Make the device type known to this process; before its first backward pass, which starts a thread per device."""
    if torch._C._get_privateuse1_backend_name() != NAME:
        backend_registration._setup_privateuseone_for_python_backend(NAME, backend_module=_Module())
        _library.impl("empty_strided", _empty_strided, "PrivateUse1")
        _library.impl("_copy_from", _copy_from, "PrivateUse1")
        # Autocast changes nothing here.
        _fallbacks.fallback(torch.library.fallthrough_kernel, "AutocastPrivateUse1")


class StandInTensor(torch.Tensor):
    """A tensor of a stand-in device; its numbers are in `raw`."""

    raw: torch.Tensor

    @staticmethod
    def __new__(cls, raw: torch.Tensor, device: torch.device) -> StandInTensor:
        # A view of an ordinary tensor is an ordinary tensor, in inference mode too.
        with torch.inference_mode(raw.is_inference()):
            made = torch.Tensor._make_wrapper_subclass(
                cls,
                raw.shape,
                strides=raw.stride(),
                storage_offset=raw.storage_offset(),
                dtype=raw.dtype,
                device=device,
            )
        made.raw = raw
        return made

    def __repr__(self, **_: Any) -> str:  # type: ignore[override]
        return f"{self.device}: {self.raw!r}"

    def tolist(self) -> Any:
        return self.raw.tolist()  # torch's own refuses subclasses

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


class StandIn(TorchDispatchMode):
    """While it is entered, tensors can be made on and moved to stand-in devices."""

    float64 = True
    """Whether the devices have this format; MPS has not."""

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: Any, kwargs: dict[str, Any]) -> Any:
    name = func._schema.name
    leaves = [*_leaves(args), *_leaves(kwargs.values())]
    tensors = [x for x in leaves if isinstance(x, torch.Tensor)]
    ours = [x for x in tensors if isinstance(x, StandInTensor)]
    if not ours and not any(isinstance(x, torch.device) and x.type == NAME for x in leaves):
        return func(*args, **kwargs)
    if _is_composite(func):
        # In inference mode operations come whole that otherwise come as what they consist of.
        with StandIn():
            return func.decompose(*args, **kwargs)
    if name not in _COPIES:
        _check(func, name, args, tensors)
    asked = kwargs.get("device")
    device = ours[0].device if asked is None else torch.device(asked)
    if device.type == NAME:
        if any(isinstance(x, torch.Generator) for x in leaves):
            raise RuntimeError(f"{name}: expected a generator of {device}, found one of the CPU")
        if (device.index or 0) >= COUNT:
            raise RuntimeError(f"invalid device ordinal: {device}")
        device = torch.device(NAME, device.index or 0)
        if asked is not None:
            kwargs = {**kwargs, "device": torch.device("cpu")}
    out = func(*_map(_raw, args), **{key: _map(_raw, value) for key, value in kwargs.items()})
    # What was changed in place comes back as the tensor that was handed in.
    known = {id(x.raw): x for x in ours}

    def wrap(x: Any) -> Any:
        if not isinstance(x, torch.Tensor):
            return x
        if id(x) in known:
            assert known[id(x)].shape == x.shape, f"{name}: a stand-in tensor cannot change its shape"
            return known[id(x)]
        if device.type != NAME:
            return x
        if x.dtype == torch.float64 and not StandIn.float64:
            raise TypeError(f"{name}: {device} has no float64")
        return StandInTensor(x, device)

    return _map(wrap, out)


@cache
def _is_composite(func: Any) -> bool:
    return bool(torch._C._dispatch_has_kernel_for_dispatch_key(func.name(), "CompositeImplicitAutograd"))


def _leaves(values: Any) -> Iterator[Any]:
    """What arguments consist of, lists within them taken apart: less than torch's own way does, and quicker."""
    for value in values:
        if isinstance(value, list | tuple):
            yield from _leaves(value)
        else:
            yield value


def _map(change: Any, value: Any) -> Any:
    if isinstance(value, list | tuple):
        return type(value)(_map(change, one) for one in value)
    return change(value)


def _raw(x: Any) -> Any:
    return x.raw if isinstance(x, StandInTensor) else x


def _check(func: Any, name: str, args: Any, tensors: list[torch.Tensor]) -> None:
    """Raise RuntimeError where tensors of several devices meet."""
    if name in _INDEXING and isinstance(args[0], StandInTensor):
        indices = [x for x in args[1] if isinstance(x, torch.Tensor)]
        tensors = [x for x in tensors if not any(x is i and i.device.type == "cpu" for i in indices)]
    elementwise = torch.Tag.pointwise in func.tags or name in _INDEXING
    numbers = [x for x in tensors if elementwise and x.dim() == 0 and x.device.type == "cpu"]
    devices = {x.device for x in tensors if not any(x is number for number in numbers)}
    if len(devices) > 1:
        found = " and ".join(sorted(map(str, devices)))
        raise RuntimeError(f"{name}: expected all tensors to be on the same device, found {found}")


@contextmanager
def standing_in(*, float64: bool = True) -> Iterator[None]:
    """Within it the stand-in devices are there."""
    register()
    before, StandIn.float64 = StandIn.float64, float64
    with StandIn():
        yield
    StandIn.float64 = before
