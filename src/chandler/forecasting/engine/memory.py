"""How much memory a computation may plan with, and what is computed together within it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar

import psutil
import torch

from chandler.engines import sharers
from chandler.errors import ConfigError

Part = TypeVar("Part")
SHARE, SHARE_ACCELERATOR = 0.25, 0.5
"""Part of the free memory that a computation plans with unless told otherwise: on a CPU, and elsewhere, where nobody else
waits for it."""
MOST_ROWS, MOST_SEQUENCES = 1 << 18, 1 << 15
"""Rows, and sequences of them, that pass through a tokenizer together on an accelerator: beyond, it is no busier, and a
kernel may refuse more sequences."""
SMALL_RESULT = 256 << 20
"""Bytes that are tried without asking what is free."""
_CGROUPS = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/memory"))
"""Where a container sees its control group: the second version of these, then the first."""
_V2 = ("memory.max", "memory.current", "inactive_file")
_V1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")


def free_memory(device: torch.device) -> int:
    """Bytes that could be allocated on `device` now; within a container's limit where there is one. Workers of an engine
    that share a machine have a part of it each."""
    module = torch.get_device_module(device)
    told = getattr(module, "mem_get_info", None)  # accelerators with memory of their own
    if told is not None:
        # What torch keeps of earlier work is this process's to take again, all but what captured graphs hold, and the device
        # counts it as used.
        reserved, used = (getattr(module, name, None) for name in ("memory_reserved", "memory_allocated"))
        kept = 0 if reserved is None or used is None else int(reserved(device)) - int(used(device))
        return int(told(device)[0]) // sharers() + kept
    left = (cgroup_available(root) for root in _CGROUPS)
    return min([psutil.virtual_memory().available, *(one for one in left if one is not None)]) // sharers()


def default_budget(device: torch.device) -> int:
    """Bytes that a computation plans with unless told otherwise."""
    return int(free_memory(device) * (SHARE if device.type == "cpu" else SHARE_ACCELERATOR))


def require_room(need: int, what: str, instead: str) -> None:
    """ConfigError for results that could not even be held, before hours of work end in a MemoryError.

    Args:
        need: bytes on the host.
        what: the results, in the plural; `instead`: what to do, a sentence.
    """
    free = free_memory(torch.device("cpu"))
    # What is free is an estimate (a container counts its file cache as used): small results are never refused.
    if need > max(free, SMALL_RESULT):
        raise ConfigError(f"{what} need {need / 1e9:,.1f} GB of memory, {free / 1e9:,.1f} GB are free. {instead}")


def block_bytes(config: Any, rows: int, seen: int) -> int:
    """Bytes that `rows` rows need while they pass through a block of a model, roughly: their normed, rotated and gated copies,
    and their scores against the `seen` rows that they attend to."""
    return 4 * rows * (8 * config.d_model + 3 * config.ff_dim + 3 * config.n_heads * seen)


def grouped(parts: Iterable[Part], fits: Callable[[list[Part], Part], bool]) -> Iterator[list[Part]]:
    """Parts in their order, in groups: each joins the group before it where it `fits` there."""
    group: list[Part] = []
    for part in parts:
        if group and not fits(group, part):
            yield group
            group = []
        group.append(part)
    if group:
        yield group


def cgroup_available(root: Path) -> int | None:
    """Bytes that a container may still take by the control group at `root`; None without one, or without a limit.

    What it holds of files that nobody uses now is given back when memory is wanted: it counts as free.
    """
    limit_file, used_file, cached = _V2 if (root / _V2[0]).exists() else _V1
    limit, used = _number(root / limit_file), _number(root / used_file)
    if limit is None or used is None:
        return None
    try:
        lines = (root / "memory.stat").read_text().splitlines()
    except OSError:
        lines = []
    files = sum(int(line.split()[1]) for line in lines if line.split()[:1] == [cached])
    return max(0, limit - max(0, used - files))


def _number(path: Path) -> int | None:
    try:
        return int(path.read_text())
    except (OSError, ValueError):
        return None


def trim_heap() -> None:
    """Return memory that is free inside this process to the system (glibc; elsewhere nothing happens)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL("libc.so.6").malloc_trim(0)
