"""The folder that `prepare` writes: arrays that only ever grow, and a manifest with one line per source.

A manifest line is written after its rows. Whatever lies beyond the last whole line was cut short and is not
read, so a run that was killed goes on where it was, and rows that are added later leave the old ones alone.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from chandler.atomic import write_text
from chandler.data.bars import join_segments
from chandler.data.columns import FEATURES
from chandler.data.notes import Note, merged
from chandler.data.store.concatenated import ConcatenatedArray
from chandler.errors import DataError

MANIFEST = "manifest.jsonl"
LAYOUT = "log"
ARRAYS = {
    "values": np.dtype(("<f4", (len(FEATURES),))),
    "timestamps": np.dtype("<i8"),
    "stamps": np.dtype(("|u1", (5,))),
}
"""What a row is in each of them."""


@dataclass(frozen=True)
class Chunk:
    """Rows [start, start + rows) of the arrays: one symbol out of one source, increasing in time."""

    symbol: str
    zone: str | None
    start: int
    rows: int
    first: int
    """Timestamp of the first row, ns since 1970."""
    last: int
    segments: list[list[int]] | None = None
    """As `Bars.segments`, counted from `start`."""
    notes: tuple[Note, ...] = ()
    apart: bool = False
    """Whether a segment begins with the first row, though the symbol has rows before."""


@dataclass(frozen=True)
class ManifestEntry:
    """A line of the manifest: a source, how it looked when it was read, what came of it."""

    source: str
    size: int
    modified: int
    """ns since 1970."""
    sha256: str
    pieces: tuple[Chunk, ...] = ()
    problem: str = ""
    """Why nothing came of it; empty for sources that were read."""

    def to_line(self) -> str:
        """One line of JSON."""
        found = asdict(self)
        for saved, piece in zip(found["pieces"], self.pieces, strict=True):
            saved["notes"] = [note.to_dict() for note in piece.notes]
        return json.dumps(found, ensure_ascii=False)

    @classmethod
    def from_line(cls, line: str) -> ManifestEntry:
        """The reverse of `to_line`. ValueError, KeyError or TypeError for anything else."""
        found: dict[str, Any] = json.loads(line)
        pieces = tuple(
            Chunk(**{**one, "notes": tuple(map(Note.restored, one["notes"]))}) for one in found.pop("pieces")
        )
        return cls(**found, pieces=pieces)


def read_manifest(folder: Path) -> list[ManifestEntry]:
    """The whole lines of a manifest; a last line that was cut short is left out. DataError for a damaged one."""
    try:
        text = (folder / MANIFEST).read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return []
    lines = text.split("\n")
    entries = []
    for number, line in enumerate(lines[:-1], 1):  # the last piece has no line end: empty, or cut short
        try:
            entries.append(ManifestEntry.from_line(line))
        except (ValueError, KeyError, TypeError) as error:
            raise DataError(
                f"{folder / MANIFEST}: line {number} is damaged: {error}. Prepare the store again in a new folder."
            ) from None
    return entries


def latest_entries(entries: list[ManifestEntry]) -> dict[str, ManifestEntry]:
    """The last entry of each source."""
    return {entry.source: entry for entry in entries}


class StoreWriter:
    """Appends rows and manifest lines to a folder; whatever a killed run left behind the last line is cut off."""

    def __init__(self, folder: Path):
        self.folder, self.entries = folder, read_manifest(folder)
        self.rows = max((one.start + one.rows for entry in self.entries for one in entry.pieces), default=0)
        whole = "".join(entry.to_line() + "\n" for entry in self.entries)
        path = self.folder / MANIFEST
        if path.exists() and path.stat().st_size != len(whole.encode()):
            write_text(path, whole)
        self._files = {}
        for name, row in ARRAYS.items():
            file = (self.folder / f"{name}.bin").open("ab")
            size = self.rows * row.itemsize
            if file.tell() < size:
                raise DataError(f"{self.folder}: {name}.bin is shorter than the manifest says. Prepare it again.")
            file.truncate(size)
            file.seek(size)
            self._files[name] = file
        self._manifest = path.open("a", encoding="utf-8")

    def rows_of(self, start: int, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Values (count, 6) and timestamps (count,) that are in the arrays already."""
        for file in self._files.values():
            file.flush()
        values, timestamps = (
            np.fromfile(self.folder / f"{name}.bin", ARRAYS[name], count, offset=start * ARRAYS[name].itemsize)
            for name in ("values", "timestamps")
        )
        return values, timestamps

    def append(self, arrays: dict[str, np.ndarray]) -> int:
        """Write rows behind all others; the number of the first."""
        start, count = self.rows, len(arrays["values"])
        for name, row in ARRAYS.items():
            assert arrays[name].shape == (count, *row.shape), (name, arrays[name].shape)
            np.ascontiguousarray(arrays[name], row.base).tofile(self._files[name])
        self.rows += count
        return start

    def record(self, entry: ManifestEntry) -> None:
        """Write the manifest line that makes the rows of a source count."""
        for file in self._files.values():
            file.flush()
        self._manifest.write(entry.to_line() + "\n")
        self._manifest.flush()
        self.entries.append(entry)

    def close(self) -> None:
        """Put everything on disk."""
        for file in (*self._files.values(), self._manifest):
            file.flush()
            os.fsync(file.fileno())
            file.close()


def prepared_fields(folder: Path, meta: dict[str, Any]) -> dict[str, Any]:
    """The fields of a BarStore, arrays mapped from disk. DataError for a store that is damaged or not finished."""
    if not meta.get("complete"):
        raise DataError(f"{folder}: preparing this store was not finished. Run the same prepare again: it goes on.")
    entries = read_manifest(folder)
    by_symbol: dict[str, list[tuple[Chunk, str]]] = {}
    for entry in entries:
        for piece in entry.pieces:
            by_symbol.setdefault(piece.symbol, []).append((piece, entry.source))
    if not by_symbol:
        raise DataError(f"{folder}: the store holds no rows. Prepare it again.")
    pieces: list[Chunk] = []
    offsets, segments = [0], []
    for found in by_symbol.values():
        ordered = [piece for piece, _ in sorted(found, key=lambda one: one[0].first)]
        pieces += ordered
        apart = {number for number, piece in enumerate(ordered) if piece.apart}
        segments.append(join_segments(((piece.segments, piece.rows) for piece in ordered), apart) + offsets[-1])
        offsets.append(offsets[-1] + sum(piece.rows for piece in ordered))
    starts = np.array([piece.start for piece in pieces], np.int64)
    lengths = np.array([piece.rows for piece in pieces], np.int64)
    total = int((starts + lengths).max())
    in_order = bool((starts == np.concatenate([[0], np.cumsum(lengths)[:-1]])).all())
    arrays: dict[str, Any] = {}
    for name, row in ARRAYS.items():
        try:
            base = np.memmap(folder / f"{name}.bin", row, "r", shape=(total,))
        except (OSError, ValueError) as error:
            raise DataError(f"{folder}: {name}.bin is damaged: {error}. Prepare the store again.") from None
        arrays[name] = base if in_order else ConcatenatedArray(base, starts, lengths)
    problems = [entry.problem for entry in latest_entries(entries).values() if entry.problem]
    return {
        **arrays,
        "offsets": np.array(offsets, np.int64),
        "segments": np.concatenate(segments),
        "symbols": tuple(by_symbol),
        "zones": tuple(found[0][0].zone for found in by_symbol.values()),
        "notes": {symbol: _notes(found) for symbol, found in by_symbol.items()},
        "sources": {symbol: found[0][1] for symbol, found in by_symbol.items()},
        "skipped": tuple(problems),
    }  # fmt: skip


def _notes(pieces: list[tuple[Chunk, str]]) -> tuple[Note, ...]:
    """Those of one symbol: of a source that was read again, as it has grown, the last reading tells all of it."""
    newest = {source: piece.notes for piece, source in pieces}
    return merged(note for notes in newest.values() for note in notes)
