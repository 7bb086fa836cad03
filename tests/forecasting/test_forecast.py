"""Forecast: means, quantiles and frames checked by hand, and a picture that is really drawn."""

from __future__ import annotations

import dataclasses
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure

from chandler.data.bars import FEATURES, Bars
from chandler.errors import ConfigError, DataError
from chandler.forecasting.engine.sampling import Sampling
from chandler.forecasting.export import write_plots
from chandler.forecasting.forecast import Forecast, forecasts_to_frame

COLUMNS = list(FEATURES)


def made_up(
    paths: int = 5, horizon: int = 2, zone: str | None = None, symbol: str = "ACME", freq: str = "D"
) -> Forecast:
    """Path p, step h, feature f has the value 100 p + 10 h + f."""
    times = pd.date_range("2024-01-01", periods=30 + horizon, freq=freq, tz=zone)
    p, h, f = np.ogrid[:paths, :horizon, :6]
    close = 100 + np.sin(np.arange(30.0))
    values = np.c_[close - 0.5 * np.cos(np.arange(30)), close + 1, close - 1, close, close, close]
    return Forecast(
        symbol=symbol,
        timestamps=times[30:],
        paths=(100 * p + 10 * h + f).astype(float),
        history=Bars(symbol, times[:30], values),
        sampling=Sampling(),
        seed=0,
        calendar="inferred",
        model="runs/demo",
    )


def test_mean_over_paths() -> None:
    mean = made_up().mean()
    assert list(mean.columns) == COLUMNS
    assert mean["open"].tolist() == [200, 210]
    assert mean["amount"].tolist() == [205, 215]
    assert mean.index.equals(made_up().timestamps)


def test_quantiles_over_paths() -> None:
    forecast = made_up()
    both = forecast.quantiles([0.0, 0.5, 0.875])
    assert both.columns.names == ["feature", "quantile"]
    assert both["close"][0.5].tolist() == [203, 213]
    assert both["close"][0.875].tolist() == [353, 363]  # halfway between the fourth path and the fifth
    close = forecast.quantiles([0.0, 0.5, 0.875], column="close")
    pd.testing.assert_frame_equal(both["close"], close)
    assert list(forecast.quantiles(column="close").columns) == [0.1, 0.5, 0.9]


@pytest.mark.parametrize(("levels", "column"), [([1.5], None), ([-0.1], "close"), ([], None), ([0.5], "vwap")])
def test_impossible_quantiles_are_refused(levels: list[float], column: str | None) -> None:
    with pytest.raises(ConfigError, match=column if column == "vwap" else "levels"):
        made_up().quantiles(levels, column=column)


def test_intervals_are_quantiles_with_plain_names() -> None:
    forecast = made_up()
    band = forecast.interval(0.5)
    assert band["lower"].tolist() == [103, 113]
    assert band["upper"].tolist() == [303, 313]
    assert forecast.interval(0.5, column=None)["volume"]["upper"].tolist() == [304, 314]
    assert forecast.interval(0.5, column=None).columns.names == ["feature", "quantile"]
    with pytest.raises(ConfigError, match="level"):
        forecast.interval(80)
    with pytest.raises(ConfigError, match="vwap"):
        forecast.interval(0.8, "vwap")


def test_probabilities_are_shares_of_the_paths() -> None:
    forecast = made_up()  # closes 3, 103, .. 403 and then 13, 113, .. 413
    assert forecast.probability_above(113) == 0.6
    assert forecast.probability_above(102, step=1) == 0.8
    assert forecast.probability_above(410, "high", step="any") == 0.2
    assert forecast.probability_above(410, "high", step=1) == 0.0
    with pytest.raises(ConfigError, match="vwap"):
        forecast.probability_above(1, "vwap")


def test_returns_and_volatility_start_at_the_last_known_close() -> None:
    forecast = made_up()
    last = forecast.history.values[-1, 3]
    closes = forecast.paths[:, :, 3]
    np.testing.assert_allclose(forecast.returns(), closes / last - 1)
    np.testing.assert_allclose(forecast.terminal_return("log"), np.log(closes[:, 1] / last))
    np.testing.assert_allclose(forecast.returns(column="open")[:, 0], forecast.paths[:, 0, 0] / last - 1)
    expected = np.log(closes[:, 0] / last) ** 2 + np.log(closes[:, 1] / closes[:, 0]) ** 2
    np.testing.assert_allclose(forecast.realised_variance(), expected)
    np.testing.assert_allclose(forecast.realised_volatility(), np.sqrt(expected))
    with pytest.raises(ConfigError, match="volume is no price"):
        forecast.returns(column="volume")


def test_repair_gives_a_new_forecast_and_says_how_many_bars() -> None:
    forecast = made_up()  # high 1 above open, close 3 above: every high is too low, every low 2 above open
    whole = forecast.repair()
    assert forecast.repaired is None
    assert whole.repaired == 10
    assert whole.paths[2, 1].tolist() == [210, 213, 210, 213, 214, 215]
    assert forecast.paths[2, 1].tolist() == [210, 211, 212, 213, 214, 215]
    assert whole.repair().repaired == 10


def test_long_frame_has_a_row_per_path_and_step() -> None:
    frame = made_up(zone="Europe/Berlin").to_frame()
    assert list(frame.columns) == ["symbol", "path", "step", "timestamp", *COLUMNS]
    assert len(frame) == 5 * 2
    row = frame[(frame.path == 3) & (frame.step == 2)].iloc[0]
    assert (row.symbol, row.open, row.close) == ("ACME", 310, 313)
    assert row.timestamp == pd.Timestamp("2024-02-01", tz="Europe/Berlin")


def test_frames_of_many_symbols_survive_parquet(tmp_path: Path) -> None:
    frame = forecasts_to_frame([made_up(symbol="A", zone="Asia/Tokyo"), made_up(symbol="B", zone="Asia/Tokyo")])
    assert frame.groupby("symbol").size().to_dict() == {"A": 10, "B": 10}
    frame.to_parquet(tmp_path / "f.parquet")
    pd.testing.assert_frame_equal(pd.read_parquet(tmp_path / "f.parquet"), frame)
    assert str(frame.timestamp.dt.tz) == "Asia/Tokyo"


def test_several_zones_become_utc_and_naive_beside_aware_is_refused() -> None:
    frame = forecasts_to_frame([made_up(symbol="A", zone="Asia/Tokyo"), made_up(symbol="B", zone="UTC")])
    assert str(frame.timestamp.dt.tz) == "UTC"
    assert frame.timestamp.iloc[0] == pd.Timestamp("2024-01-31", tz="Asia/Tokyo")
    with pytest.raises(DataError, match=r"B: .*no time zone"):
        forecasts_to_frame([made_up(symbol="A", zone="UTC"), made_up(symbol="B")])
    with pytest.raises(DataError, match="no forecasts"):
        forecasts_to_frame([])


def test_repr_tells_the_essentials_in_one_line() -> None:
    text = repr(made_up())
    assert "'ACME', 2 bars 2024-01-31 00:00:00 .. 2024-02-01 00:00:00 (inferred), 5 paths after 30 bars" in text
    assert "\n" not in text


@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_plot_writes_a_picture(tmp_path: Path, suffix: str) -> None:
    figure = made_up().plot(tmp_path / f"plot{suffix}")
    assert isinstance(figure, Figure)
    assert (tmp_path / f"plot{suffix}").stat().st_size > 5000


def test_plot_says_what_is_shown() -> None:
    figure = made_up(paths=5, horizon=4).plot(band=0.6, history_rows=10)
    axes = figure.axes[0]
    assert axes.get_title(loc="left") == "ACME: next 4 bars after 30 Jan 2024"
    assert [text.get_text() for text in axes.texts] == ["5 sampled paths, 60% band  |  demo"]
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == ["close at or above open", "close below open", "60% of 5 paths", "mean forecast close"]


def test_plot_spaces_bars_evenly_over_nights_and_weekends() -> None:
    axes = made_up(horizon=2, freq="B").plot(history_rows=10).axes[0]
    mean = axes.lines[-1]
    assert list(mean.get_xdata()) == [9, 10, 11]
    assert axes.get_xlim() == (-1, 12)


def test_plot_mean_starts_at_the_last_known_close() -> None:
    forecast = made_up(horizon=3)
    drawn = forecast.plot().axes[0].lines[-1].get_ydata()
    np.testing.assert_allclose(drawn, [forecast.history.values[-1, 3], 203, 213, 223])


def test_plot_draws_the_truth_at_its_own_times() -> None:
    forecast = made_up(horizon=4)
    truth = Bars("ACME", forecast.timestamps[[1, 3]], np.full((2, 6), 99.0))
    for given in (truth, truth.to_frame()):
        line = forecast.plot(truth=given, history_rows=10).axes[0].lines[-1]
        assert list(line.get_xdata()) == [11, 13]
        assert list(line.get_ydata()) == [99, 99]
    with pytest.raises(DataError, match="none of the forecast's timestamps"):
        forecast.plot(truth=forecast.history)
    with pytest.raises(DataError, match="only one has a time zone"):
        forecast.plot(truth=dataclasses.replace(truth, timestamps=truth.timestamps.tz_localize("UTC")))


@pytest.mark.parametrize("wrong", [{"band": 0.0}, {"band": 1.0}, {"history_rows": 0}])
def test_impossible_pictures_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        made_up().plot(**wrong)  # type: ignore[arg-type]


def test_one_path_and_one_bar_can_be_drawn() -> None:
    figure = made_up(paths=1, horizon=1).plot(history_rows=1)
    assert figure.axes[0].get_title(loc="left") == "ACME: next bar after 30 Jan 2024"


def test_forecasting_imports_what_it_draws_with_only_when_it_draws() -> None:
    code = "import sys, chandler.forecasting.forecaster; sys.exit(bool({'matplotlib', 'plotly'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_figure_draws_history_band_mean_and_truth() -> None:
    forecast = made_up(horizon=4)
    figure = forecast.figure(band=0.6, history_rows=10)
    kinds = [(trace.type, trace.name) for trace in figure.data]
    assert kinds == [
        ("candlestick", "history"),
        ("scatter", "band, lower"),
        ("scatter", "60% of 5 paths"),
        ("scatter", "mean forecast close"),
    ]
    assert figure.data[3].y == (forecast.history.values[-1, 3], 203, 213, 223, 233)
    assert figure.data[1].y[1:] == tuple(forecast.interval(0.6)["lower"])
    assert len(figure.layout.xaxis.categoryarray) == 14
    truth = Bars("ACME", forecast.timestamps[[1, 3]], np.full((2, 6), 99.0))
    drawn = forecast.figure(truth=truth).data[-1]
    assert (drawn.name, drawn.x, drawn.close) == ("what came true", ("01 Feb 2024", "03 Feb 2024"), (99, 99))
    with pytest.raises(DataError, match="none of the forecast's timestamps"):
        forecast.figure(truth=forecast.history)
    with pytest.raises(ConfigError, match="band"):
        forecast.figure(band=1.0)


def test_page_needs_no_network(tmp_path: Path) -> None:
    page = made_up(paths=1, horizon=1, freq="h").plot_html(tmp_path / "f.html", history_rows=3)
    assert (tmp_path / "f.html").read_text(encoding="utf-8") == page
    assert "ACME: next bar after" in page
    assert "<script src=" not in page
    assert len(page) > 1_000_000


def test_two_symbols_do_not_share_a_picture(tmp_path: Path) -> None:
    forecasts = [made_up(symbol=name) for name in ("BTC/USD", "BTC_USD", "BTC:USD", "ETH")]
    written = write_plots(forecasts, tmp_path / "f.svg")
    assert [path.name for path in written] == ["f-BTC_USD.svg", "f-BTC_USD-2.svg", "f-BTC_USD-3.svg", "f-ETH.svg"]
    assert all(path.is_file() for path in written)


def test_pictures_of_symbols_that_differ_in_capitals_alone_differ_in_more(tmp_path: Path) -> None:
    """Many file systems do not tell them apart."""
    written = write_plots([made_up(symbol=name) for name in ("aB", "AB", "Ab")], tmp_path / "f.svg")
    assert [path.name for path in written] == ["f-aB.svg", "f-AB-2.svg", "f-Ab-3.svg"]


def test_a_picture_of_an_unknown_kind_is_refused(tmp_path: Path) -> None:
    for name in ("f.xyz", "f.html"):
        with pytest.raises(ConfigError, match=rf"{name}: the name must end in \.png, \.svg or \.pdf; .* plot_html"):
            made_up().plot(tmp_path / name)
    assert not list(tmp_path.iterdir())


def test_a_picture_that_cannot_be_drawn_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "f.png"
    made_up().plot(path)
    before = path.read_bytes()

    def full(figure: Figure, target: Path, **how: object) -> None:
        Path(target).write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="No space"):
        made_up().plot(path)
    assert path.read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == ["f.png"]
