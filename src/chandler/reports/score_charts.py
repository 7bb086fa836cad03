"""Plotly figures of an evaluation, as plain dicts in the colours of the page; see `charts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.candles import bar_labels, candle_axis
from chandler.evaluation.walk_forward.results import Results
from chandler.measures import block_bootstrap
from chandler.reports.charts import Figure, candles, curve, layout_of, rounded
from chandler.reports.score_means import crps_by_hour, crps_by_step

COLOURS = ("--model", "--truth", "--third", "--fourth")
DASHES = ("solid", "dash", "dot", "dashdot")
PIT_BINS = 10


def style(number: int) -> tuple[str, str]:
    """Colour and dash of the n-th model: told apart without colour as well."""
    return COLOURS[number % len(COLOURS)], DASHES[number // len(COLOURS) % len(DASHES)]


def by_step(results: Results, models: Sequence[str], naive: str) -> Figure:
    """CRPS of each model against naive at each step, in %, with 95% intervals over the origins; below 0 is better."""
    steps = list(range(1, results.horizon + 1))
    base = crps_by_step(results, naive)
    scale = base.mean(0) / 100
    traces: list[Figure] = []
    for number, model in enumerate(models):
        colour, dash = style(number)
        found = block_bootstrap(crps_by_step(results, model) - base, max(1.0, float(results.overlap)))
        middle, low, high = found.mean / scale, found.low / scale, found.high / scale
        edge = {"hoverinfo": "skip", "legendgroup": model, "showlegend": False}
        if number == 0:
            # One shaded interval is read, several lie over one another: the others get thin lines.
            fill = {"fill": "tonexty", "fillcolor": "--model-band"}
            traces += [curve(steps, low, colour, width=0) | edge, curve(steps, high, colour, width=0) | edge | fill]
        else:
            traces += [curve(steps, side, colour, width=0.8, dash="dot") | edge for side in (low, high)]
        texts = [f"{m:+.1f}% ({a:+.1f}% to {b:+.1f}%)" for m, a, b in zip(middle, low, high, strict=True)]
        line = curve(steps, middle, colour, name=model, width=2.2, dash=dash) | {"legendgroup": model, "text": texts}
        traces.append(line | _dots(colour, f"{model}, step %{{x}}: %{{text}}"))
    return _against(traces, "step ahead, bars", steps)


def by_hour(results: Results, models: Sequence[str], naive: str) -> Figure:
    """CRPS of each model against naive by the hour at which a forecast bar begins, in %."""
    base = crps_by_hour(results, naive)
    present = base.index.to_list()
    traces = []
    for number, model in enumerate(models):
        colour, dash = style(number)
        trace = curve(present, (crps_by_hour(results, model) / base - 1) * 100, colour, name=model, width=2, dash=dash)
        traces.append(trace | _dots(colour, f"{model}, %{{x}} h: %{{y:+.1f}}%"))
    return _against(traces, "hour of the day", present)


def by_symbol(shares: Mapping[str, pd.Series]) -> Figure:
    """A dot for each symbol and model: CRPS against naive in %, symbols in the order of the first model's."""
    first = next(iter(shares.values())).sort_values()
    places = np.arange(len(first))
    traces = []
    for number, (model, values) in enumerate(shares.items()):
        colour, _ = style(number)
        trace = curve(places.tolist(), values.reindex(first.index), colour, name=model)
        dots = _dots(colour, f"{model}, %{{text}}: %{{y:+.1f}}%")
        traces.append(trace | dots | {"mode": "markers", "text": list(first.index)})
    figure = _against(traces, "symbols, from the best of the first model to its worst", None)
    figure["layout"]["xaxis"] |= {"showticklabels": False}
    return figure


def pit_histogram(pit: NDArray[np.float64], colour: str = "--model") -> Figure:
    """How often the truth lay in each tenth of the forecast distribution, in %; flat at 10% is right."""
    counts, edges = np.histogram(pit[np.isfinite(pit)], bins=PIT_BINS, range=(0, 1))
    share = counts / max(counts.sum(), 1) * 100
    middles = (edges[:-1] + edges[1:]) / 2
    bars = {"type": "bar", "x": rounded(middles), "y": rounded(share), "width": 0.092, "marker": {"color": colour}}
    flat = curve([0, 1], [100 / PIT_BINS] * 2, "--ink-soft", width=1.2, dash="dash") | {"hoverinfo": "skip"}
    layout = layout_of(hover="closest") | {"showlegend": False, "bargap": 0}
    layout["xaxis"] |= {"range": [0, 1], "tickvals": [0.07, 0.5, 0.93], "ticktext": ["lowest", "median", "highest"]}
    layout["yaxis"] |= {"rangemode": "tozero", "ticksuffix": "%", "range": [0, max(25.0, float(share.max()) * 1.08)]}
    return {"data": [bars | {"hovertemplate": "%{y:.1f}% of the closes<extra></extra>"}, flat], "layout": layout}


def reliability(found: Mapping[str, Mapping[float, float]]) -> Figure:
    """Nominal share of a band against the share that it covered, per contender; the dashed diagonal is right."""
    traces = [
        curve([0.4, 1], [40, 100], "--ink-soft", width=1.2, dash="dash") | {"hoverinfo": "skip", "showlegend": False}
    ]
    for number, (name, shares) in enumerate(found.items()):
        colour, dash = style(number)
        trace = curve(list(shares), [value * 100 for value in shares.values()], colour, name=name, width=2, dash=dash)
        traces.append(trace | _dots(colour, f"{name}: the %{{x:.0%}} band covered %{{y:.1f}}%", 7))
    layout = layout_of(hover="closest")
    levels = list(next(iter(found.values())))
    layout["xaxis"] |= {
        "tickvals": levels,
        "ticktext": [f"{level:.0%}" for level in levels],
        "title": {"text": "band says", "standoff": 4},
    }
    layout["xaxis"]["range"] = [min(levels) - 0.03, 1]
    layout["yaxis"] |= {"ticksuffix": "%", "title": {"text": "covered", "standoff": 4}}
    return {"data": traces, "layout": layout}


def example(history: pd.DataFrame, results: Results, window: int, model: str, naive: str | None) -> Figure:
    """One window: history and what came true as candles, the model's mean and 80% band, and naive's band.

    Args:
        history: its last rows, with columns timestamp, open, high, low, close.
    """
    index = pd.DatetimeIndex([*history["timestamp"], *pd.DatetimeIndex(results.truth("timestamp")[window])])
    labels = bar_labels(index)
    past, future = labels[: len(history)], labels[len(history) :]
    last = float(results.truth("last")[window, 0])
    joint = [past[-1], *future]
    traces: list[Figure] = []
    if naive is not None:
        for side in ("q10", "q90"):
            edge = curve(joint, [last, *results.column(naive, side)[window]], "--muted", width=1.2, dash="dot")
            traces.append(edge | {"hoverinfo": "skip"})
    low, high = (results.column(model, side)[window] for side in ("q10", "q90"))
    traces.append(curve(joint, [last, *low], "--model", width=0) | {"hoverinfo": "skip"})
    traces.append(
        curve(joint, [last, *high], "--model", width=0)
        | {"hoverinfo": "skip", "fill": "tonexty", "fillcolor": "--model-band"}
    )
    mean = results.column(model, "mean_close")[window]
    texts = [f"mean {m:.5g}, 80% band {a:.5g} to {b:.5g}" for m, a, b in zip(mean, low, high, strict=True)]
    traces.append(
        curve(joint, [last, *mean], "--model", width=2.2)
        | {"zorder": 3, "text": ["", *texts], "hovertemplate": "forecast close: %{text}<extra></extra>"}
    )
    bars = history[["open", "high", "low", "close"]].to_numpy(np.float64)
    came = np.stack([results.truth(f"truth_{name}")[window] for name in ("open", "high", "low", "close")], axis=1)
    traces += candles(past, bars, "--ink", "--ink-soft", "history")
    traces += candles(future, came, "--truth", "--truth", "came true")
    layout = layout_of(hover="x unified") | {"showlegend": False}
    candle_axis(layout, index, len(history), "--rule-strong")
    return {"data": traces, "layout": layout}


def _dots(colour: str, hover: str, size: int = 6) -> Figure:
    marker = {"color": colour, "size": size}
    return {"mode": "lines+markers", "marker": marker, "hovertemplate": f"{hover}<extra></extra>"}


def _against(traces: list[Figure], title: str, ticks: Sequence[int] | None) -> Figure:
    """Axes of a comparison with naive: 0 is naive, below is better."""
    layout = layout_of(hover="closest")
    layout["xaxis"] |= {"title": {"text": title, "standoff": 4}}
    if ticks is not None:
        every = max(1, -(-len(ticks) // 12))
        layout["xaxis"] |= {"tickmode": "array", "tickvals": list(ticks[::every])}
    layout["yaxis"] |= {
        "ticksuffix": "%",
        "rangemode": "tozero",
        "zeroline": True,
        "zerolinecolor": "--ink",
        "zerolinewidth": 1.4,
    }
    return {"data": traces, "layout": layout}
