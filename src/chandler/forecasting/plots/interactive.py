"""Draws a forecast with plotly, for pages: candles of the history, mean and band of the forecast close, the truth.

The interactive sister of `plots`: bars are evenly spaced, colours and candles are the same, prices stand in the hover.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from chandler.data.bars import Bars
from chandler.data.columns import CLOSE, HIGH, LOW, OPEN
from chandler.forecasting.forecast import Forecast
from chandler.forecasting.plots.common import AHEAD, FAINT, FALL, INK, MUTED, RISE, drawn_history, matching

TICKS = 8
SHADE = "rgba(122, 62, 157, 0.2)"
"""AHEAD, see-through."""


def forecast_figure(
    forecast: Forecast, *, truth: Bars | pd.DataFrame | None = None, band: float = 0.8, history_rows: int = 60
) -> go.Figure:
    """The figure of `Forecast.figure`, whose arguments and errors these are."""
    history = drawn_history(forecast, band, history_rows)
    labels = _labels(pd.DatetimeIndex(history.timestamps.append(forecast.timestamps)))
    past, ahead = labels[: len(history)], labels[len(history) :]
    close = forecast.paths[:, :, CLOSE]
    last = history.values[-1, CLOSE]
    figure = go.Figure()
    figure.add_trace(_candles(past, history.values, "history", RISE, FALL))
    # Band and mean begin at the last known close: the forecast grows out of it.
    x = [past[-1], *ahead]
    if len(close) > 1:
        low, high = np.quantile(close, [(1 - band) / 2, (1 + band) / 2], axis=0)
        edge = {"mode": "lines", "line": {"width": 0, "color": AHEAD}, "legendgroup": "band", "yhoverformat": ".6g"}
        name = f"{band:.0%} of {len(close)} paths"
        figure.add_trace(go.Scatter(x=x, y=_from(last, low), showlegend=False, name="band, lower", **edge))
        shade = {"fill": "tonexty", "fillcolor": SHADE}
        figure.add_trace(go.Scatter(x=x, y=_from(last, high), name=name, **edge, **shade))
    name = "mean forecast close" if len(close) > 1 else "forecast close (1 path)"
    line = {"color": AHEAD, "width": 2.4}
    mean = _from(last, close.mean(axis=0))
    figure.add_trace(go.Scatter(x=x, y=mean, name=name, mode="lines", line=line, yhoverformat=".6g"))
    if truth is not None:
        steps, came = matching(truth, forecast)
        figure.add_trace(_candles([ahead[step] for step in steps], came, "what came true", INK, INK))
    _finish(figure, forecast, labels, len(history))
    return figure


def _from(last: float, values: NDArray[np.float64]) -> list[float]:
    return [float(last), *values.tolist()]


def _candles(x: list[str], bars: NDArray[np.float64], name: str, rise: str, fall: str) -> go.Candlestick:
    """Bars (N, 6) at the labels x: hollow where the close is at or above the open, filled where it is below."""
    prices = {key: bars[:, i].tolist() for key, i in (("open", OPEN), ("high", HIGH), ("low", LOW), ("close", CLOSE))}
    return go.Candlestick(
        x=x,
        **prices,
        name=name,
        increasing={"line": {"color": rise, "width": 1.2}, "fillcolor": "white"},
        decreasing={"line": {"color": fall, "width": 1.2}, "fillcolor": fall},
    )


def _labels(index: pd.DatetimeIndex) -> list[str]:
    """A distinct label per bar: the date, with the time where bars are shorter than days."""
    daily = bool((index == index.normalize()).all())
    labels = [f"{moment:%d %b %Y}" if daily else f"{moment:%d %b %Y %H:%M}" for moment in index]
    # The hour that clocks repeat in autumn, and bars of seconds, would share a label and so a place.
    return labels if len(set(labels)) == len(labels) else [str(moment) for moment in index]


def _finish(figure: go.Figure, forecast: Forecast, labels: list[str], past: int) -> None:
    """Titles, evenly spaced bars, and a line between what is known and what is not."""
    bars = "bar" if forecast.horizon == 1 else f"{forecast.horizon} bars"
    zone = forecast.timestamps.tz
    axis = {"gridcolor": FAINT, "zeroline": False, "linecolor": MUTED}
    figure.add_vline(x=past - 0.5, line={"color": AHEAD, "width": 1, "dash": "dash"})
    figure.update_layout(
        title={"text": f"{forecast.symbol}: next {bars} after {labels[past - 1]}", "x": 0.01},
        template="plotly_white",
        hovermode="x unified",
        legend={"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
        font={"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "color": INK},
        margin={"l": 60, "r": 20, "t": 60, "b": 60},
        xaxis={
            **axis,
            "title": {"text": f"time of bar ({zone})" if zone is not None else "time of bar"},
            "type": "category",
            "categoryorder": "array",
            "categoryarray": labels,
            "tickmode": "array",
            "tickvals": labels[:: max(1, -(-len(labels) // TICKS))],
            "tickangle": 0,
            "range": [-0.7, len(labels) - 0.3],
            "rangeslider": {"visible": False},
            "showgrid": False,
        },
        yaxis={**axis, "title": {"text": "price"}},
    )
