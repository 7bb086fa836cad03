"""Draws a forecast with matplotlib: candles of the history, mean and band of the forecast close, what came true.

Bars are evenly spaced along the axis, so nights and weekends leave no gaps. Nothing here needs a display.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

from chandler.candles import tick_texts
from chandler.data import CLOSE, HIGH, LOW, OPEN
from chandler.forecasting.plots.common import AHEAD, FAINT, FALL, INK, MUTED, RISE, Picture
from chandler.forecasting.plots.fonts import dress

TICKS = 8


def draw_forecast(picture: Picture, model: str) -> Figure:
    """The figure of `Forecast.plot`; `model` is named below the title."""
    past, horizon = len(picture.past), len(picture.timestamps)
    figure = Figure(figsize=(10, 5), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
    axes.use_sticky_edges = False  # bars would take the margin below them
    _candles(axes, np.arange(past), picture.past.values)

    x, (mean, low, high) = np.arange(past - 1, past + horizon), picture.lines()
    axes.axvspan(past - 0.5, past + horizon - 0.5, color=AHEAD, alpha=0.05, linewidth=0, zorder=0)
    axes.axvline(past - 0.5, color=AHEAD, linewidth=0.8, alpha=0.5, zorder=1)
    if len(picture.close) > 1:
        axes.fill_between(x, low, high, color=AHEAD, alpha=0.22, linewidth=0, label=picture.band_name)
    axes.plot(x, mean, color=AHEAD, linewidth=2, label=picture.mean_name, zorder=4)
    if picture.truth is not None:
        steps, came = picture.came_true()
        _candles(axes, past + steps, came, alpha=0.35)
        axes.plot(past + steps, came[:, CLOSE], color=INK, linewidth=1.4, marker="o", markersize=2.5,
                  label="actual close", zorder=5)  # fmt: skip

    ticks = np.arange(0, past + horizon, max(1, -(-(past + horizon) // TICKS)))
    axes.set_xticks(ticks, [text.replace("<br>", "\n") for text in tick_texts(picture.index[ticks])])
    axes.set_xlim(-1, past + horizon)
    _finish(axes, figure, picture, model)
    dress(figure)
    return figure


def _candles(axes: Axes, x: NDArray[np.integer], bars: NDArray[np.float64], alpha: float = 1.0) -> None:
    """Bars (N, 6) at x (N,): hollow where the close is at or above the open, filled where it is below."""
    for falling, colour, face in ((False, RISE, "white"), (True, FALL, FALL)):
        chosen = (bars[:, CLOSE] < bars[:, OPEN]) == falling
        at, rows = x[chosen], bars[chosen]
        bottom, top = rows[:, [OPEN, CLOSE]].min(axis=1), rows[:, [OPEN, CLOSE]].max(axis=1)
        ends = np.r_[rows[:, LOW], top], np.r_[bottom, rows[:, HIGH]]
        axes.vlines(np.r_[at, at], *ends, colors=colour, linewidths=0.9, alpha=alpha, zorder=2)
        axes.bar(at, top - bottom, 0.64, bottom, color=face, edgecolor=colour, linewidth=0.9, alpha=alpha, zorder=3)


def _finish(axes: Axes, figure: Figure, picture: Picture, model: str) -> None:
    """Titles, labels and a legend below the axes, where it covers no bar."""
    paths = len(picture.close)
    what = f"{paths} sampled paths, {picture.band:.0%} band" if paths > 1 else "1 sampled path"
    # Under the title rather than beside it: symbols can be long.
    axes.set_title(picture.title, loc="left", fontsize=13, fontweight="bold", pad=22)
    subtitle = f"{what}  |  {Path(model).name}" if model else what
    axes.annotate(subtitle, (0, 1), (0, 8), "axes fraction", "offset points", fontsize=9, color=MUTED)
    axes.set_xlabel(picture.time_title, color=MUTED)
    axes.set_ylabel("price", color=MUTED)
    axes.grid(axis="y", color=FAINT, linewidth=0.6)
    axes.set_axisbelow(True)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    rise = Patch(facecolor="white", edgecolor=RISE, label="close at or above open")
    fall = Patch(facecolor=FALL, edgecolor=FALL, label="close below open")
    handles = [rise, fall, *axes.get_legend_handles_labels()[0]]
    figure.legend(handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, fontsize=9)
