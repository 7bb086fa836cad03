"""Which encoding a text is in, and its bytes as UTF-8.

A file is judged by its first bytes, so that noise and endless lines are refused before they are read.
"""

from __future__ import annotations

import codecs
import io
import re
from dataclasses import dataclass, replace
from typing import IO

import numpy as np
import pyarrow as pa

from chandler.data.column_names import is_alias
from chandler.data.reading.discovery import Source
from chandler.errors import DataError

HEAD = 1 << 20
"""Bytes of a text file that are looked at first; a first line that is longer is no line of a table."""
_BINARY = {b"PAR1": "a Parquet file", b"ARROW1": "an Arrow or Feather file", b"%PDF": "a PDF",
           b"\x89HDF": "an HDF5 file", b"\xd0\xcf\x11\xe0": "an Excel file", b"SQLite": "an SQLite database",
           b"\x80\x04\x95": "a pickle", b"\x80\x05\x95": "a pickle"}  # fmt: skip


@dataclass(frozen=True)
class Blanks:
    """Columns that blanks separate, as frames are printed: they are read with tabs between them."""

    header: str
    """What is between the names in the first line; one blank may stand within a name where only several are."""
    between: str
    """What is between the cells of the others."""
    clock: bool = True
    """Whether a date and the time of day behind it are one cell."""
    index: str | None = None
    """What the first column is called, where it has no name in the first line."""

    def names(self, line: str) -> list[str]:
        """The fields of the first line."""
        return re.split(self.header, line.strip())

    def cells(self, line: str) -> list[str]:
        """The fields of another line."""
        if self.clock:
            line = _DATE_AND_CLOCK.sub("\0", line)
        return [cell.replace("\0", " ") for cell in re.split(self.between, line.strip())]

    def with_tabs(self, text: str) -> str:
        """The text, line for line."""
        lines = text.splitlines()
        first, second = [*(number for number, line in enumerate(lines) if line.strip()), 0][:2]
        names = self.names(lines[first])
        lines = ["\t".join(self.cells(line)) for line in lines]
        lines[first] = "\t".join(names if self.index is None else [self.index, *names])
        if lines[second] == self.index:
            lines[second] = ""
        return "\n".join(lines) + "\n"


_DATE_AND_CLOCK = re.compile(r"(?<=\d[-/.]\d\d)\s+(?=\d{1,2}:\d\d)")
_NUMBER = re.compile(r"(?<!\S)-?\d+(\.\d*)?(?!\S)")


def _blanks(text: str) -> Blanks | None:
    """How the columns of a text are separated by blanks; None where something else separates them."""
    lines = [line for line in text[: 1 << 14].splitlines() if line.strip()][:-1] or [text]
    rows = [re.sub(r"(?<=\d),(?=\d{3}\b)", "", line) for line in lines[1:]]
    index = ""
    if rows and re.fullmatch(r"\s*[^\W\d]\S*\s*", rows[0]):
        index = rows.pop(0).strip()
    if not rows or any(max(map(row.count, ",;\t|")) > 3 or len(re.findall(_NUMBER, row)) < 4 for row in rows):
        return None
    several, any_number = r"\s{2,}", r"\s+"
    for header, between, clock in (
        (several, several, True), (several, any_number, True), (any_number, any_number, True), (any_number, any_number, False)
    ):  # fmt: skip
        blanks = Blanks(header, between, clock)
        width = len(blanks.cells(rows[0]))
        missing = width - len(blanks.names(lines[0]))
        if width > 4 and missing in (0, 1) and all(len(blanks.cells(row)) == width for row in rows):
            return replace(blanks, index=index if missing else None)
    return None


@dataclass(frozen=True)
class Encoded:
    """Which encoding a text is in; `note` says why, where it is not UTF-8."""

    name: str
    note: str = ""
    blanks: Blanks | None = None
    """How its columns are aligned, where blanks separate them."""


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
    blanks = _blanks(text)
    if blanks is not None:
        return blanks.with_tabs(text), replace(encoded, blanks=blanks)
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
    if encoded.blanks is not None:
        text = source.read().decode(encoded.name, "replace")
        return io.BytesIO(encoded.blanks.with_tabs(text).encode())
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
