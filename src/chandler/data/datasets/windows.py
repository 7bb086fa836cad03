"""Turns bars into windows: which exist, and batches of them, normalised. The scale sees
lookback rows only.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chandler.data.columns import FEATURES
from chandler.data.datasets.splits import SplitSettings
from chandler.data.store import BarStore, gather_windows
from chandler.errors import DataError
from chandler.text import count

EPSILON = 1e-5
SMALL_PRICE = 1e-3
"""Below it the 1e-5 that is added to the deviation would drown the moves of a price."""
CLIP = 5.0
_BLOCK = 128
"""Windows normalised at a time: a block of 128 x 101 rows stays in the cache of a core."""


_RELEASE_BYTES = 16 << 20
"""Bytes gathered from a mapped store before its pages are handed back; what is read again comes from the page cache."""


@dataclass(frozen=True, eq=False)
class WindowBatch:
    """B windows of T rows: what a stage trains on, and the scale that maps it back to prices."""

    values: np.ndarray
    """(B, T, 6) float32, normalised and clipped."""
    stamps: np.ndarray
    """(B, T, 5) uint8: minute, hour, weekday, day, month."""
    mean: np.ndarray
    """(B, 6) float64, of the rows that scale it."""
    std: np.ndarray
    """(B, 6) float64, population, of these rows."""
    indices: np.ndarray
    """(B,) int64: which windows these are."""

    def __len__(self) -> int:
        return len(self.values)


def scale_floor(mean: np.ndarray) -> np.ndarray:
    """What is added to a standard deviation (..., 6), so that a constant column is 0: 1e-5, in the unit of the prices.

    The unit is 1, except for prices whose mean lies below SMALL_PRICE: a power of ten, in which they are between 1 and 10.
    A token that trades at 1e-8 moves by 1e-10; beside 1e-5 it would look constant, and what a price is quoted in is a
    convention. Volume and amount have scales of their own.
    """
    mean = np.asarray(mean, np.float64)
    price, floor = mean[..., :4].mean(axis=-1), np.full(mean.shape, EPSILON)
    small = (price > 0) & (price < SMALL_PRICE)
    if small.any():
        floor[small, :4] *= 10.0 ** np.floor(np.log10(price[small]))[:, None]
    return floor


def normalise(
    values: np.ndarray, lookback: int | np.ndarray, clip: float = CLIP, *, own_unit: bool = True
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """z = clip((x - mean) / (std + 1e-5), -clip, clip) of values (..., T, 6), scaled by the first rows.

    Returns z (..., T, 6) float32, mean and population std (..., 6) float64 of rows [0, lookback); `lookback` is one number,
    or one for each window (...). Values are
    taken as float32, as a store holds them, and the statistics are computed in float64 from differences to
    the first row: large volumes neither overflow nor cancel, and a constant column is exactly 0. The 1e-5 is in the
    unit of tiny prices (`scale_floor`); not with `own_unit` false, as in the reference.
    Source: Kronos, per-window scaling, with the horizon left out of the statistics.
    """
    values = np.asarray(values, np.float32)
    counts = np.asarray(lookback)
    if (wrong := counts[(counts < 1) | (counts > values.shape[-2])]).size:
        raise DataError(f"lookback must be from 1 to {values.shape[-2]} (window rows), but is {wrong.flat[0]}.")
    most = int(counts.max(initial=0))
    seen = (np.arange(most).reshape(-1, *[1] * counts.ndim) < counts)[..., None] if counts.ndim else None
    counts = counts[..., None]
    # (T, B, 6): sums over rows then run along whole batches at once, several times as fast as 6 at a time.
    rows = np.moveaxis(values, -2, 0)
    first = rows[0].astype(np.float64)
    shifted = np.subtract(rows, first, dtype=np.float64, order="C")
    centre = (shifted[:most] if seen is None else shifted[:most] * seen).sum(axis=0) / counts
    shifted -= centre
    squares = np.square(shifted[:most] if seen is None else shifted[:most] * seen)
    std, mean = np.sqrt(squares.sum(axis=0) / counts), first + centre
    shifted /= std + (scale_floor(mean) if own_unit else EPSILON)
    z = np.empty(values.shape, np.float32)
    np.clip(np.moveaxis(shifted, 0, -2), -clip, clip, out=z, casting="same_kind")
    return z, np.asarray(mean), np.asarray(std)


def denormalise(z: np.ndarray, mean: np.ndarray, std: np.ndarray, *, own_unit: bool = True) -> np.ndarray:
    """Back to prices and volumes: z (..., T, 6) with mean and std (..., 6) -> (..., T, 6) float64."""
    mean, std = np.asarray(mean, np.float64), np.asarray(std, np.float64)
    scale = std + (scale_floor(mean) if own_unit else EPSILON)
    values: np.ndarray = np.asarray(z, np.float64) * scale[..., None, :] + mean[..., None, :]
    return values


class Windows:
    """All windows of lookback + horizon + extra rows inside `ranges` (S, 2), never across a segment of the store.

    Window i is a number in [0, len): symbols in store order, then time, `stride` rows apart from the first row
    of each segment that is inside the range. Memory is O(G), the number of segments.
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
        self._owners = store.owners
        allowed = self.ranges[self._owners]
        self.pieces = np.stack(
            [np.maximum(store.segments[:, 0], allowed[:, 0]), np.minimum(store.segments[:, 1], allowed[:, 1])], axis=1
        )
        """(G, 2) int64: the rows [lo, hi) of each segment that are inside the range; lo >= hi where none is."""
        spare = self.pieces[:, 1] - self.pieces[:, 0] - self.length
        per_piece = np.where(spare >= 0, spare // stride + 1, 0)
        self.counts = np.bincount(self._owners, per_piece, minlength=len(store)).astype(np.int64)
        """(S,) int64: windows of each symbol."""
        self._ends = np.cumsum(per_piece)
        self._read = 0
        self._before = self._ends - per_piece

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def starts(self, indices: np.ndarray) -> np.ndarray:
        """The absolute first row (B,) of each window. IndexError outside [0, len)."""
        indices = np.asarray(indices, np.int64)
        places = self._places(indices)
        starts: np.ndarray = self.pieces[places, 0] + (indices - self._before[places]) * self.stride
        return starts

    def gather(self, indices: np.ndarray, lookbacks: np.ndarray | None = None) -> WindowBatch:
        """The windows of `indices` (B,), in that order, normalised by their own lookback rows.

        `lookbacks` (B,): how many these are of each window; None: `lookback` of all.
        """
        indices = np.asarray(indices, np.int64)
        starts = self.starts(indices)
        shape = (len(indices), self.length)
        values = np.empty((*shape, len(FEATURES)), np.float32)
        mean, std = np.empty((len(indices), len(FEATURES))), np.empty((len(indices), len(FEATURES)))
        for lo in range(0, len(indices), _BLOCK):
            block = slice(lo, lo + _BLOCK)
            raw = gather_windows(self.store.values, starts[block], self.length)
            values[block], mean[block], std[block] = normalise(
                raw, self.lookback if lookbacks is None else lookbacks[block], self.clip
            )
        stamps = gather_windows(self.store.stamps, starts, self.length)
        # Pages of a mapped store that were read stay in this process's memory until they are handed back.
        self._read += starts.size * self.length * (values.itemsize * len(FEATURES) + stamps.shape[-1])
        if self._read > _RELEASE_BYTES:
            self.store.release()
            self._read = 0
        return WindowBatch(values, stamps, mean, std, indices)

    def rows(self, indices: np.ndarray) -> np.ndarray:
        """The bars (B, T, 6) of the windows of `indices` (B,), float32, as the store has them."""
        return gather_windows(self.store.values, self.starts(indices), self.length)

    def describe(self, index: int) -> tuple[str, pd.Timestamp, pd.Timestamp]:
        """Symbol, first and last timestamp (local) of a window."""
        numbers = np.asarray([index], np.int64)
        symbol = int(self._owners[self._places(numbers)[0]])
        lo = int(self.starts(numbers)[0])
        times = self.store.index(symbol, lo, lo + self.length)
        return self.store.symbols[symbol], times[0], times[-1]

    def _places(self, indices: np.ndarray) -> np.ndarray:
        """Which piece (B,) each window is in."""
        if len(indices) and (indices.min() < 0 or indices.max() >= len(self)):
            raise IndexError(f"window {indices.min()}..{indices.max()} of {len(self)}")
        return np.searchsorted(self._ends, indices, side="right")


def epoch_order(n_windows: int, *, seed: int, epoch: int, limit: int | None = None) -> np.ndarray:
    """A permutation of the windows, its first `limit`: (n,) int64. Depends on its arguments only.

    Few windows of very many are drawn without a list of all of them, in memory of the order of `limit`.
    """
    generator = np.random.Generator(np.random.PCG64([seed, epoch]))
    if limit is not None and limit < n_windows // 50:
        return generator.choice(n_windows, limit, replace=False)
    order = generator.permutation(n_windows)
    return order if limit is None else order[:limit]


def feistel_permutation(positions: np.ndarray, size: int, *, seed: int) -> np.ndarray:
    """Where a shuffle of [0, size) puts `positions` (n,): each number to another one, in memory of the order of n.

    A Feistel network over the even number of bits that holds `size`, walked on until the result is below `size`
    (Black & Rogaway 2002, "Ciphers with arbitrary finite domains"). Depends on its arguments only.
    """
    half = np.uint64(max(1, -(-(size - 1).bit_length() // 2)))
    mask = (np.uint64(1) << half) - np.uint64(1)
    keys = np.random.SeedSequence(seed).generate_state(8, np.uint64)
    found = np.asarray(positions).astype(np.uint64)
    todo = np.arange(len(found))
    while len(todo):
        left, right = found[todo] >> half, found[todo] & mask
        for key in keys:
            mixed = (right ^ key) * np.uint64(0x9E3779B97F4A7C15)  # wraps around, as a hash may
            mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
            left, right = right, left ^ ((mixed >> np.uint64(32)) & mask)
        found[todo] = left << half | right
        todo = todo[found[todo] >= size]
    return found.astype(np.int64)


def untrainable(parts: Mapping[str, Windows], split: SplitSettings | None = None) -> list[str]:
    """Why training on the parts of a split ("train", "val", ...) would fail, a sentence each; none where it would begin.

    A test part may be empty: evaluations need one, training does not. `split`: what cut the parts.
    """
    found = []
    for name, spoken in (("train", "training"), ("val", "validation")):
        try:
            require_windows(parts[name], spoken, split)
        except DataError as error:
            found.append(str(error))
    return found


def require_windows(windows: Windows, name: str, split: SplitSettings | None = None, keys: str = "data.split") -> None:
    """Raise DataError, saying what there is, why it is not enough and what to do, if `windows` is empty.

    Args:
        windows: of one part.
        name: what the part is called, "training" or "validation" last.
        split: what cut the parts, if it is known, and what its settings are called (`keys`).
    """
    if len(windows):
        return
    store, needed = windows.store, windows.length
    whole, rows = np.diff(store.offsets), windows.ranges[:, 1] - windows.ranges[:, 0]
    pieces = np.maximum(windows.pieces[:, 1] - windows.pieces[:, 0], 0)
    held = len(pieces) > len(store) or int(pieces.sum()) < int(rows.sum())
    stretch = "an unbroken stretch of a symbol" if held else "a symbol"
    most = f"{int(pieces.max())} ({store.symbols[windows._owners[int(pieces.argmax())]]})" if len(pieces) else "none"
    extra = f" + {windows.extra}" if windows.extra else ""
    told = (
        f"the {name} split has no window: one needs {needed} rows of one symbol ({windows.lookback} lookback + "
        f"{windows.horizon} horizon{extra}), and the most that {stretch} has there is {most}; all {count(len(store), 'symbol')} "
        f"together have {int(pieces.sum())}. "
    )
    if whole.max(initial=0) < needed:
        longest = f"the longest symbol has {int(whole.max(initial=0))} rows in all"
        raise DataError(f"{told}The data are too short: {longest}. Lower lookback or horizon, or load more rows.")
    if rows.max(initial=0) >= needed:
        raise DataError(
            f"{told}A symbol has {int(rows.max())} rows there, but holes and rows that were left out cut them into pieces: "
            "lower lookback or horizon, or let windows cross more (data.max_gap, data.cleaning, data.missing)."
        )
    if split is not None and split.train_end is not None and not rows.any():
        told = f"the {name} split has no window, for it has no rows. "
    raise DataError(f"{told}{_short_part(store, name, bool(rows.any()), split, keys)}")


def _short_part(store: BarStore, name: str, any_rows: bool, split: SplitSettings | None, keys: str) -> str:
    """Why a part is too short though the data are not, and what to do."""
    share = f"Lower lookback or horizon, give the {name} split a larger share, or load more rows."
    if split is None:
        return share
    if split.walk is not None:
        return f"Lower lookback or horizon, or make the folds longer with {keys}.walk, or load more rows."
    kept = [f"{keys}.{one}" for one in ("purge", "embargo") if getattr(split, one)]
    lower = f"lower lookback or horizon{''.join(f' or {one}' for one in kept)}"
    if split.train_end is None:
        key = f"{keys}.{'train' if name.endswith('training') else 'val'}"
        return f"{lower[0].upper()}{lower[1:]}, raise {key}, or load more rows."
    filled = np.flatnonzero(np.diff(store.offsets))
    first, last = (
        str(pd.Timestamp(int(one)).date())
        for one in (
            store.timestamps[store.offsets[filled]].min(),
            store.timestamps[store.offsets[filled + 1] - 1].max(),
        )
    )
    spans, lower = f"the data go from {first} to {last}", f", or {lower}" if any_rows else ""
    if name.endswith("training"):
        return f"It ends on {split.train_end} ({keys}.train_end), and {spans}. Set {keys}.train_end later{lower}."
    until = f" and ends on {split.val_end} ({keys}.val_end)" if split.val_end else ""
    later = f" or {keys}.val_end later" if split.val_end else ""
    return (
        f"It begins after {split.train_end} ({keys}.train_end){until}, and {spans}. Set {keys}.train_end earlier{later}, or "
        f"load newer data{lower}."
    )
