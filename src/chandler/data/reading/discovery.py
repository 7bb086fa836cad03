"""Finds the files of a path and opens their bytes: folders, globs, gzip, zip, and the encoding of text.

A file is judged by its first bytes, so that noise and endless lines are refused before they are read.
"""

from __future__ import annotations

import codecs
import glob
import gzip
import io
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

import numpy as np
import pyarrow as pa

from chandler.data.columns import is_alias, listed
from chandler.data.parallel import cores
from chandler.errors import DataError

TEXT = (".csv", ".tsv", ".txt")
ROWS = (".jsonl", ".ndjson", ".json")
COLUMNAR = (".parquet", ".pq", ".feather", ".arrow", ".ipc")
SUFFIXES = (*TEXT, *(suffix + ".gz" for suffix in (*TEXT, *ROWS[:2])), *ROWS, *COLUMNAR, ".zip")
STOCKS = "chandler-stocks"
"""The bars that come with the package, five US stocks by day: for trying things out."""
HEAD = 1 << 20
"""Bytes of a text file that are looked at first; a first line that is longer is no line of a table."""
LARGE = 1 << 20
"""Bytes of a file, on average, from which threads serve: the engines that parse tables work outside of Python's lock.
Small files and JSON keep Python itself busy, and take processes."""
_THREAD, _PROCESS = 2 << 20, 32 << 20
"""Bytes of work that are worth a thread or a process: what one reads in a multiple of the time that it takes to start."""
_READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)
_BINARY = {b"PAR1": "a Parquet file", b"ARROW1": "an Arrow or Feather file", b"%PDF": "a PDF",
           b"\x89HDF": "an HDF5 file", b"\xd0\xcf\x11\xe0": "an Excel file", b"SQLite": "an SQLite database",
           b"\x80\x04\x95": "a pickle", b"\x80\x05\x95": "a pickle"}  # fmt: skip


@dataclass(frozen=True)
class Source:
    """One file, or one `member` of a zip archive."""

    path: Path
    member: str = ""

    def __str__(self) -> str:
        return f"{self.path}/{self.member}" if self.member else str(self.path)

    @property
    def suffix(self) -> str:
        """`.csv` of `a.csv.gz`; empty where the file is none of ours."""
        name = (self.member or self.path.name).lower()
        return next((suffix.removesuffix(".gz") for suffix in SUFFIXES if name.endswith(suffix)), "")

    @property
    def stem(self) -> str:
        """The name without folder and suffixes."""
        name = Path(self.member).name if self.member else self.path.name
        for suffix in sorted(SUFFIXES, key=len, reverse=True):
            if name.lower().endswith(suffix):
                return name[: -len(suffix)]
        return name

    def open(self) -> IO[bytes]:
        """The bytes, unpacked. DataError where they cannot be had."""
        try:
            if self.member:
                return zipfile.ZipFile(self.path).open(self.member)
            stream = self.path.open("rb")
            magic = stream.read(2)
            stream.seek(0)
            return gzip.open(stream) if magic == b"\x1f\x8b" else stream  # type: ignore[return-value]
        except _READ_ERRORS as error:
            raise self.unreadable(error) from None

    def read(self, size: int = -1) -> bytes:
        """The first `size` bytes, or all."""
        with self.open() as stream:
            try:
                return stream.read(size)
            except _READ_ERRORS as error:
                raise self.unreadable(error) from None

    def unreadable(self, error: Exception) -> DataError:
        """The error of a file that the system or an archive does not give."""
        why = getattr(error, "strerror", None) or str(error) or type(error).__name__
        if isinstance(error, PermissionError):
            why = "Permission denied"
        return DataError(f"{self}: cannot be read: {why}. Check the file and its permissions.")


@dataclass(frozen=True)
class Found:
    """The files of a path in order of their names, and a message for each part of it that cannot be listed."""

    sources: list[Source]
    problems: list[str]


def find_files(text: str) -> Found:
    """The files that a path names: itself, a folder's (with subfolders), those that fit a glob, or the bundled bars.

    Raises DataError where there are none.
    """
    if not text.strip():
        raise DataError("the path of the data is empty. Give a file, a folder or a glob.")
    path = Path(text).expanduser()
    if text == STOCKS and not path.exists():
        path = Path(__file__).parents[2] / "assets" / "bokeh_stocks_1d.csv.gz"
    problems: list[str] = []
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{text[:200]}: cannot be looked at: {why}. Check the path and its permissions.") from None
    if is_folder:
        files = sorted(_walk(path, problems))
        if not files and not problems:
            raise DataError(f"{path}: no data files in this folder. Supported are {', '.join(SUFFIXES)}.")
    elif exists:
        files = [path]
    else:
        try:
            files = sorted(Path(name) for name in glob.glob(str(path), recursive=True) if Path(name).is_file())
            there = listed(sorted(file.name for file in path.parent.iterdir()), 6) if path.parent.is_dir() else ""
        except (OSError, re.error):
            files, there = [], ""
        if not files:
            hint = f"In {path.parent} there are {there}." if there else "Check the path."
            raise DataError(f"{path}: no such file or folder. {hint}")
    sources: list[Source] = []
    for file in files:
        try:
            sources += _members(file)
        except DataError as error:
            problems.append(str(error))
    return Found(sources, problems)


def _walk(folder: Path, problems: list[str]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be listed: {error.strerror}. Check its permissions.")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        for name in names:
            file = Path(place, name)
            if not name.startswith(".") and Source(file).suffix and not file.is_dir():
                yield file


def _members(file: Path) -> list[Source]:
    """The file itself, or what is in it where it is an archive."""
    if not file.name.lower().endswith(".zip"):
        return [Source(file)]
    try:
        with zipfile.ZipFile(file) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except _READ_ERRORS as error:
        raise Source(file).unreadable(error) from None
    found = [Source(file, name) for name in sorted(names) if _wanted(name)]
    if not found:
        raise DataError(f"{file}: no data files in this archive. Supported are {', '.join(SUFFIXES[:-1])}.")
    return found


def _wanted(name: str) -> bool:
    last = name.rsplit("/", 1)[-1]
    suffix = Source(Path("a.zip"), name).suffix
    return bool(suffix) and suffix != ".zip" and not last.startswith(".") and not name.startswith("__MACOSX")


def by_threads(sources: Sequence[Source]) -> bool:
    """Whether threads read these sources faster than processes would."""
    tables = all(one.suffix in (*TEXT, *COLUMNAR) for one in sources)
    return tables and size_of(sources) >= LARGE * len(sources)


def worker_count(sources: Sequence[Source]) -> int:
    """Threads or processes (see `by_threads`) that are worth their start: at most one per core and source."""
    share = _THREAD if by_threads(sources) else _PROCESS
    return max(1, min(cores(), len(sources), size_of(sources) // share))


def size_of(sources: Iterable[Source]) -> int:
    """Bytes of the files, packed or not; 0 for what cannot be looked at."""
    size = 0
    for path in {one.path for one in sources}:
        try:
            size += path.stat().st_size
        except OSError:
            continue  # reading it will say so
    return size


@dataclass(frozen=True)
class Encoded:
    """Which encoding a text is in; `note` says why, where it is not UTF-8."""

    name: str
    note: str = ""


def head_of(source: Source) -> tuple[str, Encoded]:
    """The first lines of a text file, whole lines only, and its encoding.

    Raises DataError for an empty file, for bytes that are no text, and for a first line longer than HEAD.
    """
    raw = source.read(HEAD)
    if not raw.strip():
        raise DataError(f"{source}: the file is empty. Give a header line and at least one row.")
    for magic, what in _BINARY.items():
        if raw.startswith(magic):
            raise DataError(f"{source}: this is {what}, not text. Give it the right suffix, or export it as CSV.")
    if raw.startswith(b"PK\x03\x04"):
        raise DataError(
            f"{source}: this is a zip archive or an Excel workbook, not text. "
            "Name an archive .zip; export a workbook as CSV."
        )
    encoded = _encoding(raw)
    text = codecs.getincrementaldecoder(encoded.name)(errors="ignore").decode(raw)
    control = _control(raw if encoded.name.startswith("utf-8") else text.encode())
    if control > max(2, len(text) // 200) or "\0" in text:
        raise DataError(f"{source}: binary data, not text. Export the bars as CSV or Parquet.")
    if len(raw) == HEAD:
        cut = max(text.rfind("\n"), text.rfind("\r"))
        if cut < 0:
            raise DataError(
                f"{source}: the first line is longer than {HEAD >> 20} MiB, so this is no table of bars. "
                "Write one line per bar."
            )
        text = text[: cut + 1]
    if not text.strip():
        raise DataError(f"{source}: the file is empty. Give a header line and at least one row.")
    return text, encoded


def _control(text: bytes) -> int:
    """How many control characters there are, without those that lay out lines."""
    codes = np.frombuffer(text, np.uint8)
    layout = np.count_nonzero(codes - np.uint8(9) < 5)  # tab to carriage return; below 9 it wraps round
    return int(np.count_nonzero(codes < 32) - layout + np.count_nonzero(codes == 127))


def _encoding(raw: bytes) -> Encoded:
    if raw.startswith(codecs.BOM_UTF8):
        return Encoded("utf-8-sig")
    for mark in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE):
        if raw.startswith(mark):
            return Encoded("utf-16", "file: UTF-16 text, by its first two bytes")
    sample = raw[:4096]
    for name, zeros in (("utf-16-le", sample[1::2]), ("utf-16-be", sample[::2])):
        if len(sample) > 3 and zeros.count(0) > 0.7 * len(zeros):
            return Encoded(name, f"file: {name.upper()} text, by its zero bytes")
    if _decodes(raw, "utf-8"):
        return Encoded("utf-8")
    if name := _by_names(raw):
        known = "GBK" if name == "gb18030" else name.upper()
        return Encoded(name, f"file: not UTF-8; read as {known}, because its column names read that way")
    if _decodes(raw, "gb18030"):
        text = codecs.getincrementaldecoder("gb18030")().decode(raw)
        if re.search(r"[\u4e00-\u9fff]{2}", text):
            return Encoded("gb18030", "file: not UTF-8; read as GBK, because it reads as Chinese that way")
    if _decodes(raw, "cp1252"):
        return Encoded("cp1252", "file: not UTF-8; read as Windows-1252 (Latin-1)")
    return Encoded("latin-1", "file: not UTF-8; read as Latin-1")


def _by_names(raw: bytes) -> str:
    """The encoding in which most names of columns are known ones, of those that are not ASCII; empty if none is."""
    best, most = "", 0
    for name in ("gb18030", "cp949", "shift_jis", "big5", "cp1251", "cp1252"):
        if not _decodes(raw, name):
            continue
        for line in codecs.getincrementaldecoder(name)().decode(raw[: 1 << 16]).splitlines()[:30]:
            known = sum(not field.isascii() and is_alias(field) for field in re.split(r"[,;|\t]", line[:4096]))
            if known > most:
                best, most = name, known
    return best


def _decodes(raw: bytes, name: str) -> bool:
    try:
        # A head may end inside a character, a whole file may not.
        codecs.getincrementaldecoder(name)().decode(raw, final=len(raw) < HEAD)
    except UnicodeDecodeError:
        return False
    return True


def utf8_bytes(source: Source, encoded: Encoded) -> IO[bytes] | pa.NativeFile:
    """The whole text as a stream of UTF-8 without a mark. Plain files are mapped, not copied."""
    if encoded.name in ("utf-8", "utf-8-sig"):
        with source.open() as stream:
            plain = isinstance(stream, (io.BufferedReader, io.FileIO)) and not source.member
        try:
            if plain:
                return pa.memory_map(str(source.path), "r")
        except (OSError, pa.ArrowException):
            pass  # a pipe, or a file system without maps
        return io.BytesIO(source.read())
    try:
        return io.BytesIO(source.read().decode(encoded.name).encode())
    except UnicodeDecodeError as error:
        raise DataError(
            f"{source}: not {encoded.name.upper()} text at byte {error.start}: {error.reason}. Save it as UTF-8."
        ) from None
