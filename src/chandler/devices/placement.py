"""Which device a computation runs on, and models and numbers brought there: nothing else decides or moves models.

Where a model is, its weights say, all parameters and buffers. Several owners may share one; whoever is called brings it
to its own device first, so it is never half on each.
"""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from functools import cache

import torch
from torch import Tensor, nn

from chandler.errors import ConfigError


def resolve(device: str | torch.device) -> torch.device:
    """A device that is there and holds numbers; with its index where it has one ("cuda" becomes cuda:0).

    Args:
        device: "auto" takes cuda, then mps, then the CPU; anything else as torch reads it ("cpu", "cuda:1", "mps").

    Raises:
        ConfigError: no such device here, or one without memory ("meta").
    """
    best = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    try:
        tried = torch.ones((), device=torch.device(best if device == "auto" else device))
        if tried.is_meta:
            raise RuntimeError("it has shapes and no memory")
        tried.item()
    except (RuntimeError, AssertionError, ImportError, TypeError) as error:
        reason = "torch was built without it" if isinstance(error, NotImplementedError) else first_line(error)
        raise ConfigError(f"device {str(device)!r} cannot be used here: {reason}. Try auto or cpu.") from error
    return tried.device


def first_line(error: Exception) -> str:
    """What an error says first, for a sentence."""
    return (str(error) or type(error).__name__).splitlines()[0].rstrip(".")


def require_name(device: str) -> str:
    """The name itself, "auto" or one that torch can read; ValueError for others. Whether it is there, `resolve` says."""
    if device != "auto":
        try:
            torch.device(device)
        except RuntimeError:
            raise ValueError('give "auto", "cpu", "cuda" or one of several such as "cuda:1", or "mps"') from None
    return device


def device_of(model: nn.Module) -> torch.device:
    """The device that all parameters and buffers of a model are on.

    Raises:
        ConfigError: they are on several, or on "meta", where no numbers are.
    """
    found = _devices(model)
    if len(found) > 1:
        raise ConfigError(
            f"the weights of this {type(model).__name__} are on {' and '.join(sorted(map(str, found)))}. "
            "Bring them to one device: model.to(device)."
        )
    return next(iter(found), torch.device("cpu"))


def bring(device: torch.device, *models: nn.Module) -> None:
    """Move models to a device (in place), those that are not there yet, or only in part.

    Raises:
        ConfigError: weights on "meta", or that do not fit, or that another library keeps elsewhere. What was in one
            place before is there again.
    """
    for model in models:
        before = _devices(model)
        if before <= {device}:
            continue
        try:
            model.to(device)
        except RuntimeError as error:
            if len(before) == 1 and _devices(model) != before:
                model.to(next(iter(before)))
            raise ConfigError(
                f"this {type(model).__name__} cannot be brought to {device}: {first_line(error)}. Choose another device, "
                "such as cpu."
            ) from error


def _devices(model: nn.Module) -> set[torch.device]:
    # It is asked at each forecast: `model.parameters()` takes five times as long.
    tensors = (t for module in model.modules() for own in (module._parameters, module._buffers) for t in own.values())
    found = {t.device for t in tensors if t is not None}
    if any(device.type == "meta" for device in found):
        raise ConfigError(
            f'weights of this {type(model).__name__} are on "meta", where shapes are and no numbers: they are lost. Load '
            "the model again with from_pretrained."
        )
    return found


def at_work(device: torch.device) -> AbstractContextManager[object]:
    """Within it kernels that are not torch's go to this device: they go to the current one, wherever their tensors are."""
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


@cache
def has_float64(device: torch.device) -> bool:
    """Whether a device has numbers of 64 bits; MPS has none."""
    try:
        torch.ones((), dtype=torch.float64, device=device)
    except (TypeError, RuntimeError):
        return False
    return True


def wide(values: Tensor) -> Tensor:
    """The values in float64: where they are, or on the CPU if that device has no such numbers."""
    return values.double() if has_float64(values.device) else values.cpu().double()


def pinned(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor of the CPU where `device` can fetch it without the host: in memory that stays in its place, for a GPU."""
    return tensor.pin_memory() if device.type == "cuda" and tensor.device.type == "cpu" else tensor


def upload(tensor: Tensor, device: torch.device) -> Tensor:
    """A tensor on `device`. The host does not wait: torch keeps pinned memory until it is copied."""
    return pinned(tensor, device).to(device, non_blocking=True)
