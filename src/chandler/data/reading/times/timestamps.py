"""Turns a column of dates as somebody wrote them into a DatetimeIndex in nanoseconds.

Formats are decided over the whole column, never row by row; what cannot be decided is an error that asks.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chandler.data.columns import Column, as_series
from chandler.data.reading.numbers import arrow_text
from chandler.data.reading.times.weekdays import without_weekdays
from chandler.data.reading.times.zones import in_zone, named_zone, offset_seconds, zone_of
from chandler.errors import DataError
from chandler.text import count

_CLOCK = (
    r"(?P<H>\d{1,2})(?::?(?P<M>\d{2})(?::?(?P<S>\d{2})(?:[.,](?P<f>\d{1,9}))?)?)?"
    r"(?:[ -]?(?P<p>[AaPp][Mm]))?\s*(?P<z>[Zz]|(?:UTC|GMT)?[+-]\d{2}(?::?\d{2})?|UTC|GMT)?"
)
_SEPARATED = (
    r"^\s*(?:民[國国])?\s*(?P<a>\d{1,4})[-/.年년]\s*(?P<b>\d{1,2})[-/.月월]\s*(?P<c>\d{1,4})[日일.]?"
    rf"(?:[T ,]+{_CLOCK})?\s*$"
)
_COMPACT = (
    r"^\s*(?P<a>\d{4})(?P<b>\d{2})(?P<c>\d{2})"
    rf"(?:[T _]*{_CLOCK.replace('[.,](?P<f>', '[.,]?(?P<f>')})?\s*$"  # 20240102093500000
)
_OFFSET = re.compile(r"(Z|[+-]\d\d(:?\d\d)?)$")
_NAMED = r"^(?P<wall>.*\d)\s+(?P<zone>[A-Z][A-Za-z]+/[A-Za-z_/]+)$"

_NOTHING = pd.DatetimeIndex([pd.NaT]).as_unit("ns")
_ONE_AT_A_TIME = threading.Lock()
_UNITS = (("seconds", 10**9, 1e11), ("milliseconds", 10**6, 1e14), ("microseconds", 10**3, 1e17),
          ("nanoseconds", 1, 9.2e18))  # fmt: skip
_FORMATS = [
    date + clock
    for date in (
        "%d/%m/%y", "%m/%d/%y", "%d.%m.%y", "%d-%m-%y", "%m-%d-%y", "%d.%m.%Y", "%d/%m/%Y", "%m/%d/%Y", "%Y-%m-%d", "%d%m%Y",
        "%d-%b-%y", "%d %b %y", "%b %d, %y", "%b-%y",
    )
    for clock in ("", " %H:%M", " %H:%M:%S", " %H.%M", " %H.%M.%S", " %I:%M %p")
] + ["%y%m%d", "%Y%j", "%y%m%d%H%M", "%y%m%d%H%M%S", "%d%m%Y%H%M"]  # fmt: skip
"""What people write that is not read without being asked for; where several fit, two are named."""
_MONTH = r"(?i)(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_YEAR = r"(?<!\d)(?:1[6-9]|2[0-2])\d\d(?!\d)"


@dataclass(frozen=True)
class Times:
    """Parsed timestamps: `index` (N,) in ns, NaT where unreadable; `hint` says why, if that is known, `remedy` what to do."""

    index: pd.DatetimeIndex
    notes: tuple[str, ...] = ()
    hint: str = ""
    remedy: str = ""


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
        times = Times(_nanoseconds(pd.DatetimeIndex(raw.array)))
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


def _from_cells(raw: pd.Series, date_format: str | None, place: Callable[[int], str]) -> Times:
    """Times (N,) of numbers or text."""
    if date_format is None:
        if (times := _from_epochs(raw) or _iso(raw)) is not None:
            return times
        if pd.api.types.is_numeric_dtype(raw.dtype):
            return _from_numbers(raw)
    # Panels repeat every date once per symbol: parse what is distinct.
    codes, distinct = pd.factorize(raw)
    times = _from_objects(pd.Series(distinct), codes, date_format, place)
    index = times.index
    if (codes < 0).any():  # an empty cell takes the last one
        index = pd.DatetimeIndex(index.append(pd.DatetimeIndex([pd.NaT], tz=index.tz).as_unit("ns")))
    return replace(times, index=index.take(codes))


def _remedy(raw: Column, bad: np.ndarray) -> str:
    """What to do about cells that cannot be read (N,): a format is of use where it is one of all cells."""
    if not bad.any():
        return ""
    if 2 * bad.sum() <= len(bad):
        return "Correct these rows."
    cells = as_series(raw)[bad].astype("string").str.strip().drop_duplicates().head(1000)
    fitting = [f"date_format={one!r}" for one in _FORMATS if _by_pandas(cells.head(1), format=one).notna().all()
               and _by_pandas(cells, format=one).notna().all()]  # fmt: skip
    return f"Correct these rows, or give the format{', ' + ' or '.join(fitting[:2]) if fitting else ' (date_format=)'}."


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


def _iso(raw: pd.Series) -> Times | None:
    """Text that is 2024-01-13[ 09:30[:00[.5]]][offset] throughout, by Arrow's own parser; None for anything else."""
    if not len(raw) or not isinstance(raw.iloc[0], str) or not re.match(r"\d{4}-\d\d-\d\d", raw.iloc[0]):
        return None
    zoned = _OFFSET.search(raw.iloc[0], 10)
    try:
        text = arrow_text(raw)
        ends = pc.min_max(text).as_py()
        if text.null_count or not "1678" <= ends["min"] <= ends["max"] < "2262":  # Arrow may wrap those round
            return None
        ticks = pc.cast(text, pa.timestamp("ns", "UTC" if zoned else None)).cast(pa.int64())
    except (pa.ArrowException, TypeError):
        return None
    index = pd.DatetimeIndex(np.asarray(ticks.to_numpy(zero_copy_only=False)).view("M8[ns]"))
    if not zoned:
        return Times(index)
    # The offset is in the last six characters at most; few of these endings differ.
    endings = pc.dictionary_encode(pc.utf8_slice_codeunits(text, -6))
    found = [_OFFSET.search(ending) for ending in endings.dictionary.to_pylist()]
    seconds = np.array([offset_seconds(match.group()) if match else 0 for match in found], np.int64)
    if (np.abs(seconds) >= 86_400).any():
        return None
    zone, notes = zone_of(index, seconds[np.asarray(endings.indices.to_numpy(zero_copy_only=False))])
    return Times(index.tz_localize("UTC").tz_convert(zone), notes)


def _nanoseconds(index: pd.DatetimeIndex) -> pd.DatetimeIndex:
    """The times in ns, always as a copy: those of a frame may lie on an array that its owner goes on to change."""
    try:
        return index.as_unit("ns")
    except pd.errors.OutOfBoundsDatetime as error:
        raise DataError(f"timestamps must lie between 1678 and 2262: {error}.") from None


def _masked(index: pd.DatetimeIndex, good: np.ndarray) -> pd.DatetimeIndex:
    return pd.DatetimeIndex(index.where(good))


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


def _from_epochs(raw: pd.Series) -> Times | None:
    """Whole numbers (N,) that can only be time since 1970, all in one unit; None for anything else."""
    if raw.dtype != np.int64 or not len(raw):
        return None
    values = raw.to_numpy()
    lowest, highest = int(values.min()), int(values.max())
    if lowest < 1e8 or (len(str(lowest)) == len(str(highest)) and len(str(lowest)) in (12, 14)):
        return None  # 202401030959 is a date, and so is 20240103
    day, clock = np.divmod(values[:100], 10_000)  # 2024010309 and 2401030959 are seconds of 2034 and 2046
    dated = lowest < 1e10 and (day // 100 % 100 >= 1).all() and (day // 100 % 100 <= 12).all() and (clock < 2400).all()
    if dated or 1.9e9 <= lowest <= highest < 1e12 or _is_dotnet(lowest, highest):
        return None
    for name, factor, top in _UNITS:
        if lowest < top:
            if highest >= min(top, 9.2e18 / factor):
                return None
            index = pd.DatetimeIndex((values * factor).view("M8[ns]")).tz_localize("UTC")
            return Times(index, (f"times: read as {name} since 1970, UTC",))
    return None


def _from_numbers(numbers: pd.Series) -> Times:
    """Numbers: yyyymmdd[hhmm[ss]] where every one reads as a date, else seconds, ms, us or ns since 1970."""
    # Whole ones stay so: a float64 has too few digits for ns.
    values = np.asarray(numbers if numbers.dtype == np.int64 else numbers.to_numpy(np.float64, na_value=np.nan))
    bad = ~np.isfinite(values)
    whole = np.where(bad, values[~bad][0] if (~bad).any() else 0, values)
    lowest, highest = (np.abs(whole).min(), np.abs(whole).max()) if len(whole) else (np.inf, 0)
    if lowest >= 400101 and 1000101 <= highest < 1500000 and np.array_equal(whole, whole // 1):
        whole = whole.astype(np.int64)
        text = pd.Series([f"{one // 10000}/{one // 100 % 100}/{one % 100}" for one in whole.tolist()], dtype="string")
        times = _from_text(text, str)  # 1130102
        if np.asarray(times.index.notna()).all():
            return replace(times, index=_masked(times.index, ~bad))
    for digits in (8, 10, 12, 14, 17):
        # Years have no clock before 1950: 190102093000 is of 2019.
        if lowest >= (195 if digits > 8 else 100) * 10 ** (digits - 3) and highest < 10**digits:
            text = pd.Series(whole.astype(np.int64)).astype("string")
            index = _from_text(text, str).index
            # A few bad dates are bad dates, not epochs; 2024010309 could be seconds, of 2034.
            if np.asarray(index.notna()).mean() > (0.5 if digits != 10 else 0.999):
                return Times(_masked(index, ~bad), ("times: read the dates as yyyymmdd numbers",))
    empty = pd.DatetimeIndex(np.full(len(values), np.datetime64("NaT", "ns")))
    if _is_dotnet(lowest, highest):
        return Times(empty, hint="Numbers of this size look like ticks of .NET, 100 ns since the year 1: write dates.")
    if (form := _compact(whole, lowest, highest)) is not None:
        return Times(empty, hint=f"Every number reads as a date, {form!r}, and would be time since 1970 otherwise.")
    if highest < 1e8:
        days = lowest > 15_000 and highest < 90_000  # 1941 to 2146
        kind = "a spreadsheet's numbers of days: format the column as dates and save again" if days else (
            "row numbers, not times")  # fmt: skip
        return Times(empty, hint=f"Numbers this small look like {kind}.")
    size = np.searchsorted([top for _, _, top in _UNITS], np.abs(whole), side="right")
    if (unit := _one_unit(np.abs(whole[~bad]), size[~bad])) is not None:
        size[:] = unit
    used = np.unique(size[~bad & (whole != 0)])
    bad |= size >= len(_UNITS)  # beyond the year 2262 in nanoseconds
    size = np.minimum(size if len(used) > 1 else np.full(len(size), used[0]), len(_UNITS) - 1)
    factor = np.array([factor for _, factor, _ in _UNITS])[size]
    whole = np.where(bad | (np.abs(whole) > 9.2e18 / factor), 0, whole)
    bad |= (whole == 0) & (np.abs(values) > 0)
    # Whole and fractional part apart: float64 cannot hold nanoseconds of today.
    ticks = (whole // 1).astype(np.int64) * factor + np.round((whole % 1) * factor).astype(np.int64)
    index = _masked(pd.DatetimeIndex(ticks.view("M8[ns]")), ~bad).tz_localize("UTC")
    names = " and ".join(_UNITS[one][0] for one in used if one < len(_UNITS))
    note = f"times: read as {names} since 1970, UTC" + (", each by its size" if len(used) > 1 else "")
    return Times(index, (note,))


def _is_dotnet(lowest: float, highest: float) -> bool:
    """Whether numbers between these are ticks of .NET of 1962 to 2090; as nanoseconds they would all be of 1989 and 1990."""
    return 6.19e17 < lowest <= highest < 6.595e17


def _compact(whole: np.ndarray, lowest: float, highest: float) -> str | None:
    """The format of dates, without separators and with other fields first than the century, that all numbers (N,) fit; None
    for few numbers, which time since 1970 fits by chance."""
    if not 1e9 <= highest < 1e12 or len(np.unique(whole[:1000])) < 10:
        return None
    text = pd.Series(whole.astype(np.int64)).astype("string").str.zfill(10 if highest < 1e10 else 12)
    forms = ("%y%m%d%H%M",) if highest < 1e10 else ("%y%m%d%H%M%S", "%d%m%Y%H%M")
    return next((form for form in forms if _by_pandas(text.head(20), format=form).notna().all()
                 and _by_pandas(text, format=form).notna().all()), None)  # fmt: skip


def _one_unit(values: np.ndarray, size: np.ndarray) -> int | None:
    """The one unit of numbers (N,), not negative, of which some are no times in the unit of their own size (N,), as
    milliseconds of before March 1973 are no seconds; None where each goes by its size.

    It is the first unit in which the largest is a time. A wild number among others does not say so: those in that unit by
    their own size have to begin where the sizes meet, or most have to be no times by theirs.
    """
    limits = [9.2e18 / factor for _, factor, _ in _UNITS]
    beyond = values > np.array(limits)[np.minimum(size, len(_UNITS) - 1)]
    unit = int(np.searchsorted(limits, values.max())) if beyond.any() else 0
    if not 0 < unit < len(_UNITS):
        return None
    own = values[size >= unit]
    fits = own.min() < 2 * _UNITS[unit - 1][2] if len(own) else 2 * beyond.sum() > len(values)
    return unit if fits else None


def _from_objects(values: pd.Series, codes: np.ndarray, date_format: str | None, place: Callable[[int], str]) -> Times:
    """Distinct values of a column of text, dates or timestamps."""

    def first(position: int) -> str:
        return place(int(np.flatnonzero(codes == position)[0]))

    if date_format is not None:
        text, days = without_weekdays(values.astype("string").str.strip())
        index = _by_pandas(text, format=date_format)
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
            return _from_numbers(values)
        return Times(_by_pandas(values))
    text, days = without_weekdays(values.astype("string").str.strip())
    numeric = np.asarray(pc.fill_null(pc.match_substring_regex(arrow_text(text), r"^[-+]?\d+(\.\d*)?$"), False))
    # Most cells say how the column is read; the others are the ones that are wrong.
    if 2 * numeric.sum() > len(numeric):
        numbers = pd.to_numeric(text[numeric].astype(object))
        times = _from_epochs(numbers) or _from_numbers(numbers)
        places = np.where(numeric, np.cumsum(numeric) - 1, -1)
        return replace(
            times, index=pd.DatetimeIndex(times.index.append(_NOTHING.tz_localize(times.index.tz)).take(places))
        )
    return _checked(_from_text(text, first), days)


def _checked(times: Times, days: np.ndarray) -> Times:
    """The times without those whose weekday is another one than was written (N,), -1 where none was."""
    written = days >= 0
    if not written.any():
        return times
    good = ~written | (np.asarray(times.index.day_of_week) == days)
    hint = times.hint or ("" if good.all() else "The weekday that is written there is not that of the date.")
    return Times(_masked(times.index, good), (*times.notes, "times: weekdays beside the dates agree with them"), hint)


def _by_pandas(values: pd.Series, **options: Any) -> pd.DatetimeIndex:
    """What pandas reads of each value, NaT where nothing or beyond ns; in UTC where offsets differ."""
    try:
        index = pd.DatetimeIndex(pd.to_datetime(values, errors="coerce", **options))
    except ValueError:
        index = pd.DatetimeIndex(pd.to_datetime(values, errors="coerce", utc=True, **options))
    return _nanoseconds(_masked(index, (index.year >= 1678) & (index.year < 2262)))


def _from_text(text: pd.Series, first: Callable[[int], str]) -> Times:
    """Written dates: year first, day or month first, compact, with or without clock, am/pm and offset."""

    def shown(row: int) -> str:
        return f"{text.iloc[row]!r} ({first(row)})"

    array = arrow_text(text)
    named = pc.extract_regex(array, _NAMED)
    if len(array) and not named.null_count and len(zone := pc.unique(pc.struct_field(named, "zone"))) == 1:
        times = _from_text(pd.Series(pc.struct_field(named, "wall").to_pandas(), dtype="string"), first)
        index, odd = in_zone(times.index, zone[0].as_py())
        return Times(index, times.notes + odd, times.hint)
    parts = _fields(array, _SEPARATED)
    use = parts["found"] == 0
    if use.any():
        compact = _fields(array, _COMPACT)
        parts = {key: np.where(use, compact[key], parts[key]) for key in parts}
    good = parts["found"] > 0
    if not good.any():
        # Names of months tell days and months apart; nothing else is left to guess.
        both = text.str.contains(_MONTH, regex=True) & text.str.contains(_YEAR, regex=True)
        named = text.where(both.fillna(False).astype(bool))
        with _ONE_AT_A_TIME, warnings.catch_warnings():  # the filters of warnings are all threads' own
            warnings.simplefilter("ignore")  # of zones by letters: such cells stay unreadable
            return Times(_by_pandas(named, format="mixed"))

    republic = _republic(parts, good)
    if republic:
        parts["a"] = parts["a"] + 1911 * good
    year_first = parts["a"] >= 1000
    other = good & ~year_first
    good &= ~other | (parts["c"] >= 1000)  # years of two digits are not guessed
    year = np.where(year_first, parts["a"], parts["c"])
    month, day = parts["b"], np.where(year_first, parts["c"], parts["a"])
    notes: tuple[str, ...] = ()
    if republic:
        row = int(np.argmax(good))
        notes = (f"times: years of the Republic of China, 1911 added: {text.iloc[row]!r} is of {year[row]}",)
    if (good & other).any():
        day_first, proof = _day_first(parts["a"], parts["b"], good & other, shown)
        if not day_first:
            month, day = np.where(other, parts["a"], month), np.where(other, parts["b"], day)
        order = "day/month/year" if day_first else "month/day/year"
        notes = (f"times: read the dates as {order}, because of {str(text.iloc[proof])!r}",)

    hour = np.where(parts["p"] > 0, parts["H"] % 12 + 12 * (parts["p"] == 2), parts["H"])
    good &= (year >= 1678) & (year < 2262) & (month >= 1) & (month <= 12) & (day >= 1) & (day <= 31)
    good &= (hour <= 23) & (parts["M"] < 60) & (parts["S"] < 60) & (np.abs(parts["offset"]) < 86_400)
    beyond = "Years must lie between 1678 and 2261." if ((parts["found"] > 0) & (year >= 2262)).any() else ""
    months = (np.where(good, year, 1970) - 1970) * 12 + np.where(good, month, 1) - 1
    dates = months.astype("M8[M]").astype("M8[D]") + (np.where(good, day, 1) - 1)
    good &= dates.astype("M8[M]").astype(np.int64) == months  # 31 April is not 1 May
    wall = dates.astype("M8[ns]").view(np.int64)
    wall = wall + ((hour * 60 + parts["M"]) * 60 + parts["S"]) * 10**9 + parts["f"]

    offset, zoned = parts["offset"], parts["zoned"] > 0
    if not (good & zoned).any():
        return Times(_masked(pd.DatetimeIndex(wall.view("M8[ns]")), good), notes, beyond)
    if (good & ~zoned).any():
        raise DataError(
            "some timestamps have an offset from UTC and some have none, such as "
            f"{shown(int(np.flatnonzero(good & ~zoned)[0]))}. Write all of them the same way."
        )
    moments = _masked(pd.DatetimeIndex((wall - offset * 10**9).view("M8[ns]")), good)
    zone, chosen = zone_of(moments[good], offset[good])
    return Times(moments.tz_localize("UTC").tz_convert(zone), notes + chosen)


def _republic(parts: dict[str, np.ndarray], rows: np.ndarray) -> bool:
    """Whether all dates are year/month/day with years since 1911, as Taiwan counts them.

    A year of three digits among them proves it: it is no day and no month. Those before 100 have two, and prove nothing.
    """
    years, months, days = (parts[key][rows] for key in "abc")
    fits = (years >= 40) & (years < 150) & (months >= 1) & (months <= 12) & (days >= 1) & (days <= 31)
    return bool(fits.mean() > 0.9 and years.max() >= 100)


def _day_first(a: np.ndarray, b: np.ndarray, rows: np.ndarray, shown: Callable[[int], str]) -> tuple[bool, int]:
    """Whether a/b/year is day/month/year, decided by any component above 12, and the row that decided."""
    days, months = np.flatnonzero(rows & (a > 12)), np.flatnonzero(rows & (b > 12))
    if len(days) and len(months):
        raise DataError(
            f"dates that contradict each other: {shown(int(days[0]))} has the day first, "
            f"{shown(int(months[0]))} the month. Write all of them the same way."
        )
    if not len(days) and not len(months):
        raise DataError(
            f"day or month first? {shown(int(np.flatnonzero(rows)[0]))} reads both ways, and no "
            "row decides. Say which, for example date_format='%d/%m/%Y' or date_format='%m/%d/%Y'."
        )
    return len(days) > 0, int((days if len(days) else months)[0])


def _fields(array: pa.Array, pattern: str) -> dict[str, np.ndarray]:
    """The number fields of a pattern in (N,) strings, int64, 0 where absent; `found`, `zoned`: 1 or 0."""
    matched = pc.extract_regex(array, pattern)

    def text(key: str) -> pa.Array:
        return pc.fill_null(pc.struct_field(matched, key), "")

    def number(values: pa.Array) -> np.ndarray:
        whole = pc.if_else(pc.equal(values, ""), "0", values)
        return np.asarray(pc.cast(whole, pa.int64()).to_numpy(zero_copy_only=False))

    fields = {key: number(text(key)) for key in "abcHMS"}
    fraction = text("f")
    fields["f"] = number(pc.if_else(pc.equal(fraction, ""), "", pc.utf8_rpad(fraction, 9, "0")))
    half = pc.utf8_lower(text("p"))
    fields["p"] = np.asarray(pc.index_in(half, pa.array(["", "am", "pm"])).to_numpy(zero_copy_only=False), np.int64)
    codes, zones = pd.factorize(text("z").to_numpy(zero_copy_only=False))
    fields["offset"] = np.array([offset_seconds(zone) for zone in zones], np.int64)[codes]
    fields["zoned"] = np.array([zone != "" for zone in zones], np.int64)[codes]
    fields["found"] = np.asarray(matched.is_valid().to_numpy(zero_copy_only=False), np.int64)
    return fields
