"""A forecast of many symbols as a table, a row each, and as files that any reader takes: part by part, never all in memory."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from chandler.serving.forecasts.folder import Kept
from chandler.serving.worker import LEVELS
from chandler.serving.workspace import read_json

COLUMNS = (
    "symbol", "origin_time", "last_close", "median_return", "mean_return", "low50", "high50", "low80", "high80", "p_up",
    "volatility", "exposure", "notes", "seconds", "failed",
)  # fmt: skip
"""Bands are returns to the last bar, as the returns are; seconds are the share of a symbol in those of its part."""
_ENDS = {
    name: LEVELS.index(level) for name, level in {"low80": 0.1, "low50": 0.25, "high50": 0.75, "high80": 0.9}.items()
}
Row = tuple[Any, ...]


def rows(kept: Kept) -> list[Row]:
    """Rows of `COLUMNS` in the order that was asked for, as far as they are made."""
    return [row for path in kept.parts() for row in _part(path)]


@lru_cache(maxsize=4096)
def _part(path: Path) -> tuple[Row, ...]:
    """The rows of one file, which never changes once it is there."""
    told = read_json(path)
    series = told.get("series", [])
    seconds = None if "seconds" not in told else round(told["seconds"] / max(len(series), 1), 3)
    return tuple(_row(one, seconds) for one in series)


def _row(one: dict[str, Any], seconds: float | None) -> Row:
    if "failed" in one:
        return (one["symbol"], *(None,) * 11, "", seconds, one["failed"])
    last = one["last_close"]
    ends = {name: one["quantiles"][level][-1] / last - 1 if last else None for name, level in _ENDS.items()}
    return (
        one["symbol"], one["origin_time"], last, one["median_return"], one["mean_return"], ends["low50"], ends["high50"],
        ends["low80"], ends["high80"], one["p_up"][-1], one["volatility"], (one["exposure"] or {}).get("mark"),
        " ".join(one["notes"]), seconds, None,
    )  # fmt: skip


def tables(kept: Kept, what: str) -> tuple[pa.Schema, Iterator[pa.Table]]:
    """All paths, the bands of all symbols, or the rows: what the parts have in common, and each of them in turn."""
    if what == "paths":
        files = kept.path_files()
        schema = _common([pq.read_schema(path) for path in files])
        return schema, (pq.read_table(path).cast(schema) for path in files)
    made = _bands if what == "bands" else _lines
    parts = [pa.Table.from_pylist(list(made(path))) for path in kept.parts()]
    parts = [one for one in parts if one.num_columns]  # no bands are there of a part whose symbols all failed
    schema = _common([one.schema for one in parts])
    return schema, (one.cast(schema) for one in parts)


def _common(schemas: list[pa.Schema]) -> pa.Schema:
    """What parts agree on: a column of nothing is of the other parts' type; times in several zones are in UTC."""
    fields = []
    for number, field in enumerate(schemas[0] if schemas else ()):
        kinds = [
            one for one in dict.fromkeys(schema.field(number).type for schema in schemas) if not pa.types.is_null(one)
        ]
        zoned = len(kinds) > 1 and all(pa.types.is_timestamp(one) for one in kinds)
        kind = pa.timestamp(kinds[0].unit, "UTC") if zoned else kinds[0] if kinds else pa.string()
        fields.append(pa.field(field.name, kind))
    return pa.schema(fields)


def write_parquet(kept: Kept, what: str, target: IO[bytes]) -> None:
    """One Parquet file of all parts."""
    schema, parts = tables(kept, what)
    with pq.ParquetWriter(target, schema, compression="zstd") as writer:
        for part in parts:
            writer.write_table(part)


def csv_lines(kept: Kept, what: str) -> Iterator[str]:
    """The same as text, some lines at a time. What can fail does so at once, before anything is sent."""
    return _as_text(*tables(kept, what))


def _as_text(schema: pa.Schema, parts: Iterator[pa.Table]) -> Iterator[str]:
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(schema.names)
    for part in parts:
        for batch in part.to_batches(max_chunksize=10_000):
            for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
                writer.writerow([safe_cell(cell) for cell in row])
            yield text.getvalue()
            text.seek(0)
            text.truncate()
    yield text.getvalue()


def safe_cell(cell: Any) -> Any:
    """A cell that no spreadsheet takes for a formula."""
    return f"'{cell}" if isinstance(cell, str) and cell[:1] in ("=", "+", "-", "@", "\t", "\r") else cell


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    for row in _part(path):
        yield dict(zip(COLUMNS, row, strict=True))


def _bands(path: Path) -> Iterator[dict[str, Any]]:
    for one in read_json(path).get("series", []):
        for step, moment in enumerate(one.get("time", [])):
            yield {
                "symbol": one["symbol"], "step": step + 1, "time": moment, "last_close": one["last_close"],
                "mean_close": one["mean"]["close"][step], "p_up": one["p_up"][step],
                **{f"q{level * 100:g}": one["quantiles"][number][step] for number, level in enumerate(LEVELS)},
            }  # fmt: skip
