"""Files that could become wrong bars without a word: each ends in the right bars, or in one message that helps."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler.data import Bars, load_bars, prepare
from chandler.errors import DataError

HEADER = "time,open,high,low,close,volume"


def rows(
    start: str = "2024-03-04 09:00", count: int = 60, level: float = 1.08, freq: str = "h", seed: int = 0
) -> pd.DataFrame:
    """Bars as a vendor might write them: time, prices rounded to five digits, whole volumes."""
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(0, 0.002, count)))
    opens = np.append(level, close[:-1])
    spread = np.abs(rng.normal(0, 0.001, (2, count))) + 1e-4
    frame = pd.DataFrame({"time": pd.date_range(start, periods=count, freq=freq).astype(str), "open": opens})
    frame["high"] = np.maximum(opens, close) * (1 + spread[0])
    frame["low"] = np.minimum(opens, close) * (1 - spread[1])
    frame["close"] = close
    frame = frame.round({"open": 5, "high": 5, "low": 5, "close": 5})
    frame["volume"] = rng.integers(4_000, 12_000, count)
    return frame


def write(path: Path, frame: pd.DataFrame) -> Path:
    frame.to_csv(path, index=False)
    return path


def refused(source: Any, pattern: str, **options: Any) -> str:
    with pytest.raises(DataError, match=pattern) as caught:
        load_bars(source, **options)
    return str(caught.value)


# --- a column has its role by its cells, not by its name alone ---------------------------------------------------


@pytest.mark.parametrize(
    "name",
    [
        "Volume MA", "Volume SMA", "Vol EMA", "Volume_prev", "vol_yesterday", "Volume Buy", "volume.1", "volume_change",
        "volume_zscore", "Avg Volume", "Volume MA 20",
    ],
)  # fmt: skip
@pytest.mark.parametrize("level", [1.08, 130.0])
def test_a_statistic_of_the_volume_is_never_the_volume(tmp_path: Path, name: str, level: float) -> None:
    frame = rows(level=level)
    statistic = frame["volume"].rolling(9, min_periods=1).mean()
    whole = write(
        tmp_path / "OANDA_EURUSD, 60.csv", frame.rename(columns={"volume": "Volume"}).assign(**{name: statistic})
    )
    bars = load_bars(whole)["OANDA_EURUSD, 60"]
    assert bars.values[:, 4] == pytest.approx(frame["volume"])
    assert bars.values[:, 5] == pytest.approx(frame["volume"] * frame[["open", "high", "low", "close"]].mean(axis=1))
    alone = write(tmp_path / "alone.csv", frame.drop(columns="volume").assign(**{name: statistic}))
    assert load_bars(alone)["alone"].values[:, 4].tolist() == [0] * len(frame)


def test_a_volume_in_money_is_one_where_every_row_says_so(tmp_path: Path) -> None:
    frame = rows(level=40_000.0)
    coins = frame["volume"] / 1000
    named = {"volume": coins * frame["close"], "volume_btc": coins}
    assert load_bars(write(tmp_path / "a.csv", frame.assign(**named)))["a"].values[:, 4] == pytest.approx(coins)
    # Half of the rows say otherwise: the name decides.
    half = named["volume"].where(np.arange(len(frame)) % 2 == 0, coins)
    bars = load_bars(write(tmp_path / "b.csv", frame.assign(volume=half, volume_btc=coins)))["b"]
    assert bars.values[:, 4] == pytest.approx(half)
    # Near a price of 1 any two volumes look so.
    bars = load_bars(write(tmp_path / "c.csv", rows().assign(volume_btc=rows()["volume"] * 1.01)))["c"]
    assert bars.values[:, 4] == pytest.approx(rows()["volume"])


def test_a_coin_is_known_by_the_name_of_the_file(tmp_path: Path) -> None:
    frame = rows(level=0.05).drop(columns="volume").assign(**{"Volume PEPE": 100.0, "Volume USDT": 5.0})
    bars = load_bars(write(tmp_path / "Binance_PEPEUSDT_1h.csv", frame))["Binance_PEPEUSDT_1h"]
    assert bars.values[0, 4:].tolist() == [100, 5]


def test_prices_under_the_names_of_others_are_refused_with_the_order_that_fits(tmp_path: Path) -> None:
    frame = rows()
    wrong = frame[["time", "open", "close", "high", "low", "volume"]].set_axis(HEADER.split(","), axis=1)
    path = write(tmp_path / "wrong.csv", wrong)
    told = refused(path, r"high is below low in \d+ rows, first at 2024-03-04 09:00:00 \(row 1, line 2\)")
    fits = {"open": "open", "high": "low", "low": "close", "close": "high"}
    assert f"In another order they fit: columns={fits}" in told.replace("'open', 'high'", "'open', 'high'")
    assert load_bars(path, columns=fits)["wrong"].values[:, :4] == pytest.approx(
        frame[["open", "high", "low", "close"]].to_numpy()
    )
    # The high and the close have changed places: no high is below a low, and yet no bar is one.
    wrong = frame.rename(columns={"high": "close", "close": "high"})
    refused(write(tmp_path / "body.csv", wrong), "high or low lies within the body in .*columns=.*'high': 'close'")


def test_a_few_impossible_bars_are_kept_and_counted(tmp_path: Path) -> None:
    frame = rows(count=400)
    frame.loc[[7, 90], ["high", "low"]] = frame.loc[[7, 90], ["low", "high"]].to_numpy()
    bars = load_bars(write(tmp_path / "a.csv", frame))["a"]
    assert "high below low in 2 rows: kept" in "; ".join(map(str, bars.notes))


@pytest.mark.parametrize(
    ("name", "zone"), [("Time (EET)", "Europe/Athens"), ("Date (UTC)", "UTC"), ("Timestamp [ET]", "America/New_York")]
)
def test_zones_and_units_in_names_are_cut_off_used_and_noted(tmp_path: Path, name: str, zone: str) -> None:
    frame = rows().set_axis([name, "Open ($)", "High ($)", "Low ($)", "Close/Last", "Vol.(BTC)"], axis=1)
    bars = load_bars(write(tmp_path / "a.csv", frame))["a"]
    assert str(bars.timestamps.tz) == zone
    assert bars.values[:, :5] == pytest.approx(frame.iloc[:, 1:].to_numpy())
    assert any(f"wall clock in {zone}, because the column is called {name!r}" in note for note in map(str, bars.notes))


def test_other_words_in_brackets_make_another_column(tmp_path: Path) -> None:
    frame = rows().rename(columns={"close": "Close (prev)"})
    refused(write(tmp_path / "a.csv", frame), "missing column close")


def test_a_name_that_comes_twice_over_equal_cells_is_one_column(tmp_path: Path) -> None:
    frame = rows()
    text = frame.assign(again=frame["close"]).to_csv(index=False).replace("again", "close")
    (tmp_path / "a.csv").write_text(text)
    bars = load_bars(tmp_path / "a.csv")["a"]
    assert bars.values[:, 3] == pytest.approx(frame["close"])
    assert "columns: 'close' is there twice, equal in every row: the first was taken" in "; ".join(map(str, bars.notes))
    both = pd.concat([frame, frame[["close"]]], axis=1)
    assert load_bars({"a": both})["a"].values[:, 3] == pytest.approx(frame["close"])
    (tmp_path / "a.csv").write_text(frame.assign(again=frame["open"]).to_csv(index=False).replace("again", "close"))
    refused(tmp_path / "a.csv", "columns 'close' and 'close' could both be 'close'")
    refused({"a": pd.concat([frame, frame[["open"]].set_axis(["close"], axis=1)], axis=1)}, "could both be 'close'")


def test_a_daily_bar_is_dated_by_its_day_where_its_last_instant_is_written(tmp_path: Path) -> None:
    frame = rows("2024-01-01", freq="D").assign(
        time=pd.date_range("2024-01-01", periods=60).astype(str) + "T23:59:59.999Z"
    )
    bars = load_bars(write(tmp_path / "a.csv", frame))["a"]
    assert [str(bars.timestamps[0]), str(bars.timestamps[-1])] == [
        "2024-01-01 00:00:00+00:00",
        "2024-02-29 00:00:00+00:00",
    ]
    assert any("dated by the day" in note for note in map(str, bars.notes))


def test_rows_at_or_below_zero_are_told_with_their_dates(tmp_path: Path) -> None:
    """The April of oil: one day's close and the next day's open, and both days are named."""
    frame = rows("2020-04-01", 30, 20.0, "D")
    frame.loc[19, ["low", "close"]] = [-40.32, -37.63]
    frame.loc[20, ["open", "low"]] = [-14.0, -16.74]
    path = write(tmp_path / "CL.csv", frame)
    refused(path, r"'low' is not positive in 2 rows, first at 2020-04-20 00:00:00 \(row 20, line 21\): -40.32")
    bars = load_bars(path, missing="drop")["CL"]
    assert "dropped 2 rows with a price that is not above 0 (2020-04-20 to 2020-04-21)" in "; ".join(
        map(str, bars.notes)
    )


# --- rows that disagree are never settled by position ------------------------------------------------------------


def doubled(frame: pd.DataFrame, places: Iterable[int], **changes: Any) -> pd.DataFrame:
    """The frame with some rows written twice, the second time with other values."""
    twice = frame.iloc[list(places)].assign(**changes)
    return pd.concat([frame, twice]).sort_index(kind="stable")


def test_equal_rows_are_dropped_and_counted(tmp_path: Path) -> None:
    bars = load_bars(write(tmp_path / "a.csv", doubled(rows(), [3, 4, 50])))["a"]
    assert len(bars) == 60
    assert "dropped 3 rows that came twice" in "; ".join(map(str, bars.notes))


@pytest.mark.parametrize("change", [{"close": 1.0801}, {"volume": 1}])
def test_rows_of_one_time_that_differ_are_refused(tmp_path: Path, change: dict[str, float]) -> None:
    frame = rows()
    path = write(tmp_path / "a.csv", doubled(frame, [3], **change))
    [(name, other)] = change.items()
    told = refused(
        path, r"the same time again with other values .* in 1 row, first at 2024-03-04 12:00:00 \(row 5, line 6\)"
    )
    assert f"(row 4, line 5: {name} {frame[name][3]}; row 5, line 6: {name} {other})" in told


def test_the_column_that_tells_rows_apart_is_named_and_picks_rows(tmp_path: Path) -> None:
    frame = rows(freq="D", count=45).assign(SctySrs="EQ", Id=1000)
    path = write(tmp_path / "a.csv", doubled(frame, range(0, 45, 3), close=1.01, low=1.0, SctySrs="BL", Id=1001))
    told = refused(path, "Column 'SctySrs' tells them apart, as 'EQ' and 'BL'")
    assert "where={'SctySrs': 'EQ'}" in told
    assert "columns={'symbol': 'SctySrs'}" in told
    bars = load_bars(path, where={"SctySrs": "EQ"})["a"]
    assert bars.values[:, :5] == pytest.approx(frame[["open", "high", "low", "close", "volume"]].to_numpy())
    assert "rows: 45 of 60 are as asked by where=" in "; ".join(map(str, bars.notes))
    assert load_bars(path, columns={"symbol": "SctySrs"}).symbols == ("BL", "EQ")
    refused(
        path, "where= asks for rows with 'EQ' in column 'Series', but there is no such column", where={"Series": "EQ"}
    )


def test_trades_in_whole_seconds_are_told_from_bars(tmp_path: Path) -> None:
    """Among hundreds of trades a minute apart on average, some steps are equal by chance."""
    frame = rows(count=600)
    seconds = np.cumsum(np.ceil(np.random.default_rng(0).exponential(60, 600))).astype(int)
    frame["time"] = pd.Timestamp("2024-01-02") + pd.to_timedelta(seconds, unit="s")
    [told] = [note for note in load_bars(write(tmp_path / "ticks.csv", frame)).notes["ticks"] if note.matters]
    assert re.match(r"times: at most \d+ of 499 steps in 'time' are equal, unlike those of bars", told)
    thin = rows(count=4000, freq="min").sample(frac=0.1, random_state=0).sort_index()  # minutes with gaps are bars
    assert not any("are equal" in note for note in load_bars(write(tmp_path / "thin.csv", thin)).notes["thin"])


def test_rows_that_no_file_has_are_told_with_those_that_it_has(tmp_path: Path) -> None:
    frame = pd.concat([rows().assign(series="EQ"), rows(count=20).assign(series="BE")])
    path = write(tmp_path / "a.csv", frame)
    message = "no row has 'eq' in column 'series', as where= asks: it has 'EQ' (60 rows), 'BE' (20 rows)."
    asked = {"series": "eq"}
    with pytest.raises(DataError) as caught:
        prepare(tmp_path, tmp_path.parent / f"{tmp_path.name}.store", where=asked, workers=1)
    assert str(caught.value) == f"{path}: {message}"
    assert refused(path, "no row has", where=asked) == f"{path}: {message}"
    assert refused(frame, "no row has", where=asked) == message
    assert refused({"X": frame}, "no row has", where=asked) == f"X: {message}"
    # One file without such rows among others is no fault.
    write(tmp_path / "b.csv", rows().assign(series="eq"))
    assert load_bars(tmp_path, where=asked).symbols == ("b",)
    assert prepare(tmp_path, tmp_path.parent / f"{tmp_path.name}.store", where=asked, workers=1).symbols == ("b",)
    told = refused(tmp_path, "no row has 'GS'.* 1 other table", where={"series": "GS"})
    assert "'EQ' (60 rows)" in told
    refused(
        path,
        "no row has 'BE' in column 'series', as where= asks: it has 'EQ'",
        where={"volume": str(frame["volume"].iloc[0]), "series": "BE"},
    )


@pytest.mark.parametrize(
    ("kind", "asked"), [(float, "1"), (int, "1"), (int, 1), (bool, "true"), (bool, "True"), (str, "1")]
)
def test_rows_are_asked_for_by_numbers_and_truth_values_too(kind: type, asked: Any) -> None:
    frame = pd.concat([rows().assign(lot=kind(1)), rows(count=20).assign(lot=kind(0) if kind is not str else "0")])
    assert load_bars(frame, where={"lot": asked}).rows == 60


def test_several_symbols_under_one_name_are_refused() -> None:
    """Of alternating rows they would make one series that jumps from row to row."""
    one, two = rows(), rows("2024-03-04 09:30", level=3.0)
    panel = pd.concat([one.assign(symbol="A"), two.assign(symbol="B")]).sort_values("time")
    message = r"X is to be one series, but 'symbol' has 2 symbols \('A', 'B'\)"
    refused({"X": panel}, message)
    with pytest.raises(DataError, match=message):
        Bars.from_frame(panel, symbol="X")
    picked = Bars.from_frame(panel, symbol="X", where={"symbol": "B"})
    assert (picked.symbol, len(picked)) == ("X", 60)
    contracts = one.assign(symbol=["CLF4"] * 30 + ["CLG4"] * 30)  # of a future that is rolled
    assert load_bars({"CL": contracts}, columns={"symbol": ""})["CL"].values.shape == (60, 6)
    assert load_bars({"X": one.assign(symbol="A")}).symbols == ("X",)


@pytest.mark.parametrize("sign", ["'", "\u2019"])
def test_points_and_32nds_are_not_taken_for_thousands(tmp_path: Path, sign: str) -> None:
    frame, ticks = rows(), 110 * 128 + np.arange(60)
    for number, name in enumerate(("open", "high", "low", "close")):
        own = ticks + (0, 9, -9, 1)[number]
        frame[name] = [f"{one // 128}{sign}{one % 128 // 4:02d}{(0, 2, 5, 7)[one % 4]}" for one in own]
    path = write(tmp_path / "bond.csv", frame)
    refused(path, f"prices such as {f'110{sign}000'!r} look like points and 32nds")
    note = f"numbers: apostrophes group thousands, as in {f'110{sign}000'!r}"
    assert note in load_bars(path, decimal=".").notes["bond"]
    # Thousands: somewhere behind the sign more than 319 is reached.
    for name in ("open", "high", "low", "close"):
        frame[name] = [f"{38 + one // 1000}{sign}{one % 1000:03d}" for one in range(400, 1000, 10)]
    bars = load_bars(write(tmp_path / "swiss.csv", frame))["swiss"]
    assert bars.values[[0, -1], 3].tolist() == [38400, 38990]
    assert f"numbers: apostrophes group thousands, as in {f'38{sign}400'!r}" in bars.notes


def test_one_row_a_file_is_enough_to_be_refused(tmp_path: Path) -> None:
    """Many small files: no share of rows decides, one row does."""
    frame = rows(freq="D", count=12).assign(symbol="RELIANCE")
    for day in range(12):
        part = frame.iloc[[day]]
        write(tmp_path / f"bhav{day:02d}.csv", doubled(part, [0], close=1.01, low=1.0) if day == 7 else part)
    refused(tmp_path, r"bhav07\.csv: RELIANCE: the same time again with other values", join=True)


def test_an_hour_that_came_twice_is_told_as_that(tmp_path: Path) -> None:
    frame = rows("2024-11-02 00:00", 60)
    twice = doubled(frame, [25], close=1.0801)
    told = refused(write(tmp_path / "a.csv", twice), "On that day clocks go back and an hour comes twice")
    assert "timezone='America/New_York'" in told


# --- selection comes first --------------------------------------------------------------------------------------


def test_what_nobody_asked_for_refuses_nothing(tmp_path: Path) -> None:
    good, bad = rows().assign(symbol="GOOD"), rows().assign(symbol="BAD")
    bad.loc[5, "close"] = -1.0
    path = write(tmp_path / "both.csv", pd.concat([good, bad]))
    refused(path, "BAD: 'close' is not positive")
    assert load_bars(path, symbols=["GOOD"]).symbols == ("GOOD",)
    early = rows().astype({"open": object})
    early.loc[2, "open"] = "n/a?"
    path = write(tmp_path / "early.csv", early)
    refused(path, r"text in 'open' in 1 row, first at 2024-03-04 11:00:00 \(row 3, line 4\)")
    assert len(load_bars(path, start="2024-03-04 12:00")["early"]) == 57


def test_messages_name_rows_of_the_file_after_a_selection(tmp_path: Path) -> None:
    frame = pd.concat([rows().assign(symbol="A"), rows().assign(symbol="B")])
    frame["close"] = frame["close"].where(np.arange(120) != 70, -1.0)
    refused(
        write(tmp_path / "a.csv", frame), r"B: 'close' is not positive in 1 row.*\(row 71, line 72\)", symbols=["B"]
    )


# --- a role can be taken away ------------------------------------------------------------------------------------


def test_a_role_can_be_taken_from_a_column(tmp_path: Path) -> None:
    path = write(tmp_path / "Bitcoin.csv", rows().assign(name="2781"))
    assert load_bars(path).symbols == ("2781",)
    assert load_bars(path, columns={"symbol": ""}).symbols == ("Bitcoin",)
    bars = load_bars(path, columns={"symbol": "", "volume": ""})["Bitcoin"]
    assert bars.values[:, 4].tolist() == [0] * 60


def test_two_series_under_one_symbol_are_not_joined(tmp_path: Path) -> None:
    """An export that writes the same id into every row: two coins over different months are not one series."""
    bitcoin, ether = rows("2024-01-01", level=42_000.0), rows("2024-04-01", level=2_700.0)
    write(tmp_path / "Bitcoin_2024_historical.csv", bitcoin.assign(name="2781"))
    write(tmp_path / "Ethereum_2024_historical.csv", ether.assign(name="2781"))
    for join in (False, True):
        told = refused(tmp_path, "2781: .*Bitcoin.* and .*Ethereum.* are called after different things", join=join)
        assert "columns={'symbol': ''}" in told
    store = load_bars(tmp_path, columns={"symbol": ""})
    assert store.symbols == ("Bitcoin_2024_historical", "Ethereum_2024_historical")
    with pytest.raises(DataError, match=r"2781: .*Bitcoin.* and .*Ethereum.* are called after different things"):
        prepare(tmp_path, tmp_path / "store", join=True, workers=1)


def test_files_of_one_name_in_folders_of_other_series_are_not_joined(tmp_path: Path) -> None:
    """The symbol is then the name of the file, which says nothing of the series: the folders or the prices do."""
    early, late = rows("2024-01-01", level=100.0), rows("2024-04-01", level=100.0, seed=1)
    cases = {
        ("AAPL/data", "MSFT/data"): (late, "data: .*AAPL.* and .*MSFT.* are in folders called after different things"),
        ("a/1d", "b/1d"): (
            late.assign(**late[["open", "high", "low", "close"]] * 3),
            "1d: prices go from .* to 300.207 at",
        ),
        ("2023/AAPL", "2024/AAPL"): (late, ""),
        ("2023/data", "2024/data"): (late, ""),
        ("old/7203", "new_rows/7203"): (late, ""),
    }
    for number, (names, (second, message)) in enumerate(cases.items()):
        folder, store = tmp_path / str(number), tmp_path / f"{number}.store"
        for name, frame in zip(names, (early, second), strict=True):
            (folder / name).parent.mkdir(parents=True)
            write(folder / f"{name}.csv", frame)
        if not message:
            assert load_bars(folder, join=True).rows == prepare(folder, store, join=True, workers=1).rows == 120
            continue
        refused(folder, message, join=True)
        with pytest.raises(DataError, match=message):
            prepare(folder, store, join=True, workers=1)


@pytest.mark.parametrize("key", ["symbol", "Ticker"])
def test_folders_that_are_called_symbol_name_it(tmp_path: Path, key: str) -> None:
    for symbol, year in (("AAPL", 2023), ("AAPL", 2024), ("BRK%2FB", 2024)):
        folder = tmp_path / f"{key}={symbol}" / f"year={year}"
        folder.mkdir(parents=True)
        rows(f"{year}-01-01").to_parquet(folder / "part-0.parquet")
    for store in (load_bars(tmp_path, join=True), prepare(tmp_path, tmp_path / "store", join=True, workers=1)):
        assert store.symbols == ("AAPL", "BRK/B")
        assert len(store["AAPL"]) == 120


@pytest.mark.parametrize(
    "names", [("AAPL_2023", "AAPL_2024"), ("x_part1", "x_part2"), ("bars_jan", "bars_feb"), ("2023", "2024")]
)
def test_pieces_of_one_series_are_joined(tmp_path: Path, names: tuple[str, str]) -> None:
    for name, start in zip(names, ("2024-01-01", "2024-04-01"), strict=True):
        write(tmp_path / f"{name}.csv", rows(start).assign(symbol="AAPL"))
    assert load_bars(tmp_path, join=True).rows == 120


def test_equal_messages_of_many_files_are_one_line(tmp_path: Path) -> None:
    for number in range(45):
        write(tmp_path / f"{number:02d}.csv", rows(count=3).rename(columns={"close": "Kappa"}))
    told = refused(tmp_path, "45 of 45 files cannot be used")
    assert told.count("missing column close") == 1
    assert "00.csv: missing column close" in told
    assert "(and 44 more like it)" in told


def test_column_names_between_the_rows_are_left_out_and_told(tmp_path: Path) -> None:
    """Monthly archives put behind one another, the first without a header."""
    times = (pd.date_range("2022-01-01", periods=600, freq="5min") - pd.Timestamp(0)) // pd.Timedelta("1ms")
    frame = rows(count=600).assign(time=times)
    text = frame.to_csv(index=False, header=False, lineterminator="\n").splitlines()
    names = "open_time,open,high,low,close,volume"
    path = tmp_path / "BTCUSDT.csv"
    path.write_text("\n".join([*text[:200], names, *text[200:400], names, *text[400:]]) + "\n")
    bars = load_bars(path)["BTCUSDT"]
    assert len(bars) == 600
    assert bars.values[:, 3] == pytest.approx(frame["close"])
    assert any(
        note.startswith("left out 2 lines of column names between the rows: row 201, line 201")
        for note in map(str, bars.notes)
    )
    path.write_text("\n".join([*text[:200], "?" + text[200], *text[201:]]) + "\n")
    refused(path, r"unreadable timestamp in '1' in 1 row, first \(row 201, line 201\)")


# --- rows out of order are sorted where they are one series, and only there -----------------------------------------


def later(frame: pd.DataFrame, minutes: int) -> pd.DataFrame:
    times = pd.to_datetime(frame["time"]) + pd.Timedelta(minutes=minutes)
    return frame.assign(time=times.astype(str))


def stacked(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([one, later(two, 30)], ignore_index=True)


def by_days(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    """The later stock first, day after day."""
    return pd.concat(
        [part.iloc[at : at + 8] for at in range(0, len(one), 8) for part in (later(two, 30), one)], ignore_index=True
    )


def halves(one: pd.DataFrame, two: pd.DataFrame) -> pd.DataFrame:
    return pd.concat([one.iloc[len(one) // 2 :], two.iloc[: len(two) // 2]], ignore_index=True)


SERIES = {
    "stacked": stacked,
    "newest first": lambda one, two: stacked(one, two).iloc[::-1],
    "each newest first": lambda one, two: pd.concat([one.iloc[::-1], later(two, 30).iloc[::-1]]),
    "by days": by_days,
    "shuffled": lambda one, two: stacked(one, two).sample(frac=1, random_state=1),
    "halves": halves,
}


@pytest.mark.parametrize("layout", SERIES)
@pytest.mark.parametrize("level", [1.2, 30.0])
def test_several_series_without_a_symbol_are_not_sorted_into_one(tmp_path: Path, layout: str, level: float) -> None:
    frame = SERIES[layout](rows(count=160), rows(count=160, level=level, seed=1))
    path = write(tmp_path / "two.csv", frame)
    for options in ({}, {"unsorted": "sort"}):
        told = refused(
            path, r"no one series: prices jump, as from .*Several series in one file need a symbol", **options
        )
        assert "sort=" not in told
        assert "--sort" not in told
    named = write(
        tmp_path / "named.csv", frame.assign(name=np.where(frame["close"] < (1.08 * level) ** 0.5, "A", "BB"))
    )
    assert "columns={'symbol': 'name'}" in refused(named, "no one series", columns={"symbol": ""}, unsorted="sort")


def test_the_same_times_of_several_series_are_told_before_sorting_is(tmp_path: Path) -> None:
    path = write(tmp_path / "two.csv", pd.concat([rows(), rows(level=9.0)]))
    told = refused(path, r"steps back in 1 place, .* to the same times with other prices in 60 rows, first .*\(row 61,")
    assert "symbol column" in told
    assert "sort" not in told


@pytest.mark.parametrize("count", [5, 200])
@pytest.mark.parametrize(
    "order",
    [
        lambda rng, at: rng.permutation(at),
        lambda rng, at: np.roll(at, len(at) // 2),
        lambda rng, at: np.concatenate(np.array_split(at, 4)[::-1]),
        lambda rng, at: np.append(at[::2], at[1::2]),
        lambda rng, at: np.append(np.delete(at, [1, 3]), at[[1, 3]]),
    ],
    ids=["shuffled", "halves swapped", "last quarter first", "every other row", "two rows late"],
)
def test_one_series_is_sorted_from_any_order(tmp_path: Path, order: Any, count: int) -> None:
    whole = rows(count=count, freq="2h")
    frame = whole.iloc[order(np.random.default_rng(2), np.arange(count))]
    path = write(tmp_path / "one.csv", frame)
    refused(path, r'time steps back in .* or pass unsorted="sort"')
    assert load_bars(path, unsorted="sort")["one"].values[:, 3] == pytest.approx(whole["close"])


def test_a_pause_is_no_other_series(tmp_path: Path) -> None:
    """A year between the pieces lets the price go further than an hour does."""
    old, new = rows("2022-03-04", count=100), rows("2023-06-04", count=100, level=1.4)
    assert len(load_bars(write(tmp_path / "one.csv", pd.concat([new, old])), unsorted="sort")["one"]) == 200


def test_pieces_that_are_called_alike_are_joined_where_their_prices_meet(tmp_path: Path) -> None:
    whole = rows(count=200).assign(symbol="2781")
    for number, part in enumerate((whole.iloc[:100], whole.iloc[100:])):
        write(tmp_path / f"coin_{number}.csv", part)
    assert len(load_bars(tmp_path, join=True)["2781"]) == 200
    write(tmp_path / "coin_1.csv", whole.iloc[100:].assign(**{one: whole[one] * 20 for one in HEADER.split(",")[1:5]}))
    refused(tmp_path, r"2781: prices go from 1\.\d+ at the end of .*coin_0.csv to 2\d\.", join=True)
    assert [one.symbol for one in load_bars(tmp_path, columns={"symbol": ""})] == ["coin_0", "coin_1"]
    for number in (0, 1):  # their names say that they are of one: a split of the shares
        (tmp_path / f"coin_{number}.csv").rename(tmp_path / f"2781_{number}.csv")
    assert len(load_bars(tmp_path, join=True)["2781"]) == 200


# --- prices at or below 0 ---------------------------------------------------------------------------------------------


def subtracted(freq: str = "D") -> pd.DataFrame:
    """Dividends were subtracted from the past: it lies below 0."""
    frame = rows("2020-01-01", count=200, level=20.0, freq=freq)
    shift = np.where(np.arange(200) < 90, 60.0, 0.0)
    return frame.assign(**{one: frame[one] - shift for one in HEADER.split(",")[1:5]})


@pytest.mark.parametrize("freq", ["D", "h"])
@pytest.mark.parametrize("zone", [None, "Asia/Shanghai"])
@pytest.mark.parametrize("backward", [False, True])
def test_a_past_below_zero_is_told_as_what_it_is(tmp_path: Path, freq: str, zone: str | None, backward: bool) -> None:
    frame = subtracted(freq)
    last, since = frame["time"][89], frame["time"][90]
    path = write(tmp_path / "a.csv", frame.iloc[::-1] if backward else frame)
    told = refused(path, "'open' is not positive in 90 rows, first at .* by factors", timezone=zone)
    assert f"So many in a row, to {last}" in told
    assert (
        "adjusted by subtraction: use prices that were adjusted by factors (backward or proportional), or take" in told
    )
    assert f"start='{since}" in told
    start = told.partition("start='")[2].partition("'")[0]
    assert len(load_bars(path, start=start, timezone=zone)["a"]) == 110


def test_single_prices_below_zero_are_told_by_date(tmp_path: Path) -> None:
    frame = rows("2020-03-02", count=60, level=20.0, freq="D")
    frame.loc[[40, 42], ["low", "close"]] = [[-40.3, -37.6], [-14.0, 10.0]]
    path = write(tmp_path / "a.csv", frame)
    refused(
        path,
        r"'low' is not positive in 2 rows, first at 2020-04-11 .*: -40\.3\. .* these rows, from 2020-04-11 .* to 2020-04-13 00:00:00, or",
    )
    halted = subtracted().assign(open=np.where(np.arange(200) < 90, 0, 20.0))
    halted[["high", "low", "close"]] = halted[["open", "open", "open"]].to_numpy()
    assert "subtraction" not in refused(write(tmp_path / "b.csv", halted), "in 90 rows.*or pass missing")


@pytest.mark.parametrize("seed", range(12))
def test_rows_stay_with_their_symbol_whatever_is_left_out(tmp_path: Path, seed: int) -> None:
    """Runs of symbols in any order, dates apart; some symbols or dates are not asked for."""
    rng = np.random.default_rng(seed)
    whose = rng.choice(list("ABCD"), int(rng.integers(4, 9)))
    frame = pd.concat(
        [
            rows(f"20{10 + at}-03-04 09:00", 5, 10.0 ** (1 + "ABCD".index(one)), seed=at).assign(symbol=one)
            for at, one in enumerate(whose)
        ]
    )
    path, asked = write(tmp_path / "panel.csv", frame), sorted(set(whose[: int(rng.integers(1, 4))]))
    for options, kept in (
        ({"symbols": asked}, frame[frame["symbol"].isin(asked)]),
        ({"start": "2012-01-01"}, frame[frame["time"] > "2012"]),
    ):
        found = {bars.symbol: bars for bars in load_bars(path, **options)}
        assert sorted(found) == sorted(kept["symbol"].unique())
        for symbol, own in kept.groupby("symbol"):
            assert found[symbol].timestamps.astype(str).str[:16].tolist() == own["time"].str[:16].tolist()
            assert found[symbol].values[:, 3] == pytest.approx(own["close"].to_numpy(), rel=1e-6)


@pytest.mark.parametrize(
    ("written", "zone"),
    [
        ("2024-03-04T09:{:02d}:00+05:00", "UTC+05:00"),
        ("2024-03-04T09:{:02d}:00Z", "UTC"),
        ("2024-03-04 09:{:02d}:00", None),
    ],
)
def test_lines_of_json_keep_the_clock_that_they_are_written_in(tmp_path: Path, written: str, zone: str | None) -> None:
    frame = rows(count=12).assign(time=[written.format(minute) for minute in range(12)])
    frame.to_json(path := tmp_path / "bars.jsonl", orient="records", lines=True)
    [bars] = load_bars(path)
    assert str(bars.timestamps[3]).startswith("2024-03-04 09:03:00")
    assert (None if bars.timestamps.tz is None else str(bars.timestamps.tz)) == zone
