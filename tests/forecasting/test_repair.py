"""Bars made whole: every number by hand."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from chandler.forecasting.repair import repair_bars


def test_repair_moves_high_and_low_only() -> None:
    bars = np.array([[[10.0, 9.0, 11.0, 12.0, 5.0, 50.0], [10.0, 13.0, 9.0, 12.0, 5.0, 50.0]]])
    whole, count = repair_bars(bars, lowest=8.0)
    assert whole[0, 0].tolist() == [10, 12, 10, 12, 5, 50]
    assert whole[0, 1].tolist() == bars[0, 1].tolist()
    assert count == 1


def test_repair_empties_negative_volume_and_lifts_prices_from_below_0() -> None:
    bars = np.array([[[1.0, 1.0, 1.0, 1.0, -3.0, -1e9], [-5.0, -4.0, -6.0, 0.5, 1.0, 1.0]]])
    whole, count = repair_bars(bars, lowest=2.0)
    assert whole[0, 0].tolist() == [1, 1, 1, 1, 0, 0]
    assert whole[0, 1].tolist() == [0.02, 0.5, 0.02, 0.5, 1, 1]
    assert count == 2


@settings(max_examples=100, deadline=None, derandomize=True)
@given(arrays(np.float64, (3, 4, 6), elements=st.floats(-1e6, 1e6)))
def test_repaired_bars_could_have_traded_and_stay_when_repaired_again(bars: np.ndarray) -> None:
    whole, count = repair_bars(bars, lowest=5.0)
    o, h, low, c, volume, amount = np.moveaxis(whole, -1, 0)
    assert (h >= np.maximum(o, c)).all()
    assert (low <= np.minimum(o, c)).all()
    assert (whole[..., :4] > 0).all()
    assert (volume >= 0).all()
    assert (amount >= 0).all()
    assert count == (whole != bars).any(-1).sum()
    assert repair_bars(whole, lowest=5.0)[1] == 0
