"""One series from several pieces: files of one symbol, joined where they follow one another, and rows out of order.

What is put together has to be one series: `strangers` says where prices tell that it is not.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pandas as pd

from chandler.data.bars import Bars, join_segments
from chandler.data.notes import Note, merged
from chandler.errors import DataError

_ARCHIVE = re.compile(r"(?P<symbol>[A-Z0-9_]{3,})-\d+(s|m|h|d|w|mo)-\d{4}-\d{2}(-\d{2})?")
"""How crypto exchanges name the pieces of their archives."""


_CALENDAR_WORDS = frozenset((
    "jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", "january", "february", "march",
    "april", "june", "july", "august", "september", "october", "november", "december", "part", "q", "h", "csv", "data",
    "history", "hist", "bars", "train", "test", "val", "old", "new", "first", "second",
))  # fmt: skip
"""Words in names of files that tell pieces of a series apart, and no series."""


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
        _refuse_other_names(found)
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


def archive_symbol(stem: str) -> str:
    """`BTCUSDT` of a piece of an exchange archive, `BTCUSDT-1m-2024-01`; empty for other names."""
    piece = _ARCHIVE.fullmatch(stem)
    return piece["symbol"] if piece else ""


def _archive(one: Bars, symbol: str) -> bool:
    return archive_symbol(one.source.rsplit("/", 1)[-1].split(".")[0]) == symbol


def _refuse_other_names(found: Sequence[Bars]) -> None:
    """Refuse files called after different things whose symbol, a number or a word, is the same in all of them.

    `BTC_2023` and `BTC_2024` differ in digits alone, `AAPL_part1` names its symbol: those are pieces of one.
    """
    symbol, stems = found[0].symbol, [one.source.rpartition("/")[2].partition(".")[0] for one in found]
    if not all(stems) or any(symbol.casefold() in stem.casefold() for stem in stems):
        return
    words = {tuple(re.findall(r"[^\W\d_]+", stem.casefold())) for stem in stems}
    distinct = {frozenset(one) - _CALENDAR_WORDS for one in words}
    if (
        len(distinct) > 1
        and all(distinct)
        and not any(one <= two for one in distinct for two in distinct if one != two)
    ):
        raise DataError(
            f"{symbol}: {found[0].source} and {found[1].source} have this symbol in every row, and are called after "
            "different things. Where the file names are the symbols, pass columns={'symbol': ''}; where these are pieces of "
            "one series, put its symbol into their names."
        )


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
        if symbol.casefold() not in f"{one.source} {after.source}".casefold():
            _refuse_jump(one, after)
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


def _refuse_jump(one: Bars, after: Bars) -> None:
    """Refuse two pieces whose names do not say that they are of one symbol, where the prices say that they are not."""
    times = np.concatenate([one.timestamps.asi8, after.timestamps.asi8])
    prices = np.concatenate([one.values[:, 3], after.values[:, 3]])
    if len(strangers(times, prices, np.repeat([0, 1], [len(one), len(after)]))):
        raise DataError(
            f"{one.symbol}: prices go from {one.values[-1, 3]:g} at the end of {one.source} to {after.values[0, 3]:g} at the "
            f"beginning of {after.source}, as from one series to another. Where the file names are the symbols, pass "
            "columns={'symbol': ''}; where these are pieces of one series, put its symbol into their names."
        )
