"""Which windows an evaluation forecasts: rounds along time, in each round one origin of every symbol that has one."""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data import Bars, tick_of
from chandler.data.store import BarStore
from chandler.errors import DataError

Ints = NDArray[np.int64]
_PIECE = 1 << 20
"""Rows that are read at a time for a digest: a store may be larger than the memory."""


@dataclass(frozen=True, eq=False)
class Origins:
    """W windows in the order of their rounds, then symbols. The origin is the last row that a forecast may see."""

    store: BarStore
    lookback: int
    horizon: int
    numbers: Ints
    """(W,) the symbols, as numbers of the store."""
    rows: Ints
    """(W,) the absolute row of each origin."""
    rounds: Ints
    """(W,) counts from 0: origins of one round lie at the same time, up to one interval of the bars."""
    apart: int
    """Bars between two neighbouring rounds, the least there is."""

    def __len__(self) -> int:
        return len(self.rows)

    def symbol(self, window: int) -> str:
        """Whose window it is."""
        return self.store.symbols[self.numbers[window]]

    def bars(self, window: int) -> tuple[Bars, Bars]:
        """The lookback rows up to the origin, and the horizon rows that came true after it."""
        number, row = int(self.numbers[window]), int(self.rows[window])
        return (
            self._cut(number, row + 1 - self.lookback, row + 1),
            self._cut(number, row + 1, row + 1 + self.horizon),
        )

    def targets(self) -> Ints:
        """(W,) ns: the time of the first bar that each window forecasts."""
        found: Ints = np.asarray(self.store.timestamps)[self.rows + 1]
        return found

    def period(self) -> tuple[int, int]:
        """The first and the last moment of all windows, history and future, ns."""
        times = np.asarray(self.store.timestamps)
        return int(times[self.rows - self.lookback + 1].min()), int(times[self.rows + self.horizon].max())

    def seeds(self, seed: int, windows: Ints) -> list[int]:
        """A seed for each of the windows: the same for all contenders, whatever chunk a window is in."""
        times = np.asarray(self.store.timestamps)[self.rows[windows]]
        names = (zlib.crc32(self.symbol(window).encode()) for window in windows)
        # Entropy is not negative, moments before 1970 are.
        pairs = zip(names, times.astype(np.uint64), strict=True)
        return [int(np.random.SeedSequence([seed, name, int(time)]).generate_state(1)[0]) for name, time in pairs]

    def digest(self) -> str:
        """Of the windows, and of all bars up to the last of theirs, which contenders and calibrations are fitted on. Bars
        that come later do not change it."""
        store, end, seen = self.store, self.period()[1], hashlib.sha256()
        times, spans = np.asarray(store.timestamps), map(store.span, range(len(store)))
        for name, zone, (lo, hi) in zip(store.symbols, store.zones, spans, strict=True):
            hi = lo + int(np.searchsorted(times[lo:hi], end, side="right"))
            seen.update(f"{name}\0{zone}\0{hi - lo}\0".encode())
            for begin in range(lo, hi, _PIECE):
                for part in (times, store.values):
                    seen.update(np.ascontiguousarray(part[begin : min(hi, begin + _PIECE)]).data)
        for part in (self.numbers, self.rows - store.offsets[self.numbers]):
            seen.update(np.ascontiguousarray(part, np.int64).data)
        return seen.hexdigest()[:16]

    def take(self, chosen: NDArray[np.bool_]) -> Self:
        """The chosen windows."""
        return replace(self, numbers=self.numbers[chosen], rows=self.rows[chosen], rounds=self.rounds[chosen])

    def at_most(self, limit: int) -> Self:
        """The windows of so many rounds, evenly spaced; rounds are counted anew."""
        every = np.unique(self.rounds)
        if len(every) <= limit:
            return self
        kept = every[np.unique(np.linspace(0, len(every) - 1, limit).round().astype(int))]
        chosen, nearest = self.take(np.isin(self.rounds, kept)), int(np.diff(kept).min(initial=len(every)))
        return replace(chosen.counted(), apart=self.apart * nearest)

    def counted(self) -> Self:
        """The same windows, their rounds numbered without gaps."""
        return replace(self, rounds=np.unique(self.rounds, return_inverse=True)[1].astype(np.int64))

    def followed_by(self, later: Origins) -> Self:
        """These windows and later ones of the same store, whose rounds are counted on."""
        rows, numbers = np.append(self.rows, later.rows), np.append(self.numbers, later.numbers)
        rounds = np.append(self.rounds, later.rounds + int(self.rounds.max(initial=-1)) + 1)
        return replace(self, rows=rows, numbers=numbers, rounds=rounds, apart=min(self.apart, later.apart))

    def _cut(self, number: int, lo: int, hi: int) -> Bars:
        values = np.asarray(self.store.values[lo:hi], np.float64)
        return Bars(self.store.symbols[number], self.store.index(number, lo, hi), values)


def find_origins(
    store: BarStore,
    lookback: int,
    horizon: int,
    *,
    stride: int,
    limit: int | None = None,
    start: str | None = None,
    end: str | None = None,
    ranges: Ints | None = None,
) -> Origins:
    """All windows of lookback + horizon rows within a segment of the store whose forecast bars lie in the period.

    Time is cut into slots of one bar, common to all symbols. Every `stride`-th slot of those in which any symbol
    could be forecast begins a round, the first one at the beginning of the period; a symbol without a bar in the slot
    (a holiday, a late listing) is not in that round. So symbols are forecast at the same moments and ranks across
    them mean something.

    Args:
        stride: slots between two rounds, >= 1.
        limit: at most so many rounds, evenly spaced; None: all.
        start, end: days (whole) or times, in the clock of each symbol; None: no limit.
        ranges: (S, 2) absolute rows [lo, hi) of each symbol that may be forecast, as of `splits.split_ranges`.

    Raises:
        DataError: no window at all; says what there is.
    """
    numbers, rows = _candidates(store, lookback, horizon, start, end)
    if ranges is not None:
        inside = (rows + 1 >= ranges[numbers, 0]) & (rows + horizon < ranges[numbers, 1])
        numbers, rows = numbers[inside], rows[inside]
    if not len(rows):
        raise DataError(_nothing(store, lookback, horizon, start, end))
    slots = np.asarray(store.timestamps)[rows] // store.interval.value
    every = np.unique(slots)
    kept = every[::stride]
    chosen = np.isin(slots, kept)
    numbers, rows, slots = numbers[chosen], rows[chosen], slots[chosen]
    # Two bars of a symbol in one slot: the later one is the origin.
    last = np.append((numbers[1:] != numbers[:-1]) | (slots[1:] != slots[:-1]), True)
    numbers, rows, slots = numbers[last], rows[last], slots[last]
    rounds = np.searchsorted(kept, slots)
    order = np.lexsort((numbers, rounds))
    apart = stride if len(kept) > 1 else len(every)
    found = Origins(store, lookback, horizon, numbers[order], rows[order], rounds[order].astype(np.int64), apart)
    return found if limit is None else found.at_most(limit)


def ranges_between(store: BarStore, begin: int | None, end: int) -> Ints:
    """(S, 2) rows [lo, hi) of each symbol's bars in [begin, end), ns; None: from its first bar on."""
    times, found = np.asarray(store.timestamps), []
    for lo, hi in map(store.span, range(len(store))):
        first = 0 if begin is None else np.searchsorted(times[lo:hi], begin)
        found.append((lo + first, lo + np.searchsorted(times[lo:hi], end)))
    return np.array(found, np.int64)


def _candidates(store: BarStore, lookback: int, horizon: int, start: str | None, end: str | None) -> tuple[Ints, Ints]:
    """Symbol number and absolute row of every possible origin, in the order of the store."""
    times = np.asarray(store.timestamps)
    numbers, rows = [], []
    limits: dict[str | None, tuple[int | None, int | None]] = {}
    for owner, (lo, hi) in zip(store.owners, store.segments, strict=True):
        zone = store.zones[owner]
        if zone not in limits:
            limits[zone] = tick_of(start, zone), tick_of(end, zone, end=True)
        first, last = limits[zone]
        # The first target is the row after the origin, the last one `horizon` rows after it.
        a, b = lo + lookback - 1, hi - horizon
        if first is not None:
            a = max(a, lo + int(np.searchsorted(times[lo:hi], first)) - 1)
        if last is not None:
            b = min(b, lo + int(np.searchsorted(times[lo:hi], last, side="right")) - horizon)
        found = np.arange(a, max(a, b), dtype=np.int64)
        rows.append(found)
        numbers.append(np.full(len(found), owner, np.int64))
    return np.concatenate(numbers), np.concatenate(rows)


def _nothing(store: BarStore, lookback: int, horizon: int, start: str | None, end: str | None) -> str:
    lengths = store.segments[:, 1] - store.segments[:, 0]
    period = f" from {start or 'the first bar'} to {end or 'the last bar'}" if start or end else ""
    times = np.asarray(store.timestamps)
    span = f"{pd.Timestamp(int(times.min()))} to {pd.Timestamp(int(times.max()))}"
    return (
        f"no window to forecast{period}: one needs {lookback} bars of lookback before it and {horizon} bars of horizon in "
        f"it, unbroken. The data reach from {span}; the longest stretch has {int(lengths.max(initial=0))} bars. Lower "
        "lookback or horizon, or give a wider period."
    )
