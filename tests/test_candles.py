"""Candles of pages and of pictures: bars evenly spaced, hollow where they rise."""

from __future__ import annotations

from typing import Any

import pandas as pd
import plotly.graph_objects as go

from chandler.candles import bar_labels, candle_axis, candlestick


def test_a_chart_has_one_place_per_bar_and_none_for_weekends() -> None:
    index = pd.date_range("2024-01-01", periods=34, freq="B")
    layout: dict[str, Any] = {"xaxis": {}}
    candle_axis(layout, index, 30, "#999")
    places = layout["xaxis"]["categoryarray"]
    assert len(places) == len(set(places)) == 34
    assert not {"10 Feb 2024", "11 Feb 2024"} & set(places)  # a Saturday and a Sunday
    assert layout["xaxis"]["ticktext"][0] == "1 Jan<br>2024"
    assert layout["xaxis"]["ticktext"][1] == "9 Jan"  # the year is said where it is new
    assert layout["shapes"][0]["x0"] == 29.5


def test_the_hour_that_clocks_repeat_has_two_labels() -> None:
    index = pd.date_range("2024-11-03 00:00", periods=4, freq="h", tz="America/New_York")
    assert len(set(bar_labels(index))) == 4


def test_rising_candles_are_hollow_and_falling_ones_filled() -> None:
    trace = candlestick(["a", "b"], [[1, 2], [3, 3], [1, 1], [2, 1]], "bars", ("blue", "white"), ("red", "red"))
    [drawn] = go.Figure({"data": [trace]}).data
    assert (drawn.open, drawn.high, drawn.low, drawn.close) == ((1, 2), (3, 3), (1, 1), (2, 1))
    assert (drawn.increasing.fillcolor, drawn.decreasing.fillcolor) == ("white", "red")
