"""Embeddings: the state that forecasts are read from, at every bar, and nothing that came later in it."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from chandler import Bars, BarStore, Forecaster, load_bars
from chandler.data.calendars import time_features
from chandler.data.datasets import normalise
from chandler.errors import ConfigError, DataError
from chandler.forecasting import embedding

GOLDEN = Path(__file__).parents[1] / "golden"
LOOKBACK = 20


@pytest.fixture(scope="module")
def store() -> BarStore:
    return load_bars("chandler-stocks", start="2012-09-03", end="2012-11-30")


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster.from_pretrained([GOLDEN / "tokenizer", GOLDEN / "predictor"], device="cpu", max_context=32)


@pytest.fixture(scope="module")
def table(forecaster: Forecaster, store: BarStore) -> pd.DataFrame:
    return forecaster.embed(store, lookback=LOOKBACK)


def test_a_row_is_the_last_hidden_state_of_its_window(
    forecaster: Forecaster, store: BarStore, table: pd.DataFrame
) -> None:
    ibm = store["IBM"]
    assert list(table.index.names) == ["symbol", "timestamp"]
    assert list(table.columns) == [f"h{place}" for place in range(forecaster.predictor.config.d_model)]
    assert set(table.dtypes) == {np.dtype(np.float32)}
    assert len(table) == 5 * (len(ibm) - LOOKBACK + 1)
    assert list(table.loc["IBM"].index) == list(ibm.timestamps[LOOKBACK - 1 :])
    for end in (LOOKBACK, 33, len(ibm)):
        window = ibm.slice(end - LOOKBACK, end)
        z, _, _ = normalise(window.values, LOOKBACK)
        with torch.no_grad():
            s1, s2 = forecaster.tokenizer.encode(torch.as_tensor(z)[None])
            stamps = torch.as_tensor(time_features(window.timestamps))[None]
            expected = forecaster.predictor.hidden(s1, s2, stamps)[0, -1].numpy()
        np.testing.assert_allclose(table.loc[("IBM", ibm.timestamps[end - 1])], expected, atol=1e-5)


def test_what_comes_later_changes_nothing(forecaster: Forecaster, store: BarStore, table: pd.DataFrame) -> None:
    bars = store["AAPL"]
    values = bars.values.copy()
    values[40:] *= np.linspace(2, 9, len(values) - 40)[:, None]
    made = forecaster.embed(replace(bars, values=values), lookback=LOOKBACK)
    before, after = made.index.get_level_values(1) < bars.timestamps[40], table.loc[["AAPL"]]
    np.testing.assert_allclose(made[before], after[before], atol=1e-5)
    assert (abs(made[~before].to_numpy() - after[~before].to_numpy()).max(axis=1) > 1e-3).all()


def test_a_factor_of_prices_changes_nothing(forecaster: Forecaster, store: BarStore, table: pd.DataFrame) -> None:
    made = forecaster.embed(replace(store["IBM"], values=8 * store["IBM"].values), lookback=LOOKBACK)
    near = np.abs(made - table.loc[["IBM"]]).max(axis=1) < 1e-3
    assert near.mean() > 0.95  # elsewhere a bit of a token lay on the edge


def test_the_company_of_a_window_changes_nothing(
    forecaster: Forecaster, store: BarStore, table: pd.DataFrame, monkeypatch: pytest.MonkeyPatch
) -> None:
    alone = forecaster.embed(store["MSFT"], lookback=LOOKBACK)
    pd.testing.assert_frame_equal(alone, table.loc[["MSFT"]], atol=1e-5)
    monkeypatch.setattr(embedding, "MOST_CPU", 3)
    pd.testing.assert_frame_equal(forecaster.embed(store, lookback=LOOKBACK), table, atol=1e-5)


def test_stores_frames_and_lists_give_the_same(
    forecaster: Forecaster, store: BarStore, table: pd.DataFrame, tmp_path: Path
) -> None:
    mapped = BarStore.open(store.save(tmp_path / "store"))
    for bars in (store.to_frame(), list(store), mapped):
        pd.testing.assert_frame_equal(forecaster.embed(bars, lookback=LOOKBACK), table, atol=1e-5)


def test_every_so_many_bars_from_the_first_on(forecaster: Forecaster, store: BarStore, table: pd.DataFrame) -> None:
    made = forecaster.embed(store, lookback=LOOKBACK, every=7)
    for symbol in store.symbols:
        assert list(made.loc[symbol].index) == list(table.loc[symbol].index[::7])
    own = Forecaster(forecaster.tokenizer, forecaster.predictor, device="cpu", max_context=32, lookback=LOOKBACK)
    pd.testing.assert_frame_equal(own.embed(store, every=7), made, atol=1e-5)


def test_no_window_crosses_a_segment(forecaster: Forecaster, store: BarStore) -> None:
    bars = replace(store["IBM"], segments=np.array([[0, 25], [30, 55]]))
    made = forecaster.embed(bars, lookback=LOOKBACK)
    expected = [*bars.timestamps[LOOKBACK - 1 : 25], *bars.timestamps[30 + LOOKBACK - 1 : 55]]
    assert list(made.index.get_level_values("timestamp")) == expected


def test_times_keep_the_zone_that_symbols_share(forecaster: Forecaster, store: BarStore) -> None:
    def zoned(zone: str, symbol: str) -> Bars:
        return replace(store[symbol], timestamps=store[symbol].timestamps.tz_localize(zone))

    same = forecaster.embed([zoned("Asia/Tokyo", "IBM"), zoned("Asia/Tokyo", "AAPL")], every=40, lookback=LOOKBACK)
    mixed = forecaster.embed([zoned("Asia/Tokyo", "IBM"), zoned("Europe/Rome", "AAPL")], every=40, lookback=LOOKBACK)
    assert str(same.index.levels[1].tz) == "Asia/Tokyo"
    assert str(mixed.index.levels[1].tz) == "UTC"
    assert same.index[0][1] == mixed.index[0][1]
    with pytest.raises(DataError, match=r"AAPL: its timestamps have no time zone while other symbols' have one"):
        forecaster.embed([zoned("Asia/Tokyo", "IBM"), store["AAPL"]], every=40, lookback=LOOKBACK)


def test_models_in_train_mode_are_embedded_without_dropout(
    forecaster: Forecaster, store: BarStore, table: pd.DataFrame
) -> None:
    forecaster.predictor.train()
    try:
        made = forecaster.embed(store["IBM"], lookback=LOOKBACK)
        assert forecaster.predictor.training
    finally:
        forecaster.predictor.eval()
    pd.testing.assert_frame_equal(made, table.loc[["IBM"]], atol=1e-5)


def test_what_is_too_short_is_named(forecaster: Forecaster, store: BarStore, table: pd.DataFrame) -> None:
    short = store["FB"].slice(0, 5)
    with pytest.warns(UserWarning, match=r"1 symbol of 2 has no 20 unbroken rows to embed: FB\."):
        made = forecaster.embed([store["IBM"], short], lookback=LOOKBACK)
    pd.testing.assert_frame_equal(made, table.loc[["IBM"]], atol=1e-5)
    with pytest.raises(DataError, match=r"1 symbol has no 20 unbroken rows to embed: FB\. Lower lookback"):
        forecaster.embed(short, lookback=LOOKBACK)
    with pytest.warns(UserWarning, match="lookback 40: the model sees 32 bars"):
        assert len(forecaster.embed(store["IBM"], lookback=40)) == len(store["IBM"]) - 31


def test_impossible_requests_end_in_one_message(forecaster: Forecaster, store: BarStore) -> None:
    with pytest.raises(ConfigError, match="every must be a whole number >= 1, found 0"):
        forecaster.embed(store, every=0)
    with pytest.raises(ConfigError, match="lookback must be a whole number >= 2"):
        forecaster.embed(store, lookback=1)
    with pytest.raises(ConfigError, match=r"a window of 20 rows needs .* memory budget is 0\.0 MB"):
        forecaster.embed(store, lookback=LOOKBACK, memory_budget=10)
    broken = store["IBM"].values.copy()
    broken[30, 3] = np.nan
    with pytest.raises(DataError, match="IBM: values that are not finite, first at 2012-10-16"):
        forecaster.embed(replace(store["IBM"], values=broken), lookback=LOOKBACK)
    for wrong in (5, "bars.csv"):
        with pytest.raises(DataError, match="embed takes Bars, a frame, a store or a list of these, found"):
            forecaster.embed(wrong)
    with pytest.raises(DataError, match="the symbol comes twice"):
        forecaster.embed([store["IBM"], store["IBM"]], lookback=LOOKBACK)


def test_the_examples_of_the_page_run() -> None:
    page = (Path(__file__).parents[2] / "docs" / "embeddings.md").read_text(encoding="utf-8")
    names: dict[str, object] = {}
    [block] = re.findall(r"```python\n(.*?)```", page, flags=re.S)
    exec(block.replace("every=5", "every=40"), names)
    states = names["states"]
    assert isinstance(states, pd.DataFrame)
    assert states.shape[1] == 128
    assert (Path(__file__).parents[2] / "docs" / "regimes.png").is_file()
