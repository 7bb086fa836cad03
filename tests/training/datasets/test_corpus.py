"""Many sources as one store: names, weights, one cut in time for all intervals, and a run over them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from tests.training.conftest import ASSET

from chandler.errors import ChandlerError
from chandler.training.datasets.augment import Batch
from chandler.training.datasets.corpus import read_corpus
from chandler.training.datasets.sources import load_sources
from chandler.training.engine.stages import PredictorStage
from chandler.training.run import finetune
from chandler.training.settings import PRETRAINING, DataSettings, load_settings


def minutes(folder: Path, days: int = 10, symbol: str = "X") -> None:
    """Bars of one minute around the clock, from midnight to midnight."""
    count = days * 1440
    close = 100 + np.cumsum(np.random.default_rng(1).normal(0, 0.01, count))
    times = pd.date_range("2024-01-01", periods=count, freq="min")
    frame = {"timestamp": times, "open": close, "high": close, "low": close, "close": close, "volume": 1.0}
    pd.DataFrame(frame).to_csv(folder / f"{symbol}.csv", index=False)


def settings(folder: Path, *sources: dict[str, Any], **more: Any) -> DataSettings:
    given = {"folder": str(folder), "sources": list(sources), "lookback": 20, "horizon": 4, **more}
    return load_settings({"out": "x", "data": given}).data


def test_a_source_is_a_series_for_each_interval_and_all_are_cut_at_one_midnight(tmp_path: Path) -> None:
    minutes(tmp_path)
    source = {"path": "X.csv", "intervals": ["15min", "1h", "1D"], "calendar": "24/7"}
    corpus = read_corpus(settings(tmp_path, source, split={"train": 0.8, "val": 0.2}))
    assert corpus.store.symbols == ("X:X", "X:X@15min", "X:X@1h", "X:X@1D")
    assert np.diff(corpus.store.offsets).tolist() == [14400, 960, 240, 10]
    first = pd.to_datetime(np.asarray(corpus.store.timestamps)[corpus.ranges["val"][:, 0]])
    last = pd.to_datetime(np.asarray(corpus.store.timestamps)[corpus.ranges["train"][:, 1] - 1])
    assert set(first) == {pd.Timestamp("2024-01-09")}
    # One bar between the parts is in neither: of bars named by their opening, the last could reach over the cut.
    assert list(last) == [pd.Timestamp(t) for t in ("2024-01-08 23:58", "2024-01-08 23:30", "2024-01-08 22:00",
                                                    "2024-01-07")]  # fmt: skip


@pytest.mark.parametrize(("end", "weeks"), [("2024-02-25", 8), ("2024-02-24", 7), ("2024-02-19", 7), ("2024-02-18", 6)])
def test_no_coarse_bar_tells_of_what_validates(tmp_path: Path, end: str, weeks: int) -> None:
    """Eight weeks from a Monday: where the cut is in the last, none follows it. One bar is left out before one that follows."""
    minutes(tmp_path, days=56)
    source = {"path": "X.csv", "intervals": ["1W", "1D"], "calendar": "24/7"}
    corpus = read_corpus(settings(tmp_path, source, split={"train_end": end}))
    _, week, day = corpus.ranges["train"]
    times = pd.to_datetime(np.asarray(corpus.store.timestamps))
    assert week[1] - week[0] == weeks
    for (lo, hi), width in ((week, 7), (day, 1)):
        assert times[hi - 1] + pd.Timedelta(width, "D") <= pd.Timestamp(end) + pd.Timedelta(1, "D")
        assert hi > lo


def test_a_symbol_counts_by_the_root_of_its_windows_times_the_weight_of_its_source(tmp_path: Path) -> None:
    minutes(tmp_path)
    minutes(tmp_path, symbol="Y")
    given = {"data": {"folder": str(tmp_path), "sources": [{"path": "X.csv", "weight": 3}, {"path": "Y.csv"}],
                      "lookback": 20, "horizon": 4, "weighting": 0.5, "windows_per_epoch": 400}}  # fmt: skip
    sources = load_sources(load_settings({"out": "x", **given}))
    drawn = sources.train.order(seed=1, epoch=1)
    assert np.bincount(drawn >= sources.train.main.counts[0]).tolist() == [300, 100]


def test_a_corpus_is_no_walk_forward(tmp_path: Path) -> None:
    minutes(tmp_path)
    walk = {"walk": {"folds": 2, "test": 100, "val": 100}}
    with pytest.raises(ChandlerError, match=r"data\.split\.walk is for data\.path"):
        read_corpus(settings(tmp_path, {"path": "X.csv"}, split=walk))


def test_the_rows_of_each_symbol_are_no_measure_of_a_corpus(tmp_path: Path) -> None:
    minutes(tmp_path)
    minutes(tmp_path, 4, "Y")
    each: list[dict[str, Any]] = [{"path": "*.csv", "symbols": [symbol]} for symbol in "XY"]
    with pytest.raises(ChandlerError, match=r"data\.split\.per: symbol is for data\.path: .*a source of its own"):
        read_corpus(settings(tmp_path, {"path": "*.csv"}, split={"per": "symbol"}))
    dated = {"per": "symbol", "train_end": "2024-01-03"}
    assert (
        read_corpus(settings(tmp_path, {"path": "*.csv"}, split=dated)).ranges["val"][:, 0]
        == [3 * 1440, 14400 + 3 * 1440]
    ).all()
    begins = read_corpus(settings(tmp_path, *each, split={"train": 0.75, "val": 0.25})).ranges["val"][:, 0]
    assert begins.tolist() == [7 * 1440, 14400 + 3 * 1440]  # what the message offers


def test_symbols_are_left_out_and_what_is_not_there_is_told(tmp_path: Path) -> None:
    source = {"path": ASSET.name, "leave_out": ["FB", "IBM"]}
    corpus = read_corpus(settings(ASSET.parent, source))
    assert [symbol.split(":")[1] for symbol in corpus.store.symbols] == ["AAPL", "GOOG", "MSFT"]
    with pytest.raises(ChandlerError, match=r"leave_out names TSLA, which it does not have"):
        read_corpus(settings(ASSET.parent, source | {"leave_out": ["TSLA"]}))
    with pytest.raises(ChandlerError, match=r"data\.sources\[1\]: .*none\.csv"):
        read_corpus(settings(ASSET.parent, source, {"path": "none.csv"}))


def test_pretraining_is_the_same_run_from_random_weights(config: dict[str, Any]) -> None:
    source = {"path": ASSET.name, "intervals": ["1W"], "leave_out": ["FB"]}
    del config["data"]["path"], config["data"]["symbols"]
    config["data"] |= {"folder": str(ASSET.parent), "sources": [source]}
    config["predictor"] |= {"loss": "horizon", "least_lookback": 10}
    run = finetune(load_settings(config, defaults=PRETRAINING))
    stages = run.summary["stages"]
    assert [stages[name]["status"] for name in ("tokenizer", "predictor")] == ["improved", "improved"]
    assert stages["predictor"]["measure"] == "nll_horizon"
    assert run.summary["data"]["symbols"] == 8
    assert len(load_sources(run.settings).validation) == stages["predictor"]["validation_windows"]


def test_the_loss_over_the_horizon_counts_its_bars_alone() -> None:
    stage = PredictorStage(torch.nn.Identity(), torch.nn.Identity(), lookback=4, over="horizon")  # type: ignore[arg-type]
    values, g = torch.zeros(2, 7, 6), torch.Generator().manual_seed(0)
    logits, ids = torch.randn(2, 6, 4, generator=g), torch.randint(4, (2, 7), generator=g)
    each = -logits.log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    # Output i predicts row i + 1: rows 4, 5, 6 follow a lookback of 4.
    loss = stage._mean(logits, ids, Batch(values, values, values[..., 0]))
    assert float(loss) == pytest.approx(float(each[:, 3:].mean()), rel=1e-6)
    # Windows count alike, however many of their bars are trained.
    loss = stage._mean(logits, ids, Batch(values, values, values[..., 0], torch.tensor([3, 6])))
    assert float(loss) == pytest.approx(float(each[0, 2:].mean() + each[1, 5:].mean()) / 2, rel=1e-6)
