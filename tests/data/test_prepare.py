"""Folders of files into a store on disk that opens like any other, survives being killed, and grows."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chandler.atomic import locked
from chandler.data import BarStore, SplitSettings, Windows, inspect_store, load_bars, prepare
from chandler.data.reading import read_file
from chandler.data.store import MANIFEST, ConcatenatedArray
from chandler.errors import DataError


def table(days, seed=0, first="2024-01-01"):
    close = 100 + np.random.default_rng(seed).normal(0, 1, days).cumsum()
    return pd.DataFrame(
        {"date": pd.date_range(first, periods=days).strftime("%Y-%m-%d"), "open": close, "high": close + 1,
         "low": close - 1, "close": close, "volume": 10 + seed}
    )  # fmt: skip


def fill(folder, symbols=5, days=40):
    folder.mkdir(exist_ok=True)
    for number in range(symbols):
        table(days, number).to_csv(folder / f"S{number}.csv", index=False)
    return folder


def same(one, other):
    assert one.symbols == other.symbols
    assert one.zones == other.zones
    for name in ("values", "timestamps", "stamps", "offsets", "segments"):
        assert np.array_equal(np.asarray(getattr(one, name)), np.asarray(getattr(other, name))), name


@pytest.mark.parametrize("workers", [1, 2])
def test_a_prepared_store_is_the_store_of_its_files(tmp_path, workers):
    data = fill(tmp_path / "data")
    store = prepare(data, tmp_path / "store", workers=workers)
    same(store, load_bars(data))
    assert isinstance(store.values, np.memmap)
    assert load_bars(tmp_path / "store").symbols == store.symbols
    assert store.notes == load_bars(data).notes
    lines = [json.loads(line) for line in (tmp_path / "store" / MANIFEST).read_text().splitlines()]
    assert [Path(line["source"]).name for line in lines] == [f"S{n}.csv" for n in range(5)]
    assert lines[0]["size"] == (data / "S0.csv").stat().st_size
    assert len(lines[0]["sha256"]) == 64
    assert any("no amount column" in note["text"] for note in lines[0]["pieces"][0]["notes"])


def test_new_rows_and_files_are_added_behind_the_old_ones(tmp_path):
    data = fill(tmp_path / "data", symbols=3)
    folder = tmp_path / "store"
    prepare(data, folder, workers=1)
    before = {name: (folder / f"{name}.bin").read_bytes() for name in ("values", "timestamps", "stamps")}
    table(55, 1).to_csv(data / "S1.csv", index=False)
    table(30, 9).to_csv(data / "S9.csv", index=False)
    os.utime(data / "S2.csv", (1, 1))  # touched, not changed
    store = prepare(data, folder, workers=1)
    for name, old in before.items():
        assert (folder / f"{name}.bin").read_bytes().startswith(old)
    same(store, load_bars(data))
    assert isinstance(store.values, ConcatenatedArray)
    assert len((folder / MANIFEST).read_text().splitlines()) == 5
    # Everything downstream sees one store.
    plain = load_bars(data)
    ranges = np.stack([store.offsets[:-1], store.offsets[1:]], axis=1)
    ours, theirs = (Windows(one, ranges, lookback=10, horizon=3) for one in (store, plain))
    order = np.random.default_rng(0).permutation(len(ours))
    for name in ("values", "stamps", "mean", "std"):
        assert np.array_equal(getattr(ours.gather(order), name), getattr(theirs.gather(order), name))
    settings = {"lookback": 10, "horizon": 3, "split": SplitSettings()}
    assert inspect_store(store, **settings).to_dict()["rows"] == 165
    pd.testing.assert_frame_equal(store["S1"].to_frame(), plain["S1"].to_frame())
    assert prepare(data, folder, workers=1).rows == 165
    saved = BarStore.open(store.save(tmp_path / "flat"))
    same(saved, plain)


def test_a_changed_history_is_refused(tmp_path):
    data = fill(tmp_path / "data", symbols=1)
    folder = tmp_path / "store"
    prepare(data, folder, workers=1)
    changed = table(45, 0)
    changed.loc[7:, ["open", "high", "low", "close"]] /= 2
    changed.to_csv(data / "S0.csv", index=False)
    with pytest.raises(DataError, match=r"S0\.csv: S0: 33 rows differ from the store's, first at 2024-01-08.*split"):
        prepare(data, folder, workers=1)
    assert load_bars(folder).rows == 40
    table(45, 0).iloc[1:].to_csv(data / "S0.csv", index=False)
    with pytest.raises(DataError, match=r"rows that the store has are missing"):
        prepare(data, folder, workers=1)
    with pytest.raises(DataError, match=r"prepared with other options \(adjust\)"):
        prepare(data, folder, workers=1, adjust="none")


def test_bad_files_are_all_named_and_the_next_run_goes_on(tmp_path):
    data = fill(tmp_path / "data")
    (data / "S1.csv").write_text("date,open\n")
    (data / "S3.csv").write_bytes(b"\0\1")
    folder = tmp_path / "store"
    with pytest.raises(DataError, match=r"2 of 5 files cannot be used:\n- .*S1\.csv: missing.*\n- .*S3\.csv: binary"):
        prepare(data, folder, workers=1)
    with pytest.raises(DataError, match=r"was not finished. Run the same prepare again"):
        load_bars(folder)
    store = prepare(data, folder, workers=1, skip_bad=True)
    assert store.symbols == ("S0", "S2", "S4")
    assert len(store.skipped) == 2
    table(40, 1).to_csv(data / "S1.csv", index=False)
    store = prepare(data, folder, workers=1, skip_bad=True)
    assert store.symbols == ("S0", "S2", "S4", "S1")
    assert len(store.skipped) == 1


def test_one_symbol_in_several_files(tmp_path):
    for year in ("2023", "2024"):
        (tmp_path / "data" / year).mkdir(parents=True)
        table(20, 0, f"{year}-01-01").to_csv(tmp_path / "data" / year / "A.csv", index=False)
    with pytest.raises(DataError, match=r"2024/A\.csv: A comes twice, from here and from .*2023/A\.csv"):
        prepare(tmp_path / "data", tmp_path / "one", workers=1)
    store = prepare(tmp_path / "data", tmp_path / "two", workers=1, join=True)
    same(store, load_bars(tmp_path / "data", join=True))
    table(20, 0, "2023-01-10").to_csv(tmp_path / "data" / "A.csv", index=False)
    with pytest.raises(DataError, match=r"A overlaps in time with .*2023/A\.csv"):
        prepare(tmp_path / "data", tmp_path / "two", workers=1, join=True)


def test_splits_survive_in_the_manifest(tmp_path):
    data = fill(tmp_path / "data", symbols=2)
    broken = table(40, 0)
    broken.loc[20, "close"] = np.nan
    broken.to_csv(data / "S0.csv", index=False)
    store = prepare(data, tmp_path / "store", workers=1, missing="split")
    same(store, load_bars(data, missing="split"))
    assert store.segments.tolist() == [[0, 20], [20, 39], [39, 79]]


@pytest.mark.parametrize("before", [19, 20, 21, 22, 30])
def test_a_split_stays_where_a_file_grows_at_it(tmp_path, before):
    data, folder = tmp_path / "data", tmp_path / "store"
    data.mkdir()
    whole = table(40)
    whole.loc[20, "close"] = np.nan
    whole.iloc[:before].to_csv(data / "S0.csv", index=False)
    prepare(data, folder, workers=1, missing="split")
    whole.to_csv(data / "S0.csv", index=False)
    store = prepare(data, folder, workers=1, missing="split")
    assert store.segments.tolist() == [[0, 20], [20, 39]]
    same(store, load_bars(data, missing="split"))
    lines = (folder / MANIFEST).read_text().splitlines()  # of before, when that was not noted
    older = [{**json.loads(line), "pieces": [{k: v for k, v in piece.items() if k != "apart"} for piece in
             json.loads(line)["pieces"]]} for line in lines]  # fmt: skip
    (folder / MANIFEST).write_text("".join(json.dumps(line) + "\n" for line in older))
    assert load_bars(folder).rows == 39


def test_options_can_change_until_a_store_has_rows(tmp_path):
    data, folder = tmp_path / "data", tmp_path / "store"
    data.mkdir()
    days = table(10)
    days["date"] = pd.to_datetime(days["date"]).dt.strftime("%d/%m/%Y")  # the first to the tenth of January
    days.to_csv(data / "A.csv", index=False)
    with pytest.raises(DataError, match="day or month first"):
        prepare(data, folder, workers=1)
    with pytest.raises(DataError, match="there is nothing to prepare of"):  # read, and no row is asked for
        prepare(data, folder, workers=1, date_format="%d/%m/%Y", start="2025-01-01")
    store = prepare(data, folder, workers=1, date_format="%d/%m/%Y")
    same(store, load_bars(data, date_format="%d/%m/%Y"))
    with pytest.raises(DataError, match=r"was prepared with other options \(date_format\)"):
        prepare(data, folder, workers=1, date_format="%m/%d/%Y")
    same(load_bars(folder), store)


def test_options_do_not_change_under_another_process(tmp_path):
    data, folder = fill(tmp_path / "data", symbols=1), tmp_path / "store"
    (data / "S0.csv").write_text("date,open\n")
    with pytest.raises(DataError, match="missing"):
        prepare(data, folder, workers=1)
    with locked(folder / ".lock"), pytest.raises(DataError, match="another process is preparing"):
        prepare(data, folder, workers=1, missing="drop")
    assert (folder / MANIFEST).read_text()


SCRIPT = """
import sys
from chandler.data.prepare import prepare
if __name__ == "__main__":
    prepare(sys.argv[1], sys.argv[2], workers=int(sys.argv[3]), report=lambda p: print(p.done, flush=True))
"""


@pytest.mark.parametrize("workers", [1, 2])
def test_a_killed_run_goes_on_and_ends_the_same(tmp_path, monkeypatch, workers):
    data = fill(tmp_path / "data", symbols=60, days=300)
    script = tmp_path / "script.py"
    script.write_text(SCRIPT)
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
    folder = tmp_path / "store"
    run = subprocess.Popen([sys.executable, str(script), str(data), str(folder), str(workers)],
                           stdout=subprocess.PIPE, text=True, env=env, start_new_session=True)  # fmt: skip
    assert run.stdout is not None
    for line in run.stdout:
        if int(line) >= 7:
            break
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    done = (folder / MANIFEST).read_text().count("\n")
    assert 7 <= done < 60
    with (folder / "values.bin").open("ab") as file:  # as if it had died while writing
        file.write(b"torn")
    with (folder / MANIFEST).open("a") as file:
        file.write('{"source": "to')
    told, read = [], []

    def noted(source, options, **rest):
        read.append(source.path.name)
        return read_file(source, options, **rest)

    monkeypatch.setattr(sys.modules["chandler.data.prepare"], "read_file", noted)
    store = prepare(data, folder, workers=1, report=lambda progress: told.append(progress))
    assert len(told) == 60
    assert len(read) == len(set(read)) == 60 - done  # what is there is not read again
    assert (folder / MANIFEST).read_text().count("\n") == 60
    same(store, load_bars(data))


def test_folders_that_are_no_stores(tmp_path):
    data = fill(tmp_path / "data", symbols=1)
    with pytest.raises(DataError, match="exists and is no bar store"):
        prepare(data, data)
    load_bars(data).save(tmp_path / "flat")
    with pytest.raises(DataError, match="a store saved whole, which cannot grow"):
        prepare(data, tmp_path / "flat")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no data files in this folder"):
        prepare(tmp_path / "empty", tmp_path / "s")
    folder = tmp_path / "store"
    prepare(data, folder, workers=1)
    (folder / MANIFEST).write_text("nonsense\n")
    with pytest.raises(DataError, match=r"manifest\.jsonl: line 1 is damaged"):
        load_bars(folder)
    prepare(data, tmp_path / "other", workers=1)
    (tmp_path / "other" / "values.bin").write_bytes(b"short")
    with pytest.raises(DataError, match=r"values\.bin is damaged"):
        load_bars(tmp_path / "other")


def test_what_is_read_may_not_lie_in_the_store(tmp_path):
    data = fill(tmp_path / "data", symbols=2)
    folder = tmp_path / "store"
    prepare(data, folder, workers=1)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    table(40, 5).to_csv(folder / "S5.csv", index=False)
    for source in (folder, folder / "S5.csv", [data, folder / "S5.csv"], f"qlib:{folder}"):
        with pytest.raises(DataError, match="is read, and lies in the folder to write"):
            prepare(source, folder, workers=1)
    assert {name: (folder / name).read_bytes() for name in before} == before
    # A store within the folder that is read is no source of itself.
    inner = data / "bars.store"
    assert prepare(data, inner, workers=1).symbols == prepare(data, inner, workers=1).symbols == ("S0", "S1")


def test_stitched_rows_read_as_an_array():
    base = np.arange(60).reshape(20, 3)
    rows = ConcatenatedArray(base, np.array([10, 0, 15]), np.array([5, 4, 2]))
    plain = np.concatenate([base[10:15], base[0:4], base[15:17]])
    assert rows.shape == plain.shape
    assert np.array_equal(np.asarray(rows), plain)
    for lo in range(11):
        for hi in range(lo, 12):
            assert np.array_equal(rows[lo:hi], plain[lo:hi])
    for key in (3, -1, [0, 10, 4], slice(None, None, 2), (slice(2, 9), 1), (4, 2), plain[:, 0] > 20):
        assert np.array_equal(rows[key], plain[key])
