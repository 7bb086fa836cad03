"""Folders of files into one store on disk: in parallel, a few files in memory at a time, restartable, appendable."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from functools import partial
from multiprocessing import get_all_start_methods, get_context
from pathlib import Path
from typing import Any, Unpack

import numpy as np

from chandler.atomic import locked, write_text
from chandler.data.bars import Bars, slice_segments
from chandler.data.calendars import time_features, zone_name
from chandler.data.columns import FEATURES
from chandler.data.notes import Note
from chandler.data.parallel import map_threads, ordered_map
from chandler.data.qlib import PREFIX, require_qlib
from chandler.data.reading import (
    OF_TABLES,
    NoSuchRowsError,
    Piece,
    ReadingKeywords,
    ReadingOptions,
    Source,
    archive_symbol,
    by_threads,
    find_files,
    problems_error,
    read_file,
    read_market,
    refuse_strangers,
    takes_options,
    worker_count,
)
from chandler.data.store import (
    LAYOUT,
    MANIFEST,
    META,
    VERSION,
    BarStore,
    Chunk,
    ManifestEntry,
    StoreWriter,
    latest_entries,
    read_manifest,
)
from chandler.errors import DataError
from chandler.text import listed

SAME = 1e-5
"""Relative difference up to which a row read again counts as the row that is there: float32 and rounding."""


@dataclass(frozen=True)
class Progress:
    """Where a run of `prepare` stands."""

    done: int
    """Sources finished, the unchanged ones among them."""
    total: int
    rows: int
    """Rows in the store."""
    bad: int


@takes_options
def prepare(
    source: str | Path | Sequence[str | Path],
    folder: str | Path,
    *,
    workers: int | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
    **options: Unpack[ReadingKeywords],
) -> BarStore:
    """Read files, folders and globs into a store at `folder`, which `load_bars(folder)` opens, mapped from disk.

    Run it again to go on after it was stopped, and to add what is new: sources that are unchanged (size and
    time, else their hash) are not read again, and of the others only rows behind a symbol's last one are added.
    Old rows are never rewritten; where a source contradicts them, that is an error. `manifest.jsonl` holds, per
    source, size, SHA-256, symbols, rows and notes. `workers`: processes, by default
    one per core where there is enough to read; each holds one file at a time, so memory is a few times the
    largest file, whatever the folder's size.
    `symbols`, `start`, `end`, `market`, `freq`, `join`, `skip_bad` and the options of reading: see `load_bars`; they
    stay the same over a store's life, from its first rows on. "qlib:FOLDER" is read whole, in this process.

    Raises DataError naming every bad source (the good ones are kept, the next run goes on from there), for symbols
    that no source has (unless dates are given: they may lie outside), and for a folder that is no such store.
    """
    chosen = ReadingOptions(**options)
    dates: dict[str, Any] = {
        name: str(value) for name in ("start", "end") if (value := getattr(chosen, name)) is not None
    }
    chosen = replace(chosen, **dates)  # as the folder's file has them
    folder = Path(folder).expanduser()
    paths = [str(source)] if isinstance(source, (str, Path)) else [str(one) for one in source]
    require_qlib(paths, chosen.market, chosen.freq)
    sources: list[Source] = []
    problems: list[str] = []
    passed: list[str] = []
    inside = folder.resolve()
    for path in paths:
        place = Path(path.removeprefix(PREFIX)).expanduser().resolve()
        if inside in (place, *place.parents) and (folder / META).is_file():
            raise DataError(f"{folder}: {path} is read, and lies in the folder to write. Prepare into another folder.")
        if path.startswith(PREFIX):
            chosen.refuse(OF_TABLES, f"{path}: a Qlib folder")
            continue
        found = find_files(path)
        sources += found.sources
        problems += found.problems
        passed += found.passed
    # A store within the folder that is read is no source of itself.
    sources = [one for one in dict.fromkeys(sources) if inside not in one.path.resolve().parents]
    qlib = list(dict.fromkeys(path for path in paths if path.startswith(PREFIX)))
    wanted = {name: value for name, value in asdict(chosen).items() if name not in ("join", "skip_bad")}
    _begin(folder, wanted)
    with _locked(folder):
        _agree(folder, wanted)
        run = _Run(StoreWriter(folder), chosen.join, report, len(sources) + len(qlib))
        try:
            for path in qlib:
                run.take(_read_qlib(path, run.known, chosen))
            jobs = [(one, run.known.get(_source_name(one))) for one in sources]
            for outcome in _read_all(jobs, chosen, workers or worker_count(sources)):
                run.take(outcome)
        finally:
            run.writer.close()
        problems += run.problems
        if problems and not chosen.skip_bad:
            raise problems_error(problems, run.total + len(problems) - len(run.problems))
        if not run.writer.rows:
            what = {name: wanted[name] for name in ("symbols", "start", "end", "where") if wanted[name]}
            raise problems_error(problems, run.total) if problems else DataError(
                run.unmatched or f"{', '.join(paths)}: there is nothing to prepare{f' of {what}' if what else ''}.")  # fmt: skip
        absent = [symbol for symbol in chosen.symbols or () if symbol not in run.pieces]
        if absent and not dates:
            raise DataError(
                f"{absent[0]}: no such symbol among {len(run.pieces)}; there are, for example, {listed(list(run.pieces), 5)}. "
                "Prepare into a new folder without it."
            )
        _write_meta(folder, wanted, complete=True)
    store = BarStore.open(folder)
    return replace(store, skipped=(*store.skipped, *passed))


def _write_meta(folder: Path, options: dict[str, Any], complete: bool) -> None:
    meta = {"version": VERSION, "layout": LAYOUT, "features": list(FEATURES), "complete": complete, "options": options}
    write_text(folder / META, json.dumps(meta, ensure_ascii=False, indent=1))


def _begin(folder: Path, options: dict[str, Any]) -> None:
    """A folder to write into: a new one, or a store that can grow."""
    try:
        if (folder / META).is_file():
            if json.loads((folder / META).read_text(encoding="utf-8")).get("layout") != LAYOUT:
                raise DataError(f"{folder}: a store saved whole, which cannot grow. Prepare into another folder.")
            return
        if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise DataError(f"{folder}: exists and is no bar store. Choose another folder, or remove it first.")
        folder.mkdir(parents=True, exist_ok=True)
        _write_meta(folder, options, complete=False)
    except (OSError, ValueError) as error:
        raise DataError(f"{folder}: cannot be written: {error}. Check the path and its permissions.") from None


def _agree(folder: Path, options: dict[str, Any]) -> None:
    """Refuse a store whose rows were read with other options; one without rows takes these."""
    meta = json.loads((folder / META).read_text(encoding="utf-8"))
    # Stores of before these could be chosen have all.
    before = asdict(ReadingOptions()) | meta.get("options", {})
    changed = [key for key, value in json.loads(json.dumps(options)).items() if before.get(key) != value]
    if not changed:
        return
    if any(entry.pieces for entry in read_manifest(folder)):
        raise DataError(
            f"{folder}: was prepared with other options ({', '.join(changed)}). Use the same ones, or "
            "prepare into another folder."
        )
    (folder / MANIFEST).unlink(missing_ok=True)  # sources that gave no row are read again
    _write_meta(folder, options, complete=False)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """One writer at a time; the lock goes with the process, however it ends."""
    with ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / ".lock"))
        except BlockingIOError:
            raise DataError(f"{folder}: another process is preparing this store. Wait for it to end.") from None
        yield


class _Run:
    """Takes the outcomes in order and writes what is new."""

    def __init__(self, writer: StoreWriter, join: bool, report: Callable[[Progress], None], total: int):
        self.writer, self.join, self.report, self.total = writer, join, report, total
        self.known = latest_entries(writer.entries)
        self.pieces: dict[str, list[tuple[Chunk, str]]] = {}
        """Symbol -> its pieces in the store, each with its source."""
        for entry in writer.entries:
            self._know(entry)
        self.problems: list[str] = []
        self.unmatched = ""
        self.done = 0

    def _know(self, entry: ManifestEntry) -> None:
        for piece in entry.pieces:
            self.pieces.setdefault(piece.symbol, []).append((piece, entry.source))

    def take(self, outcome: ReadResult) -> None:
        """Write one outcome, or note why not."""
        self.done += 1
        self.unmatched = self.unmatched or outcome.unmatched
        entry, fresh = outcome.entry, []
        try:
            fresh = [self._fresh(one, entry.source) for one in outcome.found]
        except DataError as error:
            entry = replace(entry, problem=str(error))
        if entry.problem:
            self.problems.append(entry.problem)
        before = self.known.get(entry.source)
        again = before is not None and (before.problem, before.sha256) == (entry.problem, entry.sha256)
        if not outcome.unchanged and not (entry.problem and again):
            entry = replace(entry, pieces=tuple(self._write(one) for one in fresh if len(one.arrays["values"])))
            self._know(entry)
            self.writer.record(entry)
        self.report(Progress(self.done, self.total, self.writer.rows, len(self.problems)))

    def _write(self, one: SymbolArrays) -> Chunk:
        ticks = one.arrays["timestamps"]
        segments = None if one.segments is None else one.segments.tolist()
        start = self.writer.append(one.arrays)
        first, last = int(ticks[0]), int(ticks[-1])
        return Chunk(one.symbol, one.zone, start, len(ticks), first, last, segments, one.notes, one.apart)

    def _fresh(self, one: SymbolArrays, source: str) -> SymbolArrays:
        """The rows of a symbol that are behind those in the store. DataError where the others differ from them."""
        there = self.pieces.get(one.symbol)
        if not there:
            return one
        where = f"{source}: {one.symbol}"
        own = [piece for piece, owner in there if owner == source]
        others = [(piece, owner) for piece, owner in there if owner != source]
        ticks = one.arrays["timestamps"]
        piece_of_archive = bool(archive_symbol(Path(source).stem.split(".")[0]))
        zone = there[0][0].zone
        if zone != one.zone:
            raise DataError(f"{where} has times in {one.zone or 'no zone'}, but the store in {zone or 'none'}. "
                            f"Prepare all into a new folder with timezone={zone or one.zone!r}.")  # fmt: skip
        if others and not own and not (self.join or piece_of_archive):
            raise DataError(
                f"{where} comes twice, from here and from {others[0][1]}. Leave one out, give them different "
                "symbols, or pass join=True if they follow one another."
            )
        for piece, owner in others:
            if ticks[-1] >= piece.first and ticks[0] <= piece.last:
                raise DataError(f"{where} overlaps in time with {owner}. Files of one symbol must follow one another.")
        self._refuse_strangers(one, source, others)
        if not own or all(ticks[0] > piece.last for piece in own):
            return one
        self._compare(one, own, where)
        new = int(np.searchsorted(ticks, max(piece.last for piece in own), side="right"))
        arrays = {name: array[new:] for name, array in one.arrays.items()}
        apart = one.segments is not None and new in one.segments[:, 0]
        return replace(one, arrays=arrays, segments=slice_segments(one.segments, new, len(ticks)), apart=apart)

    def _refuse_strangers(self, one: SymbolArrays, source: str, others: list[tuple[Chunk, str]]) -> None:
        """DataError where the rows before or behind are those of another series, as `load_bars` refuses to join them."""
        ticks = one.arrays["timestamps"]
        here = Piece(source, ticks, one.arrays["values"][:, 3])
        before = max(
            (other for other in others if other[0].last < ticks[0]), key=lambda other: other[0].last, default=None
        )
        behind = min(
            (other for other in others if other[0].first > ticks[-1]), key=lambda other: other[0].first, default=None
        )
        for piece, owner in filter(None, (before, behind)):
            values, times = self.writer.rows_of(piece.start, piece.rows)
            there = Piece(owner, times, values[:, 3])
            refuse_strangers(one.symbol, *((there, here) if piece.last < ticks[0] else (here, there)))

    def _compare(self, one: SymbolArrays, there: list[Chunk], where: str) -> None:
        ticks, values = one.arrays["timestamps"], one.arrays["values"]
        remedy = "The history was changed, as by an adjustment for a split: prepare into a new folder."
        covered = 0
        for piece in there:
            old, times = self.writer.rows_of(piece.start, piece.rows)
            lo = int(np.searchsorted(ticks, piece.first))
            hi = int(np.searchsorted(ticks, piece.last, side="right"))
            if hi - lo != piece.rows or not np.array_equal(ticks[lo:hi], times):
                raise DataError(f"{where}: rows that the store has are missing, or are new among them. {remedy}")
            other = ~np.isclose(values[lo:hi], old, rtol=SAME, atol=0).all(axis=1)
            if other.any():
                row = lo + int(np.flatnonzero(other)[0])
                moment = np.datetime64(int(ticks[row]), "ns").astype("M8[s]")
                raise DataError(f"{where}: {int(other.sum()):,} rows differ from the store's, first at {moment} UTC "
                                f"(row {row + 1}). {remedy}")  # fmt: skip
            covered += hi - lo
        if covered < int(np.searchsorted(ticks, max(piece.last for piece in there), side="right")):
            raise DataError(f"{where}: there are new rows before the last one that the store has. {remedy}")


def _source_name(source: Source) -> str:
    """What the manifest calls a source: its absolute path, and the member of an archive."""
    return str(replace(source, path=source.path.resolve()))


@dataclass(frozen=True)
class SymbolArrays:
    """One symbol of a source as it goes to disk."""

    symbol: str
    zone: str | None
    arrays: dict[str, np.ndarray]
    segments: np.ndarray | None
    notes: tuple[Note, ...]
    apart: bool = False
    """See `Chunk`."""


@dataclass(frozen=True)
class ReadResult:
    """What reading made of a source: its line in the manifest, as yet without pieces, and its symbols."""

    entry: ManifestEntry
    found: tuple[SymbolArrays, ...] = ()
    unchanged: bool = False
    unmatched: str = ""
    """Why none of its rows is as `where` asks, if that is so."""


def _read(job: tuple[Source, ManifestEntry | None], *, options: ReadingOptions, threads: bool) -> ReadResult:
    """In a worker: look whether the source is new or changed, and read it if so."""
    source, known = job
    name = _source_name(source)
    try:
        state = source.path.stat()
        if known and not known.problem and (known.size, known.modified) == (state.st_size, state.st_mtime_ns):
            return ReadResult(known, unchanged=True)
        with source.path.open("rb") as stream:
            sha256 = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        return ReadResult(ManifestEntry(name, 0, 0, "", problem=str(source.unreadable(error))))
    seen = ManifestEntry(name, state.st_size, state.st_mtime_ns, sha256)
    try:
        return _unless_known(seen, known, lambda: read_file(source, options, threads=threads), options)
    except MemoryError:
        return ReadResult(replace(seen, problem=f"{source}: too big for the memory there is. Split the file."))


def _unless_known(
    seen: ManifestEntry, known: ManifestEntry | None, read: Callable[[], list[Bars]], options: ReadingOptions
) -> ReadResult:
    if known and not known.problem and known.sha256 == seen.sha256:
        return ReadResult(known, unchanged=True)
    try:
        return ReadResult(seen, tuple(map(_arrays, options.select(read()))))
    except NoSuchRowsError as none:
        return ReadResult(seen, unmatched=str(none))
    except DataError as error:
        return ReadResult(replace(seen, problem=str(error)))


def _arrays(bars: Bars) -> SymbolArrays:
    arrays: dict[str, np.ndarray] = {
        "values": bars.float32(),
        "timestamps": bars.timestamps.as_unit("ns").asi8,
        "stamps": time_features(bars.timestamps),
    }
    return SymbolArrays(bars.symbol, zone_name(bars.timestamps.tz), arrays, bars.segments, bars.notes)


def _read_qlib(source: str, entries: Mapping[str, ManifestEntry], options: ReadingOptions) -> ReadResult:
    """The outcome of "qlib:FOLDER": all of the market as one source, unchanged while names, sizes and times of its files
    are. `entries`: the last of each source."""
    folder = Path(source.removeprefix(PREFIX)).expanduser().resolve()
    name, seen, size, modified = f"{PREFIX}{folder}", hashlib.sha256(), 0, 0
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        state = path.stat()
        size, modified = size + state.st_size, max(modified, state.st_mtime_ns)
        seen.update(f"{path.relative_to(folder)} {state.st_size} {state.st_mtime_ns}\n".encode())
    entry = ManifestEntry(name, size, modified, seen.hexdigest())
    return _unless_known(entry, entries.get(name), lambda: read_market(folder, options), options)


def _read_all(
    jobs: list[tuple[Source, ManifestEntry | None]], options: ReadingOptions, workers: int
) -> Iterator[ReadResult]:
    """What became of every job, in order. At most two sources per worker are on their way at a time."""
    workers = min(workers, len(jobs))
    if workers <= 1 or by_threads([source for source, _ in jobs]):
        yield from map_threads(partial(_read, options=options, threads=workers <= 1), jobs, workers)
        return
    # No plain fork: it would copy threads that others have started.
    context = get_context("forkserver" if "forkserver" in get_all_start_methods() else "spawn")
    if context.get_start_method() == "forkserver":
        context.set_forkserver_preload([__name__])  # the imports once, not once per process
    pool = ProcessPoolExecutor(workers, mp_context=context)
    done = 0
    try:
        for result in ordered_map(pool, partial(_read, options=options, threads=False), jobs, 2 * workers):
            done += 1
            yield result
    except BrokenProcessPool:
        raise DataError(
            f"{jobs[done][0]}: a worker process was killed while this file or one beside it was read, as systems do "
            "when memory runs out. Use fewer workers, or split the file; what is done is kept."
        ) from None
