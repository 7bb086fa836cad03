"""Tables of many symbols: made in parts, charts in between, one bad symbol no harm, files as `to_frame` has them."""

from __future__ import annotations

import io
import time
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.serving.conftest import Client, bars

from chandler import Forecaster
from chandler.forecasting import forecasts_to_frame

A = "/api/v1"


def universe(symbols: int, rows: int = 60) -> pd.DataFrame:
    """Daily bars of many symbols, the third with too few of them."""
    whole = []
    for number in range(symbols):
        one = bars(rows if number != 2 else 1, freq="1D", seed=number)
        whole.append(one.assign(symbol=f"S{number:03d}"))
    return pd.concat(whole, ignore_index=True)


@pytest.fixture(scope="module")
def asked(api: Client) -> dict[str, Any]:
    """Forty symbols, one of which has a single bar."""
    body = io.BytesIO()
    universe(40).to_parquet(body)
    sent = api.call("POST", f"{A}/uploads?name=universe.parquet", body.getvalue())
    assert sent.status == 201, sent.body
    source = api.settled(sent.json["source_id"])
    assert source["state"] == "ready", source
    [nano] = [one["id"] for one in api.get("/models")["models"] if one["kind"] == "bundled"]
    symbols = [f"S{number:03d}" for number in range(40)]
    return {"source_id": source["id"], "model_id": nano, "symbols": symbols, "horizon": 2, "paths": 5}


def ended(api: Client, id: str) -> dict[str, Any]:
    for _ in range(1200):
        told: dict[str, Any] = api.get(f"/forecasts/{id}?limit=1")
        if told["state"] in ("done", "failed", "cancelled"):
            return told
        time.sleep(0.05)
    raise AssertionError(told)


@pytest.fixture(scope="module")
def made(api: Client, asked: dict[str, Any]) -> str:
    id: str = api.call("POST", A + "/forecasts", asked).json["id"]
    assert ended(api, id)["state"] == "done"
    return id


def test_a_table_has_a_row_for_every_symbol(api: Client, asked: dict[str, Any], made: str) -> None:
    found = api.get(f"/forecasts/{made}/table")
    rows = pd.DataFrame(found["rows"])
    assert list(rows["symbol"]) == asked["symbols"]
    assert (found["state"], found["done"], found["total"], found["next"]) == ("done", 40, 40, 40)
    bad = rows["failed"].notna()
    assert list(rows.loc[bad, "symbol"]) == ["S002"]
    assert "S002" in rows["failed"][2]
    good = rows[~bad]
    assert (good["low80"] <= good["low50"]).all()
    assert (good["low50"] <= good["median_return"]).all()
    assert (good["median_return"] <= good["high50"]).all()
    assert good["p_up"].between(0, 1).all()
    assert (good["seconds"] > 0).all()
    series = {one["symbol"]: one for one in api.get(f"/forecasts/{made}")["series"]}
    assert len(series) == 39
    one = series["S007"]
    row = rows.set_index("symbol").loc["S007"]
    assert row["high80"] == pytest.approx(one["quantiles"][5][-1] / one["last_close"] - 1)
    assert row["p_up"] == one["p_up"][-1]


def test_a_table_is_read_on_from_where_one_stopped(api: Client, made: str) -> None:
    first = api.get(f"/forecasts/{made}/table?limit=15")
    rest = api.get(f"/forecasts/{made}/table?after={first['next']}")
    none = api.get(f"/forecasts/{made}/table?after={rest['next']}")
    assert [len(one["rows"]["symbol"]) for one in (first, rest, none)] == [15, 25, 0]
    assert rest["rows"]["symbol"][0] == "S015"
    assert none["next"] == 40
    assert api.call("GET", f"{A}/forecasts/fc_000000000000/table").status == 404


def test_all_paths_are_those_of_to_frame(api: Client, asked: dict[str, Any], made: str) -> None:
    sent = api.call("GET", f"{A}/forecasts/{made}/export?what=paths&format=parquet")
    assert "attachment" in sent.headers["content-disposition"]
    frame = pd.read_parquet(io.BytesIO(sent.body))
    data = universe(40)
    good = [symbol for symbol in asked["symbols"] if symbol != "S002"]
    own = Forecaster.from_pretrained("chandler-nano", device="cpu").forecast_many(
        data[data["symbol"].isin(good)], horizon=2, paths=5
    )
    whole = forecasts_to_frame(own)
    assert list(frame.columns) == list(whole.columns)
    assert frame.dtypes.to_dict() == whole.dtypes.to_dict()
    for name in ("symbol", "path", "step", "timestamp"):
        assert (frame[name] == whole[name]).all(), name
    np.testing.assert_allclose(frame["close"], whole["close"], rtol=1e-5)
    lines = api.call("GET", f"{A}/forecasts/{made}/export?what=paths").body.decode().splitlines()
    assert len(lines) == 1 + 39 * 5 * 2
    table = pd.read_parquet(io.BytesIO(api.call("GET", f"{A}/forecasts/{made}/export?what=rows&format=parquet").body))
    rows = api.get(f"/forecasts/{made}/table")["rows"]
    assert list(table.columns) == list(rows)
    assert table["median_return"].dropna().tolist() == [one for one in rows["median_return"] if one is not None]


def test_a_part_whose_symbols_all_failed_spoils_no_export(api: Client, asked: dict[str, Any]) -> None:
    short = [bars(1, freq="1D").assign(symbol=f"A{number}") for number in range(8)]
    long = [bars(60, freq="1D", seed=number).assign(symbol=f"B{number}") for number in range(3)]
    body = io.BytesIO()
    pd.concat([*short, *long]).to_parquet(body)
    source = api.settled(api.call("POST", f"{A}/uploads?name=short.parquet", body.getvalue()).json["source_id"])
    symbols = [f"A{number}" for number in range(8)] + [f"B{number}" for number in range(3)]
    id = api.call("POST", A + "/forecasts", asked | {"source_id": source["id"], "symbols": symbols}).json["id"]
    assert ended(api, id)["state"] == "done"
    export = f"{A}/forecasts/{id}/export?what=bands"
    table = pd.read_parquet(io.BytesIO(api.call("GET", f"{export}&format=parquet").body))
    assert list(table["symbol"]) == ["B0", "B0", "B1", "B1", "B2", "B2"]
    text = pd.read_csv(io.BytesIO(api.call("GET", export).body))
    pd.testing.assert_frame_equal(text, table)


@pytest.mark.slow
def test_a_chart_comes_between_the_parts_and_what_was_made_stays(api: Client, asked: dict[str, Any]) -> None:
    long = asked | {"paths": 400, "horizon": 12, "seed": 9}
    id = api.call("POST", A + "/forecasts", long).json["id"]
    for _ in range(1200):
        there = api.get(f"/forecasts/{id}/table")
        if there["done"]:
            break
        time.sleep(0.05)
    assert 0 < there["done"] < 40
    assert len(there["rows"]["symbol"]) == there["done"]
    chart = asked | {"symbols": ["S001"]}
    found = api.call("POST", A + "/forecasts", chart, {"Prefer": "wait=60"})
    assert found.status == 200
    assert api.get(f"/forecasts/{id}?limit=1")["state"] == "running"
    assert id in [one["id"] for one in api.get("/forecasts?many=true")["forecasts"]]
    assert api.call("DELETE", f"{A}/forecasts/{id}").status == 204
    assert ended(api, id)["state"] == "cancelled"
    kept = api.get(f"/forecasts/{id}/table")
    assert there["done"] <= kept["done"] < 40
    assert kept["rows"]["symbol"] == asked["symbols"][: kept["done"]]
    assert api.call("DELETE", f"{A}/forecasts/{id}").status == 409
    frame = pd.read_parquet(
        io.BytesIO(api.call("GET", f"{A}/forecasts/{id}/export?what=paths&format=parquet").body), columns=["symbol"]
    )
    assert set(frame["symbol"]) == set(kept["rows"]["symbol"]) - {"S002"}
    # What was not made to its end is no answer to the next who asks.
    again = api.call("POST", A + "/forecasts", long).json
    assert again["id"] != id
    assert api.call("DELETE", f"{A}/forecasts/{again['id']}").status == 204
    ended(api, again["id"])
