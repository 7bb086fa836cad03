"""Layouts that users have, each as its vendor writes it: the right bars, or one message whose remedy works when typed."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler.data import PRICES, load_bars
from chandler.errors import DataError

NAMES = ("open", "high", "low", "close", "volume", "amount")


def rows(
    count: int = 60, start: str = "2024-01-02", freq: str = "B", level: float = 150.0, seed: int = 0
) -> pd.DataFrame:
    """Bars with prices in cents: time, open, high, low, close, volume, amount."""
    rng = np.random.default_rng(seed)
    close = level * np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    opens = np.append(level, close[:-1])
    high, low = np.maximum(opens, close) * 1.004, np.minimum(opens, close) * 0.996
    frame = pd.DataFrame({"time": pd.date_range(start, periods=count, freq=freq)})
    for name, column in zip(PRICES, (opens, high, low, close), strict=True):
        frame[name] = column.round(2)
    frame["volume"] = rng.integers(4_000, 12_000, count)
    frame["amount"] = (frame["volume"] * frame["close"]).round(2)
    return frame


def write(path: Path, frame: pd.DataFrame, **options: Any) -> Path:
    frame.to_csv(path, index=False, **options)
    return path


def same(bars: Any, frame: pd.DataFrame, roles: tuple[str, ...] = NAMES) -> None:
    """The bars are those of the frame."""
    assert list(bars.timestamps.tz_localize(None)) == list(frame["time"])
    for role in roles:
        assert bars.values[:, NAMES.index(role)] == pytest.approx(frame[role].to_numpy(float)), role


def refused(source: Any, pattern: str, **options: Any) -> str:
    with pytest.raises(DataError, match=pattern) as caught:
        load_bars(source, **options)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def columns_of(message: str) -> dict[str, str]:
    """The `columns={...}` that a message offers."""
    found = re.search(r"columns=(\{[^}]*\})", message)
    assert found, message
    return dict(ast.literal_eval(found[1]))


# --- names --------------------------------------------------------------------------------------------------------

UDIFF = (
    "TradDt,BizDt,Sgmt,Src,FinInstrmTp,FinInstrmId,ISIN,TckrSymb,SctySrs,XpryDt,FininstrmActlXpryDt,StrkPric,OptnTp,"
    "FinInstrmNm,OpnPric,HghPric,LwPric,ClsPric,LastPric,PrvsClsgPric,UndrlygPric,SttlmPric,OpnIntrst,ChngInOpnIntrst,"
    "TtlTradgVol,TtlTrfVal,TtlNbOfTxsExctd,SsnId,NewBrdLotQty,Rmks,Rsvd1,Rsvd2,Rsvd3,Rsvd4\n"
)
PRICE_NAMES = [
    ("OpeningPx", "HighPx", "LowPx", "ClosingPx", "TotalVolumeTrade", "TotalValueTrade"),
    ("OpenPx", "HighPx", "LowPx", "LastPx", "TotalVolumeTrade", "TotalValueTrade"),
    ("PX_OPEN", "PX_HIGH", "PX_LOW", "PX_LAST", "PX_VOLUME", "TURNOVER"),
    ("open_px", "high_px", "low_px", "close_px", "volume", "amount"),
    ("OPENPX", "HIGHPX", "LOWPX", "CLOSEPX", "VOLUME", "VALUE"),
    ("price_open", "price_high", "price_low", "price_close", "volume_traded", "amount"),
    ("OpnPric", "HghPric", "LwPric", "ClsPric", "TtlTradgVol", "TtlTrfVal"),
    ("Hi Px", "Lo Px", "Op Px", "Last Px", "Ttl Vol", "Amt"),
]


@pytest.mark.parametrize("names", PRICE_NAMES, ids=lambda names: names[0])
def test_names_with_a_word_for_price_beside_the_role(tmp_path: Path, names: tuple[str, ...]) -> None:
    frame = rows()
    spelt = dict(zip(("high", "low", "open") if names[0] == "Hi Px" else PRICES, names, strict=False))
    spelt |= dict(zip(("close", "volume", "amount"), names[3:], strict=True))
    bars = load_bars(write(tmp_path / "a.csv", frame.rename(columns={**spelt, "time": "TradDt"})))["a"]
    same(bars, frame, PRICES if "volume_traded" in names else NAMES)


def test_words_for_a_price_make_no_price_of_something_else(tmp_path: Path) -> None:
    """What is no open, high, low or close by its other words is not taken, and the plain name goes before all."""
    frame = rows()
    for name in ("PrvsClsgPric", "Settle Px Chg", "BidPx1", "PX_CLOSE_1D", "OpenPx", "LastPx", "high_limit_price"):
        frame.insert(0, name, 1.0)
    same(load_bars(write(tmp_path / "a.csv", frame))["a"], frame)
    told = refused(write(tmp_path / "b.csv", frame.drop(columns=["close", "LastPx"])), "missing column close")
    assert "PrvsClsgPric" in told
    assert "PX_CLOSE_1D" in told


def test_two_names_of_one_price_are_asked_about(tmp_path: Path) -> None:
    frame = rows().rename(columns={"close": "close_px"}).assign(price_close=1.0)
    refused(write(tmp_path / "a.csv", frame), "'close_px' and 'price_close' could both be 'close'")


def test_a_file_of_the_indian_exchange_reads_at_once(tmp_path: Path) -> None:
    """UDiFF: names shortened as in ISO 20022, a file for a day of all symbols, with block deals between them."""
    frame = rows(5)
    for row in frame.itertuples():
        text = UDIFF
        for symbol, series, factor in (("RELIANCE", "EQ", 1), ("RELIANCE", "BL", 2), ("TCS", "EQ", 3)):
            price = ",".join(f"{factor * value:.2f}" for value in (row.open, row.high, row.low, row.close))
            day = f"{row.time:%Y-%m-%d}"
            text += (
                f"{day},{day},CM,NSE,STK,10,INE002A01018,{symbol},{series},,,,,{symbol} LTD,{price},1,1,,1,,,"
                f"{row.volume},{row.amount},20,F1,1,,,,,\n"
            )
        (tmp_path / f"BhavCopy_NSE_CM_0_0_0_{row.time:%Y%m%d}_F_0000.csv").write_text(text)
    with pytest.raises(DataError, match=r"pick rows with where=\{'SctySrs': 'EQ'\}"):
        load_bars(tmp_path, join=True)
    store = load_bars(tmp_path, join=True, where={"SctySrs": "EQ"})
    assert store.symbols == ("RELIANCE", "TCS")
    same(store["RELIANCE"], frame)


def test_missing_columns_are_proposed_whole_and_the_proposal_works(tmp_path: Path) -> None:
    frame = rows(120)
    wide = pd.DataFrame({f"Field{number}": np.arange(120) for number in range(20)})
    wide = wide.assign(SessionDay=frame["time"], PrevClose=1.0, SessionOpen=frame["open"], SessionHigh=frame["high"])
    wide = wide.assign(SessionLow=frame["low"], ClosingAuction=frame["close"], volume=frame["volume"])
    path = write(tmp_path / "a.csv", wide)
    told = refused(
        path, r"missing columns timestamp, open, high, low, close; the columns are .* and 15 more \(line 1\)\."
    )
    assert "'PrevClose'" in told
    asked = columns_of(told)
    assert asked == {
        "timestamp": "SessionDay", "open": "SessionOpen", "high": "SessionHigh", "low": "SessionLow",
        "close": "ClosingAuction",
    }  # fmt: skip
    same(load_bars(path, columns=asked)["a"], frame, (*PRICES, "volume"))


def test_what_has_no_plain_candidate_is_left_open(tmp_path: Path) -> None:
    frame = rows().rename(columns={"open": "Kappa", "high": "DayHigh", "close": "Session Close"})
    told = refused(write(tmp_path / "a.csv", frame.assign(**{"Day Close": 1.0})), "missing columns open, high, close")
    assert "columns={'open': ..., 'high': 'DayHigh', 'close': ...}" in told


def test_columns_without_names_can_be_numbered(tmp_path: Path) -> None:
    """Prices that show no order, in a file without a header: what the message offers reads."""
    frame = rows().assign(open=10.0, high=10.0, low=10.0, close=10.0)
    path = write(tmp_path / "a.csv", frame, header=False)
    asked = columns_of(refused(path, "first line looks like data"))
    assert asked == {"timestamp": "1", "open": "2", "high": "3", "low": "4", "close": "5"}
    same(load_bars(path, columns=asked)["a"], frame, PRICES)


# --- a file for each day ------------------------------------------------------------------------------------------

NSE = "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,TOTALTRADES,ISIN,\n"
BSE = "SC_CODE,SC_NAME,SC_GROUP,SC_TYPE,OPEN,HIGH,LOW,CLOSE,LAST,PREVCLOSE,NO_TRADES,NO_OF_SHRS,NET_TURNOV,TDCLOINDI\n"
DAILY = {
    "nse": (
        "cm{day:%d%b%Y}bhav.csv", NSE,
        "{symbol},EQ,{open},{high},{low},{close},{close},1,{volume},{amount},{day:%d-%b-%Y},9,INE1,\n", "utf-8",
    ),
    "bse": (
        "EQ{day:%d%m%y}.CSV", BSE,
        "{symbol},NAME   ,A ,Q,{open},{high},{low},{close},{close},1,12,{volume},{amount},\n", "utf-8",
    ),
    "bse by isin": (
        "EQ_ISINCODE_{day:%d%m%y}.CSV", BSE,
        "{symbol},NAME   ,A ,Q,{open},{high},{low},{close},{close},1,12,{volume},{amount},\n", "utf-8",
    ),
    "quotes of all A shares": (
        "{day:%Y-%m-%d}.csv", "代码,名称,最新价,涨跌幅,成交量,成交额,今开,最高,最低\n",
        "{symbol},贵州茅台,{close},0.5,{volume},{amount},{open},{high},{low}\n", "gbk",
    ),
    "a vendor's daily files": (
        "daily_{day:%Y%m%d}.csv", "ts_code,open,high,low,close,pre_close,change,pct_chg,vol,amount\n",
        "{symbol},{open},{high},{low},{close},1,1,1,{volume},{amount}\n", "utf-8",
    ),
}  # fmt: skip


@pytest.mark.parametrize("kind", DAILY)
def test_a_file_for_each_day_of_a_whole_exchange(tmp_path: Path, kind: str) -> None:
    name, header, line, encoding = DAILY[kind]
    frame = rows(45)
    for row in frame.to_dict("records"):
        values = {role: row[role] for role in NAMES} | {"day": row["time"]}
        text = header + line.format(symbol="500325", **values) + line.format(symbol="000001", **values)
        (tmp_path / name.format(day=row["time"])).write_bytes(text.encode(encoding))
    with pytest.raises(DataError, match=r"pass join=True"):
        load_bars(tmp_path)
    store = load_bars(tmp_path, join=True)
    assert store.symbols == ("000001", "500325")
    for symbol in store.symbols:
        same(store[symbol], frame)
        named = "times: no column has the date: taken from the file's name" in [*map(str, store[symbol].notes)]
        assert named is (kind != "nse")


@pytest.mark.parametrize(
    ("name", "day"),
    [
        ("daily_20240102", "2024-01-02"), ("2024-01-02", "2024-01-02"), ("2024_01_02.all", "2024-01-02"),
        ("cm02JAN2024bhav", "2024-01-02"), ("02-Jan-2024", "2024-01-02"), ("EQ020124", "2024-01-02"),
        ("20240102_trade", "2024-01-02"), ("20240102-20240301", ""), ("AAPL_020124", ""), ("20241302", ""),
        ("20240231", ""), ("id120240102", ""), ("AAPL", ""),
    ],
)  # fmt: skip
def test_a_date_in_a_name_reads_in_one_way_or_not_at_all(tmp_path: Path, name: str, day: str) -> None:
    frame = rows(1, start="2024-01-02").drop(columns="time").assign(symbol="X")
    path = write(tmp_path / f"{name}.csv", frame)
    if day:
        assert str(load_bars(path)["X"].timestamps[0].date()) == day
    else:
        refused(path, "The date of a file of one day can be in its name, as in prices_2024-01-02.csv")


def test_the_name_dates_no_series(tmp_path: Path) -> None:
    """A file named after the day of its download, whose column of times has a name that is not known."""
    frame = rows().rename(columns={"time": "Kappa"}).assign(symbol="X")
    refused(write(tmp_path / "export_2024-05-02.csv", frame), "missing column timestamp")
    refused(write(tmp_path / "X_2024-05-02.csv", frame.drop(columns="symbol")), "missing column timestamp")


def test_files_with_the_time_of_day_alone_are_days_of_one_symbol(tmp_path: Path) -> None:
    frame = pd.concat([rows(30, f"2024-01-0{day} 09:30", "min", seed=day) for day in (2, 3, 4)], ignore_index=True)
    for day, part in frame.groupby(frame["time"].dt.strftime("%Y%m%d")):
        write(tmp_path / f"AAPL_{day}.csv", part.assign(time=part["time"].dt.strftime("%H:%M")))
    same(load_bars(tmp_path, join=True)["AAPL"], frame)


# --- years of the Republic of China -------------------------------------------------------------------------------

MINGUO = [
    "{0}/{1:%m/%d}",
    "{0}年{1:%m月%d日}",
    "民國{0}年{1:%m月%d日}",
    "{0}{1:%m%d}",
    "{0}-{1:%m-%d}",
    "{0}.{1.month}.{1.day}",
]


@pytest.mark.parametrize("pattern", MINGUO)
def test_years_of_the_republic_of_china(tmp_path: Path, pattern: str) -> None:
    frame = rows()
    dates = [pattern.format(time.year - 1911, time) for time in frame["time"]]
    bars = load_bars(write(tmp_path / "2330.csv", frame.assign(time=dates)))["2330"]
    same(bars, frame)
    assert any("years of the Republic of China, 1911 added" in note for note in [*map(str, bars.notes)])


def test_a_series_goes_from_year_99_to_100(tmp_path: Path) -> None:
    frame = rows(600, "2009-10-01")
    dates = [f"{time.year - 1911}/{time:%m/%d}" for time in frame["time"]]
    same(load_bars(write(tmp_path / "a.csv", frame.assign(time=dates)))["a"], frame)


@pytest.mark.parametrize(
    "dates",
    [["98/01/02", "98/01/05", "98/12/31"], ["13/01/102", "14/01/102", "15/01/102"], ["1000101", "1000145", "1000199"]],
)
def test_other_numbers_are_no_years_of_the_republic(tmp_path: Path, dates: list[str]) -> None:
    refused(write(tmp_path / "a.csv", rows(3).assign(time=dates)), "unreadable timestamp")


def test_a_month_of_the_taiwan_stock_exchange(tmp_path: Path) -> None:
    """Big5, a banner above, thousands in quotation marks, a comma behind every row and words of the vendor below."""
    frame = rows(22, level=950.0).assign(volume=lambda one: one["volume"] * 1000).round({"amount": 0})
    text = '"113年01月 2330 台積電           各日成交資訊"\r\n'
    text += '"日期","成交股數","成交金額","開盤價","最高價","最低價","收盤價","漲跌價差","成交筆數",\r\n'
    for row in frame.itertuples():
        prices = ",".join(f'"{price:,.2f}"' for price in (row.open, row.high, row.low, row.close))
        text += (
            f'"113/{row.time:%m/%d}","{row.volume:,}","{row.amount:,.0f}",{prices},"+3.00","{row.volume // 900:,}",\r\n'
        )
    text += '"說明:"\r\n"符號說明:+/-/X表示漲/跌/不比價"\r\n"當日統計資訊含一般、零股、盤後定價、鉅額交易,不含拍賣、標購。"\r\n'
    text += '"ETF證券代號第六碼為K、M、S、C者,表示該ETF以外幣交易。"\r\n\r\n'
    (tmp_path / "2330.csv").write_bytes(text.encode("big5"))
    same(load_bars(tmp_path / "2330.csv")["2330"], frame.assign(amount=frame["amount"].round()))


# --- charts and terminals -----------------------------------------------------------------------------------------

CLOCKS = {
    "HHMMSSmmm": lambda time: str(int(f"{time:%H%M%S}000")),
    "HHMMSS": lambda time: str(int(f"{time:%H%M%S}")),
    "HHMM": lambda time: str(int(f"{time:%H%M}")),
    "H:MM": lambda time: f"{time.hour}:{time:%M}",
}


@pytest.mark.parametrize("clock", CLOCKS)
@pytest.mark.parametrize("day", ["%Y%m%d", "%Y-%m-%d"])
def test_a_time_of_day_without_its_leading_zero(tmp_path: Path, clock: str, day: str) -> None:
    frame = rows(300, "2024-01-02 00:15", "15min")
    table = frame.assign(MDDate=frame["time"].dt.strftime(day), MDEntryTime=frame["time"].map(CLOCKS[clock]))
    table = table.drop(columns="time").assign(SecurityID="600519")
    same(load_bars(write(tmp_path / "a.csv", table))["600519"], frame)
    if clock != "H:MM":
        table["MDEntryTime"] = table["MDEntryTime"].astype(int)
        same(load_bars(table)["600519"], frame)


CHART = {
    "with an offset": lambda time: time.tz_localize("America/New_York").isoformat(),
    "in UTC": lambda time: f"{time.tz_localize('America/New_York').tz_convert('UTC'):%Y-%m-%dT%H:%M:%SZ}",
    "in seconds since 1970": lambda time: str(int(time.tz_localize("America/New_York").timestamp())),
}


@pytest.mark.parametrize("kind", CHART)
def test_a_chart_with_indicators_beside_the_prices(tmp_path: Path, kind: str) -> None:
    """The columns behind the prices are the user's plots, two of them called like prices, and one with gaps."""
    frame = rows(300, "2024-02-05 09:30", "15min")
    table = frame[["time", *PRICES]].assign(time=frame["time"].map(CHART[kind]))
    table = table.assign(Close=1.0, High=2.0, Volume=frame["volume"], **{"Volume MA": np.nan, "RSI-based MA": 50.0})
    bars = load_bars(write(tmp_path / "NASDAQ_AAPL, 15.csv", table))["NASDAQ_AAPL, 15"]
    moments = bars.timestamps.tz_convert("America/New_York").tz_localize(None)
    assert list(moments) == list(frame["time"])
    assert bars.values[:, :5] == pytest.approx(frame[[*PRICES, "volume"]].to_numpy(float))


@pytest.mark.parametrize("daily", [True, False])
@pytest.mark.parametrize("ticks", [True, False])
def test_a_terminal_exports_dates_with_points(tmp_path: Path, daily: bool, ticks: bool) -> None:
    """<DATE>, <TIME>, <OPEN> with a tick volume beside a volume of zeros; and the same without names or volume of zeros."""
    frame = rows(120, "2024-01-02", "D" if daily else "15min")
    table = pd.DataFrame({"<DATE>": frame["time"].dt.strftime("%Y.%m.%d")})
    if not daily or not ticks:
        table["<TIME>"] = frame["time"].dt.strftime("%H:%M:%S" if ticks else "%H:%M")
    table = table.assign(**{f"<{name.upper()}>": frame[name] for name in PRICES}, **{"<TICKVOL>": frame["volume"]})
    if ticks:
        table = table.assign(**{"<VOL>": 0, "<SPREAD>": 3})
    path = write(tmp_path / "EURUSD.csv", table, sep="\t" if ticks else ",", header=ticks)
    same(load_bars(path)["EURUSD"], frame, (*PRICES, "volume"))


# --- columns that blanks separate ---------------------------------------------------------------------------------


def lines_of(frame: pd.DataFrame, names: str, pattern: str) -> str:
    return names + "\n" + "".join(pattern.format(**row) + "\n" for row in frame.to_dict("records"))


PRINTED = {
    "with its index": lambda frame: frame.set_index("time").to_string(),
    "with an index without a name": lambda frame: frame.set_index("time").rename_axis(None).to_string(),
    "with numbers of rows": lambda frame: frame.to_string(),
    "without numbers of rows": lambda frame: frame.to_string(index=False),
    "with a name of two words": lambda frame: frame.assign(**{"Adj Close": frame["close"]}).to_string(),
    "with single blanks": lambda frame: lines_of(
        frame, "Date Time Open High Low Close Volume Amount",
        "{time:%Y-%m-%d %H:%M} {open} {high} {low} {close} {volume} {amount}",
    ),
    "without names": lambda frame: lines_of(
        frame, "", "{time:%Y-%m-%d  %H:%M}   {open}  {high}  {low}  {close}  {volume}  {amount}"
    ),
    "with thousands": lambda frame: lines_of(
        frame, "Date    Open   High   Low   Close   Volume   Amount",
        "{time:%b %d, %Y %H:%M}   {open}   {high}  {low}   {close}  {volume:,}   {amount}",
    ),
}  # fmt: skip


@pytest.mark.parametrize("freq", ["D", "15min"])
@pytest.mark.parametrize("kind", PRINTED)
def test_a_frame_as_it_is_printed(tmp_path: Path, kind: str, freq: str) -> None:
    frame = rows(80, "2024-01-02", freq)
    (tmp_path / "a.txt").write_text(PRINTED[kind](frame))
    bars = load_bars(tmp_path / "a.txt")["a"]
    same(bars, frame)
    assert "file: columns separated by blanks" in [*map(str, bars.notes)]


def test_a_line_of_a_printed_frame_is_named_as_it_stands(tmp_path: Path) -> None:
    text = rows(80).set_index("time").to_string().splitlines()
    text[40] = (
        text[40].replace("150.", "-150.", 1) if "150." in text[40] else re.sub(r"  (\d)", r"  -\1", text[40], count=1)
    )
    (tmp_path / "a.txt").write_text("\n".join(text))
    refused(tmp_path / "a.txt", r"'open' is not positive in 1 row, .* \(row 39, line 41\)")


def test_blanks_beside_another_separator_separate_nothing(tmp_path: Path) -> None:
    frame = rows(60)
    text = frame.to_csv(index=False).replace(",", " , ")
    (tmp_path / "a.csv").write_text(text)
    bars = load_bars(tmp_path / "a.csv")["a"]
    same(bars, frame)
    assert not any("blanks" in note for note in [*map(str, bars.notes)])


# --- several columns of times -------------------------------------------------------------------------------------


def downloads(count: int, seed: int = 1) -> pd.DatetimeIndex:
    """Moments at which rows were fetched, no two of them equally far apart."""
    steps = np.random.default_rng(seed).permutation(np.arange(1000, 1000 + 7 * count, 7))
    return pd.Timestamp("2024-06-03 10:00") + pd.to_timedelta(np.cumsum(steps), unit="s")


@pytest.mark.parametrize("symbols", [1, 2])
@pytest.mark.parametrize("fetched", ["moments", "one day"])
def test_the_regular_one_of_several_columns_of_times_is_taken(tmp_path: Path, symbols: int, fetched: str) -> None:
    frame = rows(60)
    times = downloads(60) if fetched == "moments" else pd.DatetimeIndex(["2024-06-03"] * 60)
    table = frame.rename(columns={"time": "trade_date"})
    table.insert(0, "date", times)
    parts = [table.assign(symbol=f"S{number}") for number in range(symbols)]
    table = pd.concat(parts).sort_values("trade_date", kind="stable")
    for source in (write(tmp_path / "a.csv", table), table):
        bars = load_bars(source)["S0"]
        same(bars, frame)
        assert "times: from 'trade_date', whose steps are regular; those of 'date' are not" in [*map(str, bars.notes)]
    if fetched == "moments" and symbols == 1:  # said, it is taken as it is
        asked = load_bars(tmp_path / "a.csv", columns={"timestamp": "date"})["S0"]
        assert asked.timestamps[0] == times[0]


def test_of_two_regular_columns_the_first_spelling_stays(tmp_path: Path) -> None:
    frame = rows(60, "2024-01-02 09:30", "15min")
    table = frame.rename(columns={"time": "open_time"}).assign(close_time=frame["time"] + pd.Timedelta("15min"))
    bars = load_bars(write(tmp_path / "a.csv", table))["a"]
    same(bars, frame)
    assert not any("regular" in note or "no two steps" in note for note in [*map(str, bars.notes)])


def test_times_without_any_regular_step_are_told_with_the_other_columns(tmp_path: Path) -> None:
    frame = rows(60)
    table = frame.assign(time=downloads(60), SessionDay=frame["time"])
    path = write(tmp_path / "a.csv", table)
    told = next(note for note in [*map(str, load_bars(path)["a"].notes)] if "no two steps" in note)
    assert told.endswith("other columns of times: 'SessionDay', columns={'timestamp': ...}")
    same(load_bars(path, columns={"timestamp": "SessionDay"})["a"], frame)


# --- prices as whole numbers --------------------------------------------------------------------------------------


def scaled(frame: pd.DataFrame, factor: float) -> pd.DataFrame:
    return frame.assign(**{name: (frame[name] * factor).round().astype("int64") for name in PRICES})


@pytest.mark.parametrize("factor", [10**8, 10**9])
def test_prices_in_nanos_are_refused_with_the_scale_that_fits(tmp_path: Path, factor: int) -> None:
    frame = rows(60)
    path = write(tmp_path / "a.csv", scaled(frame, factor))
    told = refused(path, r"multiples of [\d,]+,000, .* say that they are right as they are, price_scale=1\.")
    assert f"price_scale={factor} (the first close is {frame['close'][0]:g} then)" in told
    bars = load_bars(path, price_scale=factor)["a"]
    same(bars, frame)
    assert f"prices: divided by {factor:,g}, as asked" in [*map(str, bars.notes)]
    assert load_bars(path, price_scale=1)["a"].values[:, 3] == pytest.approx(frame["close"] * factor)


def test_an_adjusted_close_is_divided_too(tmp_path: Path) -> None:
    frame = rows(60)
    table = scaled(frame, 10**9)
    path = write(tmp_path / "a.csv", table.assign(**{"Adj Close": table["close"] // 2}))
    assert load_bars(path, price_scale=1e9)["a"].values[:, 3] == pytest.approx(frame["close"] / 2)


@pytest.mark.parametrize(("unit", "noted"), [(1, False), (100, False), (1000, False), (10_000, True), (100_000, True)])
def test_large_ticks_of_won_and_dong_are_prices(tmp_path: Path, unit: int, noted: bool) -> None:
    """Shares in won by hundreds, bitcoin in rupiah by thousands, gold in dong by hundred thousands."""
    table = scaled(rows(60, level=800.0), 1)
    table = scaled(table, unit)
    bars = load_bars(write(tmp_path / "a.csv", table))["a"]
    assert bars.values[:, 3] == pytest.approx(table["close"])
    assert any(f"all prices are multiples of {unit:,}" in note for note in [*map(str, bars.notes)]) is noted


@pytest.mark.parametrize("scale", [0, -1, float("nan"), float("inf")])
def test_a_scale_is_above_zero(scale: float) -> None:
    refused(rows(), r"price_scale=\S+ is not above 0", price_scale=scale)


def test_days_of_lean_ask_for_their_scale(tmp_path: Path) -> None:
    frame = rows(60)
    table = scaled(frame, 10_000).assign(time=frame["time"].dt.strftime("%Y%m%d 00:00"))[["time", *PRICES, "volume"]]
    path = write(tmp_path / "spy.csv", table, header=False)
    refused(path, r"looks like a file of LEAN, .* price_scale=10000, or .* price_scale=1\.")
    same(load_bars(path, price_scale=10_000)["spy"], frame, (*PRICES, "volume"))
    assert load_bars(path, price_scale=1)["spy"].values[:, 3] == pytest.approx(table["close"])


def test_minutes_of_lean_are_days_of_the_symbol_that_their_folder_is_called_after(tmp_path: Path) -> None:
    """Milliseconds since midnight, the date in the file's name."""
    frame = pd.concat([rows(30, f"2024-01-0{day} 09:30", "min", seed=day) for day in (2, 3)], ignore_index=True)
    (tmp_path / "spy").mkdir()
    table = scaled(frame, 10_000)[["time", *PRICES, "volume"]]
    for day, part in table.groupby(frame["time"].dt.strftime("%Y%m%d")):
        ms = (part["time"] - part["time"].dt.normalize()) // pd.Timedelta("1ms")
        write(tmp_path / "spy" / f"{day}_trade.csv", part.assign(time=ms), header=False)
    with pytest.raises(DataError, match="this looks like a file of LEAN"):
        load_bars(tmp_path / "spy", join=True)
    store = load_bars(tmp_path / "spy", join=True, price_scale=10_000)
    assert store.symbols == ("spy",)
    same(store["spy"], frame, (*PRICES, "volume"))
