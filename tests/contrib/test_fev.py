"""Kronos on a small task of fev, from a file. Run by `make test-contrib`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

pytest.importorskip("fev")

import datasets
import fev

import chandler
from chandler import Forecaster, load_bars
from chandler.contrib.fev import KronosModel
from chandler.data import FEATURES
from chandler.errors import DataError
from chandler.forecasting import ForecastSettings

SMALL = ForecastSettings(paths=8, lookback=32)
PRICES = list(FEATURES[:4])
ROWS = 120


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Three stocks as if they traded every business day, as fev wants times."""
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    store = load_bars(Path(chandler.__file__).parent / "assets" / "bokeh_stocks_1d.csv.gz")
    days = pd.bdate_range("2012-01-02", periods=ROWS)
    tables = [
        pd.DataFrame(store[name].tail(ROWS).values, columns=list(FEATURES)).assign(id=name, timestamp=days)
        for name in ("AAPL", "IBM", "MSFT")
    ]
    path = tmp_path / "stocks" / "data.parquet"
    path.parent.mkdir()
    pd.concat(tables).to_parquet(path)
    return str(path)


def task(file: str, **more: object) -> fev.Task:
    given = {"target": "close", "horizon": 4, "num_windows": 2, "quantile_levels": [0.1, 0.9], "eval_metric": "WQL"}
    return fev.Task(dataset_path=file, **given | more)


def test_a_task_is_predicted_and_scored(file: str) -> None:
    one, model = task(file, extra_metrics=["MASE"]), KronosModel(settings=SMALL)
    made = model.fit_predict(one)
    assert len(made) == 2
    assert made[0]["close"].features == one.predictions_schema
    summary = one.evaluation_summary(made, model_name="chandler", inference_time_s=model.inference_time)
    assert summary["num_forecasts"] == 6
    assert 0 < summary["test_error"] < 0.2
    assert fev.ForecastingModel.get_model_cls("chandler") is KronosModel


def test_a_close_is_forecast_from_its_candles_where_they_are_known(file: str) -> None:
    one = task(
        file, past_dynamic_columns=["open", "high", "low", "volume", "amount"], eval_metric="RMSE", num_windows=1
    )
    (made,) = KronosModel(settings=SMALL).fit_predict(one)
    frame = pd.read_parquet(file).query("id == 'AAPL'").set_index("timestamp")[list(FEATURES)]
    forecaster = Forecaster.from_pretrained("chandler-nano")
    direct = forecaster.forecast(frame.iloc[:-4], 4, 8, lookback=32, timestamps=frame.index[-4:])
    first = made["close"].with_format("numpy")[0]
    assert np.allclose(first["predictions"], direct.mean()["close"], rtol=1e-5)
    assert np.allclose(first["0.9"], direct.quantiles([0.9], "close")[0.9], rtol=1e-5)
    (alone,) = KronosModel(settings=SMALL).fit_predict(task(file, num_windows=1))
    assert not np.allclose(alone["close"].with_format("numpy")[0]["predictions"], first["predictions"], rtol=1e-5)


def test_the_point_is_what_the_metric_wants(file: str) -> None:
    points = [
        KronosModel(settings=SMALL).fit_predict(task(file, eval_metric=metric, num_windows=1))[0]["close"][
            "predictions"
        ]
        for metric in ("MASE", {"name": "RMSE"})
    ]
    assert not np.allclose(points[0], points[1], rtol=1e-6)


def test_several_targets_and_holes(file: str) -> None:
    table = pd.read_parquet(file)
    table.loc[table.index[5:9], "open"] = np.nan
    table.to_parquet(file)
    (made,) = KronosModel(settings=SMALL).fit_predict(task(file, target=["open", "close"], num_windows=1))
    assert set(made) == {"open", "close"}
    assert all(np.isfinite(part["predictions"]).all() for part in made.values())


def test_a_series_of_one_value_is_told(file: str) -> None:
    table = pd.read_parquet(file)
    pd.concat([table[table["id"] == "IBM"].head(5), table[table["id"] != "IBM"]]).to_parquet(file)
    with pytest.raises(DataError, match=r"IBM.*1 row"):
        KronosModel(settings=SMALL).fit_predict(task(file, num_windows=1))
    made = KronosModel(settings=SMALL).fit_predict(task(file, num_windows=1, min_context_length=2))
    assert len(made[0]["close"]) == 2
