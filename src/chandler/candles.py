"""Candles as plotly takes them, for pages and for pictures of forecasts: plain dicts, bars evenly spaced along the axis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd

TICKS = 6


def bar_labels(index: pd.DatetimeIndex) -> list[str]:
    """A distinct, readable label per bar: the date, with the time where bars are shorter than days."""
    daily = bool((index == index.normalize()).all())
    labels = [f"{moment:%d %b %Y}" if daily else f"{moment:%d %b %Y %H:%M}" for moment in index]
    # The hour that clocks repeat in autumn, and bars of seconds, would share a label and so a place.
    return labels if len(set(labels)) == len(labels) else [str(moment) for moment in index]


def tick_texts(index: pd.DatetimeIndex) -> list[str]:
    """Short labels of some bars: the day, the time where it matters, and the year where it is new."""
    texts, year = [], None
    for moment in index:
        time = "" if moment == moment.normalize() else f" {moment:%H:%M}"
        texts.append(f"{moment.day} {moment:%b}{time}" + (f"<br>{moment.year}" if moment.year != year else ""))
        year = moment.year
    return texts


def candlestick(
    x: Sequence[str],
    prices: Sequence[Sequence[float | None]],
    name: str,
    rising: tuple[str, str],
    falling: tuple[str, str],
) -> dict[str, Any]:
    """Open, high, low and close, each (N,), at the labels x. Of rising bars (close at or above open) and of falling ones the
    colours of line and body: hollow is a body in the colour of the paper."""
    trace: dict[str, Any] = {"type": "candlestick", "x": list(x), "name": name, "whiskerwidth": 0}
    trace |= zip(("open", "high", "low", "close"), map(list, prices), strict=True)
    for key, (line, body) in (("increasing", rising), ("decreasing", falling)):
        trace[key] = {"line": {"color": line, "width": 1.1}, "fillcolor": body}
    return trace


def candle_axis(layout: dict[str, Any], index: pd.DatetimeIndex, history: int, colour: str) -> None:
    """Evenly spaced bars with a few dates below them, and a line after the last bar of the history."""
    labels, every = bar_labels(index), max(1, -(-len(index) // TICKS))
    layout["xaxis"] |= {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": labels,
        "tickmode": "array",
        "tickvals": labels[::every],
        "ticktext": tick_texts(index[::every]),
        "tickangle": 0,
        "showgrid": False,
        "unifiedhovertitle": {"text": "%{x}"},  # else a bar with a tick would show its short label
        "range": [-0.7, len(labels) - 0.3],
        "rangeslider": {"visible": False},
    }
    boundary = {"x0": history - 0.5, "x1": history - 0.5, "y0": 0, "y1": 1, "yref": "paper"}
    layout["shapes"] = [{"type": "line", **boundary, "line": {"color": colour, "width": 1, "dash": "dash"}}]
