"""Qlib folders: read by hand-made bytes, written and read back, and compared with what pyqlib reads."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.qlib_answers import SOURCES, bundled, features

import chandler
from chandler.data import BarStore, load_bars, prepare, write_qlib
from chandler.errors import DataError

ASSET = Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz"
DAYS = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08", "2024-01-09"]
NAN = float("nan")


def put(folder, symbol, name, first, values, freq="day"):
    place = folder / "features" / symbol
    place.mkdir(parents=True, exist_ok=True)
    np.array([first, *values], "<f4").tofile(place / f"{name}.{freq}.bin")


@pytest.fixture
def folder(tmp_path):
    """Two instruments on six days: SH600000 suspended on the third day, SZ000001 listed on the second."""
    root = tmp_path / "qlib"
    for name in ("calendars", "instruments"):
        (root / name).mkdir(parents=True)
    (root / "calendars" / "day.txt").write_text("\n".join(DAYS) + "\n")
    (root / "instruments" / "all.txt").write_text(
        "SH600000\t2024-01-02\t2024-01-09\nSZ000001\t2024-01-03\t2099-12-31\n"
    )
    (root / "instruments" / "csi300.txt").write_text(
        "SH600000\t2024-01-02\t2024-01-03\nSH600000\t2024-01-08\t2024-01-09\n"
    )
    for name in ("open", "high", "low", "close"):
        put(root, "sh600000", name, 0, [5, 5.5, NAN, 6, 6.5, 7])
        put(root, "sz000001", name, 1, [1, 2, 3, 4, 5])
    put(root, "sh600000", "volume", 0, [200, 200, NAN, 100, 100, 100])
    put(root, "sh600000", "factor", 0, [0.5, 0.5, 0.5, 0.5, 1, 1])
    put(root, "sh600000", "vwap", 0, [5.1, 5.6, NAN, 6.1, 6.6, 7.1])
    return root


def test_reads_without_pyqlib(folder):
    store = load_bars(f"qlib:{folder}")
    assert store.symbols == ("SH600000", "SZ000001")
    one = store["SH600000"]
    assert [str(day.date()) for day in one.timestamps] == [DAYS[row] for row in (0, 1, 3, 4, 5)]
    assert one.values[:, 3].tolist() == [5, 5.5, 6, 6.5, 7]
    assert one.values[0, 5] == pytest.approx(200 * 5.1)
    assert one.segments.tolist() == [[0, 2], [2, 5]]  # windows do not cross the suspension
    assert any("1 calendar entries without prices" in note for note in map(str, one.notes))
    assert str(store["SZ000001"].timestamps[0].date()) == "2024-01-03"
    assert store["SZ000001"].values[:, 4:].sum() == 0


def test_markets_are_lists_with_dates_and_factors_can_be_taken_out(folder):
    store = load_bars(f"qlib:{folder}", market="csi300")
    assert store.symbols == ("SH600000",)
    assert [str(day.date()) for day in store["SH600000"].timestamps] == [DAYS[row] for row in (0, 1, 4, 5)]
    part = load_bars(f"qlib:{folder}", market="CSI300", start="2024-01-03", end="2024-01-08")
    assert len(part["SH600000"]) == 2
    raw = load_bars(f"qlib:{folder}", market="csi300", adjust="none")["SH600000"]
    assert raw.values[:2, 3].tolist() == [10, 11]
    assert raw.values[:2, 4].tolist() == [100, 100]
    assert raw.values[0, 5] == pytest.approx(200 * 5.1, rel=1e-6)  # traded value needs no factor


def test_a_market_may_list_any_date(folder):
    (folder / "instruments" / "all.txt").write_text(
        "SH600000\t0001-01-01\t9999-12-31\nSZ000001\t2024-01-04\t2300-01-01\n"
    )
    store = load_bars(f"qlib:{folder}")
    assert [len(bars) for bars in store] == [5, 4]
    (folder / "instruments" / "all.txt").write_text("SH600000\tsoon\t9999-12-31\n")
    with pytest.raises(DataError, match="line 1 is not 'symbol, start, end'"):
        load_bars(f"qlib:{folder}")


def test_a_suspension_stays_where_a_folder_grows_at_it(folder, tmp_path):
    (folder / "calendars" / "day.txt").write_text("\n".join(DAYS[:3]) + "\n")
    for name in ("open", "high", "low", "close"):
        put(folder, "sh600000", name, 0, [5, 5.5, NAN])
        put(folder, "sz000001", name, 1, [1, 2])
    for name in ("volume", "factor", "vwap"):
        put(folder, "sh600000", name, 0, [1, 1, NAN])
    assert prepare(f"qlib:{folder}", tmp_path / "store").rows == 4
    (folder / "calendars" / "day.txt").write_text("\n".join(DAYS) + "\n")
    for name in ("open", "high", "low", "close"):
        put(folder, "sh600000", name, 0, [5, 5.5, NAN, 6, 6.5, 7])
        put(folder, "sz000001", name, 1, [1, 2, 3, 4, 5])
    for name in ("volume", "factor", "vwap"):
        put(folder, "sh600000", name, 0, [1, 1, NAN, 1, 1, 1])
    store = prepare(f"qlib:{folder}", tmp_path / "store")
    assert store["SH600000"].segments.tolist() == [[0, 2], [2, 5]]
    assert store["SZ000001"].segments is None


@pytest.mark.parametrize(
    ("break_it", "options", "message"),
    [
        (lambda root: None, {"market": "csi500"}, r"no market 'csi500' in instruments/; there are 'all', 'csi300'"),
        (lambda root: None, {"freq": "5min"}, r"5min\.txt: no calendar of that frequency\. Pass freq=, one of: day"),
        (lambda root: None, {"start": "2030-01-01"}, r"market 'all' has no rows between start=2030-01-01"),
        (lambda root: None, {"start": "soon"}, r"start and end must be dates"),
        (lambda root: (root / "features/sz000001/open.day.bin").unlink(), {}, r"no open\.day\.bin"),
        (lambda root: (root / "features/sz000001/open.day.bin").write_bytes(b"abc"), {}, r"open\.day\.bin: damaged"),
        (lambda root: put(root, "sz000001", "open", 3, [1] * 9), {}, r"go beyond the calendar, which has 6 entries"),
        (lambda root: (root / "calendars/day.txt").write_text("yesterday\n"), {}, r"day\.txt: not a calendar"),
        (lambda root: (root / "calendars/day.txt").write_text(""), {}, r"day\.txt: the dates are not increasing"),
        (
            lambda root: (root / "instruments/all.txt").write_text("A\tx\ty\n"),
            {},
            r"line 1 is not 'symbol, st",
        ),
        (lambda root: (root / "instruments/all.txt").write_text("\n"), {}, r"the market lists no instrument"),
        (lambda root: (root / "instruments/all.txt").write_text("GONE\n"), {}, r"1 of 1 have no folder"),
    ],
)
def test_broken_folders(folder, break_it, options, message):
    break_it(folder)
    with pytest.raises(DataError, match=message):
        load_bars(f"qlib:{folder}", **options)


def test_no_folder_at_all(tmp_path):
    with pytest.raises(DataError, match="no qlib data folder: one has calendars/"):
        load_bars(f"qlib:{tmp_path}")


def test_what_is_written_reads_back_the_same(tmp_path):
    store = load_bars(ASSET)
    folder = write_qlib(store, tmp_path / "q", market="us5")
    assert (folder / "instruments" / "us5.txt").read_text().splitlines()[1] == "FB\t2012-05-18\t2013-03-01"
    again = load_bars(f"qlib:{folder}", market="us5")
    assert again.symbols == store.symbols
    assert np.array_equal(again.timestamps, store.timestamps)
    assert np.array_equal(again.values, store.values)
    with pytest.raises(DataError, match="is not empty"):
        write_qlib(store, folder)


def test_minutes_write_and_read(tmp_path):
    index = pd.date_range("2024-01-02 09:30", periods=10, freq="5min", tz="America/New_York", name="timestamp")
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low", "close", "volume"), 2.0), index=index)
    folder = write_qlib(load_bars({"A": frame}), tmp_path / "q")
    store = load_bars(f"qlib:{folder}", freq="5min")
    assert str(store["A"].timestamps[1]) == "2024-01-02 09:35:00"
    both = {"a": frame, "A": frame}
    with pytest.raises(DataError, match="a and A would share a folder"):
        write_qlib(load_bars(both), tmp_path / "r")


@pytest.mark.parametrize("source", SOURCES)
def test_pyqlib_reads_the_same_numbers(tmp_path, source):
    store = bundled(0.04)
    folder = write_qlib(store, tmp_path / "q", market="us5")
    theirs = features(source, folder)
    assert theirs["$close"].notna().sum() == store.rows == 1108
    for symbol in store.symbols:
        frame = theirs.xs(symbol, level="instrument")
        frame = frame[frame["$close"].notna()]  # qlib has a row for a suspended day
        ours: BarStore = load_bars(f"qlib:{folder}", market="us5", symbols=[symbol])
        assert np.array_equal(frame.index.to_numpy("M8[ns]").astype(np.int64), ours.timestamps)
        assert np.array_equal(frame.iloc[:, :6].to_numpy(np.float32), ours.values)
        assert (frame["$factor"] == 1).all()


def test_the_daily_qlib_recipe_runs_on_a_folder_of_real_stocks(tmp_path):
    from chandler.training.run import finetune
    from chandler.training.settings import load_settings

    folder = write_qlib(load_bars(ASSET), tmp_path / "q", market="csi300")
    tiny = {"d_model": 16, "n_heads": 2, "ff_dim": 32, "s1_bits": 4, "s2_bits": 4}
    recipe = Path(__file__).parents[2] / "configs" / "qlib-daily.yaml"
    overrides = [f"data.path=qlib:{folder}", "data.start=2006-01-01", "data.end=2012-12-31",
                 "data.split.train_end=2010-12-31", "data.split.val_end=2012-06-30", "data.windows_per_epoch=32",
                 "data.validation_stride=60", "device=cpu"]  # fmt: skip
    for stage, extra in (("tokenizer", {"n_enc_layers": 2, "n_dec_layers": 2}), ("predictor", {"n_layers": 1})):
        overrides += [f"{stage}.start=random", f"{stage}.epochs=1", f"{stage}.batch_size=8",
                      f"{stage}.architecture={json.dumps(tiny | extra)}"]  # fmt: skip
    settings = load_settings(recipe, overrides, out=str(tmp_path / "run"))
    assert (settings.data.market, settings.data.lookback, settings.data.horizon) == ("csi300", 90, 10)
    run = finetune(settings)
    assert (run.folder / "predictor" / "model.safetensors").is_file()
    summary = json.loads((run.folder / "summary.json").read_text())
    assert summary["data"]["symbols"]
