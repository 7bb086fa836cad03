"""Plotly figures of the report as plain dicts. A colour is the name of a CSS variable ("--ink"), so that the page
can follow the reader's light or dark scheme; `resolve` puts real colours in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.data.bars import FEATURES

Figure = dict[str, Any]
OPEN, HIGH, LOW, CLOSE = (FEATURES.index(name) for name in ("open", "high", "low", "close"))
TICKS = 6
_WIDE = 5.0
"""Losses that fall by more than this factor get a logarithmic axis."""


def candle_axis(layout: Figure, index: pd.DatetimeIndex, labels: Sequence[str], history: int) -> None:
    """Evenly spaced bars with a few dates below them, and a line after the last bar of the history."""
    every = max(1, -(-len(labels) // TICKS))
    layout["xaxis"] |= {
        "type": "category",
        "categoryorder": "array",
        "categoryarray": list(labels),
        "tickmode": "array",
        "tickvals": list(labels[::every]),
        "ticktext": tick_texts(index[::every]),
        "unifiedhovertitle": {"text": "%{x}"},  # else a bar with a tick would show its short label
        "range": [-0.7, len(labels) - 0.3],
        "rangeslider": {"visible": False},
    }
    boundary = {"x0": history - 0.5, "x1": history - 0.5, "y0": 0, "y1": 1, "yref": "paper"}
    layout["shapes"] = [{"type": "line", **boundary, "line": {"color": "--rule-strong", "width": 1, "dash": "dash"}}]


def keys(pairs: Sequence[tuple[str, str]]) -> str:
    """A legend as HTML from (class of the sample, text) pairs."""
    items = "".join(f'<li><i class="{kind}"></i>{escape(text)}</li>' for kind, text in pairs)
    return f'<ul class="legend">{items}<li class="note">hollow: the bar closed above its open; filled: below</li></ul>'


def losses(
    train: Sequence[tuple[int, float]],
    validation: Sequence[tuple[int, float]],
    *,
    best_step: int | None = None,
) -> Figure:
    """Training loss as a line and validations as points, (step, value) pairs; step 0 and the best are marked.

    Args:
        train, validation: in the same unit; validation begins with step 0.
        best_step: of the checkpoint that was chosen; None for the lowest validation.
    """
    traces: list[Figure] = []
    if train:
        steps, values = zip(*train, strict=True)
        line = curve(steps, values, "--ink-soft", name="training", width=1.3)
        traces.append(line | {"hovertemplate": "training at step %{x}: %{y:.4g}<extra></extra>"})
    last = max((step for step, _ in (*train, *validation)), default=1)
    if validation:
        steps, values = zip(*validation, strict=True)
        line = curve(steps, values, "--model", name="validation", width=1.2, dash="dot")
        line |= {"mode": "lines+markers", "marker": {"color": "--model", "size": 7}}
        traces.append(line | {"hovertemplate": "validation at step %{x}: %{y:.4g}<extra></extra>"})
        # The first of equals: a later one is promoted only if it is strictly better.
        lowest = min(validation, key=lambda pair: pair[1])
        best = next((pair for pair in validation if pair[0] == best_step), lowest)
        start = validation[0]
        marks = [(start, "start", "square-open"), (best, "best", "circle-open")]
        for point, name, symbol in marks if best != start else [(start, "start, and best", "square-open")]:
            marker = {"symbol": symbol, "size": 14, "color": "--truth", "line": {"width": 2.2, "color": "--truth"}}
            trace = {"type": "scatter", "mode": "markers", "x": [point[0]], "y": rounded([point[1]]), "name": name}
            traces.append({**trace, "marker": marker, "hoverinfo": "skip"})
    layout = layout_of(hover="closest")
    layout["xaxis"] |= {"title": {"text": "optimiser step", "standoff": 4}, "range": [-0.03 * last, 1.03 * last]}
    shown = [value for trace in traces for value in trace["y"]]
    if shown and min(shown) > 0 and max(shown) / min(shown) > _WIDE:
        layout["yaxis"] |= {"type": "log", "tickmode": "array"} | _decades(min(shown), max(shown))
    return {"data": traces, "layout": layout}


def _decades(low: float, high: float) -> Figure:
    """Ticks at 1, 2 and 5 of each power of ten from `low` to `high`, written out."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return {"tickvals": values, "ticktext": [f"{value:g}" for value in values]}


def resolve(figure: Any, colours: Mapping[str, str]) -> Any:
    """The figure with CSS variables replaced by colours, as the page's script does it."""
    if isinstance(figure, dict):
        return {key: resolve(value, colours) for key, value in figure.items()}
    if isinstance(figure, list):
        return [resolve(value, colours) for value in figure]
    return colours.get(figure, figure) if isinstance(figure, str) and figure.startswith("--") else figure


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


def curve(x: Sequence[Any], y: Any, colour: str, *, name: str = "", width: float = 1.0, dash: str = "solid") -> Figure:
    line = {"color": colour, "width": width, "dash": dash}
    return {"type": "scatter", "mode": "lines", "x": list(x), "y": rounded(y), "name": name, "line": line}


def candlestick(x: Sequence[str], values: NDArray[np.float64], colour: str, fill: str, name: str) -> Figure:
    prices = {key: rounded(values[:, i]) for key, i in (("open", OPEN), ("high", HIGH), ("low", LOW), ("close", CLOSE))}
    rising = {"line": {"color": colour, "width": 1.1}, "fillcolor": "--page"}
    falling = {"line": {"color": colour, "width": 1.1}, "fillcolor": fill}
    shape = {"type": "candlestick", "x": list(x), "name": name, "whiskerwidth": 0, "hoverinfo": "skip", "zorder": 2}
    return {**shape, **prices, "increasing": rising, "decreasing": falling, "showlegend": True}


def prices_on_hover(x: Sequence[str], values: NDArray[np.float64], name: str) -> Figure:
    """An unseen line that puts one row of prices into the unified hover; a candlestick would take five."""
    texts = [
        "  ".join(f"{key} {_price(row[i])}" for key, i in zip("OHLC", (OPEN, HIGH, LOW, CLOSE), strict=True))
        for row in values
    ]
    trace = curve(x, values[:, CLOSE], "rgba(0,0,0,0)", width=0)
    return trace | {"text": texts, "hovertemplate": f"{name}: %{{text}}<extra></extra>", "showlegend": False}


def layout_of(*, hover: str) -> Figure:
    axis = {"gridcolor": "--rule", "zeroline": False, "linecolor": "--rule-strong", "automargin": True}
    return {
        "font": {
            "family": "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif",
            "size": 12,
            "color": "--ink-soft",
        },
        "paper_bgcolor": "--page",
        "plot_bgcolor": "--page",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": hover,
        "hoverlabel": {"bgcolor": "--page", "bordercolor": "--rule-strong", "font": {"color": "--ink"}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 11}},
        "xaxis": {**axis, "showgrid": False, "tickangle": 0},
        "yaxis": axis,
    }


def rounded(values: Any) -> list[float | None]:
    """Six significant digits keep the page small; None draws nothing."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in np.asarray(values, np.float64)]


def _price(value: float) -> str:
    """Five digits that matter: 58.135, 1.0842, 0.00012345."""
    return f"{value:,.2f}" if abs(value) >= 1000 else f"{value:#.5g}"
