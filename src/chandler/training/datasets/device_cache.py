"""Windows as tensors on a device: gathered there from bars that live there, or on the CPU and then moved.

A gather has two halves. The host's can be done ahead, by another thread; the device's joins the device's other work, and
the host waits for neither.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from chandler.data import FEATURES
from chandler.data.datasets import EPSILON, SMALL_PRICE, Windows
from chandler.data.store import BarStore
from chandler.devices import pinned, upload

STAMPS = 5
BYTES_PER_ROW = 4 * len(FEATURES) + STAMPS
"""Of a store on a device: float32 values, and time features of a byte each."""
_CHUNK = 1 << 20
"""Rows moved to the device at a time."""
Gather = Callable[[], tuple[Tensor, Tensor]]
"""The device's half of a gather: values (B, T, 6) float32, time features (B, T, 5) int64."""


class DeviceRows:
    """The values and time features of a store on a device."""

    def __init__(self, store: BarStore, device: torch.device) -> None:
        self.device = device
        self.values = torch.empty(store.rows, len(FEATURES), dtype=torch.float32, device=device)
        self.stamps = torch.empty(store.rows, STAMPS, dtype=torch.uint8, device=device)
        for lo in range(0, store.rows, _CHUNK):
            hi = min(lo + _CHUNK, store.rows)
            # Copies: what is mapped from disk cannot be written to, and torch wants to be able to.
            self.values[lo:hi] = torch.from_numpy(np.array(store.values[lo:hi]))
            self.stamps[lo:hi] = torch.from_numpy(np.array(store.stamps[lo:hi]))
        store.release()

    def windows(
        self, starts: np.ndarray, length: int, lookback: int | np.ndarray, clip: float
    ) -> tuple[Tensor, Tensor]:
        """Normalised values (B, T, 6) float32 and time features (B, T, 5) uint8 of windows from `starts` (B,) on.

        `lookback`: the rows that scale a window, one number or (B,).

        The same arithmetic as `windows.normalise`, in float64. Sums over rows run in another order, so single values
        may differ by the last bit of a float32.
        """
        first = upload(torch.from_numpy(np.asarray(starts, np.int64)), self.device)
        places = first[:, None] + torch.arange(length, device=self.device)
        raw = self.values[places].double()
        shifted = raw - raw[:, :1]
        if isinstance(lookback, int):

            def mean(of: Tensor) -> Tensor:
                return of[:, :lookback].sum(dim=1, keepdim=True) / lookback
        else:
            counts = upload(torch.from_numpy(np.asarray(lookback, np.int64)), self.device)[:, None, None]
            seen = torch.arange(length, device=self.device)[:, None] < counts

            def mean(of: Tensor) -> Tensor:
                return (of * seen).sum(dim=1, keepdim=True) / counts

        centre = mean(shifted)
        shifted -= centre
        std = mean(shifted.square()).sqrt()
        price = (raw[:, :1] + centre)[..., :4].mean(dim=-1, keepdim=True)
        small = (price > 0) & (price < SMALL_PRICE)
        std[..., :4] += EPSILON * torch.where(small, 10 ** price.clamp(min=1e-300).log10().floor(), 1.0)
        std[..., 4:] += EPSILON
        return (shifted / std).clamp(-clip, clip).float(), self.stamps[places]


class DeviceWindows(Windows):
    """Windows of a store whose rows also live on a device."""

    def __init__(self, windows: Windows, rows: DeviceRows) -> None:
        w = windows
        super().__init__(w.store, w.ranges, w.lookback, w.horizon, w.stride, w.clip, w.extra)
        self.device_rows = rows


def fetch(windows: Windows, indices: np.ndarray, device: torch.device, lookbacks: np.ndarray | None = None) -> Gather:
    """The host's half of a gather of `indices` (B,) to `device`; what comes back does the other.

    `lookbacks` (B,): the rows that scale each window; None: the lookback of all.
    """
    if isinstance(windows, DeviceWindows):
        rows, starts = windows.device_rows, windows.starts(indices)
        scaled = windows.lookback if lookbacks is None else lookbacks

        def cut() -> tuple[Tensor, Tensor]:
            values, stamps = rows.windows(starts, windows.length, scaled, windows.clip)
            return values.to(device), stamps.to(device=device, dtype=torch.long)

        return cut
    batch = windows.gather(indices, lookbacks)
    values, stamps = (pinned(torch.from_numpy(part), device) for part in (batch.values, batch.stamps))
    return lambda: (upload(values, device), upload(stamps, device).long())
