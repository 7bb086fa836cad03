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

from chandler.data.columns import CLOSE, HIGH, LOW, OPEN
from chandler.forecasting.plots.common import AHEAD, FAINT, FALL, INK, MUTED, RISE, Picture
from chandler.forecasting.plots.fonts import dress

TICKS = 8


def draw_forecast(picture: Picture, model: str) -> Figure:
    """The figure of `Forecast.plot`; `model` is named below the title."""
    past, horizon = len(picture.past), len(picture.timestamps)
    figure = Figure(figsize=(10, 5), dpi=150, layout="constrained", facecolor="white")
    axes = figure.add_subplot()
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

    _dates(axes, picture.index)
    _finish(axes, figure, picture, model)
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
