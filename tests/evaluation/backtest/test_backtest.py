"""The command from bars and a model to a folder: what it writes, that it goes on, and that no signal sees the future."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.shell import chandler as shell

import chandler
from chandler.data import Bars, load_bars
from chandler.data.store.store import BarStore
from chandler.errors import ConfigError, DataError
from chandler.evaluation.backtest.panel import Panel
from chandler.evaluation.backtest.runner import backtest, load_backtest
from chandler.evaluation.backtest.signals import read_signals, score, score_matrix, signal_bars
from chandler.forecasting.forecaster import Forecaster

ASSET = Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz"
GOLDEN = Path(__file__).parents[2] / "golden"
MODEL = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
SMALL = ["data.start=2012-08-01", "data.end=2012-10-31", "lookback=20", "horizon=3", "paths=2", "every=10", "chunk=8",
         "random=3", "momentum=10", "portfolio.k=2"]  # fmt: skip


def arguments(*overrides: str) -> list[str]:
    return [part for one in (*SMALL, *overrides) for part in ("--set", one)]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    out = tmp_path_factory.mktemp("backtest") / "bt"
    assert shell("backtest", ASSET, "--model", MODEL, "--out", out, *arguments()) == 0
    return out


def test_a_window_that_is_left_out_is_that_of_the_run(run, tmp_path):
    rest = [one for one in SMALL if not one.startswith(("data.start", "data.end", "lookback", "horizon"))]
    given = {"data": {"path": str(ASSET), "start": "2012-07-02"}, "model": str(run), "device": "cpu"}
    for out, more, window in (("run", {}, (24, 4)), ("null", {"lookback": None, "horizon": None}, (90, 10))):
        made = backtest(load_backtest({**given, **more}, [*rest, f"out={tmp_path / out}"]))
        summary = json.loads((made / "summary.json").read_text())
        assert (summary["lookback"], summary["horizon"]) == window
    assert load_backtest(tmp_path / "run" / "config.yaml").lookback == 24


def test_the_folder_holds_everything_and_the_report(folder):
    summary = json.loads((folder / "summary.json").read_text())
    # 63 sessions, 20 of lookback: signals on bars 19, 29, 39, 49 and 59.
    assert summary["signal_bars"] == 5
    assert summary["scores"] == 25
    assert list(summary["results"]) == ["model", "momentum (10 bars)", "reversal (5 bars)"]
    assert summary["random"]["draws"] == 3
    assert 0.25 <= summary["luck"]["share"] <= 1
    curve = pd.read_parquet(folder / "curve.parquet")
    model = curve[curve["signal"] == "model"]
    assert model["value"].iloc[0] == 1
    assert model["value"].iloc[-1] == pytest.approx(np.prod(1 + model["return"].iloc[1:]))
    assert model["benchmark"].iloc[-1] == pytest.approx(np.prod(1 + model["benchmark_return"].iloc[1:]))
    trades = pd.read_parquet(folder / "trades.parquet")
    assert set(trades["side"]) == {"buy", "sell"}
    assert (trades["timestamp"] > trades["signal_time"]).all()
    page = (folder / "report.html").read_text()
    for text in (
        "What became of 1",
        "What luck does",
        "15 basis points to buy",
        "the model was trained on is not on record",
    ):
        assert text in page
    assert "src=" not in page.split("<script")[0]


def test_scores_are_mean_forecast_returns(folder):
    """mean(p) / p_t - 1 over paths and horizon, from the same forecast made by hand."""
    signals = pd.read_parquet(folder / "signals.parquet")
    one = signals[signals["symbol"] == "IBM"].iloc[2]
    bars = load_bars(ASSET, symbols=["IBM"])["IBM"]
    end = int(np.flatnonzero(bars.timestamps == one["timestamp"])[0]) + 1
    forecaster = Forecaster.from_pretrained([GOLDEN / "tokenizer", GOLDEN / "predictor"])
    made = forecaster.forecast(bars.slice(end - 20, end), 3, 2, temperature=0.6, top_p=0.9, lookback=20, seed=2)
    last = bars.values[end - 1, 3]
    assert one["score"] == pytest.approx(made.paths[:, :, 3].mean() / last - 1, rel=1e-6)
    assert score(np.array([[11.0, 12.0], [9.0, 12.0]]), 10.0) == pytest.approx(0.1)


def test_the_same_command_goes_on_and_other_settings_are_refused(folder, capsys):
    before = pd.read_parquet(folder / "signals.parquet")
    parts = sorted((folder / "parts").glob("*.parquet"))
    assert len(parts) == 3  # 10, 10 and 5 forecasts: whole rounds of at least 8
    kept = parts[0].stat().st_mtime_ns
    parts[1].unlink()
    assert shell("backtest", ASSET, "--model", MODEL, "--out", folder, *arguments()) == 0
    assert parts[0].stat().st_mtime_ns == kept
    pd.testing.assert_frame_equal(before, pd.read_parquet(folder / "signals.parquet"))
    capsys.readouterr()
    assert shell("backtest", ASSET, "--model", MODEL, "--out", folder, *arguments("temperature=0.9")) == 2
    assert "holds signals made with other settings (temperature). Choose another --out" in capsys.readouterr().err
    # The rule of trading is no setting of the forecasts: another one makes none again.
    assert shell("backtest", ASSET, "--model", MODEL, "--out", folder, *arguments("portfolio.hold=5")) == 0
    assert parts[0].stat().st_mtime_ns == kept


def test_signals_do_not_change_with_what_comes_later(tmp_path, folder):
    """Bars after 28 September are replaced by nonsense: signals up to then stay as they were."""
    frame = pd.read_csv(ASSET).drop(columns="adj_close")
    frame = frame[(frame["timestamp"] >= "2012-08-01") & (frame["timestamp"] <= "2012-10-31")]
    late = frame["timestamp"] > "2012-09-28"
    found = []
    for number, factor in enumerate((1.0, 3.0)):
        other = frame.copy()
        prices = ["open", "high", "low", "close"]
        other.loc[late, prices] = other.loc[late, prices] * factor
        path = tmp_path / f"{number}.csv"
        other.to_csv(path, index=False)
        settings = load_backtest(
            {}, [*SMALL, f"data.path={path}"], {"model": MODEL, "out": str(tmp_path / f"out{number}")}
        )
        signals = pd.read_parquet(backtest(settings) / "signals.parquet")
        found.append(signals)
    early = [one[one["timestamp"] <= "2012-09-28"].reset_index(drop=True) for one in found]
    assert len(early[0]) == 15
    pd.testing.assert_frame_equal(*early)
    assert not found[0].equals(found[1])


def test_signal_bars_ask_for_no_bar_after_them():
    """Evaluations need the horizon to have come true; a signal does not, or symbols that cease to trade would be
    known to cease. FB ends two bars early here and is forecast on its last bar all the same."""
    series = [bars.slice(len(bars) - 40, len(bars) - (2 if bars.symbol == "FB" else 0)) for bars in load_bars(ASSET)]
    store = BarStore.from_bars(series)
    bars = signal_bars(store, Panel.from_store(store), 20, 1, None)
    times = pd.Series(np.asarray(bars.store.timestamps)[bars.rows], index=[bars.symbol(i) for i in range(len(bars))])
    all_times = np.unique(bars.store.timestamps)
    assert times["FB"].max() == all_times[-3]
    assert times["IBM"].max() == all_times[-2]  # after the last bar nothing can be traded


@pytest.mark.parametrize(("every", "first_of_b"), [(1, 65), (4, 65), (5, 69)])
def test_signals_begin_with_the_last_bar_of_the_calendar_before_the_start(every, first_of_b):
    """Whatever symbols have theirs: C has gone long before, B pauses across the start and is back on day 65."""
    days = pd.date_range("2024-01-01", periods=100).as_unit("ns")
    there = {"A": np.arange(100), "B": np.r_[:40, 65:100], "C": np.arange(30)}
    store = BarStore.from_bars([Bars(name, days[rows], np.ones((len(rows), 6))) for name, rows in there.items()])
    bars = signal_bars(store, Panel.from_store(store), 20, every, str(days[50].date()))
    found = pd.Series(days.get_indexer(pd.DatetimeIndex(np.asarray(bars.store.timestamps)[bars.rows])),
                      index=[bars.symbol(window) for window in range(len(bars))])  # fmt: skip
    assert found["A"].tolist() == list(range(49, 99, every))
    assert found["B"].tolist() == list(range(first_of_b, 99, every))
    assert "C" not in found


def test_trading_begins_on_the_first_bar_that_the_model_does_not_know(run, tmp_path):
    """A signal of the last known close is traded on the bar after it, and that bar is what must not be known."""
    asked = [*SMALL, f"data.path={ASSET}", "data.start=2012-06-01", "every=1", "random=0", "end=2012-10-05"]
    given = {"model": str(run), "out": str(tmp_path / "bt")}
    summary = json.loads((backtest(load_backtest({}, asked, given)) / "summary.json").read_text())
    assert summary["first_signal"] == "2012-09-28 00:00:00"  # the last that was validated on, a Friday
    assert summary["seen"] == []
    with pytest.raises(DataError, match=r"4 of 30 windows .* chose the model's checkpoint"):
        backtest(load_backtest({}, [*asked, "start=2012-09-28"], given))


def test_signals_of_a_file(tmp_path):
    panel = Panel.from_store(load_bars(ASSET))
    day = panel.times[-5]
    path = tmp_path / "s.csv"
    path.write_text(f"date,instrument,score\n{day:%Y-%m-%d},IBM,0.5\n{day:%Y-%m-%d},XYZ,1\n1999-01-01,IBM,1\n")
    with pytest.raises(
        DataError, match="1 of 2 signals in the period are of symbols that the data do not have, first XYZ at"
    ):
        score_matrix(read_signals(path), panel)
    scores, notes = score_matrix(read_signals(path), panel, allow_left_out=True)
    assert scores[-5, panel.symbols.index("IBM")] == 0.5
    assert np.isfinite(scores).sum() == 1
    assert notes == ["1 of 3 signals are of symbols that the data do not have: left out.",
                     "1 of 3 signals are of times at which the data have no bar: left out."]  # fmt: skip
    (tmp_path / "t.csv").write_text("date,symbol\n2012-01-03,IBM\n")
    with pytest.raises(DataError, match=r"t\.csv: no column score or signal; it has date, symbol"):
        read_signals(tmp_path / "t.csv")
    path.write_text("date,symbol,score\n2012-01-03,IBM,1\n2012-01-03,IBM,2\n")
    with pytest.raises(DataError, match="1 scores come twice, first IBM at 2012-01-03"):
        read_signals(path)
    path.write_text("date,symbol,score\n1999-01-03,IBM,1\n")
    with pytest.raises(DataError, match="all 1 signals are of times at which the data have no bar"):
        score_matrix(read_signals(path), panel)
    with pytest.raises(DataError, match="no such file of signals"):
        read_signals(tmp_path / "none.csv")


def test_symbols_of_signals_are_text(tmp_path):
    """As in files of bars: leading zeros stay, and NA, TRUE and ON are symbols."""
    path = tmp_path / "s.csv"
    path.write_text(
        "date,symbol,score\n2024-01-02,000001,0.5\n2024-01-02,NA,0.25\n2024-01-02,TRUE,1\n2024-01-02,2415,\n"
    )
    table = read_signals(path)
    assert table["symbol"].tolist() == ["000001", "NA", "TRUE"]
    assert table["score"].tolist() == [0.5, 0.25, 1]
    path.write_text("date,symbol,score\n13/01/2024,A,1\n14/01/2024,A,2\n")
    assert [str(time.date()) for time in read_signals(path)["timestamp"]] == ["2024-01-13", "2024-01-14"]
    path.write_text("date,symbol,score\n01/02/2024,A,1\n")
    with pytest.raises(DataError, match=r"s\.csv: day or month first\?"):
        read_signals(path)


def test_a_backtest_of_a_signal_file_by_command(tmp_path, capsys):
    store = load_bars(ASSET)
    rows = [(str(t.date()), bars.symbol, v) for bars in store
            for t, v in zip(bars.timestamps[-30:], np.sin(np.arange(30) + len(bars)), strict=True)]  # fmt: skip
    path = tmp_path / "s.parquet"
    pd.DataFrame(rows, columns=["date", "symbol", "score"]).to_parquet(path)
    code = shell(
        "backtest", ASSET, "--signals", path, "--out", tmp_path / "o", "--set", "random=0", "--set", "benchmark=IBM"
    )
    assert code == 0
    said = capsys.readouterr().out
    assert "The portfolio of the signals" in said
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert summary["results"]["signals"]["bars"] == 29
    assert summary["benchmark"] == "IBM"
    assert "luck" not in summary
    assert "IBM" not in set(pd.read_parquet(tmp_path / "o" / "trades.parquet")["symbol"])


def test_a_benchmark_that_begins_later_is_where_the_backtest_begins(tmp_path, capsys):
    """FB has its first bar on 18 May 2012; the signals before have nothing to be held against."""
    store = load_bars(ASSET, start="2012-04-02", end="2012-07-31")
    rows = [(day, bars.symbol, day.day_of_year * len(bars.symbol) % 7) for bars in store for day in bars.timestamps]
    pd.DataFrame(rows, columns=["date", "symbol", "score"]).to_parquet(tmp_path / "s.parquet")
    command = ["backtest", ASSET, "--signals", tmp_path / "s.parquet", "--set", "benchmark=FB", "--set", "portfolio.k=1",
               "--set", "random=0"]  # fmt: skip
    assert shell(*command, "--out", tmp_path / "o") == 0
    note = "The benchmark FB begins at 2012-05-18 00:00:00: the signals of 33 bars before are left out."
    assert note in capsys.readouterr().err
    summary = json.loads((tmp_path / "o" / "summary.json").read_text())
    assert (summary["first_signal"], summary["notes"]) == ("2012-05-18 00:00:00", [note])
    curve = pd.read_parquet(tmp_path / "o" / "curve.parquet").query("signal == 'signals'")
    fb = load_bars(ASSET, symbols=["FB"])["FB"]
    closes = pd.Series(fb.values[:, 3], fb.timestamps)
    assert curve["benchmark"].iloc[-1] == pytest.approx(closes[curve["timestamp"].iloc[-1]] / closes.iloc[0])
    assert shell(*command, "--out", tmp_path / "p", "--set", "end=2012-05-17") == 2
    assert "benchmark: FB has no bar up to the last signal (2012-05-1" in capsys.readouterr().err


def test_what_cannot_be_backtested_is_said(tmp_path, capsys):
    with pytest.raises(ConfigError, match="give model or signals, found neither"):
        load_backtest({"data": {"path": "x"}})
    with pytest.raises(ConfigError, match=r"unknown key portfolio\.topk"):
        load_backtest({"data": {"path": "x"}, "model": "m", "portfolio": {"topk": 3}})
    (tmp_path / "mine.txt").write_text("keep me")
    assert shell("backtest", ASSET, "--model", MODEL, "--out", tmp_path, *arguments()) == 2
    assert "holds something else than a backtest" in capsys.readouterr().err
    assert shell("backtest", ASSET, "--model", MODEL, "--out", tmp_path / "o", *arguments("portfolio.k=5")) == 2
    assert "5 of 5 symbols leaves nothing to choose" in capsys.readouterr().err
    assert shell("backtest", ASSET, "--model", MODEL, "--out", tmp_path / "o", *arguments("end=2012-08-01")) == 2
    assert "the data have 1 bars up to 2012-08-01" in capsys.readouterr().err
