"""Plotly figures as plain dicts: their parts, and those of a run and of a backtest. A colour is the name of a CSS
variable ("--ink"), so that the page can follow the reader's light or dark scheme; its script puts real colours in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any, NamedTuple

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


class Line(NamedTuple):
    """How a line is drawn."""

    color: str
    width: float = 1.0
    dash: str = "solid"


def curve(
    x: Sequence[Any], y: Any, line: Line, name: str = "", *, hover: str = "", dots: int = 0, **more: Any
) -> Figure:
    """A line; `hover` is what a point of it says (empty: nothing), `dots` the size of its points (0: it has none)."""
    trace: Figure = {
        "type": "scatter",
        "mode": "lines",
        "x": list(x),
        "y": rounded(y),
        "name": name,
        "line": line._asdict(),
    }
    if dots:
        trace |= {"mode": "lines+markers", "marker": {"color": line.color, "size": dots}}
    said = {"hovertemplate": f"{hover}<extra></extra>"} if hover else {"hoverinfo": "skip"}
    return trace | said | more


def figure(
    traces: Sequence[Figure], *, x: Mapping[str, Any], y: Mapping[str, Any], hover: str = "closest", **layout: Any
) -> Figure:
    """Traces in the look of the pages; `x` and `y`: what the axes have besides."""
    axis = {"gridcolor": "--rule", "zeroline": False, "linecolor": "--rule-strong", "automargin": True}
    family = "system-ui, -apple-system, 'Segoe UI', Roboto, sans-serif"
    look = {
        "font": {"family": family, "size": 12, "color": "--ink-soft"},
        "paper_bgcolor": "--page",
        "plot_bgcolor": "--page",
        "margin": {"l": 8, "r": 8, "t": 8, "b": 8},
        "hovermode": hover,
        "hoverlabel": {"bgcolor": "--page", "bordercolor": "--rule-strong", "font": {"color": "--ink"}},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"size": 11}},
        "xaxis": {**axis, "showgrid": False, "tickangle": 0, **x},
        "yaxis": {**axis, **y},
    }
    return {"data": list(traces), "layout": look | layout}


def title(text: str) -> Figure:
    """Of an axis, close to it."""
    return {"title": {"text": text, "standoff": 4}}


def upright(x: float, **line: Any) -> Figure:
    """A line from the bottom of a chart to its top."""
    return {"type": "line", "x0": x, "x1": x, "y0": 0, "y1": 1, "yref": "paper", "line": line}


def plain(text: str) -> str:
    """A name from data as plotly takes it, which reads tags, entities and, in what a point says, %{placeholders}."""
    return escape(text, quote=False).replace("{", "&#123;")


def rounded(values: Any) -> list[float | None]:
    """Six significant digits keep the page small; None draws nothing."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in np.asarray(values, np.float64)]


def candles(x: Sequence[str], bars: NDArray[np.float64], colour: str, fill: str, name: str) -> list[Figure]:
    """Bars (N, 4), open to close, and an unseen line that puts one row of prices into the unified hover; a candlestick would
    take five."""
    trace = candlestick(x, [rounded(column) for column in bars.T], name, (colour, "--page"), (colour, fill))
    texts = ["  ".join(f"{key} {_price(price)}" for key, price in zip("OHLC", row, strict=True)) for row in bars]
    unseen = curve(x, bars[:, -1], Line("rgba(0,0,0,0)", 0), hover=f"{name}: %{{text}}", text=texts, showlegend=False)
    return [trace | {"hoverinfo": "skip", "zorder": 2, "showlegend": True}, unseen]


def _price(value: float) -> str:
    """Five digits that matter: 58.135, 1.0842, 0.00012345."""
    return f"{value:,.2f}" if abs(value) >= 1000 else f"{value:#.5g}"


def losses(
    train: Sequence[tuple[int, float]], validation: Sequence[tuple[int, float]], *, best_step: int | None = None
) -> Figure:
    """Training loss as a line and validations as points, (step, value) pairs; step 0 and the best are marked.

    Args:
        train, validation: in the same unit; validation begins with step 0.
        best_step: of the checkpoint that was chosen; None for the lowest validation.
    """
    traces: list[Figure] = []
    for name, pairs, line, dots in (
        ("training", train, Line("--ink-soft", 1.3), 0),
        ("validation", validation, Line("--model", 1.2, "dot"), 7),
    ):
        if pairs:
            steps, values = zip(*pairs, strict=True)
            traces.append(curve(steps, values, line, name, hover=f"{name} at step %{{x}}: %{{y:.4g}}", dots=dots))
    if validation:
        # The first of equals: a later one is promoted only if it is strictly better.
        lowest = min(validation, key=lambda pair: pair[1])
        best = next((pair for pair in validation if pair[0] == best_step), lowest)
        start = validation[0]
        marks = [(start, "start", "square-open"), (best, "best", "circle-open")]
        for (step, value), name, symbol in marks if best != start else [(start, "start, and best", "square-open")]:
            marker = {"symbol": symbol, "size": 14, "color": "--truth", "line": {"width": 2.2, "color": "--truth"}}
            trace = {"type": "scatter", "mode": "markers", "x": [step], "y": rounded([value]), "name": name}
            traces.append({**trace, "marker": marker, "hoverinfo": "skip"})
    last = max((step for step, _ in (*train, *validation)), default=1)
    shown = [value for trace in traces for value in trace["y"]]
    falls = bool(shown) and min(shown) > 0 and max(shown) / min(shown) > _WIDE
    y = {"type": "log", "tickmode": "array"} | _decades(min(shown), max(shown)) if falls else {}
    return figure(traces, x=title("optimiser step") | {"range": [-0.03 * last, 1.03 * last]}, y=y)


def _decades(low: float, high: float) -> Figure:
    """Ticks at 1, 2 and 5 of each power of ten from `low` to `high`, written out."""
    powers = range(int(np.floor(np.log10(low))), int(np.ceil(np.log10(high))) + 1)
    values = [factor * 10.0**power for power in powers for factor in (1, 2, 5)]
    return {"tickvals": values, "ticktext": [f"{value:g}" for value in values]}


def growth(curves: Mapping[str, pd.DataFrame], fan: pd.DataFrame, benchmark: str, *, relative: bool = False) -> Figure:
    """Value of each portfolio over time, 1 at the start, on a logarithmic axis, with the band of the random ones.

    Args:
        curves: daily frames by name, the one in question first.
        fan: timestamp and the 5%, 50% and 95% quantiles of the random portfolios; may be empty.
        relative: all divided by the benchmark, so that its line is 1.
    """
    name, first = next(iter(curves.items()))
    keep = np.unique(np.linspace(0, len(first) - 1, min(POINTS, len(first))).round().astype(int))
    times = [f"{moment:%Y-%m-%d %H:%M}" if moment != moment.normalize() else f"{moment:%Y-%m-%d}"
             for moment in pd.DatetimeIndex(first["timestamp"].iloc[keep])]  # fmt: skip
    unit = first["benchmark"].to_numpy()[keep] if relative else np.ones(len(keep))
    traces: list[Figure] = []

    def add(values: Any, line: Line, name: str, hover: str, **more: Any) -> None:
        said = f"{hover} %{{y:.3f}}" if hover else ""
        traces.append(curve(times, np.asarray(values)[keep] / unit, line, name, hover=said, **more))

    if len(fan) == len(first):
        faint, name_of_band = Line("--muted", 0), "random signals, 90% band"
        add(fan["q05"], faint, name_of_band, "", legendgroup="fan", showlegend=False)
        shade = {"fill": "tonexty", "fillcolor": "--panel-strong"}
        add(fan["q95"], faint, name_of_band, "", legendgroup="fan", showlegend=True, **shade)
        add(fan["q50"], Line("--muted", 1, "dot"), "random, median", "random, median")
    named = "equal weight" if benchmark == "equal" else plain(benchmark)
    add(first["benchmark"], Line("--ink", 1.8), f"benchmark ({named})", "benchmark")
    for (other, daily), (colour, dash) in zip(reversed(list(curves.items())[1:]), reversed(STYLES), strict=False):
        add(_on(daily, first), Line(colour, 1.2, dash), plain(other), plain(other))
    add(first["value"], Line("--model", 2.4), plain(name), plain(name))
    shown = np.array([v for trace in traces for v in trace["y"] if v is not None and v > 0])
    y = {"type": "log", "tickmode": "array"} | _steps(float(shown.min()), float(shown.max()))
    return figure(traces, x={"type": "date"}, y=y, hover="x unified")


def luck(random: Sequence[float], actual: float, name: str) -> Figure:
    """Annual excess returns of the random portfolios as a histogram, percent, and where the one in question lies."""
    made, actual = 100 * np.asarray(random), 100 * actual
    ends = min(made.min(), actual), max(made.max(), actual)
    width = max((ends[1] - ends[0]) / 24, 1e-6)
    edges = np.arange(np.floor(ends[0] / width), np.ceil(ends[1] / width) + 1) * width
    counts, _ = np.histogram(made, edges)
    trace: dict[str, Any] = {
        "type": "bar", "x": rounded((edges[:-1] + edges[1:]) / 2), "y": [int(count) for count in counts], "width": width * 0.94,
        "marker": {"color": "--rule-strong"}, "name": "random signals", "showlegend": False,
        "hovertemplate": "%{y} random signals near %{x:.1f}%<extra></extra>",
    }  # fmt: skip
    note = {
        "x": actual, "y": 1, "yref": "paper", "yanchor": "bottom", "showarrow": False,
        "xanchor": "right" if actual > (ends[0] + ends[1]) / 2 else "left",
        "text": f"{plain(name)}: {actual:+.1f}%".replace("-", "\N{MINUS SIGN}"), "font": {"size": 12, "color": "--model"},
    }  # fmt: skip
    return figure(
        [trace],
        x=title("annual return above the benchmark, after costs") | {"ticksuffix": "%"},
        y={"title": {"text": "random signals"}},
        margin={"l": 8, "r": 8, "t": 26, "b": 8},
        shapes=[upright(actual, color="--model", width=2.4), upright(0, color="--ink", width=1.2, dash="dash")],
        annotations=[note],
    )


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
