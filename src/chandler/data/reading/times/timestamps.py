"""Turns a column of dates as somebody wrote them into a DatetimeIndex in nanoseconds.

Formats are decided over the whole column, never row by row; what cannot be decided is an error that asks.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow.compute as pc

from chandler.data.columns import Column, as_series
from chandler.data.reading.numbers import arrow_text
from chandler.data.reading.times.numeric import from_epochs, from_numbers
from chandler.data.reading.times.parsed import Times, by_pandas, fits, masked, nanoseconds, taken
from chandler.data.reading.times.weekdays import without_weekdays
from chandler.data.reading.times.written import from_iso, from_text
from chandler.data.reading.times.zones import in_zone, named_zone
from chandler.errors import DataError
from chandler.text import count

_FORMATS = [
    date + clock
    for date in (
        "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d", "%d%m%Y",
        "%d-%b-%y", "%d %b %y", "%b %d, %y", "%b-%y",
    )
    for clock in ("", " %H:%M", " %H:%M:%S", " %H.%M", " %H.%M.%S", " %I:%M %p")
] + ["%y%m%d", "%Y%j", "%y%m%d%H%M", "%y%m%d%H%M%S", "%d%m%Y%H%M"]  # fmt: skip
"""What people write that is not read without being asked for; where several fit, two are named."""


def parse_times(
    raw: Column,
    clock: pd.Series | None = None,
    *,
    timezone: str | None = None,
    date_format: str | None = None,
    stated: tuple[str, str] | None = None,
    series: np.ndarray | None = None,
    place: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Times:
    """Timestamps (N,) of a column, with a second column for the time of day where there is one.

    With offsets the moments are kept and the zone is theirs; without, they are wall clock and stay naive, or
    in the zone that names or banners state: `stated`, zone and reason. `timezone` localises times that have no zone by
    then, and converts the others; `series` (N,) numbers the series that rows are of. `notes` says which order of dates
    and which zone were taken, and why. Raises DataError for what is undecidable.
    """
    if clock is not None:
        raw = _join(as_series(raw), clock)
    if not isinstance(raw, np.ndarray) and pd.api.types.is_datetime64_any_dtype(raw.dtype):
        times = Times(nanoseconds(pd.DatetimeIndex(raw.array)))
    else:
        times = _from_cells(as_series(raw), date_format, place)
    naive = times.index.tz is None
    own, reason = (stated or (timezone, "as asked")) if naive else (str(times.index.tz), "")
    try:
        index, odd = in_zone(times.index, own if naive else None, series)
    except DataError:
        if timezone is None or not stated:
            raise
        # Times that there are not in the stated zone are of another clock, which was asked about.
        own, reason = timezone, f"as asked, for {own} has no such times"
        index, odd = in_zone(times.index, own, series)
    index, unnamed = named_zone(in_zone(index, timezone)[0])
    zone = ""
    if timezone not in (None, own):
        why = f", {reason}," if naive else ""
        zone = f"times: from {own}{why} to {timezone}, as asked"
    elif naive:
        zone = f"times: wall clock in {own}, {reason}" if own else "times: no zone stated, kept as local wall clock"
    elif not re.search("zone|1970", "".join(times.notes)):
        zone = f"times: in {index.tz}, by the offsets written"
    return Times(
        index,
        times.notes + ((zone,) if zone else ()) + odd + unnamed,
        times.hint,
        _remedy(raw, np.asarray(index.isna())),
    )


def read_times(raw: pd.Series, where: str = "") -> pd.DatetimeIndex:
    """Times (N,) of a column by the rules of files of bars.

    Raises:
        DataError: a cell that is none, or a column that reads in two ways; `where` comes first in the message.
    """
    try:
        times = parse_times(raw)
    except DataError as error:
        raise DataError(f"{where}{error}") from None
    bad = np.flatnonzero(times.index.isna())
    if len(bad):
        raise DataError(
            f"{where}unreadable time in {count(len(bad), 'row')}, first row {bad[0] + 1}: {raw.iloc[bad[0]]!r}. {times.hint}".strip()
        )
    return times.index


def looks_like_time(text: str) -> bool:
    """Whether a cell reads as a date or as time since 1970, and not as a price."""
    text = text.strip()
    if re.fullmatch(r"\d{8}|\d{10}|\d{12,14}|\d{16}|\d{19}", text):
        return True
    return bool(re.match(r"\d{1,4}[-/.年]\d{1,2}[-/.月]\d{1,4}|\d{8}[ T_]", text))


def _join(date: pd.Series, clock: pd.Series) -> pd.Series:
    """Two columns, a date and a time of day, as one of text."""
    if pd.api.types.is_datetime64_any_dtype(date.dtype):
        date = date.dt.strftime("%Y-%m-%d")
    if pd.api.types.is_numeric_dtype(clock.dtype):
        clock = clock.astype("Int64")
    clock = clock.astype("string").str.strip()
    if pc.all(pc.match_substring_regex(arrow_text(clock), r"^\d{1,9}$")).as_py():  # 9, 930, 93000, 93000500
        longest = int(clock.str.len().max())
        width = next(width for width in (2, 4, 6, 9) if longest <= width)
        clock = clock.str.zfill(width)
        if width == 9:
            clock = clock.str.slice(0, 6) + "." + clock.str.slice(6)
    if pd.api.types.is_numeric_dtype(date.dtype):
        date = date.astype("Int64")
    return date.astype("string") + " " + clock


def _from_cells(raw: pd.Series, date_format: str | None, place: Callable[[int], str]) -> Times:
    """Times (N,) of numbers or text."""
    if date_format is None:
        if (times := from_epochs(raw) or from_iso(raw)) is not None:
            return times
        if pd.api.types.is_numeric_dtype(raw.dtype):
            return from_numbers(raw)
    # Panels repeat every date once per symbol: parse what is distinct.
    codes, distinct = pd.factorize(raw)
    times = _from_objects(pd.Series(distinct), codes, date_format, place)
    return replace(times, index=taken(times.index, codes))  # an empty cell is -1


def _from_objects(values: pd.Series, codes: np.ndarray, date_format: str | None, place: Callable[[int], str]) -> Times:
    """Distinct values of a column of text, dates or timestamps."""

    def first(position: int) -> str:
        return place(int(np.flatnonzero(codes == position)[0]))

    if date_format is not None:
        text, days = without_weekdays(values.astype("string").str.strip())
        index = by_pandas(text, format=date_format)
        notes: tuple[str, ...] = ()
        if "%y" in date_format and (ahead := index.year > pd.Timestamp.now().year).any():
            index = pd.DatetimeIndex(index.where(~ahead, index - pd.DateOffset(years=100)))
            notes = (
                f"times: {text[ahead].iloc[0]!r} is of {index[ahead][0].year}, as no bars are of a later year than this",
            )
        return _checked(Times(index, notes, hint=f"They do not fit date_format={date_format!r}."), days)
    kinds = {isinstance(value, str) for value in values}
    if kinds == {True, False}:  # cells of both kinds: dates as they print, and text
        values = values.map(str)
    elif False in kinds:
        if pd.api.types.infer_dtype(values) in ("integer", "floating", "mixed-integer-float", "decimal"):
            return from_numbers(values)
        return Times(by_pandas(values))
    text, days = without_weekdays(values.astype("string").str.strip())
    numeric = np.asarray(pc.fill_null(pc.match_substring_regex(arrow_text(text), r"^[-+]?\d+(\.\d*)?$"), False))
    # Most cells say how the column is read; the others are the ones that are wrong.
    if 2 * numeric.sum() > len(numeric):
        numbers = pd.to_numeric(text[numeric].astype(object))
        times = from_epochs(numbers) or from_numbers(numbers)
        return replace(times, index=taken(times.index, np.where(numeric, np.cumsum(numeric) - 1, -1)))
    return _checked(from_text(text, first), days)


def _checked(times: Times, days: np.ndarray) -> Times:
    """The times without those whose weekday is another one than was written (N,), -1 where none was."""
    written = days >= 0
    if not written.any():
        return times
    good = ~written | (np.asarray(times.index.day_of_week) == days)
    hint = times.hint or ("" if good.all() else "The weekday that is written there is not that of the date.")
    return Times(masked(times.index, good), (*times.notes, "times: weekdays beside the dates agree with them"), hint)


def _remedy(raw: Column, bad: np.ndarray) -> str:
    """What to do about cells that cannot be read (N,): a format is of use where it is one of all cells."""
    if not bad.any():
        return ""
    if 2 * bad.sum() <= len(bad):
        return "Correct these rows."
    cells = as_series(raw)[bad].astype("string").str.strip().drop_duplicates().head(1000)
    fitting = [f"date_format={one!r}" for one in _FORMATS if fits(cells, one)]
    return f"Correct these rows, or give the format{', ' + ' or '.join(fitting[:2]) if fitting else ' (date_format=)'}."
