"""A table under validation: the rows that are left of it, the symbol and time of each, and what is told of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from chandler.data.columns import Column, RawTable, as_series
from chandler.data.notes import Kind, Note
from chandler.data.reading.options import ReadingOptions
from chandler.errors import DataError
from chandler.text import count


class TableState:
    """What the checks work on, one after the other; each finds the N rows that those before it have left."""

    def __init__(self, table: RawTable, options: ReadingOptions, symbol: str):
        self.table, self.options = table, options
        self.index = pd.DatetimeIndex([])
        """The time of each row (N,), once it is read."""
        self.codes, self.symbols = np.zeros(len(table), np.intp), [symbol]
        """The number of each row's symbol (N,), and the symbols."""
        self._notes: list[tuple[Note, np.ndarray | None]] = [(note, None) for note in table.notes]

    def keep(self, kept: np.ndarray) -> None:
        """Go on with some of the rows (N,)."""
        if not kept.all():
            self.table, self.codes = self.table.only(kept), self.codes[kept]
            self.index = self.index[kept] if len(self.index) else self.index
            self._notes = [(note, about if about is None else about[kept]) for note, about in self._notes]

    def note(self, *texts: str, kind: Kind = "read", about: np.ndarray | None = None) -> None:
        """Tell this of all symbols; or of those that have rows it is `about` (N,), with how many and when."""
        if about is None or about.any():
            self._notes += [(Note(text, kind), about) for text in texts if text]

    def notes_of(self, own: Any) -> list[Note]:
        """The notes that hold of a symbol, whose rows `own` picks: those of all first, then those about rows of its own."""
        notes = [note for note, about in self._notes if about is None]
        for note, about in self._notes:
            if about is not None and about[own].any():
                times = self.index[own][about[own]]
                notes.append(Note(note.text, note.kind, len(times), str(times.min()), str(times.max())))
        return notes

    def refuse(
        self, bad: np.ndarray, what: str, remedy: str, role: str = "", raw: Column | None = None, rows: bool = True
    ) -> None:
        """Raise, where there are bad rows, what they deserve: where, what, how many, the first, its value, the remedy.

        `what` names the column of `role` at its braces; the value is that of `raw`, by default of this column.
        """
        if not bad.any():
            return
        if role:
            what, raw = what.format(repr(self.table.named(role))), self.table.column(role) if raw is None else raw
        row, how_many = int(np.argmax(bad)), count(int(np.count_nonzero(bad)), "row")
        code = self.codes[row]
        symbol = f"{self.symbols[code]}: " if code >= 0 and self.symbols[code] != "series" else ""
        value = "" if raw is None else f": {_shown(as_series(raw).iloc[row])}"
        time = f" at {self.index[row]}" if len(self.index) and not pd.isna(self.index[row]) else ""
        raise DataError(
            f"{symbol}{what}{f' in {how_many}' if rows else ''}, first{time} ({self.table.at(row)}){value}. {remedy}"
        )


def _shown(value: Any) -> str:
    if value is None or value is pd.NaT or value is pd.NA or value != value:
        return "empty"
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:37] + "...")
    return str(value)
