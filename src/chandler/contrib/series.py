"""Columns of numbers over time, as general forecasting libraries hold them, as the bars that the model sees.

open, high, low and close (with volume and amount, where they are there; any capitals) are the candles of one symbol. Every
other column is a series of its own, each value a candle without a body: open = high = low = close.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd

from chandler.data import CLOSE, FEATURES, PRICES, Bars


@dataclass(frozen=True, eq=False)
class ColumnBars:
    """Bars, and which of their features stands for which column."""

    bars: Bars
    features: Mapping[int, int]
    """Position of the column -> position of the feature."""


def columns_as_bars(frame: pd.DataFrame, times: pd.DatetimeIndex, name: str = "") -> list[ColumnBars]:
    """Bars for all columns of a frame (N, C) of finite numbers at increasing times (N,).

    Raises:
        DataError: the columns are candles and these cannot be: a price not above 0, for example.
    """
    found: dict[str, int] = {}
    for position, column in enumerate(frame.columns):
        if str(column).lower() in FEATURES:
            found.setdefault(str(column).lower(), position)
    made, candles, times = [], {}, times.as_unit("ns")
    if set(PRICES) <= set(found):
        candles = {position: FEATURES.index(feature) for feature, position in found.items()}
        rows = frame.iloc[:, list(candles)].set_axis(list(found), axis=1)
        made.append(ColumnBars(Bars.from_frame(rows, symbol=name or "y", timestamps=times), candles))
    for position, column in enumerate(frame.columns):
        if position not in candles:
            values = np.zeros((len(frame), len(FEATURES)))
            values[:, : CLOSE + 1] = frame.iloc[:, position].to_numpy(float)[:, None]
            made.append(ColumnBars(Bars(_label(name, column), times, values), {position: CLOSE}))
    return made


def _label(name: str, column: Hashable) -> str:
    return f"{name}/{column}" if name else str(column)
