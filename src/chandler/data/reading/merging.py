"""One series from several pieces: files of one symbol, joined where they follow one another, and rows out of order.

What is put together has to be one series: `strangers` says where prices tell that it is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import pandas as pd

from chandler.data.bars import Bars, join_segments
from chandler.data.columns import match_columns
from chandler.data.notes import Note, merged
from chandler.data.reading.discovery import Source
from chandler.errors import DataError

_ARCHIVE = re.compile(r"(?P<symbol>[A-Z0-9_]{3,})-\d+(s|m|h|d|w|mo)-\d{4}-\d{2}(-\d{2})?")
"""How crypto exchanges name the pieces of their archives."""


_CALENDAR_WORDS = frozenset((
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "january", "february", "march",
    "april", "june", "july", "august", "september", "october", "november", "december", "part", "q", "h", "csv", "data",
    "history", "hist", "bars", "train", "test", "val", "old", "new", "first", "second",
))  # fmt: skip
"""Words in names of files that tell pieces of a series apart, and no series."""
_OF_NAMES = (
    "Where the file names are the symbols, pass columns={'symbol': ''}; where these are pieces of one series, put its symbol "
    "into their names."
)
_OF_FOLDERS = (
    "Where the folders are the symbols, name the files after them, or the folders as in symbol=AAPL; where these are pieces of "
    "one series, put them into one file."
)


_STRANGE = 2.0
"""How many times the changes inside the pieces many changes between them must be, to be steps to another series; a single
one is measured by the largest of all, and need not be so much larger."""


def strangers(times: np.ndarray, prices: np.ndarray, pieces: np.ndarray) -> np.ndarray:
    """Where rows in time order, (N,) each, step to another piece whose prices are those of another series.

    Returns:
        The rows behind these steps; none where prices change there as they do inside the pieces. A change may be
        larger by the root of the time that it took; few steps are measured by the largest changes inside, many by
        the usual ones.
    """
    logs, order = np.log(prices), np.argsort(pieces, kind="stable")
    inside = np.flatnonzero((np.diff(pieces[order]) == 0) & (np.diff(times[order]) > 0))
    steps = np.flatnonzero((np.diff(pieces) != 0) & (np.diff(times) > 0))
    if not len(steps) or len(inside) < 8:
        return steps[:0]
    own, usual = np.abs(np.diff(logs[order])[inside]), np.median(np.diff(times[order])[inside])
    own /= np.sqrt(np.maximum(1, np.diff(times[order])[inside] / usual))
    across = np.abs(np.diff(logs)[steps]) / np.sqrt(np.maximum(1, np.diff(times)[steps] / usual))
    few = len(steps) ** -0.5
    limit = max(float(np.quantile(own, 0.5 + 0.5 * few)), float(own.mean()))
    if 2 * len(steps) > len(logs) > 20:  # every other row may be the other series, whatever the pieces are
        alternate = np.abs(logs[2:] - logs[:-2])
        limit = min(limit, max(float(np.median(alternate)), float(alternate.mean())))
    return steps + 1 if np.median(across) > max((_STRANGE - 0.75 * few) * limit, 1e-3) else steps[:0]


def merge_files(bars: Sequence[Bars], join: bool, problems: list[str] | None = None) -> list[Bars]:
    """The bars with every symbol once, in the order in which symbols first come.

    `join` joins pieces whose times do not overlap; pieces of exchange archives are joined in any case. Raises
    DataError for other symbols that come twice; with a list of `problems`, its message goes there and the first
    piece stays.
    """
    pieces: dict[str, list[Bars]] = {}
    for one in bars:
        pieces.setdefault(one.symbol, []).append(one)
    settled = []
    twice: list[str] = []
    for symbol, found in pieces.items():
        if len(found) == 1:
            settled.append(found[0])
            continue
        for one, after in pairwise(sorted(found, key=lambda one: one.timestamps.asi8[0])):
            _refuse_other_names(symbol, one.source, after.source)
        if join or all(_archive(one, symbol) for one in found):
            settled.append(_joined(found))
            continue
        places = [one.source or "a frame" for one in found[:2]]
        more = f" and {len(found) - 2:,} more" if len(found) > 2 else ""
        twice.append(f"{symbol}: the symbol comes twice, from {places[0]} and from {places[1]}{more}.")
        settled.append(found[0])
    remedy = "Leave one out, give them different symbols, or pass join=True if they follow one another."
    if twice and problems is None:
        if len(twice) == 1:
            raise DataError(f"{twice[0]} {remedy}")
        shown = "\n".join(f"- {one}" for one in twice[:20])
        raise DataError(f"{len(twice):,} symbols come twice:\n{shown}\n{remedy}")
    if problems is not None:
        problems += [f"{one} The first is used." for one in twice]
    return settled


def symbol_of(source: Source) -> str:
    """The symbol of a file whose rows name none: of a folder `symbol=AAPL`, of a piece of an archive, or the file's name."""
    for folder in reversed(source.path.parent.parts + Path(source.member).parent.parts):
        role, named, symbol = folder.partition("=")
        if named and symbol and "symbol" in match_columns([role]):
            return unquote(symbol)
    return archive_symbol(source.stem) or source.stem


def archive_symbol(stem: str) -> str:
    """`BTCUSDT` of a piece of an exchange archive, `BTCUSDT-1m-2024-01`; empty for other names."""
    piece = _ARCHIVE.fullmatch(stem)
    return piece["symbol"] if piece else ""


def _archive(one: Bars, symbol: str) -> bool:
    return archive_symbol(one.source.rsplit("/", 1)[-1].split(".")[0]) == symbol


class Piece(NamedTuple):
    """The bars of a symbol that one source has."""

    source: str
    times: np.ndarray
    """(N,) ns, increasing."""
    closes: np.ndarray
    """(N,)"""


def refuse_strangers(symbol: str, one: Piece, after: Piece) -> None:
    """Refuse a piece that follows another in time, where names or prices say that they are of different series."""
    _refuse_other_names(symbol, one.source, after.source)
    stems = {_stem(one.source), _stem(after.source)}
    if stems != {symbol} and symbol.casefold() in f"{one.source} {after.source}".casefold():
        return
    times, closes = np.append(one.times, after.times), np.append(one.closes, after.closes)
    if len(strangers(times, closes, np.repeat([0, 1], [len(one.times), len(after.times)]))):
        raise DataError(
            f"{symbol}: prices go from {one.closes[-1]:g} at the end of {one.source} to {after.closes[0]:g} at the "
            f"beginning of {after.source}, as from one series to another. {_OF_FOLDERS if stems == {symbol} else _OF_NAMES}"
        )


def _refuse_other_names(symbol: str, one: str, other: str) -> None:
    """Refuse files called after different things whose symbol, a number or a word, is the same in both.

    `BTC_2023` and `BTC_2024` differ in digits alone, `AAPL_part1` names its symbol: those are pieces of one. Of `AAPL/data`
    and `MSFT/data`, whose symbol is the name of the file, the folders tell.
    """
    stems = [_stem(one), _stem(other)]
    by_folder = stems == [symbol, symbol] and not symbol.isdigit() and not _words(symbol)
    if not all(stems) or (not by_folder and any(symbol.casefold() in stem.casefold() for stem in stems)):
        return
    first, second = (_words(one.rpartition("/")[0].rpartition("/")[2] if by_folder else stem)
                     for one, stem in zip((one, other), stems, strict=True))  # fmt: skip
    if first and second and not (first <= second or second <= first):
        called = "are in folders" if by_folder else "have this symbol in every row, and are"
        raise DataError(
            f"{symbol}: {one} and {other} {called} called after different things. {_OF_FOLDERS if by_folder else _OF_NAMES}"
        )


def _stem(source: str) -> str:
    return source.rpartition("/")[2].partition(".")[0]


def _words(name: str) -> frozenset[str]:
    """The words of a name that could be what it is called after."""
    return frozenset(re.findall(r"[^\W\d_]+", name.casefold())) - _CALENDAR_WORDS


def _joined(found: list[Bars]) -> Bars:
    symbol = found[0].symbol
    zones = {str(one.timestamps.tz or "none") for one in found}
    if len(zones) > 1:
        raise DataError(
            f"{symbol}: its files have times in different zones ({', '.join(sorted(zones))}), such as "
            f"{found[0].source} and {found[1].source}. Pass timezone={min(zones - {'none'})!r} to put them into one."
        )
    found = sorted(found, key=lambda one: one.timestamps[0])
    for one, after in pairwise(found):
        if after.timestamps[0] <= one.timestamps[-1]:
            raise DataError(
                f"{symbol}: {one.source} goes to {one.timestamps[-1]}, but {after.source} begins at "
                f"{after.timestamps[0]}. Files of one symbol must not overlap: leave one out."
            )
        refuse_strangers(symbol, *(Piece(a.source, a.timestamps.asi8, a.values[:, 3]) for a in (one, after)))
    index = pd.DatetimeIndex(found[0].timestamps.append([one.timestamps for one in found[1:]]))
    segments = None
    if any(one.segments is not None for one in found):
        segments = join_segments((one.segments, len(one)) for one in found)
    joined = Note(f"joined {len(found):,} files, from {found[0].source} to {found[-1].source}")
    return replace(
        found[0],
        timestamps=index,
        values=np.concatenate([one.values for one in found]),
        notes=(*merged(note for one in found for note in one.notes), joined),
        segments=segments,
    )
