"""Threads and processes that read sources for `prepare`: sources in, arrays ready for the disk out, in the order given."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path

import numpy as np

from chandler.data.bars import Bars
from chandler.data.calendars.time_features import time_features
from chandler.data.parallel import map_threads, ordered_map
from chandler.data.qlib import PREFIX, read_qlib
from chandler.data.reading import ReadingOptions, Source, by_threads, read_file
from chandler.data.store.writer import ManifestEntry
from chandler.errors import DataError


def source_name(source: Source) -> str:
    """What the manifest calls a source: its absolute path, and the member of an archive."""
    return str(source.path.resolve()) + (f"/{source.member}" if source.member else "")


@dataclass(frozen=True)
class SymbolArrays:
    """One symbol of a source as it goes to disk."""

    symbol: str
    zone: str | None
    arrays: dict[str, np.ndarray]
    segments: np.ndarray | None
    notes: tuple[str, ...]


@dataclass(frozen=True)
class ReadResult:
    """What a worker made of a source; no `found` and no problem where it is unchanged."""

    source: str
    size: int = 0
    modified: int = 0
    sha256: str = ""
    found: tuple[SymbolArrays, ...] = ()
    problem: str = ""
    unchanged: bool = False


def _read(job: tuple[Source, ManifestEntry | None], *, options: ReadingOptions, threads: bool) -> ReadResult:
    """In a worker: look whether the source is new or changed, and read it if so."""
    source, known = job
    name = source_name(source)
    try:
        state = source.path.stat()
        if known and not known.problem and (known.size, known.modified) == (state.st_size, state.st_mtime_ns):
            return ReadResult(name, unchanged=True)
        with source.path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return ReadResult(name, problem=str(source.unreadable(error)))
    if known and not known.problem and known.sha256 == sha256:
        return ReadResult(name, unchanged=True)
    seen = ReadResult(name, state.st_size, state.st_mtime_ns, sha256)
    try:
        return replace(seen, found=tuple(map(_arrays, options.select(read_file(source, options, threads=threads)))))
    except DataError as error:
        return replace(seen, problem=str(error))
    except MemoryError:
        return replace(seen, problem=f"{source}: too big for the memory there is. Split the file.")


def _arrays(bars: Bars) -> SymbolArrays:
    arrays: dict[str, np.ndarray] = {
        "values": bars.float32(),
        "timestamps": bars.timestamps.as_unit("ns").asi8,
        "stamps": time_features(bars.timestamps),
    }
    zone = None if bars.timestamps.tz is None else str(bars.timestamps.tz)
    return SymbolArrays(bars.symbol, zone, arrays, bars.segments, bars.notes)


def qlib_outcome(source: str, entries: Mapping[str, ManifestEntry], options: ReadingOptions) -> ReadResult:
    """The outcome of "qlib:FOLDER": all of the market as one source, unchanged while names, sizes and times of its files
    are. `entries`: the last of each source."""
    folder = Path(source.removeprefix(PREFIX)).expanduser().resolve()
    name, seen, size, modified = f"{PREFIX}{folder}", hashlib.sha256(), 0, 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        state = path.stat()
        size, modified = size + state.st_size, max(modified, state.st_mtime_ns)
        seen.update(f"{path.relative_to(folder)} {state.st_size} {state.st_mtime_ns}\n".encode())
    known = entries.get(name)
    if known and not known.problem and known.sha256 == seen.hexdigest():
        return ReadResult(name, unchanged=True)
    outcome = ReadResult(name, size, modified, seen.hexdigest())
    try:
        found = read_qlib(folder, market=options.market, freq=options.freq, start=options.start, end=options.end,
                          adjust=options.adjust)  # fmt: skip
        return replace(outcome, found=tuple(map(_arrays, options.select(found))))
    except DataError as error:
        return replace(outcome, problem=str(error))


def read_all(
    jobs: list[tuple[Source, ManifestEntry | None]], options: ReadingOptions, workers: int
) -> Iterator[ReadResult]:
    """The outcome of every job, in order. At most two sources per worker are on their way at a time."""
    workers = min(workers, len(jobs))
    if workers <= 1 or by_threads([source for source, _ in jobs]):
        yield from map_threads(partial(_read, options=options, threads=workers <= 1), jobs, workers)
        return
    # No plain fork: it would copy threads that others have started.
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])  # the imports once, not once per process
    pool = ProcessPoolExecutor(workers, mp_context=context)
    work = partial(_read, options=options, threads=False)
    for (source, _), future in ordered_map(pool, work, jobs, 2 * workers):
        try:
            yield future.result()
        except BrokenProcessPool:
            raise DataError(
                f"{source}: a worker process was killed while this file or one beside it was read, as systems do "
                "when memory runs out. Use fewer workers, or split the file; what is done is kept."
            ) from None
