"""Plotly figures of an evaluation, as plain dicts in the colours of the page; see `charts`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from chandler.candles import bar_labels, candle_axis
from chandler.evaluation.walk_forward import Results
from chandler.measures import PIT_BINS, block_bootstrap, pit_bins
from chandler.reports.charts import Figure, Line, candles, curve, figure, plain, rounded, title

COLOURS = ("--model", "--truth", "--third", "--fourth")
DASHES = ("solid", "dash", "dot", "dashdot")


def style(number: int, width: float = 2.0) -> Line:
    """The line of the n-th model: told apart without colour as well."""
    return Line(COLOURS[number % len(COLOURS)], width, DASHES[number // len(COLOURS) % len(DASHES)])


def by_step(results: Results, models: Sequence[str], naive: str) -> Figure:
    """CRPS of each model against naive at each step, in %, with 95% intervals over the origins; below 0 is better."""
    steps, base = list(range(1, results.horizon + 1)), results.crps_by_round(naive)
    mean = base.mean(0)
    scale = np.where(mean > 0, mean, np.nan) / 100  # naive is exact where nothing moved
    traces: list[Figure] = []
    for number, model in enumerate(models):
        line = style(number, 2.2)
        found = block_bootstrap(results.crps_by_round(model) - base, max(1.0, float(results.overlap)))
        middle, low, high = found.mean / scale, found.low / scale, found.high / scale
        # One shaded interval is read, several lie over one another: the others get thin lines.
        edge = Line(line.color, 0.8, "dot") if number else Line(line.color, 0)
        shade = {} if number else {"fill": "tonexty", "fillcolor": "--model-band"}
        sides = [curve(steps, side, edge, legendgroup=model, showlegend=False) for side in (low, high)]
        traces += [sides[0], sides[1] | shade]
        spans = [f" ({a:+.1f}% to {b:+.1f}%)" if np.isfinite(a) else "" for a, b in zip(low, high, strict=True)]
        texts = [f"{m:+.1f}%{span}" for m, span in zip(middle, spans, strict=True)]
        said = f"{plain(model)}, step %{{x}}: %{{text}}"
        traces.append(curve(steps, middle, line, plain(model), hover=said, dots=6, text=texts) | {"legendgroup": model})
    return against(traces, title("step ahead, bars") | _ticks(steps))


def by_hour(results: Results, models: Sequence[str], naive: str) -> Figure:
    """CRPS of each model against naive by the hour at which a forecast bar begins, in %."""
    base = _hourly(results, naive)
    hours, traces = list(base.index), []
    for number, model in enumerate(models):
        said = f"{plain(model)}, %{{x}} h: %{{y:+.1f}}%"
        shares = (_hourly(results, model) / base - 1) * 100
        traces.append(curve(hours, shares, style(number), plain(model), hover=said, dots=6))
    return against(traces, title("hour of the day") | _ticks(hours))


def by_symbol(shares: Mapping[str, pd.Series]) -> Figure:
    """A dot for each symbol and model: CRPS against naive in %, symbols in the order of the first model's."""
    names = next(iter(shares.values())).sort_values().index
    texts, traces = [plain(str(name)) for name in names], []
    for number, (model, values) in enumerate(shares.items()):
        line, said = Line(style(number).color), f"{plain(model)}, %{{text}}: %{{y:+.1f}}%"
        trace = curve(range(len(names)), values.reindex(names), line, plain(model), hover=said, dots=6, text=texts)
        traces.append(trace | {"mode": "markers"})
    x = title("symbols, from the best of the first model to its worst")
    return against(traces, x | {"showticklabels": False})


def pit_shares(pit: NDArray[np.float64]) -> NDArray[np.float64]:
    """Shares (10,) of values of the PIT, of any shape, in each tenth of the forecast distribution; NaN is left out."""
    bins = pit_bins(pit.ravel())
    counts = np.bincount(bins[bins >= 0], minlength=PIT_BINS)
    return counts / max(counts.sum(), 1)


def pit_histogram(shares: NDArray[np.float64], colour: str = "--model") -> Figure:
    """How often the truth lay in each tenth of the forecast distribution: shares (10,), drawn in %; flat at 10% is right."""
    share = shares * 100
    middles = (np.arange(PIT_BINS) + 0.5) / PIT_BINS
    bars = {"type": "bar", "x": rounded(middles), "y": rounded(share), "width": 0.092, "marker": {"color": colour},
            "hovertemplate": "%{y:.1f}% of the closes<extra></extra>"}  # fmt: skip
    flat = curve([0, 1], [100 / PIT_BINS] * 2, Line("--ink-soft", 1.2, "dash"))
    return figure(
        [bars, flat],
        x={"range": [0, 1], "tickvals": [0.07, 0.5, 0.93], "ticktext": ["lowest", "median", "highest"]},
        y={"rangemode": "tozero", "ticksuffix": "%", "range": [0, max(25.0, float(share.max()) * 1.08)]},
        showlegend=False,
        bargap=0,
    )


def reliability(found: Mapping[str, Mapping[float, float]]) -> Figure:
    """Nominal share of a band against the share that it covered, per contender; the dashed diagonal is right."""
    traces = [curve([0.4, 1], [40, 100], Line("--ink-soft", 1.2, "dash"), showlegend=False)]
    for number, (name, shares) in enumerate(found.items()):
        said = f"{plain(name)}: the %{{x:.0%}} band covered %{{y:.1f}}%"
        covered = [value * 100 for value in shares.values()]
        traces.append(curve(list(shares), covered, style(number), plain(name), hover=said, dots=7))
    levels = list(next(iter(found.values())))
    x = {"tickvals": levels, "ticktext": [f"{level:.0%}" for level in levels], "range": [min(levels) - 0.03, 1]}
    return figure(traces, x=x | title("band says"), y={"ticksuffix": "%"} | title("covered"))


def example(history: pd.DataFrame, results: Results, window: int, model: str, naive: str | None) -> Figure:
    """One window: history and what came true as candles, the model's mean and 80% band, and naive's band.

    Args:
        history: its last rows, with columns timestamp, open, high, low, close.
    """
    index = pd.DatetimeIndex([*history["timestamp"], *pd.DatetimeIndex(results.truth("timestamp")[window])])
    labels = bar_labels(index)
    past, future = labels[: len(history)], labels[len(history) :]
    last = float(results.truth("last")[window, 0])
    mean, low, high = (results.column(model, name)[window] for name in ("mean_close", "q10", "q90"))
    traces: list[Figure] = []

    def ahead(values: NDArray[np.float64], line: Line, **more: Any) -> None:
        traces.append(curve([past[-1], *future], [last, *values], line, **more))

    if naive is not None:
        for side in ("q10", "q90"):
            ahead(results.column(naive, side)[window], Line("--muted", 1.2, "dot"))
    ahead(low, Line("--model", 0))
    ahead(high, Line("--model", 0), fill="tonexty", fillcolor="--model-band")
    texts = [f"mean {m:.5g}, 80% band {a:.5g} to {b:.5g}" for m, a, b in zip(mean, low, high, strict=True)]
    ahead(mean, Line("--model", 2.2), hover="forecast close: %{text}", zorder=3, text=["", *texts])
    names = ("open", "high", "low", "close")
    bars = history[list(names)].to_numpy(np.float64)
    came = np.stack([results.truth(f"truth_{name}")[window] for name in names], axis=1)
    traces += candles(past, bars, "--ink", "--ink-soft", "history")
    traces += candles(future, came, "--truth", "--truth", "came true")
    made = figure(traces, x={}, y={}, hover="x unified", showlegend=False)
    candle_axis(made["layout"], index, len(history), "--rule-strong")
    return made


def against(traces: list[Figure], x: Figure, **layout: Any) -> Figure:
    """Axes of a comparison with naive: 0 is naive, below is better."""
    zero = {"zeroline": True, "zerolinecolor": "--ink", "zerolinewidth": 1.4}
    return figure(traces, x=x, y={"ticksuffix": "%", "rangemode": "tozero"} | zero, **layout)


def _ticks(values: Sequence[int]) -> Figure:
    """At a dozen of them at most."""
    return {"tickmode": "array", "tickvals": list(values[:: max(1, -(-len(values) // 12))])}


def _hourly(results: Results, name: str) -> pd.Series:
    """CRPS as a share of the last close, by the hour at which a forecast bar begins."""
    values = results.column(name, "crps") / results.truth("last")
    return pd.Series(values.ravel()).groupby(results.truth("hour").ravel()).mean()
