"""Bars resampled for a chart: the last few are kept, since a chart asks for them again at every move."""

from __future__ import annotations

import threading
from collections import OrderedDict

from chandler.data import BarStore, resample_bars
from chandler.errors import DataError
from chandler.serving.sources.registry import SourceRegistry

KEPT = 8
"""Resampled symbols that are kept in memory."""


class CoarserBars:
    """Symbols of sources at longer intervals."""

    def __init__(self, sources: SourceRegistry) -> None:
        self._sources = sources
        self._kept: OrderedDict[tuple[str, str, str, str], BarStore] = OrderedDict()
        self._turn = threading.Lock()

    def store(self, id: str, symbol: str, interval: str) -> BarStore:
        """One symbol's bars as a store of its own.

        Raises:
            Refusal: no such source, or one that is not read.
            DataError: no such symbol, an interval that does not fit, bars that are fewer than one of it.
        """
        key = (id, self._sources.revision(id), symbol, interval)
        with self._turn:
            if (there := self._kept.get(key)) is not None:
                return there
        made = resample_bars(self._sources.store(id)[symbol], interval)
        if not len(made):
            raise DataError(f"{symbol}: there is not one whole bar of {interval}.")
        store = BarStore.from_bars([made])
        with self._turn:
            self._kept[key] = store
            while len(self._kept) > KEPT:
                self._kept.popitem(last=False)
        return store
