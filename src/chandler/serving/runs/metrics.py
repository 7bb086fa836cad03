"""metrics.jsonl of a run while it grows, for whoever follows it: only what is new is read and sent."""

from __future__ import annotations

import json
import os
import re
import threading
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST = 2000
"""Training records of a stage that are sent at once."""
SEEN = 256
"""Bytes before a place by which it is known again."""


@dataclass(frozen=True)
class Tail:
    """Records after a place, and where the next ones will begin."""

    records: list[dict[str, Any]]
    next: str
    """"RECORDS-SUM": how many there are, and a sum over all of them."""
    reset: bool
    """The file was written anew (a run that goes on drops what it takes again): these are all records, from the first."""


class MetricsReader:
    """Follows the metrics.jsonl of one folder. It keeps lines as they came: a long run has a hundred thousand of them.

    A place in the file is a number of records and a sum over their bytes. Another file under the same name has other sums, unless
    it begins with the very same records; then nothing was missed.
    """

    def __init__(self, folder: Path) -> None:
        self._path = folder / "metrics.jsonl"
        self._lock = threading.Lock()
        self._inode: int = -1
        self._offset: int = 0
        self._sum: int = 0
        self._end: bytes = b""
        self._lines: list[bytes] = []
        self._sums: list[int] = []
        self._about: list[tuple[str, str]] = []
        """Stage and kind of each."""
        self._names: dict[tuple[str, str], tuple[str, str]] = {}

    def after(self, place: str | None = None, most: int = MOST) -> Tail:
        """What came after a place (None: all of it), with at most so many training records of a stage, evenly chosen, the
        last among them. Other records are all there."""
        with self._lock:
            self._read()
            first = self._known(place)
            chosen = list(self._chosen(first or 0, most))
            records = [json.loads(self._lines[at], parse_constant=lambda _: None) for at in chosen]
            return Tail(records, f"{len(self._lines)}-{self._sum:08x}", first is None)

    def _known(self, place: str | None) -> int | None:
        """Records before a place; None where it is none of this file."""
        if place is None:
            return 0
        found = re.fullmatch(r"(\d{1,12})-([0-9a-f]{8})", place)
        if found is None or int(found[1]) > len(self._lines):
            return None
        count = int(found[1])
        return count if int(found[2], 16) == (self._sums[count - 1] if count else 0) else None

    def _chosen(self, first: int, most: int) -> Iterator[int]:
        """Numbers of the records that are sent."""
        training: dict[str, int] = {}
        for stage, kind in self._about[first:]:
            training[stage] = training.get(stage, 0) + (kind == "train")
        passed = dict.fromkeys(training, 0)
        for at in range(first, len(self._lines)):
            stage, kind = self._about[at]
            if kind == "train":
                passed[stage] += 1
                every = -(-training[stage] // most)
                if passed[stage] % every and passed[stage] < training[stage]:
                    continue
            yield at

    def _read(self) -> None:
        """Take in what was added; all of it where this is another file. The half line that is being written waits."""
        try:
            with self._path.open("rb") as file:
                # Not its size alone: one that was written anew may have grown beyond the old; nor its number, which may come again.
                status = os.fstat(file.fileno())
                file.seek(max(0, self._offset - len(self._end)))
                if status.st_ino != self._inode or file.read(len(self._end)) != self._end:
                    self._forget()
                    self._inode = status.st_ino
                file.seek(self._offset)
                added = file.read()
        except FileNotFoundError:
            self._forget()
            return
        whole = added[: added.rfind(b"\n") + 1]
        self._offset += len(whole)
        self._end = (self._end + whole)[-SEEN:]
        for line in whole.splitlines():
            try:
                record = json.loads(line)
                about = str(record["stage"]), str(record["kind"])
            except (ValueError, TypeError, KeyError):
                continue  # what a process left as it died
            self._sum = zlib.crc32(line, self._sum)
            self._lines.append(line)
            self._sums.append(self._sum)
            self._about.append(self._names.setdefault(about, about))

    def _forget(self) -> None:
        self._inode, self._offset, self._sum, self._end = -1, 0, 0, b""
        self._lines, self._sums, self._about, self._names = [], [], [], {}
