"""Draws a forecast with matplotlib: candles of the history, mean and band of the forecast close, what came true.

Bars are evenly spaced along the axis, so nights and weekends leave no gaps. Nothing here needs a display.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PatchCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from numpy.typing import NDArray

from chandler.data.bars import Bars
from chandler.data.columns import CLOSE, HIGH, LOW, OPEN
from chandler.forecasting.forecast import Forecast
from chandler.forecasting.plots.common import AHEAD, FAINT, FALL, INK, MUTED, RISE, drawn_history, matching
from chandler.forecasting.plots.fonts import dress

TICKS = 8


def draw_forecast(
    forecast: Forecast, *, truth: Bars | pd.DataFrame | None = None, band: float = 0.8, history_rows: int = 60
) -> Figure:
    """The figure of `Forecast.plot`, whose arguments and errors these are."""
    history = drawn_history(forecast, band, history_rows)
    past, horizon = len(history), forecast.horizon
    ahead = np.arange(past, past + horizon)
    close = forecast.paths[:, :, CLOSE]
    low, high = np.quantile(close, [(1 - band) / 2, (1 + band) / 2], axis=0)

    figure = Figure(figsize=(10, 5), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    _candles(axes, np.arange(past), history.values)

    # Band and mean begin at the last known close: the forecast grows out of it.
    last = history.values[-1, CLOSE]
    x = np.r_[past - 1, ahead]
    axes.axvspan(past - 0.5, past + horizon - 0.5, color=AHEAD, alpha=0.05, linewidth=0, zorder=0)
    axes.axvline(past - 0.5, color=AHEAD, linewidth=0.8, alpha=0.5, zorder=1)
    if len(close) > 1:
        label = f"{band:.0%} of {len(close)} paths"
        axes.fill_between(x, np.r_[last, low], np.r_[last, high], color=AHEAD, alpha=0.22, linewidth=0, label=label)
    label = "mean forecast close" if len(close) > 1 else "forecast close (1 path)"
    axes.plot(x, np.r_[last, close.mean(axis=0)], color=AHEAD, linewidth=2, label=label, zorder=4)
    if truth is not None:
        at, came = matching(truth, forecast)
        _candles(axes, past + at, came, alpha=0.35)
        axes.plot(past + at, came[:, CLOSE], color=INK, linewidth=1.4, marker="o", markersize=2.5,
                  label="actual close", zorder=5)  # fmt: skip

    _dates(axes, pd.DatetimeIndex(history.timestamps.append(forecast.timestamps)))
    _finish(axes, figure, forecast, band)
    dress(figure)
    return figure


def _candles(axes: Axes, x: NDArray[np.integer], bars: NDArray[np.float64], alpha: float = 1.0) -> None:
    """Bars (N, 6) at x (N,): hollow where the close is at or above the open, filled where it is below."""
    for falling, colour in ((False, RISE), (True, FALL)):
        chosen = (bars[:, CLOSE] < bars[:, OPEN]) == falling
        at, rows = x[chosen], bars[chosen]
        bottom, top = rows[:, [OPEN, CLOSE]].min(axis=1), rows[:, [OPEN, CLOSE]].max(axis=1)
        ends = ((rows[:, LOW], bottom), (top, rows[:, HIGH]))
        wicks = np.concatenate([np.stack((np.c_[at, a], np.c_[at, b]), axis=1) for a, b in ends])  # (2N, 2, 2)
        axes.add_collection(LineCollection(list(wicks), colors=colour, linewidths=0.9, alpha=alpha, zorder=2))
        bodies = [Rectangle((i - 0.32, b), 0.64, t - b) for i, b, t in zip(at, bottom, top, strict=True)]
        face = colour if falling else "white"
        axes.add_collection(
            PatchCollection(bodies, facecolor=face, edgecolor=colour, linewidths=0.9, alpha=alpha, zorder=3)
        )
    axes.autoscale_view()


def _dates(axes: Axes, index: pd.DatetimeIndex) -> None:
    """Label about TICKS of the evenly spaced bars with their dates, or dates and times within days."""
    step = max(1, -(-len(index) // TICKS))
    at = np.arange(0, len(index), step)
    daily = bool((index == index.normalize()).all())
    labels = []
    for before, now in zip([None, *index[at][:-1]], index[at], strict=True):
        if daily:
            labels.append(
                f"{now:%d %b}" if before is not None and before.year == now.year else f"{now:%d %b}\n{now:%Y}"
            )
        else:
            same = before is not None and before.date() == now.date()
            labels.append(f"{now:%H:%M}" if same else f"{now:%H:%M}\n{now:%d %b %Y}")
    axes.set_xticks(at, labels)
    axes.set_xlim(-1, len(index))


def _finish(axes: Axes, figure: Figure, forecast: Forecast, band: float) -> None:
    """Titles, labels and a legend below the axes, where it covers no bar."""
    paths, last = len(forecast.paths), forecast.history.timestamps[-1]
    after = f"{last:%d %b %Y}" if last == last.normalize() else f"{last:%d %b %Y %H:%M}"
    bars = "bar" if forecast.horizon == 1 else f"{forecast.horizon} bars"
    what = f"{paths} sampled paths, {band:.0%} band" if paths > 1 else "1 sampled path"
    model = Path(forecast.model).name
    # Under the title rather than beside it: symbols can be long.
    title = f"{forecast.symbol}: next {bars} after {after}"
    axes.set_title(title, loc="left", fontsize=13, fontweight="bold", pad=22)
    subtitle = f"{what}  |  {model}" if model else what
    axes.annotate(subtitle, (0, 1), (0, 8), "axes fraction", "offset points", fontsize=9, color=MUTED)
    zone = forecast.timestamps.tz
    axes.set_xlabel(f"time of bar ({zone})" if zone is not None else "time of bar", color=MUTED)
    axes.set_ylabel("price", color=MUTED)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    rise = Patch(facecolor="white", edgecolor=RISE, label="close at or above open")
    fall = Patch(facecolor=FALL, edgecolor=FALL, label="close below open")
    handles = [rise, fall, *axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
