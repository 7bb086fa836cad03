"""The adapters without their libraries: what a core install says, and the bars that columns become."""

from __future__ import annotations

import importlib
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from chandler.contrib import MissingLibrary
from chandler.contrib.series import columns_as_bars
from chandler.data import FEATURES, load_bars
from chandler.errors import ConfigError, DataError

ROOT = Path(__file__).parents[2]
LIBRARIES = ("sktime", "fev", "qlib")


@pytest.mark.parametrize("library", LIBRARIES)
def test_a_library_that_is_missing_is_named_with_its_install_command(
    library: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == library]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, library, None)  # as if it were not installed
    monkeypatch.delitem(sys.modules, f"chandler.contrib.{library}", raising=False)
    with pytest.raises(MissingLibrary) as told:
        importlib.import_module(f"chandler.contrib.{library}")
    assert isinstance(told.value, ImportError)
    assert isinstance(told.value, ConfigError)
    (extra,) = re.findall(r'pip install "chandler-kronos\[(\w+)\]"', str(told.value))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert any(library in one for one in project["optional-dependencies"][extra])


def test_the_door_opens_without_any_of_them() -> None:
    code = (
        "import sys, chandler.contrib, chandler.contrib.series, chandler.cli;"
        f"print(sorted({set(LIBRARIES)} & set(sys.modules)))"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert said.strip() == "[]"


TIMES = pd.date_range("2024-01-01", periods=30, unit="s")


def test_candles_are_one_symbol_and_every_other_column_is_its_own() -> None:
    close = np.linspace(10.0, 12.0, 30)
    frame = pd.DataFrame({"sales": -close, "Close": close, "Open": close, "High": close + 1, "Low": close - 1})
    candles, sales = columns_as_bars(frame, TIMES, "shop")
    assert candles.features == {1: 3, 2: 0, 3: 1, 4: 2}
    assert np.array_equal(candles.bars.values[:, :4], frame[["Open", "High", "Low", "Close"]])
    assert sales.features == {0: FEATURES.index("close")}
    assert sales.bars.symbol == "shop/sales"
    assert (sales.bars.values[:, :4] == frame[["sales"]].to_numpy()).all()
    assert not sales.bars.values[:, 4:].any()
    assert candles.bars.timestamps.unit == sales.bars.timestamps.unit == "ns"


def test_prices_without_a_close_are_no_candles_and_impossible_candles_are_told() -> None:
    frame = pd.DataFrame(dict.fromkeys(("open", "high", "low"), np.arange(30.0)))
    assert [one.features for one in columns_as_bars(frame, TIMES)] == [{0: 3}, {1: 3}, {2: 3}]
    with pytest.raises(DataError, match="close"):
        columns_as_bars(frame.assign(close=-1.0) + 1, TIMES)


def test_a_candle_column_is_read_as_load_bars_reads_it() -> None:
    store = load_bars(ROOT / "src/chandler/assets/bokeh_stocks_1d.csv.gz")
    frame = store["IBM"].tail(50).to_frame()
    (candles,) = columns_as_bars(frame, frame.index)
    assert np.allclose(candles.bars.values, frame.to_numpy())
