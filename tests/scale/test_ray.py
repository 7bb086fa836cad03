"""The engine of Ray on two cores: equal numbers, workers and drivers that are killed, what a user is told."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from chandler import Bars, BarStore, ConfigError, DataError, Forecaster, TrainingError, evaluate
from chandler.engines import FewerAtATime, RayEngine, cluster
from chandler.evaluation.walk_forward import load_evaluation
from chandler.forecasting import ForecastSettings, write_table
from chandler.scale import forecast_parts
from tests.scale import calls
from tests.scale.conftest import universe
from tests.scale.killing import PartWatch, kill_drivers
from tests.scale.test_parts import ASSET

HOW = ForecastSettings(paths=5, lookback=32)
TWO = RayEngine(workers=2)
pytest.importorskip("ray")


def expected(store: BarStore, horizon: int, path: Path) -> pd.DataFrame:
    """What one call in this process gives."""
    found = Forecaster.from_pretrained("chandler-nano", device="cpu").forecast_with(HOW, store, horizon, seed=3)
    return pd.read_parquet(write_table(found, path))


def test_killed_workers_lose_and_repeat_nothing(ray: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    store, out = universe(60), tmp_path / "f.parquet"
    watch = PartWatch(tmp_path, kills=6, pause=1.0)
    watch.start()
    with pytest.warns(UserWarning, match="a worker was lost: what it had in hand is made again"):
        forecast_parts("chandler-nano", store, 3, out, settings=HOW, seed=3, chunk=2, device="cpu", engine=TWO)
    assert watch.stop() >= 3
    assert len(watch.seen) == 30
    one, other = expected(store, 3, tmp_path / "whole.parquet"), pd.read_parquet(out)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one.attrs == other.attrs
    time.sleep(2)  # what Ray says of a lost worker comes late, if it comes
    assert capfd.readouterr().out == ""


def test_killed_drivers_lose_and_repeat_nothing(tmp_path: Path) -> None:
    store, out = universe(16), tmp_path / "f.parquet"
    store.save(tmp_path / "bars")
    command = ["forecast", tmp_path / "bars", "--horizon", 3, "--paths", 5, "--lookback", 32, "--seed", 3, "--device", "cpu",
               "--out", out, "--engine", "ray", "--workers", 2, "--chunk", 2]  # fmt: skip
    assert kill_drivers(command, tmp_path / "f.parquet.parts" / "parts", 1) == 1
    pd.testing.assert_frame_equal(expected(store, 3, tmp_path / "w.parquet"), pd.read_parquet(out), check_exact=True)


def test_an_evaluation_has_the_same_bytes(ray: Any, tmp_path: Path) -> None:
    raw = {
        "data": {"path": str(ASSET), "symbols": ["AAPL", "IBM"], "start": "2011-01-03"}, "models": ["nano=chandler-nano"],
        "lookback": 24, "horizon": 2, "paths": 20, "origins": 20, "chunk": 7, "device": "cpu", "start": "2012-09-01",
        "baselines": ["last_close", "bootstrap", "dlinear"], "stride": 2,
    }  # fmt: skip
    for name, engine in (("one", "local"), ("many", "ray")):
        evaluate(load_evaluation({**raw, "out": str(tmp_path / name)}), engine=engine, force=True)
    assert (tmp_path / "one" / "scores.parquet").read_bytes() == (tmp_path / "many" / "scores.parquet").read_bytes()
    assert "nano (calibrated)" in set(pd.read_parquet(tmp_path / "many" / "scores.parquet")["model"])


def test_a_mistake_is_one_error_of_its_own_class(ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    days = pd.bdate_range("2023-01-02", periods=1)
    store = BarStore.from_bars([*universe(3), Bars("SHORT", days, np.full((1, 6), 5.0))])
    with pytest.raises(DataError, match="SHORT: 1 row of history") as raised:
        forecast_parts(
            "chandler-nano", store, 2, tmp_path / "f.parquet", settings=HOW, chunk=1, device="cpu", engine=TWO
        )
    assert type(raised.value) is DataError
    with pytest.raises(ConfigError, match=r"no node has 64 cores and 0 GPUs.*: 2 cores, 0 GPUs"):
        list(RayEngine(cpus=64).spread(calls.touch, [(1,)], (tmp_path,)))
    monkeypatch.setattr(cluster, "_versions", lambda: (("chandler", "9.9"), ("torch", "1.0")))
    with pytest.raises(ConfigError, match=r"has chandler .*, and here are chandler 9\.9, torch 1\.0"):
        list(TWO.spread(calls.touch, [(1,)], (tmp_path,)))


def test_a_cluster_that_is_not_there_is_said(ray: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    for address, told in (
        ("127.0.0.1:9", "nobody answers there"),
        ("ray://head:10001", "run this on a node of the cluster"),
    ):
        with pytest.raises(ConfigError, match=told), RayEngine(address=address).session():
            pass


def test_memory_that_does_not_suffice_names_the_symbol(
    ray: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "RETRIES", 0)
    smaller = FewerAtATime(lambda item: tmp_path / item[0])
    assert list(TWO.spread(calls.heavy, [("wide", 64)], (tmp_path,), smaller)) == [1]
    with pytest.raises(ConfigError, match="TSLA: its forecast alone ended its worker again and again"):
        list(TWO.spread(calls.heavy, [("killer", 8)], (tmp_path,), smaller))
    with pytest.raises(TrainingError, match="its process was lost 1 times"):
        list(TWO.spread(calls.heavy, [("killer", 8)], (tmp_path,)))


def test_no_more_is_started_than_is_taken(ray: Any, tmp_path: Path) -> None:
    results = TWO.spread(calls.touch, [(number,) for number in range(50)], (tmp_path,))
    next(results)
    time.sleep(1)
    assert len(list(tmp_path.iterdir())) <= 5
    assert len(list(results)) == 49
    assert list(TWO.spread(calls.touch, [], (tmp_path,))) == []


def test_a_worker_has_its_cores_and_its_part_of_the_memory(ray: Any) -> None:
    assert list(TWO.spread(calls.worker, [(1,)])) == [(1, 2, os.nice(0))]
    assert list(RayEngine(cpus=2).spread(calls.worker, [(1,)])) == [(2, 1, os.nice(0))]
