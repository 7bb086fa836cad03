"""Qlib data folders, read and written without pyqlib: calendars, instrument lists, float32 feature files.

A feature file holds the calendar position of its first value, then one value per calendar entry, NaN where
there is none. Prices in it are adjusted (price x factor) and volumes the other way (volume / factor).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from chandler.atomic import atomic_folder
from chandler.data.bars import Adjust, Bars, cut_segments, moment_of, rows_between
from chandler.data.calendars import DAY, from_ticks, infer_interval
from chandler.data.columns import FEATURES, PRICES
from chandler.data.notes import Note
from chandler.data.store import BarStore, require_new
from chandler.errors import DataError
from chandler.text import listed

PREFIX = "qlib:"
_MONEY = ("amount", "money", "turnover_value")


def require_qlib(paths: Sequence[str], market: str, freq: str) -> None:
    """DataError where a market or frequency is asked of paths none of which is a qlib folder."""
    if (market != "all" or freq != "day") and not any(path.startswith(PREFIX) for path in paths):
        raise DataError(
            f"market and freq are of Qlib folders, and {paths[0]} is none: say {PREFIX}FOLDER, or leave them out."
        )


def read_qlib(
    folder: str | Path,
    *,
    market: str = "all",
    start: Any = None,
    end: Any = None,
    freq: str = "day",
    adjust: Adjust = "auto",
) -> list[Bars]:
    """The bars of every instrument of a market list, inside its membership, from `start` to `end` inclusive.

    Rows without four prices (suspensions) are left out, and no window crosses the place; nor does one cross
    the time outside of the market. adjust="none" divides the factor out of prices and volumes. Amount is the
    field amount or money if there is one, else volume x vwap, else volume x mean(open, high, low, close).

    Raises DataError for a folder that is none, for an unknown market or frequency, and for damaged files.
    """
    folder = Path(folder).expanduser()
    calendar = _calendar(folder, freq)
    spans = _instruments(folder, market)
    first, last = rows_between(calendar, start, end)
    bars, problems, absent = [], [], []
    for symbol, ranges in spans.items():
        place = folder / "features" / _file_name(symbol)
        if not place.is_dir():
            absent.append(symbol)
            continue
        try:
            one = _read_symbol(place, symbol, calendar, ranges, (first, last), freq, adjust)
        except DataError as error:
            problems.append(str(error))
            continue
        if one is not None:
            bars.append(one)
    if problems:
        shown = "\n".join(f"- {one}" for one in problems[:20])
        raise DataError(
            problems[0] if len(problems) == 1 else f"{len(problems):,} instruments cannot be used:\n{shown}"
        )
    if not bars:
        why = f"{len(absent)} of {len(spans)} have no folder in {folder / 'features'}" if absent else (
            f"the calendar goes from {calendar[0]} to {calendar[-1]}")  # fmt: skip
        raise DataError(f"{folder}: market {market!r} has no rows between start={start} and end={end}; {why}.")
    return bars


def _calendar(folder: Path, freq: str) -> pd.DatetimeIndex:
    if not (folder / "calendars").is_dir() or not (folder / "features").is_dir():
        raise DataError(
            f"{folder}: no qlib data folder: one has calendars/, instruments/ and features/. Check the path."
        )
    path = folder / "calendars" / f"{freq}.txt"
    if not path.is_file():
        there = sorted(one.stem for one in (folder / "calendars").glob("*.txt") if not one.stem.endswith("_future"))
        raise DataError(f"{path}: no calendar of that frequency. Pass freq=, one of: {', '.join(there) or 'none'}.")
    lines = [line.strip() for line in _text(path).split("\n") if line.strip()]
    try:
        index = pd.DatetimeIndex(pd.to_datetime(lines, format="ISO8601")).as_unit("ns")
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: not a calendar, one date a line: {str(error)[:120]}. Make it again.") from None
    if not len(index) or not index.is_monotonic_increasing or not index.is_unique:
        raise DataError(f"{path}: the dates are not increasing. Make the calendar again.")
    return index


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read: {error}. Check the file and its permissions.") from None


def _instruments(folder: Path, market: str) -> dict[str, list[tuple[pd.Timestamp, pd.Timestamp]]]:
    path = folder / "instruments" / f"{market.lower()}.txt"
    if not path.is_file():
        there = sorted(one.stem for one in (folder / "instruments").glob("*.txt"))
        raise DataError(f"{folder}: no market {market!r} in instruments/; there are {listed(there)}.")
    spans: dict[str, list[tuple[pd.Timestamp, pd.Timestamp]]] = {}
    for number, line in enumerate(_text(path).splitlines(), 1):
        if not line.strip():
            continue
        parts = line.split("\t") if "\t" in line else line.split()
        try:
            begin = moment_of(parts[1] if len(parts) > 1 else None) or pd.Timestamp.min
            finish = moment_of(parts[2] if len(parts) > 2 else None, last=True) or pd.Timestamp.max
        except DataError:
            raise DataError(
                f"{path}: line {number} is not 'symbol, start, end', separated by tabs: {line[:60]!r}. Correct it."
            ) from None
        spans.setdefault(parts[0].strip(), []).append((begin, finish))
    if not spans:
        raise DataError(f"{path}: the market lists no instrument.")
    return spans


def _file_name(symbol: str) -> str:
    """As qlib names folders: lower case, and a prefix for names that Windows reserves."""
    reserved = {"CON", "PRN", "AUX", "NUL", *(f"{port}{n}" for port in ("COM", "LPT") for n in range(10))}
    return (f"_qlib_{symbol}" if symbol.upper() in reserved else symbol).lower()


def _field(place: Path, name: str, freq: str, length: int) -> np.ndarray | None:
    """(length,) float64 along the calendar, NaN where the file has no value; None without a file."""
    path = place / f"{name}.{freq}.bin"
    if not path.is_file():
        return None
    try:
        raw = np.fromfile(path, dtype="<f4")
        size = path.stat().st_size
    except OSError as error:
        raise DataError(f"{path}: cannot be read: {error.strerror}. Check its permissions.") from None
    values = np.full(length, np.nan)
    if size == 0:
        return values
    if size % 4 or not np.isfinite(raw[0]) or raw[0] < 0 or raw[0] != int(raw[0]):
        raise DataError(f"{path}: damaged: its first value is not a position in the calendar. Make it again.")
    begin = int(raw[0])
    if begin + len(raw) - 1 > length:
        raise DataError(
            f"{path}: {len(raw) - 1:,} values from calendar position {begin:,} go beyond the calendar, which has "
            f"{length:,} entries. Update the calendar, or make the file again."
        )
    values[begin : begin + len(raw) - 1] = raw[1:]
    return values


def _read_symbol(
    place: Path,
    symbol: str,
    calendar: pd.DatetimeIndex,
    ranges: Iterable[tuple[pd.Timestamp, pd.Timestamp]],
    limits: tuple[int, int],
    freq: str,
    adjust: Adjust,
) -> Bars | None:
    names = (*PRICES, "volume", "vwap", "factor", *_MONEY)
    fields = {name: one for name in names if (one := _field(place, name, freq, len(calendar))) is not None}
    missing = [name for name in PRICES if name not in fields]
    if missing:
        raise DataError(f"{place}: no {missing[0]}.{freq}.bin. Every instrument needs open, high, low and close.")
    inside = np.zeros(len(calendar), bool)
    for begin, finish in ranges:
        inside[calendar.searchsorted(begin) : calendar.searchsorted(finish, side="right")] = True
    inside[: limits[0]] = False
    inside[limits[1] :] = False
    notes = [f"qlib: {freq} bars of {place.name}, adjusted prices"]
    prices = np.stack([fields[name] for name in PRICES], axis=1)
    volume = fields.get("volume", np.zeros(len(calendar)))
    if adjust == "none" and "factor" in fields:
        factor = fields["factor"]
        prices, volume = prices / factor[:, None], volume * factor
        if "vwap" in fields:
            fields["vwap"] = fields["vwap"] / factor
        notes = [f"qlib: {freq} bars of {place.name}, the factor divided out"]
    elif "factor" not in fields:
        notes.append("qlib: no factor field, prices as they are")
    good = np.isfinite(prices).all(axis=1) & (prices > 0).all(axis=1)
    rows = np.flatnonzero(inside & good)
    if not len(rows):
        return None
    holes = int((inside & ~good)[rows[0] : rows[-1] + 1].sum())
    if holes:
        notes.append(f"qlib: {holes:,} calendar entries without prices, left out: windows do not cross them")
    money = next((name for name in _MONEY if name in fields), "")
    volume = _positive(volume, 0.0)
    if money:
        amount = fields[money]
        notes.append(f"qlib: amount from the field {money!r}")
    else:
        mean = prices.mean(axis=1)
        amount = volume * _positive(fields.get("vwap", mean), mean)
        notes.append(f"qlib: amount is volume x {'vwap' if 'vwap' in fields else 'mean(open, high, low, close)'}")
    values = np.column_stack([prices, volume, _positive(amount, 0.0)])[rows]
    segments = cut_segments(np.flatnonzero(np.diff(rows) > 1) + 1, len(rows))
    return Bars(symbol, calendar[rows], values, str(place), tuple(map(Note, notes)), segments)


def _positive(values: np.ndarray, other: np.ndarray | float) -> np.ndarray:
    return np.where(np.isfinite(values) & (values > 0), values, other)


def write_qlib(store: BarStore, folder: str | Path, *, market: str = "all", freq: str | None = None) -> Path:
    """Write a store as a qlib data folder, all or nothing; `market` is one more list beside `all`.

    Prices are written as the store has them, with a factor of 1; vwap is amount / volume, amount its own
    field, change the return of the close. Times lose their zone: qlib has wall clock only. `freq` is "day" or
    "5min" and the like, by default the store's interval. Raises DataError where the folder is not empty, and
    for symbols that differ in capitals only.
    """
    folder = Path(folder)
    require_new(folder, "is not empty")
    names: dict[str, str] = {}
    for symbol in store.symbols:
        other = names.setdefault(_file_name(symbol), symbol)
        if other != symbol or "/" in symbol or "\t" in symbol or symbol in ("", ".", ".."):
            what = f"{other} and {symbol} would share a folder" if other != symbol else f"{symbol!r} names no folder"
            raise DataError(f"{what}: qlib folders are lower case. Rename the symbol.")
    indices = [store[symbol].timestamps.tz_localize(None) for symbol in store.symbols]
    freq = freq or _freq(indices)
    ticks = np.unique(np.concatenate([index.asi8 for index in indices]))
    calendar = from_ticks(ticks, None)
    form = "%Y-%m-%d" if freq in ("day", "week", "month") else "%Y-%m-%d %H:%M:%S"
    if freq == "day" and not calendar.normalize().is_unique:
        raise DataError("freq='day', but some days have several bars. Pass the frequency, for example freq='5min'.")
    with atomic_folder(folder, sync=False) as scratch:
        for name in ("calendars", "instruments", "features"):
            (scratch / name).mkdir()
        _write_lines(scratch / "calendars" / f"{freq}.txt", calendar.strftime(form))
        lines = []
        for symbol, index in zip(store.symbols, indices, strict=True):
            _write_symbol(scratch / "features" / _file_name(symbol), store[symbol], np.searchsorted(ticks, index.asi8),
                          len(ticks), freq)  # fmt: skip
            lines.append(f"{symbol}\t{index[0].strftime(form)}\t{index[-1].strftime(form)}")
        for name in dict.fromkeys(("all", market.lower())):
            _write_lines(scratch / "instruments" / f"{name}.txt", lines)
    return folder


def _freq(indices: list[pd.DatetimeIndex]) -> str:
    step = infer_interval(max(indices, key=len))
    if step >= 28 * DAY:
        return "month"
    if step >= 7 * DAY:
        return "week"
    return "day" if step >= pd.Timedelta(hours=23) else f"{max(1, int(step / pd.Timedelta(minutes=1)))}min"


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def _write_symbol(place: Path, bars: Bars, rows: np.ndarray, length: int, freq: str) -> None:
    place.mkdir()
    begin, finish = int(rows[0]), int(rows[-1]) + 1
    fields = dict(zip(FEATURES, bars.values.T, strict=True))
    with np.errstate(divide="ignore", invalid="ignore"):
        fields["vwap"] = _positive(fields["amount"] / fields["volume"], np.nan)
    close = fields["close"]
    fields["change"] = np.concatenate([[np.nan], close[1:] / close[:-1] - 1])
    fields["factor"] = np.ones(len(bars))
    for name, column in fields.items():
        values = np.full(finish - begin + 1, np.nan, "<f4")
        values[0] = begin
        values[1 + rows - begin] = column
        values.tofile(place / f"{name}.{freq}.bin")
