"""Forecasts over the API are those of `Forecaster`, held against the truth by the measures of `evaluate`."""

from __future__ import annotations

import io
import time
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import numpy as np
import pandas as pd
import pytest
from tests.journal.conftest import keep_ranked
from tests.serving.conftest import Client, child_of, heard
from tests.serving.conftest import bars as walk

from chandler import Forecaster, Journal
from chandler.data import CLOSE, load_bars
from chandler.evaluation.walk_forward import SAYS, exposure
from chandler.forecasting import Calibration, Sampling
from chandler.measures import ConformalBands, crps
from chandler.serving.worker.answer import calibration_told
from chandler.serving.worker.exposed import exposed
from chandler.serving.worker.series import Asked, prepared

A = "/api/v1"
WAIT: dict[str, str | None] = {"Prefer": "wait=60"}


@pytest.fixture(scope="module")
def asked(api: Client) -> dict[str, Any]:
    """A request that lacks nothing."""
    [bundled] = [one["id"] for one in api.get("/sources")["sources"] if one["kind"] == "bundled"]
    [nano] = [one["id"] for one in api.get("/models")["models"] if one["kind"] == "bundled"]
    return {"source_id": bundled, "model_id": nano, "symbols": ["IBM"], "horizon": 6, "paths": 20}


def made(api: Client, asked: dict[str, Any], **more: Any) -> dict[str, Any]:
    found = api.call("POST", A + "/forecasts", asked | more, WAIT)
    assert found.status == 200, found.body
    result: dict[str, Any] = found.json
    return result


def test_a_forecast_is_the_forecasters(api: Client, asked: dict[str, Any]) -> None:
    found = made(api, asked, seed=3)
    [series] = found["series"]
    bars = load_bars("chandler-stocks")["IBM"]
    own = Forecaster.from_pretrained("chandler-nano", device="cpu").forecast(bars, horizon=6, paths=20, seed=3)
    close = own.paths[:, :, CLOSE]
    assert series["quantiles"] == pytest.approx(np.quantile(close, series["levels"], axis=0), rel=1e-5)
    assert series["mean"]["volume"] == pytest.approx(own.mean()["volume"].to_numpy(), rel=1e-4)
    assert series["time"] == [int(pd.Timestamp(one.date()).timestamp()) for one in own.timestamps]
    assert series["dated_by"] == own.dated_by
    assert (series["truth"], series["scores"]) == (None, None)
    assert found["live"] is True
    paths = api.get(f"/forecasts/{found['id']}/paths?symbol=IBM")
    assert (len(paths["paths"]), paths["total"]) == (20, 20)
    assert np.array(paths["paths"]) == pytest.approx(close, rel=1e-5)


def test_what_was_made_is_not_made_again(api: Client, asked: dict[str, Any]) -> None:
    first, again, other = made(api, asked), made(api, asked, preview=True), made(api, asked, seed=1)
    assert (again["id"], again["cached"]) == (first["id"], True)
    assert other["id"] != first["id"]
    assert other["series"][0]["quantiles"] != first["series"][0]["quantiles"]
    assert api.call("DELETE", f"{A}/forecasts/{first['id']}").status == 409


def test_fewer_paths_are_the_first_of_many(api: Client, asked: dict[str, Any]) -> None:
    few, many = made(api, asked, paths=5), made(api, asked)
    path = "/forecasts/{}/paths?symbol=IBM&limit=5"
    assert np.array(api.get(path.format(few["id"]))["paths"]) == pytest.approx(
        np.array(api.get(path.format(many["id"]))["paths"]), rel=1e-6
    )


def test_an_origin_in_the_past_is_held_against_the_truth(api: Client, asked: dict[str, Any]) -> None:
    bars = load_bars("chandler-stocks")["IBM"]
    origin = int(pd.Timestamp(bars.timestamps[-5].date()).timestamp())
    found = made(api, asked, origin=origin)
    [series] = found["series"]
    assert series["origin_time"] == origin
    assert found["live"] is False
    truth = bars.values[-4:, CLOSE]
    assert series["truth"]["close"] == pytest.approx(truth, rel=1e-6)
    assert series["time"][:4] == series["truth"]["time"]
    assert "the last 2 by the calendar" in series["dated_by"]
    close = np.array(api.get(f"/forecasts/{found['id']}/paths?symbol=IBM")["paths"])[:, :4]
    scores = series["scores"]
    assert scores["steps"] == 4
    assert scores["crps_by_step"] == pytest.approx(crps(close, truth), rel=1e-4)
    assert scores["crps"] == pytest.approx(crps(close, truth).mean(), rel=1e-4)
    assert scores["rank"] == pytest.approx((close[:, -1] < truth[-1]).mean())
    low, high = np.quantile(close, [0.1, 0.9], axis=0)
    assert scores["inside"]["80"] == pytest.approx(((truth >= low) & (truth <= high)).mean())


def test_what_the_model_knows_is_said(api: Client, asked: dict[str, Any]) -> None:
    [late] = made(api, asked)["series"]
    first = int(pd.Timestamp(load_bars("chandler-stocks")["IBM"].timestamps[200].date()).timestamp())
    [early] = made(api, asked, origin=first)["series"]
    assert early["exposure"]["mark"] in ("trained", "validated", "period", "released")
    assert early["exposure"]["says"]
    assert late["exposure"] is None or late["exposure"]["mark"] == "period"


def test_bars_that_a_calibration_was_fitted_on_are_told() -> None:
    times = load_bars("chandler-stocks")["IBM"].timestamps
    bands = ConformalBands((0.9,), np.zeros((1, 1)), np.zeros((1, 1)), (9,))
    fit = Calibration(bands, Sampling(), 30, 50, 90, str(times[100]), str(times[200]))

    def mark(row: int | None, used: Calibration | None) -> dict[str, str] | None:
        origin = None if row is None else int(pd.Timestamp(times[row].date()).timestamp())
        asked = Asked(4, 10, origin, None, 0, used is not None, None, {})
        return exposed("chandler-nano", prepared({"path": "chandler-stocks", "revision": ""}, ["IBM"], asked), used)[0]

    assert (mark(199, fit) or {})["mark"] == "calibrated"
    assert f"fitted on bars up to {times[200].date()}" in (mark(150, fit) or {})["says"]
    assert SAYS["period"] in (mark(150, fit) or {})["says"]
    assert mark(200, fit) == mark(200, None)
    assert mark(None, fit) == mark(None, None)


def test_a_calibration_of_another_interval_or_of_long_ago_says_so() -> None:
    bands = ConformalBands((0.9,), np.zeros((1, 1)), np.zeros((1, 1)), (9,))
    fit = Calibration(bands, Sampling(), 30, 50, 90, "2012-01-02", "2013-02-01", interval="1h")
    forecast = Forecaster.from_pretrained("chandler-nano").forecast(
        load_bars("chandler-stocks")["IBM"], horizon=2, paths=2
    )
    told = calibration_told(fit, [forecast])
    assert told.startswith(fit.says())
    assert "It was fitted on bars of 1h and these are of 1d" in told
    assert "well before these" not in told
    assert calibration_told(replace(fit, interval="1d"), [forecast]) == calibration_told(fit, []) == fit.says()
    assert "well before these" in calibration_told(replace(fit, first="2001-01-02", last="2002-01-02"), [forecast])


def test_bars_that_lived_through_a_training_are_told_as_a_period(api: Client, asked: dict[str, Any]) -> None:
    path = f"/models/{asked['model_id']}/exposure"
    first, last = (
        int(pd.Timestamp(load_bars("chandler-stocks")["IBM"].timestamps[n].date()).timestamp()) for n in (0, -1)
    )
    told = {"from": first, "to": last, "kind": "period", "says": SAYS["period"]}
    assert api.get(f"{path}?source_id={asked['source_id']}&symbol=IBM") == {"periods": [told]}
    [file] = [one["id"] for one in api.get("/sources")["sources"] if one["kind"] == "folder"]
    api.call("POST", f"{A}/sources/{file}/refresh", {})
    assert api.settled(file)["state"] == "ready"
    [symbol] = [one["symbol"] for one in api.get(f"/sources/{file}/symbols")["symbols"]]
    assert exposure("chandler-nano").periods(symbol)[-1].mark == ""
    [hours] = api.get(f"{path}?source_id={file}&symbol={quote(symbol)}")["periods"]
    assert (hours["kind"], hours["from"]) == ("period", int(pd.Timestamp("2024-01-01").timestamp()))


def test_what_is_asked_of_exposure_must_be_there(api: Client, asked: dict[str, Any]) -> None:
    model, source = asked["model_id"], asked["source_id"]
    [absent] = [one["id"] for one in api.get("/models")["models"] if one["name"].endswith("Kronos-mini")]
    for path, status in (
        (f"mdl_0123456789ab/exposure?source_id={source}&symbol=IBM", 404),
        (f"{model}/exposure?source_id=src_0123456789ab&symbol=IBM", 404),
        (f"{model}/exposure?source_id={source}&symbol=NONE", 422),
        (f"{model}/exposure?source_id=/etc&symbol=IBM", 422),
        (f"{model}/exposure?source_id={source}", 422),
        (f"{absent}/exposure?source_id={source}&symbol=IBM", 424),
    ):
        assert api.call("GET", f"{A}/models/{path}").status == status, path


def test_a_step_is_a_histogram_and_a_chance(api: Client, asked: dict[str, Any]) -> None:
    id = made(api, asked)["id"]
    closes = np.array(api.get(f"/forecasts/{id}/paths?symbol=IBM")["paths"])[:, 2]
    middle = float(np.median(closes))
    found = api.get(f"/forecasts/{id}/step?symbol=IBM&step=3&above={middle}")
    assert sum(found["counts"]) == 20
    assert found["p_above"] == pytest.approx((closes > middle).mean())
    density = api.get(f"/forecasts/{id}/density?symbol=IBM&bins=10")
    assert [sum(column) for column in density["counts"]] == [20] * 6
    assert api.call("GET", f"{A}/forecasts/{id}/step?symbol=IBM&step=7").status == 422
    assert api.call("GET", f"{A}/forecasts/{id}/step?symbol=XX&step=1").status == 404


def test_many_symbols_and_their_files(api: Client, asked: dict[str, Any]) -> None:
    found = made(api, asked, symbols=["IBM", "AAPL", "MSFT"], paths=4)
    assert [one["symbol"] for one in found["series"]] == ["IBM", "AAPL", "MSFT"]
    text = api.call("GET", f"{A}/forecasts/{found['id']}/export?what=bands").body.decode()
    assert len(text.splitlines()) == 1 + 3 * 6
    sent = api.call("GET", f"{A}/forecasts/{found['id']}/export?what=paths&format=parquet")
    assert "attachment" in sent.headers["content-disposition"]
    frame = pd.read_parquet(io.BytesIO(sent.body))
    assert len(frame) == 3 * 4 * 6
    assert list(frame.columns[:4]) == ["symbol", "path", "step", "timestamp"]


@pytest.mark.parametrize(
    ("more", "status", "words"),
    [
        ({"symbols": ["XX"]}, 422, "no such symbol"),
        ({"symbols": ["IBM", "IBM"]}, 422, "twice"),
        ({"source_id": "src_000000000000"}, 404, "no such source"),
        ({"model_id": "mdl_000000000000"}, 404, "no such model"),
        ({"source_id": "/etc/passwd"}, 422, "source_id"),
        ({"horizon": 0}, 422, "horizon"),
        ({"out": "x"}, 422, "out"),
        ({"calibrated": True}, 422, "chandler calibrate"),
        ({"temperature": 1e400}, 400, "JSON"),
    ],
)  # fmt: skip
def test_what_cannot_be_forecast_is_said(
    api: Client, asked: dict[str, Any], more: dict[str, Any], status: int, words: str
) -> None:
    found = api.call("POST", A + "/forecasts", asked | more)
    if more.get("temperature"):  # Infinity is what Python writes
        assert found.status in (400, 422)
        return
    assert found.status == status, found.body
    assert words in found.json["error"]["message"]


def test_what_fails_in_the_child_is_said(api: Client, asked: dict[str, Any]) -> None:
    found = api.call("POST", A + "/forecasts", asked | {"calendar": "XXXX"}, WAIT)
    assert found.status == 202
    told = api.get(f"/forecasts/{found.json['id']}")
    assert told["state"] == "failed"
    assert "XXXX" in told["message"]


def test_a_release_that_is_not_here_says_why(api: Client, asked: dict[str, Any]) -> None:
    [small] = [one for one in api.get("/models")["models"] if one["name"].endswith("Kronos-small")]
    assert not small["available"]
    found = api.call("POST", A + "/forecasts", asked | {"model_id": small["id"]})
    assert (found.status, found.json["error"]["code"]) == (424, "checkpoint")
    assert "offline" in found.json["error"]["message"]


def test_a_forecast_can_be_given_up_and_the_next_one_works(api: Client, asked: dict[str, Any]) -> None:
    long = api.call("POST", A + "/forecasts", asked | {"horizon": 3000, "paths": 200}).json
    waits = api.call("POST", A + "/forecasts", asked | {"seed": 77}).json
    api.until(long["id"], "running")
    assert api.get(f"/forecasts/{waits['id']}")["position"] == 1
    assert api.call("DELETE", f"{A}/forecasts/{long['id']}").status == 204
    assert api.until(long["id"], "cancelled")["series"] == []
    assert api.until(waits["id"], "done")["series"]
    assert not (api.log.parent / "workspace" / "forecasts" / long["id"]).exists()


def test_what_two_asked_for_ends_with_the_last(api: Client, asked: dict[str, Any]) -> None:
    made(api, asked)
    first, second = (
        api.call("POST", A + "/forecasts", asked | {"horizon": 3000, "paths": 200, "seed": 7}).json for _ in range(2)
    )
    assert first["id"] == second["id"]
    assert api.call("DELETE", f"{A}/forecasts/{first['id']}").status == 204
    assert api.until(first["id"], "running", "cancelled")["state"] == "running"
    assert api.call("DELETE", f"{A}/forecasts/{first['id']}").status == 204
    assert api.until(first["id"], "cancelled")


def test_bars_that_a_forecast_waits_for_stay(api: Client, asked: dict[str, Any]) -> None:
    made(api, asked)
    long = api.call("POST", A + "/forecasts", asked | {"horizon": 3000, "paths": 200, "seed": 8}).json["id"]
    stores = api.log.parent / "workspace" / "stores"
    sent = api.call("POST", A + "/uploads?name=needed.csv", walk(300).to_csv(index=False).encode())
    source = sent.json["source_id"]
    assert api.settled(source)["state"] == "ready"
    mine = asked | {"source_id": source, "symbols": ["needed"]}
    waits = api.call("POST", A + "/forecasts", mine).json["id"]
    assert api.call("POST", f"{A}/sources/{source}/refresh").status == 202
    assert api.settled(source)["state"] == "ready"
    refused = api.call("DELETE", f"{A}/sources/{source}")
    assert (refused.status, "forecast" in refused.json["error"]["message"]) == (409, True)
    assert api.get(f"/forecasts/{waits}")["state"] == "waiting"
    assert api.call("DELETE", f"{A}/forecasts/{long}").status == 204
    told = api.until(waits, "done", "failed")
    assert told["state"] == "done", told["message"]
    assert api.call("DELETE", f"{A}/sources/{source}").status == 204
    assert list(stores.glob(f"{source}*")) == []


def test_a_killed_child_is_said_and_started_again(api: Client, asked: dict[str, Any]) -> None:
    made(api, asked)
    long = api.call("POST", A + "/forecasts", asked | {"horizon": 3000, "paths": 200, "seed": 5}).json
    api.until(long["id"], "running")
    child_of(api, "forecasts").kill()
    told = api.until(long["id"], "failed")
    assert "died" in told["message"]
    assert made(api, asked, seed=6)["state"] == "done"


def test_every_forecast_is_in_the_journal_and_scored_once(api: Client, asked: dict[str, Any]) -> None:
    bars = load_bars("chandler-stocks")["MSFT"]
    origin = int(pd.Timestamp(bars.timestamps[-10].date()).timestamp())
    own = {"lookback": 64, "temperature": 0.8, "overflow": "block", "origin": origin}
    found = made(api, asked, symbols=["MSFT"], **own)
    entries = api.get("/journal?symbol=MSFT")["entries"]
    [one] = [entry for entry in entries if entry["horizon"] == 6 and entry["scored_steps"] == 0 and not entry["live"]][
        :1
    ]
    # As it was asked for, so that it can be asked for again.
    again = api.call("POST", A + "/forecasts", {**one["request"], "symbols": [one["symbol"]]})
    assert (again.json["id"], again.json["cached"]) == (found["id"], True)
    assert one["last_close"] == found["series"][0]["last_close"]
    told = api.call("POST", A + "/journal/score", {"source_id": asked["source_id"]})
    assert told.status == 200
    assert told.json["lines"][0]["about"] == "Scored"
    [again] = [entry for entry in api.get("/journal?symbol=MSFT")["entries"] if entry["id"] == one["id"]]
    assert again["scored_steps"] == 6
    summary = api.get("/journal/summary")
    assert summary["kept"] == api.get("/journal?limit=1")["total"]
    assert all(row["model"].startswith("chandler-nano") for row in summary["rows"])


def test_the_record_has_the_pit_and_three_bands(api: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    journal = Journal(api.log.parent / "workspace" / "journal")
    keep_ranked(journal, "chandler-nano-many", [*range(10), *range(5)], monkeypatch, "RANKED")
    keep_ranked(journal, "chandler-nano-few", [3, 4], monkeypatch, "RANKED")
    few, many = (row for row in api.get("/journal/summary")["rows"] if row["model"].startswith("chandler-nano-"))
    assert few["pit"] == {"shares": [0, 0, 0, 0.5, 0.5, 0, 0, 0, 0, 0], "origins": 2, "enough": False}
    assert many["pit"]["shares"] == pytest.approx([*[2 / 15] * 5, *[1 / 15] * 5])
    assert (many["pit"]["origins"], many["pit"]["enough"]) == (15, True)
    # Ranks of 3 to 6 of nine paths lie inside the band of 50%, 2 to 7 inside that of 80%, 1 to 8 inside that of 90%.
    shares = {level: (one["value"], one["origins"]) for level, one in many["coverage"].items()}
    assert shares == {level: (pytest.approx(share / 15), 15) for level, share in (("50", 6), ("80", 9), ("90", 12))}
    scores = pd.read_parquet(io.BytesIO(api.call("GET", A + "/journal/export").body)).query("symbol == 'RANKED'")
    assert (len(scores), int(scores["inside50"].sum())) == (17, 8)
    assert scores["pit"].between(0, 1).all()


def test_what_changes_is_told_to_who_listens(api: Client, asked: dict[str, Any]) -> None:
    stream = api.listen()
    assert stream.getheader("content-type", "").startswith("text/event-stream")
    id = made(api, asked, seed=123)["id"]
    lines = heard(stream, "done")
    assert "event: forecast\n" in lines
    assert any(id in line for line in lines)
    stream.close()
    missed = api.listen("elsewhere-1")
    assert "event: resync\n" in heard(missed, "resync")
    missed.close()
    # From the id of an event on, what came after it is told again.
    first = next(line.removeprefix("id:").strip() for line in lines if line.startswith("id:"))
    again = api.listen(first)
    assert any(id in line for line in heard(again, "done"))
    again.close()


@pytest.mark.slow
def test_a_restart_forgets_nothing_and_stopping_is_quick(
    api: Client, asked: dict[str, Any], tmp_path_factory: pytest.TempPathFactory
) -> None:
    from tests.serving.conftest import launch

    folder = tmp_path_factory.mktemp("again")
    first = launch(folder)
    found = made(first, asked, paths=3)
    begun = time.monotonic()
    first.stop()
    assert time.monotonic() - begun < 15
    second = launch(folder)
    try:
        assert second.token == first.token
        assert second.get(f"/forecasts/{found['id']}")["series"] == found["series"]
        assert made(second, asked, paths=3)["cached"] is True
    finally:
        second.process.kill()
        second.process.wait()
