"""What reading did is one record per thing that was done, however many files and symbols it was done to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from tests.data.reading.test_wrong_data import rows

from chandler.data import Bars, BarStore, Note, load_bars, note_lines, prepare
from chandler.data.inspection import findings


def days(tmp_path: Path, symbol: str, count: int, broken: int) -> Path:
    """Files of a day each, a row of the first `broken` ones without a price."""
    folder = tmp_path / "days"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        frame = rows(f"2024-01-{number + 1:02d}", count=24, freq="h").assign(symbol=symbol)
        if number < broken:
            frame.loc[5, "close"] = float("nan")
        frame.to_csv(folder / f"{symbol}-{number:02d}.csv", index=False)
    return folder


def test_equal_notes_of_many_files_and_symbols_are_one_with_all_rows(tmp_path: Path) -> None:
    days(tmp_path, "AAA", 6, 4)
    folder = days(tmp_path, "BBB", 6, 2)
    store = load_bars(folder, join=True, missing="drop")
    [own] = [note for note in store.notes["AAA"] if note.kind == "dropped"]
    assert (own.rows, own.first, own.last) == (4, "2024-01-01 05:00:00", "2024-01-04 05:00:00")
    [told] = [one for one in findings(store, cleaned=True) if one.note.kind == "dropped"]
    assert (told.note.rows, told.symbols, told.of) == (6, ("AAA", "BBB"), 2)
    assert note_lines([told]) == [
        "data: dropped 6 rows with a missing price (2024-01-01 05:00:00 to 2024-01-04 05:00:00)"
    ]


def test_a_source_that_was_read_again_is_not_counted_twice(tmp_path: Path) -> None:
    frame = rows(count=60, freq="h")
    frame.loc[[5, 6], "close"] = float("nan")
    frame.iloc[:40].to_csv(tmp_path / "one.csv", index=False)
    first = prepare(tmp_path / "one.csv", tmp_path / "store", missing="drop")
    frame.to_csv(tmp_path / "one.csv", index=False)
    again = prepare(tmp_path / "one.csv", tmp_path / "store", missing="drop")
    assert again.rows == first.rows + 20
    assert [note.rows for note in again.notes["one"] if note.kind == "dropped"] == [2]
    assert load_bars(tmp_path / "store").notes == again.notes


def test_notes_of_earlier_stores_are_sentences() -> None:
    assert Note.restored("dropped 3 rows") == Note("dropped 3 rows")
    note = Note("dropped {rows}", "dropped", 1, "2024-01-01 00:00:00", "2024-01-01 00:00:00")
    assert Note.restored(note.to_dict()) == note
    assert Note.restored({**note.to_dict(), "kind": "of later", "more": 1}).kind == "read"
    assert str(note) == "dropped 1 row (2024-01-01)"


def test_what_lies_in_a_period_is_told_apart() -> None:
    index = pd.date_range("2024-01-01", periods=10, freq="D").as_unit("ns")
    values = np.tile([10.0, 11.0, 9.0, 10.0, 1.0, 10.0], (10, 1))
    notes = (
        Note("dropped {rows} early", "dropped", 1, "2023-01-02 00:00:00", "2023-01-02 00:00:00"),
        Note("dropped {rows} late", "dropped", 2, "2024-01-04 00:00:00+08:00", "2024-01-05 00:00:00+08:00"),
        Note("times: no zone stated"),
    )
    found = findings(BarStore.from_bars([Bars("A", index, values, notes=notes)]), cleaned=True)
    period = int(index.asi8[2]), int(index.asi8[-1])
    assert {one["said"].split(" (")[0]: one["here"] for one in (found.to_dict(period) for found in found)} == {
        "dropped 1 row early": False,
        "dropped 2 rows late": True,
        "times: no zone stated": False,
    }


def test_jumps_and_levels_that_cleaning_would_cut_are_told_of() -> None:
    index = pd.date_range("2024-01-01", periods=300, freq="D").as_unit("ns")
    closes = 100 + np.sin(np.arange(300.0))
    closes[150:] /= 4  # a split
    closes[200:240] = 20
    values = np.column_stack([closes, closes + 1, closes - 1, closes, np.ones(300), closes])
    store = BarStore.from_bars([Bars("A", index, values)])
    told = note_lines(findings(store))
    assert told[0].startswith(
        "data: 1 jump between a close and the next open, as of splits or wrong ticks (2024-05-30)"
    )
    assert any("40 rows that the paper's cleaning would have cut: the same close for too long" in line for line in told)
    assert note_lines(findings(store, cleaned=True)) == []
