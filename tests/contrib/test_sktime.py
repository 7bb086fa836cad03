"""`KronosForecaster` as sktime sees it: all of its own checks, and bars as they are. Run by `make test-contrib`."""

from __future__ import annotations

import pickle
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("sktime")

from sktime.forecasting.base import ForecastingHorizon
from sktime.forecasting.model_evaluation import evaluate
from sktime.performance_metrics.forecasting.probabilistic import PinballLoss
from sktime.split import ExpandingWindowSplitter
from sktime.utils.estimator_checks import check_estimator

import chandler
from chandler import Forecaster, load_bars
from chandler.contrib.sktime import KronosForecaster
from chandler.errors import CheckpointError

SMALL = {"paths": 8, "lookback": 32}


@pytest.fixture(scope="module")
def bars() -> pd.DataFrame:
    """400 trading days of IBM: no regular step."""
    store = load_bars(Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz")
    return store["IBM"].tail(400).to_frame()


def test_sktimes_own_checks_pass() -> None:
    results = check_estimator(KronosForecaster, raise_exceptions=False, verbose=False)
    assert len(results) > 500
    assert {name: result for name, result in results.items() if result != "PASSED"} == {}


def test_it_forecasts_what_the_forecaster_does(bars: pd.DataFrame) -> None:
    past, future = bars.iloc[:-5], bars.index[-5:]
    own = KronosForecaster(**SMALL, seed=3).fit(past)
    theirs = Forecaster.from_pretrained("chandler-nano").forecast(past, 5, 8, lookback=32, seed=3, timestamps=future)
    assert np.allclose(own.predict(fh=future), theirs.mean())
    levels = own.predict_quantiles(fh=future, alpha=[0.1, 0.9])
    assert list(levels.columns[:3]) == [("open", 0.1), ("open", 0.9), ("high", 0.1)]
    assert np.allclose(levels["close"], theirs.quantiles([0.1, 0.9], "close"))
    band = own.predict_interval(fh=future, coverage=0.8)["close"][0.8]
    assert np.allclose(band, theirs.interval(0.8))


def test_a_distribution_is_the_paths(bars: pd.DataFrame) -> None:
    pytest.importorskip("skpro")
    made = KronosForecaster(**SMALL).fit(bars)
    spread = made.predict_proba(fh=[1, 4])
    assert np.allclose(spread.mean(), made.predict(fh=[1, 4]))
    assert spread.shape == (2, 6)


def test_days_without_a_regular_step_are_counted_by_the_calendar(bars: pd.DataFrame) -> None:
    assert bars.index.inferred_freq is None
    made = KronosForecaster(**SMALL, calendar="XNYS").fit(bars.loc[:"2012-12-31"])
    assert made.predict(fh=[1, 13]).index.tolist() == [pd.Timestamp("2013-01-02"), pd.Timestamp("2013-01-18")]
    asked = pd.DatetimeIndex(["2013-01-02", "2013-01-03", "2013-01-04"])
    assert made.predict(fh=asked).index.equals(asked)
    with pytest.raises(NotImplementedError, match="in-sample"):
        made.predict(fh=ForecastingHorizon(bars.index[:3], is_relative=False))


def test_new_bars_move_what_is_seen_on(bars: pd.DataFrame) -> None:
    whole = KronosForecaster(**SMALL).fit(bars).predict(fh=[1])
    for update_params in (True, False):
        moved = KronosForecaster(**SMALL).fit(bars.iloc[:-50])
        moved.update(bars.iloc[-50:], update_params=update_params)
        assert np.allclose(moved.predict(fh=[1]), whole)
    assert len(pickle.dumps(moved)) < 1e5  # no models


def test_it_is_evaluated_along_time(bars: pd.DataFrame) -> None:
    splits = ExpandingWindowSplitter(initial_window=360, fh=[1, 2, 3], step_length=20)
    table = evaluate(KronosForecaster(**SMALL), cv=splits, y=bars["close"], scoring=PinballLoss())
    assert len(table) == 2
    assert (table["test_PinballLoss"] > 0).all()


def test_a_panel_of_symbols(bars: pd.DataFrame) -> None:
    panel = pd.concat({"A": bars, "B": bars * 2}, names=["symbol", "timestamp"])
    made = KronosForecaster(**SMALL).fit(panel).predict(fh=[1, 2])
    assert made.index.get_level_values(0).tolist() == ["A", "A", "B", "B"]
    assert np.allclose(made.loc["A", "close"] * 2, made.loc["B", "close"], rtol=1e-5)


def test_a_model_that_is_not_there_is_told_at_fit(bars: pd.DataFrame) -> None:
    with pytest.raises(CheckpointError, match="no such folder"):
        KronosForecaster(model="nowhere").fit(bars)
