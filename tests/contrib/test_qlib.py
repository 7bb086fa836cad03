"""Kronos in a workflow of Qlib, over the bundled stocks. Run by `make test-contrib`."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("qlib")

import qlib
from qlib.data.dataset import DatasetH

import chandler
from chandler import Forecaster, SignalHead, load_bars
from chandler.contrib.qlib import KronosModel
from chandler.data import write_qlib
from chandler.errors import CheckpointError, DataError
from chandler.forecasting import model_hash

ROOT = Path(__file__).parents[2]
SMALL: dict[str, Any] = {"horizon": 3, "paths": 4, "lookback": 32}
LOADER = {
    "class": "QlibDataLoader",
    "module_path": "qlib.data.dataset.loader",
    "kwargs": {"config": {"feature": [["$close"], ["close"]]}},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    store = load_bars(Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz")
    return write_qlib(store, tmp_path_factory.mktemp("qlib") / "qlib_data")


@pytest.fixture(scope="module")
def dataset(folder: Path) -> DatasetH:
    qlib.init(provider_uri=str(folder), region="us", kernels=1, logging_level=40)
    handler = {
        "class": "DataHandlerLP",
        "module_path": "qlib.data.dataset.handler",
        "kwargs": {"instruments": "all", "start_time": "2012-05-01", "end_time": "2013-03-01", "data_loader": LOADER},
    }
    segments = {"train": ("2012-05-01", "2012-11-30"), "test": ("2012-12-03", "2012-12-14")}
    return DatasetH(handler, segments)


def test_scores_are_mean_forecast_returns_of_what_was_known(dataset: DatasetH, folder: Path) -> None:
    model = KronosModel(**SMALL)
    model.fit(dataset)
    scores = model.predict(dataset)
    assert scores.index.names == ["datetime", "instrument"]
    assert len(scores) == 10 * 5
    bars = load_bars(f"qlib:{folder}")["IBM"]
    for number, day in enumerate(scores.index.unique(0)[:2]):
        place = bars.timestamps.get_loc(day)
        known = bars.slice(place - 31, place + 1)
        paths = Forecaster.from_pretrained("chandler-nano").forecast(known, 3, 4, seed=number).paths
        assert scores[day, "IBM"] == pytest.approx(paths[:, :, 3].mean() / known.values[-1, 3] - 1, abs=1e-6)
    again = pickle.loads(pickle.dumps(model))
    assert len(pickle.dumps(model)) < 1e4  # no models
    assert np.array_equal(again.predict(dataset), scores)


def test_an_instrument_is_scored_once_it_has_bars_enough(dataset: DatasetH) -> None:
    scores = KronosModel(**SMALL).predict(dataset, slice("2012-05-01", "2012-07-31"))
    first = scores.reset_index().groupby("instrument")["datetime"].min()
    assert first["FB"] == pd.Timestamp("2012-07-03")  # traded since 18 May: 32 bars
    assert (first.drop("FB") == pd.Timestamp("2012-05-01")).all()
    with pytest.raises(DataError, match="no instrument has 128 bars"):
        KronosModel(lookback=128).predict(_only(dataset, "FB"), slice("2012-06-01", "2012-06-05"))


def _only(dataset: DatasetH, name: str) -> Any:
    """A dataset of one instrument."""

    class One:
        def prepare(self, segment: Any, **more: Any) -> pd.DataFrame:
            frame = dataset.prepare(segment, **more)
            return frame[frame.index.get_level_values(1) == name]

    return One()


def test_a_signal_head_scores_as_it_does_by_itself(dataset: DatasetH, folder: Path, tmp_path: Path) -> None:
    forecaster = Forecaster.from_pretrained("chandler-nano", device="cpu")
    width = forecaster.predictor.config.d_model
    draw = np.random.default_rng(0)
    weights = {
        "mean": np.zeros(width, np.float32),
        "std": np.ones(width, np.float32),
        "weight": draw.normal(size=(2, width)).astype(np.float32),
        "bias": np.zeros(2, np.float32),
    }
    head = SignalHead(weights, horizon=5, lookback=24, predictor=model_hash(forecaster))
    head.save(tmp_path)
    scores = KronosModel(signal=str(tmp_path), device="cpu").predict(dataset)
    direct = head.score(forecaster, load_bars(f"qlib:{folder}")["MSFT"])
    day = scores.index.unique(0)[-1]
    assert scores[day, "MSFT"] == pytest.approx(direct["MSFT", day], abs=1e-4)
    with pytest.raises(CheckpointError, match="signal"):
        KronosModel(signal=str(tmp_path / "none")).fit(dataset)


def test_the_workflow_in_configs_runs(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "qlib_data").symlink_to(folder)
    text = (ROOT / "configs/qlib/workflow.yaml").read_text(encoding="utf-8").replace("paths: 10", "paths: 2")
    (tmp_path / "workflow.yaml").write_text(text.replace("test: [2012-11-01", "test: [2013-01-15"), encoding="utf-8")
    where = os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    command = [sys.executable, "-m", "qlib.cli.run", "workflow.yaml"]
    done = subprocess.run(command, cwd=tmp_path, env=where, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    (made,) = tmp_path.glob("mlruns/**/pred.pkl")
    scores = pd.read_pickle(made)["score"]
    assert scores.index.names == ["datetime", "instrument"]
    assert len(scores) > 50
    assert list(tmp_path.glob("mlruns/**/report_normal_1day.pkl"))
