"""Rows that lie in several stretches of an array on disk, seen as one array in the order of the symbols.

What is appended to a store goes behind all that is there; a symbol's rows are then in several stretches.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.lib.stride_tricks import as_strided


class ConcatenatedArray:
    """An array (N, ...) made of `base` rows [starts[e], starts[e] + lengths[e]), one stretch after another.

    Reads as an array does: `[row]`, `[lo:hi]`, `[rows]`, len, shape, dtype, np.asarray. A slice inside one stretch
    is a view; any other one is copied. Only what is asked for is read from disk.
    """

    def __init__(self, base: np.ndarray, starts: np.ndarray, lengths: np.ndarray):
        self.base, self.starts = base, np.asarray(starts, np.int64)
        self.edges = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)

    @property
    def shape(self) -> tuple[int, ...]:
        """(N, ...)"""
        return (int(self.edges[-1]), *self.base.shape[1:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the base."""
        return self.base.dtype

    def __len__(self) -> int:
        return int(self.edges[-1])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        whole = self[0 : len(self)]
        return whole if dtype is None else whole.astype(dtype)

    def __getitem__(self, key: Any) -> Any:
        if isinstance(key, tuple):
            rows = self[key[0]]
            return rows[key[1:]] if np.isscalar(key[0]) else rows[(slice(None), *key[1:])]
        if isinstance(key, slice):
            lo, hi, step = key.indices(len(self))
            if step == 1:
                return self._range(lo, hi)
            key = np.arange(lo, hi, step)
        rows = np.asarray(key)
        if rows.dtype == bool:
            rows = np.flatnonzero(rows)
        return self.base[self._places(np.where(rows < 0, rows + len(self), rows))]

    def _places(self, rows: np.ndarray) -> np.ndarray:
        stretch = np.searchsorted(self.edges, rows, side="right") - 1
        places: np.ndarray = self.starts[stretch] + rows - self.edges[stretch]
        return places

    def _range(self, lo: int, hi: int) -> np.ndarray:
        if lo >= hi:
            return self.base[:0]
        first, last = np.searchsorted(self.edges, lo, side="right"), np.searchsorted(self.edges, hi, side="left")
        cuts = np.array([lo, *self.edges[first:last], hi])
        parts = [self.base[at : at + rows] for at, rows in zip(self._places(cuts[:-1]), np.diff(cuts), strict=True)]
        return parts[0] if len(parts) == 1 else np.concatenate(parts)


def gather_windows(rows: np.ndarray | ConcatenatedArray, starts: np.ndarray, length: int) -> np.ndarray:
    """Windows (B, length, C) of rows (N, C), beginning at `starts` (B,), copied."""
    if isinstance(rows, ConcatenatedArray):
        return np.asarray(rows[starts[:, None] + np.arange(length)])
    rows = np.ascontiguousarray(rows)
    step, item = rows.strides
    count = max(0, len(rows) - length + 1)
    # Each window contiguous: one gather, cheap to copy.
    view = as_strided(rows, (count, length * rows.shape[1]), (step, item), writeable=False)
    return np.asarray(view[starts]).reshape(len(starts), length, rows.shape[1])
