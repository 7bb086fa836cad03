"""The checkpoint that comes with the package loads by its name, without a network, and says how it is used."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import numpy as np
import pytest
from tests.training.conftest import ASSET

from chandler import Forecaster, Kronos, KronosTokenizer, load_bars
from chandler.evaluation.walk_forward.contamination import exposure
from chandler.hub import NANO
from chandler.training.settings import load_settings

FOLDER = Path(str(resources.files("chandler"))) / "assets" / "nano"


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")


def test_it_is_small_and_has_its_card() -> None:
    assert sum(path.stat().st_size for path in FOLDER.rglob("*") if path.is_file()) < 8_000_000
    card = (FOLDER / "README.md").read_text()
    for part in ("Data", "Recipe", "Results", "Limits"):
        assert f"## {part}" in card


def test_each_model_loads_by_the_name_of_both() -> None:
    count = sum(p.numel() for p in KronosTokenizer.from_pretrained(NANO).parameters())
    count += sum(p.numel() for p in Kronos.from_pretrained(NANO).parameters())
    assert count == 1_776_890


def test_it_forecasts_as_it_was_trained() -> None:
    forecaster = Forecaster.from_pretrained(NANO, device="cpu")
    assert (forecaster.name, forecaster.max_context, forecaster.lookback) == (NANO, 192, 128)
    assert forecaster.positions == "rotary"
    bars = load_bars(ASSET)["IBM"]
    forecast = forecaster.forecast(bars, horizon=5, paths=20)
    assert len(forecast.history) == 128
    closes = forecast.paths[:, :, 3] / bars.values[-1, 3]
    # Twenty paths of five days around the last close: near it, and not all the same.
    assert np.abs(np.median(closes) - 1) < 0.03
    assert 0.005 < closes[:, -1].std() < 0.1


def test_finetuning_inherits_how_it_is_used() -> None:
    start = {"tokenizer": {"start": NANO}, "predictor": {"start": NANO}}
    s = load_settings({"out": "x", "data": {"path": "bars.csv"}, **start})
    assert (s.context(), s.positions()) == (192, "rotary")
    assert load_settings({"out": "x", "data": {"path": "bars.csv"}}).positions() == "reference"


def test_what_it_was_trained_on_is_on_record() -> None:
    known = exposure(NANO)
    assert not known.unknown
    trained = {symbol: one.until for one in known.seen if one.kind == "trained" for symbol in one.symbols or ()}
    assert str(np.datetime64(trained["zipline_us4_1d:KO"], "ns"))[:10] == "2014-09-11"
    assert not {"AAPL", "FB", "GOOG", "IBM", "MSFT", "NVDA", "JFC", "XMR/BTC"} & trained.keys()
