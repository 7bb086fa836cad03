"""Draws a forecast with plotly, for pages; the sister of `static`. Prices stand in the hover."""

from __future__ import annotations

from typing import Any

import plotly.graph_objects as go

from chandler.candles import candle_axis, candlestick
from chandler.forecasting.plots.common import AHEAD, FAINT, FALL, INK, MUTED, RISE, Picture

SHADE = "rgba(122, 62, 157, 0.2)"
"""AHEAD, see-through."""


def forecast_figure(picture: Picture) -> go.Figure:
    """The figure of `Forecast.figure`."""
    past, ahead = picture.labels[: len(picture.past)], picture.labels[len(picture.past) :]
    mean, low, high = picture.lines().tolist()
    rising, falling = (RISE, "white"), (FALL, FALL)
    traces = [candlestick(past, picture.past.values[:, :4].T.tolist(), "history", rising, falling)]
    line: dict[str, Any] = {"type": "scatter", "mode": "lines", "x": [past[-1], *ahead], "yhoverformat": ".6g"}
    if len(picture.close) > 1:
        edge = line | {"line": {"width": 0, "color": AHEAD}, "legendgroup": "band"}
        traces.append(edge | {"y": low, "showlegend": False, "name": "band, lower"})
        traces.append(edge | {"y": high, "name": picture.band_name, "fill": "tonexty", "fillcolor": SHADE})
    traces.append(line | {"y": mean, "name": picture.mean_name, "line": {"color": AHEAD, "width": 2.4}})
    if picture.truth is not None:
        steps, came = picture.came_true()
        x = [ahead[step] for step in steps]
        traces.append(candlestick(x, came[:, :4].T.tolist(), "what came true", (INK, "white"), (INK, INK)))
    axis = {"gridcolor": FAINT, "zeroline": False, "linecolor": MUTED}
    layout: dict[str, Any] = {
        "title": {"text": picture.title, "x": 0.01},
        "template": "plotly_white",
        "hovermode": "x unified",
        "legend": {"orientation": "h", "x": 0, "y": -0.18, "yanchor": "top"},
        "font": {"family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif", "color": INK},
        "margin": {"l": 60, "r": 20, "t": 60, "b": 60},
        "xaxis": {**axis, "title": {"text": picture.time_title}},
        "yaxis": {**axis, "title": {"text": "price"}},
    }
    candle_axis(layout, picture.index, len(past), AHEAD)
    return go.Figure({"data": traces, "layout": layout})
