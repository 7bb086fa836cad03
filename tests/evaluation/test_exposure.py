"""A model is not asked about bars it knows: what it has seen is read from its run, and forcing leaves a mark."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import yaml

from chandler.data import Bars, BarStore
from chandler.errors import DataError
from chandler.evaluation.exposure import clean_start, exposure, require_unseen
from chandler.evaluation.origins import find_origins


def run(folder: Path, *, names: list[str] | None, train: str, val: str, start: str = "random", **more: Any) -> str:
    """A run folder as far as it says what was trained on."""
    folder.mkdir(parents=True)
    splits = {"train": {"last": train}, "val": {"last": val}}
    data = {"splits": splits, **({} if names is None else {"names": names}), **more}
    (folder / "summary.json").write_text(json.dumps({"data": data}))
    (folder / "config.yaml").write_text(yaml.safe_dump({"predictor": {"start": start}, "tokenizer": {"start": start}}))
    return str(folder)


def store(*symbols: str) -> BarStore:
    index = pd.date_range("2024-01-01", periods=20).as_unit("ns")
    return BarStore.from_bars([Bars(symbol, index, np.ones((20, 6))) for symbol in symbols])


def marks(source: str, *symbols: str) -> dict[str, list[str]]:
    """By symbol, the marks of origins whose first forecast bars are 4, 8, 12 and 16 January."""
    origins = find_origins(store(*symbols), 3, 2, stride=4)
    found = exposure(source).marks(origins)
    return {s: found[origins.numbers == n].tolist() for n, s in enumerate(origins.store.symbols)}


def test_bars_up_to_the_last_of_each_split_are_marked(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=["A"], train="2024-01-04T00:00:00", val="2024-01-08T00:00:00")
    assert marks(source, "A") == {"A": ["trained", "validated", "", ""]}


def test_other_symbols_of_the_same_days_are_marked_but_not_refused(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=["A"], train="2024-01-04T00:00:00", val="2024-01-08T00:00:00")
    assert marks(source, "A", "B")["B"] == ["period", "period", "", ""]
    origins = find_origins(store("B"), 3, 2, stride=4)
    assert require_unseen(origins, {"m": exposure(source)}, force=False)["m"].tolist() == ["period", "period", "", ""]
    assert clean_start(store("B"), {"m": exposure(source)}) is None


def test_without_names_any_symbol_may_have_been_seen(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=None, train="2024-01-04T00:00:00", val="2024-01-04T00:00:00")
    assert marks(source, "Z")["Z"] == ["trained", "", "", ""]


def test_symbols_of_many_sources_are_recognised(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=["crypto:kraken:BTCUSD@1D"], train="2024-01-04", val="2024-01-04")
    found = marks(source, "kraken:BTCUSD", "BTCUSD", "ETHUSD")
    assert {symbol: found[symbol][0] for symbol in found} == {
        "kraken:BTCUSD": "trained", "BTCUSD": "trained", "ETHUSD": "period",
    }  # fmt: skip


def test_replayed_bars_and_the_run_it_started_from_count(tmp_path: Path) -> None:
    first = run(tmp_path / "first", names=["A"], train="2024-01-12T00:00:00", val="2024-01-12T00:00:00")
    replay = {"splits": {"train": {"last": "2024-01-16T00:00:00"}}, "names": ["C"]}
    source = run(
        tmp_path / "r", names=["B"], train="2024-01-04T00:00:00", val="2024-01-04T00:00:00",
        start=f"{first}/predictor", replay=replay,
    )  # fmt: skip
    found = marks(source, "A", "B", "C")
    assert found["A"] == ["trained", "trained", "trained", "period"]
    assert found["C"] == ["trained"] * 4


def test_released_weights_may_have_seen_all_before_june_2024(tmp_path: Path) -> None:
    assert marks("NeoQuasar/Kronos-small", "A")["A"] == ["released"] * 4
    tuned = run(tmp_path / "r", names=["B"], train="2023-01-04", val="2023-01-04", start="NeoQuasar/Kronos-small")
    assert marks(tuned, "A")["A"] == ["released"] * 4
    with pytest.raises(DataError, match=r"up to 2024-06-30 .* there is none after that"):
        clean_start(store("A"), {"m": exposure(tuned)})


def test_a_folder_without_a_record_is_unknown(tmp_path: Path) -> None:
    assert marks(str(tmp_path), "A")["A"] == ["unknown"] * 4


def test_seen_windows_are_refused_unless_forced(tmp_path: Path) -> None:
    source = run(tmp_path / "r", names=["A"], train="2024-01-04T00:00:00", val="2024-01-08T00:00:00")
    origins = find_origins(store("A"), 3, 2, stride=4)
    with pytest.raises(DataError, match=r"1 of 4 windows for m: the model was trained .* pass --force"):
        require_unseen(origins, {"m": exposure(source)}, force=False)
    assert require_unseen(origins, {"m": exposure(source)}, force=True)["m"].tolist() == [
        "trained",
        "validated",
        "",
        "",
    ]
    assert clean_start(store("A"), {"m": exposure(source)}) == "2024-01-09"
