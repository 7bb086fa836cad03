"""Turns bars into windows: which exist, and batches of them, normalised. The scale sees
lookback rows only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.lib.stride_tricks import as_strided

from chandler.data.columns import FEATURES
from chandler.data.store import BarStore
from chandler.errors import DataError

EPSILON = 1e-5
CLIP = 5.0
_BLOCK = 128
"""Windows normalised at a time: a block of 128 x 101 rows stays in the cache of a core."""


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """B windows of T rows: what a stage trains on, and the scale that maps it back to prices."""

    values: np.ndarray
    """(B, T, 6) float32, normalised and clipped."""
    stamps: np.ndarray
    """(B, T, 5) uint8: minute, hour, weekday, day, month."""
    mean: np.ndarray
    """(B, 6) float64, of the lookback rows."""
    std: np.ndarray
    """(B, 6) float64, population, of the lookback rows."""
    indices: np.ndarray
    """(B,) int64: which windows these are."""

    def __len__(self) -> int:
        return len(self.values)


def normalise(values: np.ndarray, lookback: int, clip: float = CLIP) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z = clip((x - mean) / (std + 1e-5), -clip, clip) of values (..., T, 6), scaled by the first rows.

    Returns z (..., T, 6) float32, mean and population std (..., 6) float64 of rows [0, lookback). Values are
    taken as float32, as a store holds them, and the statistics are computed in float64 from differences to
    the first row: large volumes neither overflow nor cancel, and a constant column is exactly 0.
    Source: Kronos, per-window scaling, with the horizon left out of the statistics.
    """
    values = np.asarray(values, np.float32)
    if not 1 <= lookback <= values.shape[-2]:
        raise DataError(f"lookback must be from 1 to {values.shape[-2]} (window rows), but is {lookback}.")
    # (T, B, 6): sums over rows then run along whole batches at once, several times as fast as 6 at a time.
    rows = np.moveaxis(values, -2, 0)
    first = rows[0].astype(np.float64)
    shifted = np.subtract(rows, first, dtype=np.float64, order="C")
    centre = shifted[:lookback].sum(axis=0) / lookback
    shifted -= centre
    std = np.sqrt(np.square(shifted[:lookback]).sum(axis=0) / lookback)
    shifted /= std + EPSILON
    z = np.empty(values.shape, np.float32)
    np.clip(np.moveaxis(shifted, 0, -2), -clip, clip, out=z, casting="same_kind")
    return z, np.asarray(first + centre), np.asarray(std)


def denormalise(z: np.ndarray, mean: np.ndarray, std: np.ndarray) -> np.ndarray:
    """Back to prices and volumes: z (..., T, 6) with mean and std (..., 6) -> (..., T, 6) float64."""
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    values: np.ndarray = np.asarray(z, np.float64) * (std + EPSILON)[..., None, :] + mean[..., None, :]
    return values


class Windows:
    """All windows of lookback + horizon + extra rows inside `ranges` (S, 2), never across a symbol.

    Window i is a number in [0, len): symbols in store order, then time, `stride` rows apart. Memory is O(S).
    `extra`: the row that teacher forcing shifts by; the reference trains on 90 + 10 + 1.
    """

    def __init__(
        self,
        store: BarStore,
        ranges: np.ndarray,
        lookback: int,
        horizon: int,
        stride: int = 1,
        clip: float = CLIP,
        extra: int = 1,
    ):
        for name, value, least in (("lookback", lookback, 1), ("horizon", horizon, 0), ("stride", stride, 1),
                                   ("extra", extra, 0)):  # fmt: skip
            if value < least:
                raise DataError(f"{name} must be at least {least}, but is {value}.")
        self.store, self.ranges = store, np.asarray(ranges, np.int64).reshape(-1, 2)
        assert len(self.ranges) == len(store)
        assert (self.ranges[:, 0] >= store.offsets[:-1]).all()
        assert (self.ranges[:, 1] <= store.offsets[1:]).all()
        self.lookback, self.horizon, self.extra = lookback, horizon, extra
        self.stride, self.clip = stride, clip
        self.length = lookback + horizon + extra
        spare = self.ranges[:, 1] - self.ranges[:, 0] - self.length
        self.counts = np.where(spare >= 0, spare // stride + 1, 0)
        """(S,) int64: windows of each symbol."""
        self._ends = np.cumsum(self.counts)

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def starts(self, indices: np.ndarray) -> np.ndarray:
        """The absolute first row (B,) of each window. IndexError outside [0, len)."""
        indices = np.asarray(indices, np.int64)
        return self._starts(indices, self._symbols(indices))

    def gather(self, indices: np.ndarray) -> WindowBatch:
        """The windows of `indices` (B,), in that order, normalised by their own lookback rows."""
        indices = np.asarray(indices, np.int64)
        starts = self.starts(indices)
        shape = (len(indices), self.length)
        values = np.empty((*shape, len(FEATURES)), np.float32)
        mean, std = np.empty((len(indices), len(FEATURES))), np.empty((len(indices), len(FEATURES)))
        rows = _sliding(self.store.values, self.length)
        for lo in range(0, len(indices), _BLOCK):
            block = slice(lo, lo + _BLOCK)
            raw = rows[starts[block]].reshape(-1, self.length, len(FEATURES))
            values[block], mean[block], std[block] = normalise(raw, self.lookback, self.clip)
        stamps = _sliding(self.store.stamps, self.length)[starts].reshape(*shape, self.store.stamps.shape[1])
        return WindowBatch(values, stamps, mean, std, indices)

    def describe(self, index: int) -> tuple[str, pd.Timestamp, pd.Timestamp]:
        """Symbol, first and last timestamp (local) of a window."""
        numbers = np.asarray([index], np.int64)
        symbol = int(self._symbols(numbers)[0])
        lo = int(self.starts(numbers)[0])
        times = self.store.index(symbol, lo, lo + self.length)
        return self.store.symbols[symbol], times[0], times[-1]

    def _symbols(self, indices: np.ndarray) -> np.ndarray:
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"window {indices.min()}..{indices.max()} of {len(self)}")
        return np.searchsorted(self._ends, indices, side="right")

    def _starts(self, indices: np.ndarray, symbols: np.ndarray) -> np.ndarray:
        before = self._ends[symbols] - self.counts[symbols]
        starts: np.ndarray = self.ranges[symbols, 0] + (indices - before) * self.stride
        return starts


def _sliding(rows: np.ndarray, length: int) -> np.ndarray:
    """A view (N - length + 1, length * C) of rows (N, C): each window contiguous, cheap to copy."""
    rows = np.ascontiguousarray(rows) if not rows.flags.c_contiguous else rows
    step, item = rows.strides
    count = max(0, len(rows) - length + 1)
    return as_strided(rows, (count, length * rows.shape[1]), (step, item), writeable=False)


def epoch_order(n_windows: int, *, seed: int, epoch: int, limit: int | None = None) -> np.ndarray:
    """A permutation of the windows, its first `limit`: (n,) int64. Depends on seed and epoch only."""
    order = np.random.Generator(np.random.PCG64([seed, epoch])).permutation(n_windows)
    return order if limit is None else order[:limit]


def require_windows(windows: Windows, name: str) -> None:
    """Raise DataError, saying what there is and what it takes, if `windows` (of the part `name`) is empty."""
    if len(windows):
        return
    rows = windows.ranges[:, 1] - windows.ranges[:, 0]
    best = int(rows.argmax()) if len(rows) else 0
    most = f"{int(rows[best])} ({windows.store.symbols[best]})" if len(rows) else "none"
    extra = f" + {windows.extra}" if windows.extra else ""
    raise DataError(
        f"the {name} split has no window: one needs {windows.length} rows of one symbol ({windows.lookback} "
        f"lookback + {windows.horizon} horizon{extra}), and the most that a symbol has there is {most}; "
        f"all {len(rows)} symbols together have {int(rows.sum())}. Lower lookback or horizon, give the "
        f"{name} split a larger share, or load more rows."
    )
