"""Validation and the facts that hold of every Bars, on rows small enough to check by eye."""

import datetime

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars
from chandler.errors import DataError

# AAPL, the first week of March 2000, as traded.
ROWS = {
    "timestamp": ["2000-03-01", "2000-03-02", "2000-03-03", "2000-03-06", "2000-03-07"],
    "open": [118.56, 127.0, 124.87, 126.0, 126.44],
    "high": [132.06, 127.94, 128.23, 129.13, 127.44],
    "low": [118.5, 120.69, 120.0, 125.0, 121.12],
    "close": [130.31, 122.0, 128.0, 125.69, 122.87],
    "volume": [9616100, 2779100, 2895100, 1880000, 2433100],
}


def frame(**changes):
    return pd.DataFrame({**ROWS, **changes})


def test_values_are_in_feature_order_and_amount_is_volume_times_the_mean_price():
    bars = Bars.from_frame(frame(), symbol="AAPL")
    assert len(bars) == 5
    assert bars.values.dtype == np.float64
    assert bars.values[0].tolist()[:5] == [118.56, 132.06, 118.5, 130.31, 9616100]
    assert bars.values[0, 5] == pytest.approx(9616100 * (118.56 + 132.06 + 118.5 + 130.31) / 4)
    assert bars.interval == pd.Timedelta(days=1)
    assert bars.timestamps.dtype == "datetime64[ns]"


def test_no_volume_column_means_volume_and_amount_zero():
    bars = Bars.from_frame(frame().drop(columns="volume"))
    assert (bars.values[:, 4:] == 0).all()
    assert bars.symbol == "series"
    assert any("no volume column" in note for note in map(str, bars.notes))


def test_amount_is_kept_where_only_volume_is_missing():
    bars = Bars.from_frame(frame(amount=[1.0, 2, 3, 4, 5]).drop(columns="volume"))
    assert bars.values[:, 4].tolist() == [0, 0, 0, 0, 0]
    assert bars.values[:, 5].tolist() == [1, 2, 3, 4, 5]


def test_empty_and_negative_volumes_count_as_zero_and_are_reported():
    bars = Bars.from_frame(frame(volume=[1.0, np.nan, -3.0, np.nan, 5.0]))
    assert bars.values[:, 4].tolist() == [1, 0, 0, 0, 5]
    assert bars.values[1, 5] == 0
    assert "2 rows without volume: taken as 0" in "; ".join(map(str, bars.notes))
    assert "1 row with negative volume: taken as 0" in "; ".join(map(str, bars.notes))


def test_rows_are_sorted_and_equal_ones_dropped():
    data = frame().iloc[[3, 1, 0, 2, 4, 1]].reset_index(drop=True)
    with pytest.raises(
        DataError, match=r"time steps back in 3 places, after 2000-03-06.*\(row 2\).*unsorted=\"sort\" \(--sort\)"
    ):
        Bars.from_frame(data)
    bars = Bars.from_frame(data, unsorted="sort")
    assert bars.timestamps.is_monotonic_increasing
    assert len(bars) == 5
    assert any("dropped 1 row that came twice" in note for note in map(str, bars.notes))
    assert any("not in time order" in note for note in map(str, bars.notes))
    data.loc[5, "close"] = 121.0
    with pytest.raises(
        DataError, match=r"the same time again with other values \(row 2: close 122.0; row 6: close 121.0\)"
    ):
        Bars.from_frame(data, unsorted="sort")


def test_newest_first_is_named_as_such():
    assert "rows were newest first: sorted" in [*map(str, Bars.from_frame(frame().iloc[::-1]).notes)]


def test_adjusted_close_scales_prices_and_volume_but_not_amount():
    data = frame(adj_close=[130.31 / 4, 122.0 / 4, 128.0 / 4, 125.69, 122.87], amount=[7.0] * 5)
    bars = Bars.from_frame(data)
    assert bars.values[0, :4] == pytest.approx([118.56 / 4, 132.06 / 4, 118.5 / 4, 130.31 / 4])
    assert bars.values[0, 4] == pytest.approx(9616100 * 4)
    assert bars.values[:, 5].tolist() == [7.0] * 5
    assert bars.values[4, :5] == pytest.approx([126.44, 127.44, 121.12, 122.87, 2433100])
    assert any("adj_close" in note for note in map(str, bars.notes))
    assert Bars.from_frame(data, adjust="none").values[0, 0] == 118.56


def test_high_below_close_is_kept():
    highs = frame()["high"].to_list()
    bars = Bars.from_frame(frame(high=[1.0, *highs[1:]]))
    assert bars.values[0, 1] == 1.0
    assert "high below low in 1 row: kept" in "; ".join(map(str, bars.notes))
    with pytest.raises(DataError, match=r"high is below low in 5 rows, first .*columns=\{'high': \.\.\.\}"):
        Bars.from_frame(frame(high=[1.0] * 5))


def test_missing_prices_are_an_error_or_dropped():
    data = frame(close=[130.31, np.nan, 128.0, np.nan, 122.87])
    with pytest.raises(
        DataError, match=r"AAPL: missing value in 'close' in 2 rows, first at 2000-03-02 .*\(row 2\)"
    ) as error:
        Bars.from_frame(data, symbol="AAPL")
    assert 'missing="drop"' in str(error.value)
    bars = Bars.from_frame(data, missing="drop")
    assert len(bars) == 3
    assert "dropped 2 rows with a missing price (2000-03-02 to 2000-03-06)" in "; ".join(map(str, bars.notes))


def test_zero_prices_are_an_error_or_dropped():
    data = frame(low=[118.5, 0, 120.0, 125.0, 121.12])
    with pytest.raises(DataError, match=r"'low' is not positive in 1 row.*row 2\): 0.0. Prices must be above 0"):
        Bars.from_frame(data)
    assert len(Bars.from_frame(data, missing="drop")) == 4


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"open": ["118.56", "127.0", "n.a.?", "126", "126"]},
         r"text in 'open' in 1 row.*\(row 3\): 'n\.a\.\?'\. Correct"),
        ({"high": [132.06, np.inf, 1, 1, 1]}, r"infinite value in 'high' in 1 row.*\(row 2\): inf\. Correct"),
        ({"low": [118.5, 120.69, -120.0, 125.0, -1]}, r"'low' is not positive in 2 rows.*\(row 3\): -120\.0\. Prices"),
        ({"close": [130.31, 1e39, 1, 1, 1]}, r"'close' is above 1e\+12, higher than any.*\(row 2\): 1e\+39\. Corr"),
        ({"volume": [1, 2, 3e38, 4, 5]}, r"volume x price is beyond what float32 holds.*\(row 3\)\. Use a larger"),
        ({"timestamp": ["2000-03-01", "soon", "2000-02-30", "x", "y"]},
         r"unreadable timestamp in 'timestamp' in 4 rows, first \(row 2\): 'soon'\. Correct"),
        ({"timestamp": [1, 2, 3, 4, 5]}, r"look like row numbers"),
    ],
)  # fmt: skip
def test_a_bad_cell_is_named_with_row_value_and_remedy(change, message):
    with pytest.raises(DataError, match=message):
        Bars.from_frame(frame(**change), symbol="AAPL")


def test_missing_columns_are_named_beside_those_that_are_there():
    with pytest.raises(
        DataError, match=r"missing columns timestamp, close; the columns are 'high', 'low', 'open'.*Rename"
    ):
        Bars.from_frame(pd.DataFrame({"high": [1.0], "low": [1.0], "open": [1.0]}))


def test_a_frame_without_rows_is_an_error():
    with pytest.raises(DataError, match="no rows"):
        Bars.from_frame(frame().iloc[:0])


def test_times_come_from_an_argument_a_column_or_the_index():
    expected = pd.DatetimeIndex(ROWS["timestamp"])
    prices = frame().drop(columns="timestamp")
    by_index = prices.set_index(expected)
    assert Bars.from_frame(by_index).timestamps.equals(expected)
    assert Bars.from_frame(by_index.rename_axis("Date")).timestamps.equals(expected)
    assert Bars.from_frame(prices, timestamps=pd.Series(expected)).timestamps.equals(expected)
    assert Bars.from_frame(frame(timestamp="wrong"), timestamps=expected).timestamps.equals(expected)
    days = [datetime.date(2000, 3, day) for day in (1, 2, 3, 6, 7)]
    assert Bars.from_frame(prices.assign(date=days)).timestamps.equals(expected)
    zoned = Bars.from_frame(prices, timestamps=expected.tz_localize("Asia/Tokyo"))
    assert str(zoned.timestamps.tz) == "Asia/Tokyo"


def test_columns_argument_goes_before_spellings():
    data = frame(settle=[1.0, 2, 3, 4, 5])
    assert Bars.from_frame(data, columns={"close": "settle"}).values[:, 3].tolist() == [1, 2, 3, 4, 5]
    with pytest.raises(DataError, match="'close' is in column 'nope', but there is no such column"):
        Bars.from_frame(data, columns={"close": "nope"})
    with pytest.raises(DataError, match="maps 'prise', which is none of"):
        Bars.from_frame(data, columns={"prise": "settle"})


def test_several_symbols_in_one_frame_are_an_error_here():
    with pytest.raises(DataError, match=r"holds 2 symbols \(A, B\).*load_bars"):
        Bars.from_frame(frame(symbol=["A", "A", "B", "B", "B"]))


def test_to_frame_goes_back_and_slices_keep_their_times():
    bars = Bars.from_frame(frame(), symbol="AAPL")
    assert Bars.from_frame(bars.to_frame(), symbol="AAPL").values.tolist() == bars.values.tolist()
    assert bars.tail(2).timestamps.tolist() == bars.timestamps[-2:].tolist()
    assert bars.tail(99).values.shape == (5, 6)
    assert bars.slice(1, 3).values.tolist() == bars.values[1:3].tolist()
