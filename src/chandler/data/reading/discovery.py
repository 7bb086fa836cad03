"""Finds the files of a path and opens their bytes: folders, globs, gzip, zip."""

from __future__ import annotations

import glob
import gzip
import os
import re
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import IO, NamedTuple

from chandler.data.parallel import cores
from chandler.errors import DataError
from chandler.text import listed

TEXT = (".csv", ".tsv", ".txt")
ROWS = (".jsonl", ".ndjson", ".json")
COLUMNAR = (".parquet", ".pq", ".feather", ".arrow", ".ipc")
SUFFIXES = (*TEXT, *(suffix + ".gz" for suffix in (*TEXT, *ROWS[:2])), *ROWS, *COLUMNAR, ".zip")
STOCKS = "chandler-stocks"
"""The bars that come with the package, five US stocks by day: for trying things out."""
LARGE = 1 << 20
"""Bytes of a file, on average, from which threads serve: the engines that parse tables work outside of Python's lock.
Small files and JSON keep Python itself busy, and take processes."""
_THREAD, _PROCESS = 2 << 20, 32 << 20
"""Bytes of work that are worth a thread or a process: what one reads in a multiple of the time that it takes to start."""
_READ_ERRORS = (OSError, EOFError, zlib.error, zipfile.BadZipFile, NotImplementedError, RuntimeError)


_OTHER = re.compile(
    r"\.(bz2|xz|zst|lz4|gz|7z|rar|tar|tgz|xls[xmb]?|ods|h5|hdf5?|orc|avro|sqlite3?|db|duckdb|pkl|pickle|dta|sas7bdat|sav|rds|np[yz]|dat)$",
    re.IGNORECASE,
)
"""Ends of names of files that could hold bars, and that nothing here reads."""
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_DAY_IN_NAME = re.compile(
    r"(?<!\d)(?P<y>(?:19|20)\d\d)(?P<s>[-_.]?)(?P<m>\d\d)(?P=s)(?P<d>\d\d)(?!\d)"
    rf"|(?<!\d)(?P<d2>\d\d)[-_]?(?P<m2>{'|'.join(_MONTHS)})[-_]?(?P<y2>(?:19|20)\d\d)(?!\d)"
    r"|^eq(?:_isincode)?_?(?P<d3>\d\d)(?P<m3>\d\d)(?P<y3>\d\d)$",
    re.IGNORECASE,
)
"""A date in the name of a file that reads in one way only."""


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

    @property
    def day(self) -> str:
        """The one date in the name, as 2024-01-02: `daily_20240102`, `cm02JAN2024bhav`, `EQ020124` of the BSE; else empty."""
        found = list(_DAY_IN_NAME.finditer(self.stem))
        if len(found) != 1:
            return ""
        y, m, d = (found[0][key] or found[0][key + "2"] or found[0][key + "3"] for key in "ymd")
        month = m if m.isdigit() else f"{_MONTHS.index(m.casefold()) + 1:02d}"
        try:
            return str(date.fromisoformat(f"{y if len(y) == 4 else '20' + y}-{month}-{d}"))
        except ValueError:
            return ""

    @property
    def undated(self) -> str:
        """The name without its date, or that of the folder where nothing else is in it."""
        rest = _DAY_IN_NAME.sub("", self.stem).strip(" _.-")
        return rest or self.path.absolute().parent.name

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


class Found(NamedTuple):
    """What a path names."""

    sources: list[Source]
    """In the order of their names."""
    problems: list[str]
    """A message for each part that cannot be listed."""
    passed: list[str]
    """A message for each folder or archive with files that could hold bars, of a kind that is not read."""


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
    passed: list[str] = []
    try:
        is_folder, exists = path.is_dir(), path.exists()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise DataError(f"{text[:200]}: cannot be looked at: {why}. Check the path and its permissions.") from None
    if is_folder:
        files = sorted(_walk(path, problems, passed))
        if not files and not problems:
            there = f" ({passed[0].partition(': ')[2]})" if passed else ""
            raise DataError(f"{path}: no data files in this folder{there}. Supported are {', '.join(SUFFIXES)}.")
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
            sources += _members(file, passed)
        except DataError as error:
            problems.append(str(error))
    return Found(sources, problems, passed)


def _passed_over(place: str, names: Iterable[str]) -> list[str]:
    """The message for what is in a folder or an archive and is not read, where that could be bars."""
    other = sorted(
        name for name in names if _OTHER.search(name) and not Source(Path(name)).suffix and name[0] not in ".~"
    )
    return [f"{place}: passed over, for nothing here reads such files: {listed(other, 6)}"] if other else []


def _walk(folder: Path, problems: list[str], passed: list[str]) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        problems.append(f"{error.filename}: cannot be listed: {error.strerror}. Check its permissions.")

    for place, folders, names in os.walk(folder, onerror=refuse):
        folders[:] = sorted(name for name in folders if not name.startswith((".", "__MACOSX")))
        passed += _passed_over(place, names)
        for name in names:
            file = Path(place, name)
            if not name.startswith(".") and Source(file).suffix and not file.is_dir():
                yield file


def _members(file: Path, passed: list[str]) -> list[Source]:
    """The file itself, or what is in it where it is an archive."""
    if not file.name.lower().endswith(".zip"):
        return [Source(file)]
    try:
        with zipfile.ZipFile(file) as archive:
            names = [one.filename for one in archive.infolist() if not one.is_dir()]
    except _READ_ERRORS as error:
        raise Source(file).unreadable(error) from None
    passed += _passed_over(str(file), names)
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
