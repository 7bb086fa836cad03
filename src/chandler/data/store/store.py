"""All symbols' bars in a few flat arrays, in memory or mapped from a folder."""

from __future__ import annotations

import difflib
import json
import mmap
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandler.atomic import atomic_folder
from chandler.data.bars import Bars, join_segments, to_polars
from chandler.data.calendars import from_ticks, infer_interval, time_features, zone_name
from chandler.data.columns import FEATURES
from chandler.data.notes import Note
from chandler.data.store.concatenated import ConcatenatedArray
from chandler.data.store.writer import ARRAYS, LAYOUT, MANIFEST, prepared_fields
from chandler.errors import ConfigError, DataError
from chandler.places import Layout
from chandler.text import count, shortened

META = "store.json"
VERSION = 1
_ARRAYS = ("values", "timestamps", "stamps", "offsets")
SEGMENTS = "segments"  # a store without this file has one segment a symbol


STORE = Layout(
    "a bar store",
    (META, MANIFEST, ".lock", *(f"{name}.npy" for name in (*_ARRAYS, SEGMENTS)), *(f"{name}.bin" for name in ARRAYS)),
    {META: "features"},
)
"""What the folder of a store holds, saved whole or grown by `prepare`."""


def require_new(folder: Path, but: str, layout: Layout | None = None) -> None:
    """Refuse a folder that cannot be made as a whole: there is something in it other than what `layout` says.

    Raises:
        DataError: what else is there (`but` says what it is not), or the working folder.
    """
    if not os.path.lexists(folder):
        return
    there = folder.is_dir() and any(folder.iterdir())
    if not folder.is_dir() or (there and not (layout and layout.is_at(folder))):
        raise DataError(f"{folder}: exists and {but}. Choose another folder, or remove it first.")
    if there and layout is not None:
        try:
            layout.require_free(folder, f"more than {layout.kind}")
        except ConfigError as error:
            raise DataError(str(error)) from None
    if folder.resolve() == Path.cwd():
        raise DataError(f"{folder}: this is the working folder, which cannot be replaced. Call from outside of it.")


def no_such_symbol(symbol: str, known: Sequence[str]) -> DataError:
    """The error for a symbol that is not there, which names the nearest ones that are."""
    near = difflib.get_close_matches(str(symbol), known, n=3, cutoff=0.5) or known[:5]
    return DataError(f"{symbol}: no such symbol among {len(known)}; there are, for example, {', '.join(near)}.")


@dataclass(frozen=True, eq=False)
class BarStore:
    """Bars of S symbols one after another: rows [offsets[s], offsets[s + 1]) belong to symbols[s].

    `values` (N, 6) float32 in the order of FEATURES; `timestamps` (N,) int64, ns since 1970 UTC, where naive
    wall clock is taken as UTC; `stamps` (N, 5) uint8, time features of the local wall clock; `offsets`
    (S + 1,) int64; `zones[s]` None for naive times. `segments` (G, 2) int64: the rows [lo, hi) that windows may
    use and never cross, increasing, disjoint, each inside one symbol; by default every symbol is one. Rows
    outside of all segments are kept but not trained on. Treat the arrays as read-only.
    """

    values: np.ndarray
    timestamps: np.ndarray
    stamps: np.ndarray
    offsets: np.ndarray
    symbols: tuple[str, ...]
    zones: tuple[str | None, ...]
    notes: Mapping[str, tuple[Note, ...]]
    sources: Mapping[str, str]
    segments: np.ndarray = field(default_factory=lambda: np.full((1, 2), -1))
    skipped: tuple[str, ...] = ()
    """A message for each source that skip_bad left out, for symbols without rows, and for files that nothing here reads."""
    _positions: dict[str, int] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_positions", {symbol: number for number, symbol in enumerate(self.symbols)})
        assert len(self.offsets) == len(self.symbols) + 1 == len(self.zones) + 1
        assert len(self.values) == len(self.timestamps) == len(self.stamps) == self.offsets[-1]
        if self.segments.tolist() == [[-1, -1]]:  # not given
            object.__setattr__(self, "segments", _whole(self.offsets))
        _check_segments(self.segments, self.offsets)

    @classmethod
    def from_bars(cls, bars: Sequence[Bars]) -> BarStore:
        """A store of the bars in the order given. DataError for none, and for a symbol that comes twice."""
        if not bars:
            raise DataError("no bars to store: give at least one symbol.")
        seen: dict[str, Bars] = {}
        for one in bars:
            if one.symbol in seen:
                places = [other.source or "a frame" for other in (seen[one.symbol], one)]
                raise DataError(
                    f"{one.symbol}: the symbol comes twice, from {places[0]} and from {places[1]}. "
                    "Leave one out, or give them different symbols."
                )
            seen[one.symbol] = one
        offsets = np.concatenate([[0], np.cumsum([len(one) for one in bars])]).astype(np.int64)
        segments = [join_segments([(one.segments, len(one))]) for one in bars]
        rows = int(offsets[-1])
        values, timestamps = np.empty((rows, len(FEATURES)), np.float32), np.empty(rows, np.int64)
        stamps = np.empty((rows, 5), np.uint8)
        for one, lo, hi in zip(bars, offsets[:-1], offsets[1:], strict=True):
            values[lo:hi] = one.values
            timestamps[lo:hi] = one.timestamps.as_unit("ns").asi8
            time_features(one.timestamps, stamps[lo:hi])
        return cls(
            values=values,
            timestamps=timestamps,
            stamps=stamps,
            offsets=offsets,
            segments=np.concatenate([part + lo for part, lo in zip(segments, offsets, strict=False)]),
            symbols=tuple(seen),
            zones=tuple(zone_name(one.timestamps.tz) for one in bars),
            notes={one.symbol: one.notes for one in bars},
            sources={one.symbol: one.source for one in bars},
        )

    def __len__(self) -> int:
        """How many symbols; `rows` counts rows."""
        return len(self.symbols)

    def __repr__(self) -> str:
        spans = _whole(self.offsets)
        what = f"{count(len(self), 'symbol')}: {shortened(self.symbols, 5)}; {self.rows:,} rows"
        if not len(spans):
            return f"BarStore({what})"
        first, last = self.timestamps[spans[:, 0]].min(), self.timestamps[spans[:, 1] - 1].max()
        span = " to ".join(str(pd.Timestamp(int(moment))).removesuffix(" 00:00:00") for moment in (first, last))
        return f"BarStore({what}, {span})"

    def __contains__(self, symbol: object) -> bool:
        return symbol in self._positions

    def keys(self) -> tuple[str, ...]:
        """The symbols, so that `dict(store)` is symbol -> bars. (`values` are the arrays, iterating gives the bars.)"""
        return self.symbols

    def items(self) -> Iterator[tuple[str, Bars]]:
        """Symbol and bars, in order."""
        return ((symbol, self[symbol]) for symbol in self.symbols)

    def __iter__(self) -> Iterator[Bars]:
        return (self[symbol] for symbol in self.symbols)

    def __getitem__(self, symbol: str) -> Bars:
        """One symbol's bars, copied, values as float64. DataError for an unknown symbol."""
        number = self.number(symbol)
        lo, hi = self.span(number)
        own = self.segments_of(number)
        return Bars(
            symbol,
            self.index(number, lo, hi),
            np.asarray(self.values[lo:hi], np.float64),
            self.sources.get(symbol, ""),
            self.notes.get(symbol, ()),
            None if own.tolist() == [[0, hi - lo]] else own,
        )

    @property
    def rows(self) -> int:
        """Rows of all symbols together, N."""
        return int(self.offsets[-1])

    def number(self, symbol: str) -> int:
        """The position of a symbol; DataError that names the nearest ones where there is none."""
        if symbol not in self._positions:
            raise no_such_symbol(symbol, self.symbols)
        return self._positions[symbol]

    def span(self, number: int) -> tuple[int, int]:
        """The absolute rows [lo, hi) of symbol `number`."""
        return int(self.offsets[number]), int(self.offsets[number + 1])

    def index(self, number: int, lo: int, hi: int) -> pd.DatetimeIndex:
        """Timestamps of absolute rows [lo, hi) of symbol `number`, in its zone."""
        return from_ticks(np.array(self.timestamps[lo:hi]), self.zones[number])

    @property
    def interval(self) -> pd.Timedelta:
        """The shortest of the symbols' most common spacings, by their first 20,000 rows. DataError where none has two."""
        spans = enumerate(map(self.span, range(len(self))))
        found = [
            infer_interval(self.index(number, lo, min(hi, lo + 20_000))) for number, (lo, hi) in spans if hi - lo > 1
        ]
        if not found:
            raise DataError("no symbol has two bars: nothing tells their interval. Give more rows.")
        return min(found)

    def to_frame(self) -> pd.DataFrame:
        """All rows as a long frame: `symbol`, `timestamp`, then the six FEATURES; in memory, so for small stores.

        Times are naive where no symbol has a zone, in the zone where all have the same, else in UTC.
        """
        mixed = len(set(self.zones)) > 1
        frames = []
        for bars in self:
            frame = bars.to_frame().reset_index()
            if mixed:  # naive times are kept as if they were UTC
                frame["timestamp"] = pd.to_datetime(frame["timestamp"], utc=True)
            frame.insert(0, "symbol", bars.symbol)
            frames.append(frame)
        return pd.concat(frames, ignore_index=True)

    def to_polars(self) -> Any:
        """`to_frame` as a polars frame; see `Bars.to_polars`."""
        return to_polars(self.to_frame())

    def with_segments(self, segments: np.ndarray) -> BarStore:
        """The same rows, not copied, with other segments (G, 2)."""
        return replace(self, segments=np.asarray(segments, np.int64).reshape(-1, 2))

    def segments_of(self, number: int) -> np.ndarray:
        """The segments (G, 2) of symbol `number`, counted from its first row."""
        span = self.span(number)
        own: np.ndarray = self.segments[slice(*np.searchsorted(self.segments[:, 0], span))] - span[0]
        return own

    @property
    def owners(self) -> np.ndarray:
        """(G,) int64: the number of the symbol that each segment belongs to."""
        owners: np.ndarray = np.searchsorted(self.offsets, self.segments[:, 0], side="right") - 1
        return owners

    def select(self, symbols: Sequence[str]) -> BarStore:
        """A store of these symbols only, in this order. DataError for an unknown one."""
        return replace(BarStore.from_bars([self[symbol] for symbol in dict.fromkeys(symbols)]), skipped=self.skipped)

    def _bases(self) -> list[np.ndarray]:
        """The arrays of rows as they lie in memory or on disk."""
        arrays: tuple[Any, ...] = (self.values, self.stamps, self.timestamps)
        return [array.base if isinstance(array, ConcatenatedArray) else array for array in arrays]

    def release(self) -> None:
        """Hand the pages of a mapped store back to the system: resident memory falls, nothing is lost."""
        for base in self._bases():
            mapped = getattr(base, "_mmap", None)
            if mapped is not None and hasattr(mapped, "madvise"):
                mapped.madvise(mmap.MADV_DONTNEED)

    def save(self, folder: str | Path) -> Path:
        """Write the store into `folder`, all or nothing; a store that is there is replaced.

        Raises DataError where something else is there or in it, where these bars are read from, and for the working
        folder, which cannot be replaced.
        """
        folder = Path(folder)
        require_new(folder, "is no bar store", STORE)
        files = [Path(name) for base in self._bases() if (name := getattr(base, "filename", None))]
        if any(folder.resolve() in file.resolve().parents for file in files):
            raise DataError(f"{folder}: these bars are read from there. Save them into another folder.")
        with atomic_folder(folder) as scratch:
            for name in (*_ARRAYS, SEGMENTS):
                np.save(scratch / f"{name}.npy", getattr(self, name))
            meta = {
                "version": VERSION,
                "features": list(FEATURES),
                "symbols": list(self.symbols),
                "zones": list(self.zones),
                "notes": {symbol: [note.to_dict() for note in notes] for symbol, notes in self.notes.items()},
                "sources": dict(self.sources),
            }
            (scratch / META).write_text(json.dumps(meta, ensure_ascii=False, indent=1), encoding="utf-8")
        return folder

    @classmethod
    def open(cls, folder: str | Path) -> BarStore:
        """A saved store, its arrays mapped from disk and read as they are used. DataError if it is none."""
        folder = Path(folder)
        if not (folder / META).is_file():
            raise DataError(f"{folder}: no bar store here ({META} is missing). Save one with store.save(folder).")
        try:
            meta = json.loads((folder / META).read_text(encoding="utf-8"))
            if meta.get("layout") == LAYOUT and meta.get("version") == VERSION:  # as `prepare` writes it
                return cls(**prepared_fields(folder, meta))
            arrays = {name: np.load(folder / f"{name}.npy", mmap_mode="r") for name in _ARRAYS}
            arrays["offsets"] = np.array(arrays["offsets"])
            lengths = {len(arrays[name]) for name in ("values", "timestamps", "stamps")}
            if lengths != {int(arrays["offsets"][-1])}:
                raise ValueError(f"its arrays have {sorted(lengths)} rows")
            cut = folder / f"{SEGMENTS}.npy"
            arrays[SEGMENTS] = np.load(cut) if cut.is_file() else _whole(arrays["offsets"])
            _check_segments(arrays[SEGMENTS], arrays["offsets"])
        except (OSError, ValueError, EOFError) as error:
            raise DataError(f"{folder}: the bar store is damaged: {error}. Make it again from the data.") from None
        if meta.get("version") != VERSION or meta.get("features") != list(FEATURES):
            raise DataError(
                f"{folder}: the bar store has version {meta.get('version')}; this chandler reads "
                f"version {VERSION}. Make it again from the data."
            )
        return cls(
            **arrays,
            symbols=tuple(meta["symbols"]),
            zones=tuple(meta["zones"]),
            notes={symbol: tuple(map(Note.restored, notes)) for symbol, notes in meta["notes"].items()},
            sources=meta["sources"],
        )


def _whole(offsets: np.ndarray) -> np.ndarray:
    """One segment for every symbol that has rows."""
    whole = np.stack([offsets[:-1], offsets[1:]], axis=1).astype(np.int64)
    return whole[whole[:, 1] > whole[:, 0]]


def _check_segments(segments: np.ndarray, offsets: np.ndarray) -> None:
    """ValueError unless (G, 2), not empty, increasing, disjoint and inside symbols."""
    if segments.ndim != 2 or segments.shape[1] != 2:
        raise ValueError(f"segments must be (G, 2), but are {segments.shape}")
    lo, hi = segments[:, 0], segments[:, 1]
    owners = np.searchsorted(offsets, lo, side="right")
    inside = (lo >= 0) & (owners < len(offsets)) & (hi <= offsets[np.minimum(owners, len(offsets) - 1)])
    if not (inside.all() and (lo < hi).all() and (lo[1:] >= hi[:-1]).all()):
        raise ValueError("segments must be increasing, disjoint, not empty, and each inside one symbol")
