"""What lies between two bars of a store: a calibration is of bars so far apart."""

from __future__ import annotations

from collections import Counter

from chandler.data import BarStore, infer_interval
from chandler.data.calendars import short


def spacing(store: BarStore, symbols: int = 64, rows: int = 1024) -> str:
    """`1d`, `5m`: of most of so many symbols, evenly spaced, by their first rows; "" where none has two bars."""
    found = Counter(
        short(infer_interval(store.index(number, lo, min(hi, lo + rows))))
        for number in range(0, len(store), -(-len(store) // symbols) or 1)
        for lo, hi in [store.span(number)]
        if hi - lo > 1
    )
    return found.most_common(1)[0][0] if found else ""
