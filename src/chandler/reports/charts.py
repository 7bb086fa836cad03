"""Plotly figures as plain dicts: their parts, and those of a run and of a backtest. A colour is the name of a CSS
variable ("--ink"), so that the page can follow the reader's light or dark scheme; its script puts real colours in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.candles import candlestick

Figure = dict[str, Any]
POINTS = 1500
"""Bars drawn at most: more than a screen has columns."""
STYLES = (("--truth", "solid"), ("--ink-soft", "dash"), ("--muted", "dashdot"))
"""Of a backtest's signals after the first, in their order."""
_WIDE = 5.0
"""Losses that fall by more than this factor get a logarithmic axis."""


def losses(
    train: Sequence[tuple[int, float]], validation: Sequence[tuple[int, float]], *, best_step: int | None = None
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


def curve(x: Sequence[Any], y: Any, colour: str, *, name: str = "", width: float = 1.0, dash: str = "solid") -> Figure:
    line = {"color": colour, "width": width, "dash": dash}
    return {"type": "scatter", "mode": "lines", "x": list(x), "y": rounded(y), "name": name, "line": line}


def candles(x: Sequence[str], bars: NDArray[np.float64], colour: str, fill: str, name: str) -> list[Figure]:
    """Bars (N, 4), open to close, and an unseen line that puts one row of prices into the unified hover; a candlestick would
    take five."""
    trace = candlestick(x, [rounded(column) for column in bars.T], name, (colour, "--page"), (colour, fill))
    texts = ["  ".join(f"{key} {_price(price)}" for key, price in zip("OHLC", row, strict=True)) for row in bars]
    unseen = curve(x, bars[:, -1], "rgba(0,0,0,0)", width=0)
    hover = {"text": texts, "hovertemplate": f"{name}: %{{text}}<extra></extra>", "showlegend": False}
    return [trace | {"hoverinfo": "skip", "zorder": 2, "showlegend": True}, unseen | hover]


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


def growth(curves: Mapping[str, pd.DataFrame], fan: pd.DataFrame, benchmark: str, *, relative: bool = False) -> Figure:
    """Value of each portfolio over time, 1 at the start, on a logarithmic axis, with the band of the random ones.

    Args:
        curves: daily frames by name, the one in question first.
        fan: timestamp and the 5%, 50% and 95% quantiles of the random portfolios; may be empty.
        relative: all divided by the benchmark, so that its line is 1.
    """
    first = next(iter(curves.values()))
    keep = np.unique(np.linspace(0, len(first) - 1, min(POINTS, len(first))).round().astype(int))
    times = [f"{moment:%Y-%m-%d %H:%M}" if moment != moment.normalize() else f"{moment:%Y-%m-%d}"
             for moment in pd.DatetimeIndex(first["timestamp"].iloc[keep])]  # fmt: skip
    against = first["benchmark"].to_numpy()[keep]
    unit = against if relative else np.ones(len(keep))
    traces: list[Figure] = []
    if len(fan) == len(first):
        for number, column in enumerate(("q05", "q95")):
            line = curve(
                times, fan[column].to_numpy()[keep] / unit, "--muted", width=0, name="random signals, 90% band"
            )
            shade = {"fill": "tonexty", "fillcolor": "--panel-strong"} if number else {}
            traces.append(line | {"hoverinfo": "skip", "legendgroup": "fan", "showlegend": number == 1} | shade)
        middle = curve(times, fan["q50"].to_numpy()[keep] / unit, "--muted", width=1, dash="dot", name="random, median")
        traces.append(middle | {"hovertemplate": "random, median %{y:.3f}<extra></extra>"})
    named = "equal weight" if benchmark == "equal" else benchmark
    line = curve(times, against / unit, "--ink", width=1.8, name=f"benchmark ({named})")
    traces.append(line | {"hovertemplate": "benchmark %{y:.3f}<extra></extra>"})
    for (name, daily), (colour, dash) in zip(reversed(list(curves.items())[1:]), reversed(STYLES), strict=False):
        line = curve(times, _on(daily, first)[keep] / unit, colour, width=1.2, dash=dash, name=name)
        traces.append(line | {"hovertemplate": f"{name} %{{y:.3f}}<extra></extra>"})
    name = next(iter(curves))
    line = curve(times, first["value"].to_numpy()[keep] / unit, "--model", width=2.4, name=name)
    traces.append(line | {"hovertemplate": f"{name} %{{y:.3f}}<extra></extra>"})
    layout = layout_of(hover="x unified")
    shown = np.array([v for trace in traces for v in trace["y"] if v is not None and v > 0])
    layout["xaxis"] |= {"type": "date"}
    layout["yaxis"] |= {"type": "log", "tickmode": "array"} | _steps(float(shown.min()), float(shown.max()))
    return {"data": traces, "layout": layout}


def luck(random: Sequence[float], actual: float, name: str) -> Figure:
    """Annual excess returns of the random portfolios as a histogram, percent, and where the one in question lies."""
    made = 100 * np.asarray(random)
    ends = min(made.min(), 100 * actual), max(made.max(), 100 * actual)
    width = max((ends[1] - ends[0]) / 24, 1e-6)
    edges = np.arange(np.floor(ends[0] / width), np.ceil(ends[1] / width) + 1) * width
    counts, _ = np.histogram(made, edges)
    trace: dict[str, Any] = {
        "type": "bar", "x": rounded((edges[:-1] + edges[1:]) / 2), "y": [int(count) for count in counts], "width": width * 0.94,
        "marker": {"color": "--rule-strong"}, "name": "random signals", "showlegend": False,
        "hovertemplate": "%{y} random signals near %{x:.1f}%<extra></extra>",
    }  # fmt: skip
    layout = layout_of(hover="closest")
    place = {"x0": 100 * actual, "x1": 100 * actual, "y0": 0, "y1": 1, "yref": "paper"}
    layout["shapes"] = [
        {"type": "line", **place, "line": {"color": "--model", "width": 2.4}},
        {"type": "line", "x0": 0, "x1": 0, "y0": 0, "y1": 1, "yref": "paper",
         "line": {"color": "--ink", "width": 1.2, "dash": "dash"}},
    ]  # fmt: skip
    right = 100 * actual > (ends[0] + ends[1]) / 2
    text = f"{name}: {100 * actual:+.1f}%".replace("-", "\N{MINUS SIGN}")
    layout["annotations"] = [{
        "x": 100 * actual, "y": 1, "yref": "paper", "yanchor": "bottom", "xanchor": "right" if right else "left",
        "text": text, "showarrow": False, "font": {"size": 12, "color": "--model"},
    }]  # fmt: skip
    layout["margin"] |= {"t": 26}
    layout["xaxis"] |= {"title": {"text": "annual return above the benchmark, after costs", "standoff": 4},
                        "ticksuffix": "%", "zeroline": False}  # fmt: skip
    layout["yaxis"] |= {"title": {"text": "random signals"}}
    return {"data": [trace], "layout": layout}


def _on(daily: pd.DataFrame, first: pd.DataFrame) -> Any:
    """Values on the bars of another frame: 1 before they begin."""
    found = daily.set_index("timestamp")["value"].reindex(first["timestamp"])
    return found.ffill().fillna(1.0).to_numpy()


def _steps(low: float, high: float) -> Figure:
    """Ticks of a logarithmic axis: round numbers, about eight of them, whatever the span."""
    for step in (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5):
        ticks = np.arange(np.floor(low / step), np.ceil(high / step) + 1) * step
        ticks = ticks[ticks > 0]
        if len(ticks) <= 9:
            return {"tickvals": rounded(ticks), "ticktext": [f"{tick:g}" for tick in np.round(ticks, 2)]}
    powers = 2.0 ** np.arange(np.floor(np.log2(low)), np.ceil(np.log2(high)) + 1)
    powers = powers[:: -(-len(powers) // 9)]
    return {"tickvals": rounded(powers), "ticktext": [f"{power:g}" for power in powers]}
