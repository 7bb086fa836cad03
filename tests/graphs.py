"""Graphs for the CPU: what a piece of work launched is written down and done again, as a CUDA graph would.

A recorded operation has the tensors and numbers of its recording, whatever Python would hand it now, and its results go
where they went then. So work that depends on anything but its tensors ends differently when it is replayed. Asking a
tensor for a number is refused, as it is while a GPU captures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_flatten, tree_map_only

from chandler.devices import graphs

ASKS = ("aten::_local_scalar_dense", "aten::nonzero", "aten::masked_select", "aten::equal", "aten::is_nonzero")
"""Operations that a host waits for."""


class Recorder(TorchDispatchMode):
    """Does operations, and writes them down."""

    def __init__(self) -> None:
        super().__init__()
        self.done: list[tuple[Any, Any, Any, list[Any]]] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name
        indices = args[1] if name in ("aten::index", "aten::index_put_", "aten::index_put") else ()
        if name in ASKS or any(i is not None and i.dtype == torch.bool for i in indices):
            raise RuntimeError(f"operation not permitted when stream is capturing: {name}")
        # As they are now: an operation such as `squeeze_` may give them another shape.
        now = tree_map_only(torch.Tensor, torch.Tensor.detach, (args, kwargs))
        made = func(*args, **kwargs)
        # What is called a view may be a copy (`contiguous`, `to`), so those are written down as well.
        if torch.Tag.inplace_view not in func.tags:
            self.done.append((func, *now, [t.detach() for t in tree_flatten(made)[0] if isinstance(t, torch.Tensor)]))
        return made

    def replay(self) -> None:
        """Do all of it again: results take the place of those that were recorded."""
        with torch.no_grad():
            for func, args, kwargs, outs in self.done:
                again = tree_flatten(func(*args, **kwargs))[0]
                for old, new in zip(outs, (t for t in again if isinstance(t, torch.Tensor)), strict=True):
                    if new.data_ptr() != old.data_ptr():  # else it is a view, or was changed in place
                        old.copy_(new)


def record(work: Callable[[], None], device: torch.device, warm_ups: int) -> Callable[[], None]:
    """The way to capture that a CPU has."""
    for _ in range(warm_ups):
        work()
    recorder = Recorder()
    before = torch.get_rng_state()
    with recorder:
        work()
    torch.set_rng_state(before)
    return recorder.replay


@contextmanager
def graphs_on_cpu() -> Iterator[None]:
    """Within it the CPU has graphs."""
    graphs.CAPTURES["cpu"] = record
    try:
        yield
    finally:
        del graphs.CAPTURES["cpu"]
