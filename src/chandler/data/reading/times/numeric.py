"""Times that are numbers: since 1970, each column in one unit, or dates whose digits stand in a row."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pandas as pd

from chandler.data.reading.times.parsed import Times, fits, masked
from chandler.data.reading.times.written import from_text

_UNITS = (("seconds", 10**9, 1e11), ("milliseconds", 10**6, 1e14), ("microseconds", 10**3, 1e17),
          ("nanoseconds", 1, 9.2e18))  # fmt: skip


def from_epochs(raw: pd.Series) -> Times | None:
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


def from_numbers(numbers: pd.Series) -> Times:
    """Numbers: yyyymmdd[hhmm[ss]] where every one reads as a date, else seconds, ms, us or ns since 1970."""
    # Whole ones stay so: a float64 has too few digits for ns.
    values = np.asarray(numbers if numbers.dtype == np.int64 else numbers.to_numpy(np.float64, na_value=np.nan))
    bad = ~np.isfinite(values)
    whole = np.where(bad, values[~bad][0] if (~bad).any() else 0, values)
    lowest, highest = (np.abs(whole).min(), np.abs(whole).max()) if len(whole) else (np.inf, 0)
    if lowest >= 400101 and 1000101 <= highest < 1500000 and np.array_equal(whole, whole // 1):
        whole = whole.astype(np.int64)
        text = pd.Series([f"{one // 10000}/{one // 100 % 100}/{one % 100}" for one in whole.tolist()], dtype="string")
        times = from_text(text, str)  # 1130102
        if np.asarray(times.index.notna()).all():
            return replace(times, index=masked(times.index, ~bad))
    for digits in (8, 10, 12, 14, 17):
        # Years have no clock before 1950: 190102093000 is of 2019.
        if lowest >= (195 if digits > 8 else 100) * 10 ** (digits - 3) and highest < 10**digits:
            text = pd.Series(whole.astype(np.int64)).astype("string")
            index = from_text(text, str).index
            # A few bad dates are bad dates, not epochs; 2024010309 could be seconds, of 2034.
            if np.asarray(index.notna()).mean() > (0.5 if digits != 10 else 0.999):
                return Times(masked(index, ~bad), ("times: read the dates as yyyymmdd numbers",))
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
    index = masked(pd.DatetimeIndex(ticks.view("M8[ns]")), ~bad).tz_localize("UTC")
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
    return next((form for form in forms if fits(text, form)), None)


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
