"""A signal head as the source of what is traded: on later bars than any that made it, and of the model that it belongs to."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tests.shell import chandler

from chandler import Forecaster, load_bars
from chandler.errors import CheckpointError, ConfigError, DataError
from chandler.evaluation.backtest import backtest, load_backtest
from chandler.forecasting import SignalHead, model_hash

GOLDEN = Path(__file__).parents[2] / "golden"
MODEL = f"{GOLDEN / 'tokenizer'}+{GOLDEN / 'predictor'}"
SMALL = ["data.path=chandler-stocks", "data.start=2012-08-01", "data.end=2012-10-31", "every=5", "random=2", "momentum=10",
         "portfolio.k=2"]  # fmt: skip


@pytest.fixture(scope="module")
def forecaster() -> Forecaster:
    return Forecaster.from_pretrained([GOLDEN / "tokenizer", GOLDEN / "predictor"], device="cpu")


@pytest.fixture(scope="module")
def head(forecaster: Forecaster) -> SignalHead:
    width = forecaster.predictor.config.d_model
    tensors = {"mean": np.zeros(width), "std": np.ones(width), "weight": np.eye(1, width), "bias": np.zeros(1)}
    about = {"validation": {"until": "2012-09-14 00:00:00"}}
    floats = {name: one.astype(np.float32) for name, one in tensors.items()}
    return SignalHead(floats, 3, 12, model_hash(forecaster), about)


@pytest.fixture
def place(head: SignalHead, tmp_path: Path) -> Path:
    head.save(tmp_path / "head")
    return tmp_path


def run(place: Path, *more: str, force: bool = False) -> Path:
    settings = load_backtest({}, [*SMALL, f"model={MODEL}", f"head={place / 'head'}", f"out={place / 'bt'}", *more])
    return backtest(settings, force=force)


def test_its_scores_are_traded(place: Path, head: SignalHead, forecaster: Forecaster) -> None:
    options = [part for one in SMALL for part in ("--set", one)]
    command = ["backtest", "--model", MODEL, *options, "--set", f"head={place / 'head'}", "--out", place / "bt"]
    assert chandler(*command) == 0
    signals = pd.read_parquet(place / "bt" / "signals.parquet")
    assert signals["timestamp"].min() == pd.Timestamp("2012-09-14")  # what is traded comes after it
    bars = load_bars("chandler-stocks", start="2012-08-01", end="2012-10-31")
    scores = head.score(forecaster, bars)
    for row in signals.itertuples():
        assert row.score == pytest.approx(scores[(row.symbol, row.timestamp)], abs=1e-5)
    summary = json.loads((place / "bt" / "summary.json").read_text())
    assert (summary["kind"], summary["lookback"], summary["horizon"]) == ("head", 12, 3)
    assert summary["signal"] == "signal head"
    assert not any("head was fitted" in note for note in summary["notes"])
    page = (place / "bt" / "report.html").read_text()
    assert "of the last 12 bars, for the 3 to come" in page
    assert chandler(*command) == 0  # again, into the same folder


def test_bars_that_made_it_are_refused_or_said(place: Path) -> None:
    with pytest.raises(DataError, match=r"fitted and chosen on bars up to 2012-09-14.*force=True"):
        run(place, "start=2012-09-10")
    summary = json.loads((run(place, "start=2012-09-10", force=True) / "summary.json").read_text())
    assert any("signals: the head was fitted or chosen on these bars." in note for note in summary["notes"])


def test_it_is_traded_with_its_own_model_alone(place: Path, head: SignalHead, tmp_path: Path) -> None:
    replace(head, predictor="0" * 16).save(place / "head")
    with pytest.raises(CheckpointError, match="this signal head belongs to other weights"):
        run(place)
    assert not (place / "bt" / "summary.json").exists()
    with pytest.raises(CheckpointError, match=r"nowhere has no signal/head\.json"):
        run(place, f"head={tmp_path / 'nowhere'}")
    with pytest.raises(ConfigError, match="give model as well as head"):
        load_backtest({}, ["data.path=x", "signals=s.csv", "head=h"])
    with pytest.raises(ConfigError, match="has its own lookback and horizon"):
        run(place, "lookback=20")
