"""The journal as a reader meets it: a live forecast waits for its bars and is scored by them, and nothing is changed afterwards."""

from __future__ import annotations

import hashlib
import json
import re
import time
from pathlib import Path
from typing import Any
from urllib.request import Request, urlopen

import pandas as pd
import pytest
from tests.journal.conftest import keep_ranked
from tests.serving.browser.conftest import Server
from tests.serving.browser.test_access import findings
from tests.serving.conftest import bars

from chandler import Forecaster, Journal, load_bars

sync_api = pytest.importorskip("playwright.sync_api")
expect = sync_api.expect
WAIT = 90_000
STEP = 40
"""Seconds of a bar: long enough to make a forecast before the next one is over on a busy machine."""
STOCKS = "src_23fed044e010"

pytestmark = pytest.mark.slow


def asked(address: str, path: str, body: dict[str, Any] | None = None) -> Any:
    request = Request(f"{address}/api/v1{path}", headers={"Content-Type": "application/json", "Prefer": "wait=60"})
    if body is not None:
        request.data = json.dumps(body).encode()
    with urlopen(request) as answer:
        return json.load(answer)


def entries(workspace: Path) -> dict[str, str]:
    """Files of the journal's forecasts and their digests."""
    found = (workspace / "journal" / "entries").glob("*.parquet")
    return {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in found}


def test_a_forecast_is_scored_when_its_bars_come(visit: Any, watch: Any, tmp_path: Path) -> None:
    watch.allowed = "ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED|ERR_CONNECTION_RESET|ERR_EMPTY_RESPONSE|LENGTH_MISMATCH"  # as it ends
    data = tmp_path / "data"
    data.mkdir()
    own = Server(tmp_path / "workspace", options=("--data", str(data)))
    own.start()
    try:
        [nano] = [one["id"] for one in asked(own.address, "/models")["models"] if one["kind"] == "bundled"]
        few = {"model_id": nano, "horizon": 1, "paths": 20}
        asked(own.address, "/forecasts", few | {"source_id": STOCKS, "symbols": ["IBM"]})  # the child is warm now
        whole = bars(202, freq=f"{STEP}s", seed=4)
        last = int(time.time()) // STEP * STEP
        whole["timestamp"] = pd.to_datetime(last + STEP * (whole.index - 200), unit="s", utc=True)
        whole.iloc[:201].to_parquet(data / "live.parquet")
        page = visit("/data", at=own)
        row = page.locator("[data-source='live.parquet']")
        row.get_by_role("button", name="Open").click(timeout=WAIT)
        expect(row).to_have_attribute("data-state", "ready", timeout=WAIT)
        [source] = [one["id"] for one in asked(own.address, "/sources")["sources"] if one["name"] == "live.parquet"]
        live = asked(own.address, "/forecasts", few | {"source_id": source, "symbols": ["live"]})
        assert live["live"] is True
        asked(own.address, "/forecasts", few | {"source_id": source, "symbols": ["live"], "origin": last - 20 * STEP})
        before = entries(own.workspace)
        assert len(before) == 3
        page.get_by_role("navigation").get_by_role("link", name="Journal").click()
        page.locator("#by-symbol").fill("liv")
        expect(page.locator("#entries")).to_have_attribute("data-total", "2", timeout=WAIT)
        page.locator("#by-live").select_option("true")
        expect(page.locator("#entries")).to_have_attribute("data-total", "1", timeout=WAIT)
        line = page.locator("table.journal tbody tr")
        expect(line).to_have_count(1)
        expect(line).to_contain_text("0 of 1 bars scored")
        # The bar comes, and is over; the file is read again, and the page hears of it.
        time.sleep(max(0.0, last + 2 * STEP + 1 - time.time()))
        whole.to_parquet(data / "live.parquet")
        other = visit("/data", at=own)
        other.locator("[data-source='live.parquet']").get_by_role("button", name="Read again").click(timeout=WAIT)
        expect(line).to_contain_text("1 of 1 bars scored", timeout=WAIT)
        counts = page.locator("#counts")
        expect(counts).to_have_attribute("data-scored", "2", timeout=WAIT)
        expect(counts).to_have_attribute("data-late", "2")
        record = page.locator("table.record tbody tr")
        expect(record).to_have_count(1)
        expect(record.locator("td").first).to_have_text("1")
        expect(record).to_contain_text("too few")
        assert entries(own.workspace) == before
        with page.expect_download() as loading:
            page.get_by_role("link", name="All scores (Parquet)").click()
        loading.value.save_as(tmp_path / "scores.parquet")
        scores = pd.read_parquet(tmp_path / "scores.parquet")
        assert sorted(scores["live"]) == [False, True]
        scored = scores[scores["live"]].iloc[0]
        assert scored["truth"] == pytest.approx(whole["close"].iloc[-1], rel=1e-5)
        closes = asked(own.address, f"/forecasts/{live['id']}/paths?symbol=live")["paths"]
        middle = sum(one[0] for one in closes) / len(closes)
        assert scored["error"] == pytest.approx(abs(middle - scored["truth"]), rel=1e-3)
        assert findings(page) == []
        # Prices are halved since, as after a split: what was scored stays, and the reader is told.
        prices = ["open", "high", "low", "close"]
        whole[prices] /= 2
        whole.to_parquet(data / "live.parquet")
        with other.expect_response("**/refresh"):
            other.locator("[data-source='live.parquet']").get_by_role("button", name="Read again").click()
        while asked(own.address, f"/sources/{source}")["state"] == "reading":
            time.sleep(0.2)
        page.locator(".scoring select").select_option(source)
        page.get_by_role("button", name="Score against these bars").click()
        expect(page.locator(".told-of")).to_contain_text("were scaled since; scores stay", timeout=WAIT)
        assert entries(own.workspace) == before
        # From the list to the chart of that very forecast.
        line.get_by_role("link", name="live").click()
        expect(page.locator("#chart")).to_have_attribute("data-origin", str(last), timeout=WAIT)
    finally:
        own.stop()


def test_an_entry_opens_the_forecast_that_it_is(visit: Any, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    for number, name in enumerate(("first", "second", "third")):
        bars(300, seed=number).assign(symbol="BTC").to_csv(data / f"{name}.csv", index=False)
    own = Server(tmp_path / "workspace", options=("--data", str(data)))
    own.start()
    try:
        for source in asked(own.address, "/sources")["sources"]:
            if source["state"] == "new":
                asked(own.address, f"/sources/{source['id']}/refresh", {})
        found = {}
        while len(found) < 3:
            ready = (one for one in asked(own.address, "/sources")["sources"] if one["state"] == "ready")
            found = {one["name"]: one["id"] for one in ready if one["kind"] == "folder"}
            time.sleep(0.2)
        [nano] = [one["id"] for one in asked(own.address, "/models")["models"] if one["kind"] == "bundled"]
        whole = {
            "symbols": ["BTC"],
            "model_id": nano,
            "horizon": 3,
            "paths": 20,
            "seed": 5,
            "temperature": 0.8,
            "lookback": 64,
        }
        made = asked(own.address, "/forecasts", whole | {"source_id": found["second.csv"]})
        # By a command, which knows nothing of sources: of the third file.
        store = load_bars(data / "third.csv")
        forecaster = Forecaster.from_pretrained("chandler-nano", device="cpu")
        Journal(own.workspace / "journal").keep(
            [forecaster.forecast(store["BTC"], horizon=3, paths=20, seed=1)], forecaster
        )
        page = visit("/journal", at=own, size=(390, 844))
        lines = page.locator("table.journal tbody tr")
        expect(lines).to_have_count(2, timeout=WAIT)
        lines.nth(1).get_by_role("link").click()
        shown = page.locator("tr[data-model=chandler-nano][data-state=done]")
        expect(shown).to_have_count(1, timeout=WAIT)
        assert len(asked(own.address, "/forecasts")["forecasts"]) == 1, "another forecast was made"
        expect(page.locator("#source")).to_have_value(found["second.csv"])
        assert made["id"] == asked(own.address, "/forecasts")["forecasts"][0]["id"]
        page.go_back()
        lines.nth(0).get_by_role("link").click()
        expect(page.locator("#source")).to_have_value(found["third.csv"], timeout=WAIT)
        expect(page).to_have_url(re.compile("h=3&n=20&seed=1$"))
        expect(shown).to_have_count(1, timeout=WAIT)
        assert len(entries(own.workspace)) == 2, "the forecast that was shown is another one"
        # Its prices are others since: no other instrument is shown in its place.
        (data / "third.csv").write_text((data / "first.csv").read_text())
        asked(own.address, f"/sources/{found['third.csv']}/refresh", {})
        while asked(own.address, f"/sources/{found['third.csv']}")["state"] != "ready":
            time.sleep(0.2)
        page.goto(f"{own.address}/journal")
        lines.nth(0).get_by_role("link").click()
        expect(page.get_by_role("alert")).to_contain_text("No source that is here has the bar of BTC", timeout=WAIT)
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.screenshot(path=tmp_path / "lost.png")
        page.close()
    finally:
        own.stop()


def test_where_the_closes_lay_is_a_picture_that_can_be_read_out(
    visit: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = Server(tmp_path / "workspace")
    own.start()
    try:
        journal = Journal(own.workspace / "journal")
        keep_ranked(journal, "narrow", [0, 9] * 10, monkeypatch)
        keep_ranked(journal, "few", [3, 4, 5], monkeypatch)
        page = visit("/journal", at=own, size=(390, 844))
        figure = page.locator("[data-pit=narrow]")
        picture = figure.get_by_role("img", name="narrow: closes in each tenth")
        expect(picture).to_have_accessible_name(
            re.compile(r": 50%, 0%, .*, 0%, 50%\. 10% in each is right"), timeout=WAIT
        )
        expect(figure).to_contain_text("20 origins")
        # As many parts of the tallest bar lie below the dashed line as it says.
        tall, low = (picture.locator("rect").nth(at).bounding_box()["height"] for at in (0, 1))
        foot, line = (picture.locator(f".{name}").bounding_box()["y"] for name in ("base", "right"))
        assert ((foot - line) / tall, low) == pytest.approx((0.2, 0), abs=0.02)
        expect(page.locator("[data-pit=few]")).to_contain_text("too few")
        expect(page.locator("[data-pit=few] svg")).to_have_count(0)
        for scheme in ("light", "dark"):
            page.emulate_media(color_scheme=scheme)
            assert findings(page) == []
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        page.close()  # before its server: what it listens to has not ended then
    finally:
        own.stop()
