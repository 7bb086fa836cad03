"""Settings are checked and the journal is read while forecasts are made: by a child of their own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.journal.conftest import keep_ranked
from tests.serving.conftest import Client, awaited, child_of, launch

from chandler import Journal
from chandler.serving.worker import WorkerClient, WorkerDied, client, ledger

A = "/api/v1"


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    one = launch(tmp_path_factory.mktemp("looks"), "--jobs")
    yield one
    one.process.kill()
    one.process.wait()


@pytest.fixture(scope="module")
def asked(api: Client) -> dict[str, Any]:
    """A forecast of a moment, which is kept in the journal."""
    [bundled] = [one["id"] for one in api.get("/sources")["sources"] if one["kind"] == "bundled"]
    [nano] = [one["id"] for one in api.get("/models")["models"] if one["kind"] == "bundled"]
    asked = {"source_id": bundled, "model_id": nano, "symbols": ["IBM"], "horizon": 4, "paths": 10}
    assert api.call("POST", A + "/forecasts", asked, {"Prefer": "wait=60"}).status == 200
    return asked


@pytest.fixture
def running(api: Client, asked: dict[str, Any]) -> Iterator[str]:
    """A forecast of many symbols that takes many minutes, being made."""
    symbols = [one["symbol"] for one in api.get(f"/sources/{asked['source_id']}/symbols")["symbols"]]
    id = api.call("POST", A + "/forecasts", asked | {"symbols": symbols, "horizon": 3000, "paths": 200}).json["id"]
    assert api.until(id, "running")
    yield id
    if api.get(f"/forecasts/{id}")["state"] == "running":
        api.call("DELETE", f"{A}/forecasts/{id}")


def look(api: Client, source: str) -> None:
    """Everything that can be looked at, which must be answered."""
    checked = api.call("POST", A + "/recipes/trial/check", {"overrides": {"predictor.epochs": 7}})
    assert checked.json["values"]["predictor"]["epochs"] == 7
    assert api.get("/recipes/trial")["schema"]
    [kept] = api.get("/journal?symbol=IBM")["entries"]
    assert kept["horizon"] == 4
    assert api.get("/journal/summary")["kept"] == 1
    assert api.call("GET", A + "/journal/export").body[:4] == b"PAR1"
    assert api.call("POST", A + "/journal/score", {"source_id": source}).status == 200


def test_looks_are_answered_while_a_forecast_is_made(api: Client, asked: dict[str, Any], running: str) -> None:
    look(api, asked["source_id"])
    assert api.get(f"/forecasts/{running}")["state"] == "running"


@pytest.mark.slow
def test_looks_that_were_killed_cost_no_forecast_and_come_again(
    api: Client, asked: dict[str, Any], running: str
) -> None:
    look(api, asked["source_id"])
    child_of(api, "looks").kill()
    look(api, asked["source_id"])
    assert api.get(f"/forecasts/{running}")["state"] == "running"


@pytest.mark.slow
def test_a_forecast_that_hangs_is_killed_and_costs_no_look(api: Client, asked: dict[str, Any], running: str) -> None:
    hung, other = child_of(api, "forecasts"), child_of(api, "looks")
    hung.suspend()
    look(api, asked["source_id"])
    assert api.call("DELETE", f"{A}/forecasts/{running}").status == 204
    assert api.until(running, "failed", "cancelled")
    assert not hung.is_running()
    look(api, asked["source_id"])
    assert child_of(api, "looks") == other
    again = api.call("POST", A + "/forecasts", asked | {"seed": 1, "origin": 1_300_000_000}, {"Prefer": "wait=60"})
    assert (again.status, again.json["state"]) == (200, "done")


def test_a_journal_is_asked_for_a_page_at_a_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "journal"
    keep_ranked(Journal(folder), "/somewhere/runs/first", [1, 2, 3], monkeypatch, "ACME")
    keep_ranked(Journal(folder), "toy", [4, 5], monkeypatch, "Zeta")
    any_: dict[str, Any] = dict.fromkeys(("model", "symbol", "state", "live"))

    def page(start: int = 0, most: int = 500, **wanted: Any) -> dict[str, Any]:
        return ledger.entries(folder, {"toy": "a toy"}, any_ | wanted, start, most)

    everything = page()
    assert json.loads(json.dumps(everything)) == everything
    assert (everything["total"], everything["models"]) == (5, ["a toy", "first"])
    assert page(1, 2)["entries"] == everything["entries"][1:3]
    assert page(1, 2)["total"] == 5
    assert [one["symbol"] for one in page(symbol="zET")["entries"]] == ["Zeta", "Zeta"]
    assert [page(model=name)["total"] for name in ("first", "a toy", "toy")] == [3, 2, 0]
    assert [page(state=one)["total"] for one in ("scored", "waiting")] == [5, 0]
    assert [page(live=one)["total"] for one in (True, False)] == [5, 0]
    assert {row["model"] for row in ledger.summary(folder, {"toy": "a toy"})["rows"]} == {"a toy", "first"}


def test_an_answer_that_is_too_long_ends_the_child_and_not_the_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "LINE", 1 << 12)

    async def talk() -> dict[str, Any]:
        child = WorkerClient("looks", "cpu", lambda told: None)
        try:
            with pytest.raises(WorkerDied):
                await asyncio.wait_for(child.ask({"do": "settings.recipes", "with": [{}]}, lambda told: None), 60)
            ask = {"do": "ledger.summary", "with": ["nowhere", {}]}
            return await asyncio.wait_for(child.ask(ask, lambda told: None), 60)
        finally:
            await child.close()

    assert awaited(talk())["found"]["kept"] == 0
