"""Parts without Ray: the same numbers as in one call, going on, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from chandler import BarStore, ConfigError, Forecaster, evaluate
from chandler.engines import Local
from chandler.evaluation.walk_forward import load_evaluation
from chandler.forecasting import ForecastSettings, table_text, write_table
from chandler.scale import forecast_parts
from tests.shell import chandler

ASSET = Path(__file__).parents[2] / "src" / "chandler" / "assets" / "bokeh_stocks_1d.csv.gz"
HOW = ForecastSettings(paths=3, lookback=24)


@dataclass(frozen=True)
class Spreads:
    """What an engine of many processes does, here: in another order, up to a number of calls."""

    most: int = 1000

    def spread(self, function: Any, items: Any, common: Any = (), smaller: Any = None) -> Iterator[Any]:
        for item in list(items)[::-1][: self.most]:
            yield function(*common, *item)
        if len(items) > self.most:
            raise KeyboardInterrupt


def test_parts_are_what_one_call_gives_and_go_on(store: BarStore, tmp_path: Path) -> None:
    whole = Forecaster.from_pretrained("chandler-nano", device="cpu").forecast_with(HOW, store, 2, seed=3)
    write_table(whole, tmp_path / "whole.parquet")
    out, told = tmp_path / "f.parquet", {"settings": HOW, "seed": 3, "chunk": 3, "device": "cpu"}
    with pytest.raises(KeyboardInterrupt):
        forecast_parts("chandler-nano", store, 2, out, engine=Spreads(2), **told)
    parts = sorted((tmp_path / "f.parquet.parts" / "parts").glob("*"))
    assert [path.name for path in parts] == ["000002.parquet", "000003.parquet"]
    before = [path.stat().st_mtime_ns for path in parts]
    with pytest.raises(KeyboardInterrupt):
        forecast_parts("chandler-nano", store, 2, out, engine=Spreads(1), **told)
    assert [path.stat().st_mtime_ns for path in parts] == before
    with pytest.raises(ConfigError, match=r"other settings \(seed changed\)"):
        forecast_parts("chandler-nano", store, 2, out, engine="local", **told | {"seed": 4})
    rows = forecast_parts("chandler-nano", store, 2, out, engine="local", **told)
    assert table_text(rows) == table_text(whole)
    assert not out.with_name("f.parquet.parts").exists()
    one, other = pd.read_parquet(tmp_path / "whole.parquet"), pd.read_parquet(out)
    pd.testing.assert_frame_equal(one, other, check_exact=True)
    assert one.attrs == other.attrs


def test_workers_keep_to_the_memory_that_is_given(store: BarStore, tmp_path: Path) -> None:
    """It is no part of what is forecast: the same parts go on with more."""
    out, told = tmp_path / "f.parquet", {"seed": 3, "chunk": 3, "device": "cpu"}
    with pytest.raises(ConfigError, match="memory"):
        forecast_parts(
            "chandler-nano", store, 2, out, engine="local", settings=replace(HOW, memory_budget=1000), **told
        )
    rows = forecast_parts(
        "chandler-nano", store, 2, out, engine="local", settings=replace(HOW, memory_budget=10**9), **told
    )
    assert len(rows) == len(store)


def test_a_part_of_other_settings_is_refused(store: BarStore, tmp_path: Path) -> None:
    told = {"settings": HOW, "chunk": 5, "device": "cpu"}
    for seed, most in ((0, 1), (1, 1)):
        with pytest.raises(KeyboardInterrupt):
            forecast_parts(
                "chandler-nano", store, 1, tmp_path / f"{seed}.parquet", engine=Spreads(most), seed=seed, **told
            )
    foreign = tmp_path / "1.parquet.parts" / "parts" / "000001.parquet"
    (tmp_path / "0.parquet.parts" / "parts" / "000000.parquet").write_bytes(foreign.read_bytes())
    with pytest.raises(ConfigError, match=r"000000\.parquet is a part of a forecast with other settings"):
        forecast_parts("chandler-nano", store, 1, tmp_path / "0.parquet", engine="local", seed=0, **told)
    assert not (tmp_path / "0.parquet").exists()


def test_what_forecast_refuses(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("chandler.cli.options.require_ray", lambda: None)  # this is said with Ray and without
    for options, told in (
        (["--engine", "ray"], "Give --out FILE.parquet"),
        (["--engine", "ray", "--out", tmp_path / "f.csv"], "the name must end in .parquet"),
        (["--engine", "ray", "--out", tmp_path / "f.parquet", "--plot", "f.png"], "alone, without --plot"),
        (["--workers", "2"], "--workers: for workers of Ray, give --engine ray as well"),
        (["--chunk", "2"], "--chunk cuts the work of --engine ray"),
    ):
        assert chandler("forecast", ASSET, *options) == 2
        assert told in capsys.readouterr().err


def test_an_evaluation_on_an_engine_is_that_of_one_process(tmp_path: Path) -> None:
    raw = {
        "data": {"path": str(ASSET), "symbols": ["AAPL", "IBM"], "start": "2010-01-04"}, "models": ["nano=chandler-nano"],
        "lookback": 24, "horizon": 2, "paths": 4, "origins": 20, "calibration": "stored", "chunk": 7, "device": "cpu",
        "start": "2012-06-01", "baselines": ["last_close", "dlinear", "volume_by_time_of_day"],
    }  # fmt: skip
    for name, engine in (("one", Local()), ("many", Spreads())):
        evaluate(load_evaluation({**raw, "out": str(tmp_path / name)}), engine=engine, force=True)
    assert (tmp_path / "one" / "scores.parquet").read_bytes() == (tmp_path / "many" / "scores.parquet").read_bytes()
    assert (tmp_path / "one" / "evaluation.json").read_bytes() == (tmp_path / "many" / "evaluation.json").read_bytes()
    assert sorted(path.name for path in (tmp_path / "many").iterdir()) == sorted(
        path.name for path in (tmp_path / "one").iterdir()
    )
