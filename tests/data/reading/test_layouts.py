"""Layouts of kinds that vendors write, each with a variation of its own: what they mean, and what is said of it."""

import gzip
import io
import json
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from chandler.data import Bars, load_bars
from chandler.errors import DataError

BINANCE = (
    "1704067200000,42283.58,42298.62,42261.02,42298.61,35.92724,1704067259999,1519032.33,1327,17.5,742,0\n"
    "1704067260000,42298.62,42320.00,42298.61,42320.00,21.16779,1704067319999,895580.88,1348,14.1,597,0\n"
)

# name: text, first timestamp, the first row's values as far as they are given, a piece of a note
LAYOUTS = {
    "yahoo": (
        "Date,Open,High,Low,Close,Adj Close,Volume\n"
        "2014-01-02,40.369999,40.490002,39.310001,39.590000,39.590000,21504200\n",
        "2014-01-02 00:00:00", [40.369999, 40.490002, 39.310001, 39.59, 21504200], "adj_close from",
    ),
    "banner": (
        "Timestamps are UTC timezone,https://www.example.com\r\n"
        "date,symbol,open,high,low,close,volume_btc,volume\r\n"
        "2019-10-17 09-AM,BTCUSD,8051,8056.83,8021.23,8035.88,61.25,492394.56\r\n"
        "2019-10-17 08-AM,BTCUSD,7975.89,8070,7975.89,8051,370.45,2971610.86\r\n",
        "2019-10-17 08:00:00+00:00", [7975.89, 8070, 7975.89, 8051, 370.45, 2971610.86], "line(s) above the header: 'Timestamps are UTC timezone,https://www.example.com'",
    ),
    "date and time": (
        "Date,Time,Open,High,Low,Close,Volume,OpenInterest\n2006-01-02,09:05:00,3578.73,3587.88,3578.73,3582.99,0,0\n",
        "2006-01-02 09:05:00", [3578.73, 3587.88, 3578.73, 3582.99, 0, 0], "time from 'Time'",
    ),
    "day first": (
        "Time,Open,High,Low,Close,Volume\r\n24.01.2017 22:00:00.000,1.05236,1.05253,1.05221,1.05227,143539993.3\r\n",
        "2017-01-24 22:00:00", [1.05236, 1.05253, 1.05221, 1.05227, 143539993.3], "day/month/year",
    ),
    "an unnamed first column": (
        ",Open,High,Low,Close,Volume\n2004-08-19,100,104.06,95.96,100.34,22351900\n",
        "2004-08-19 00:00:00", [100, 104.06, 95.96, 100.34, 22351900], "timestamp from 'the unnamed column'",
    ),
    "month first, close time": (
        "Date,Open,High,Low,Close,Volume\r\n4/1/2015 16:00:00,1,1,1,1,1\r\n"
        "4/13/2015 16:00:00,40.6,40.76,40.31,40.72,36\r\n",
        "2015-04-01 16:00:00", [1, 1, 1, 1, 1, 1], "month/day/year",
    ),
    "terminal export": (
        "<TICKER>\t<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<VOL>\n"
        "SBER\t20240103\t095900\t271.9\t272\t271\t271.5\t17\n",
        "2024-01-03 09:59:00", [271.9, 272, 271, 271.5, 17], "symbol from '<TICKER>'",
    ),
    "semicolons": (
        "Datum;x;date;OPEN;HIGH;LOW;CLOSE\n;;2024-01-13;1;2;1;1.5\n",
        "2024-01-13 00:00:00", [1, 2, 1, 1.5, 0, 0], "timestamp from 'date'",
    ),
    "two header lines of a downloader": (
        "Price,Close,High,Low,Open,Volume\nTicker,AAPL,AAPL,AAPL,AAPL,AAPL\nDate,,,,,\n"
        "2024-01-02,185.6,188.4,183.9,187.2,82488700\n2024-01-03,184.3,185.9,183.4,184.2,58414500\n",
        "2024-01-02 00:00:00", [187.2, 188.4, 183.9, 185.6, 82488700], "one symbol per ticker",
    ),
    "no header, crypto archive in ms": (
        BINANCE, "2024-01-01 00:00:00+00:00", [42283.58, 42298.62, 42261.02, 42298.61, 35.92724, 1519032.33],
        "no header; the columns are time, open, high, low, close, volume of a Binance archive",
    ),
    "no header, crypto archive in us": (
        BINANCE.replace("1704067200000", "1735689600000000").replace("1704067260000", "1735689660000000"),
        "2025-01-01 00:00:00+00:00", [42283.58], "microseconds since 1970",
    ),
    "no header, date and clock": (
        "2017.01.02,00:00,1.0515,1.0522,1.0511,1.0520,120\n2017.01.02,00:01,1.0520,1.0530,1.0519,1.0521,90\n",
        "2017-01-02 00:00:00", [1.0515, 1.0522, 1.0511, 1.0520, 120], "no header",
    ),
    "no header, semicolons": (
        "20120201 000000;1.306600;1.306700;1.306560;1.306560;0\n20120201 000100;1.3065;1.3066;1.3064;1.3066;0\n",
        "2012-02-01 00:00:00", [1.3066, 1.3067, 1.30656, 1.30656, 0], "separated by ';'",
    ),
    "no header, seven columns": (
        "1381095255,122.0,123.0,121.5,122.5,0.1,1\n1381095315,123.61,123.7,123.61,123.61,0.1,1\n",
        "2013-10-06 21:34:15+00:00", [122, 123, 121.5, 122.5, 0.1], "seconds since 1970",
    ),
    "decimal commas": (
        "Datum;Open;High;Low;Close;Volume\n02.01.2024;12,50;12,80;12,40;12,75;1.234.567\n"
        "15.01.2024;12,75;12,90;12,60;12,61;234.000\n",
        "2024-01-02 00:00:00", [12.5, 12.8, 12.4, 12.75, 1234567], "decimal comma, as in '12,50'",
    ),
    "decimal commas and volumes that look like floats": (
        "Date;Open;High;Low;Close;Volume\n2024-01-02;12,50;12,80;12,40;12,75;1.230\n2024-01-03;12,7;12,9;12,6;12,6;999\n",
        "2024-01-02 00:00:00", [12.5, 12.8, 12.4, 12.75, 1230], "decimal comma",
    ),
    "thousands": (
        'Date,Open,High,Low,Close,Volume\n2024-01-02,"1,234.50","1,240.00","1,230.00","1,239.75","2,345,678"\n',
        "2024-01-02 00:00:00", [1234.5, 1240, 1230, 1239.75, 2345678], "commas group thousands",
    ),
    "dollar signs, newest first": (
        "Date,Close/Last,Volume,Open,High,Low\n01/16/2024,$183.63,65603040,$182.16,$184.26,$180.93\n"
        "01/12/2024,$185.92,40477780,$186.06,$186.74,$185.19\n",
        "2024-01-12 00:00:00", [186.06, 186.74, 185.19, 185.92, 40477780], "currency signs",
    ),
    "units behind volumes": (
        '"Date","Price","Open","High","Low","Vol.","Change %"\n"01/31/2024","184.40","187.04","187.10","184.35",'
        '"55.47M","-1.94%"\n"02/01/2024","186.86","183.98","186.95","183.82","1.2B","1.33%"\n',
        "2024-01-31 00:00:00", [187.04, 187.1, 184.35, 184.4, 55.47e6], "units such as K and M",
    ),
    "base and quote volume": (
        "https://www.example.com\nunix,date,symbol,open,high,low,close,Volume BTC,Volume USDT,tradecount\n"
        "1586995200000,2020-04-16 00:00:00,BTCUSDT,6640,6650,6600,6630,10,66300,5\n",
        "2020-04-16 00:00:00", [6640, 6650, 6600, 6630, 10, 66300], "took 'Volume USDT' as amount",
    ),
    "two coins, neither of them money": (
        "date,symbol,open,high,low,close,Volume ETH,Volume BTC\n2020-04-16,ETHBTC,.02,.021,.019,.02,100,2\n"
        "2020-04-17,ETHBTC,.02,.021,.019,.02,50,1\n",
        "2020-04-16 00:00:00", [0.02, 0.021, 0.019, 0.02, 100, 2], "'Volume BTC' is 'Volume ETH' x price",
    ),
    "a volume of money beside that of a coin": (
        "date,open,high,low,close,volume,volume_btc\n2024-01-15,10,12,9,11,1100,100\n2024-01-16,10,12,9,12,1200,100\n",
        "2024-01-15 00:00:00", [10, 12, 9, 11, 100, 1100], "took 'volume_btc' as volume and 'volume' as amount",
    ),
    "a volume beside that of money": (
        "date,open,high,low,close,volume,volume_usdt\n2024-01-15,10,12,9,11,100,1100\n2024-01-16,10,12,9,12,100,1200\n",
        "2024-01-15 00:00:00", [10, 12, 9, 11, 100, 1100], "'volume_usdt' is 'volume' x price: took it as amount",
    ),
    "a volume of money alone": (
        "date,open,high,low,close,volume_usd\n2024-01-15,10,12,9,11,1100\n2024-01-16,10,12,9,12,1200\n",
        "2024-01-15 00:00:00", [10, 12, 9, 11, 0, 1100], "took 'volume_usd' as amount",
    ),
    "quote asset volume": (
        "Open time,Open,High,Low,Close,Volume,Close time,Quote asset volume,Number of trades\n"
        "1704067200000,10,12,9,11,5,1704067259999,55,3\n",
        "2024-01-01 00:00:00+00:00", [10, 12, 9, 11, 5, 55], "amount from 'Quote asset volume'",
    ),
    "terminal export with ticks": (
        "<DATE>\t<TIME>\t<OPEN>\t<HIGH>\t<LOW>\t<CLOSE>\t<TICKVOL>\t<VOL>\t<SPREAD>\n"
        "2024.01.02\t00:05:00\t1.104\t1.105\t1.103\t1.1045\t120\t0\t3\n",
        "2024-01-02 00:05:00", [1.104, 1.105, 1.103, 1.1045, 120], "'<VOL>' is all 0: took '<TICKVOL>'",
    ),
    "a zone in the name": (
        "Gmt time,Open,High,Low,Close,Volume\n13.01.2024 00:00:00.000,1,2,0.5,1.5,10\n",
        "2024-01-13 00:00:00+00:00", [1, 2, 0.5, 1.5, 10], "in UTC, because the column is called 'Gmt time'",
    ),
    "A-shares with a turnover rate": (
        "date,open,high,low,close,volume,turnover\n2024-01-15,10,12,9,11,100000,0.0123\n",
        "2024-01-15 00:00:00", [10, 12, 9, 11, 100000, 1050000], "a rate, not taken as amount",
    ),
    "Chinese minutes": (
        "代码,名称,时间,开盘,收盘,最高,最低,成交量,成交额\n"
        "000001,平安银行,2024-01-15 09:35:00,10,11,12,9,100,1050\n",
        "2024-01-15 09:35:00", [10, 12, 9, 11, 100, 1050], "symbol from '代码'",
    ),
    "traditional Chinese, date and time apart": (
        "日期,时间,開盤價,最高價,最低價,收盤價,成交量\n2024/01/15,0935,10,12,9,11,100\n",
        "2024-01-15 09:35:00", [10, 12, 9, 11, 100], "time from '时间'",
    ),
    "ts_code": (
        "ts_code,trade_date,open,high,low,close,pre_close,change,pct_chg,vol,amount\n"
        "000001.SZ,20240116,9.4,9.5,9.3,9.45,9.4,.05,.5,1000,9400\n000001.SZ,20240115,9.4,9.5,9.3,9.4,9.3,.1,1,900,8400\n",
        "2024-01-15 00:00:00", [9.4, 9.5, 9.3, 9.4, 900, 8400], "rows were newest first",
    ),
    "a comma behind every row": (
        "Date,Open,High,Low,Close,Volume\n2024-01-15,1,2,1,1.5,10,\n2024-01-16,1,2,1,1.5,10,\n",
        "2024-01-15 00:00:00", [1, 2, 1, 1.5, 10], "columns:",
    ),
    "numbered names": (
        "timestamp,1. open,2. high,3. low,4. close,5. volume\n2024-01-15 19:55:00,1,2,1,1.5,10\n",
        "2024-01-15 19:55:00", [1, 2, 1, 1.5, 10], "open from '1. open'",
    ),
    "long banner": (
        "Report\n\nGenerated by somebody\nTicker: ABC, all prices in EUR\n\n"
        "DATE|OPEN|HIGH|LOW|CLOSE\n13-Jan-2024|1|2|1|1.5\n",
        "2024-01-13 00:00:00", [1, 2, 1, 1.5, 0, 0], "skipped 5 line(s) above the header: 'Ticker: ABC",
    ),
    "words below the rows": (
        "000001 平安银行 日线 不复权\n      日期\t    开盘\t    最高\t    最低\t    收盘\t    成交量\t    成交额\n"
        "2024/01/15\t9.40\t9.50\t9.30\t9.45\t1000\t9425.00\n数据来源:通达信\n",
        "2024-01-15 00:00:00", [9.4, 9.5, 9.3, 9.45, 1000, 9425], "left out 1 line(s) below the rows: '数据来源",
    ),
    "empty rows of a spreadsheet": (
        "Date,Open,High,Low,Close,Volume,\n2024-01-15,1,2,1,1.5,10,\n,,,,,,\n,,,,,,\n",
        "2024-01-15 00:00:00", [1, 2, 1, 1.5, 10], "left out 2 empty rows at the end",
    ),
    "grouped volumes beside prices with a point": (
        'Date,Open,High,Low,Close,Volume\n2024-01-15,10.12,12.00,9.00,11.00,"153,475"\n',
        "2024-01-15 00:00:00", [10.12, 12, 9, 11, 153475], "commas group thousands, because '10.12'",
    ),
    "German, saved by a spreadsheet": (
        "Datum;Uhrzeit;Eröffnung;Hoch;Tief;Schluss;Stück;Volumen\n"
        "15.01.2024;09:05;12,50;12,80;12,40;12,75;1.000;12.600,00\n",
        "2024-01-15 09:05:00", [12.5, 12.8, 12.4, 12.75, 1000, 12600], "volume from 'Stück', amount from 'Volumen'",
    ),
    "Chinese names with units": (
        "代码,简称,日期,前收盘价(元),开盘价(元),最高价(元),最低价(元),收盘价(元),成交量(股),成交金额(元)\n"
        "600000.SH,浦发银行,2024-01-15,9.3,9.4,9.5,9.3,9.45,1000,9425\n",
        "2024-01-15 00:00:00", [9.4, 9.5, 9.3, 9.45, 1000, 9425], "open from '开盘价(元)'",
    ),
    "Japanese, adjusted": (
        "日付,始値,高値,安値,終値,出来高,調整後終値*\n2024年1月5日,100.0,120.0,90.0,110.0,\"185,266\",55.0\n",
        "2024-01-05 00:00:00", [50, 60, 45, 55, 370532], "scaled prices by adj_close / close",
    ),
    "Korean dates": (
        "날짜,종가,시가,고가,저가,거래량\n2024- 01- 15,11,10,12,9,100\n2024- 01- 16,11,10,12,9,100\n",
        "2024-01-15 00:00:00", [10, 12, 9, 11, 100], "timestamp from '날짜'",
    ),
    "the date again in the time": (
        "date,time,code,open,high,low,close,volume,amount\n"
        "2024-01-15,20240115093500000,sh.600000,10,12,9,11,100,1050\n"
        "2024-01-15,20240115094000000,sh.600000,10,12,9,11,100,1050\n",
        "2024-01-15 09:35:00", [10, 12, 9, 11, 100, 1050], "from 'time', which has the date as well",
    ),
    "offsets behind GMT": (
        "Local time,Open,High,Low,Close,Volume\n26.10.2024 02:00:00.000 GMT+0200,1,2,0.5,1.5,10\n"
        "28.10.2024 02:00:00.000 GMT+0100,1,2,0.5,1.5,10\n",
        "2024-10-26 02:00:00+02:00", [1, 2, 0.5, 1.5, 10], "as in Europe/Berlin",
    ),
    "zones by name": (
        "date,open,high,low,close,volume,average,barCount\n20240102 09:30:00 US/Eastern,10,12,9,11,100,10.5,5\n",
        "2024-01-02 09:30:00-05:00", [10, 12, 9, 11, 100], "in US/Eastern",
    ),
    "a date column of a terminal": (
        "<TICKER>,<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>,<VOL>\nEURUSD,20240115,093500,1.1,1.2,1.0,1.15,4\n",
        "2024-01-15 09:35:00", [1.1, 1.2, 1.0, 1.15, 4], "time from '<TIME>'",
    ),
    "exchange names of volumes": (
        "SYMBOL,SERIES,OPEN,HIGH,LOW,CLOSE,LAST,TOTTRDQTY,TOTTRDVAL,TIMESTAMP,\nTCS,EQ,10,12,9,11,11,100,1050,15-JAN-2024,\n",
        "2024-01-15 00:00:00", [10, 12, 9, 11, 100, 1050], "volume from 'TOTTRDQTY', amount from 'TOTTRDVAL'",
    ),
    "no header, the symbol first": (
        "KGHM,20240115,10,12,9,11,100\nKGHM,20240116,10,12,9,11,100\n",
        "2024-01-15 00:00:00", [10, 12, 9, 11, 100], "the columns are symbol, time, open, high, low, close, volume",
    ),
    "no header, low and high first": (
        "1704067200,9,12,10,11,5\n1704067260,10,13,11,12,6\n",
        "2024-01-01 00:00:00+00:00", [10, 12, 9, 11, 5], "the columns are time, low, high, open, close, volume",
    ),
    "old Mac line ends": (
        "Date,Open,High,Low,Close\r2024-01-13,1,2,1,1.5\r2024-01-14,1,2,1,1.5\r",
        "2024-01-13 00:00:00", [1, 2, 1, 1.5], "columns:",
    ),
}  # fmt: skip


@pytest.mark.parametrize("layout", LAYOUTS)
def test_layouts(tmp_path, layout):
    text, first, values, note = LAYOUTS[layout]
    path = tmp_path / "bars.csv"
    path.write_text(text, encoding="utf-8", newline="")
    store = load_bars(path)
    bars = store[store.symbols[0]]
    assert str(bars.timestamps[0]) == first
    assert bars.values[0, : len(values)] == pytest.approx(values)
    assert any(note in one for one in map(str, bars.notes)), bars.notes
    assert any(one.startswith("columns: ") for one in map(str, bars.notes))
    assert any(one.startswith("times: ") for one in map(str, bars.notes))


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "gbk", "gb18030"])
def test_encodings(tmp_path, encoding):
    rows = "".join(f"2024-01-{day:02d},平安银行,10,12,9,11,100\r\n" for day in range(10, 20))
    path = tmp_path / "bars.csv"
    path.write_bytes(("日期,股票代码,开盘,最高,最低,收盘,成交量\r\n" + rows).encode(encoding))
    store = load_bars(path)
    assert store.symbols == ("平安银行",)
    assert store.values[0].tolist() == [10, 12, 9, 11, 100, 1050]
    assert encoding.startswith("utf-8") or any("text" in n or "GBK" in n for n in map(str, store.notes["平安银行"]))


@pytest.mark.parametrize(
    ("encoding", "names"),
    [
        ("cp949", "일자,종가,시가,고가,저가,거래량"),
        ("shift_jis", "日付,終値,始値,高値,安値,出来高"),
        ("cp1251", "Дата,Закрытие,Открытие,Максимум,Минимум,Объём"),
        ("cp1252", "Datum,Schluss,Eröffnung,Hoch,Tief,Stück"),
    ],
)
def test_the_names_of_columns_tell_the_encoding(tmp_path, encoding, names):
    """All of these bytes are valid GBK, or Windows-1252, as well."""
    path = tmp_path / "bars.csv"
    path.write_bytes(f"{names}\n2024-01-15,11,10,12,9,100\n".encode(encoding))
    store = load_bars(path)
    assert store.values[0, :5].tolist() == [10, 12, 9, 11, 100]
    assert any(encoding.upper() in note for note in map(str, store.notes["bars"]))


def test_a_row_that_was_cut_short_is_no_footer(tmp_path):
    path = tmp_path / "bars.csv"
    path.write_text("date,open,high,low,close\n2024-01-15,10,12,9,11\n2024-01\n")
    with pytest.raises(DataError, match=r"1 line\(s\) with another number of fields.*\(line 3\) has 1: '2024-01'"):
        load_bars(path)


def test_latin_text_is_read_and_said(tmp_path):
    path = tmp_path / "bars.csv"
    path.write_bytes("date,société,open,high,low,close\n2024-01-15,Crédit Agricole,1,2,1,1.5\n".encode("latin-1"))
    notes = [*map(str, load_bars(path).notes["bars"])]
    assert "file: not UTF-8; read as Windows-1252 (Latin-1)" in notes


def test_zip_gzip_and_archive_pieces_of_one_symbol(tmp_path):
    later = BINANCE.replace("17040672", "17067456").replace("17040673", "17067457")
    for month, text in (("2024-01", BINANCE), ("2024-02", later)):
        with zipfile.ZipFile(tmp_path / f"BTCUSDT-1m-{month}.zip", "w") as archive:
            archive.writestr(f"BTCUSDT-1m-{month}.csv", text)
            archive.writestr("__MACOSX/._x.csv", b"\0\1")
    store = load_bars(tmp_path)
    assert store.symbols == ("BTCUSDT",)
    assert store.rows == 4
    assert any("joined 2 files" in note for note in map(str, store.notes["BTCUSDT"]))
    packed = tmp_path / "named-as-text.csv"
    packed.write_bytes(gzip.compress(BINANCE.encode()))
    assert load_bars(packed).rows == 2


def test_one_symbol_in_yearly_files_is_joined_when_asked(tmp_path):
    for year in (2023, 2024):
        (tmp_path / str(year)).mkdir()
        text = f"date,open,high,low,close\n{year}-01-15,1,2,1,1.5\n{year}-01-16,1,2,1,1.5\n"
        (tmp_path / str(year) / "A.csv").write_text(text)
    with pytest.raises(DataError, match=r"A: the symbol comes twice, from .*2023/A\.csv and .*join=True"):
        load_bars(tmp_path)
    assert len(load_bars(tmp_path, join=True)["A"]) == 4
    (tmp_path / "A.csv").write_text("date,open,high,low,close\n2023-01-16,1,2,1,1.5\n")
    with pytest.raises(DataError, match=r"must not overlap: leave one out"):
        load_bars(tmp_path, join=True)


def test_dates_and_numbers_that_read_both_ways_are_asked_about(tmp_path):
    path = tmp_path / "bars.csv"
    path.write_text('date;open;high;low;close\n03/04/2024;"1,200";"1,300";"1,100";"1,250"\n')
    with pytest.raises(DataError, match=r"day or month first\? '03/04/2024' \(row 1, line 2\)"):
        load_bars(path)
    with pytest.raises(DataError, match=r"decimal comma or thousands\? '1,200' \(row 1, line 2\).*decimal='\.'"):
        load_bars(path, date_format="%d/%m/%Y")
    asked = load_bars(path, date_format="%d/%m/%Y", decimal=",")["bars"]
    assert asked.values[0, 0] == pytest.approx(1.2)
    assert str(asked.timestamps[0].date()) == "2024-04-03"
    assert load_bars(path, date_format="%m/%d/%Y", decimal=".")["bars"].values[0, 0] == 1200
    path.write_text('date,open,high,low,close\n2024-01-15,"12,5","1,250.0",1,2\n')
    with pytest.raises(DataError, match=r"contradict each other: '1,250\.0' \(row 1, line 2\).*'12,5'"):
        load_bars(path)


@pytest.mark.parametrize(
    ("volume", "options"), [("900", {"decimal": ","}), ("1.234.567", {}), ("1.234.567", {"decimal": ","})]
)
@pytest.mark.parametrize("ticker", [False, True])
def test_points_between_thousands_are_none_in_any_cell_of_a_table_with_a_decimal_comma(
    tmp_path, volume, options, ticker
):
    row = ["2024-01-15", "42.150", "42.300", "42.000", "42.200", volume]
    head = "Date;Open;High;Low;Close;Volume\n"
    text = head + ";".join(row) + "\n"
    if ticker:  # two lines of column names
        text = "Price,Open,High,Low,Close,Volume\nTicker,A,A,A,A,A\nDate,,,,,\n" + ",".join(row) + "\n"
    path = tmp_path / "A.csv"
    path.write_text(text)
    bars = load_bars(path, **options)["A"]
    assert bars.values[0, :5].tolist() == [42150, 42300, 42000, 42200, float(volume.replace(".", ""))]
    assert any("decimal" in note.text for note in bars.notes)
    path.write_text(text.replace("42.150", "42.15"))
    found = "text in 'Open'.*'42.15'.*decimal=','" if options else "'42.15'.*decimal point, '1.234.567'.*comma"
    with pytest.raises(DataError, match=found):
        load_bars(path, **options)


def test_numbers_of_a_frame_stay_what_they_are_whatever_the_decimal_sign():
    frame = pd.DataFrame({"date": ["2024-01-15"], "open": [42.15], "high": [42.3], "low": [42.0], "close": [42.2]})
    bars = load_bars(frame, decimal=",")["series"]
    assert bars.values[0, 0] == pytest.approx(42.15)
    assert not any("numbers:" in note.text for note in bars.notes)


def test_columns_of_a_file_without_header_are_numbered(tmp_path):
    path = tmp_path / "bars.csv"
    path.write_text("2024-01-15,1.5,2,1,1.2\n2024-01-16,1.5,2,1,1.2\n")  # close, high, low, open
    bars = load_bars(path, columns={"open": "5", "high": "3", "low": "4", "close": "2"})["bars"]
    assert bars.values[0, :4] == pytest.approx([1.2, 2, 1, 1.5])


ROWS = [[1704067200000, 10.0, 12.0, 9.0, 11.0, 5.0], [1704067260000, 11.0, 13.0, 10.0, 12.0, 6.0]]


def test_rows_as_exchanges_answer_them(tmp_path):
    store = load_bars(ROWS)
    assert str(store["series"].timestamps[0]) == "2024-01-01 00:00:00+00:00"
    assert store.values[0, :5].tolist() == [10, 12, 9, 11, 5]
    assert load_bars({"BTC/USDT": ROWS, "ETH/USDT": ROWS}).symbols == ("BTC/USDT", "ETH/USDT")
    kline = [[1704067200000, "10", "12", "9", "11", "5", 1704067259999, "55.5", 3, "1", "2", "0"]]
    assert load_bars(kline)["series"].values[0].tolist() == [10, 12, 9, 11, 5, 55.5]
    dicts = [{"t": 1704067200000, "o": 10, "h": 12, "l": 9, "c": 11, "v": 5}]
    assert load_bars(dicts)["series"].values[0, :5].tolist() == [10, 12, 9, 11, 5]
    with pytest.raises(DataError, match="row 2 has 5 values where row 1 has 6"):
        load_bars([ROWS[0], ROWS[1][:5]])
    for name, text in (
        ("lists.json", json.dumps(ROWS)),
        ("answer.json", json.dumps({"ticker": "X", "results": dicts})),
        ("lines.jsonl", "\n".join(json.dumps(one) for one in dicts)),
        ("columns.json", json.dumps({key: [one] for key, one in dicts[0].items()})),
    ):
        (tmp_path / name).write_text(text)
        assert load_bars(tmp_path / name).values[0, :5].tolist() == [10, 12, 9, 11, 5]


@pytest.mark.parametrize(
    ("row", "values"),
    [
        ([1704067200, 9, 12, 10, 11, 5], [10, 12, 9, 11, 5, 52.5]),  # low, high, open, close
        (["1704067200000", "10", "11", "12", "9", "5", "55"], [10, 12, 9, 11, 5, 55]),  # open, close, high, low
        ([1704067200, "10", "12", "9", "11", "10.5", "5", 7], [10, 12, 9, 11, 5, 52.5]),  # a mean price, then volume
        (["2024-01-01T00:00:00Z", 10, 12, 9, 11, 5], [10, 12, 9, 11, 5, 52.5]),
    ],
)
def test_lists_whose_prices_show_their_order(row, values):
    """Read as open, high, low, close, the first of them would have been accepted with wrong prices."""
    bars = load_bars([row])["series"]
    assert bars.values[0].tolist() == values
    assert load_bars(np.array([row], object))["series"].values[0].tolist() == values


def test_lists_in_no_known_order_are_refused():
    with pytest.raises(DataError, match="the second price is not the highest"):
        load_bars([[1704067200000, 11.0, 9.0, 12.0, 10.0, 5.0]])


def test_answers_with_the_rows_deep_inside(tmp_path):
    day = {"1. open": "10", "2. high": "12", "3. low": "9", "4. close": "11", "5. volume": "100"}
    for number, answer in enumerate(
        (
            {"Meta Data": {"2. Symbol": "X"}, "Time Series (Daily)": {"2024-01-16": day, "2024-01-15": day}},
            {
                "retCode": 0,
                "result": {"symbol": "X", "list": [["1704067200000", "10", "12", "9", "11", "100", "1050"]]},
            },
        )
    ):
        (tmp_path / f"{number}.json").write_text(json.dumps(answer))
        assert load_bars(tmp_path / f"{number}.json").values[0, :5].tolist() == [10, 12, 9, 11, 100]


def test_an_index_of_periods():
    index = pd.period_range("2024-01", periods=2, freq="M")
    bars = load_bars(pd.DataFrame({"open": 1.0, "high": 2.0, "low": 1.0, "close": 1.5}, index=index))["series"]
    assert bars.timestamps.tolist() == [pd.Timestamp("2024-01-01"), pd.Timestamp("2024-02-01")]


def test_arrow_files_and_tables(tmp_path):
    table = pa.table({"timestamp": ["2024-01-15"], "open": [1.0], "high": [2.0], "low": [1.0], "close": [1.5]})
    assert load_bars(table).values[0, 3] == 1.5
    for name, new in (("file.arrow", pa.ipc.new_file), ("stream.arrow", pa.ipc.new_stream)):
        with new(str(tmp_path / name), table.schema) as writer:
            writer.write_table(table)
        assert load_bars(tmp_path / name).values[0, 3] == 1.5


@pytest.mark.parametrize("ticker_first", [False, True])
def test_frames_of_several_tickers(ticker_first):
    index = pd.date_range("2024-01-15", periods=3, name="Date")
    fields = ["Low", "Close", "Open", "High", "Volume"]
    columns = pd.MultiIndex.from_product([fields, ["AAPL", "GONE", "MSFT"]], names=["Price", "Ticker"])
    frame = pd.DataFrame(np.arange(1.0, 46).reshape(3, 15), index=index, columns=columns)
    frame.loc[:, (slice(None), "GONE")] = np.nan
    frame.loc[index[0], (slice(None), "MSFT")] = np.nan  # listed a day later
    if ticker_first:
        frame = frame.swaplevel(axis=1).sort_index(axis=1)
    store = load_bars(frame)
    assert store.symbols == ("AAPL", "MSFT")
    assert store["AAPL"].values[0, :5].tolist() == [7, 10, 1, 4, 13]
    assert len(store["MSFT"]) == 2
    assert any("GONE" in note for note in map(str, store.notes["AAPL"]))


def test_an_index_with_daylight_saving_and_a_frame_of_dates():
    index = pd.date_range("2024-03-08", periods=4, freq="D", tz="America/New_York", name="Date")
    frame = pd.DataFrame({"Open": 1.0, "High": 2.0, "Low": 1.0, "Close": 1.5, "Dividends": 0.0}, index=index)
    assert str(load_bars({"A": frame})["A"].timestamps.tz) == "America/New_York"
    frame = pd.DataFrame({"日期": [one.date() for one in index], "开盘": 1.0, "最高": 2.0, "最低": 1.0, "收盘": 1.5})
    assert str(load_bars(frame)["series"].timestamps[0]) == "2024-03-08 00:00:00"


def test_polars_both_ways():
    import polars

    frame = polars.DataFrame({"date": ["2024-01-15", "2024-01-16"], "open": [1.0, 2], "high": [2.0, 3], "low": [1.0, 2],
                              "close": [1.5, 2.5], "volume": [10, 20]})  # fmt: skip
    bars = load_bars(frame)["series"]
    again = Bars.from_frame(bars.to_polars())
    pd.testing.assert_frame_equal(bars.to_frame(), again.to_frame())
    assert load_bars(frame.lazy()).rows == 2


def some_values() -> np.ndarray:
    """(48, 6) of bars, the lowest price of each its low and the highest its high."""
    values = np.random.default_rng(0).uniform(1, 2, (48, 6))
    values[:, :4] = np.sort(values[:, :4], axis=1)[:, [1, 3, 0, 2]]
    return values


@pytest.mark.parametrize(
    ("zone", "there"),
    [
        (None, None),
        ("UTC", "UTC"),
        ("America/New_York", "America/New_York"),
        ("UTC+05:30", "UTC"),
        ("UTC-05:00", "UTC"),
    ],
)
def test_polars_keeps_moments_zones_and_values(zone, there):
    import polars

    index = pd.date_range("2024-03-09", periods=48, freq="h", tz=None if zone is None else "UTC").as_unit("ns")
    index = index if zone is None else index.tz_convert(zone)
    values = some_values()
    values[3, 4:] = 0
    bars = Bars("A", index, values)
    frame = bars.to_polars()
    assert frame.schema["timestamp"] == polars.Datetime("ns", there)
    again = Bars.from_frame(frame, symbol="A")
    assert again.timestamps.equals(index if there is None else index.tz_convert(there))
    assert np.array_equal(again.values, values)
    store = load_bars([bars, Bars("B", index[5:], values[5:])])
    back = load_bars(store.to_polars())
    assert (back.symbols, back.rows) == (("A", "B"), 91)
    assert np.array_equal(back.values, store.values)
    assert np.array_equal(back.timestamps, store.timestamps)


def test_pandas_both_ways_keeps_values_times_and_zone():
    for zone in (None, "UTC", "America/New_York"):
        index = pd.date_range("2024-03-09", periods=48, freq="h", tz=zone, name="timestamp")
        values = some_values()
        bars = Bars("A", index.as_unit("ns"), values)
        again = Bars.from_frame(bars.to_frame(), symbol="A")
        assert again.timestamps.equals(bars.timestamps)
        assert np.array_equal(again.values, values)
        store = load_bars([bars, Bars("B", index.as_unit("ns"), values)])
        pd.testing.assert_frame_equal(load_bars(store.to_frame()).to_frame(), store.to_frame())


def test_parquet_in_a_zip(tmp_path):
    buffer = io.BytesIO()
    frame = pd.DataFrame({"date": ["2024-01-15"], "open": [1.0], "high": [2.0], "low": [1.0], "close": [1.5]})
    frame.to_parquet(buffer)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        archive.writestr("X.parquet", buffer.getvalue())
    assert load_bars(tmp_path / "a.zip").symbols == ("X",)
