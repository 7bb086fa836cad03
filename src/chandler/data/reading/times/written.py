"""Dates as text: year first, day or month first, compact, with or without clock, am/pm, offset, or the name of a zone.

What is ISO throughout goes through Arrow's parser, for speed; all else through patterns, whose fields are looked at together.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Callable

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chandler.data.reading.numbers import arrow_text
from chandler.data.reading.times.parsed import Times, by_pandas, masked
from chandler.data.reading.times.zones import in_zone, offset_seconds, zone_of
from chandler.errors import DataError

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
_MONTH = r"(?i)(?:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*"
_YEAR = r"(?<!\d)(?:1[6-9]|2[0-2])\d\d(?!\d)"
_ONE_AT_A_TIME = threading.Lock()


def from_iso(raw: pd.Series) -> Times | None:
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


def from_text(text: pd.Series, first: Callable[[int], str]) -> Times:
    """Written dates: year first, day or month first, compact, with or without clock, am/pm and offset."""

    def shown(row: int) -> str:
        return f"{text.iloc[row]!r} ({first(row)})"

    array = arrow_text(text)
    named = pc.extract_regex(array, _NAMED)
    if len(array) and not named.null_count and len(zone := pc.unique(pc.struct_field(named, "zone"))) == 1:
        times = from_text(pd.Series(pc.struct_field(named, "wall").to_pandas(), dtype="string"), first)
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
            return Times(by_pandas(named, format="mixed"))

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
        return Times(masked(pd.DatetimeIndex(wall.view("M8[ns]")), good), notes, beyond)
    if (good & ~zoned).any():
        raise DataError(
            "some timestamps have an offset from UTC and some have none, such as "
            f"{shown(int(np.flatnonzero(good & ~zoned)[0]))}. Write all of them the same way."
        )
    moments = masked(pd.DatetimeIndex((wall - offset * 10**9).view("M8[ns]")), good)
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
