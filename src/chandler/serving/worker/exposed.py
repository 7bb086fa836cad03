"""What a model knows of bars, by the rules of `evaluate`: of those that are forecast, and of all that a source has of a symbol."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
import pandas as pd

from chandler.data import BarStore
from chandler.evaluation.walk_forward import REFUSED, SAYS, Period, exposure
from chandler.forecasting import Calibration
from chandler.serving.sources import chart_seconds, step_seconds
from chandler.serving.worker.series import Prepared, opened


def exposed(model: str, series: Sequence[Prepared], used: Calibration | None) -> list[dict[str, str] | None]:
    """The mark of each origin and what it says: of the bar that comes after it, there or to come. `used`: the calibration of
    the forecast, which knows the bars that it was fitted on."""
    known, found = exposure(model), []
    until = None if used is None else pd.Timestamp(used.last).as_unit("ns").value
    for one in series:
        moment = one.first.as_unit("ns").value
        mark: str = _at(known.periods(one.history.symbol), moment)
        says = [SAYS[mark]] if mark else []
        if used is not None and until is not None and moment <= until:
            mark = mark if mark in REFUSED else "calibrated"
            says.append(
                f"the calibration was fitted on bars up to {used.last[:10]}, so that what it covers here proves nothing"
            )
        found.append({"mark": mark, "says": "; ".join(says)} if mark else None)
    return found


def _at(periods: Sequence[Period], moment: int) -> str:
    return next(one.mark for one in periods if one.until is None or moment <= one.until)


def periods(model: str, bars: dict[str, str], symbol: str) -> list[dict[str, Any]]:
    """The bars of a symbol that something is to be said of: from the first to the last of each period, in the times of a chart.

    Args:
        model: what it is loaded from.
        bars: as `series.opened` takes them.

    Raises:
        DataError: no such symbol.
    """
    store = opened(bars)
    return list(_periods(exposure(model).periods(symbol), store, store.number(symbol)))


def _periods(known: Sequence[Period], store: BarStore, number: int) -> Iterator[dict[str, Any]]:
    base, end = store.span(number)
    times, step = np.asarray(store.timestamps[base:end]), step_seconds(store, number)
    lo = 0
    for one in known:
        hi = len(times) if one.until is None else int(np.searchsorted(times, one.until, side="right"))
        if hi > lo and one.mark:
            first, last = (store.index(number, base + row, base + row + 1) for row in (lo, hi - 1))
            yield {
                "from": int(chart_seconds(first, step)[0]), "to": int(chart_seconds(last, step)[0]),
                "kind": one.mark, "says": SAYS[one.mark],
            }  # fmt: skip
        lo = max(lo, hi)
