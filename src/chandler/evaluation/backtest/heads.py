"""A signal head as the source of scores, on bars that had no part in making it."""

from __future__ import annotations

import numpy as np
import pandas as pd

from chandler.data import CLOSE, tick_of
from chandler.data.store import BarStore
from chandler.errors import DataError
from chandler.evaluation.backtest.signals import SignalBars
from chandler.forecasting import Forecaster, SignalHead
from chandler.progress import Progress

EMBEDDED = 1024
"""Bars that a head scores between two reports."""


def head_signals(forecaster: Forecaster, head: SignalHead, bars: SignalBars, shown: Progress) -> pd.DataFrame:
    """The score of a head on every signal bar, as of `forecast_signals`: so quick that nothing is kept on the way."""
    scores = np.empty(len(bars))
    with shown.track("signal head", len(bars), unit="bars") as report:
        for begin in range(0, len(bars), EMBEDDED):
            rows = bars.rows[begin : begin + EMBEDDED]
            scores[begin : begin + EMBEDDED] = head.read(forecaster.embed_rows(bars.store, rows, bars.lookback))
            report(len(rows))
    return pd.DataFrame({
        "timestamp": pd.to_datetime(np.asarray(bars.store.timestamps)[bars.rows], unit="ns"),
        "symbol": np.asarray(bars.store.symbols, dtype=object)[bars.numbers],
        "score": scores,
        "last": np.asarray(bars.store.values)[bars.rows, CLOSE].astype(np.float64),
    })  # fmt: skip


def after_fit(head: SignalHead, store: BarStore, start: str | None, *, given: bool) -> str | None:
    """Where trading begins: at `start`, or after the last bar that had a say in the head, if that is later.

    Raises:
        DataError: a `start` that was `given` and is earlier.
    """
    until = _until(head)
    if until is None or (start is not None and (tick_of(start, "UTC") or 0) > until.value):
        return start
    if given:
        raise DataError(
            f"the signal head was fitted and chosen on bars up to {until}: trading them proves nothing. Leave `start` out, "
            "which begins after them, or pass force=True."
        )
    first = pd.Timestamp(until.value + 1)
    return f"{first.isoformat()}+00:00" if any(store.zones) else first.isoformat()


def fitted_notes(head: SignalHead, bars: SignalBars) -> list[str]:
    """What is to be said of bars that the head knows."""
    until = _until(head)
    if until is None:
        return ["What the signal head was fitted on is not on record: it may know the bars that are traded."]
    early = int((bars.targets() <= until.value).sum())
    return [f"{early:,} of {len(bars):,} signals: the head was fitted or chosen on these bars."] if early else []


def _until(head: SignalHead) -> pd.Timestamp | None:
    """The last moment whose bars fitted or chose a head."""
    found = head.about.get("validation")
    return pd.Timestamp(str(found["until"])) if isinstance(found, dict) and "until" in found else None
