"""Plotly figures of a backtest as plain dicts, in the manner of `charts`: what a unit became, and where luck lies."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from chandler.reports.run_charts import Figure, curve, layout_of, rounded

POINTS = 1500
"""Bars drawn at most: more than a screen has columns."""
STYLES = (("--truth", "solid"), ("--ink-soft", "dash"), ("--muted", "dashdot"))
"""Of the signals after the first, in their order."""


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
