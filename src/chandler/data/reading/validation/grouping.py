"""From rows to the bars of each symbol: one sort that groups symbols and orders time, and refuses rows that contradict one
another: one time with several values, times that step back, several series under one name.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from chandler.data.bars import Bars, cut_segments
from chandler.data.notes import Note
from chandler.data.reading.merging import strangers
from chandler.data.reading.validation.state import TableState
from chandler.text import count

_MIXED = 0.2
"""Share of rows that repeat a time with other prices, from which several series must be mixed under one name."""
_WORD = re.compile(r"(?=.*[A-Za-z\u4e00-\u9fff])[^\s,;]{1,40}")
"""A cell that could be the name of a series: no number, no sentence."""
_SEVERAL = "Several series in one file need a symbol column, columns={'symbol': ...}, or a file each."
_ALL = slice(None)


class _Series(NamedTuple):
    """The rows of a symbol in time order, those (M,) that stay; before which of them it is cut; what is told of that."""

    rows: Any
    cuts: np.ndarray
    told: str


class _Conflicts:
    """What sorting finds, of each of N rows."""

    def __init__(self, rows: int):
        self.back, self.repeated, self.mixed = np.zeros((3, rows), bool)
        """Whether it is earlier than the row before it; has the time of a later row, which stands for both; has the time of
        another and other prices, as do so many rows of its symbol that it must be several."""
        self.twin, self.former = np.full((2, rows), -1)
        """The row with the same time and other values, and the row before it, in time, that is of another series; or -1."""


def group_bars(state: TableState, values: np.ndarray, usable: np.ndarray) -> list[Bars]:
    """The bars of each symbol: its rows (N, 6) in time order, without those that cannot be used (N,), and equal ones once.

    Raises:
        DataError: rows of a symbol that contradict one another.
    """
    parts, conflicts = _by_symbol(state), _Conflicts(len(values))
    found = [_in_order(state, values, usable, own, conflicts) for own in parts]
    _refuse_conflicts(state, values, conflicts)
    state.note("dropped {rows} that came twice", kind="repeated", about=conflicts.repeated)
    bars = []
    for symbol, own, (rows, cuts, told) in zip(state.symbols, parts, found, strict=True):
        index, prices = (state.index, values) if rows is _ALL else (state.index[rows], values[rows])
        if len(index):
            notes = (*state.notes_of(own), *([Note(told)] if told else ()))
            bars.append(Bars(symbol, index, prices, state.table.source, notes, cut_segments(cuts, len(index))))
    return bars


def _by_symbol(state: TableState) -> list[Any]:
    """Which rows each symbol has, in their order: slices where that can be, for these copy nothing."""
    codes, symbols = state.codes, len(state.symbols)
    if symbols == 1:
        return [_ALL]
    new = np.flatnonzero(codes[1:] != codes[:-1]) + 1
    edges = [0, *new.tolist(), len(codes)]
    # One symbol after the other. As many runs as symbols do not say so: some symbols may have no rows left.
    if len(new) == symbols - 1 and len(set(firsts := codes[edges[:-1]].tolist())) == symbols:
        return [slice(*edges[at : at + 2]) for at in np.argsort(firsts)]
    # Stable, and by few bits: numpy then sorts by counting.
    order = np.argsort(codes.astype(np.min_scalar_type(symbols)), kind="stable")
    return np.split(order, np.cumsum(np.bincount(codes, minlength=symbols))[:-1])


def _in_order(state: TableState, values: np.ndarray, usable: np.ndarray, own: Any, conflicts: _Conflicts) -> _Series:
    """The rows of one symbol, `own`, sorted, and in `conflicts` what speaks against them."""
    ticks, cuts, told = state.index.asi8, np.empty(0, np.int64), ""
    times = ticks[own]
    if (times[1:] > times[:-1]).all() and usable[own].all():
        return _Series(own, cuts, told)
    rows = np.arange(len(ticks))[own]
    falls, rises = np.diff(times) < 0, np.diff(times) > 0
    # Which piece, each in time order, a row is of: it begins where time falls, or rises, whichever is rarer.
    piece = np.cumsum(np.append(0, falls if falls.sum() <= rises.sum() else rises))
    if falls.any():
        newest_first = not rises.any()
        told = f"rows were {'newest first' if newest_first else 'not in time order'}: sorted"
        conflicts.back[rows[1:][falls]] = not newest_first
    order = np.argsort(times, kind="stable")
    before = np.cumsum(~usable[rows[order]])[usable[rows[order]]]  # rows left out so far: a step marks a split
    order = order[usable[rows[order]]]
    rows, piece = rows[order], piece[order]
    again = np.append(ticks[rows[1:]] == ticks[rows[:-1]], np.zeros(len(rows[:1]), bool))
    conflicts.repeated[rows[again]] = True
    places = np.flatnonzero(again[:-1])
    places = places[(values[rows[places + 1]] != values[rows[places]]).any(axis=1)]
    other = rows[places + 1]
    conflicts.mixed[other] = len(other) > max(2, _MIXED * len(rows))
    conflicts.twin[other] = rows[places]
    rows, piece, before = rows[~again], piece[~again], before[~again]
    if falls.any() and len(steps := strangers(ticks[rows], values[rows, 3], piece)):
        conflicts.former[rows[steps]] = rows[steps - 1]
    if state.options.missing == "split":
        cuts = np.flatnonzero(np.diff(before)) + 1
    return _Series(rows, cuts, told)


def _refuse_conflicts(state: TableState, values: np.ndarray, found: _Conflicts) -> None:
    """Refuse what cannot be one series of bars (N, 6) for each symbol, the surest sign of several series first."""
    stepped = _stepped(state, found.back) if state.options.unsorted == "error" and found.back.any() else ""
    if found.mixed.any():  # most times come again with other prices
        what = f"{stepped}, to the same times" if stepped else "the same time again"
        state.refuse(found.mixed, f"{what} with other prices", _telling(state, found.mixed, found.twin) or _SEVERAL)
    if (found.twin >= 0).any():
        _refuse_twins(state, found.twin)
    if (strange := found.former >= 0).any():
        row = int(np.argmax(strange))
        what = f"{stepped or 'rows are not in time order'}, and sorted they are no one series: prices jump, as "
        what += f"from {values[found.former[row], 3]:g} to {values[row, 3]:g},"
        remedy = f"{_SEVERAL} Is it one series nevertheless, sort the file's rows."
        state.refuse(strange, what, _telling(state, strange, found.former) or remedy)
    if stepped:
        remedy = 'Sort the rows or pass unsorted="sort" (--sort); several series in one file need a symbol column.'
        state.refuse(found.back, stepped, remedy, rows=False)


def _stepped(state: TableState, back: np.ndarray) -> str:
    row = int(np.argmax(back))
    before = row - 1 - int(np.argmax(state.codes[:row][::-1] == state.codes[row]))
    return f"time steps back in {count(int(back.sum()), 'place')}, after {state.index[before]}"


def _refuse_twins(state: TableState, twin: np.ndarray) -> None:
    """Refuse rows that have the time of the row `twin` (N,), -1 for none, and say something else."""
    table, row = state.table, int(np.argmax(twin >= 0))
    one, two = (table.cells(place) for place in (int(twin[row]), row))
    shared = [name for name in one if name in two and one[name] != two[name]]
    first, second = (", ".join(f"{name} {cells[name]}" for name in shared[:6]) for cells in (one, two))
    told = f" ({table.at(int(twin[row]))}: {first}; {table.at(row)}: {second})" if shared else ""
    remedy = _telling(state, twin >= 0, twin) or (
        _clock_change(state.index[row])
        or "Nothing tells which of them is right: remove one of each, or name the symbol's column, "
        "columns={'symbol': ...}."
    )
    state.refuse(twin >= 0, f"the same time again with other values{told}", remedy)


def _telling(state: TableState, rows: np.ndarray, twin: np.ndarray) -> str:
    """The remedy that a column of words gives, which tells rows from their twins; empty without one."""
    table = state.table
    pairs = [(table.cells(int(twin[row])), table.cells(int(row))) for row in np.flatnonzero(rows)[:20]]
    taken = {table.named(role) for role in table.roles if role != "symbol"}
    for name in pairs[0][0]:
        cells = [(one.get(name, ""), two.get(name, "")) for one, two in pairs]
        words = all(a != b and _WORD.fullmatch(a) and _WORD.fullmatch(b) for a, b in cells)
        if name and name not in taken and words:
            one, two = cells[0]
            return (
                f"Column {name!r} tells them apart, as {one!r} and {two!r}: pick rows with "
                f"where={{{name!r}: {one!r}}}, or, where each is a series, columns={{'symbol': {name!r}}}."
            )
    return ""


def _clock_change(time: pd.Timestamp) -> str:
    """The remedy where local time came twice as clocks went back; empty on other days and where a zone is known."""
    if time.tz is not None or time.day_of_week != 6 or time.hour > 3:
        return ""
    zone = {11: "America/New_York", 10: "Europe/Berlin"}.get(time.month)
    if zone is None or (time.month == 11 and time.day > 7) or (time.month == 10 and time.day < 25):
        return ""
    return (
        f"On that day clocks go back and an hour comes twice: give the zone, timezone={zone!r} or that of the exchange."
    )
