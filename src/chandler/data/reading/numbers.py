"""Turns columns of numbers as people write them into float64; how they are written is decided over the whole table.

Knows thousands separators, decimal commas, currency signs, and the units K, M, B, 万, 亿 behind volumes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from chandler.data.bars import Decimal
from chandler.data.columns import PRICES, Column, as_series
from chandler.errors import DataError

EMPTY = ("", "na", "n/a", "nan", "null", "none", "nat", "-", "--", "<na>", "#n/a")
_UNITS = {"": 1.0, "k": 1e3, "m": 1e6, "b": 1e9, "t": 1e12, "万": 1e4, "亿": 1e8}
_POINT = r"^[-+]?((\d+\.?\d*|\.\d+)([eE][-+]?\d+)?|\d{1,3}(,\d{3})+(\.\d*)?)$"
"""Numbers with a decimal point, commas between groups of three digits; _COMMA the other way round."""
_COMMA = r"^[-+]?((\d+,?\d*|,\d+)([eE][-+]?\d+)?|\d{1,3}(\.\d{3})+(,\d*)?)$"
_CURRENCY = "$€£¥￥₹₩"
_SPACES = "[ \u00a0\u2009\u202f'\u2019]"


def arrow_text(raw: pd.Series) -> pa.Array:
    """A column (N,) as one array of strings, null where empty."""
    text = pa.array(raw.astype("string"), pa.string())
    return text.combine_chunks() if isinstance(text, pa.ChunkedArray) else text


@dataclass(frozen=True)
class Numbers:
    """Role -> values (N,) float64, NaN where empty; role -> rows (N,) that hold text instead of a number."""

    values: dict[str, np.ndarray]
    text: dict[str, np.ndarray]
    notes: tuple[str, ...] = ()


def parse_numbers(
    columns: Mapping[str, Column],
    *,
    decimal: Decimal = "auto",
    place: Callable[[int], str] = lambda row: f"row {row + 1}",
) -> Numbers:
    """The columns (N,) of a table as float64, every one read by the same decimal sign; those that are numbers stay.

    Without `decimal` the cells decide: 1,234.5 and 12.5 show a point, 12,5 and 1.234,50 a comma. Raises
    DataError where cells contradict each other, and where 1,234 could be either.
    """
    values: dict[str, np.ndarray] = {}
    text: dict[str, np.ndarray] = {}
    written: dict[str, pa.Array] = {}
    for role, column in columns.items():
        if column.dtype == np.float64:
            values[role] = np.asarray(column)
            continue
        raw = as_series(column)
        if pd.api.types.is_numeric_dtype(raw.dtype) and not pd.api.types.is_bool_dtype(raw.dtype):
            values[role] = np.asarray(raw.to_numpy(np.float64, na_value=np.nan))
            continue
        cells = pc.utf8_trim_whitespace(arrow_text(raw))
        empty = pc.fill_null(pc.is_in(pc.utf8_lower(cells), pa.array(EMPTY)), True)
        cells = pc.if_else(empty, None, cells)
        values[role] = _floats(cells)
        bad = np.isnan(values[role]) & ~np.asarray(empty.to_numpy(zero_copy_only=False))
        written[role], text[role] = cells, bad
    if not written or (decimal != "," and not any(bad.any() for bad in text.values())):
        return Numbers(values, text)
    if decimal == "auto":
        _refuse_32nds([cells for role, cells in written.items() if role in PRICES])
    stripped = {role: _strip(cells, role) for role, cells in written.items()}
    chosen, notes = _decide([cells for cells, _, _ in stripped.values()], decimal, place)
    pattern, thousands, point = (_POINT, ",", ".") if chosen == "." else (_COMMA, ".", ",")
    for role, (cells, factor, said) in stripped.items():
        plain = pc.replace_substring(pc.replace_substring(cells, thousands, ""), point, ".")
        styled = np.where(_matches(cells, pattern), _floats(plain) * factor, np.nan)
        if chosen == ".":  # what is a number as it stands stays it: inf is judged later
            styled = np.where(np.isnan(values[role]), styled, values[role])
        present = np.asarray(written[role].is_valid().to_numpy(zero_copy_only=False))
        values[role], text[role] = styled, present & np.isnan(styled)
        notes += said
    return Numbers(values, text, tuple(dict.fromkeys(notes)))


def _floats(cells: pa.Array) -> np.ndarray:
    numbers = pd.to_numeric(pd.Series(cells.to_pandas()), errors="coerce")
    return np.asarray(numbers.to_numpy(np.float64, na_value=np.nan))


def _refuse_32nds(prices: list[pa.Array]) -> None:
    """Refuse prices all like 110'165, points and 32nds of US bonds: what is behind the sign never reaches 320, varies, and
    ends as halves, quarters or eighths do."""
    cells = pc.drop_null(pa.concat_arrays(prices)) if prices else pa.array([], pa.string())
    parts = pc.extract_regex(cells, rf"^\d{{2,3}}{_SPACES}(?P<rest>\d{{3}})$")
    if len(cells) < 80 or parts.null_count:
        return
    rest = np.asarray(pc.cast(pc.struct_field(parts, "rest"), pa.int64()))
    if rest.max() < 320 and len(np.unique(rest)) >= 5 and not np.isin(rest % 10, (4, 9)).any():
        raise DataError(
            f"prices such as {str(cells[0])!r} look like points and 32nds, for no number behind the sign reaches 320. Write them "
            "with a decimal point; where the sign groups thousands, say so with decimal='.'."
        )


def _strip(cells: pa.Array, role: str) -> tuple[pa.Array, np.ndarray, tuple[str, ...]]:
    """Cells without currency signs, blanks between digits and units; the factor (N,) of the unit; notes."""
    bare = pc.utf8_trim_whitespace(pc.utf8_trim(cells, _CURRENCY))
    priced = bool(pc.any(pc.not_equal(bare, cells)).as_py())
    notes: tuple[str, ...] = ("took the currency signs off the prices",) if priced else ()
    factor = np.ones(len(cells))
    if role in ("volume", "amount"):
        parts = pc.extract_regex(bare, r"^(?P<n>[-+]?[\d.,]+)\s*(?P<u>[kKmMbBtT万亿])$")
        unit = pc.utf8_lower(pc.fill_null(pc.struct_field(parts, "u"), ""))
        if pc.any(pc.not_equal(unit, "")).as_py():
            factor = np.array([_UNITS[one] for one in unit.to_pylist()])
            bare = pc.coalesce(pc.struct_field(parts, "n"), bare)
            notes += (f"read units such as K and M behind {role}",)
    grouped = bare
    for _ in range(2):  # 1 234 567: matches overlap
        bare = pc.replace_substring_regex(bare, rf"(\d){_SPACES}(\d{{3}})", r"\1\2")
    signs = pc.index(pc.and_(pc.not_equal(bare, grouped), pc.match_substring_regex(grouped, "['\u2019]")), True).as_py()
    if signs >= 0:
        notes += (f"numbers: apostrophes group thousands, as in {str(grouped[signs])!r}",)
    return bare, factor, notes


def _matches(cells: pa.Array, pattern: str) -> np.ndarray:
    found = pc.match_substring_regex(cells, pattern)
    return np.asarray(pc.fill_null(found, False).to_numpy(zero_copy_only=False))


def _decide(columns: list[pa.Array], decimal: Decimal, place: Callable[[int], str]) -> tuple[str, tuple[str, ...]]:
    """The decimal sign of all columns together, and a note if it was a finding."""
    if decimal != "auto":
        return decimal, (f"numbers: decimal={decimal!r}, as asked",)
    cells = pa.concat_arrays(columns)

    def first(found: np.ndarray) -> tuple[str, int] | None:
        """The first such cell, and its row."""
        position = int(np.argmax(found))
        return (str(cells[position]), position % len(columns[0])) if found[position] else None

    by_point, by_comma, with_comma = (_matches(cells, pattern) for pattern in (_POINT, _COMMA, ","))
    point, comma, either = (first(one) for one in (by_point & ~by_comma, by_comma & ~by_point,
                                                   by_point & by_comma & with_comma))  # fmt: skip
    if point and comma:
        raise DataError(
            f"numbers that contradict each other: {point[0]!r} ({place(point[1])}) has a decimal point, "
            f"{comma[0]!r} ({place(comma[1])}) a decimal comma. Write all of them the same way."
        )
    if comma:
        return ",", (f"numbers: decimal comma, as in {comma[0]!r}",)
    if either and not point:
        raise DataError(
            f"decimal comma or thousands? {either[0]!r} ({place(either[1])}) reads both ways, and no row "
            "decides. Say which, decimal='.' (the comma groups thousands) or decimal=','."
        )
    if point and (by_point & with_comma).any():
        return ".", (f"numbers: commas group thousands, because {point[0]!r} has a decimal point",)
    return ".", ()
