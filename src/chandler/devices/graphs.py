"""Work that is launched once and then replayed: CUDA graphs.

A GPU ends most operations of a step sooner than Python can launch the next. A graph holds all launches of a piece of
work and repeats them by one.

What may be captured reads and writes tensors that stay where they are; whoever wants other numbers copies them into
those. Everything else is as it was at the capture: shapes, branches, numbers of Python's. Nothing in it may ask the
device for a number (`item`, `tolist`, a mask as an index). Random numbers are drawn anew in each replay, from the
generator of the device as it then is: after `torch.manual_seed` a replay draws what the work itself would have drawn.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from functools import cache

import torch

from chandler.devices.placement import first_line

Work = Callable[[], None]


class GraphError(RuntimeError):
    """This work cannot be captured here; it can still be done as it is. The message is the reason, for a sentence."""


@cache
def _side(device: torch.device) -> torch.cuda.Stream:
    """The stream that captures of a device take turns on: its libraries' workspaces are made once."""
    return torch.cuda.Stream(device)


def _capture(work: Work, device: torch.device, warm_ups: int) -> Work:
    stream, graph = _side(device), torch.cuda.CUDAGraph()
    stream.wait_stream(torch.cuda.current_stream(device))
    try:
        with torch.cuda.device(device), torch.cuda.stream(stream):
            for _ in range(warm_ups):  # libraries choose kernels and take workspaces, which a capture must not
                work()
            stream.synchronize()
            if torch.cuda.mem_get_info(device)[0] < torch.cuda.memory_reserved(device):
                torch.cuda.empty_cache()  # a graph has memory of its own: what the warm-ups took would be held beside it
            # Other threads may go on with their own work: a batch is prepared while this one is captured.
            graph.capture_begin(capture_error_mode="thread_local")
            try:
                work()
            finally:
                graph.capture_end()
    finally:  # whoever goes on without a graph sets back what the warm-ups did: not before they are done
        torch.cuda.current_stream(device).wait_stream(stream)
    return graph.replay


CAPTURES: dict[str, Callable[[Work, torch.device, int], Work]] = {"cuda": _capture}
"""Ways to capture, by type of device."""


def has_graphs(device: torch.device) -> bool:
    """Whether work on this device can be captured."""
    return device.type in CAPTURES


def captured(work: Work, device: torch.device, *, warm_ups: int = 3) -> Work:
    """`work` on `device` as one launch; what it returns does all of it anew, on the stream that is then current.

    The work is done `warm_ups` times before it is captured, and not by the capture itself: what it counts or adds up has to
    be set back afterwards.

    Raises:
        GraphError: it does not fit in memory, or does what cannot be captured.
    """
    try:
        return CAPTURES[device.type](work, device, warm_ups)
    except torch.OutOfMemoryError as error:
        raise GraphError("there is no memory for it") from error
    except RuntimeError as error:
        raise GraphError(first_line(error)) from error


class Pace:
    """Keeps the host a few pieces of work ahead of a device and no more, so that what it tells of them is about true."""

    def __init__(self, device: torch.device, ahead: int) -> None:
        self.device, self.ahead = device, ahead
        self._open: deque[torch.cuda.Event] = deque()

    def keep(self) -> None:
        """A piece has been launched: wait until at most `ahead` of them are open. Where the host does the work itself, none
        ever is."""
        if self.device.type != "cuda":
            return
        with torch.cuda.device(self.device):
            event = torch.cuda.Event()
            event.record()
        self._open.append(event)
        if len(self._open) > self.ahead:
            self._open.popleft().synchronize()
