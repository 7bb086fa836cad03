"""What evaluations, tasks and backtests write into their folders, chunk by chunk, and what they read, which lies elsewhere."""

from __future__ import annotations

import re
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager
from itertools import chain
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from chandler.atomic import atomic_file
from chandler.data import SourceSettings
from chandler.data.reading import opened
from chandler.errors import ConfigError
from chandler.forecasting import model_parts
from chandler.places import existing
from chandler.progress import Progress

Ints = NDArray[np.int64]
T = TypeVar("T")


class PartStore:
    """A folder of numbered Parquet files, one of each chunk of windows: stopped at any moment, those that are there are
    not made again."""

    def __init__(self, folder: Path, chunks: Sequence[Ints]) -> None:
        self.chunks = chunks
        self.paths = [folder / f"{number:06d}.parquet" for number in range(len(chunks))]

    def fill(self, make: Callable[[Ints], pa.Table], shown: Progress, label: str, unit: str = "windows") -> int:
        """Make and write the parts that are missing; of how many windows they are."""
        missing = [number for number, path in enumerate(self.paths) if not path.is_file()]
        left = [self.chunks[number] for number in missing]
        total, count = sum(map(len, self.chunks)), sum(map(len, left))
        made = in_chunks(left, make, shown.track(label, total, total - count, unit))
        for number, table in zip(missing, made, strict=True):
            write_table(self.paths[number], table)
        return count

    def clear(self) -> None:
        """Remove the parts, also those of other chunks."""
        for path in self.paths[0].parent.glob("[0-9]*.parquet"):
            path.unlink()

    def tables(self) -> Iterator[pa.Table]:
        """The parts in order, one at a time. ConfigError: one that cannot be read."""
        return (read_table(path, "Remove it: the same command makes it anew.") for path in self.paths)


def in_chunks(
    chunks: Iterable[Ints], make: Callable[[Ints], T], track: AbstractContextManager[Callable[[int], None]]
) -> Iterator[T]:
    """What `make` finds of each chunk of windows; the bar moves when the caller is done with it."""
    with track as report:
        for windows in chunks:
            yield make(windows)
            report(len(windows))


def chunks_of(count: int, size: int) -> list[Ints]:
    """0 .. count - 1 in pieces of `size`, the last one shorter."""
    return [np.arange(lo, min(lo + size, count)) for lo in range(0, count, size)]


def join(parts: Iterable[pa.Table], path: Path) -> None:
    """All parts in one file, one part in memory at a time."""
    parts = iter(parts)
    first = next(parts)
    with atomic_file(path) as scratch, pq.ParquetWriter(scratch, first.schema, compression="zstd") as writer:
        for part in chain([first], parts):
            writer.write_table(part.cast(first.schema))


def write_table(path: Path, table: pa.Table | pd.DataFrame) -> None:
    """As Parquet, whole or not at all; folders above are made."""
    if isinstance(table, pd.DataFrame):
        table = pa.Table.from_pandas(table, preserve_index=False)
    with atomic_file(path) as scratch:
        pq.write_table(table, scratch, compression="zstd")


def read_table(path: Path, remedy: str, columns: list[str] | None = None) -> pa.Table:
    """What `write_table` wrote.

    Args:
        remedy: a sentence on how to come by another one.

    Raises:
        ConfigError: it cannot be read.
    """
    try:
        return pq.read_table(path, columns=columns)
    except (OSError, ValueError) as error:
        said = str(error).split(": ")[-1].strip(" .\n")
        raise ConfigError(f"{path}: cannot be read, or only in part ({said}). {remedy}") from error


def inputs(data: SourceSettings, models: Iterable[str]) -> dict[str, list[Path]]:
    """The files and folders that are opened, by what names them."""
    return {"data.path": opened(data.path)} | {f"model {one}": existing(model_parts(one)) for one in models}


def slug(name: str) -> str:
    """A contender's name as that of a file or folder, within the one that it is put in: no two names share one."""
    safe = re.sub(r"[^\w.-]", "_", name)
    return safe if safe == name and safe.strip(".") else f"{safe}-{zlib.crc32(name.encode()):08x}"
