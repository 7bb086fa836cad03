"""What lies between two bars of a store: a calibration is of bars so far apart."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from chandler.data import BarStore, infer_interval
from chandler.data.calendars import short


def spacings(store: BarStore, numbers: Sequence[int], symbols: int = 64, rows: int = 1024) -> list[str]:
    """`1d`, `5m`: of so many of these symbols, evenly spaced, by their first rows; the most common first."""
    found = Counter[str]()
    for number in numbers[:: -(-len(numbers) // symbols) or 1]:
        lo, hi = store.span(number)
        if hi - lo > 1:
            found[short(infer_interval(store.index(number, lo, min(hi, lo + rows))))] += 1
    return [one for one, _ in found.most_common()]


def spacing(store: BarStore) -> str:
    """The most common of `spacings`; "" where none has two bars."""
    return next(iter(spacings(store, range(len(store)))), "")
