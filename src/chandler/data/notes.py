"""What reading decided about bars, and did to them: records, which every command prints, keeps and reports alike."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, get_args

import pandas as pd

from chandler.text import count, shortened

Kind = Literal[
    "read", "columns", "swapped", "unused", "absent", "adjusted", "dropped", "repeated", "filled", "kept", "clocks", "cleaning"
]  # fmt: skip
"""read: how a file, its times or numbers were taken; columns: which became what. The others change what the bars are, or
should be known before they are believed: columns that changed places, useful ones not used, none for the volume, prices
scaled, rows left out, rows that came twice, cells taken as 0, doubtful ones that stayed as they are, symbols under several
clocks and bars dated after today, stretches that cleaning would cut."""
_PLAIN = ("read", "columns")
SHOWN = 8
"""Lines that a command prints of them."""


class Note(str):
    """Something about the bars of one symbol: the sentence that says it, and what it is made of.

    `text` is in words, equal for all symbols that it holds of; `{rows}` in it stands for how many `rows`. `first` and
    `last` are the times of these, as written in their zone.
    """

    __slots__ = ("first", "kind", "last", "rows", "text")
    text: str
    kind: Kind
    rows: int
    first: str
    last: str

    def __new__(cls, text: str, kind: Kind = "read", rows: int = 0, first: str = "", last: str = "") -> Note:
        span = [moment.removesuffix(" 00:00:00") for moment in dict.fromkeys((first, last)) if moment]
        said = text.replace("{rows}", count(rows, "row")) + (f" ({' to '.join(span)})" if span else "")
        note = super().__new__(cls, said)
        note.text, note.kind, note.rows, note.first, note.last = text, kind, rows, first, last
        return note

    def __getnewargs__(self) -> tuple[Any, ...]:  # as copies and other processes make it
        return self.text, self.kind, self.rows, self.first, self.last

    @property
    def matters(self) -> bool:
        """Whether it belongs before the eyes of whoever uses the bars."""
        return self.kind not in _PLAIN

    def to_dict(self) -> dict[str, Any]:
        """In plain JSON types."""
        return {name: getattr(self, name) for name in ("text", "kind", "rows", "first", "last")}

    @classmethod
    def restored(cls, saved: str | Mapping[str, Any]) -> Note:
        """A note out of JSON: `to_dict` of one, or a sentence, as stores of earlier versions have them."""
        if isinstance(saved, str):
            return cls(saved)
        kind: Any = saved.get("kind")
        return cls(
            saved["text"], kind if kind in get_args(Kind) else "read", saved["rows"], saved["first"], saved["last"]
        )


def merged(notes: Iterable[Note]) -> tuple[Note, ...]:
    """Notes of pieces of one thing as notes of the whole: those that say the same become one, over all their rows."""
    found: dict[tuple[str, str], Note] = {}
    for note in notes:
        one = found.setdefault((note.kind, note.text), note)
        if one is not note:
            first = min(filter(None, (one.first, note.first)), default="")
            last = max(one.last, note.last)
            found[note.kind, note.text] = Note(note.text, note.kind, one.rows + note.rows, first, last)
    return tuple(found.values())


@dataclass(frozen=True)
class Finding:
    """A note with the symbols that it is about, out of `of`."""

    note: Note
    symbols: tuple[str, ...]
    of: int

    def __str__(self) -> str:
        about = "" if len(self.symbols) == self.of else f" [{shortened(self.symbols, 3)}]"
        return f"{self.note}{about}"

    def within(self, first: int, last: int) -> bool:
        """Whether its rows lie between two moments, ns since 1970, or may: of many only the first and the last are known."""
        if not self.note.first:
            return False
        begin, end = (_moment(one) for one in (self.note.first, self.note.last or self.note.first))
        return begin <= last and end >= first

    def to_dict(self, period: tuple[int, int] | None = None) -> dict[str, Any]:
        """In plain JSON types: the note, `symbols` (null: all), the sentence in `said`, and whether it `matters`.

        `here`: whether its rows lie in the period of a result, first and last moment in ns since 1970.
        """
        about = {"symbols": None if len(self.symbols) == self.of else list(self.symbols)}
        found = {**self.note.to_dict(), **about, "matters": self.note.matters, "said": str(self)}
        return found if period is None else {**found, "here": self.within(*period)}


def over_symbols(notes: Mapping[str, Iterable[Note]], of: int) -> list[Finding]:
    """The notes of symbols, equal ones as one finding; those of most symbols first, what matters before what does not."""
    whose: dict[tuple[str, str], list[str]] = {}
    every: list[Note] = []
    for symbol, own in notes.items():
        for note in merged(own):
            whose.setdefault((note.kind, note.text), []).append(symbol)
            every.append(note)
    found = [Finding(note, tuple(whose[note.kind, note.text]), of) for note in merged(every)]
    return sorted(found, key=lambda one: (not one.note.matters, -len(one.symbols)))


def note_lines(findings: Iterable[Finding], skipped: Sequence[str] = ()) -> list[str]:
    """The lines that a command prints of the bars it uses: what matters, and each source or symbol that was `skipped`."""
    found = [f"data: {one}" for one in findings if one.note.matters]
    lines = found[:SHOWN] + [f"skipped: {one}" for one in skipped[:20]]
    more = max(0, len(found) - SHOWN) + max(0, len(skipped) - 20)
    return [*lines, f"and {more:,} more: see chandler inspect"] if more else lines


def _moment(written: str) -> int:
    """ns since 1970, where wall clock is taken as UTC."""
    moment = pd.Timestamp(written)
    return int((moment if moment.tz is None else moment.tz_convert("UTC").tz_localize(None)).as_unit("ns").value)
