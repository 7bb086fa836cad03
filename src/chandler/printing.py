"""Printing never ends a job: what a stream cannot encode is spelled otherwise, and a reader who has gone is not missed."""

from __future__ import annotations

import codecs
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, TextIO

_ALIKE = {
    "\N{MINUS SIGN}": "-", "\N{EN DASH}": "-", "\N{EM DASH}": "-", "\N{MIDDLE DOT}": ".", "\N{BULLET}": "*",
    "\N{MULTIPLICATION SIGN}": "x", "\N{RIGHTWARDS ARROW}": "->", "\N{HORIZONTAL ELLIPSIS}": "...",
    "\N{PLUS-MINUS SIGN}": "+-", "\N{NO-BREAK SPACE}": " ", "\N{LEFT SINGLE QUOTATION MARK}": "'",
    "\N{RIGHT SINGLE QUOTATION MARK}": "'", "\N{LEFT DOUBLE QUOTATION MARK}": '"',
    "\N{RIGHT DOUBLE QUOTATION MARK}": '"',
}  # fmt: skip
"""Signs of tables and texts, in ASCII. Letters are escaped: the name of a file stays readable by its code points."""


def printable(text: str, encoding: str | None) -> str:
    r"""The text as `encoding` can show it: a minus sign as -, other characters that it lacks as \u5e73; None: UTF-8."""
    try:
        codec = codecs.lookup(encoding or "utf-8").name
    except LookupError:
        codec = "ascii"
    try:
        text.encode(codec)
    except UnicodeEncodeError:
        return text.encode(codec, "chandler.alike").decode(codec)
    return text


def _alike(error: UnicodeError) -> tuple[str | bytes, int]:
    assert isinstance(error, UnicodeEncodeError)
    lacking = error.object[error.start : error.end]
    return "".join(_ALIKE.get(c) or c.encode("ascii", "backslashreplace").decode() for c in lacking), error.end


codecs.register_error("chandler.alike", _alike)


class Patient(io.TextIOBase):
    """A stream in front of another one, on which writing never fails. It has no `buffer`, so that nobody goes round it.

    A reader who has gone (`| head -1`), a full disk or a terminal that was closed ends the output, not the work.
    """

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream
        self.lost: OSError | None = None
        """Why nothing is written any more."""

    @property
    def encoding(self) -> str:  # type: ignore[override]
        return self.stream.encoding

    def isatty(self) -> bool:
        return self.stream.isatty()

    def fileno(self) -> int:
        return self.stream.fileno()

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"text is written here, not {type(text).__name__}")
        self._try(self.stream.write, printable(text, self.encoding))
        return len(text)

    def flush(self) -> None:
        self._try(self.stream.flush)

    def _try(self, act: Any, *values: str) -> None:
        if self.lost is not None:
            return
        try:
            act(*values)
        except OSError as error:
            self.lost = error
            # What is still buffered would fail again as the interpreter ends.
            with suppress(OSError):
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self.stream.fileno())
                os.close(nowhere)


@contextmanager
def patient_streams() -> Iterator[tuple[Patient, ...]]:
    """Within the block, stdout and stderr are `Patient`; those that there are."""
    before = sys.stdout, sys.stderr
    out, err = (None if stream is None else Patient(stream) for stream in before)
    sys.stdout, sys.stderr = out, err
    patient = tuple(one for one in (out, err) if one is not None)
    try:
        yield patient
    finally:
        for one in patient:
            one.flush()
        sys.stdout, sys.stderr = before
