"""Parquet, Feather, Arrow and JSON files into RawTables."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.json as pajson
import pyarrow.parquet as parquet

from chandler.data.columns import RawTable
from chandler.data.reading.discovery import Source
from chandler.data.reading.encoding import Encoded, head_of, utf8_bytes
from chandler.data.reading.frames import frame_table, rows_table
from chandler.data.reading.times import looks_like_time
from chandler.errors import DataError


def read_columnar(source: Source, columns: Mapping[str, str] | None = None) -> RawTable:
    """A Parquet, Feather or Arrow (file or stream) file as a RawTable. DataError where it is none."""
    kind = "parquet" if source.suffix in (".parquet", ".pq") else source.suffix[1:]
    try:
        data = io.BytesIO(source.read()) if source.member else str(source.path)
        if kind == "parquet":
            table = parquet.ParquetFile(data).read()
        else:
            try:
                table = feather.read_table(data, memory_map=not source.member)
            except pa.ArrowInvalid:  # not the file format; then the stream format
                raw = data if isinstance(data, io.BytesIO) else io.BytesIO(source.read())
                raw.seek(0)
                table = pa.ipc.open_stream(raw).read_all()
        frame = table.to_pandas()
    except PermissionError as error:
        raise source.unreadable(error) from None
    except (OSError, ValueError, TypeError, pa.ArrowException) as error:
        raise DataError(f"{source}: unreadable as {kind}: {str(error)[:200]}. Write the file again.") from None
    return frame_table(frame, source=str(source), columns=columns)


def read_json(source: Source, columns: Mapping[str, str] | None = None) -> RawTable:
    """JSON lines, one object per bar; or one JSON value: rows of lists, a list of objects, lists by column.

    Raises DataError, with the line where one is known, for anything else.
    """
    head, encoded = head_of(source)
    lines = source.suffix in (".jsonl", ".ndjson")
    if lines and head.lstrip().startswith("{"):
        try:
            table = _json_lines(source, encoded)
            if times := [one.name for one in table.schema if pa.types.is_timestamp(one.type)]:
                table = _json_lines(source, encoded, times)
        except pa.ArrowException as error:
            raise DataError(f"{source}: not JSON lines: {_bad_line(source) or error}. Correct it.") from None
        return frame_table(table.to_pandas(), source=str(source), columns=columns)
    text = utf8_bytes(source, encoded).read()
    value: Any
    try:
        value = [json.loads(line) for line in text.splitlines() if line.strip()] if lines else json.loads(text)
    except (ValueError, RecursionError) as error:
        raise DataError(f"{source}: not JSON: {error}. Write the file again.") from None
    if isinstance(value, dict):
        sizes = {len(one) if isinstance(one, list) else -1 for one in value.values()}
        if len(sizes) == 1 and sizes != {-1}:
            return frame_table(pa.table(value).to_pandas(), source=str(source), columns=columns)
        # an answer with the rows somewhere inside: take the only ones
        inside = list(_rows_inside(value))
        value = inside[0] if len(inside) == 1 else value
    if not isinstance(value, list) or not value or not isinstance(value[0], (list, dict)):
        raise DataError(
            f"{source}: no rows of bars in this JSON. Write one object per line, or a list of "
            "[ms, open, high, low, close, volume]."
        )
    return rows_table(value, source=str(source), columns=columns)


def _json_lines(source: Source, encoded: Encoded, texts: Sequence[str] = ()) -> pa.Table:
    """`texts` stay as they are written: Arrow brings times that it recognises to UTC, and does not say so."""
    return pajson.read_json(
        utf8_bytes(source, encoded),
        read_options=pajson.ReadOptions(block_size=8 << 20),
        parse_options=pajson.ParseOptions(explicit_schema=pa.schema([(name, pa.string()) for name in texts])),
    )


def _rows_inside(value: dict[str, Any]) -> Iterator[list[Any]]:
    """Lists of rows, and objects of one row per time, at any depth of a JSON object."""
    for one in value.values():
        if isinstance(one, list) and one and isinstance(one[0], (list, dict)):
            yield one
        elif isinstance(one, dict) and one:
            if all(isinstance(row, dict) and looks_like_time(time) for time, row in one.items()):
                yield [{"timestamp": time, **row} for time, row in one.items()]
            else:
                yield from _rows_inside(one)


def _bad_line(source: Source) -> str:
    for number, line in enumerate(source.read().splitlines(), 1):
        try:
            if line.strip() and not isinstance(json.loads(line), dict):
                return f"line {number} is no object: {line[:60]!r}"
        except ValueError as error:
            return f"line {number}: {error}: {line[:60]!r}"
    return ""
